"""The rates of this machine that estimates go by: the limits of its file, else those that a quick measurement tells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..files.home import home
from ..locks import lock
from .limits import Limits, assumed, quickly
from .native import native

_lock = lock()
_known: dict[tuple[Path, str, int], Limits] = {}
_fixed: list[Limits] = []


def rates(threads: int) -> Limits:
    """The limits of this host for a number of threads, the same as long as the process lives.

    Those of the file beside the profile store; where it has none, they are measured in a fraction of a second and kept there.
    Where that fails, such as in a process whose threads are all at work, they are what the processor's description suggests,
    and the next call tries again.
    """
    if _fixed:
        return _fixed[-1]
    key = home(), os.environ.get("PATHWEAVE_ISA", ""), threads
    with _lock:
        if key not in _known:
            try:
                _known[key] = quickly(threads)
            except (OSError, ValueError, MemoryError):
                return assumed(native().cpu_info(), threads)
        return _known[key]


@contextmanager
def fixed(limits: Limits) -> Iterator[None]:
    """While the block runs, estimates of all threads of the process go by these limits, whatever the machine: for tests."""
    _fixed.append(limits)
    try:
        yield
    finally:
        _fixed.remove(limits)

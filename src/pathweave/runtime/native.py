"""The native core, imported when it is first needed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType

from ..errors import DeviceError


@cache
def native() -> ModuleType:
    """The extension module. Raises DeviceError when it was not built, or not for this Python.

    Warns, once, where `PATHWEAVE_ISA` names no tier that this build has: everything then runs as without it.
    """
    try:
        from .. import _native
    except ImportError as e:
        raise DeviceError(f"the native core of pathweave cannot be loaded: {e}; "
                          f"build it with `make` in the repository, or install the package again") from e
    warning = _native.cpu_info()["warning"]
    if warning:
        warnings.warn(warning, RuntimeWarning, stacklevel=2)
    return _native


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """While the block runs, long native work of this thread raises TimeoutError so many seconds from now; None: never."""
    native().set_deadline(seconds)
    try:
        yield
    finally:
        native().set_deadline(None)

"""The native core, imported when it is first needed."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType

from ..errors import DeviceError
from ..plugins import open_devices


@cache
def native() -> ModuleType:
    """The extension module, with the devices of plugins open. Raises DeviceError when it was not built, or not for this Python.

    Warns, once, where `PATHWEAVE_ISA` names no tier that this build has: everything then runs as without it.
    """
    core = _core()
    _open_installed()
    return core


@cache
def _core() -> ModuleType:
    try:
        from .. import _native
    except ImportError as e:
        raise DeviceError(f"the native core of pathweave cannot be loaded: {e}; "
                          f"build it with `make` in the repository, or install the package again") from e
    warning = _native.cpu_info()["warning"]
    if warning:
        warnings.warn(warning, RuntimeWarning, stacklevel=3)
    return _native


_here = threading.local()


def _open_installed() -> None:
    """Open the devices of plugins, whose functions may ask for the native core themselves."""
    if getattr(_here, "opening", False):
        return
    _here.opening = True
    try:
        open_devices(_core().open_plugin)  # which hands a library back that another thread has opened meanwhile
    finally:
        _here.opening = False


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """While the block runs, long native work of this thread raises TimeoutError so many seconds from now; None: never."""
    native().set_deadline(seconds)
    try:
        yield
    finally:
        native().set_deadline(None)

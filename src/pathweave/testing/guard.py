"""Memory for tests: an array that touches a page nobody may read or write, with known bytes on its other side; and such
a page behind all that the library itself allocates."""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import DTypeLike

from ..runtime.native import native

_PAGE = mmap.PAGESIZE
_CANARY = 0xA5
_POISON = 0xFF  # every float of these bytes is NaN


def _protect() -> Callable[[int, int, int], int] | None:
    """The system's mprotect, None where there is none."""
    if os.name != "posix":
        return None
    function = ctypes.CDLL(None, use_errno=True).mprotect
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function


_mprotect = _protect()


#: Mappings that no array uses any more, by pages and the side of the guard page: making one and touching its pages for the
#: first time takes longer than most checks.
_free: dict[tuple[int, bool], list[mmap.mmap]] = {}
#: Larger ones are given back to the system.
_KEPT_PAGES = 1024


def _mapping(pages: int, at_end: bool) -> np.ndarray:
    """The bytes of so many pages and a forbidden one, at the end or at the start."""
    free = _free.setdefault((pages, at_end), [])
    if free:
        mapping = free.pop()
        found = np.frombuffer(mapping, np.uint8)
    else:
        mapping = mmap.mmap(-1, (pages + 1) * _PAGE)
        found = np.frombuffer(mapping, np.uint8)
        guard = found.ctypes.data + (pages * _PAGE if at_end else 0)
        if _mprotect is not None and _mprotect(guard, _PAGE, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    if pages <= _KEPT_PAGES:
        weakref.finalize(found, free.append, mapping)  # every view of it keeps `found` alive
    return found


class Guarded:
    """`array` of a shape and dtype. `at_end`: its last byte is the last before the forbidden page, else its first byte
    is the first after one. A kernel that leaves the array there ends the process; beyond the other side `intact()`
    tells. `align`: the address is a multiple of it; the bytes that it leaves before the page are watched too."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, at_end: bool, align: int = 1):
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        pages = max(1, -(-size // _PAGE))
        usable = _mapping(pages, at_end)[:pages * _PAGE] if at_end else _mapping(pages, at_end)[_PAGE:]
        start = (pages * _PAGE - size) // align * align if at_end else 0
        self._around = usable[:start], usable[start + size:]
        for part in self._around:
            part[:] = _CANARY
        usable[start:start + size] = _POISON
        self.array = usable[start:start + size].view(dtype).reshape(shape)

    def intact(self) -> bool:
        """True when nothing was written beside the array."""
        return all(bool((part == _CANARY).all()) for part in self._around)


@contextmanager
def fence() -> Iterator[None]:
    """Packed constants, arenas and workspaces that the library allocates meanwhile end before a forbidden page, up to
    their last cache line, and hold huge numbers at first. For one thread of the process at a time."""
    native().raise_fence(True)
    try:
        yield
    finally:
        native().raise_fence(False)


def guarded(value: np.ndarray, at_end: bool) -> Guarded:
    """A guarded copy of an array."""
    g = Guarded(value.shape, value.dtype, at_end)
    g.array[...] = value
    return g

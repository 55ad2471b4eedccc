"""Memory for tests: an array that touches a page nobody may read or write, with known bytes on its other side."""

from __future__ import annotations

import ctypes
import mmap
import os

import numpy as np

_PAGE = mmap.PAGESIZE
_CANARY = 0xA5
_POISON = 0xFF  # every float of these bytes is NaN


def _protect():
    """The system's mprotect, None where there is none."""
    if os.name != "posix":
        return None
    function = ctypes.CDLL(None, use_errno=True).mprotect
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function


_mprotect = _protect()


class Guarded:
    """`array` of a shape and dtype. `at_end`: its last byte is the last before the forbidden page, else its first byte
    is the first after one. A kernel that leaves the array there ends the process; beyond the other side `intact()`
    tells. `align`: the address is a multiple of it; the bytes that it leaves before the page are watched too."""

    def __init__(self, shape: tuple[int, ...], dtype, at_end: bool, align: int = 1):
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        pages = max(1, -(-size // _PAGE))
        # Mapped anew each time: a plain mapping, guard page last or first.
        self._map = mmap.mmap(-1, (pages + 1) * _PAGE)
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._bytes[:] = _CANARY
        self._offset = (pages * _PAGE - size) // align * align if at_end else _PAGE
        self._size = size
        self._usable = slice(0, pages * _PAGE) if at_end else slice(_PAGE, (pages + 1) * _PAGE)
        self.array = self._bytes[self._offset:self._offset + size].view(dtype).reshape(shape)
        self._bytes[self._offset:self._offset + size] = _POISON
        self._guard = self._bytes.ctypes.data + (pages * _PAGE if at_end else 0)
        if _mprotect is not None and _mprotect(self._guard, _PAGE, mmap.PROT_NONE if hasattr(mmap, "PROT_NONE") else 0):
            raise OSError(ctypes.get_errno(), "mprotect")

    def intact(self) -> bool:
        """True when nothing was written beside the array."""
        around = self._bytes[self._usable]
        start = self._offset - (self._usable.start or 0)
        return bool((around[:start] == _CANARY).all() and (around[start + self._size:] == _CANARY).all())


def guarded(value: np.ndarray, at_end: bool) -> Guarded:
    """A guarded copy of an array."""
    g = Guarded(value.shape, value.dtype, at_end)
    g.array[...] = value
    return g

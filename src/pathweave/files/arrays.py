"""Files of arrays, as NumPy writes them: `.npy` and `.npz`. Nothing in them is trusted."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator
from typing import Any

from ..errors import Error, InputError, OutOfMemoryError
from ..net import memory
from ..net.size import MOST_RANK, max_bytes

EXPECTED = "a .npy or .npz file with plain arrays"


def read_arrays(path: str | os.PathLike) -> dict[str, Any]:
    """The arrays of a file by name; "" is that of a `.npy` file.

    Raises InputError for a file that cannot be read or holds other things, such as Python objects, OutOfMemoryError.
    Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    try:
        with open(path, "rb") as f:
            return dict(_read(f, os.fstat(f.fileno()).st_size, str(path)))
    except Error:
        raise
    except MemoryError as e:
        raise OutOfMemoryError(f"{path}: no memory for its arrays; give fewer of them, or a machine with more memory") from e
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror or e}); check the path") from e
    except Exception as e:  # readers of NumPy's header, of zip files and of their compression raise nearly everything
        raise InputError(f"{path}: expected {EXPECTED}, got one that cannot be read ({type(e).__name__}: {e})") from e


def _read(f: Any, size: int, where: str) -> Iterator[tuple[str, Any]]:
    magic = f.read(6)
    f.seek(0)
    if magic == b"\x93NUMPY":
        yield "", _array(f, size, where)
        return
    if not magic.startswith(b"PK"):
        raise InputError(f"{where}: expected {EXPECTED}, got one that begins with {magic!r}")
    with zipfile.ZipFile(f) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith(".npy"):
                with archive.open(entry) as member:
                    yield entry.filename[:-4], _array(member, entry.file_size, f"{where}, {entry.filename}")


def _array(f: Any, size: int, where: str) -> Any:
    """One array; its header is read first, so that a small file cannot ask for much memory."""
    import numpy as np
    from numpy.lib import format as npy
    version = npy.read_magic(f)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise InputError(f"{where}: expected {EXPECTED} in NumPy's format 1.0 or 2.0, "
                         f"got {'.'.join(map(str, version))}; save it again")
    shape, fortran, dtype = readers[version](f)
    if dtype.hasobject:
        raise InputError(f"{where}: expected numbers, got Python objects; convert the array before saving it")
    if len(shape) > MOST_RANK or not all(type(d) is int and d >= 0 for d in shape):
        raise InputError(f"{where}: expected at most {MOST_RANK} sizes of 0 or more, got {str(shape)[:100]}")
    needed = math.prod(shape) * dtype.itemsize
    if needed > max_bytes():
        raise InputError(f"{where}: expected an array of at most {max_bytes()} bytes, got {needed}")
    if needed > size:
        raise InputError(f"{where}: expected {needed} bytes for {dtype} {shape}, got {size}; it is truncated: save it again")
    memory.require(needed, where, "give fewer numbers at a time")
    array = np.empty(math.prod(shape), dtype)
    raw, done = array.view(np.uint8) if dtype.itemsize else np.empty(0, np.uint8), 0
    while done < raw.size and (part := f.read(min(raw.size - done, 1 << 24))):
        raw[done:done + len(part)] = np.frombuffer(part, np.uint8)
        done += len(part)
    if done < raw.size:
        raise InputError(f"{where}: expected {needed} bytes for {dtype} {shape}, got {done}; it is truncated: save it again")
    if dtype.kind == "b" and raw.size and raw.max() > 1:
        raise InputError(f"{where}: expected bytes 0 and 1 for bool, got {raw.max()}; it is damaged: save it again")
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)

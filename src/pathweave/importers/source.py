"""What an importer reads from: a path, whose file is mapped, or bytes; and its name, with which all errors of it begin."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import Error, FileFormatError

_BYTES = "the given bytes"


def name_of(source: str | os.PathLike | bytes | bytearray | memoryview) -> str:
    """A source as messages name it."""
    return _BYTES if isinstance(source, (bytes, bytearray, memoryview)) else str(Path(source))


@contextmanager
def named(name: str) -> Iterator[None]:
    """Let the errors of the block begin with the name of what is read."""
    try:
        yield
    except Error as e:
        e.begin_with(name)
        raise


def opened(source: str | os.PathLike | bytes) -> tuple[bytes | mmap.mmap, str, Path | None]:
    """(contents, the source as messages name it, its path or None). Raises FileFormatError for what cannot be read."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), _BYTES, None
    path = Path(source)
    try:
        return _mapped(path), str(path), path
    except (OSError, ValueError) as e:
        raise FileFormatError(f"{path}: cannot be read: {getattr(e, 'strerror', None) or e}") from e


def _mapped(path: Path) -> bytes | mmap.mmap:
    """A file's bytes, mapped: weights are copied from there once, and the rest of the file never."""
    with open(path, "rb") as f:
        return mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(f.fileno()).st_size else b""

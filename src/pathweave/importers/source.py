"""What an importer reads from: a path, whose file is mapped, or bytes."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from ..errors import FileFormatError


def opened(source: str | os.PathLike | bytes) -> tuple[bytes | mmap.mmap, str, Path | None]:
    """(contents, the source as messages name it, its path or None). Raises FileFormatError for what cannot be read."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "the given bytes", None
    path = Path(source)
    try:
        return _mapped(path), str(path), path
    except (OSError, ValueError) as e:
        raise FileFormatError(f"{path}: cannot be read: {getattr(e, 'strerror', None) or e}") from e


def _mapped(path: Path) -> bytes | mmap.mmap:
    """A file's bytes, mapped: weights are copied from there once, and the rest of the file never."""
    with open(path, "rb") as f:
        return mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(f.fileno()).st_size else b""

"""External data: which files a model's weights may come from, and mapping them through the descriptor that was checked."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...errors import FileFormatError

#: A tensor of fewer bytes is read: a map takes a page at least.
MAPPED_BYTES = 64 << 10


class External:
    """Where a model's external data may lie.

    `folder`: the model's own folder, None for a model without one. `model`: the model's path. `root`: a folder that the
    user names as well. A file is read where its path, links resolved, is inside `folder` or `root`; or where a link inside
    `folder` leads into the very folder that the model's own link leads to, as in the cache of Hugging Face
    (`snapshots/R/model.onnx_data -> ../../blobs/...`). Each file is mapped once, for as long as an array shows a part of it,
    unless `mapped` is False: then arrays are copies, which a file that is written to does not change.
    """

    def __init__(self, folder: Path | None, model: Path | None = None, root: Path | None = None, mapped: bool = True):
        self.folder, self.model, self.root, self.mapped = folder, model, root, mapped
        self._maps: dict[tuple[int, ...], mmap.mmap] = {}

    def read(self, entries: dict[str, str], stored: np.dtype, nbytes: int, where: str) -> np.ndarray:
        """`nbytes` of elements `stored` from the file that `entries` (location, offset, length) name.

        Raises FileFormatError for a place that is not allowed, a file that is too short, sizes that do not agree.
        """
        try:
            offset = int(entries.get("offset") or 0)
            length = int(entries.get("length") or nbytes)
        except ValueError:
            raise FileFormatError(f"{where}: external data: offset and length must be whole numbers, got "
                                  f"{entries.get('offset')!r} and {entries.get('length')!r}") from None
        if length != nbytes:
            raise FileFormatError(f"{where}: external data: length is {length}, but its dims need {nbytes} bytes")
        location = entries.get("location", "")
        try:
            with self._open(location, where) as file:
                size = os.fstat(file.fileno()).st_size
                if offset < 0 or offset + nbytes > size:
                    raise FileFormatError(f"{where}: external data: bytes {offset} to {offset + nbytes} are outside "
                                          f"{location} ({size} bytes); the file is truncated or belongs to another model")
                if nbytes == 0:
                    return np.empty(0, stored)
                count = nbytes // stored.itemsize
                if self.mapped and nbytes >= MAPPED_BYTES and offset % stored.itemsize == 0:
                    return np.frombuffer(self._map(file), stored, count, offset)
                array = np.fromfile(file, stored, count=count, offset=offset)
        except FileFormatError:
            raise
        except (OSError, ValueError) as e:
            raise FileFormatError(f"{where}: external data: {location} cannot be read: {getattr(e, 'strerror', 0) or e}") from e
        if array.nbytes != nbytes:
            raise FileFormatError(f"{where}: external data: {location} became shorter while it was read")
        return array

    def _map(self, file: BinaryIO) -> mmap.mmap:
        info = os.fstat(file.fileno())
        key = info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns
        if key not in self._maps:
            self._maps[key] = mmap.mmap(file.fileno(), info.st_size, access=mmap.ACCESS_READ)
        return self._maps[key]

    def _open(self, location: str, where: str) -> BinaryIO:
        folder = self.folder
        if folder is None:
            raise FileFormatError(f"{where}: its data is in the external file {location!r}; give the model's path, not its "
                                  f"bytes, or the folder of that file as folder=")
        parts = location.replace("\\", "/").split("/")
        if not location or "\0" in location or os.path.isabs(location) or ".." in parts or ":" in parts[0]:
            raise FileFormatError(f"{where}: external data location {location!r}: expected a path inside the model's "
                                  f"folder, relative to it and without '..'")
        try:
            found = self._allowed(folder, folder / location)
        except FileNotFoundError as e:
            raise FileFormatError(f"{where}: its data file {folder / location} does not exist; put it beside the model") from e
        except (OSError, RuntimeError, ValueError) as e:
            raise FileFormatError(f"{where}: its data file {folder / location} cannot be read: "
                                  f"{getattr(e, 'strerror', 0) or e}; it must lie beside the model") from e
        if found is None:
            raise FileFormatError(
                f"{where}: external data location {location!r} leads to {(folder / location).resolve()}, which is not "
                f"a file inside the model's folder {folder.resolve()}; if you trust it, name a folder that holds it: "
                f"external_root=FOLDER, or --external-root FOLDER")
        base, path = found
        return _open_below(base, path.relative_to(base))

    def _allowed(self, folder: Path, path: Path) -> tuple[Path, Path] | None:
        """(a folder that may be read, the resolved path inside it), None where there is none."""
        resolved = path.resolve(strict=True)
        own = folder.resolve(strict=True)
        bases = [own]
        if self.root is not None:
            bases.append(self.root.resolve(strict=True))
        if self.model is not None and self.model.is_symlink() and path.parent.resolve(strict=True).is_relative_to(own):
            shared = self.model.resolve(strict=True).parent
            if resolved.parent == shared:
                bases.append(shared)
        return next(((base, resolved) for base in bases if resolved.is_relative_to(base) and resolved.is_file()), None)


def _open_below(base: Path, path: Path) -> BinaryIO:
    """Open a regular file below a folder, without following links: a path that was resolved has none.

    What is put in the place of the file after the check is not read. Raises OSError.
    """
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | \
        getattr(os, "O_BINARY", 0)
    if os.open not in os.supports_dir_fd:
        return _regular(os.open(base / path, flags))
    at = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in path.parts[:-1]:
            below = os.open(part, flags | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = below
        return _regular(os.open(path.parts[-1], flags, dir_fd=at))
    finally:
        os.close(at)


def _regular(descriptor: int) -> BinaryIO:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is not a regular file any more")
    return os.fdopen(descriptor, "rb")

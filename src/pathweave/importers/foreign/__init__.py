"""Formats that no importer reads, told by their content, so that a refusal says what a file is and what to do with it.

A file of this folder with `identify(peek) -> Foreign | None` is asked by being there; one with `last = True` after the
others.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from ...folder import modules
from ...locks import cached_property

#: Bytes of a zip file's directory that are looked at.
MOST_DIRECTORY = 4 << 20
_END_OF_DIRECTORY, _ENTRY = b"PK\x05\x06", b"PK\x01\x02"


class Foreign(NamedTuple):
    """What a file is, and what its user can do."""

    what: str
    advice: str


class Peek:
    """A look at a file, at a folder, or at bytes: their beginning, and what a folder or a zip file lists."""

    def __init__(self, head: bytes, path: Path | None, size: int, data: bytes | None = None):
        self.head, self.path, self.size, self._data = head, path, size, data

    @cached_property
    def text(self) -> str:
        """The beginning as text; "" where it is none."""
        try:
            text = self.head.decode("utf-8", "strict")
        except UnicodeDecodeError as e:
            if e.start < len(self.head) - 4:
                return ""
            text = self.head[:e.start].decode("utf-8")
        return "" if any(ord(c) < 32 and c not in "\t\r\n\f" for c in text) else text

    @cached_property
    def files(self) -> list[str]:
        """Names in a folder; empty for anything else."""
        if self.path is None or not self.path.is_dir():
            return []
        try:
            return sorted(os.listdir(self.path))
        except OSError:
            return []

    @cached_property
    def members(self) -> list[str]:
        """Names in a zip file; empty for anything else."""
        if not self.head.startswith(b"PK\x03\x04"):
            return []
        try:
            return self._members()
        except (OSError, ValueError, IndexError):
            return []

    def _members(self) -> list[str]:
        tail_at = max(0, self.size - (64 << 10) - 22)
        tail = self._bytes(tail_at, self.size - tail_at)
        end = tail.rfind(_END_OF_DIRECTORY)
        if end < 0:
            return []
        size, at = (int.from_bytes(tail[end + i:end + i + 4], "little") for i in (12, 16))
        directory = self._bytes(at, min(size, MOST_DIRECTORY))
        names, position = [], 0
        while directory[position:position + 4] == _ENTRY:
            name, extra, comment = (int.from_bytes(directory[position + i:position + i + 2], "little") for i in (28, 30, 32))
            names.append(directory[position + 46:position + 46 + name].decode("utf-8", "replace"))
            position += 46 + name + extra + comment
        return names or [self.head[30:30 + int.from_bytes(self.head[26:28], "little")].decode("utf-8", "replace")]

    def _bytes(self, at: int, count: int) -> bytes:
        if self._data is not None:
            return self._data[at:at + count]
        if self.path is None:  # as of a folder's head, which is empty
            return b""
        with open(self.path, "rb") as f:
            f.seek(at)
            return f.read(count)


def identify(peek: Peek, importers: Collection[str] = ()) -> Foreign | None:
    """What a file is that no importer reads, and what to do with it; None where that is not known either.

    `importers`: names of those that are there; a file of this folder with such a name is not asked any more.
    """
    asked = [m for m in modules(__name__) if hasattr(m, "identify") and m.__name__.rpartition(".")[2] not in importers]
    for module in sorted(asked, key=lambda m: getattr(m, "last", False)):
        found = module.identify(peek)
        if found is not None:
            return found
    return None


def message_field(head: bytes) -> tuple[int, int, bytes, int] | None:
    """(field number, wire type, the payload's beginning, its size) of a protobuf message's first field."""
    from ..onnx.wire import varint
    try:
        key, at = varint(head, 0, len(head))
        value, after = varint(head, at, len(head))
    except ValueError:
        return None
    if key & 7 == 2:
        return key >> 3, 2, head[after:after + value], value
    return (key >> 3, 0, head[after:], value) if key & 7 == 0 else None

"""Importers: files of other frameworks become a Model. One file or folder per source format.

What all of them need stands here: `builder` (the net under construction, a node), `conversion` (nodes become layers, all
that is not covered is one error), `types` (float16 and its like), `inputs` and `source`. `tools/new.py importer` begins one.
A module or package of this folder that offers `recognises(head, path) -> bool` and `read(source, **options) -> Model` is an
importer by being there; `EXPECTED`, a line of text, says what it reads.
"""

from __future__ import annotations

import inspect
import os
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import FileFormatError
from ..net.net import Model
from ..options import check_options
from ..plugins import by_module, collect
from ..words import meant_file
from .foreign import Peek, identify
from .source import name_of, named

#: Bytes that importers get to see to recognise a file.
HEAD_BYTES = 4096
#: Options of `pathweave.load` that importers do not see.
OF_LOAD = ("preprocess", "postprocess", "threads", "layouts", "states")


@cache
def importers() -> dict[str, ModuleType]:
    """Every importer by the name of its folder, those of plugins last."""
    return collect(__name__, "importers", by_module("recognises", "read"), "importer")


def load(source: str | os.PathLike | bytes | bytearray | memoryview, **options: Any) -> Model:
    """Read a model from a path or from bytes; the content, not the name, chooses the importer.

    `options` go to that importer, or to `files.model.read`. Raises OptionError for an option that it does not know,
    FileFormatError when the file cannot be read or no importer recognises it, UnsupportedOperatorError with all operators
    that are not covered, ModelError for a malformed model.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        source = bytes(source)
        head, path, size, what = source[:HEAD_BYTES], None, len(source), name_of(source)
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        head, size = _read_head(path)
        what = name_of(path)
    else:
        more = "; give the bytes of it: load(model.SerializeToString())" if hasattr(source, "SerializeToString") else ""
        raise FileFormatError(f"load: expected a path or bytes, got {type(source).__name__}{more}")

    from ..files import model as own_file
    if own_file.recognises(head):
        if path is None:
            raise FileFormatError(f"{what}: a .pw model is mapped from disk; save it to a file and give its path")
        return _read(own_file.read, path, options, "a .pw model")
    foreign = identify(Peek(head, path, size, source if isinstance(source, bytes) else None), importers())
    if foreign is None:
        for name, importer in importers().items():
            if importer.recognises(head, path):
                return _read(importer.read, path if path is not None else source, options, f"{name} models")
    expected = "; ".join(getattr(m, "EXPECTED", name) for name, m in importers().items())
    if foreign is not None:
        raise FileFormatError(f"{what} ({size} bytes): this is {foreign.what}; expected a .pw model, or {expected}. "
                              f"What to do: {foreign.advice}")
    raise FileFormatError(f"{what}: not a model that can be read: {size} bytes that start with {_describe(head)}; "
                          f"expected a .pw model, or one of: {expected}")


def _read(read: Any, source: Any, options: dict[str, Any], what: str) -> Model:
    """What a reader makes of a source, with options that it knows."""
    check_options("load", options, list(inspect.signature(read).parameters)[1:], OF_LOAD, f" of {what}")
    with named(name_of(source)):
        return read(source, **options)


def is_own(source: str | os.PathLike | bytes) -> bool:
    """True for a `.pw` file, or its bytes."""
    from ..files import model as own_file
    return own_file.recognises(source[:HEAD_BYTES] if isinstance(source, (bytes, bytearray, memoryview))
                               else _read_head(Path(source))[0])


def _read_head(path: Path) -> tuple[bytes, int]:
    try:
        if path.is_dir():
            return b"", 0
        with open(path, "rb") as f:
            return f.read(HEAD_BYTES), os.fstat(f.fileno()).st_size
    except (OSError, ValueError) as e:
        reason = getattr(e, "strerror", None) or e
        raise FileFormatError(f"{path}: cannot be read: {reason}; expected a readable model file"
                              f"{meant_file(path) if isinstance(e, FileNotFoundError) else ''}") from e


def _describe(head: bytes) -> str:
    if not head:
        return "nothing (the file is empty)"
    shown = head[:16]
    if all(32 <= b < 127 or b in b"\r\n\t" for b in shown):
        return f"the text {shown.decode('ascii')!r}"
    return "the bytes " + shown.hex(" ")

"""ncnn."""

from __future__ import annotations

from . import Foreign, Peek

_MAGIC = 7767517


def identify(peek: Peek) -> Foreign | None:
    """By the number in the first line of a param file, or at the start of its binary form."""
    if peek.text.split("\n", 1)[0].strip() == str(_MAGIC) or peek.head[:4] == _MAGIC.to_bytes(4, "little"):
        return Foreign("a network of ncnn (param)", "load the ONNX file that it was converted from")
    return None

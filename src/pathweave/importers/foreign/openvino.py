"""OpenVINO's intermediate representation."""

from __future__ import annotations

from . import Foreign, Peek


def identify(peek: Peek) -> Foreign | None:
    """By the XML's first element."""
    text = peek.text.lstrip("\ufeff").lstrip()
    if text.startswith(("<?xml", "<net")) and "<net" in text and ("<layers" in text or "version=" in text):
        return Foreign("a model of OpenVINO (IR, xml)", "load the ONNX file that it was converted from")
    return None

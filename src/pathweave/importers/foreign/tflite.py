"""TensorFlow Lite (LiteRT)."""

from __future__ import annotations

from . import Foreign, Peek


def identify(peek: Peek) -> Foreign | None:
    """By the identifier of its flat buffer."""
    if peek.head[2:8] == b"\0\0TFL3":
        return Foreign("a TFLite (LiteRT) model", "convert it to ONNX: python -m tf2onnx.convert --tflite FILE --output "
                       "model.onnx, or better the float model that it was made from")
    return None

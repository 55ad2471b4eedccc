"""Keras: version 3 archives, and HDF5 files of version 2 and before."""

from __future__ import annotations

from . import Foreign, Peek

_EXPORT = "model = keras.models.load_model(FILE), then model.export('model.onnx', format='onnx')"


def identify(peek: Peek) -> Foreign | None:
    """By the names inside the zip file, or HDF5's signature."""
    if {"metadata.json", "config.json"} <= set(peek.members):
        return Foreign("a Keras 3 model (zip)", f"export it to ONNX: {_EXPORT}")
    if peek.head.startswith(b"\x89HDF\r\n\x1a\n"):
        return Foreign("an HDF5 file, as Keras wrote models and weights before version 3",
                       f"if it holds a whole model, export it to ONNX: {_EXPORT}; weights alone need the code that builds it")
    return None

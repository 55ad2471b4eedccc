"""TensorFlow: SavedModel, frozen GraphDef, TensorFlow.js; and Core ML, whose file looks alike."""

from __future__ import annotations

from . import Foreign, Peek, message_field

_SAVED = "python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"


def identify(peek: Peek) -> Foreign | None:
    """By a folder's files, or the first fields of the message."""
    if {"saved_model.pb", "saved_model.pbtxt"} & set(peek.files):
        return Foreign("a SavedModel folder of TensorFlow", f"convert it to ONNX: {_SAVED}")
    if '"modelTopology"' in peek.text or '"weightsManifest"' in peek.text:
        return Foreign("a model of TensorFlow.js", f"convert the SavedModel that it was made from: {_SAVED}")
    first = message_field(peek.head)
    if first is None:
        return None
    number, wire, payload, value = first
    if (number, wire) == (1, 0) and value < 100 and payload[:1] == b"\x12":
        # ONNX has a producer's name here; these have a message, which begins with the key of its first field
        second = message_field(payload)
        if second is not None and second[2][:1] in (b"\x0a", b"\x12"):
            if value == 1 and second[3] > peek.size // 2:
                return Foreign("saved_model.pb, the graph of a SavedModel of TensorFlow",
                               f"convert its folder, weights included, to ONNX: {_SAVED}")
            return Foreign("a Core ML model", "convert the model that it was made from to ONNX")
        return None
    if (number, wire) == (1, 2) and payload[:1] == b"\x0a" and value < 1 << 20:
        node = message_field(payload)
        if node is not None and node[2][node[3]:] == b"" and payload[2 + node[3]:3 + node[3]] == b"\x12":
            return Foreign("a frozen GraphDef of TensorFlow 1", "convert it to ONNX: python -m tf2onnx.convert --graphdef FILE "
                           "--inputs NAME:0 --outputs NAME:0 --output model.onnx")
    return None

"""Files of weights alone: safetensors, GGUF, NumPy."""

from __future__ import annotations

from . import Foreign, Peek


def identify(peek: Peek) -> Foreign | None:
    """By signature; a safetensors file begins with the size of its JSON header."""
    head = peek.head
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= max(0, peek.size - 8):
        return Foreign("a safetensors file, which holds weights and no computation",
                       "build the model in its framework, load these weights, and export it to ONNX; for a model of Hugging "
                       "Face: optimum-cli export onnx --model NAME FOLDER")
    if head.startswith(b"GGUF"):
        return Foreign("a GGUF file (llama.cpp)",
                       "export the original model to ONNX: optimum-cli export onnx --model NAME FOLDER")
    if head.startswith(b"\x93NUMPY") or peek.members and all(name.endswith(".npy") for name in peek.members):
        return Foreign("a file of NumPy arrays", "it is data, not a model; give it as input: pathweave run MODEL FILE")
    return None

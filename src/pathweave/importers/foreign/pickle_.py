"""Pickles: old PyTorch checkpoints, scikit-learn models."""

from __future__ import annotations

from . import Foreign, Peek

#: The pickled number with which files of PyTorch before 1.6 begin
_TORCH_MAGIC = bytes.fromhex("8a0a6cfc9c46f920 6aa850192e".replace(" ", ""))


def identify(peek: Peek) -> Foreign | None:
    """By the protocol byte, and the number that old PyTorch put first."""
    head = peek.head
    if len(head) < 4 or head[0] != 0x80 or not 2 <= head[1] <= 5:
        return None
    if _TORCH_MAGIC in head[:32]:
        return Foreign("a PyTorch checkpoint of before version 1.6 (pickle)",
                       "build the model in PyTorch, load the weights, then torch.onnx.export(model, example_inputs, "
                       "'model.onnx')")
    return Foreign("a Python pickle", "a pickle may run any code when it is read, so it is not; load it where it was made, and "
                   "export it to ONNX (torch.onnx.export, or skl2onnx for scikit-learn)")

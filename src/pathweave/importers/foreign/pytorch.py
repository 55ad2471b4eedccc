"""PyTorch: checkpoints, TorchScript, exported programs."""

from __future__ import annotations

from . import Foreign, Peek

_EXPORT = "torch.onnx.export(model, example_inputs, 'model.onnx', dynamo=True), and load model.onnx"


def identify(peek: Peek) -> Foreign | None:
    """By the names inside the zip file that torch.save, torch.jit.save and torch.export.save write."""
    names = [name.partition("/")[2] for name in peek.members]
    if any(name.startswith("code/") for name in names) and "constants.pkl" in names:
        return Foreign("a TorchScript archive of PyTorch", "export the module that it was made from to ONNX: " + _EXPORT)
    if any(name.startswith("models/") for name in names) and "archive_format" in names or \
            "serialized_exported_program.json" in peek.members:
        return Foreign("an exported program of PyTorch (torch.export)",
                       "turn it into ONNX: torch.onnx.export(torch.export.load(FILE), f='model.onnx', dynamo=True)")
    if "data.pkl" in names:
        return Foreign("a PyTorch checkpoint (zip)",
                       "it holds weights, not the computation: build the model in PyTorch, load them "
                       "(model.load_state_dict(torch.load(FILE))), then " + _EXPORT)
    return None

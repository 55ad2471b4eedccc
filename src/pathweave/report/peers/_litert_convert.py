"""Convert an ONNX file for LiteRT, in a process of its own: python -m pathweave.report.peers._litert_convert JSON."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from typing import Any

from . import samples
from ._onnx_torch import convert


def main(request: dict[str, Any]) -> None:
    """Write request["out"] from request["onnx"]: `dtype` f32 or int8, `shapes` by input name."""
    for module, package in (("torch", "torch"), ("litert_torch", "litert-torch")):
        if importlib.util.find_spec(module) is None:
            raise SystemExit(f"its converter needs {package}, which this Python lacks: pip install {package}, or name one "
                             "that has it in PATHWEAVE_LITERT_PYTHON")
    import litert_torch
    import torch
    given = samples({n: tuple(shape) for n, shape in request["shapes"].items()})
    temporary = f"{request['out']}.{os.getpid()}.tflite"
    litert_torch.convert(convert(request["onnx"]), tuple(map(torch.from_numpy, given[0].values()))).export(temporary)
    if request["dtype"] == "int8":
        _quantise(temporary, given)
    os.replace(temporary, request["out"])


def _quantise(path: str, given: list[dict[str, Any]]) -> None:
    """Static quantisation, weights and activations in int8, with the samples of all quantised engines. Inputs and outputs
    stay floating point, as those of all engines."""
    from ai_edge_quantizer import quantizer, recipe
    work = quantizer.Quantizer(path, recipe.static_wi8_ai8())
    for end in (recipe.TFLOperationName.INPUT, recipe.TFLOperationName.OUTPUT):
        work.update_quantization_recipe(".*", end, algorithm_key=recipe.AlgorithmName.NO_QUANTIZE)
    data = [{f"args_{i}": array for i, array in enumerate(sample.values())} for sample in given]
    found = work.calibrate({"serving_default": data})
    os.unlink(path)
    work.quantize(found).export_model(path)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

"""A construct ends in the same layers and the same default route in whatever form a file has it: those of exporters, and what
ONNX Runtime's optimiser makes of each of them."""

from __future__ import annotations

import hashlib

import numpy as np
import onnxruntime
import pytest
from onnx_forms import FORMS
from onnx_models import assert_same, run_reference

from pathweave.layers import kind_of
from pathweave.meaning.evaluate import evaluate
from pathweave.runtime.bound import BoundNet
from pathweave.runtime.defaults import usual_route
from pathweave.runtime.model import load

THREADS = 2
LEVELS = {"basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
          "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED}
#: Operators in whose place ONNX Runtime's optimiser writes the body of ONNX's function, which no pass recognises.
BODIES = {("group norm", "operator")}


def optimised(model: bytes, level, folder) -> bytes:
    """The file that ONNX Runtime's optimiser writes."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return (folder / "optimised.onnx").read_bytes()


def number_text(value) -> str:
    """An attribute; numbers as exporters round them."""
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(number_text, value))})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def described(bound: BoundNet) -> tuple[list[str], dict[str, str]]:
    """(a sorted line for each layer, a digest of each layer's name): kinds, attributes, epilogues, shapes and structure."""
    net, digests, lines, names = bound.net, {}, [], {}
    for i, name in enumerate(net.inputs):
        digests[name] = f"input {i}"
    for layer in net.layers:
        attrs = " ".join(f"{k}={number_text(v)}" for k, v in sorted(kind_of(layer.kind).complete(layer.attrs).items()))
        shapes = [f"constant{list(net.constants[v].shape)}" if v in net.constants else str(net.specs[v]) if v else "-"
                  for v in layer.inputs]
        line = f"{layer.kind} [{layer.epilogue}] {attrs} {' '.join(shapes)}"
        sources = [digests.get(v, s) for v, s in zip(layer.inputs, shapes)]
        if layer.kind in ("add", "mul") and len(layer.inputs) == 2:  # the order of what is added or multiplied says nothing
            sources.sort()
            line = f"{layer.kind} [{layer.epilogue}] {attrs} {' '.join(sorted(shapes))}"
        whole = hashlib.sha256("\n".join([line, *sources]).encode()).hexdigest()
        digests.update((v, f"{whole} {i}") for i, v in enumerate(layer.outputs))
        lines.append(f"{line} #{whole[:8]}")
        names[layer.name] = whole
    return sorted(lines), names


def taken(model: bytes) -> tuple[list[str], list[str], object]:
    """(layers, routines) of the route that a model takes where nothing was measured."""
    bound = BoundNet.bind(load(model, threads=THREADS).main)
    route = usual_route(bound, THREADS)
    fused = bound.fused(route.regions)
    lines, digests = described(fused)
    routines = sorted(f"{digests[name]} {c.routine} {c.variant}" for name, c in route.layers.items())
    return lines, routines, bound.net


@pytest.mark.parametrize("construct", sorted(FORMS))
def test_all_forms_take_one_route(construct, tmp_path):
    expected, first = None, None
    for name, made in FORMS[construct].items():
        form = made()
        plain = form.model(form.output)
        reference = run_reference(plain, {"x": form.x})[0]
        first = reference if first is None else first
        np.testing.assert_allclose(reference, first, rtol=1e-4, atol=1e-4 * float(np.abs(first).max()), err_msg=name)
        levels = {} if (construct, name) in BODIES else LEVELS
        files = {"": plain, **{level: optimised(plain, value, tmp_path) for level, value in levels.items()}}
        for level, model in files.items():
            lines, routines, net = taken(model)
            what = f"{name} {level}"
            expected = expected or (lines, routines)
            assert lines == expected[0], what
            assert routines == expected[1], what
            found = evaluate(net, {"x": form.x})[net.outputs[0]]
            assert_same(found, reference, 1e-4, what)

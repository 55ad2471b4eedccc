"""Sizes, scales and widths that are values of the run, and constants that are expanded to open sizes: native and right."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import helper
from onnx_models import build

import pathweave
from pathweave.runtime.interpreted import of_plan


def node(operator, inputs, output, **attrs):
    return helper.make_node(operator, ["" if i == "-" else i for i in inputs.split()], [output], **attrs)


def _run(nodes, inputs, constants, calls, opset=18):
    model = build(nodes, inputs, constants, opset=opset)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    loaded = pathweave.load(model)
    for given in calls:
        found, (wanted,) = loaded.run(given)["y"], session.run(None, given)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    return [row for plan in loaded.runnable().kept_plans() for row in of_plan(plan).layers]


def _x(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"])
def test_resize_to_sizes_of_the_run(mode, coordinates):
    nodes = [node("Resize", "x - - sizes", "y", mode=mode, coordinate_transformation_mode=coordinates)]
    x = _x(2, 3, 8, 7)
    calls = [{"x": x, "sizes": np.array([2, 3, h, w])} for h, w in ((5, 90), (8, 7), (17, 3))]
    assert _run(nodes, {"x": (x, ["n", 3, "h", "w"]), "sizes": calls[0]["sizes"]}, {}, calls) == []


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_pad_by_widths_of_the_run(mode):
    x = _x(3, 9, 8)
    calls = [{"x": x, "pads": np.array(pads)} for pads in ((0, 1, 2, 0, 3, 4), (0, 0, 0, 0, 0, 0), (1, 0, 5, 2, 7, 0))]
    assert _run([node("Pad", "x pads", "y", mode=mode)], {"x": (x, ["n", 9, 8]), "pads": calls[0]["pads"]}, {}, calls) == []


def test_a_constant_expanded_to_a_batch_that_is_open():
    x = _x(2, 1, 6)
    nodes = [node("Shape", "x", "n", start=0, end=1), node("Concat", "n rest", "shape", axis=0), node("Expand", "c shape", "e"),
             node("Concat", "e x", "y", axis=1)]
    constants = {"c": _x(1, 4, 6), "rest": np.array([1, 1])}
    assert _run(nodes, {"x": (x, ["n", 1, 6])}, constants, [{"x": _x(n, 1, 6)} for n in (2, 1, 5)]) == []

"""Layers whose inputs are all constants, and whose output's sizes are known when they run: against ONNX Runtime, and without
NumPy."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import pathweave as pw
from pathweave.runtime.interpreted import of_plan

C = np.random.default_rng(5).standard_normal((1, 3, 8, 10)).astype(np.float32)
TABLE = np.random.default_rng(6).standard_normal((64, 12)).astype(np.float32)
IDS = np.arange(64, dtype=np.int64).reshape(1, 64) * 7
FLAGS = np.arange(64).reshape(1, 64) % 3 == 0
CALLS = ((8, 10), (9, 12), (20, 17), (8, 30), (9, 12))


def number(name: str, value) -> object:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value, np.int64)))


def size(axis: int, name: str) -> object:
    """A node that gives the size of an axis of x, as a list of one."""
    return helper.make_node("Shape", ["x"], [name], start=axis, end=axis + 1)


def resized(mode: str) -> list[object]:
    return [helper.make_node("Shape", ["x"], ["hw"], start=2), number("front", [1, 3]),
            helper.make_node("Concat", ["front", "hw"], ["s"], axis=0),
            helper.make_node("Resize", ["c", "", "", "s"], ["v"], mode=mode)]


def expanded(*shape: str) -> list[object]:
    return [size(2, "h"), size(3, "w"), number("one", [1]), number("three", [3]),
            helper.make_node("Concat", list(shape), ["s"], axis=0), helper.make_node("Expand", ["c", "s"], ["v"])]


#: the constant, nodes that make v of it
CASES = {
    "slice of rows": (TABLE, [size(2, "h"), number("z", [0]), helper.make_node("Slice", ["c", "z", "h", "z"], ["v"])]),
    "slice of i64": (IDS, [size(3, "w"), number("z", [0]), number("a", [1]),
                           helper.make_node("Slice", ["c", "z", "w", "a"], ["v"])]),
    "slice backwards": (FLAGS, [size(3, "w"), number("z", [0]), number("a", [1]), number("back", [-1]),
                                helper.make_node("Slice", ["c", "w", "z", "a", "back"], ["v"])]),
    "expand": (C[:, :, :1, :1], expanded("one", "three", "h", "w")),
    "expand of a number": (np.float32(2.5), expanded("h", "w")),
    "expand of a truth value": (np.array([True]), expanded("h", "one", "w")),
    "tile": (C, [size(2, "h"), number("one", [1, 1, 2]), helper.make_node("Concat", ["one", "h"], ["s"], axis=0),
                 helper.make_node("Tile", ["c", "s"], ["v"])]),
    "pad": (C, [size(2, "h"), size(3, "w"), number("front", [0, 0, 1]), number("between", [0, 0]), number("last", [2]),
                helper.make_node("Concat", ["front", "w", "between", "h", "last"], ["s"], axis=0),
                helper.make_node("Pad", ["c", "s"], ["v"])]),
    "resize": (C, resized("linear")), "resize, nearest": (C, resized("nearest")), "resize, cubic": (C, resized("cubic")),
    "top": (TABLE, [size(3, "w"), helper.make_node("TopK", ["c", "w"], ["v", "at"], axis=0)]),
}


@pytest.mark.parametrize("name", CASES)
def test_of_a_constant(name):
    constant, nodes = CASES[name]
    nodes = [*nodes, helper.make_node("Conv", ["x", "k"], ["y"])]
    kernel = np.random.default_rng(7).standard_normal((4, 3, 1, 1)).astype(np.float32)
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_empty_tensor_value_info(v) for v in ("y", "v")],
        [numpy_helper.from_array(np.asarray(constant), "c"), numpy_helper.from_array(kernel, "k")])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    model, session = pw.load(data), onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for i, (h, w) in enumerate(CALLS):
        x = np.random.default_rng(i).standard_normal((1 + i % 2, 3, h, w)).astype(np.float32)
        for got, wanted in zip(model.run({"x": x}).values(), session.run(None, {"x": x}), strict=True):
            assert got.shape == wanted.shape and got.dtype == wanted.dtype
            assert np.allclose(got, wanted, rtol=2e-5, atol=5e-5) if wanted.dtype == np.float32 else np.array_equal(got, wanted)
    plans = model.runnable().kept_plans()
    assert plans
    assert [of_plan(p).layers for p in plans] == [()] * len(plans)

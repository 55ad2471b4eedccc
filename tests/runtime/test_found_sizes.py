"""Models whose sizes are contents of their inputs, computed by native routines, against ONNX Runtime and NumPy."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import pathweave as pw
from pathweave.errors import InputError, OutOfMemoryError, ShapeError, SizeError

F, I64 = TensorProto.FLOAT, TensorProto.INT64


def model_of(nodes, inputs, outputs=("y",)):
    """A model of nodes; `inputs`: name -> (element type, shape)."""
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info(n, *how) for n, how in inputs.items()],
                              [helper.make_empty_tensor_value_info(o) for o in outputs])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def list_of(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


X = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 7
#: operator, inputs beside x in several calls, attributes
CALLS = {
    "Reshape": ([[list_of(4, 6)], [list_of(-1, 2)], [list_of(0, 12)]], {}),
    "Expand": ([[list_of(5, 2, 3, 4)], [list_of(1, 2, 3, 4)], [list_of(2, 1, 1, 4)]], {}),
    "Tile": ([[list_of(1, 2, 3)], [list_of(3, 1, 1)], [list_of(1, 0, 2)], [list_of(40, 30, 2)]], {}),
    "Slice": ([[list_of(1), list_of(3), list_of(1)], [list_of(-2), list_of(2**31), list_of(2)],
               [list_of(9), list_of(9), list_of(0)]], {}),
    "TopK": ([[list_of(2)], [list_of(4)], [list_of(1)], [list_of(0)]], {"axis": 2}),
}


def native_routines(model: pw.LoadedModel) -> set[str]:
    """Routines of the steps of the plans of a model."""
    return {s.routine for plan in model.runnable().kept_plans() for s in plan.steps}


@pytest.mark.parametrize("op", CALLS)
def test_sizes_that_inputs_hold(op):
    """The value behind lies in memory that the run takes."""
    calls, attrs = CALLS[op]
    names = [f"n{i}" for i in range(len(calls[0]))]
    outputs = ["v", "w"] if op == "TopK" else ["v"]
    nodes = [helper.make_node("Neg", ["x"], ["m"]), helper.make_node(op, ["m", *names], outputs, **attrs),
             helper.make_node("Abs", ["v"], ["y"])]
    proto = model_of(nodes, {"x": (F, ["A", "B", "C"]), **{n: (I64, a.shape) for n, a in zip(names, calls[0], strict=True)}},
                     ("y", *outputs[1:]))
    model = pw.load(proto.SerializeToString())
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for numbers in calls:
        given = {"x": X, **dict(zip(names, numbers, strict=True))}
        got, wanted = model.run(given), session.run(None, given)
        for value, want in zip(got.values(), wanted, strict=True):
            assert value.shape == want.shape and np.array_equal(value, want), numbers
    assert not any("numpy" in routine for routine in native_routines(model))


@pytest.mark.parametrize("numbers", [(0, 7, 1), (9, -4, -3), (5, 5, 1), (3, 1, 2), (0, 60_000, 1)])
def test_range_of_inputs(numbers):
    nodes = [helper.make_node("Range", ["a", "b", "c"], ["r"]), helper.make_node("Neg", ["r"], ["y"])]
    model = pw.load(model_of(nodes, {n: (I64, []) for n in "abc"}).SerializeToString())
    got = model(dict(zip("abc", (np.array(n) for n in numbers), strict=True)))
    assert np.array_equal(got, -np.arange(*numbers)) and not any("numpy" in routine for routine in native_routines(model))


@pytest.mark.parametrize(("op", "numbers"), [("Reshape", (5, 5)), ("Reshape", (-1, -1)), ("Reshape", (-7, 2)),
                                             ("Expand", (5, 4)), ("Tile", (-1, 2)), ("ConstantOfShape", (-1, 2))])
def test_contents_that_say_no_size(op, numbers):
    inputs = ["n"] if op == "ConstantOfShape" else ["x", "n"]
    proto = model_of([helper.make_node(op, inputs, ["y"], name="it")], {"x": (F, ["A", "B"]), "n": (I64, [2])})
    with pytest.raises((ShapeError, InputError), match="'it'"):
        pw.load(proto.SerializeToString()).run({"x": np.ones((3, 4), np.float32), "n": list_of(*numbers)})


@pytest.mark.parametrize("op", ["Expand", "Tile", "ConstantOfShape"])
def test_sizes_beyond_all_memory(op, monkeypatch):
    inputs = ["n"] if op == "ConstantOfShape" else ["x", "n"]
    model = pw.load(model_of([helper.make_node(op, inputs, ["y"], name="it")],
                             {"x": (F, ["A", "B"]), "n": (I64, [2])}).SerializeToString())
    x = np.ones((1, 1), np.float32)
    with pytest.raises(OutOfMemoryError, match="'it'"):
        model.run({"x": x, "n": list_of(500_000, 500_000)})
    monkeypatch.setenv("PATHWEAVE_MAX_BYTES", "1000000")
    with pytest.raises(SizeError, match="'it'.*PATHWEAVE_MAX_BYTES"):
        model.run({"x": x, "n": list_of(1200, 1200)})


def test_unique_numbers_among_nan():
    """ONNX says what NumPy does; ONNX Runtime takes each NaN for a number of its own."""
    nodes = [helper.make_node("Unique", ["x"], ["y", "first", "group", "count"])]
    model = pw.load(model_of(nodes, {"x": (F, ["N"])}, ("y", "first", "group", "count")).SerializeToString())
    rng = np.random.default_rng(3)
    x = rng.choice(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5], np.float32), 40)
    got = model.run({"x": x})
    for value, want in zip(got.values(), np.unique(x, True, True, True), strict=True):
        assert np.array_equal(value, want.reshape(value.shape), equal_nan=value.dtype.kind == "f")


@pytest.mark.parametrize("threads", [1, 4])
def test_long_values(threads):
    """Enough elements that the work is shared out; sizes of two calls differ."""
    nodes = [helper.make_node("Greater", ["x", "zero"], ["c"]), helper.make_node("NonZero", ["c"], ["where"]),
             helper.make_node("Compress", ["x", "flat"], ["kept"]), helper.make_node("TopK", ["kept", "k"], ["top", "at"]),
             helper.make_node("CumSum", ["kept", "axis"], ["sum"], exclusive=1)]
    inputs = {"x": (F, ["A", "B"]), "zero": (F, []), "flat": (TensorProto.BOOL, ["N"]), "k": (I64, [1]), "axis": (I64, [])}
    model = pw.load(model_of(nodes, inputs, ("where", "kept", "top", "at", "sum")).SerializeToString(), threads=threads)
    rng = np.random.default_rng(4)
    for shape in ((300, 400), (311, 207), (2, 3)):
        x, flat = rng.standard_normal(shape).astype(np.float32), rng.random(shape[0] * shape[1]) < 0.5
        flat[0] = True
        k = min(5, int(flat.sum()))
        got = model.run({"x": x, "zero": np.float32(0), "flat": flat, "k": list_of(k), "axis": np.array(0)})
        kept = x.reshape(-1)[flat]
        order = np.argsort(-kept, kind="stable")[:k]
        assert np.array_equal(got["where"], np.stack(np.nonzero(x > 0))) and np.array_equal(got["kept"], kept)
        assert np.array_equal(got["at"], order) and np.array_equal(got["top"], kept[order])
        sums = np.concatenate([[0], np.cumsum(kept.astype(np.float64))[:-1]])
        assert np.allclose(got["sum"], sums, rtol=1e-6, atol=1e-6)

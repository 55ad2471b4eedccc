"""Axes and sizes that are known at run time alone, operators by ONNX's function of others, and spellings of old opsets."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import pathweave
from pathweave.errors import ModelError, UnsupportedOperatorError

X = np.random.default_rng(1).standard_normal((2, 3, 4)).astype(np.float32)


def _load(nodes, inputs, outputs, opset=18, constants=(), functions=()):
    """A model. `inputs`: name -> (element type, shape)."""
    values = [helper.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()]
    graph = helper.make_graph(nodes, "breadth", values, [helper.make_empty_tensor_value_info(v) for v in outputs],
                              [numpy_helper.from_array(a, n) for n, a in dict(constants).items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], functions=list(functions))
    return pathweave.load(model.SerializeToString())


@pytest.mark.parametrize("op, function", [("ReduceSum", np.sum), ("ReduceMax", np.max), ("ReduceMean", np.mean)])
@pytest.mark.parametrize("keep", [0, 1])
def test_axes_of_a_reduction_that_change_from_call_to_call(op, function, keep):
    node = helper.make_node(op, ["x", "a"], ["y"], keepdims=keep)
    model = _load([node], {"x": (TensorProto.FLOAT, [2, 3, 4]), "a": (TensorProto.INT64, [2])}, ["y"])
    for axes in ((0, 1), (-1, 0), (1, 2)):
        y = model.run({"x": X, "a": np.array(axes)})["y"]
        np.testing.assert_allclose(y, function(X, axes, keepdims=bool(keep)), rtol=1e-5)


@pytest.mark.parametrize("noop", [0, 1])
def test_a_list_of_axes_that_may_be_empty(noop):
    node = helper.make_node("ReduceSumSquare", ["x", "a"], ["y"], noop_with_empty_axes=noop)
    model = _load([node], {"x": (TensorProto.FLOAT, [2, 3, 4]), "a": (TensorProto.INT64, ["K"])}, ["y"])
    for axes in ((), (1,), (0, 2)):
        y = model.run({"x": X, "a": np.array(axes, np.int64)})["y"]
        wanted = X * X if noop and not axes else np.sum(X * X, axes or None, keepdims=True)
        np.testing.assert_allclose(y, wanted, rtol=1e-5)


def test_axes_and_sizes_of_movers_that_change_from_call_to_call():
    nodes = [helper.make_node("Unsqueeze", ["x", "a"], ["u"]), helper.make_node("Squeeze", ["u", "a"], ["q"]),
             helper.make_node("Split", ["x", "s"], ["p", "r"], axis=2)]
    model = _load(nodes, {"x": (TensorProto.FLOAT, [2, 3, 4]), "a": (TensorProto.INT64, [1]), "s": (TensorProto.INT64, [2])},
                  ["u", "q", "p", "r"])
    for axis, size in ((0, 1), (-1, 4), (2, 0)):
        found = model.run({"x": X, "a": np.array([axis]), "s": np.array([size, 4 - size])})
        np.testing.assert_array_equal(found["u"], np.expand_dims(X, axis))
        np.testing.assert_array_equal(found["q"], X)
        np.testing.assert_array_equal(found["p"], X[..., :size])
        np.testing.assert_array_equal(found["r"], X[..., size:])
    with pytest.raises(pathweave.Error, match="add up to 5"):
        model.run({"x": X, "a": np.array([0]), "s": np.array([2, 3])})


def test_constants_that_are_computed_cost_no_more_than_constants():
    """Axes that a model computes from shapes are attributes when the net is bound."""
    nodes = [helper.make_node("Shape", ["z"], ["d"]), helper.make_node("ReduceSum", ["x", "d"], ["y"])]
    model = _load(nodes, {"x": (TensorProto.FLOAT, [2, 3, 4]), "z": (TensorProto.FLOAT, ["N"])}, ["y"], 13)
    np.testing.assert_allclose(model.run({"x": X, "z": np.zeros(2, np.float32)})["y"], X.sum(2, keepdims=True), rtol=1e-5)


def test_a_function_of_others_within_a_function_of_the_model():
    gate = helper.make_node("SwiGLU", ["a", "b"], ["y"], alpha=2.0)
    function = helper.make_function("own", "Gate", ["a", "b"], ["y"], [gate], [helper.make_opsetid("", 28)])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 3]) for n in ("a", "b", "y")]
    graph = helper.make_graph([helper.make_node("Gate", ["a", "b"], ["y"], domain="own")], "g", values[:2], values[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 28), helper.make_opsetid("own", 1)],
                              functions=[function])
    a, b = (np.random.default_rng(i).standard_normal((4, 3)).astype(np.float32) for i in (0, 1))
    y = pathweave.load(model.SerializeToString()).run({"a": a, "b": b})["y"]
    np.testing.assert_allclose(y, a / (1 + np.exp(-2 * a)) * b, rtol=1e-5)


def test_what_a_function_of_others_needs_is_named(monkeypatch):
    from pathweave.importers import onnx as importer
    table = {name: function for name, function in importer.operators().items() if name not in ("Sin", "Cos", "BlackmanWindow")}
    monkeypatch.setattr(importer, "operators", lambda: table)
    with pytest.raises(UnsupportedOperatorError, match="Cos: 2 nodes, such as 'w/Cos_"):
        _load([helper.make_node("BlackmanWindow", ["n"], ["y"], name="w")], {"n": (TensorProto.INT64, [])}, ["y"], 17)


@pytest.mark.parametrize("axis, shape", [(None, (3, 4)), (0, (2,)), (1, (3,)), (1, (3, 4)), (-1, (4,)), (0, (2, 3))])
def test_the_second_operand_of_old_opsets_lies_along_the_axes_from_one_on(axis, shape):
    other = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    attributes = {"broadcast": 1, **({} if axis is None else {"axis": axis})}
    model = _load([helper.make_node("Mul", ["x", "b"], ["y"], **attributes)],
                  {"x": (TensorProto.FLOAT, [2, 3, 4]), "b": (TensorProto.FLOAT, list(shape))}, ["y"], 6)
    first = 3 - len(shape) if axis is None else axis % 3
    wide = other.reshape(shape + (1,) * (3 - first - len(shape)))
    np.testing.assert_allclose(model.run({"x": X, "b": other})["y"], X * wide, rtol=1e-6)


def test_an_operand_that_does_not_fit_behind_its_axis_is_refused():
    with pytest.raises(ModelError, match="does not fit behind it"):
        _load([helper.make_node("Add", ["x", "b"], ["y"], broadcast=1, axis=2)],
              {"x": (TensorProto.FLOAT, [2, 3, 4]), "b": (TensorProto.FLOAT, [3, 4])}, ["y"], 6)


def test_dropout_of_old_opsets_that_trains_is_refused():
    inputs = {"x": (TensorProto.FLOAT, [2, 3, 4])}
    with pytest.raises(UnsupportedOperatorError, match="is_test is 0"):
        _load([helper.make_node("Dropout", ["x"], ["y"])], inputs, ["y"], 6)
    model = _load([helper.make_node("Dropout", ["x"], ["y"], ratio=0.0)], inputs, ["y"], 6)
    np.testing.assert_array_equal(model.run({"x": X})["y"], X)


def test_batch_normalisation_with_a_parameter_for_each_element():
    rng = np.random.default_rng(3)
    scale, bias, mean, variance = (rng.uniform(0.5, 2, (3, 4)).astype(np.float32) for _ in range(4))
    constants = {"s": scale, "b": bias, "m": mean, "v": variance}
    node = helper.make_node("BatchNormalization", ["x", *constants], ["y"], spatial=0, is_test=1, epsilon=1e-3)
    model = _load([node], {"x": (TensorProto.FLOAT, [2, 3, 4])}, ["y"], 6, constants)
    wanted = scale * (X - mean) / np.sqrt(variance + 1e-3) + bias
    np.testing.assert_allclose(model.run({"x": X})["y"], wanted, rtol=1e-5, atol=1e-6)

"""Inputs without a rank of their own in `pathweave.onnxruntime`: calls give them one, as in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper

import pathweave as pw
import pathweave.onnxruntime as ours
from pathweave.onnxruntime.capi import onnxruntime_pybind11_state as states
from pathweave.onnxruntime.variants import MOST_VARIANTS

theirs = pytest.importorskip("onnxruntime", reason="onnxruntime, which the calls are compared with, is not installed")


def build(nodes, inputs, outputs, initializers=()) -> bytes:
    def infos(values):
        return [helper.make_tensor_value_info(*v) for v in values]
    graph = helper.make_graph(nodes, "g", infos(inputs), infos(outputs), list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def branch(name: str, value: float):
    constant = helper.make_node("Constant", [], [name], value=helper.make_tensor("c", T.FLOAT, [], [value]))
    return helper.make_graph([constant], name, [], [helper.make_tensor_value_info(name, T.FLOAT, [])])


def loop_body():
    infos = [helper.make_tensor_value_info(*v) for v in (("i", T.INT64, []), ("c", T.BOOL, []), ("s", T.FLOAT, [2]),
                                                         ("c2", T.BOOL, []), ("s2", T.FLOAT, [2]))]
    nodes = [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Add", ["s", "s"], ["s2"])]
    return helper.make_graph(nodes, "body", infos[:3], infos[3:])


X = np.arange(6, dtype=np.float32).reshape(2, 3)
#: name -> (node, inputs with their types, shapes and contents, output's type)
SCALARS = {
    "neg": (helper.make_node("Neg", ["s"], ["y"]), {"s": (T.FLOAT, [], 2.0)}, T.FLOAT),
    "add": (helper.make_node("Add", ["x", "s"], ["y"]), {"x": (T.FLOAT, ["A", "B"], X), "s": (T.FLOAT, [], 2.0)}, T.FLOAT),
    "gather": (helper.make_node("Gather", ["x", "s"], ["y"], axis=1),
               {"x": (T.FLOAT, ["A", "B"], X), "s": (T.INT64, [], 1)}, T.FLOAT),
    "unsqueeze": (helper.make_node("Unsqueeze", ["x", "s"], ["y"]),
                  {"x": (T.FLOAT, ["A", "B"], X), "s": (T.INT64, [], 1)}, T.FLOAT),
    "range": (helper.make_node("Range", ["a", "b", "c"], ["y"]),
              {"a": (T.INT64, [], 0), "b": (T.INT64, [], 5), "c": (T.INT64, [], 2)}, T.INT64),
    "if": (helper.make_node("If", ["c"], ["y"], then_branch=branch("one", 1.0), else_branch=branch("two", 2.0)),
           {"c": (T.BOOL, [], False)}, T.FLOAT),
    "loop": (helper.make_node("Loop", ["m", "c", "x"], ["y"], body=loop_body()),
             {"m": (T.INT64, [], 3), "c": (T.BOOL, [], True), "x": (T.FLOAT, [2], np.float32([1, 2]))}, T.FLOAT),
}


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize("name", SCALARS)
def test_a_scalar_may_be_given_as_an_array_of_one_element(name, rank):
    """The rank of the output is that which the array's rank leads to, as there."""
    node, inputs, kind = SCALARS[name]
    source = build([node], [(n, t, s) for n, (t, s, _) in inputs.items()], [("y", kind, None)])
    feed = {n: np.array(v, helper.tensor_dtype_to_np_dtype(t)).reshape((1,) * rank if s == [] else np.shape(v))
            for n, (t, s, v) in inputs.items()}
    try:
        expected, = theirs.InferenceSession(source).run(None, feed)
    except theirs.capi.onnxruntime_pybind11_state.InvalidArgument:
        assert name in ("range", "unsqueeze") and rank == 2  # not taken there
        return
    except theirs.capi.onnxruntime_pybind11_state.Fail:
        assert name == "unsqueeze" and rank != 1
        return
    found, = ours.InferenceSession(source).run(None, feed)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


def test_a_scalar_takes_arrays_of_any_shape_and_lists():
    """Rank 0 stands for a rank that is not known."""
    source = build([helper.make_node("Neg", ["x"], ["y"])], [("x", T.FLOAT, [])], [("y", T.FLOAT, [])])
    own, other = (e.InferenceSession(source) for e in (ours, theirs))
    for value in (X, X[:0], X[0], [2.0], [[1.0, 2.0]], X[None, ..., None]):
        np.testing.assert_array_equal(own.run(None, {"x": value})[0], other.run(None, {"x": value})[0], strict=True)


def test_a_scalar_of_a_file_of_the_own_format_takes_one_element(tmp_path):
    source = build([helper.make_node("Neg", ["x"], ["y"])], [("x", T.FLOAT, [])], [("y", T.FLOAT, [])])
    pw.load(source).save(tmp_path / "m.pw")
    session = ours.InferenceSession(tmp_path / "m.pw")
    np.testing.assert_array_equal(session.run(None, {"x": np.full((1, 1), 3, np.float32)})[0], np.float32(-3))
    with pytest.raises(states.InvalidArgument, match="Invalid rank for input: x Got: 1 Expected: 0"):
        session.run(None, {"x": X[0]})


@pytest.fixture(scope="module")
def without_ranks():
    """y = x @ w, s is its shape; of x nothing is declared but the type."""
    source = build([helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Shape", ["y"], ["s"])],
                   [("x", T.FLOAT, None), ("w", T.FLOAT, ["K", 2])], [("y", T.FLOAT, None), ("s", T.INT64, None)])
    return [engine.InferenceSession(source) for engine in (ours, theirs)]


def test_an_input_without_a_rank_is_described_before_the_first_call(without_ranks):
    own, other = ([str(a) for a in s.get_inputs() + s.get_outputs()] for s in without_ranks)
    assert own == other


def test_an_input_without_a_rank_takes_every_rank(without_ranks):
    own, other = without_ranks
    w = np.float32([[1, 2], [3, 4], [5, 6]])
    for shape in ((2, 3), (3,), (2, 2, 3), (1, 1, 4, 3), (2, 1, 1, 2, 3), (1,) * 5 + (3,), (2, 3), (0, 3)):
        x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        for a, b in zip(own.run(None, {"x": x, "w": w}), other.run(None, {"x": x, "w": w})):
            np.testing.assert_array_equal(a, b, strict=True)
    assert len(own._variants._models) == MOST_VARIANTS
    with pytest.raises(RuntimeError, match="MatMul"):
        own.run(None, {"x": np.float32(1).reshape(1)[0:1, None], "w": w})
    with pytest.raises(states.InvalidArgument, match="Unexpected input data type"):
        own.run(None, {"x": np.ones((2, 3)), "w": w})


@pytest.mark.parametrize("declared", [[], None], ids=["scalar", "no shape"])
def test_an_initializer_that_is_given_has_the_rank_of_the_array(declared):
    source = build([helper.make_node("Mul", ["x", "v"], ["y"])], [("x", T.FLOAT, None), ("v", T.FLOAT, declared)],
                   [("y", T.FLOAT, None)], [helper.make_tensor("v", T.FLOAT, [], [2.0])])
    own, other = (e.InferenceSession(source) for e in (ours, theirs))
    assert [str(a) for a in own.get_overridable_initializers()] == [str(a) for a in other.get_overridable_initializers()]
    for feed in ({}, {"v": np.full((), 3, np.float32)}, {"v": np.full((1, 1, 1), 4, np.float32)}):
        np.testing.assert_array_equal(own.run(None, {"x": X, **feed})[0], other.run(None, {"x": X, **feed})[0], strict=True)


def test_an_initializer_without_a_declared_shape_may_be_given():
    source = build([helper.make_node("Mul", ["x", "v"], ["y"])], [("x", T.FLOAT, [2, 3]), ("v", T.FLOAT, None)],
                   [("y", T.FLOAT, None)], [helper.make_tensor("v", T.FLOAT, [3], [2.0, 3.0, 4.0])])
    for engine in (ours, theirs):
        session = engine.InferenceSession(source)
        np.testing.assert_array_equal(session.run(None, {"x": X})[0], X * [2, 3, 4])
        np.testing.assert_array_equal(session.run(None, {"x": X, "v": X[1]})[0], X * X[1])


def test_operators_that_are_not_covered_are_told_when_the_session_is_made():
    nodes = [helper.make_node("Conv", ["x", "x"], ["a"]), helper.make_node("Nope", ["a"], ["b"]),
             helper.make_node("Never", ["x"], ["y"])]
    with pytest.raises(states.NotImplemented, match="(?s)Nope.*Never"):
        ours.InferenceSession(build(nodes, [("x", T.FLOAT, None)], [("y", T.FLOAT, None)]))


def test_names_of_sizes_that_a_call_makes_meet_no_others():
    """`x_0` is the name of a size of another input."""
    source = build([helper.make_node("Concat", ["x", "z"], ["y"], axis=0)], [("x", T.FLOAT, None), ("z", T.FLOAT, ["x_0", 3])],
                   [("y", T.FLOAT, None)])
    for engine in (ours, theirs):
        found, = engine.InferenceSession(source).run(None, {"x": X, "z": X[:1]})
        np.testing.assert_array_equal(found, np.concatenate([X, X[:1]]))


def test_a_tuned_route_is_taken_at_the_rank_that_it_is_for(tmp_path):
    weight = helper.make_tensor("w", T.FLOAT, [8, 3, 3, 3], np.random.default_rng(0).standard_normal(216).astype("f4"))
    source = build([helper.make_node("Conv", ["x", "w"], ["y"])], [("x", T.FLOAT, None)], [("y", T.FLOAT, None)], [weight])
    loaded = pw.load(source, threads=1, shapes={"x": ("N", 3, 9, 9)})
    loaded.add_route(pw.default_route(loaded, 1, restrict="conv2/im2col", shapes={"N": 1}))
    loaded.save(tmp_path / "tuned.pw")
    options = ours.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("pathweave.route", str(tmp_path / "tuned.pw"))
    session = ours.InferenceSession(source, options)
    x = np.random.default_rng(1).standard_normal((1, 3, 9, 9)).astype("f4")
    found, = session.run(None, {"x": x})
    np.testing.assert_allclose(found, theirs.InferenceSession(source).run(None, {"x": x})[0], atol=1e-5)
    model, = session._variants._models.values()
    assert "conv2/im2col:f32:nhwc:cpu" in [s.routine for s in model.plan(shapes={"x": x.shape}).steps]

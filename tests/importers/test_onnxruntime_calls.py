"""Calls of `pathweave.onnxruntime` that ONNX Runtime refuses, or takes although that is a surprise: the same exceptions."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper

import pathweave.onnxruntime as ours
from pathweave.onnxruntime.capi import onnxruntime_pybind11_state as states

theirs = pytest.importorskip("onnxruntime", reason="onnxruntime, which the calls are compared with, is not installed")


@pytest.fixture(scope="module")
def model() -> bytes:
    """y = x + w."""
    infos = [helper.make_tensor_value_info(n, T.FLOAT, s) for n, s in (("x", ["N", 3]), ("w", [3]), ("y", ["N", 3]))]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", infos[:2], infos[2:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


X, W = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)

class Own(np.ndarray):
    """A class of arrays."""


ENGINES = pytest.mark.parametrize("engine", [ours, theirs], ids=["own", "other"])


@ENGINES
@pytest.mark.parametrize("options", [{}, 5, "x", False], ids=repr)
def test_options_of_a_run_that_are_none_are_a_type_error(model, engine, options):
    session = engine.InferenceSession(model)
    with pytest.raises(TypeError, match=r"run\(\)"):
        session.run(None, {"x": X, "w": W}, options)
    values = {n: engine.OrtValue.ortvalue_from_numpy(a) for n, a in (("x", X), ("w", W))}
    with pytest.raises(TypeError, match=r"run_with_ort_values\(\)"):
        session.run_with_ort_values(None, values, options)


@ENGINES
@pytest.mark.parametrize(("names", "more"), [("y", {}), (5, {}), ([1], {}), ({"y": 1}, {}), (None, {3: X})],
                         ids=["text", "number", "numbers", "mapping", "name of an input"])
def test_names_that_are_none_are_a_type_error(model, engine, names, more):
    with pytest.raises(TypeError):
        engine.InferenceSession(model).run(names, {"x": X, "w": W, **more})


@pytest.mark.parametrize("names", [("y",), {"y"}, {"y": 1}.keys(), np.array(["y"])], ids=["tuple", "set", "keys", "array"])
def test_names_may_come_in_any_collection(model, names):
    for engine in (ours, theirs):
        found, = engine.InferenceSession(model).run(names, {"x": X, "w": W})
        np.testing.assert_array_equal(found, X + 1)


@ENGINES
def test_what_is_wrong_with_a_call_in_a_thread_is_told(model, engine):
    """Missing inputs at once; types through the callback."""
    session = engine.InferenceSession(model)
    with pytest.raises(ValueError, match="Required inputs"):
        session.run_async(["y"], {"x": X}, print, None)
    with pytest.raises((TypeError, RuntimeError)):
        session.run_async(["y"], {"x": X, "w": W}, print, None, {})
    told, done = [], threading.Event()

    def take(*found):
        told.append(found)
        done.set()
    session.run_async(["y"], {"x": X.astype("f8"), "w": W}, take, "data")
    assert done.wait(30)
    (results, data, error), = told
    assert len(results) == 0 and data == "data" and "Unexpected input data type" in error


@ENGINES
@pytest.mark.parametrize("dtype", ["c8", "M8[s]", "m8[s]"])
def test_arrays_of_no_type_of_onnx_are_a_runtime_error(model, engine, dtype):
    with pytest.raises(RuntimeError, match="can't be converted"):
        engine.InferenceSession(model).run(None, {"x": np.zeros((2, 3), dtype), "w": W})


@pytest.mark.parametrize("value", [np.ma.masked_array(X, X > 2), X.view(Own)], ids=["masked", "subclass"])
def test_arrays_of_other_classes_count_by_their_elements(model, value):
    for engine in (ours, theirs):
        session = engine.InferenceSession(model)
        held = engine.OrtValue.ortvalue_from_numpy(value)
        assert type(held.numpy()) is np.ndarray
        for given in (value, held):
            found, = session.run(None, {"x": given, "w": W})
            assert type(found) is np.ndarray
            np.testing.assert_array_equal(found, X + 1)


def bound(engine, session, change):
    """A binding of the session with one change."""
    binding = session.io_binding()
    binding.bind_cpu_input("x", X)
    binding.bind_cpu_input("w", W)
    binding.bind_output("y")
    change(engine, binding)
    return binding


CHANGES = {
    "type": lambda e, b: b.bind_cpu_input("x", X.astype("f8")),
    "rank": lambda e, b: b.bind_cpu_input("x", X[0]),
    "size": lambda e, b: b.bind_cpu_input("x", X[:, :2].copy()),
    "missing": lambda e, b: b.clear_binding_inputs(),
    "output": lambda e, b: b.bind_output("nope"),
    "memory of another type": lambda e, b: b.bind_ortvalue_output(
        "y", e.OrtValue.ortvalue_from_shape_and_type([2, 3], np.float64)),
    "memory of another rank": lambda e, b: b.bind_ortvalue_output(
        "y", e.OrtValue.ortvalue_from_shape_and_type([6], np.float32)),
}


@pytest.mark.parametrize("name", CHANGES)
@ENGINES
def test_what_is_wrong_with_bound_memory_is_a_runtime_error(model, engine, name):
    session = engine.InferenceSession(model)
    with pytest.raises(RuntimeError, match="^(.pathweave. : 6 : RUNTIME_EXCEPTION : )?Error in execution: [A-Zo]"):
        session.run_with_iobinding(bound(engine, session, CHANGES[name]))


@ENGINES
def test_a_run_that_is_to_end_or_a_binding_of_another_session(model, engine):
    session, options = engine.InferenceSession(model), engine.RunOptions()
    options.terminate = True
    binding = bound(engine, session, lambda e, b: None)
    with pytest.raises(RuntimeError, match="terminate flag"):
        session.run_with_iobinding(binding, options)
    with pytest.raises(ValueError, match="session that created it"):
        engine.InferenceSession(model).run_with_iobinding(binding)
    session.run_with_iobinding(binding)
    np.testing.assert_array_equal(binding.copy_outputs_to_cpu()[0], X + 1)


@pytest.mark.parametrize(("node", "shapes"), [
    (helper.make_node("Add", ["x", "z"], ["y"]), ((2,), (3,))),
    (helper.make_node("MatMul", ["x", "z"], ["y"]), ((2, 2), (3, 2))),
    (helper.make_node("Concat", ["x", "z"], ["y"], axis=0), ((2, 2), (3, 1))),
    (helper.make_node("Gemm", ["x", "z"], ["y"]), ((2, 2), (3, 2))),
], ids=lambda v: getattr(v, "op_type", ""))
def test_sizes_that_an_operator_refuses_are_the_exception_that_it_raises_there(node, shapes):
    """Which of the three classes that is depends on the operator; here it is an instance of each."""
    infos = [helper.make_tensor_value_info(n, T.FLOAT, [f"{n}{i}" for i in range(len(s))]) for n, s in zip("xz", shapes)]
    graph = helper.make_graph([node], "g", infos, [helper.make_tensor_value_info("y", T.FLOAT, None)])
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    feed = {n: np.ones(s, np.float32) for n, s in zip("xz", shapes)}
    with pytest.raises(Exception, match=node.op_type) as there:
        theirs.InferenceSession(source).run(None, feed)
    with pytest.raises(getattr(states, type(there.value).__name__)) as here:
        ours.InferenceSession(source).run(None, feed)
    copy = pickle.loads(pickle.dumps(here.value))
    assert type(copy) is type(here.value) and copy.words == here.value.words and isinstance(copy, RuntimeError)

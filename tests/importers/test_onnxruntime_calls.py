"""Calls of `pathweave.onnxruntime` that ONNX Runtime refuses, or takes although that is a surprise: the same exceptions."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper

import pathweave.onnxruntime as ours

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

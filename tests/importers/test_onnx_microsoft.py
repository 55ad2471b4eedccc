"""Operators of com.microsoft that ai.onnx has too, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, NotImplemented

import pathweave as pw

X = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
I64 = np.int64
CASES = {
    "Trilu": [([X], {}), ([X], {"upper": 0}), ([X, np.array(1, I64)], {"upper": 1})],
    "ExpandDims": [([X, np.array(2, np.int32)], {}), ([X, np.array(-1, np.int32)], {})],
    "Range": [([np.float32(1), np.float32(7), np.float32(2)], {})],
    "GatherND": [([X, np.array([[0, 1], [1, 2]], I64)], {})],
    "TransposeMatMul": [([X, X], {"transB": 1}), ([X, X], {"transA": 1, "alpha": 0.5})],
    "BiasSoftmax": [([X, X[:1, :1]], {"axis": 3, "is_inner_broadcast": 1}), ([X, X[:1]], {"axis": 2, "is_inner_broadcast": 1})],
}


@pytest.mark.parametrize("op, i", [(op, i) for op, cases in CASES.items() for i in range(len(cases))])
@pytest.mark.parametrize("constants", [False, True])
def test_the_operator_agrees(op, i, constants):
    arrays, attrs = CASES[op][i]
    arrays = [np.asarray(a) for a in arrays]
    names = [f"x{k}" for k in range(len(arrays))]
    kept = 1 if constants else len(arrays)
    values = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
              for n, a in zip(names, arrays)]
    weights = [numpy_helper.from_array(a, n) for n, a in list(zip(names, arrays))[kept:]]
    node = helper.make_node(op, names, ["y"], domain="com.microsoft", **attrs)
    graph = helper.make_graph([node], "g", values[:kept], [helper.make_empty_tensor_value_info("y")], weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    data = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    feeds = dict(zip(names[:kept], arrays))
    try:
        (wanted,) = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, feeds)
    except (Fail, InvalidGraph, NotImplemented) as e:
        if op != "BiasSoftmax":
            pytest.skip(f"ONNX Runtime has no kernel for it: {e}")
        wanted = _bias_softmax(*arrays, **attrs)
    found = pw.load(data).run(feeds)["y"]
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, 1e-5, 1e-6)


def _bias_softmax(x, bias, axis, is_inner_broadcast):
    total = (x.astype(np.float64) + bias).reshape(*x.shape[:axis], -1)
    e = np.exp(total - total.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)).reshape(x.shape).astype(np.float32)

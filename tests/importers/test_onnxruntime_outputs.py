"""What `get_outputs` of `pathweave.onnxruntime` tells of sizes that the file leaves open: the same as in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

import pathweave.onnxruntime as ours

theirs = pytest.importorskip("onnxruntime", reason="onnxruntime, which the descriptions are compared with, is not installed")

W, M = np.zeros((8, 3, 3, 3), np.float32), np.zeros((3, 2), np.float32)
CONV, RELU, MATMUL = (helper.make_node("Conv", ["x", "w"], ["y"]), helper.make_node("Relu", ["x"], ["y"]),
                      helper.make_node("MatMul", ["x", "m"], ["y"]))
ADD, RESHAPE = helper.make_node("Add", ["x", "z"], ["y"]), helper.make_node("Reshape", ["x", "s"], ["y"])
CONCAT = helper.make_node("Concat", ["x", "z"], ["y"], axis=0)
#: (node, shapes of the inputs, declared shape of the output, initializers)
CASES = {
    "sizes of a convolution": (CONV, {"x": [1, 3, 9, 9]}, [None] * 4, {"w": W}),
    "names of a convolution": (CONV, {"x": ["N", 3, "H", 9]}, ["a", "b", "c", "d"], {"w": W}),
    "a size that follows from a symbol": (CONV, {"x": ["N", 3, "H", 9]}, [None] * 4, {"w": W}),
    "symbols of the input": (RELU, {"x": ["N", 3]}, [None, None], {}),
    "no shape": (RELU, {"x": ["N", 3]}, None, {}),
    "symbols of its own": (RELU, {"x": ["N", "L"]}, ["M", "K"], {}),
    "declared sizes": (RELU, {"x": ["N", "L"]}, [4, 5], {}),
    "another declared size": (RELU, {"x": [2, 3]}, [4, 3], {}),
    "another declared rank": (RELU, {"x": [2, 3]}, [2], {}),
    "an unknown input size": (RELU, {"x": [None, 3]}, ["B", 3], {}),
    "columns": (MATMUL, {"x": ["B", "T", 3]}, ["B", "T", "A"], {"m": M}),
    "a constant shape": (RESHAPE, {"x": ["N", 4]}, [None, None], {"s": np.int64([2, -1])}),
    "a shape that keeps a symbol": (RESHAPE, {"x": ["N", 4]}, [None, None], {"s": np.int64([0, -1])}),
    "a sum of symbols": (CONCAT, {"x": ["N", 4], "z": ["M", 4]}, [None, None], {}),
    "a sum of sizes": (CONCAT, {"x": [2, 4], "z": [3, 4]}, ["A", None], {}),
    "two symbols": (ADD, {"x": ["N", 4], "z": ["M", 4]}, [None, None], {}),
    "a size and a symbol": (ADD, {"x": ["N", 4], "z": [7, "K"]}, [None, None], {}),
    "contents": (helper.make_node("NonZero", ["x"], ["y"]), {"x": ["N", 4]}, [None, None], {}),
}


@pytest.mark.parametrize("fixed", [False, True], ids=["open", "N=7"])
@pytest.mark.parametrize("name", CASES)
def test_sizes_that_can_be_found_out_are_told(name, fixed):
    node, inputs, output, weights = CASES[name]
    kind = T.INT64 if node.op_type == "NonZero" else T.FLOAT
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info(n, T.FLOAT, s) for n, s in inputs.items()],
                              [helper.make_tensor_value_info("y", kind, output)],
                              [numpy_helper.from_array(a, n) for n, a in weights.items()])
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    told = []
    for engine in (ours, theirs):
        options = engine.SessionOptions()
        options.log_severity_level = 4
        if fixed:
            options.add_free_dimension_override_by_name("N", 7)
        session = engine.InferenceSession(source, options)
        told.append([str(a) for a in (*session.get_inputs(), *session.get_outputs())])
    assert told[0] == told[1]

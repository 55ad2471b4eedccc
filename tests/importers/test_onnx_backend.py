"""The door `pathweave.importers.onnx.backend`: ONNX's standard interface of backends."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import pathweave.importers.onnx.backend as backend
from pathweave.errors import InputError


def _sum() -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 2]) for n in ("a", "b", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["y"])], "sum", values[:2], values[2:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("by_name", [False, True])
def test_a_prepared_model_runs_at_several_sizes(rows, by_name):
    a, b = np.ones((rows, 2), np.float32), np.full((rows, 2), 2, np.float32)
    outputs = backend.prepare(_sum()).run({"a": a, "b": b} if by_name else [a, b])
    np.testing.assert_array_equal(outputs.y, np.full((rows, 2), 3, np.float32))
    np.testing.assert_array_equal(outputs["y"], outputs[0])


def test_a_missing_input_is_refused():
    with pytest.raises(InputError, match="got 1 input, expected 2: a, b"):
        backend.prepare(_sum()).run([np.ones((1, 2), np.float32)])


def test_a_node_runs_alone():
    node = helper.make_node("Concat", ["x", "y"], ["z"], axis=0)
    x, y = np.arange(3, dtype=np.int64), np.arange(2, dtype=np.int64)
    (z,) = backend.run_node(node, [x, y])
    np.testing.assert_array_equal(z, [0, 1, 2, 0, 1])
    with pytest.raises(InputError, match="Concat has 2 inputs, got 1 array"):
        backend.run_node(node, [x])


def test_other_devices_and_models_are_refused():
    assert backend.supports_device("CPU") and not backend.supports_device("CUDA:0")
    with pytest.raises(InputError, match="device 'CUDA'"):
        backend.prepare(_sum(), "CUDA")
    unknown = _sum()
    unknown.graph.node[0].op_type = "NoSuchOperator"
    assert backend.is_compatible(_sum()) and not backend.is_compatible(unknown)

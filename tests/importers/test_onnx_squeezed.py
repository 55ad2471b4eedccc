"""The If that torch.onnx writes for a squeeze of an axis of open size."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import pathweave as pw
from pathweave.errors import Error, UnsupportedOperatorError


def node(operator, inputs, output, **attrs):
    return helper.make_node(operator, inputs.split(), [output], **attrs)


def constant(value, name):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value, np.int64)))


def model(condition="size", other="x", axis=2, asked=2) -> bytes:
    """x[1,B,T]: its last axis is squeezed where it is 1; an If reads the result. `condition`: "size" or an input."""
    branches = [helper.make_graph(nodes, "branch", [], [helper.make_empty_tensor_value_info(nodes[-1].output[0])])
                for nodes in ([constant([axis], "axes"), node("Squeeze", "x axes", "squeezed")],
                              [node("Identity", other, "same")])]
    inner = [helper.make_graph([node(op, "v", name)], "inner", [], [helper.make_empty_tensor_value_info(name)])
             for op, name in (("Neg", "a"), ("Abs", "b"))]
    asks = [node("Shape", "x", "shape"), constant(asked, "axis"), node("Gather", "shape axis", "length", axis=0),
            constant(1, "one"), node("Equal", "length one", "size")]
    nodes = [*asks, helper.make_node("If", [condition], ["v"], then_branch=branches[0], else_branch=branches[1]),
             helper.make_node("If", ["flag"], ["y"], then_branch=inner[0], else_branch=inner[1])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "B", "T"]),
              helper.make_tensor_value_info("flag", TensorProto.BOOL, [])]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_empty_tensor_value_info("y")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8).SerializeToString()


def test_the_size_is_taken_to_be_one():
    loaded, session = pw.load(model()), onnxruntime.InferenceSession(model(), providers=["CPUExecutionProvider"])
    for batch in (3, 5):
        for flag in (False, True):
            x = np.random.default_rng(batch).standard_normal((1, batch, 1)).astype(np.float32)
            feeds = {"x": x, "flag": np.array(flag)}
            np.testing.assert_array_equal(np.asarray(loaded.run(feeds)["y"]), session.run(None, feeds)[0])


def test_another_size_is_an_error_and_no_wrong_answer():
    loaded = pw.load(model())
    with pytest.raises(Error, match="length 1"):
        loaded.run({"x": np.ones((1, 3, 2), np.float32), "flag": np.array(True)})


@pytest.mark.parametrize("how", [{"condition": "flag"}, {"asked": 1}])
def test_another_condition_is_another_if(how):
    with pytest.raises(UnsupportedOperatorError, match="the rank or the element type of 'v'"):
        pw.load(model(**how))

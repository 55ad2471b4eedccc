"""Branches whose shapes fit only at some sizes, as silero-vad has them: the one that is taken counts."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import pathweave as pw
from pathweave.errors import ModelError, ShapeError
from pathweave.layers import kind_of


def _model(nested: bool) -> bytes:
    """x [N, L] -> its only column (then), or the sum of each row (else); with `nested` one If more around the then branch."""
    axis = numpy_helper.from_array(np.array([1], np.int64), "axis")

    def graph(name: str, nodes: list) -> onnx.GraphProto:
        output = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, ["N"])
        return helper.make_graph(nodes, name, [], [output])
    column = graph("column", [helper.make_node("Squeeze", ["x", "axis"], ["s"]), helper.make_node("Neg", ["s"], ["t"])])
    total = graph("total", [helper.make_node("ReduceSum", ["x", "axis"], ["r"], keepdims=0)])
    then = column
    if nested:
        other = graph("total2", [helper.make_node("ReduceSum", ["x", "axis"], ["r2"], keepdims=0)])
        then = graph("outer", [helper.make_node("If", ["c2"], ["i"], then_branch=column, else_branch=other)])
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "L"]),
              *(helper.make_tensor_value_info(n, TensorProto.BOOL, []) for n in ("c", "c2"))]
    nodes = [helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=total),
             helper.make_node("Identity", ["c2"], ["z"])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
               helper.make_tensor_value_info("z", TensorProto.BOOL, [])]
    made = helper.make_graph(nodes, "g", inputs, outputs, [axis])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_branch_that_does_not_fit_keeps_nobody_from_the_other(nested, threads):
    model = pw.load(_model(nested), threads=threads)
    for rows, columns in ((2, 3), (3, 1), (1, 4), (2, 1)):
        x = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns) + 1
        found = model.run({"x": x, "c": np.array(False), "c2": np.array(True)})
        np.testing.assert_array_equal(found["y"], x.sum(1))
        if columns == 1:
            found = model.run({"x": x, "c": np.array(True), "c2": np.array(True)})
            np.testing.assert_array_equal(found["y"], -x[:, 0])


@pytest.mark.parametrize("nested", [False, True])
def test_taking_it_says_what_does_not_fit(nested):
    model = pw.load(_model(nested))
    for _ in range(2):
        with pytest.raises(ShapeError, match=r"a branch was taken that does not fit the shapes.*squeeze.*expected length 1"):
            model.run({"x": np.ones((2, 3), np.float32), "c": np.array(True), "c2": np.array(True)})
    with pytest.raises(ShapeError, match=r"^session: branch '[^']*/then_branch': a branch was taken") as e:
        model.run({"x": np.ones((2, 3), np.float32), "c": np.array(True), "c2": np.array(True)})
    assert "step" not in str(e.value) and "impossible" not in str(e.value)


def test_what_stands_for_a_branch_is_in_no_list_of_kinds():
    with pytest.raises(ModelError) as e:
        kind_of("convv")
    assert "conv2" in str(e.value) and "impossible" not in str(e.value)
    assert kind_of("impossible").refuses


@pytest.mark.parametrize("columns", [1, 4])
@pytest.mark.parametrize("fixed", ["in the file", "when it is read"])
def test_a_branch_that_does_not_fit_fixed_sizes_may_hold_branches(columns, fixed):
    """An If inside reads what the branch that does not fit makes, of which nothing is known then."""
    axis = numpy_helper.from_array(np.array([1], np.int64), "axis")

    def graph(name: str, nodes: list) -> onnx.GraphProto:
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)])
    inner = [graph(f"inner{op}", [helper.make_node(op, ["s"], [f"i{op}"])]) for op in ("Relu", "Neg")]
    column = graph("column", [helper.make_node("Squeeze", ["x", "axis"], ["s"]),
                              helper.make_node("If", ["c2"], ["t"], then_branch=inner[0], else_branch=inner[1])])
    total = graph("total", [helper.make_node("ReduceSum", ["x", "axis"], ["r"], keepdims=0)])
    shape = [2, columns] if fixed == "in the file" else ["N", "L"]
    made = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=column, else_branch=total)], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape),
         *(helper.make_tensor_value_info(n, TensorProto.BOOL, []) for n in ("c", "c2"))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [axis])
    data = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    model = pw.load(data, **({} if fixed == "in the file" else {"shapes": {"x": (2, columns)}}))
    x = np.arange(2 * columns, dtype=np.float32).reshape(2, columns) + 1
    np.testing.assert_array_equal(model({"x": x, "c": np.array(False), "c2": np.array(True)}), x.sum(1))
    if columns == 1:
        np.testing.assert_array_equal(model({"x": x, "c": np.array(True), "c2": np.array(False)}), -x[:, 0])
    else:
        with pytest.raises(ShapeError, match="a branch was taken that does not fit"):
            model({"x": x, "c": np.array(True), "c2": np.array(False)})

"""Shapes that a caller gives to a model that is read: what fits no layer is told there, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import pathweave as pw
from pathweave.errors import ShapeError


def model(nodes: list, shape: list, **weights: np.ndarray) -> bytes:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", shape), ("y", None)))
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(a, n) for n, a in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def convolution() -> bytes:
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Conv", ["a", "w"], ["y"], "conv", pads=[1] * 4)]
    return model(nodes, ["N", 3, "H", "W"], w=np.ones((8, 3, 3, 3), np.float32))


def reshaped() -> bytes:
    """It takes images of 640 numbers, whatever their sides."""
    return model([helper.make_node("Reshape", ["x", "sides"], ["y"], "reshape")], [1, 640], sides=np.int64([16, 40]))


def branches() -> bytes:
    """A matrix of 4 columns is multiplied, every other one is not."""
    def branch(name: str, node: object) -> object:
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])
    one, other = branch("t", helper.make_node("MatMul", ["x", "w"], ["t"])), branch("e", helper.make_node("Neg", ["x"], ["e"]))
    nodes = [helper.make_node("Shape", ["x"], ["s"], start=1), helper.make_node("Equal", ["s", "four"], ["c"]),
             helper.make_node("If", ["c"], ["y"], "if", then_branch=one, else_branch=other)]
    return model(nodes, ["N", 4], w=np.ones((4, 4), np.float32), four=np.int64([4]))


@pytest.mark.parametrize("shape", [(1, 4, 32, 24), ("N", 4, 8, 8), (1, 4, "H", "W"), ("N", 4, "H", "W"), (2, 1, 9, 9)])
def test_channels_that_the_weights_do_not_have(shape):
    with pytest.raises(ShapeError, match=r"load: the shapes do not fit \(x f32\[.*layer 'conv'"):
        pw.load(convolution(), shapes={"x": shape})


@pytest.mark.parametrize("shape", [(1, 3, 32, 24), ("N", 3, 8, 8), ("N", "C", "H", "W"), ("N", 3, "H", 1), (0, 3, 4, 4)])
def test_shapes_that_fit_or_may(shape):
    loaded = pw.load(convolution(), shapes={"x": shape})
    assert loaded.inputs["x"].shape == shape
    assert loaded(np.ones([d if isinstance(d, int) else 3 for d in shape], np.float32)).shape[1] == 8


def test_a_size_that_one_number_fits():
    """640 is none of the sizes that are tried."""
    assert pw.load(reshaped(), shapes={"x": (1, "L")})(np.ones((1, 640), np.float32)).shape == (16, 40)
    with pytest.raises(ShapeError, match="load: the shapes do not fit.*'reshape'"):
        pw.load(reshaped(), shapes={"x": (1, 641)})


@pytest.mark.parametrize("shape", [(2, 4), (2, 5), ("N", 5), ("N", "C")])
def test_a_branch_that_is_not_taken_need_not_fit(shape):
    x = np.arange(10.0, dtype=np.float32).reshape(2, 5)[:, :shape[1] if isinstance(shape[1], int) else 5]
    got = pw.load(branches(), shapes={"x": shape})(x)
    np.testing.assert_array_equal(got, -x if x.shape[1] != 4 else x @ np.ones((4, 4), np.float32))


def test_import_writes_no_model_that_cannot_run(tmp_path, capsys):
    from pathweave.cli import main
    (tmp_path / "m.onnx").write_bytes(convolution())
    with pytest.raises(SystemExit) as end:
        main(["import", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "m.pw"), "--shape", "x=1x4x32x24"])
    assert end.value.code and not (tmp_path / "m.pw").exists()
    assert "the shapes do not fit (x f32[1,4,32,24]): layer 'conv'" in capsys.readouterr().err

"""The order of candidates where nothing is measured: routines that call themselves fast come first."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

import pathweave as pw
from pathweave.net.net import Epilogue, TensorSpec
from pathweave.net.problem import Problem
from pathweave.runtime.catalogue import candidates


def first(kind: str, x: tuple, w: tuple, y: tuple, accuracy: str = "f32", **options) -> str:
    """The algorithm of the first candidate."""
    specs = [TensorSpec("f32", s) for s in (x, w)]
    attrs = {"stride": (1, 1), "pad": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1} if kind == "conv2" else {}
    problem = Problem.make(kind, specs, [False, kind != "matmul"], [TensorSpec("f32", y)], attrs, threads=2, **options)
    return candidates(problem, accuracy=accuracy)[0][0].algorithm


@pytest.mark.parametrize("epilogue", [Epilogue(), Epilogue(False, "relu")], ids=["bare", "relu"])
def test_what_calls_itself_fast_comes_first(epilogue):
    def conv(inputs: int, outputs: int, accuracy: str = "f32") -> str:
        return first("conv2", (1, inputs, 28, 28), (outputs, inputs, 3, 3), (1, outputs, 28, 28), accuracy, epilogue=epilogue)
    assert conv(64, 64) == "winograd4"
    assert conv(3, 64) == conv(64, 8) == conv(64, 64, "strict") == "direct"


def test_few_rows_are_no_matrix():
    assert first("dense", (1, 256), (512, 256), (1, 512)) == "gemv"
    assert first("dense", (64, 256), (512, 256), (64, 512)) == "gemm"
    assert first("matmul", (8, 64), (64, 1), (8, 1)) == "gemv"
    assert first("matmul", (1, 64), (64, 8), (1, 8)) == "gevm"


def transposed(x: tuple, w: tuple, stride: int, pad: int = 0, groups: int = 1) -> list[str]:
    """Routines of a transposed convolution in the order of the catalogue, those of f32 that keep one layout."""
    out = tuple(stride * (size - 1) + k - 2 * pad for size, k in zip(x[2:], w[2:]))
    attrs = {"stride": (stride, stride), "pad": (pad,) * 4, "dilation": (1, 1), "groups": groups, "output_pad": (0, 0)}
    if x[2] == 1:
        attrs["pad"], out = (0, pad, 0, pad), (1, out[1])
    problem = Problem.make("conv_transpose2", [TensorSpec("f32", x), TensorSpec("f32", w)], [False, True],
                           [TensorSpec("f32", (x[0], w[1] * groups, *out))], attrs, threads=2)
    found = [c.routine.removeprefix("conv_transpose2/") for c in candidates(problem, accuracy="f32")[0]]
    return [r for r in dict.fromkeys(found) if r.split(":")[1:3] in (["f32", "nhwc"], ["f32", "nchw"])]


@pytest.mark.parametrize("x, w, stride", [
    ((1, 1026, 1, 862), (1026, 1, 1, 1024), 256), ((1, 64, 14, 14), (64, 3, 16, 16), 16),
    ((1, 16, 2, 3), (16, 1, 256, 256), 256),
], ids=["inverse STFT", "patches", "more phases than outputs are worth"])
def test_few_outputs_under_large_kernels_are_one_product(x, w, stride):
    found = transposed(x, w, stride)
    assert set(found[:2]) == {"col2im:f32:nhwc:cpu", "col2im:f32:nchw:cpu"}
    assert ("gemm:f32:nhwc:cpu" in found) == (stride < 256 or x[2] == 1)


@pytest.mark.parametrize("x, w, stride, pad", [
    ((1, 64, 32, 32), (64, 3, 4, 4), 2, 1), ((1, 64, 96, 96), (64, 3, 7, 7), 1, 3), ((1, 56, 60, 60), (56, 1, 9, 9), 4, 4),
    ((1, 512, 1, 4000), (512, 1, 1, 16), 8, 0), ((1, 128, 112, 112), (128, 64, 2, 2), 2, 0),
], ids=["image", "7x7, stride 1", "one channel", "signal", "large image"])
def test_small_strides_are_one_product_along_lines(x, w, stride, pad):
    found = transposed(x, w, stride, pad)
    assert found[0] == "col2im_planar:f32:nchw:cpu"
    assert [r for r in found if ":nhwc:" in r][0] == ("gemm:f32:nhwc:cpu" if w[1] > 8 else "col2im:f32:nhwc:cpu")


def test_many_outputs_under_small_kernels_are_a_product_per_phase():
    assert transposed((1, 16, 28, 28), (16, 64, 3, 3), 2)[0] == "gemm:f32:nhwc:cpu"


def test_groups_of_few_channels_are_filters():
    found = transposed((1, 64, 28, 28), (64, 1, 4, 4), 2, 1, groups=64)
    assert found[0] == "planar:f32:nchw:cpu"
    assert [r for r in found if ":nhwc:" in r][0] == "depthwise:f32:nhwc:cpu"


@pytest.mark.parametrize("restrict", [None, "plain"])
def test_the_default_route_is_that_of_a_model_that_was_not_tuned(restrict):
    """Attention that is written out is one routine there, unless a restriction asks for routines of layers."""
    nodes = [helper.make_node("Transpose", ["k"], ["t"], perm=[0, 1, 3, 2]), helper.make_node("MatMul", ["q", "t"], ["s"]),
             helper.make_node("Softmax", ["s"], ["p"], axis=-1), helper.make_node("MatMul", ["p", "v"], ["y"])]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
             for n, s in (("q", [1, 2, 5, 8]), ("k", [1, 2, 7, 8]), ("v", [1, 2, 7, 8]), ("y", [1, 2, 5, 8]))]
    graph = helper.make_graph(nodes, "g", infos[:3], infos[3:])
    model = pw.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString())
    route = pw.default_route(model, 1, restrict=restrict)
    own = model.runnable().route(None, 1)
    assert [len(layers) for layers in own.regions.values()] == [4]
    assert route.regions == ({} if restrict else own.regions) and (restrict or route.layers == own.layers)

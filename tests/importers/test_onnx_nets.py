"""Small networks of the shapes that exporters write: import, optimise, bind and evaluate against ONNX Runtime."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx import helper
from onnx_models import arrays, assert_same, build, run_reference

from pathweave.importers import load
from pathweave.meaning.evaluate import evaluate
from pathweave.passes import bind, optimise


class Sketch:
    """A graph that is written down layer by layer; weights are random, scaled so that activations keep their size."""

    def __init__(self, seed: int = 0):
        self.random = np.random.default_rng(seed)
        self.nodes, self.constants = [], {}

    def const(self, value, dtype=None) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype)
        return name

    def op(self, op: str, *inputs: str, **attrs) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=f"/{op}_{len(self.nodes)}", **attrs))
        return name

    def conv(self, x, cin, cout, k=3, stride=1, groups=1, bias=True, norm=False) -> str:
        w = self.random.standard_normal((cout, cin // groups, k, k)) / np.sqrt(cin // groups * k * k)
        operands = [x, self.const(w, np.float32)] + (
            [self.const(self.random.standard_normal(cout) / 4, np.float32)] if bias else []
        )
        y = self.op(
            "Conv",
            *operands,
            strides=[stride] * 2,
            pads=[k // 2] * 4,
            group=groups,
            kernel_shape=[k, k],
            dilations=[1, 1],
        )
        if norm:
            scale, shift, mean = (self.const(v, np.float32) for v in self.random.uniform(0.5, 1.5, (3, cout)))
            y = self.op(
                "BatchNormalization", y, scale, shift, mean, self.const(self.random.uniform(0.5, 1.5, cout), np.float32)
            )
        return y

    def gemm(self, x, cin, cout) -> str:
        w = self.random.standard_normal((cout, cin)) / np.sqrt(cin)
        return self.op("Gemm", x, self.const(w, np.float32), self.const(np.zeros(cout), np.float32), transB=1)

    def finish(self, x: str) -> None:
        self.nodes[-1].output[0] = "y"


def vgg_like(s: Sketch) -> Counter:
    x = s.op("Relu", s.conv("x", 3, 8))
    x = s.op("MaxPool", s.op("Relu", s.conv(x, 8, 8)), kernel_shape=[2, 2], strides=[2, 2])
    x = s.op("MaxPool", s.op("Relu", s.conv(x, 8, 16)), kernel_shape=[2, 2], strides=[2, 2])
    s.finish(s.gemm(s.op("Relu", s.gemm(s.op("Flatten", x, axis=1), 16 * 8 * 8, 20)), 20, 10))
    return Counter({"conv2+relu": 3, "max_pool2": 2, "reshape": 1, "dense+relu": 1, "dense": 1})


def resnet_like(s: Sketch, norm: bool = False) -> Counter:
    x = s.op(
        "MaxPool", s.op("Relu", s.conv("x", 3, 8, 7, 2, norm=norm)), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4
    )
    cin = 8
    for width, stride in ((4, 1), (4, 1), (8, 2)):
        y = s.op("Relu", s.conv(x, cin, width, 1, norm=norm))
        y = s.op("Relu", s.conv(y, width, width, 3, stride, norm=norm))
        y = s.conv(y, width, width * 4, 1, norm=norm)
        skip = s.conv(x, cin, width * 4, 1, stride, norm=norm) if stride != 1 or cin != width * 4 else x
        x, cin = s.op("Relu", s.op("Add", y, skip)), width * 4
    s.finish(s.gemm(s.op("ReduceMean", x, axes=[2, 3], keepdims=0), cin, 10))
    return Counter(
        {"conv2+relu": 7, "conv2": 2, "conv2+add+relu": 3, "max_pool2": 1, "global_average_pool": 1, "dense": 1}
    )


def resnet_with_norms(s: Sketch) -> Counter:
    return resnet_like(s, norm=True)


def mobilenet2_like(s: Sketch) -> Counter:
    def clip(v):
        return s.op("Clip", v, s.const(0, np.float32), s.const(6, np.float32))

    x, cin = clip(s.conv("x", 3, 8, 3, 2, norm=True)), 8
    for cout, stride in ((8, 1), (12, 2), (12, 1)):
        y = clip(s.conv(x, cin, cin * 3, 1, norm=True))
        y = clip(s.conv(y, cin * 3, cin * 3, 3, stride, groups=cin * 3, norm=True))
        y = s.conv(y, cin * 3, cout, 1, norm=True)
        x, cin = (s.op("Add", x, y) if stride == 1 and cin == cout else y), cout
    x = s.op("GlobalAveragePool", x)
    s.finish(s.gemm(s.op("Flatten", x), cin, 10))
    return Counter(
        {
            "conv2+clip:0.0:6.0": 4,
            "depthwise_conv2+clip:0.0:6.0": 3,
            "conv2+add": 2,
            "conv2": 1,
            "global_average_pool": 1,
            "dense": 1,
        }
    )


def mobilenet3_like(s: Sketch) -> Counter:
    x, cin = s.op("HardSwish", s.conv("x", 3, 8, 3, 2)), 8
    for cout, kernel, stride in ((8, 3, 1), (12, 5, 2)):
        y = s.op("HardSwish", s.conv(x, cin, cin * 3, 1))
        y = s.op("HardSwish", s.conv(y, cin * 3, cin * 3, kernel, stride, groups=cin * 3))
        w = s.op("Relu", s.conv(s.op("GlobalAveragePool", y), cin * 3, 8, 1))
        y = s.op("Mul", y, s.op("HardSigmoid", s.conv(w, 8, cin * 3, 1), alpha=1 / 6))
        y = s.conv(y, cin * 3, cout, 1)
        x, cin = (s.op("Add", x, y) if stride == 1 and cin == cout else y), cout
    y = s.op("HardSwish", s.gemm(s.op("ReduceMean", x, axes=[2, 3], keepdims=0), cin, 20))
    s.finish(s.gemm(y, 20, 10))
    return Counter(
        {
            "conv2+hard_swish": 3,
            "depthwise_conv2+hard_swish": 2,
            "conv2+relu": 2,
            "conv2+add": 1,
            "conv2": 1,
            "conv2+hard_sigmoid:0.16666666666666666:0.5": 2,
            "mul": 2,
            "global_average_pool": 3,
            "dense+hard_swish": 1,
            "dense": 1,
        }
    )


def torch_view(s: Sketch) -> Counter:
    """x.view(x.size(0), -1) as the TorchScript exporter writes it with a free batch size."""
    x = s.op("Relu", s.conv("x", 3, 4))
    batch = s.op("Gather", s.op("Shape", x), s.const(0, np.int64), axis=0)
    shape = s.op("Concat", s.op("Unsqueeze", batch, s.const([0], np.int64)), s.const([-1], np.int64), axis=0)
    s.finish(s.gemm(s.op("Reshape", x, shape), 4 * 32 * 32, 5))
    return Counter({"conv2+relu": 1, "reshape": 1, "dense": 1})


def torch_interpolate(s: Sketch) -> Counter:
    """interpolate(x, scale_factor=2) and one to another value's size, and a slice of computed length."""
    x = s.conv("x", 3, 4, 3, 2)
    size = s.op("Slice", s.op("Shape", "x"), s.const([2], np.int64), s.const([4], np.int64), s.const([0], np.int64))
    full = s.op("Concat", s.op("Slice", s.op("Shape", x), s.const([0], np.int64), s.const([2], np.int64)), size, axis=0)
    up = s.op("Resize", x, "", "", full, mode="linear", coordinate_transformation_mode="pytorch_half_pixel")
    height = s.op("Gather", s.op("Shape", up), s.const(2, np.int64), axis=0)
    half = s.op(
        "Unsqueeze",
        s.op("Cast", s.op("Floor", s.op("Mul", s.op("Cast", height, to=1), s.const(0.5, np.float32))), to=7),
        s.const([0], np.int64),
    )
    s.finish(s.op("Slice", s.op("Concat", up, "x", axis=1), s.const([0], np.int64), half, s.const([2], np.int64)))
    return Counter({"conv2": 1, "resize2": 1, "concat": 1, "slice": 1})


def channel_shuffle(s: Sketch) -> Counter:
    """ShuffleNet: reshape to groups by computed sizes, transpose, reshape back."""
    x = s.conv("x", 3, 8)
    dims = [
        s.op("Unsqueeze", s.op("Gather", s.op("Shape", x), s.const(i, np.int64)), s.const([0], np.int64))
        for i in range(4)
    ]
    two, four, eight = (s.const([k], np.int64) for k in (2, 4, 8))
    split = s.op("Reshape", x, s.op("Concat", dims[0], two, four, dims[2], dims[3], axis=0))
    mixed = s.op("Transpose", split, perm=[0, 2, 1, 3, 4])
    s.finish(s.op("Reshape", mixed, s.op("Concat", dims[0], eight, dims[2], dims[3], axis=0)))
    return Counter({"conv2": 1, "reshape": 2, "transpose": 1})


def channels_last(s: Sketch) -> Counter:
    """A converted TensorFlow net: transposes around every convolution, element-wise layers between them."""
    x = s.op("Transpose", s.conv("x", 3, 8), perm=[0, 2, 3, 1])
    x = s.op("Relu", s.op("Add", x, s.const(s.random.standard_normal(8), np.float32)))
    y = s.conv(s.op("Transpose", x, perm=[0, 3, 1, 2]), 8, 8)
    x = s.op("Add", x, s.op("Transpose", y, perm=[0, 2, 3, 1]))
    x = s.op("Concat", x, s.op("Sigmoid", x), axis=3)
    s.finish(s.gemm(s.op("ReduceMean", x, axes=[1, 2], keepdims=0), 16, 10))
    return Counter({"conv2+relu": 1, "conv2+add": 1, "sigmoid": 1, "concat": 1, "global_average_pool": 1, "dense": 1})


def transformer_tail(s: Sketch) -> Counter:
    """Patches, layer norm, gelu by erf, matmul with bias, softmax."""
    x = s.op("Transpose", s.op("Reshape", s.conv("x", 3, 8, 3, 4), s.const([0, 8, -1], np.int64)), perm=[0, 2, 1])
    x = s.op("LayerNormalization", x, s.const(s.random.standard_normal(8), np.float32), s.const(np.ones(8), np.float32))
    x = s.op(
        "Add",
        s.const(s.random.standard_normal(16), np.float32),
        s.op("MatMul", x, s.const(s.random.standard_normal((8, 16)), np.float32)),
    )
    e = s.op("Add", s.op("Erf", s.op("Div", x, s.const(np.sqrt(2), np.float32))), s.const(1, np.float32))
    x = s.op("Mul", s.op("Mul", x, e), s.const(0.5, np.float32))
    s.finish(s.op("Softmax", s.op("MatMul", x, s.const(s.random.standard_normal((16, 4)), np.float32)), axis=-1))
    return Counter(
        {"conv2": 1, "reshape": 1, "transpose": 1, "layer_norm": 1, "dense+gelu:0.0": 1, "dense": 1, "softmax": 1}
    )


NETS = (
    vgg_like,
    resnet_like,
    resnet_with_norms,
    mobilenet2_like,
    mobilenet3_like,
    torch_view,
    torch_interpolate,
    channel_shuffle,
    channels_last,
    transformer_tail,
)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("make", NETS, ids=lambda f: f.__name__)
def test_net(make, symbolic, batch):
    sketch = Sketch()
    expected_layers = make(sketch)
    x = np.random.default_rng(1).standard_normal((batch, 3, 32, 32)).astype(np.float32)
    shape = ["N", 3, "H", "W"] if symbolic else list(x.shape)
    model = build(sketch.nodes, {"x": (x, shape)}, sketch.constants)
    (expected,) = run_reference(model, {"x": x})
    net = load(model).main
    before = [layer.name for layer in net.layers]
    bound = bind(net, {"x": x.shape})
    for what, candidate in (
        ("imported", net),
        ("optimised", optimise(net)),
        ("bound", bound),
        ("both", bind(optimise(net), {"x": x.shape})),
    ):
        assert_same(evaluate(candidate, {"x": x})["y"], expected, 1e-4, what)
    assert (
        Counter(layer.kind + (f"+{layer.epilogue}" if layer.epilogue else "") for layer in bound.layers)
        == expected_layers
    )
    assert bound.specs["y"].shape == expected.shape and bound.bound
    assert [layer.name for layer in net.layers] == before  # the given net is untouched
    used = {v for layer in bound.layers for v in layer.inputs}
    assert set(bound.constants) <= used


def test_one_import_serves_many_sizes():
    sketch = Sketch()
    resnet_like(sketch)
    inputs = {"x": (np.zeros((1, 3, 32, 32), np.float32), ["N", 3, "H", "W"])}
    model = build(sketch.nodes, inputs, sketch.constants)
    net = optimise(load(model).main)
    for shape in ((1, 3, 32, 32), (4, 3, 32, 32), (2, 3, 47, 65)):
        x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
        found = evaluate(bind(net, {"x": shape}), {"x": x})["y"]
        assert_same(found, run_reference(model, {"x": x})[0], 1e-4, str(shape))
    assert arrays(inputs)["x"].shape == (1, 3, 32, 32)

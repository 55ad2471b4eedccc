"""Small ONNX networks for the runtime's tests."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper


class Builder:
    """Collects nodes and weights of one ONNX graph."""

    def __init__(self, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights = [], []

    def weight(self, *shape, scale: float | None = None) -> str:
        name = f"w{len(self.weights)}"
        scale = 1 / np.sqrt(np.prod(shape[1:]) or 1) if scale is None else scale
        array = (self.rng.standard_normal(shape) * scale).astype(np.float32)
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op: str, *inputs: str, outputs=None, **attributes) -> str:
        outputs = outputs or [f"{op.lower()}{len(self.nodes)}"]
        self.nodes.append(helper.make_node(op, list(inputs), list(outputs), f"n{len(self.nodes)}", **attributes))
        return outputs[0]

    def model(self, inputs: dict, outputs: list[str]) -> bytes:
        ins = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()]
        outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
        graph = helper.make_graph(self.nodes, "net", ins, outs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return model.SerializeToString()


def convolutions(batch="N", channels: int = 16) -> bytes:
    """Convolution, residual block, depthwise convolution, pooling, dense: the shape of an image classifier."""
    b = Builder()
    x = b.node("Relu", b.node("Conv", "x", b.weight(channels, 3, 3, 3), b.weight(channels), pads=[1] * 4))
    y = b.node("Relu", b.node("Conv", x, b.weight(channels, channels, 3, 3), b.weight(channels), pads=[1] * 4))
    y = b.node("Conv", y, b.weight(channels, channels, 1, 1), b.weight(channels))
    y = b.node("Relu", b.node("Add", y, x))
    y = b.node("Conv", y, b.weight(channels, 1, 3, 3), b.weight(channels), pads=[1] * 4, group=channels, strides=[2, 2])
    y = b.node("HardSwish", y)
    y = b.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = b.node("Flatten", b.node("GlobalAveragePool", y))
    y = b.node("Gemm", y, b.weight(10, channels), b.weight(10), transB=1)
    b.node("Softmax", y, outputs=["y"], axis=-1)
    return b.model({"x": [batch, 3, 16, 16]}, ["y"])


def mobile(batch="N", channels: int = 24) -> bytes:
    """What mobile classifiers are made of: inverted residual with squeeze-excite, two poolings side by side, a tail."""
    b = Builder(1)
    x = b.node("HardSwish", b.node("Conv", "x", b.weight(channels, 3, 3, 3), b.weight(channels), pads=[1] * 4, strides=[2, 2]))
    y = b.node("Conv", x, b.weight(channels, 1, 3, 3), b.weight(channels), pads=[1] * 4, group=channels)
    y = b.node("Relu", y)
    gate = b.node("Relu", b.node("Conv", b.node("GlobalAveragePool", y), b.weight(8, channels, 1, 1), b.weight(8)))
    gate = b.node("HardSigmoid", b.node("Conv", gate, b.weight(channels, 8, 1, 1), b.weight(channels)))
    y = b.node("Add", b.node("Conv", b.node("Mul", y, gate), b.weight(channels, channels, 1, 1)), x)
    sides = [b.node(kind, y, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4) for kind in ("MaxPool", "AveragePool")]
    y = b.node("Concat", *sides, axis=1)
    y = b.node("Sigmoid", b.node("Conv", y, b.weight(2 * channels, 1, 5, 5), pads=[2] * 4, group=2 * channels))
    y = b.node("Flatten", b.node("GlobalAveragePool", y))
    b.node("Gemm", y, b.weight(10, 2 * channels), b.weight(10), outputs=["y"], transB=1)
    return b.model({"x": [batch, 3, 16, 16]}, ["y"])


def arithmetic(batch="N") -> bytes:
    """Two inputs, two outputs, no weights."""
    b = Builder()
    b.node("Add", "a", "b", outputs=["sum"])
    b.node("Mul", b.node("Sub", "a", "b"), "a", outputs=["product"])
    return b.model({"a": [batch, 6], "b": [batch, 6]}, ["sum", "product"])


def branches() -> bytes:
    """Branches that meet in a concatenation, an output in the middle, no symbols."""
    b = Builder(3)
    x = b.node("Relu", b.node("Conv", "x", b.weight(32, 16, 3, 3), b.weight(32), pads=[1] * 4), outputs=["stem"])
    left = b.node("Conv", x, b.weight(16, 32, 1, 1), b.weight(16))
    right = b.node("Sigmoid", b.node("Conv", x, b.weight(32, 16, 3, 3), b.weight(32), pads=[1] * 4, group=2))
    pool = b.node("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4)
    y = b.node("Concat", left, right, pool, axis=1)
    b.node("Transpose", y, outputs=["y"], perm=[0, 2, 3, 1])
    return b.model({"x": [2, 16, 9, 11]}, ["y", "stem"])


NETS = {"convolutions": convolutions, "arithmetic": arithmetic, "branches": branches}

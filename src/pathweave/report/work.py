"""How much a layer computes, holds and moves: operations, parameters and bytes, from shapes alone."""

from __future__ import annotations

import re
from math import prod

from ..net.format import DTYPES, itemsize
from ..net.net import Layer, Net, TensorSpec

_WINDOWS = ("max_pool2", "average_pool2", "lp_pool2")
#: Kinds that move elements and compute nothing.
_MOVES = frozenset(("reshape", "transpose", "concat", "split", "slice", "pad", "squeeze", "unsqueeze", "identity", "cast",
                    "gather", "shape", "constant_of_shape", "range", "expand", "where", "tile", "depth_to_space",
                    "space_to_depth", "permute", "sink", "source"))
#: Additions and multiplications of Winograd's transforms of one line, by the outputs m of F(m, 3): of alpha = m + 2
#: inputs, and of alpha products. Counted in the transforms of native/ukernels/body/winograd_f32.inc.
_WINOGRAD_LINES = {2: (4, 4), 4: (22, 16), 6: (45, 35)}
_REDUCING = ("reduce", "global_average_pool", "global_max_pool", "argmax", "argmin")


def parameters(net: Net, layer: Layer) -> int:
    """Numbers in the layer's constants."""
    return sum(int(prod(net.specs[v].shape)) for v in set(layer.inputs) if v in net.constants)


def operations(net: Net, layer: Layer) -> int:
    """Floating-point operations of a layer of a bound net: two per multiply-add, one per element of anything else.

    Epilogues count one operation per element and per part. Transcendental functions count as one.
    """
    out = sum(prod(net.specs[v].shape) for v in layer.outputs)
    extra = out * (int(layer.epilogue.add) + int(bool(layer.epilogue.act)))
    inputs = [net.specs[v].shape for v in layer.inputs if v]
    if layer.kind in ("conv2", "depthwise_conv2", "dense"):
        bias = out if len(layer.inputs) - int(layer.epilogue.add) > 2 and layer.inputs[2] else 0
        return 2 * out * prod(inputs[1][1:]) + bias + extra
    if layer.kind == "conv_transpose2":
        # Every input element meets each kernel element of its group's outputs once.
        return 2 * prod(inputs[0]) * prod(inputs[1][1:]) + extra
    if layer.kind == "inverted_residual":
        return _inverted_residual(net, layer, out) + extra
    if layer.kind == "squeeze_excite":
        return _squeeze_excite(net, layer, out) + extra
    if layer.kind == "matmul":
        return 2 * out * inputs[0][-1] + extra
    if layer.kind in _WINDOWS:
        return out * prod(layer.attrs["kernel"]) + extra
    if layer.kind in _REDUCING:
        return prod(inputs[0]) + extra
    if layer.kind == "madd":
        return 2 * out + extra
    if layer.kind in _MOVES:
        return extra
    return out + extra


def _inverted_residual(net: Net, layer: Layer, out: int) -> int:
    """The stages as layers of their own, biases and activations between them included."""
    x, expand, _, depthwise, _, project, _ = (net.specs[v].shape if v else None for v in layer.inputs[:7])
    channels, pixels = depthwise[0], prod(x) // x[1]
    filtered = out // project[0] * channels if project else out
    total = 2 * filtered * prod(depthwise[1:])
    if expand:
        total += 2 * pixels * channels * x[1] + pixels * channels * bool(layer.attrs["expand"])
    if project:
        total += 2 * out * channels + filtered * bool(layer.attrs["depthwise"])
    biases = zip((pixels * channels, filtered, out), (layer.inputs[i] for i in (2, 4, 6)))
    return total + sum(size for size, bias in biases if bias)


def _squeeze_excite(net: Net, layer: Layer, out: int) -> int:
    """The stages as layers of their own, biases and activations between them included."""
    depthwise, depthwise_bias, squeeze, squeeze_bias, excite, excite_bias = layer.inputs[1:7]
    n = net.specs[layer.outputs[0]].shape[0]
    hidden, channels, *_ = net.specs[squeeze].shape
    total = 2 * out + 4 * n * hidden * channels
    sizes = [(depthwise_bias, "depthwise", out), (squeeze_bias, "squeeze", n * hidden), (excite_bias, "excite", n * channels)]
    if depthwise:
        total += 2 * out * prod(net.specs[depthwise].shape[1:])
    return total + sum(size * (bool(bias) + bool(layer.attrs.get(stage, ""))) for bias, stage, size in sizes)


def own_operations(net: Net, layer: Layer, algorithm: str) -> int | None:
    """Operations that an algorithm makes where it makes others than `operations` counts; None where it does not.

    Winograd's F(m x m, 3 x 3): products of transformed tiles, and the transforms of inputs and products; those of the
    weights are made once. Source: Lavin and Gray 2015, arXiv 1509.09308.
    """
    if not (found := re.fullmatch(r"winograd(\d+)", algorithm)) or layer.kind != "conv2":
        return None
    m = int(found[1])
    if m not in _WINOGRAD_LINES:
        return None
    (n, outputs, height, width), inputs = net.specs[layer.outputs[0]].shape, net.specs[layer.inputs[1]].shape[1]
    alpha, (line_in, line_out) = m + 2, _WINOGRAD_LINES[m]
    tile = 2 * alpha * line_in * inputs + 2 * alpha * alpha * inputs * outputs + (alpha + m) * line_out * outputs
    direct = 2 * n * outputs * height * width * prod(net.specs[layer.inputs[1]].shape[1:])
    return n * -(-height // m) * -(-width // m) * tile + operations(net, layer) - direct


def moves(kind: str) -> bool:
    """Whether a kind only moves elements."""
    return kind in _MOVES


def size_bytes(spec: TensorSpec, dtype: str | None = None) -> int:
    """Bytes of a bound value in an element type of its own or another one; of unknown names such as bf16x2, planes of a
    known one."""
    word, planes = dtype or spec.dtype, 1
    if found := re.fullmatch(r"(\w+?)x(\d)", word):
        word, planes = found[1], int(found[2])
    return prod(spec.shape) * (itemsize(word) if word in DTYPES else itemsize(spec.dtype)) * planes

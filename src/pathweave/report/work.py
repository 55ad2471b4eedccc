"""How much a layer computes and holds: operations and parameters, from shapes alone."""

from __future__ import annotations

from math import prod

from ..net.net import Layer, Net

_WINDOWS = ("max_pool2", "average_pool2", "lp_pool2")
#: Kinds that move elements and compute nothing.
_MOVES = frozenset(("reshape", "transpose", "concat", "split", "slice", "pad", "squeeze", "unsqueeze", "identity", "cast",
                    "gather", "shape", "constant_of_shape", "range", "expand", "where", "tile", "depth_to_space",
                    "space_to_depth", "permute", "sink", "source"))
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

"""How much a layer computes, holds and moves: operations, parameters and bytes, from shapes alone."""

from __future__ import annotations

import re
from math import prod

from ..layers import kind_of
from ..net.format import DTYPES, itemsize
from ..net.net import Layer, Net, TensorSpec

#: Additions and multiplications of Winograd's transforms of one line, by the outputs m of F(m, 3): of alpha = m + 2
#: inputs, and of alpha products. Counted in the transforms of native/ukernels/body/winograd_f32.inc.
_WINOGRAD_LINES = {2: (4, 4), 4: (22, 16), 6: (45, 35)}


def parameters(net: Net, layer: Layer) -> int:
    """Numbers in the layer's constants."""
    return sum(int(prod(net.specs[v].shape)) for v in set(layer.inputs) if v in net.constants)


def operations(net: Net, layer: Layer) -> int:
    """Operations of a layer of a bound net: those of its kind, and one per element and part of the epilogue."""
    kind = kind_of(layer.kind)
    inputs = [net.specs[v] if v else None for v in layer.inputs]
    outputs = [net.specs[v] for v in layer.outputs]
    own = kind.operations(kind.complete(layer.attrs), inputs[:-1] if layer.epilogue.add else inputs, outputs)
    parts = int(layer.epilogue.add) + int(bool(layer.epilogue.act))
    return own + parts * sum(y.elements for y in outputs)


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
    return kind_of(kind).per_element == 0


def size_bytes(spec: TensorSpec, dtype: str | None = None) -> int:
    """Bytes of a bound value in an element type of its own or another one; of unknown names such as bf16x2, planes of a
    known one."""
    word, planes = dtype or spec.dtype, 1
    if found := re.fullmatch(r"(\w+?)x(\d)", word):
        word, planes = found[1], int(found[2])
    return prod(spec.shape) * (itemsize(word) if word in DTYPES else itemsize(spec.dtype)) * planes

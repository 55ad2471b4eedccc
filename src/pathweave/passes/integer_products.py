"""A product of values that were integers, between dequantize_linear and quantize_linear, becomes one of the integers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..layers import kind_of
from ..net.net import Layer
from ._graph import Graph

order = 1  # before weights are transposed or merged with what follows
needs_shapes = False

_BYTES = (np.uint8, np.int8)


class _Integers(NamedTuple):
    """A value (its name) or a constant as integers. `scale`: of one element, or one per position of `axis`; `zero` alike."""

    value: str
    array: np.ndarray | None
    scale: np.ndarray
    zero: np.ndarray | None
    axis: int | None


def apply(graph: Graph) -> bool:
    """Sums of integers are exact, so that results are those of real numbers, or nearer to them."""
    changed = False
    for layer in graph.layers():
        if kind_of(layer.kind).of_integers and not layer.epilogue:
            changed |= _replaced(graph, layer)
    return changed


def _replaced(graph: Graph, layer: Layer) -> bool:
    x = _value(graph, layer.inputs[0])
    w = _value(graph, layer.inputs[1]) or _constant(graph, layer.inputs[1]) if x is not None else None
    if x is None or w is None:
        return False
    kind = kind_of(layer.kind)
    linear = kind.linear
    outputs = linear.outputs if linear is not None else -1 if w.array is None else w.array.ndim - 1
    if linear is not None and w.array is None or w.axis not in (None, outputs):
        return False
    product = (x.scale.reshape(()) * w.scale).astype(np.float32)
    bias = _bias(graph, layer, product)
    if bias is None:
        return False
    end = _end(graph, layer.outputs[0])
    scale, dtype, last, zero = product, "f32", layer, ""
    if end is not None:
        quantise, between = end
        scale = (product / graph.constants[quantise.inputs[1]].reshape(())).astype(np.float32)
        dtype, last = quantise.attrs.get("dtype", "u8"), quantise
        if len(quantise.inputs) > 2:
            zero = graph.add_constant(graph.constants[quantise.inputs[2]].reshape(()), f"{layer.name}:zero_point")
    attrs = {**layer.attrs, "dtype": dtype}
    # Weights of channels on the last axis lie the other way round than those of a product of matrices.
    turned = linear is not None and linear.rank is None
    names = [x.value, _operand(graph, w, turned), _point(graph, x, layer), _point(graph, w, layer),
             graph.add_constant(bias, f"{layer.name}:bias") if bias.size else "",
             graph.add_constant(scale, f"{layer.name}:scale"), zero]
    while not names[-1]:
        names.pop()
    new = layer.with_(kind=kind.of_integers, inputs=tuple(names), outputs=last.outputs, attrs=attrs)
    if end is not None:
        for old in reversed([*between, quantise]):
            graph.remove(old)
    graph.replace(layer, new)
    return True


def _value(graph: Graph, value: str) -> _Integers | None:
    """A value that dequantize_linear makes of bytes with one scale; for weights, of a constant along one axis."""
    layer = graph.made_by(value, "dequantize_linear")
    if layer is None or layer.attrs.get("block"):
        return None
    scale = graph.constant(layer.inputs[1])
    zero = graph.constant(layer.inputs[2]) if len(layer.inputs) > 2 else None
    array = graph.constant(layer.inputs[0])
    if scale is None or len(layer.inputs) > 2 and (zero is None or zero.dtype not in _BYTES):
        return None
    if scale.size != 1 and array is None or array is not None and array.dtype not in _BYTES:
        return None
    if array is None and zero is None and not _of_bytes(graph, layer.inputs[0]):
        return None
    axis = None if scale.size == 1 else layer.attrs.get("axis", 0) % array.ndim if array is not None else None
    return _Integers(layer.inputs[0], array, scale.reshape(() if scale.size == 1 else -1), zero, axis)


def _of_bytes(graph: Graph, value: str) -> bool:
    maker = graph.producer(value)
    return maker is not None and maker.kind == "quantize_linear" and maker.attrs.get("dtype", "u8") in ("u8", "i8")


def _constant(graph: Graph, value: str) -> _Integers | None:
    """A constant with a scale of bytes that the model states."""
    array, stated = graph.constant(value), graph.scales.get(value)
    if array is None or stated is None or stated.dtype not in ("u8", "i8") or array.dtype != np.float32:
        return None
    scale, zero = np.asarray(stated.scale, np.float32), np.asarray(stated.zero_point)
    if stated.axis is None or stated.axis < 0:
        axis, around = None, (scale.reshape(()), zero.reshape(()))
        scale, zero = around
    else:
        axis = stated.axis
        shape = (-1, *[1] * (array.ndim - 1 - axis))
        around = (scale.reshape(shape), zero.reshape(shape))
    exact = array / around[0] + around[1]
    found = np.rint(exact)
    kind = np.dtype(np.uint8 if stated.dtype == "u8" else np.int8)
    info = np.iinfo(kind)
    if not np.all(np.abs(exact - found) < 1e-3) or found.size and (found.min() < info.min or found.max() > info.max):
        return None
    return _Integers(value, found.astype(kind), scale, zero.astype(kind), axis)


def _bias(graph: Graph, layer: Layer, scale: np.ndarray) -> np.ndarray | None:
    """The bias as integers of the sums' scale, empty where there is none; None where it is no such thing."""
    name = layer.inputs[2] if len(layer.inputs) > 2 else ""
    if not name:
        return np.zeros(0, np.int32)
    bias = graph.constant(name)
    if bias is None or not np.all(scale != 0):
        return None
    exact = bias.astype(np.float64) / scale.astype(np.float64)
    found = np.rint(exact)
    if not np.all(np.abs(exact - found) <= 1e-3 + 2e-7 * np.abs(exact)) or np.abs(found).max(initial=0) >= 2**31:
        return None
    return found.astype(np.int32)


def _end(graph: Graph, value: str) -> tuple[Layer, list[Layer]] | None:
    """(the quantize_linear that a value goes to, the clamps before it that it does anyway)."""
    between: list[Layer] = []
    while graph.private(value):
        user = graph.sole_consumer(value)
        if user is None or user.epilogue:
            return None
        if user.kind == "relu":
            between.append(user)
            value = user.outputs[0]
            continue
        if user.kind != "quantize_linear" or user.inputs[0] != value:
            return None
        scale = graph.constant(user.inputs[1])
        zero = graph.constant(user.inputs[2]) if len(user.inputs) > 2 else np.uint8(0)
        dtype = user.attrs.get("dtype", "u8")
        if scale is None or zero is None or scale.size != 1 or zero.size != 1 or dtype not in ("u8", "i8") \
                or user.attrs.get("block") or user.attrs.get("bits") or user.attrs.get("through"):
            return None
        if between and int(zero.reshape(())) != (0 if dtype == "u8" else -128):
            return None
        return user, between
    return None


def _operand(graph: Graph, w: _Integers, turned: bool) -> str:
    """The name of the weights as integers, `turned`: with their two axes exchanged."""
    if w.array is None:
        return w.value
    array = np.ascontiguousarray(w.array.T) if turned else w.array
    return graph.add_constant(array, f"{w.value}:integers")


def _point(graph: Graph, of: _Integers, layer: Layer) -> str:
    """The name of a zero point, "" where it is 0 everywhere."""
    if of.zero is None or not np.any(of.zero):
        return ""
    return graph.add_constant(of.zero.reshape(() if of.axis is None else -1), f"{layer.name}:zero_point")

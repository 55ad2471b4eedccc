"""Layers that compute x * scale + shift with constants, whatever their kind."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..net.net import Layer
from ._graph import Graph

KINDS = ("add", "sub", "mul", "div", "batch_norm", "madd")


class Affine(NamedTuple):
    """x * scale + shift, float64. `by_channel`: arrays are [C] for axis 1 (or []), else they broadcast as in NumPy."""

    source: str
    scale: np.ndarray
    shift: np.ndarray
    by_channel: bool


def affine(graph: Graph, layer: Layer) -> Affine | None:
    """The affine map that a layer computes; None where it is none, or not of floating-point constants."""
    if layer.kind not in KINDS or layer.epilogue:
        return None
    if layer.kind in ("batch_norm", "madd"):
        arrays = [graph.constant(v) for v in layer.inputs[1:]]
        if any(a is None for a in arrays):
            return None
        arrays = [a.astype(np.float64) for a in arrays]
        if layer.kind == "madd":
            return Affine(layer.inputs[0], *arrays, True)
        scale, bias, mean, variance = arrays
        with np.errstate(all="ignore"):
            factor = scale / np.sqrt(variance + float(layer.attrs.get("epsilon", 1e-5)))
            return Affine(layer.inputs[0], factor, bias - mean * factor, True)
    return _binary(graph, layer)


def _binary(graph: Graph, layer: Layer) -> Affine | None:
    a, b = layer.inputs
    constant_first = graph.is_dynamic(b) and not graph.is_dynamic(a)
    source, array = (b, graph.constant(a)) if constant_first else (a, graph.constant(b))
    if array is None or array.dtype.kind != "f" or not graph.is_dynamic(source):
        return None
    array = array.astype(np.float64)
    one, zero = np.ones(()), np.zeros(())
    if layer.kind == "add":
        return Affine(source, one, array, False)
    if layer.kind == "mul":
        return Affine(source, array, zero, False)
    if layer.kind == "sub":
        return Affine(source, -one, array, False) if constant_first else Affine(source, one, -array, False)
    if constant_first or not np.all(array):
        return None
    with np.errstate(all="ignore"):
        return Affine(source, 1 / array, zero, False)


def by_channel(array: np.ndarray, form: bool, channels: int, from_right: int, rank: int | None) -> np.ndarray | None:
    """An affine map's array as [channels] or []; None where it acts on anything else.

    `form`: Affine.by_channel. `from_right`: where the channel axis lies, 1 is the last. `rank`: of the value, None
    where it is not known.
    """
    if array.ndim == 0:
        return array
    if form:
        if rank is None or rank - from_right != 1:
            return array.reshape(()) if array.size == 1 else None
        return array if array.shape == (channels,) else None
    if array.ndim > (from_right if rank is None else rank):
        return None
    if array.size == 1:
        return array.reshape(())
    expected = tuple(channels if i == from_right else 1 for i in range(array.ndim, 0, -1))
    return array.reshape(channels) if array.shape == expected else None

"""Layers that compute x * scale + shift with constants, whatever their kind."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..layers import kind_of
from ..net.net import Layer
from ._graph import Graph


class Affine(NamedTuple):
    """x * scale + shift, float64. `by_channel`: arrays are [C] for axis 1 (or []), else they broadcast as in NumPy."""

    source: str
    scale: np.ndarray
    shift: np.ndarray
    by_channel: bool


def affine(graph: Graph, layer: Layer) -> Affine | None:
    """The affine map that a layer computes; None where it is none, or not of finite constants."""
    if layer.epilogue:
        return None
    found = kind_of(layer.kind).affine(layer.attrs, [graph.constant(v) if v else None for v in layer.inputs])
    if found is None or not (np.isfinite(found[1]).all() and np.isfinite(found[2]).all()):
        return None
    return Affine(layer.inputs[found.position], *found[1:])


def stored(made: np.ndarray, dtype: np.dtype, *factors: np.ndarray) -> np.ndarray | None:
    """A constant that was made of others, in the type that it is kept in; None where the layers that it stands for would give
    other numbers: it is not finite, or the product of factors that are normal numbers is not one."""
    with np.errstate(all="ignore"):
        array = np.asarray(made).astype(dtype, copy=False)
    if not np.isfinite(array).all():
        return None
    least = np.finfo(dtype).tiny
    vanished = np.abs(array) < least
    for factor in factors:
        vanished = vanished & (np.abs(factor) >= least)
    return None if factors and vanished.any() else array


#: Terms as large as this leave float32 at most 11 binary digits behind the point.
_LARGE = 4096.0
#: Offsets up to this lose no more digits than class f32 may, where what is left of a value has the size of 1.
_FAR = 128.0


def cancels(total: np.ndarray, *terms: np.ndarray | float) -> bool:
    """Whether large terms of a sum leave nothing but rounding somewhere. Layers that add and subtract them round what they are
    added to, as x + c - c does on purpose, so that they must stay as they are."""
    largest = np.max(np.abs(np.broadcast_arrays(total, *terms)[1:]), axis=0)
    return bool(np.any((largest >= _LARGE) & (np.abs(total) <= largest * 2.0 ** -20)))


def centres(scale: np.ndarray, shift: np.ndarray, factor: np.ndarray | float = 1.0) -> bool:
    """Whether a map only subtracts numbers that may be large beside what they leave, as (x - mean) * factor does. That loses
    nothing, while x * factor - mean * factor loses the digits of the mean."""
    least = np.minimum(np.abs(shift), np.abs(shift * factor))
    return bool(np.any((np.abs(scale) == 1) & (least > _FAR)))


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

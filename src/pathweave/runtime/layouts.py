"""Layouts in NumPy: how the logical values N,C,H,W lie in memory, for routines and adapts that run in Python."""

from __future__ import annotations

import numpy as np

from ..net.format import Format, plain_layout
from ..net.net import TensorSpec
from ..net.scales import INTEGER_RANGE, needs_scale

BLOCK = 16


def fits(layout: str, shape: tuple[int, ...]) -> bool:
    """True when a value of this shape can lie in this layout."""
    if layout == "plain":
        return len(shape) != 4
    return len(shape) == 4 and (layout != "nchw16c" or shape[1] % BLOCK == 0)


def physical_shape(layout: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Dimensions as they lie in memory, outermost first."""
    if layout == "nhwc":
        n, c, h, w = shape
        return n, h, w, c
    if layout == "nchw16c":
        n, c, h, w = shape
        return n, c // BLOCK, h, w, BLOCK
    return tuple(shape)


def to_logical(array: np.ndarray, layout: str) -> np.ndarray:
    """The value in its logical order; a view, but for nchw16c."""
    if layout == "nhwc":
        return array.transpose(0, 3, 1, 2)
    if layout == "nchw16c":
        n, blocks, h, w, block = array.shape
        return array.transpose(0, 1, 4, 2, 3).reshape(n, blocks * block, h, w)
    return array


def store(value: np.ndarray, layout: str, out: np.ndarray) -> None:
    """Write a logical value into memory of its physical shape. Raises ValueError when the shapes differ."""
    if layout == "nhwc":
        value = value.transpose(0, 2, 3, 1)
    elif layout == "nchw16c":
        n, c, h, w = value.shape
        value = value.reshape(n, c // BLOCK, BLOCK, h, w).transpose(0, 1, 3, 4, 2)
    if value.shape != out.shape:
        raise ValueError(f"a result of shape {list(value.shape)}; expected {list(out.shape)}")
    out[...] = value


def host_formats(spec: TensorSpec, scaled: bool = False) -> list[Format]:
    """Every format of the CPU in which a value can lie, the caller's first. `scaled`: as integers too."""
    plain = plain_layout(spec.rank)
    layouts = [plain, *(x for x in ("nhwc", "nchw16c") if fits(x, spec.sizes))]
    integers = [d for d in INTEGER_RANGE if scaled and needs_scale(spec.dtype, d)]
    return [Format(dtype, layout, "cpu") for dtype in (spec.dtype, *integers) for layout in layouts]

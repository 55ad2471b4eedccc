"""Layouts in NumPy: how logical values lie in memory, for routines and adapts that run in Python."""

from __future__ import annotations

import numpy as np

from ..net.format import LAYOUTS, Format, fits, plain_layout
from ..net.layouts import PASSED_LAYOUTS
from ..net.net import TensorSpec
from ..net.scales import HELD_AS, needs_scale


def to_logical(array: np.ndarray, layout: str) -> np.ndarray:
    """The value in its logical order; a view, but for layouts with blocks."""
    facts = LAYOUTS[layout]
    if facts.row_major:
        return array
    if facts.block:
        at = facts.order.index(1)
        array = np.moveaxis(array, -1, at + 1)
        array = array.reshape(*array.shape[:at], array.shape[at] * facts.block, *array.shape[at + 2:])
    return array.transpose(facts.back)


def laid_out(value: np.ndarray, layout: str) -> np.ndarray:
    """A logical value with the dimensions in the order of memory; a view."""
    facts = LAYOUTS[layout]
    if facts.row_major:
        return value
    if not facts.block:
        return value.transpose(facts.order)
    at = facts.order.index(1)
    value = value.transpose(facts.order)
    value = value.reshape(*value.shape[:at], value.shape[at] // facts.block, facts.block, *value.shape[at + 1:])
    return np.moveaxis(value, at + 1, -1)


def store(value: np.ndarray, layout: str, out: np.ndarray) -> None:
    """Write a logical value into memory of its physical shape. Raises ValueError when the shapes differ."""
    value = laid_out(value, layout)
    if value.shape != out.shape:
        raise ValueError(f"a result of shape {list(value.shape)}; expected {list(out.shape)}")
    out[...] = value


def host_formats(spec: TensorSpec, scaled: bool = False) -> list[Format]:
    """The formats of the CPU that a value may pass through inside a net, the row-major one first; a caller may choose further
    layouts. `scaled`: as integers too."""
    plain = plain_layout(spec.rank)
    layouts = [plain, *(x for x in PASSED_LAYOUTS if x != plain and fits(x, spec.sizes))]
    integers = [d for d in HELD_AS if scaled and needs_scale(spec.dtype, d)]
    return [Format(dtype, layout, "cpu") for dtype in (spec.dtype, *integers) for layout in layouts]

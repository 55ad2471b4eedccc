"""Resize and its predecessor Upsample; one or two spatial axes, channels and batch untouched."""

from __future__ import annotations

import math

import numpy as np

from ..builder import Node

MODES = {"nearest": "nearest", "linear": "bilinear", "bilinear": "bilinear", "cubic": "cubic"}
COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
ROUNDING = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def _mode(n: Node) -> str:
    mode = n.text("mode", "nearest")
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}, expected one of {', '.join(MODES)}")
    return MODES[mode]


def upsample(n: Node) -> None:
    """Upsample (opset 7 and 9) and Resize of opset 10: asymmetric coordinates, rounded down."""
    n.required(1)
    attrs = {"mode": _mode(n), "coordinates": "asymmetric", "rounding": "floor"}
    if n.op == "Upsample" and n.version < 9:
        _, scales = n.attribute("scales")
        scales = np.array(scales, np.float32)
        return _by_constant(n, attrs, None, scales)
    n.required(2)
    scales = n.const(1)
    if scales is None:
        return _emit(n, [n.input(0), "", n.input(1)], attrs)
    _by_constant(n, attrs, None, scales)


def resize(n: Node) -> None:
    """Resize by scales or to sizes."""
    n.required(1)
    if n.version < 11:
        return upsample(n)
    attrs = {"mode": _mode(n), "coordinates": n.text("coordinate_transformation_mode", "half_pixel"),
             "rounding": n.text("nearest_mode", "round_prefer_floor"), "cubic_a": n.float("cubic_coeff_a", -0.75)}
    if attrs["coordinates"] not in COORDINATES or attrs["rounding"] not in ROUNDING:
        n.unsupported(f"coordinate_transformation_mode {attrs['coordinates']!r}, nearest_mode {attrs['rounding']!r}")
    if n.int("antialias") or (n.int("exclude_outside") and attrs["mode"] == "cubic"):
        n.unsupported("antialias or exclude_outside")
    axes, policy = n.ints("axes", None), n.text("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch" and n.input(3):
        n.unsupported(f"keep_aspect_ratio_policy {policy!r}")
    scales_name, sizes_name = n.input(2), n.input(3)
    scales = n.const(2)
    if scales is not None and scales.size == 0:
        scales_name, scales = "", None
    if bool(scales_name) == bool(sizes_name):
        raise ValueError("expected either scales or sizes")
    sizes = n.const(3)
    if scales is not None or sizes is not None:
        return _by_constant(n, attrs, sizes, scales, axes)
    rank = n.rank(n.input(0))
    if axes is not None and [a % rank for a in axes] != list(range(rank))[-len(axes):] or rank != 4:
        n.unsupported("computed sizes for other axes than the last two of a rank-4 value")
    _emit(n, [n.input(0), sizes_name, scales_name], attrs)


def _by_constant(n: Node, attrs: dict, sizes, scales, axes=None) -> None:
    """Known sizes or scales: those of the last one or two axes become attributes, the others must change nothing."""
    x = n.input(0)
    shape = n.shape(x)
    numbers = np.asarray(sizes if sizes is not None else scales).reshape(-1)
    rank = len(shape) if shape is not None else len(numbers)
    axes = list(range(rank)) if axes is None else [n.axis(a, rank) for a in axes]
    if len(axes) != len(numbers) or len(set(axes)) != len(axes) or rank < 3:
        raise ValueError(f"{len(numbers)} sizes or scales for axes {axes} of rank {rank}")
    given = dict(zip(axes, numbers.tolist()))
    for axis in (0, 1):
        known = shape[axis] if shape is not None else None
        if axis in given and given[axis] != (1 if sizes is None else known):
            n.unsupported(f"axis {axis} is resized to {given[axis]}; only spatial axes can be")
    spatial = range(2, rank)
    if rank not in (3, 4):
        n.unsupported(f"rank {rank}; only one and two spatial axes are")
    if sizes is None:
        values = [float(np.float32(given.get(a, 1.0))) for a in spatial]
        if any(not math.isfinite(v) or v <= 0 for v in values):
            raise ValueError(f"scales are {values}, expected positive numbers")
        attrs = {**attrs, "scale": (1.0, *values) if rank == 3 else tuple(values)}
    else:
        values = [given.get(a, shape[a] if shape is not None else None) for a in spatial]
        if None in values:
            n.unsupported("sizes of some spatial axes only, and the others are not known")
        attrs = {**attrs, "size": (1, *map(int, values)) if rank == 3 else tuple(map(int, values))}
    if rank == 3:
        y = n.emit("resize2", [n.emit("unsqueeze", [x], {"axes": (2,)})], attrs)
        return n.emit("squeeze", [y], {"axes": (2,)}, last=True)
    n.emit("resize2", [x], attrs, last=True)


def _emit(n: Node, inputs: list[str], attrs: dict) -> None:
    n.emit("resize2", inputs, attrs, last=True)


OPERATORS = {"Resize": resize, "Upsample": upsample}

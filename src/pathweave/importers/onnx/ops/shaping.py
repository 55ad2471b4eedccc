"""Operators that move elements: reshape and its kin, concat, split, slice, pad, gather, expand, tile."""

from __future__ import annotations

import math

import numpy as np

from ....layers.split_even import even_sizes
from ....net.size import MOST_RANK
from ....words import counted
from ..node import Node


def reshape(n: Node) -> None:
    """Reshape with a shape that is constant or computed."""
    if n.version < 5:
        n.required(1)
        return n.emit("reshape", [n.input(0)], {"shape": n.ints("shape")}, last=True)
    n.required(2)
    attrs = {"allowzero": int(n.int("allowzero") != 0)}
    n.emit("reshape", [n.input(0), n.input(1)], attrs, last=True)


def flatten(n: Node) -> None:
    """All axes before `axis` become one, and all from it on another."""
    n.required(1)
    x, axis = n.input(0), n.int("axis", 1)
    if axis < 0:
        axis = n.axis(axis, n.rank(x))
    shape = n.shape(x)
    if axis == 0 or axis == 1 and shape is None:
        return n.emit("reshape", [x], {"shape": (0,) * axis + (1,) * (1 - axis) + (-1,)}, last=True)
    if axis > n.rank(x):
        raise ValueError(f"axis {axis} is out of range for rank {n.rank(x)}")
    known = [d for d in shape[1:] if d is not None] if shape is not None else []
    if axis == 1 and shape is not None and None not in shape[1:] and 0 not in known:
        return n.emit("reshape", [x], {"shape": (0, math.prod(known))}, last=True)
    leading = n.emit("slice", [n.emit("shape", [x])], {"starts": (0,), "ends": (axis,), "axes": (0,), "steps": (1,)})
    rows = n.emit("reduce", [leading], {"op": "prod", "axes": (0,), "keepdims": 1})
    # The columns are computed too, not -1: a value without elements has no unique -1.
    rest = n.emit("slice", [n.emit("shape", [x])], {"starts": (axis,), "ends": (MOST_RANK,), "axes": (0,), "steps": (1,)})
    columns = n.emit("reduce", [rest], {"op": "prod", "axes": (0,), "keepdims": 1})
    n.emit("reshape", [x, n.emit("concat", [rows, columns], {"axis": 0})], {"allowzero": 1}, last=True)


def _axes(n: Node) -> tuple[int, ...] | None:
    return n.const_ints(1, "axes") if n.version >= 13 else n.ints("axes", None)


def squeeze(n: Node) -> None:
    """Squeeze of given axes, or of all axes whose size is 1; those that are not known are looked at when it is."""
    n.required(1)
    if n.version >= 13 and n.varies(1):
        return n.emit("squeeze", [n.input(0), n.input(1)], last=True)
    x, axes = n.input(0), _axes(n)
    shape = n.shape(x)
    if axes is None:
        return n.emit("squeeze", [x], {"axes": ()}, last=True)
    if not axes:
        return n.alias(x)
    if shape is not None:
        axes = tuple(n.axis(a, len(shape)) for a in axes)
    n.emit("squeeze", [x], {"axes": tuple(axes)}, last=True)


def unsqueeze(n: Node) -> None:
    """New axes of size 1, counted in the result."""
    n.required(1)
    if n.version >= 13 and n.varies(1):
        return n.emit("unsqueeze", [n.input(0), n.input(1)], last=True)
    axes = _axes(n)
    if axes is None:
        raise ValueError("axes are missing")
    shape = n.shape(n.input(0))
    if shape is not None:
        axes = tuple(n.axis(a, len(shape) + len(axes)) for a in axes)
    n.emit("unsqueeze", [n.input(0)], {"axes": tuple(axes)}, last=True)


def transpose(n: Node) -> None:
    """Transpose; without perm the axes are reversed."""
    n.required(1)
    perm = n.ints("perm", None)
    if perm is None:
        perm = tuple(reversed(range(n.rank(n.input(0)))))
    n.emit("transpose", [n.input(0)], {"perm": perm}, last=True)


def _axis(n: Node, axis: int, *values: str) -> int:
    """An axis counted from the front where the rank of one of the values is known, else as it is."""
    shapes = (n.shape(v) for v in values)
    shape = next((s for s in shapes if s is not None), None)
    return axis if shape is None else n.axis(axis, len(shape))


def concat(n: Node) -> None:
    """Concatenation along an axis."""
    n.required(max(1, len(n.inputs)))
    axis = _axis(n, n.int("axis", 1), *n.inputs)
    if len(n.inputs) == 1:
        return n.alias(n.input(0))
    n.emit("concat", n.inputs, {"axis": axis}, last=True)


def split(n: Node) -> None:
    """Split by given sizes, or into equal parts, the last of which may be smaller."""
    n.required(1)
    x = n.input(0)
    axis = _axis(n, n.int("axis"), x)
    as_input = n.version >= 13 or n.version < 2 and bool(n.input(1))
    count = len(n.outputs)
    if as_input and n.varies(1):
        n.ignore(*(() if n.version >= 13 else ("split",)))
        return n.emit("split", [x, n.input(1)], {"axis": axis, "parts": count}, last=True, count=count)
    sizes = n.const_ints(1, "split") if as_input else n.ints("split", None)
    if n.version >= 18 and n.int("num_outputs", count) != count:
        raise ValueError(f"num_outputs is {n.int('num_outputs', count)}, expected {count}, its outputs")
    if sizes is None:
        shape = n.shape(x)
        length = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
        if length is None:
            return n.emit("split_even", [x], {"axis": axis, "parts": count}, last=True, count=count)
        sizes = tuple(s for s in even_sizes(length, count) if isinstance(s, int))
    if len(sizes) != count or min(sizes) < 0:
        raise ValueError(f"sizes are {tuple(sizes)} for {counted(count, 'output')}")
    n.emit("split", [x], {"axis": axis, "sizes": tuple(sizes)}, last=True, count=count)


def slice_(n: Node) -> None:
    """Slice with bounds from attributes (before opset 10), constants or values."""
    n.required(1)
    if n.version >= 10:
        n.required(3)
        return n.emit("slice", [n.input(i) for i in range(5)], last=True)
    starts, ends = n.ints("starts", None), n.ints("ends", None)
    if starts is None or ends is None or len(starts) != len(ends):
        raise ValueError(f"starts {starts} and ends {ends} do not fit")
    axes = n.ints("axes", None) or tuple(range(len(starts)))
    attrs = {"starts": starts, "ends": ends, "axes": axes, "steps": (1,) * len(starts)}
    n.emit("slice", [n.input(0)], attrs, last=True)


def pad(n: Node) -> None:
    """Pad with widths from attributes (before opset 11), constants or values."""
    n.required(1)
    mode = n.text("mode", "constant")
    if mode not in ("constant", "edge", "reflect", "wrap"):
        raise ValueError(f"mode is {mode!r}, expected constant, edge, reflect or wrap")
    if n.version >= 11:
        n.required(2)
        return n.emit("pad", [n.input(i) for i in range(4)], {"mode": mode}, last=True)
    attrs = {"mode": mode, "pads": n.ints("pads" if n.version >= 2 else "paddings", ()), "value": n.float("value")}
    n.emit("pad", [n.input(0)], attrs, last=True)


def gather(n: Node) -> None:
    """Slices at indices along an axis."""
    n.required(2)
    n.emit("gather", [n.input(0), n.input(1)], {"axis": n.int("axis")}, last=True)


def gather_elements(n: Node) -> None:
    """Elements at indices along an axis."""
    n.required(2)
    n.emit("gather_elements", [n.input(0), n.input(1)], {"axis": n.int("axis")}, last=True)


def gather_nd(n: Node) -> None:
    """Slices at index vectors."""
    n.required(2)
    n.emit("gather_nd", [n.input(0), n.input(1)], {"batch": n.int("batch_dims")}, last=True)


def tile(n: Node) -> None:
    """Repeats along each axis; at opset 1 along one, by two scalars."""
    if n.version >= 6:
        n.required(2)
        return n.emit("tile", [n.input(0), n.input(1)], last=True)
    n.required(3)
    rank = n.rank(n.input(0))
    axis, count = n.const_required(2, "axis").reshape(-1).tolist(), n.emit("reshape", [n.input(1)], {"shape": (1,)})
    if len(axis) != 1 or axis[0] != int(axis[0]):
        raise ValueError(f"axis is {axis}, expected one whole number")
    at = n.axis(int(axis[0]), rank)
    repeats = [n.constant(np.ones(at, np.int64)), n.emit("cast", [count], {"dtype": "i64"}),
               n.constant(np.ones(rank - at - 1, np.int64))]
    n.emit("tile", [n.input(0), n.emit("concat", repeats, {"axis": 0})], last=True)


def with_shape(kind: str):
    """An operator whose second input is a shape or repeats."""
    def operator(n: Node) -> None:
        n.required(2)
        n.emit(kind, [n.input(0), n.input(1)], last=True)
    return operator


def where(n: Node) -> None:
    """Elements of the second or the third input."""
    n.required(3)
    n.emit("where", [n.input(i) for i in range(3)], last=True)


def depth_to_space(n: Node) -> None:
    """Channels to pixels."""
    n.required(1)
    n.emit("depth_to_space", [n.input(0)], {"block": n.int("blocksize"), "mode": n.text("mode", "DCR")}, last=True)


def space_to_depth(n: Node) -> None:
    """Pixels to channels: DCR puts the place within a block before the channels, CRD (opset 28) behind them."""
    n.required(1)
    block, mode = n.int("blocksize"), n.text("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise ValueError(f"mode is {mode!r}, expected DCR or CRD")
    if mode == "DCR":
        return n.emit("space_to_depth", [n.input(0)], {"block": block}, last=True)
    y = n.emit("space_to_depth", [n.input(0)], {"block": block})
    shape = n.emit("shape", [y])
    batch, image = (n.emit("slice", [shape], {"starts": (a,), "ends": (b,), "axes": (0,), "steps": (1,)})
                    for a, b in ((0, 1), (2, 4)))
    apart = n.emit("concat", [batch, n.constant([block * block, -1]), image], {"axis": 0})
    swapped = n.emit("transpose", [n.emit("reshape", [y, apart])], {"perm": (0, 2, 1, 3, 4)})
    n.emit("reshape", [swapped, shape], last=True)


def dropout(n: Node) -> None:
    """Nothing at inference; the mask, where it is used, is all true."""
    n.required(1)
    x = n.input(0)
    if n.version < 7 and not n.int("is_test") and n.float("ratio", 0.5):
        n.unsupported("is_test is 0, which is for training; export the model for inference")
    n.ignore("ratio", "seed")
    ratio = n.const(1)
    n.ignore_inputs(1, 2)
    if n.version >= 12 and n.input(2) and not (ratio is not None and not np.any(ratio)):
        training = n.const(2)
        if training is None:
            return n.emit("dropout", [x, n.input(1), n.input(2)], last=True, count=2)
        if np.any(training):
            n.unsupported("training_mode is not false; export the model for inference")
    if n.reads_output(1):
        mask = n.emit("constant_of_shape", [n.emit("shape", [x])], {"value": 1, "dtype": "bool"})
        n.builder.add_layer(f"{n.name}/mask", "identity", [mask], [n.outputs[1]], {})
    n.alias(x)


OPERATORS = {
    "Reshape": reshape, "Flatten": flatten, "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Transpose": transpose,
    "Concat": concat, "Split": split, "Slice": slice_, "Pad": pad, "Gather": gather, "GatherElements": gather_elements,
    "GatherND": gather_nd, "Expand": with_shape("expand"),
    "Tile": tile, "Where": where, "DepthToSpace": depth_to_space, "SpaceToDepth": space_to_depth,
    "Dropout": dropout,
}

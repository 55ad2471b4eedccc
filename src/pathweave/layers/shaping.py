"""Layers that move elements and compute none: concat, split, slice, pad, transpose, reshape and their like."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ModelError, ShapeError
from ..net.conditions import assumed, at_least, divides, equal
from ..net.dim import Expr, ceiling, highest, largest, smallest, unknown
from ..net.dim_compare import is_at_least, is_equal
from ..net.net import TensorSpec
from ..words import counted
from . import Outline
from ._common import (
    Mover,
    ValueKind,
    axes_of,
    axis_of,
    broadcast_known,
    broadcast_shapes,
    check_rank,
    check_same_dtype,
    integers,
    listed,
    take,
    word,
)
from .split_even import MOST_PARTS


class Concat(Mover):
    """Inputs one behind the other along `axis`. Source: ONNX Concat."""

    name = "concat"
    moves = slice(None)
    attributes = {"axis": None}

    def hands_on(self, attrs: Mapping[str, Any], same: bool) -> bool:
        return True

    def before_transpose(self, attrs: Mapping[str, Any], perm: tuple[int, ...]) -> tuple[dict[str, Any],
                         tuple[int, ...]] | None:
        return {**attrs, "axis": perm[attrs["axis"]]}, perm

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        take(inputs, max(1, len(inputs)))
        check_same_dtype(*inputs)
        first = inputs[0]
        axis = axis_of(attrs["axis"], first.rank)
        for other in inputs[1:]:
            if other.rank != first.rank or any(
                    not equal(a, b) for i, (a, b) in enumerate(zip(first.shape, other.shape)) if i != axis):
                raise ShapeError(f"{first} and {other} differ in more than axis {axis}")
        length = sum(s.shape[axis] for s in inputs)
        shape = first.shape if first.bound else [next((d for d in dims if type(d) is int), dims[0])
                                                 for dims in zip(*(s.shape for s in inputs))]
        return [TensorSpec(first.dtype, (*shape[:axis], length, *shape[axis + 1:]))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        known = next((s for s in shapes if s is not None), None)
        if known is None:
            return None
        axis = axis_of(attrs["axis"], len(known))
        at: list[Any] = [s[axis] if s is not None else None for s in shapes]
        return tuple((None if None in at else sum(at)) if i == axis else
                     next((s[i] for s in shapes if s is not None and s[i] is not None), None) for i in range(len(known)))

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        return [np.concatenate(inputs, int(attrs["axis"]))]


class Split(Mover, ValueKind):
    """Parts of `sizes` along `axis`, one output each. Source: ONNX Split.

    An optional second input has the sizes instead; `parts` then says how many they are, where its shape does not.
    """

    name = "split"
    of_constants = True
    attributes = {"axis": 0, "sizes": (), "parts": 0}
    value_inputs = {1: "sizes"}

    def before_transpose(self, attrs: Mapping[str, Any], perm: tuple[int, ...]) -> tuple[dict[str, Any],
                         tuple[int, ...]] | None:
        return {**attrs, "axis": perm[attrs.get("axis", 0)]}, perm

    def infer_open(self, attrs: Mapping[str, Any], inputs: list[TensorSpec | None]) -> list[TensorSpec]:
        x, given = take(inputs, 1, 2)
        if given is None:
            return self.infer(attrs, inputs)
        axis = axis_of(attrs["axis"], x.rank)
        parts = given.elements if given.bound and given.rank == 1 else attrs["parts"]
        if not 0 < parts <= MOST_PARTS or attrs["parts"] not in (0, parts):
            raise ShapeError(f"input 1 (sizes) is {given} for {attrs['parts']} outputs: expected one size for each, at most "
                             f"{MOST_PARTS}")
        return [TensorSpec(x.dtype, (*x.shape[:axis], unknown(0, highest(x.shape[axis])), *x.shape[axis + 1:]))
                for _ in range(parts)]

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(self.plain(inputs), 1)
        axis, sizes = axis_of(attrs["axis"], x.rank), integers("sizes", attrs["sizes"], least=0)
        if attrs["parts"] not in (0, len(sizes)):
            raise ShapeError(f"sizes={sizes}: expected {attrs['parts']} of them, one for each output")
        if not equal(sum(sizes), x.shape[axis]):
            raise ShapeError(f"sizes={sizes} add up to {sum(sizes)}, axis {axis} of {x} has {x.shape[axis]}")
        return [TensorSpec(x.dtype, (*x.shape[:axis], size, *x.shape[axis + 1:])) for size in sizes]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (x,) = self.resolve(attrs, inputs)
        self.infer(attrs, [TensorSpec("f32", x.shape)])
        return np.split(x, np.cumsum(integers("sizes", attrs["sizes"]))[:-1], int(attrs["axis"]))


class Slice(Mover, ValueKind):
    """x[starts:ends:steps] along `axes`; negative counts from the end, steps may be negative. Source: ONNX Slice.

    axes=() means the first len(starts) axes, steps=() all 1.
    """

    name = "slice"
    of_constants = True
    finds_sizes = True
    attributes = {"starts": (), "ends": (), "axes": (), "steps": ()}
    value_inputs = {1: "starts", 2: "ends", 3: "axes", 4: "steps"}

    def hands_on(self, attrs: Mapping[str, Any], same: bool) -> bool:
        return same and bool(attrs.get("starts")) and all(s > 0 for s in attrs.get("steps") or (1,))

    def before_transpose(self, attrs: Mapping[str, Any], perm: tuple[int, ...]) -> tuple[dict[str, Any],
                         tuple[int, ...]] | None:
        if not attrs.get("starts"):
            return None
        axes = attrs.get("axes") or range(len(attrs["starts"]))
        return {**attrs, "axes": tuple(perm[a] for a in axes)}, perm

    @staticmethod
    def _slices(attrs: Mapping[str, Any], shape: Sequence[int]) -> tuple[slice, ...]:
        starts = integers("starts", attrs["starts"])
        ends = integers("ends", attrs["ends"], len(starts))
        axes = axes_of(integers("axes", attrs["axes"] or tuple(range(len(starts))), len(starts)), len(shape))
        steps = integers("steps", attrs["steps"] or (1,) * len(starts), len(starts))
        if 0 in steps:
            raise ModelError(f"attribute steps={steps}: expected none to be 0")
        found = [slice(None)] * len(shape)
        for start, end, axis, step in zip(starts, ends, axes, steps):
            n = shape[axis]
            low, high = (0, n) if step > 0 else (-1, n - 1)
            start, end = start + n if start < 0 else start, end + n if end < 0 else end
            start = min(max(start, max(low, 0)), high)
            end = min(max(end, low), high)
            found[axis] = slice(start, end if end >= 0 else None, step)
            if n == 0 or (end - start) * step <= 0:
                found[axis] = slice(0, 0, step)
        return tuple(found)

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(self.plain(inputs), 1)
        if not x.bound or any(isinstance(v, Expr) for k in self.value_inputs.values() for v in attrs[k]):
            return [TensorSpec(x.dtype, self._open_shape(attrs, x.shape))]
        slices = self._slices(attrs, x.shape)
        return [TensorSpec(x.dtype, tuple(len(range(*s.indices(d))) for s, d in zip(slices, x.shape)))]

    def _open_shape(self, attrs: Mapping[str, Any], shape: Sequence[int | Expr]) -> tuple[int | Expr, ...]:
        """The shape of the result where a size of x, a start or an end is open."""
        starts = integers("starts", attrs["starts"])
        ends = integers("ends", attrs["ends"], len(starts))
        axes = axes_of(integers("axes", attrs["axes"] or tuple(range(len(starts))), len(starts)), len(shape))
        steps = integers("steps", attrs["steps"] or (1,) * len(starts), len(starts))
        if 0 in steps:
            raise ModelError(f"attribute steps={steps}: expected none to be 0")
        out = list(shape)
        for start, end, axis, step in zip(starts, ends, axes, steps):
            out[axis] = _sliced(shape[axis], start, end, step)
        return tuple(out)

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        x = shapes[0]
        if x is None or any(attrs[k] is None or None in attrs[k] for k in self.attributes):
            return x and (None,) * len(x)
        axes = attrs["axes"] or range(len(attrs["starts"]))
        touched = axes_of(axes, len(x))
        slices = self._slices(attrs, [1 if d is None else d for d in x])
        return tuple(d if i not in touched else None if d is None else len(range(*s.indices(d)))
                     for i, (d, s) in enumerate(zip(x, slices)))

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (x,) = self.resolve(attrs, inputs)
        return [x[self._slices(attrs, x.shape)]]


#: A slice that ends here or behind goes to the end, whatever the length: what exporters write for "no end".
_NO_END = 2**31 - 1


def _sliced(n: int | Expr, start: int | Expr, end: int | Expr, step: int | Expr) -> int | Expr:
    """How many elements of n a slice has, for sizes that may be open; one of its own where a sign is not known."""
    if isinstance(step, Expr) or any(is_at_least(v, 0) is None for v in (start, end)):
        return unknown(0, highest(n))
    if not isinstance(end, Expr) and abs(end) >= _NO_END and assumed((abs(end), ">=", n)):
        end = n if end > 0 else -1 if step < 0 else 0
    elif is_at_least(end, 0) is False:
        end = largest(end + n, -1) if step < 0 else end + n
    if is_at_least(start, 0) is False:
        start = start + n
    if step > 0:  # from max(start, 0) to min(end, n)
        span = smallest(end - start, n - start, end, n)
    else:  # from min(max(start, 0), n - 1) down to end, which is not included
        start = largest(start, 0)
        span = smallest(start - end, n - 1 - end)
    return largest(0, ceiling(span, abs(step)))


class Pad(Mover, ValueKind):
    """x with `pads` elements around it (all begins, then all ends; negative cuts off). Source: ONNX Pad.

    mode: constant (`value`), edge, reflect, wrap. `axes`: those that pads speaks of; () means all.
    """

    name = "pad"
    of_constants = True
    finds_sizes = True
    attributes = {"pads": (), "mode": "constant", "value": 0.0, "axes": ()}
    value_inputs = {1: "pads", 2: "value", 3: "axes"}

    def keeps_order(self, attrs: Mapping[str, Any]) -> bool:
        return attrs["mode"] != "constant"

    def hands_on(self, attrs: Mapping[str, Any], same: bool) -> bool:
        return bool(attrs.get("pads")) and not any(attrs["pads"])

    def before_transpose(self, attrs: Mapping[str, Any], perm: tuple[int, ...]) -> tuple[dict[str, Any],
                         tuple[int, ...]] | None:
        rank = len(perm)
        if len(attrs.get("pads", ())) != 2 * rank or attrs.get("axes"):
            return None
        pads = [0] * 2 * rank
        for i, p in enumerate(perm):
            pads[p], pads[p + rank] = attrs["pads"][i], attrs["pads"][i + rank]
        return {**attrs, "pads": tuple(pads)}, perm

    def attribute(self, name: str, array: np.ndarray) -> Any:
        return array.reshape(-1).tolist()[0] if name == "value" and array.size else super().attribute(name, array)

    @staticmethod
    def _widths(attrs: Mapping[str, Any], rank: int) -> Any:
        axes = axes_of(integers("axes", attrs["axes"]), rank) or tuple(range(rank))
        pads = integers("pads", attrs["pads"], 2 * len(axes))
        widths = [(0, 0)] * rank
        for i, axis in enumerate(axes):
            widths[axis] = (pads[i], pads[i + len(axes)])
        return widths

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(self.plain(inputs), 1)
        word("mode", attrs["mode"], ("constant", "edge", "reflect", "wrap"))
        widths = self._widths(attrs, x.rank)
        for (a, b), d in zip(widths, x.shape):
            kept = d + smallest(a, 0) + smallest(b, 0)
            if not at_least(kept, 0):
                raise ShapeError(f"pads={attrs['pads']} cut off more than there is of {x}")
            if attrs["mode"] != "constant" and is_at_least(0, largest(a, b)) is not True \
                    and not at_least(kept, 2 if attrs["mode"] == "reflect" else 1):
                raise ShapeError(f"pads={attrs['pads']}, mode={attrs['mode']}: axis of length {kept} is too short")
        return [TensorSpec(x.dtype, tuple(d + a + b for (a, b), d in zip(widths, x.shape)))]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (x,) = self.resolve(attrs, inputs)
        widths = self._widths(attrs, x.ndim)
        x = x[tuple(slice(max(0, -a), d - max(0, -b)) for (a, b), d in zip(widths, x.shape))]
        widths = [(max(0, a), max(0, b)) for a, b in widths]
        if attrs["mode"] == "constant":
            return [np.pad(x, widths, constant_values=np.asarray(attrs["value"] or 0).astype(x.dtype))]
        return [np.pad(x, widths, mode=attrs["mode"])]


def transpose_spec(x: TensorSpec, perm: Any) -> TensorSpec:
    """Spec of x with axes in the order `perm`. Raises ShapeError."""
    perm = integers("perm", perm)
    if sorted(perm) != list(range(x.rank)):
        raise ShapeError(f"perm={perm} is no order of the axes of {x}")
    return TensorSpec(x.dtype, tuple(x.shape[p] for p in perm))


def permuted(shapes: list[Any], perm: Any) -> Outline:
    return tuple(shapes[0][p] for p in perm) if shapes[0] else (None,) * len(perm)


class Transpose(Mover):
    """Axis i of the output is axis perm[i] of x. Source: ONNX Transpose."""

    name = "transpose"
    attributes = {"perm": None}

    def hands_on(self, attrs: Mapping[str, Any], same: bool) -> bool:
        return list(attrs["perm"]) == list(range(len(attrs["perm"])))

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        return [transpose_spec(x, attrs["perm"])]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return permuted(shapes, attrs["perm"])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        return [np.ascontiguousarray(x.transpose(attrs["perm"])).reshape([x.shape[p] for p in attrs["perm"]])]


class Reshaping(Mover, ValueKind):
    """x row-major in another shape, which `_shape(attrs, old shape)` gives."""

    @staticmethod
    def _shape(attrs: Mapping[str, Any], old: Any) -> Any:
        raise NotImplementedError

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(self.plain(inputs), 1)
        return [TensorSpec(x.dtype, self._shape(attrs, x.shape))]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (x,) = self.resolve(attrs, inputs)
        return [x.reshape(self._shape(attrs, x.shape))]


class Reshape(Reshaping):
    """x in another shape, row-major order kept; 0 keeps a dimension (allowzero=0), -1 is what is left.

    Source: ONNX Reshape.
    """

    name = "reshape"
    finds_sizes = True
    view = True
    implied = ("shape",)
    attributes = {"shape": (), "allowzero": 0}
    value_inputs = {1: "shape"}

    @staticmethod
    def _shape(attrs: Mapping[str, Any], old: Any) -> Any:
        new = list(integers("shape", attrs["shape"], least=-1))
        if not attrs["allowzero"]:
            if any(d == 0 and i >= len(old) for i, d in enumerate(new)):
                raise ShapeError(f"shape={listed(new)}: 0 keeps a dimension that {listed(old)} does not have")
            new = [old[i] if d == 0 else d for i, d in enumerate(new)]
        least = 0 if attrs["allowzero"] else 1  # an open number may be -1 or 0, which mean something else
        if not all(at_least(d, least) for d in attrs["shape"] if isinstance(d, Expr)):
            raise ShapeError(f"shape={listed(new)}: sizes that are open are expected to be at least {least}")
        count, known = math.prod(old), math.prod(d for d in new if d != -1)
        if new.count(-1) > 1 or (new.count(-1) == 1 and not divides(known, count)):
            raise ShapeError(f"shape={listed(attrs['shape'])}: -1 cannot be found from {listed(old)}")
        if -1 in new:
            new[new.index(-1)] = count // known
        elif not equal(known, count):
            raise ShapeError(f"shape={listed(attrs['shape'])} has {counted(str(known), 'element')}, {listed(old)} has {count}")
        return tuple(new)

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        if attrs["shape"] is None:
            return None
        old = shapes[0] or ()
        new = [(old[i] if i < len(old) else None) if d == 0 and not attrs["allowzero"] else None if d == -1 else d
               for i, d in enumerate(attrs["shape"])]
        if None not in old and shapes[0] is not None and new.count(None) == 1 and -1 in attrs["shape"]:
            known = math.prod(d for d in new if d is not None)
            new[new.index(None)] = math.prod(old) // known if known else None
        return tuple(new)


class Squeeze(Reshaping):
    """x without `axes` of length 1; () means all such axes. Source: ONNX Squeeze."""

    name = "squeeze"
    view = True
    attributes = {"axes": ()}
    value_inputs = {1: "axes"}

    @staticmethod
    def _shape(attrs: Mapping[str, Any], old: Any) -> Any:
        axes = axes_of(integers("axes", attrs["axes"]), len(old)) or [i for i, d in enumerate(old) if d == 1]
        if not attrs["axes"] and any(isinstance(d, Expr) and is_equal(d, 1) is None for d in old):
            raise ShapeError(f"which axes of {listed(old)} are of length 1 depends on open sizes: give the attribute axes, or "
                             f"bind the shapes")
        if not all(equal(old[a], 1) for a in axes):
            raise ShapeError(f"axes={tuple(axes)}: expected length 1 in {listed(old)}")
        return tuple(d for i, d in enumerate(old) if i not in axes)

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        old, axes = shapes[0], attrs["axes"]
        if old is None or axes is None or (not axes and None in old):
            return None
        if None in axes:
            return (None,) * (len(old) - len(axes))
        if not axes:
            return tuple(d for d in old if d != 1)
        gone = axes_of(axes, len(old))
        return tuple(d for i, d in enumerate(old) if i not in gone)


class Unsqueeze(Squeeze):
    """x with new axes of length 1 at `axes`, counted in the output. Source: ONNX Unsqueeze."""

    name = "unsqueeze"

    @staticmethod
    def _shape(attrs: Mapping[str, Any], old: Any) -> Any:
        axes = integers("axes", attrs["axes"])
        rank = len(old) + len(axes)
        found, rest = set(axes_of(axes, rank)), iter(old)
        return tuple(1 if i in found else next(rest) for i in range(rank))

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        old, axes = shapes[0], attrs["axes"]
        if old is None or axes is None:
            return None
        return (None,) * (len(old) + len(axes)) if None in axes else self._shape(attrs, old)


class Expand(Reshaping):
    """x broadcast with `shape`, both ways. Source: ONNX Expand."""

    name = "expand"
    of_constants = True
    finds_sizes = True
    implied = ("shape",)
    attributes = {"shape": ()}
    value_inputs = {1: "shape"}

    def hands_on(self, attrs: Mapping[str, Any], same: bool) -> bool:
        return same

    @staticmethod
    def _shape(attrs: Mapping[str, Any], old: Any) -> Any:
        return broadcast_shapes(old, integers("shape", attrs["shape"], least=0))

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return broadcast_known([shapes[0], attrs["shape"]])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (x,) = self.resolve(attrs, inputs)
        return [np.broadcast_to(x, self._shape(attrs, x.shape)).copy()]


class Tile(Mover, ValueKind):
    """x repeated `repeats` times along each axis. Source: ONNX Tile."""

    name = "tile"
    of_constants = True
    finds_sizes = True
    attributes = {"repeats": ()}
    value_inputs = {1: "repeats"}

    def hands_on(self, attrs: Mapping[str, Any], same: bool) -> bool:
        return same

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(self.plain(inputs), 1)
        repeats = integers("repeats", attrs["repeats"], x.rank, 0)
        return [TensorSpec(x.dtype, tuple(d * r for d, r in zip(x.shape, repeats)))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        old, repeats = shapes[0], attrs["repeats"]
        if old is not None and repeats is not None and len(repeats) != len(old):
            raise ShapeError(f"attribute repeats: {len(repeats)} integers; expected {len(old)} for rank {len(old)}")
        return old and (None,) * len(old)

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (x,) = self.resolve(attrs, inputs)
        return [np.tile(x, integers("repeats", attrs["repeats"], x.ndim, 0))]


class DepthToSpace(Mover):
    """Channels to pixels: [N,C,H,W] -> [N,C/b^2,Hb,Wb], mode DCR or CRD. Source: ONNX DepthToSpace."""

    name = "depth_to_space"
    space = 2
    attributes = {"block": None, "mode": "DCR"}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_rank("x", x, 4)
        (b,) = integers("block", attrs["block"], 1, 1)
        word("mode", attrs["mode"], ("DCR", "CRD"))
        n, c, h, w = x.shape
        if not divides(b * b, c):
            raise ShapeError(f"x is {x}: expected channels to be a multiple of block^2 = {b * b}")
        return [TensorSpec(x.dtype, (n, c // (b * b), h * b, w * b))]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        b = int(attrs["block"])
        n, c, h, w = x.shape
        if attrs["mode"] == "DCR":
            y = x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            y = x.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        return [y.reshape(n, c // (b * b), h * b, w * b)]


class SpaceToDepth(Mover):
    """Pixels to channels: [N,C,H,W] -> [N,Cb^2,H/b,W/b]. Source: ONNX SpaceToDepth."""

    name = "space_to_depth"
    space = 2
    attributes = {"block": None}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_rank("x", x, 4)
        (b,) = integers("block", attrs["block"], 1, 1)
        n, c, h, w = x.shape
        if not divides(b, h) or not divides(b, w):
            raise ShapeError(f"x is {x}: expected height and width to be multiples of block = {b}")
        return [TensorSpec(x.dtype, (n, c * b * b, h // b, w // b))]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        b = int(attrs["block"])
        n, c, h, w = x.shape
        y = x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
        return [y.reshape(n, c * b * b, h // b, w // b)]

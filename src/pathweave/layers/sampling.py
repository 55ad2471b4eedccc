"""Values read between the elements of an image: grid_sample, roi_align, max_roi_pool, deform_conv."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ModelError, ShapeError
from ..net import memory
from ..net.conditions import divides, equal
from ..net.net import TensorSpec
from . import LayerKind, Outline
from ._common import (
    FLOATS,
    NUMBERS,
    STEP_EFFORT,
    as_type,
    check_dtype,
    check_rank,
    check_same_dtype,
    check_shape,
    integers,
    is_empty,
    numbers,
    take,
    widen,
    windows,
    word,
)
from .dense import Product

_FAR = 2.0**40  # a coordinate beyond is as far outside as this one
_MOST_RATIO = 1024  # samples of `roi_align` per output and axis


def reflected(at: np.ndarray, low: float, high: float) -> np.ndarray:
    """Coordinates reflected at `low` and `high` until they lie between."""
    span = high - low
    if span <= 0:
        return np.full_like(at, low)
    turns, rest = np.divmod(np.abs(at - low), span)
    return np.where(turns % 2 == 0, low + rest, high - rest)


class GridSample(LayerKind):
    """x at the places that a grid names: x [N,C,*S], grid [N,*O,len(S)] -> [N,C,*O]. Source: ONNX GridSample.

    The grid holds for each output the place along each axis of space, the last axis first, from -1 to 1: the centres of the
    outermost elements with align_corners=1, else their outer borders. `mode` nearest (ties to even), linear, cubic (a = -0.75);
    `padding` zeros, border, reflection says what lies outside; of border, cubic takes each of its elements from within, as ONNX
    Runtime and PyTorch do. What is no number is read as -1.
    """

    name = "grid_sample"
    space = -1
    attributes = {"mode": "linear", "padding": "zeros", "align_corners": 0}
    MODES = ("nearest", "linear", "cubic")
    PADDINGS = ("zeros", "border", "reflection")
    _TAPS = {"nearest": 1, "linear": 2, "cubic": 4}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, grid = take(inputs, 2)
        check_dtype("x", x, NUMBERS if attrs["mode"] == "nearest" else FLOATS)
        check_dtype("grid", grid, FLOATS)
        word("mode", attrs["mode"], self.MODES)
        word("padding", attrs["padding"], self.PADDINGS)
        integers("align_corners", attrs["align_corners"], 1, 0)
        if x.rank < 3:
            raise ShapeError(f"x is {x}: expected [N, C, ...] with at least one axis of space")
        check_rank("grid", grid, x.rank)
        if not equal(grid.shape[0], x.shape[0]) or not equal(grid.shape[-1], x.rank - 2):
            raise ShapeError(f"grid is {grid}: expected [{x.shape[0]}, ..., {x.rank - 2}] for x, {x}")
        if is_empty(x.shape[2:]):
            raise ShapeError(f"x is {x}: expected an image that is not empty")
        return [TensorSpec(x.dtype, (*x.shape[:2], *grid.shape[1:-1]))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        x, grid = shapes
        if not x and not grid:
            return None
        rank = len(x or grid)
        return (*(x[:2] if x else (grid[0], None)), *(grid[1:-1] if grid else [None] * (rank - 2)))

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return self._TAPS[attrs["mode"]] ** (inputs[0].rank - 2)

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return 2 * outputs[0].elements * self.terms(attrs, inputs)

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        taps = self.terms(attrs, inputs)
        return super().effort(attrs, inputs, outputs) + taps * (STEP_EFFORT + 8 * outputs[0].elements) + 40 * inputs[1].elements

    def axis_taps(self, attrs: Mapping[str, Any], at: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """(indices, weights), both [taps, ...], along one axis; an index that lies outside is -1, of weight 0.

        `at`: what the grid says of the axis, float64.
        """
        align, padding, mode = bool(attrs["align_corners"]), attrs["padding"], attrs["mode"]
        at = np.where(np.isnan(at), -1.0, np.clip(at, -_FAR, _FAR))
        at = (at + 1) / 2 * (length - 1) if align else ((at + 1) * length - 1) / 2
        low, high = (0.0, length - 1.0) if align else (-0.5, length - 0.5)
        if mode == "nearest":
            at = np.rint(at)
        outside = (at < low) | (at > high)
        if padding == "border" and mode != "cubic":
            at = np.where(outside, np.clip(at, 0, length - 1), at)
        elif padding == "reflection":
            at = np.where(outside, reflected(at, low, high), at)
        below = np.rint(at) if mode == "nearest" else np.floor(at)
        d = at - below
        if mode == "nearest":
            index, weight = below[None], np.ones((1, *at.shape))
        elif mode == "linear":
            index, weight = np.stack([below, below + 1]), np.stack([1 - d, d])
        else:
            a = -0.75
            far, near = ((a * (d + 1) - 5 * a) * (d + 1) + 8 * a) * (d + 1) - 4 * a, ((a + 2) * d - (a + 3)) * d * d + 1
            e = 1 - d
            index = np.stack([below - 1, below, below + 1, below + 2])
            weight = np.stack([far, near, ((a + 2) * e - (a + 3)) * e * e + 1,
                               ((a * (e + 1) - 5 * a) * (e + 1) + 8 * a) * (e + 1) - 4 * a])
        beyond = (index < 0) | (index > length - 1)
        if padding == "border":
            return np.clip(index, 0, length - 1).astype(np.int64), weight
        if padding == "reflection":
            index = np.where(beyond, np.trunc(reflected(index, low, high)), index)
            return np.clip(index, 0, length - 1).astype(np.int64), weight
        return np.where(beyond, -1, index).astype(np.int64), np.where(beyond, 0.0, weight)

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, grid = take(inputs, 2)
        wide, sizes = widen(x), x.shape[2:]
        space = len(sizes)
        # The grid names the last axis first.
        taps = [self.axis_taps(attrs, grid[..., space - 1 - i].astype(np.float64), length) for i, length in enumerate(sizes)]
        out = grid.shape[1:-1]
        exact = attrs["mode"] == "nearest"
        y = np.zeros((*x.shape[:2], *out), wide.dtype)
        for choice in np.ndindex(*[len(index) for index, _ in taps]):
            index = [taps[i][0][k] for i, k in enumerate(choice)]
            weight: Any = math.prod(taps[i][1][k] for i, k in enumerate(choice))
            inside = np.logical_and.reduce([k >= 0 for k in index])
            for image in range(x.shape[0]):
                read = (slice(None), *(np.where(inside, k, 0)[image] for k in index))
                seen = wide[image][read]
                if exact:
                    y[image] = np.where(inside[image], seen, np.zeros((), wide.dtype))
                else:
                    y[image] += (np.where(inside[image], seen, 0) * weight[image].astype(wide.dtype)).astype(wide.dtype)
        return [as_type(y, x.dtype)]


def _check_rois(x: TensorSpec, rois: TensorSpec, columns: int) -> None:
    check_rank("x", x, 4)
    check_dtype("x", x, FLOATS)
    check_same_dtype(x, rois)
    check_rank("rois", rois, 2)
    if not equal(rois.dims[1], columns):
        raise ShapeError(f"rois is {rois}: expected [regions, {columns}]")
    if is_empty(x.dims[2:]):
        raise ShapeError(f"x is {x}: expected an image that is not empty")


def _image_of(index: int, images: int, kind: str) -> int:
    if not 0 <= index < images:
        raise ModelError(f"{kind}: a region of image {index}, expected 0 to {images - 1}")
    return index


class RoiAlign(LayerKind):
    """Regions of an image, sampled: x [N,C,H,W], rois [R,4], indices i64 [R] -> [R,C,*size]. Source: ONNX RoiAlign.

    `rois`: left, top, right, bottom times 1 / `scale`; `indices`: the image of each. Each output is made of ratio x ratio
    samples of its part of the region, or with ratio=0 of as many as that has elements; a sample has four elements with the
    weights of an interpolation, all 0 further outside than one element. `mode` avg is the mean of the samples' sums; max is
    the largest of all elements times their weights, as ONNX's test cases and ONNX Runtime have it. half_pixel=1 shifts places
    by -0.5; 0 makes regions at least one element wide. Raises ModelError for an index of no image.
    """

    name = "roi_align"
    space = 2
    attributes = {"size": (1, 1), "mode": "avg", "ratio": 0, "scale": 1.0, "half_pixel": 1}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, rois, indices = take(inputs, 3)
        _check_rois(x, rois, 4)
        check_dtype("indices", indices, frozenset(("i64", "i32")))
        check_shape("indices", indices, rois.shape[:1])
        size = integers("size", attrs["size"], 2, 1)
        word("mode", attrs["mode"], ("avg", "max"))
        (ratio,) = integers("ratio", attrs["ratio"], 1, 0)
        if ratio > _MOST_RATIO:
            raise ModelError(f"attribute ratio={ratio}: expected at most {_MOST_RATIO} samples per output and axis")
        integers("half_pixel", attrs["half_pixel"], 1, 0)
        (scale,) = numbers(attrs, "scale")
        if not 0 < scale < math.inf:
            raise ModelError(f"attribute scale={attrs['scale']}: expected a positive number")
        return [TensorSpec(x.dtype, (rois.shape[0], x.shape[1], *size))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        size = attrs["size"] if isinstance(attrs["size"], tuple) and len(attrs["size"]) == 2 else (None, None)
        return (shapes[1][0] if shapes[1] else None, shapes[0][1] if shapes[0] else None, *size)

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[TensorSpec | None],
                 constants: list[Any]) -> tuple[int, int] | None:
        x = inputs[0]
        return (0, max(0, x.shape[0] - 1)) if position == 2 and x is not None and isinstance(x.shape[0], int) else None

    def _samples(self, attrs: Mapping[str, Any]) -> int:
        return max(2, int(attrs["ratio"])) ** 2

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return 4 * self._samples(attrs)

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return 8 * outputs[0].elements * self._samples(attrs)

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        # With ratio=0 a region may be as large as the image, and larger.
        most = inputs[0].elements * max(1, inputs[1].elements) if not int(attrs["ratio"]) else 0
        bins = outputs[0].elements // max(1, outputs[0].sizes[1])
        return super().effort(attrs, inputs, outputs) + bins * STEP_EFFORT + 8 * most

    def _axis(self, start: float, length: float, bins: int, ratio: int, size: int) -> tuple[int, list[Any]]:
        """(samples per bin, per bin (low, high, weight of high) of the samples inside) along one axis."""
        step = length / bins
        count = ratio or math.ceil(min(max(step, 0.0), _FAR))
        if count > 1 << 20:
            raise ModelError(f"roi_align: a region of {length:g} elements: expected at most {1 << 20} samples per output")
        found = []
        for bin_ in range(bins):
            at = start + bin_ * step + (np.arange(count) + 0.5) * step / max(1, count)
            at = np.maximum(at[(at >= -1) & (at <= size)], 0)
            low = np.minimum(at.astype(np.int64), size - 1)
            found.append((low, np.minimum(low + 1, size - 1), np.where(low == size - 1, 0.0, at - low)))
        return count, found

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, rois, indices = take(inputs, 3)
        wide = widen(x)
        half, scale, ratio = bool(attrs["half_pixel"]), float(attrs["scale"]), int(attrs["ratio"])
        size = integers("size", attrs["size"], 2, 1)
        y = np.zeros((rois.shape[0], x.shape[1], *size), wide.dtype)
        for r, (roi, index) in enumerate(zip(rois.astype(np.float64), indices)):
            image = wide[_image_of(int(index), x.shape[0], self.name)]
            left, top, right, bottom = roi * scale - (0.5 if half else 0.0)
            width, height = (right - left, bottom - top) if half else (max(right - left, 1.0), max(bottom - top, 1.0))
            if not np.isfinite([left, top, width, height]).all():
                raise ModelError(f"roi_align: region {r} is {roi.tolist()}, expected finite numbers")
            rows, down = self._axis(top, height, size[0], ratio, x.shape[2])
            columns, across = self._axis(left, width, size[1], ratio, x.shape[3])
            for i, (y0, y1, dy) in enumerate(down):
                for j, (x0, x1, dx) in enumerate(across):
                    if not len(dy) or not len(dx):
                        continue  # all samples lie outside, where zeros are
                    a, b = dy[:, None].astype(wide.dtype), dx[None].astype(wide.dtype)
                    weights = [v * w for v in (1 - a, a) for w in (1 - b, b)]
                    corners = [image[:, p[:, None], q[None]] for p in (y0, y1) for q in (x0, x1)]
                    parts = np.stack([v * w for v, w in zip(corners, weights)])
                    if attrs["mode"] == "avg":
                        y[r, :, i, j] = parts.sum(0).sum((1, 2)) / wide.dtype.type(rows * columns)
                    else:
                        most = parts.max((0, 2, 3))
                        y[r, :, i, j] = most if len(dy) * len(dx) == rows * columns else np.maximum(most, 0)
        return [as_type(y, x.dtype)]


class MaxRoiPool(LayerKind):
    """The largest element of each part of a region: x [N,C,H,W], rois [R,5] -> [R,C,*size]. Source: ONNX MaxRoiPool.

    `rois`: the image's index, then left, top, right, bottom times 1 / `scale`, rounded to elements, both ends within. A part
    without elements is 0. Raises ModelError for an index of no image.
    """

    name = "max_roi_pool"
    space = 2
    attributes = {"size": None, "scale": 1.0}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, rois = take(inputs, 2)
        _check_rois(x, rois, 5)
        size = integers("size", attrs["size"], 2, 1)
        (scale,) = numbers(attrs, "scale")
        if not 0 < scale < math.inf:
            raise ModelError(f"attribute scale={attrs['scale']}: expected a positive number")
        return [TensorSpec(x.dtype, (rois.shape[0], x.shape[1], *size))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        size = attrs["size"] if isinstance(attrs["size"], tuple) and len(attrs["size"]) == 2 else (None, None)
        return (shapes[1][0] if shapes[1] else None, shapes[0][1] if shapes[0] else None, *size)

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return 4 * outputs[0].elements

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        # Parts overlap by one element at most.
        most = 4 * inputs[0].elements * max(1, inputs[1].elements)
        return super().effort(attrs, inputs, outputs) + most + outputs[0].elements // max(1, outputs[0].sizes[1]) * STEP_EFFORT

    @staticmethod
    def bins(start: int, end: int, bins: int, size: int) -> list[tuple[int, int]]:
        """[first, last) of the elements of each part along one axis. float32, as the reference implementations compute."""
        step = np.float32(max(end - start + 1, 1)) / np.float32(bins)
        return [(min(max(math.floor(np.float32(i) * step) + start, 0), size),
                 min(max(math.ceil(np.float32(i + 1) * step) + start, 0), size)) for i in range(bins)]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, rois = take(inputs, 2)
        size, scale = integers("size", attrs["size"], 2, 1), float(attrs["scale"])
        y = np.zeros((rois.shape[0], x.shape[1], *size), x.dtype)
        for r, roi in enumerate(rois.astype(np.float64)):
            if not np.isfinite(roi).all():
                raise ModelError(f"max_roi_pool: region {r} is {roi.tolist()}, expected finite numbers")
            image = x[_image_of(int(roi[0]), x.shape[0], self.name)]
            places = np.clip(roi[1:] * scale, -_FAR, _FAR)
            left, top, right, bottom = (int(v) for v in np.trunc(places + np.copysign(0.5, places)))
            rows, columns = (self.bins(a, b, n, d) for a, b, n, d in
                             ((top, bottom, size[0], x.shape[2]), (left, right, size[1], x.shape[3])))
            for i, (r0, r1) in enumerate(rows):
                for j, (c0, c1) in enumerate(columns):
                    if r0 < r1 and c0 < c1:
                        y[r, :, i, j] = image[:, r0:r1, c0:c1].max((1, 2))
        return [y]


class DeformConv2(Product):
    """2-D convolution whose taps are moved: x [N,C,H,W], w [O,C/groups,kh,kw], offset, b? [O], mask? -> [N,O,OH,OW].

    `offset` [N,offset_groups*kh*kw*2,OH,OW]: how far down and to the right each tap lies from its usual place, for each of
    `offset_groups` groups of channels; `mask` [N,offset_groups*kh*kw,OH,OW] multiplies what it sees. Between elements it is
    interpolated, outside of the image are zeros. Source: ONNX DeformConv.
    """

    name = "deform_conv2"
    space = 2
    attributes = {"stride": (1, 1), "pad": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, "offset_groups": 1}

    @staticmethod
    def _geometry(attrs: Mapping[str, Any]) -> Any:
        return (integers("stride", attrs["stride"], 2, 1), integers("pad", attrs["pad"], 4, 0),
                integers("dilation", attrs["dilation"], 2, 1))

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, w, offset, b, mask = take(inputs, 3, 5)
        stride, pad, dilation = self._geometry(attrs)
        groups, parts = (integers(k, attrs[k], 1, 1)[0] for k in ("groups", "offset_groups"))
        check_dtype("x", x, FLOATS)
        check_same_dtype(x, w, offset, b, mask)
        for name, spec in (("x", x), ("w", w), ("offset", offset)):
            check_rank(name, spec, 4)
        check_shape("b", b, w.shape[:1])
        if is_empty(w.dims) or is_empty(x.shape[2:]):
            raise ShapeError(f"x is {x}, w is {w}: expected images and weights that are not empty")
        if not equal(x.shape[1], w.shape[1] * groups) or not divides(groups, w.shape[0]):
            raise ShapeError(f"x is {x}, w is {w}, groups={groups}: expected w of shape [O, C/groups, kh, kw] "
                             "with O a multiple of groups")
        if not divides(parts, x.shape[1]):
            raise ShapeError(f"x is {x}, offset_groups={parts}: expected channels that are a multiple of it")
        out = tuple(windows(x.shape[2 + i], w.shape[2 + i], stride[i], (pad[i], pad[i + 2]), dilation[i]) for i in (0, 1))
        taps = w.shape[2] * w.shape[3] * parts
        check_shape("offset", offset, (x.shape[0], 2 * taps, *out))
        check_shape("mask", mask, (x.shape[0], taps, *out))
        return [TensorSpec(x.dtype, (x.shape[0], w.shape[0], *out))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        x, w, offset = shapes[:3]
        return (x[0] if x else None, w[0] if w else None, *(offset[2:] if offset else (None, None)))

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return math.prod(inputs[1].shape[1:])

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        """Its products, its bias, and four multiply-adds for what each tap sees."""
        seen = inputs[1].shape[2] * inputs[1].shape[3] * inputs[0].shape[1]
        y = outputs[0]
        bias = y.elements if len(inputs) > 3 and inputs[3] is not None else 0
        return 2 * y.elements * self.terms(attrs, inputs) + bias + 8 * seen * y.elements // max(1, y.sizes[1])

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        taps = inputs[1].shape[2] * inputs[1].shape[3] * int(attrs["offset_groups"])
        return super().effort(attrs, inputs, outputs) + taps * 4 * STEP_EFFORT

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, w, offset, b, mask = take(inputs, 3, 5)
        dtype = x.dtype
        x, w, offset, b, mask = widen(x, w, offset, b, mask)
        stride, pad, dilation = self._geometry(attrs)
        groups, parts = int(attrs["groups"]), int(attrs["offset_groups"])
        (n, c, height, width), (o, _, kh, kw) = x.shape, w.shape
        out = offset.shape[2:]
        memory.require(n * c * kh * kw * math.prod(out) * x.itemsize, "what the taps of a deformable convolution see",
                       "give a smaller input")
        offset = offset.reshape(n, parts, kh, kw, 2, *out).astype(np.float64)
        seen = np.empty((n, parts, c // parts, kh, kw, *out), x.dtype)
        images = x.reshape(n, parts, c // parts, height, width)
        for image, part, i, j in np.ndindex(n, parts, kh, kw):
            rows = np.arange(out[0])[:, None] * stride[0] - pad[0] + i * dilation[0] + offset[image, part, i, j, 0]
            columns = np.arange(out[1])[None] * stride[1] - pad[1] + j * dilation[1] + offset[image, part, i, j, 1]
            value = _between(images[image, part], rows, columns)
            seen[image, part, :, i, j] = value if mask is None else value * mask[image, (part * kh + i) * kw + j]
        matrix = w.reshape(groups, o // groups, -1)
        y = (matrix @ seen.reshape(n, groups, matrix.shape[2], -1)).reshape(n, o, *out)
        return [as_type(y if b is None else y + b.reshape(-1, 1, 1), dtype)]


def _between(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """[C,H,W] at places between its elements: [C,*rows.shape], interpolated with zeros around the image."""
    rows, columns = (np.where(np.isnan(v), -2.0, np.clip(v, -2.0, _FAR)) for v in (rows, columns))
    rows, columns = np.broadcast_arrays(rows, columns)
    y = np.zeros((image.shape[0], *rows.shape), image.dtype)
    top, left = np.floor(rows), np.floor(columns)
    for dy in (0, 1):
        for dx in (0, 1):
            r, c = top + dy, left + dx
            inside = (r >= 0) & (r < image.shape[1]) & (c >= 0) & (c < image.shape[2])
            weight = np.where(dy, rows - top, 1 - rows + top) * np.where(dx, columns - left, 1 - columns + left)
            value = image[:, np.where(inside, r, 0).astype(np.int64), np.where(inside, c, 0).astype(np.int64)]
            y += np.where(inside, value, 0) * np.where(inside, weight, 0).astype(image.dtype)
    return y

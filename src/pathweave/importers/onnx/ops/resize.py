"""Resize and its predecessor Upsample."""

from __future__ import annotations

import numpy as np

from ....layers.resample import COORDINATES, MODES, POLICIES, ROUNDING
from ..node import Node


def _word(n: Node, name: str, default: str, allowed) -> str:
    value = n.text(name, default)
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(allowed)}")
    return value


def _mode(n: Node) -> str:
    return {"bilinear": "linear"}.get(mode := _word(n, "mode", "nearest", (*MODES, "bilinear")), mode)


def upsample(n: Node) -> None:
    """Upsample (opset 7 and 9) and Resize of opset 10: asymmetric coordinates, rounded down."""
    n.required(1)
    attrs = {"mode": _mode(n), "coordinates": "asymmetric", "rounding": "floor"}
    if n.op == "Upsample" and n.version < 7:
        scales = [1, 1, n.float("height_scale"), n.float("width_scale")]
        return _emit(n, attrs, scales=np.array(scales, np.float32))
    if n.op == "Upsample" and n.version < 9:
        _, scales = n.attribute("scales")
        return _emit(n, attrs, scales=np.array(scales, np.float32))
    n.required(2)
    _emit(n, attrs, scales_input=1)


def resize(n: Node) -> None:
    """Resize by scales or to sizes."""
    n.required(1)
    if n.version < 11:
        return upsample(n)
    attrs = {"mode": _mode(n), "rounding": _word(n, "nearest_mode", "round_prefer_floor", ROUNDING),
             "coordinates": _word(n, "coordinate_transformation_mode", "half_pixel", COORDINATES),
             "cubic_a": n.float("cubic_coeff_a", -0.75), "antialias": int(n.int("antialias") != 0),
             "exclude_outside": int(n.int("exclude_outside") != 0), "extrapolation": n.float("extrapolation_value")}
    policy = _word(n, "keep_aspect_ratio_policy", "stretch", POLICIES)
    if n.input(3):
        attrs["policy"] = policy
    scales = n.const(2)
    by_scales = bool(n.input(2)) and (scales is None or scales.size > 0)
    if by_scales == bool(n.input(3)):
        raise ValueError("expected either scales or sizes")
    axes = n.ints("axes", None)
    n.ignore_inputs(1, 2, 3)  # a region is for tf_crop_and_resize, scales without elements are none
    region = ""
    if attrs["coordinates"] == "tf_crop_and_resize":
        roi = n.const(1)
        if roi is not None:
            attrs["roi"] = tuple(float(v) for v in roi.reshape(-1))
        elif not n.input(1):
            raise ValueError("tf_crop_and_resize needs a roi")
        else:
            region = n.input(1)
    _emit(n, attrs, axes, scales_input=2 if by_scales else None, sizes_input=None if by_scales else 3, region=region)


def _emit(n: Node, attrs: dict, axes=None, scales=None, scales_input: int | None = None,
          sizes_input: int | None = None, region: str = "") -> None:
    """One `resample`; an image in another order of axes, or without batch, is brought into the order of `resize2`.

    `region`: the value that holds the roi, where that is no constant.
    """
    x, shape = n.input(0), n.shape(n.input(0))
    sizes = n.const(sizes_input) if sizes_input is not None else None
    if scales_input is not None:
        scales = n.const(scales_input)
    given = sizes if sizes is not None else scales
    if axes:
        attrs["axes"] = tuple(axes)
    if given is None:
        inputs = [x, n.input(sizes_input) if sizes_input is not None else "",
                  n.input(scales_input) if scales_input is not None else "", region]
        return n.emit("resample", inputs, attrs, last=True)
    values = given.reshape(-1).tolist()
    rank = len(shape) if shape is not None else None if axes else len(values)
    key = "size" if sizes is not None else "scale"
    if sizes is None and not all(np.isfinite(v) and v > 0 for v in values):
        raise ValueError(f"scales are {values}, expected positive numbers")
    if rank is not None:
        where = [n.axis(a, rank) for a in axes] if axes else list(range(rank))
        if len(where) != len(values) or len(set(where)) != len(where):
            raise ValueError(f"{len(values)} sizes or scales for axes {where} of rank {rank}")
        if _emit_as_image(n, x, attrs, key, dict(zip(where, values)), shape or (None,) * rank):
            return
    n.emit("resample", [x, "", "", region], {**attrs, key: tuple(values)}, last=True)


#: (rank, axes that may change) -> the layer that puts height and width behind batch and channels, and the one that takes
#: it back
_IMAGES: dict[tuple[int, tuple[int, ...]], tuple[tuple[str, dict], tuple[str, dict]]] = {
    (2, (0, 1)): (("unsqueeze", {"axes": (0, 1)}), ("squeeze", {"axes": (0, 1)})),
    (3, (2,)): (("unsqueeze", {"axes": (2,)}), ("squeeze", {"axes": (2,)})),
    (3, (1, 2)): (("unsqueeze", {"axes": (0,)}), ("squeeze", {"axes": (0,)})),
    (4, (1, 2)): (("transpose", {"perm": (0, 3, 1, 2)}), ("transpose", {"perm": (0, 2, 3, 1)})),
}


def _emit_as_image(n: Node, x: str, attrs: dict, key: str, given: dict, shape) -> bool:
    """Emit the resampling of one or two axes of another order or rank as that of an image; False where it is none.

    Images have routines; `resample` at rank 4 becomes one of them when the net is bound.
    """
    if attrs["coordinates"] == "tf_crop_and_resize" or attrs.get("policy", "stretch") != "stretch":
        return False
    neutral = (1.0,) * len(shape) if key == "scale" else shape
    changed = {a for a, v in given.items() if v != neutral[a]}
    if len(shape) == 4 and changed <= {2, 3}:
        return False
    for (rank, axes), (before, after) in _IMAGES.items():
        if rank != len(shape) or not changed <= set(axes):
            continue
        values = tuple(given.get(a, neutral[a]) for a in axes)
        if None not in values:
            image = {**attrs, "axes": (2, 3)[-len(axes):], key: values}
            y = n.emit("resample", [n.emit(before[0], [x], before[1])], image)
            n.emit(after[0], [y], after[1], last=True)
            return True
    return False


OPERATORS = {"Resize": resize, "Upsample": upsample}

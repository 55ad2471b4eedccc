"""Layers that move elements and compute none."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from pathweave.net.format import numpy_dtype


def _with_value(operator, key):
    def build(g, case, a, names):
        return g.node(operator, [names[0], names[1] if len(names) > 1 else g.array(a[key])])
    return build


def _split(g, case, a, names):
    return g.node("Split", [names[0], g.array(a["sizes"])], len(a["sizes"]), axis=a["axis"])


def _slice(g, case, a, names):
    given = [names[i] if len(names) > i else "" for i in range(5)]
    count = case.inputs[1].elements if given[1] else len(a["starts"])
    dtype = np.int32 if any(s is not None and s.dtype == "i32" for s in case.inputs[1:]) else np.int64
    numbers = a["starts"], a["ends"], a["axes"] or range(count), a["steps"] or [1] * count
    return g.node("Slice", [names[0], *(given[i] or g.array(list(v), dtype) for i, v in enumerate(numbers, 1))])


def _pad(g, case, a, names):
    pads, value, axes = [*names[1:], "", "", ""][:3]
    value = value or g.array(a["value"], numpy_dtype(case.inputs[0].dtype))
    axes = axes or (g.array(a["axes"]) if a["axes"] else "")
    given = [pads or g.array(a["pads"]), value, *([axes] if axes else [])]
    if case.inputs[0].dtype != "i16" or any(names[2:3]):
        return g.node("Pad", [names[0], *given], mode=a["mode"])
    # ONNX Runtime has none of i16, and onnx.reference none with negative widths.
    wide, given[1] = g.node("Cast", [names[0]], to=TensorProto.INT32)[0], g.array(a["value"], np.int32)
    return g.node("Cast", g.node("Pad", [wide, *given], mode=a["mode"]), to=TensorProto.INT16)


def _reshape(g, case, a, names):
    return g.node("Reshape", [names[0], names[1] if len(names) > 1 else g.array(a["shape"])], allowzero=a["allowzero"])


def _squeeze(g, case, a, names):
    return g.node("Squeeze", [names[0], *([g.array(a["axes"])] if a["axes"] else [])])


OPERATORS = {
    "concat": "Concat", "transpose": "Transpose", "split": _split, "slice": _slice, "pad": _pad, "reshape": _reshape,
    "squeeze": _squeeze, "unsqueeze": _with_value("Unsqueeze", "axes"), "expand": _with_value("Expand", "shape"),
    "tile": _with_value("Tile", "repeats"),
    "depth_to_space": lambda g, case, a, names: g.node("DepthToSpace", names, blocksize=a["block"], mode=a["mode"]),
    "space_to_depth": lambda g, case, a, names: g.node("SpaceToDepth", names, blocksize=a["block"]),
}

"""Layers that write at indices, cumulate along an axis, and select."""

from __future__ import annotations

import numpy as np

from layer_oracle import ELEMENT


def _cumulated(operator):
    def build(g, case, a, names):
        axis = names[1] if len(names) > 1 else g.array(a["axis"])
        return g.node(operator, [names[0], axis], exclusive=a["exclusive"], reverse=a["reverse"])
    return build


def _onehot(g, case, a, names):
    if case.outputs()[0].dtype == "bool":  # ONNX Runtime has no kernel, onnx.reference subtracts the values
        numbers = g.node("Cast", names[2:], to=ELEMENT["f32"])
        hot = g.node("OneHot", [names[0], g.array(a["depth"]), *numbers], axis=a["axis"])
        return g.node("Cast", hot, to=ELEMENT["bool"])
    return g.node("OneHot", [names[0], names[1] or g.array(a["depth"]), names[2]], axis=a["axis"])


def _trilu(g, case, a, names):
    return g.node("Trilu", [names[0], names[1] if len(names) > 1 else g.array(a["k"])], upper=a["upper"])


def _eye_like(g, case, a, names):
    return g.node("EyeLike", names, k=a["k"], **({"dtype": ELEMENT[a["dtype"]]} if a["dtype"] else {}))


def _unique(g, case, a, names):
    return g.node("Unique", names, 4, sorted=a["sorted"], **({"axis": a["axis"][0]} if a["axis"] else {}))


def _non_max_suppression(g, case, a, names):
    given = [names[i] if len(names) > i else "" for i in range(5)]
    given[2] = given[2] or g.array([a["max_boxes"]])
    given[3] = given[3] or g.array([a["iou"]], np.float32)
    if not given[4] and a["score"] != ():
        given[4] = g.array([a["score"]], np.float32)
    return g.node("NonMaxSuppression", given if given[4] else given[:4], center_point_box=a["center_point_box"])


OPERATORS = {"scatter_elements": "ScatterElements", "scatter_nd": "ScatterND", "tensor_scatter": "TensorScatter",
             "cumsum": _cumulated("CumSum"), "cumprod": _cumulated("CumProd"), "onehot": _onehot, "trilu": _trilu,
             "eye_like": _eye_like, "reverse_sequence": "ReverseSequence", "unique": _unique,
             "non_max_suppression": _non_max_suppression}
OPSETS = {"cumprod": 26, "tensor_scatter": 24}

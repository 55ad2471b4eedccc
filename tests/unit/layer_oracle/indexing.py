"""Layers that pick elements or make them from shapes."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper

from pathweave.net.format import numpy_dtype


def _arg(operator):
    def build(g, case, a, names):
        return g.node(operator, names, axis=a["axis"], keepdims=a["keepdims"], select_last_index=a["select_last"])
    return build


def _topk(g, case, a, names):
    k = names[1] if len(names) > 1 else g.array([a["k"]])
    return g.node("TopK", [names[0], k], 2, axis=a["axis"], largest=a["largest"], sorted=a["sorted"])


def _constant_of_shape(g, case, a, names):
    value = numpy_helper.from_array(np.array([a["value"]], numpy_dtype(a["dtype"])))
    return g.node("ConstantOfShape", names or [g.array(a["shape"])], value=value)


def _range(g, case, a, names):
    given = [*names, "", "", ""]
    dtype = numpy_dtype(a["dtype"] or case.outputs()[0].dtype)
    return g.node("Range", [given[i] or g.array(a[k], dtype) for i, k in enumerate(("start", "limit", "delta"))])


def _gather_nd(g, case, a, names):
    return g.node("GatherND", names, batch_dims=a["batch"])


OPERATORS = {"gather": "Gather", "gather_elements": "GatherElements", "gather_nd": _gather_nd, "where": "Where",
             "shape": "Shape", "argmax": _arg("ArgMax"), "argmin": _arg("ArgMin"), "topk": _topk,
             "constant_of_shape": _constant_of_shape, "range": _range}

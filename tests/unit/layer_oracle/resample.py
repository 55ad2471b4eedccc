"""Resampling of any axes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto


def _resample(g, case, a, names):
    axes = list(a["axes"] or range(case.inputs[0].rank))
    size, scale, region = [*names[1:], "", "", ""][:3]
    if size and case.inputs[1].dtype != "i64":
        size = g.node("Cast", [size], to=TensorProto.INT64)[0]
    scales = scale or (g.array(a["scale"], np.float32) if a["scale"] else "")
    sizes = size or (g.array(a["size"]) if a["size"] else "")
    roi = region or (g.array(a["roi"], np.float32) if a["roi"] else "")
    return g.node("Resize", [names[0], roi, scales, *([sizes] if sizes else [])], mode=a["mode"], nearest_mode=a["rounding"],
                  coordinate_transformation_mode=a["coordinates"], cubic_coeff_a=a["cubic_a"], antialias=a["antialias"],
                  exclude_outside=a["exclude_outside"], extrapolation_value=a["extrapolation"],
                  keep_aspect_ratio_policy=a["policy"], axes=axes)


OPERATORS = {"resample": _resample}

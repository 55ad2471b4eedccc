"""Resampling of any axes."""

from __future__ import annotations

import numpy as np


def _resample(g, case, a, names):
    axes = list(a["axes"] or range(case.inputs[0].rank))
    scales = g.array(a["scale"], np.float32) if a["scale"] else ""
    sizes = [g.array(a["size"])] if a["size"] else []
    roi = g.array(a["roi"], np.float32) if a["roi"] else ""
    return g.node("Resize", [names[0], roi, scales, *sizes], mode=a["mode"], nearest_mode=a["rounding"],
                  coordinate_transformation_mode=a["coordinates"], cubic_coeff_a=a["cubic_a"], antialias=a["antialias"],
                  exclude_outside=a["exclude_outside"], extrapolation_value=a["extrapolation"],
                  keep_aspect_ratio_policy=a["policy"], axes=axes)


OPERATORS = {"resample": _resample}

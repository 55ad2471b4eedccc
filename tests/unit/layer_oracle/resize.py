"""Resampling of images."""

from __future__ import annotations

import numpy as np


def _resize(g, case, a, names):
    n, c = case.inputs[0].shape[:2]
    scales = g.array([1, 1, *a["scale"]], np.float32) if a["scale"] else ""
    sizes = [g.array([n, c, *a["size"]])] if a["size"] else []
    mode = {"nearest": "nearest", "bilinear": "linear", "cubic": "cubic"}[a["mode"]]
    return g.node("Resize", [names[0], "", scales, *sizes], mode=mode, coordinate_transformation_mode=a["coordinates"],
                  nearest_mode=a["rounding"], cubic_coeff_a=a["cubic_a"])


OPERATORS = {"resize2": _resize}

"""Cases of resample."""

from __future__ import annotations

from ...net.net import TensorSpec
from .. import case

CASES = [
    *(case("resample", x, mode=mode, **how) for mode in ("nearest", "linear", "cubic") for x, how in (
        ((6, 7), {"scale": (2.0, 1.5)}), ((2, 5, 6), {"axes": (1, 2), "size": (8, 4)}), ((9,), {"size": (5,)}),
        ((1, 3, 4, 5), {"scale": (1.0, 2.0, 1.0, 3.0)}), ((2, 3, 4, 5, 6), {"axes": (2, 3, 4), "size": (3, 7, 9)}),
        ((1, 4, 6, 3), {"axes": (1, 2), "scale": (2.0, 0.5), "coordinates": "asymmetric"}))),
    *(case("resample", (2, 16, 5, 7), mode=m, axes=(2, 3), size=(9, 12), coordinates="align_corners")
      for m in ("nearest", "linear", "cubic")),
    *(case("resample", (1, 2, 9, 12), mode=mode, antialias=1, **how) for mode in ("linear", "cubic") for how in (
        {"axes": (2, 3), "size": (4, 5)}, {"scale": (1.0, 1.0, 0.6, 0.4)}, {"axes": (3,), "scale": (0.25,)})),
    case("resample", (1, 2, 4, 4), mode="cubic", axes=(2, 3), scale=(0.8, 0.8), exclude_outside=1),
    *(case("resample", (1, 1, 4, 6), mode="linear", axes=(2, 3), size=(7, 8), policy=p)
      for p in ("not_larger", "not_smaller")),
    case("resample", (1, 1, 5, 6), mode="linear", axes=(2, 3), scale=(2.3, 0.6), coordinates="half_pixel_symmetric"),
    *(case("resample", (1, 1, 4, 4), mode=m, axes=(2, 3), size=(3, 5), coordinates="tf_crop_and_resize",
           roi=(0.4, -0.2, 0.8, 1.3), extrapolation=10.0) for m in ("nearest", "linear")),
    case("resample", TensorSpec("u8", (5, 6, 3)), mode="nearest", axes=(0, 1), scale=(2.0, 2.0),
         coordinates="asymmetric", rounding="floor"),
    *(case("resample", TensorSpec(t, (2, 3, 5, 6)), mode="nearest", axes=(2, 3), size=(7, 4)) for t in ("u8", "i64", "f64")),
]

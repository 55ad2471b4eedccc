"""Cases of the kinds that read between the elements of an image, and of col2im."""

from __future__ import annotations

from ...net.net import TensorSpec
from .. import Attrs, Case, Shape, case

_MODES = [(m, p, a) for m in ("nearest", "linear", "cubic") for p in ("zeros", "border", "reflection") for a in (0, 1)]
#: x, groups of w, w, groups of offsets, the rest.
_DEFORMED: list[tuple[Shape, Shape, Attrs]] = [
    ((1, 3, 7, 8), (16, 3, 3, 3), {"pad": (1, 1, 1, 1)}), ((2, 16, 5, 6), (24, 16, 3, 3), {"stride": (2, 1)}),
    ((1, 8, 9, 7), (12, 4, 2, 3), {"groups": 2, "offset_groups": 4, "dilation": (2, 1), "pad": (1, 0, 2, 1)}),
    ((1, 5, 4, 4), (7, 5, 1, 1), {}), ((1, 12, 6, 6), (6, 4, 3, 3), {"groups": 3, "offset_groups": 2, "pad": (1, 1, 1, 1)}),
]
#: Blocks, then image, block and the rest.
_BLOCKS: list[tuple[Shape, Attrs]] = [
    ((1, 5, 5), {"image": (5, 5), "block": (1, 5)}), ((2, 18, 12), {"image": (5, 6), "block": (3, 3)}),
    ((1, 27, 4), {"image": (6, 7), "block": (3, 3), "strides": (3, 3), "pads": (0, 0, 1, 0)}),
    ((1, 8, 25), {"image": (6, 5), "block": (2, 2), "dilations": (2, 1), "pads": (1, 0, 0, 1), "strides": (1, 1)}),
    ((2, 24, 18), {"image": (3, 4, 5), "block": (1, 2, 4), "pads": (0,) * 6}), ((1, 6, 9), {"image": (19,), "block": (3,),
                                                                                          "strides": (2,)}),
]


def _deformed(x: Shape, w: Shape, bias: bool, masked: bool, constant: tuple[int, ...], attrs: Attrs) -> Case:
    taps = w[2] * w[3] * attrs.get("offset_groups", 1)
    full: Attrs = {"stride": (1, 1), "pad": (0, 0, 0, 0), "dilation": (1, 1), **attrs}
    reach = [x[2 + i] + full["pad"][i] + full["pad"][i + 2] - (w[2 + i] - 1) * full["dilation"][i] - 1 for i in (0, 1)]
    out = tuple(r // s + 1 for r, s in zip(reach, full["stride"]))
    return case("deform_conv2", x, w, (x[0], 2 * taps, *out), (w[0],) if bias else None,
        (x[0], taps, *out) if masked else None,
                constant=constant, **attrs)


CASES = [
    *(case("grid_sample", (2, 3, 5, 7), (2, 4, 6, 2), mode=m, padding=p, align_corners=a) for m, p, a in _MODES),
    *(case("grid_sample", (1, 2, 3, 4, 5), (1, 3, 2, 4, 3), mode=m, padding=p, align_corners=a) for m, p, a in _MODES
      if m != "cubic"),
    case("grid_sample", (1, 40, 6, 5), (1, 9, 11, 2), values=("", "unit")), case("grid_sample", (1, 1, 1, 1), (1, 2, 3, 2)),
    case("grid_sample", (1, 3, 1, 4), (1, 5, 1, 2), padding="reflection", align_corners=1, values=("", "wide")),
    case("grid_sample", (1, 2, 9), (1, 5, 1), mode="cubic"),
    *(case("grid_sample", TensorSpec("f64", (1, 2, 4, 5)), TensorSpec("f64", (1, 3, 4, 2)), mode=m, padding="border")
      for m in ("nearest", "linear", "cubic")),
    case("grid_sample", TensorSpec("u8", (1, 2, 4, 5)), (1, 3, 4, 2), mode="nearest", padding="border"),
    *(case("roi_align", x, (r, 4), TensorSpec("i64", (r,)), size=s, mode=m, ratio=k, scale=4.0, half_pixel=h,
           values=("", "positive", "ties"))
      for x, r, s in (((4, 3, 9, 11), 6, (2, 3)), ((4, 17, 5, 5), 3, (3, 3))) for m in ("avg", "max") for k in (0,
          2) for h in (0, 1)),
    case("roi_align", TensorSpec("f64", (4, 2, 6, 6)), TensorSpec("f64", (3, 4)), TensorSpec("i64", (3,)), size=(2, 2),
        scale=2.5,
         values=("", "positive", "ties")),
    *(case("max_roi_pool", x, (r, 5), size=s, scale=k, values=("", "positive")) for x, r, s, k in (
        ((2, 3, 9, 11), 5, (2, 3), 4.0), ((2, 16, 6, 6), 3, (4, 4), 1.5), ((2, 1, 4, 5), 4, (1, 1), 2.0))),
    *(_deformed(x, w, True, True, (1, 3), attrs) for x, w, attrs in _DEFORMED),
    *(_deformed(x, w, False, False, (1,), attrs) for x, w, attrs in _DEFORMED[:3]),
    _deformed((1, 6, 5, 5), (4, 6, 3, 3), True, True, (), {}),
    *(case("col2im", x, **attrs) for x, attrs in _BLOCKS),
    *(case("col2im", TensorSpec(dtype, (2, 18, 12)), image=(5, 6), block=(3, 3)) for dtype in ("f64", "i32", "u8")),
]

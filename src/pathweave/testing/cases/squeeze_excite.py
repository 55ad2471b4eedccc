"""Cases of squeeze_excite."""

from __future__ import annotations

from typing import Any

from .. import Case, Image, Shape, case

GATE = "hard_sigmoid:0.1666667:0.5"


def block(x: Image, hidden: int, kernel: int = 0, bias: bool = True, squeeze: str = "relu", excite: str = GATE,
          **rest: Any) -> Case:
    """A case from x's shape, outputs of the first product, and kernel of the depthwise stage (0: none)."""
    c = x[1]
    if kernel:
        rest.setdefault("pad", (rest.get("dilation", (1, 1))[0] * (kernel // 2),) * 4)

    def stage(*shape: int) -> list[Shape | None]:
        return [shape, (shape[0],) if bias else None]
    inputs: list[Shape | None] = [x, *(stage(c, 1, kernel, kernel) if kernel else [None, None]), *stage(hidden, c, 1, 1),
                                   *stage(c, hidden, 1, 1)]
    scales = ["", f"scaled:{kernel * kernel}", "", f"scaled:{c}", "", f"scaled:{hidden}", ""]
    return case("squeeze_excite", *inputs, constant=range(1, 7), values=scales, squeeze=squeeze, excite=excite, **rest)


CASES = [
    # channels around the vector width, images of one pixel, one row or one column, long rows
    *(block((1, c, 7, 7), s) for c, s in ((1, 1), (3, 5), (8, 2), (17, 4), (40, 33), (72, 24), (264, 8))),
    block((1, 16, 1, 1), 4), block((1, 24, 1, 9), 8), block((1, 24, 9, 1), 8), block((1, 24, 5, 70), 8),
    block((1, 16, 64, 33), 8), block((1, 960, 7, 7), 240),
    # a depthwise stage of every kind of micro-kernel; images smaller than the kernel
    block((1, 24, 14, 14), 8, 3, depthwise="relu"), block((1, 72, 13, 9), 24, 5, depthwise="hard_swish"),
    block((1, 24, 15, 11), 8, 3, stride=(2, 2), depthwise="hard_swish"), block((1, 40, 14, 14), 16, 5, stride=(2, 2)),
    block((1, 24, 12, 11), 8, 3, stride=(2, 1)), block((1, 24, 13, 13), 8, 3, dilation=(2, 2)),
    block((1, 24, 9, 9), 8, 7), block((1, 24, 9, 9), 8, 3, pad=(0, 1, 2, 0)), block((1, 24, 3, 3), 8, 3, pad=(4, 4, 4, 4)),
    block((1, 17, 2, 2), 4, 5, depthwise="clip:0.0:6.0"), block((1, 528, 7, 7), 40, 5, depthwise="hard_swish"),
    # batches within a tile of images and beyond it
    block((2, 24, 7, 7), 8), block((5, 40, 6, 5), 12, 3, depthwise="relu"), block((13, 16, 4, 4), 8, 3, stride=(2, 2)),
    # no bias; epilogues; other activations
    block((1, 24, 7, 7), 8, bias=False), block((1, 24, 7, 7), 8, 3, bias=False, depthwise="relu"),
    *(block((2, 24, 7, 7), 8, kernel, epilogue=e) for kernel in (0, 3) for e in ("relu", "add", "add+relu", "hard_swish",
                                                                                 "clip:0.0:6.0", "add+silu")),
    *(block((1, 24, 7, 7), 8, 3, squeeze=a, excite="sigmoid", depthwise=a) for a in ("silu", "leaky_relu:0.1", "",
                                                                                     "gelu:0.0")),
]

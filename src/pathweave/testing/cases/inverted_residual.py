"""Cases of inverted_residual."""

from __future__ import annotations

from typing import Any

from .. import Case, Image, Shape, case


def block(x: Image, channels: int, out: int, kernel: int = 3, bias: bool = True, **rest: Any) -> Case:
    """A case from x's shape, channels of the depthwise stage (0: no expansion) and outputs (0: no projection)."""
    c = channels or x[1]
    rest.setdefault("pad", (rest.get("dilation", (1, 1))[0] * (kernel // 2),) * 4)

    def stage(*shape: int) -> list[Shape | None]:
        return [shape, (shape[0],) if bias else None]
    inputs: list[Shape | None] = [x, *(stage(c, x[1], 1, 1) if channels else [None, None]), *stage(c, 1, kernel, kernel),
              *(stage(out, c, 1, 1) if out else [None, None])]
    scales = ["", f"scaled:{x[1]}", "", f"scaled:{kernel * kernel}", "", f"scaled:{c}", ""]
    return case("inverted_residual", *inputs, constant=range(1, 7), values=scales, **rest)


CASES = [
    # every combination of stages, channels around the vector width, images smaller than the kernel, batches
    block((1, 16, 14, 14), 96, 24, expand="clip:0.0:6.0", depthwise="clip:0.0:6.0"),
    block((1, 24, 14, 14), 144, 24, expand="clip:0.0:6.0", depthwise="clip:0.0:6.0", epilogue="add"),
    block((1, 32, 12, 12), 0, 16, depthwise="clip:0.0:6.0"), block((1, 16, 13, 9), 64, 0, expand="hard_swish"),
    block((1, 16, 13, 9), 64, 0, expand="hard_swish", epilogue="hard_swish"),
    *(block((1, i, 7, 7), c, o, expand="relu", depthwise="relu") for i, c, o in ((1, 1, 1), (3, 5, 7), (8, 17, 3),
                                                                                (17, 40, 33), (40, 24, 48))),
    block((3, 16, 7, 7), 24, 16, expand="relu", depthwise="relu", epilogue="add+relu"),
    block((2, 17, 6, 5), 117, 19, expand="relu", depthwise="hard_swish", epilogue="add"), block((2, 9, 5, 6), 109, 0, 5),
    block((4, 8, 5, 6), 32, 8, 5, epilogue="add"), block((1, 16, 1, 1), 24, 16), block((1, 16, 1, 9), 24, 16, 5),
    block((2, 16, 2, 2), 24, 40, 7), block((1, 8, 9, 1), 24, 16),
    # strides, dilations, padding that is uneven, missing, or larger than the image
    block((1, 16, 28, 28), 96, 24, stride=(2, 2), expand="clip:0.0:6.0", depthwise="clip:0.0:6.0"),
    block((1, 16, 15, 11), 40, 24, 5, stride=(2, 2), expand="hard_swish", depthwise="hard_swish"),
    block((2, 16, 11, 11), 24, 16, stride=(3, 3)), block((1, 16, 12, 11), 24, 16, stride=(2, 1)),
    block((1, 16, 12, 11), 24, 16, stride=(1, 2)), block((1, 16, 17, 5), 24, 16, stride=(5, 1)),
    block((1, 16, 13, 13), 24, 16, dilation=(2, 2)), block((1, 16, 13, 13), 24, 0, dilation=(2, 3), pad=(2, 3, 2, 3)),
    block((1, 16, 9, 9), 24, 16, pad=(0, 0, 0, 0)), block((1, 16, 9, 9), 24, 16, pad=(0, 1, 2, 0), stride=(2, 2)),
    block((1, 16, 3, 3), 24, 16, pad=(4, 4, 4, 4)), block((1, 16, 8, 8), 24, 16, 2, pad=(0, 1, 1, 0)),
    block((1, 16, 8, 8), 24, 16, 1), block((1, 16, 23, 8), 0, 16, 7, stride=(2, 2)),
    # no bias; long rows of the buffer; many rows per band
    block((1, 16, 9, 9), 24, 16, bias=False), block((1, 16, 9, 9), 0, 16, bias=False, epilogue="relu"),
    block((1, 16, 9, 9), 24, 0, bias=False, epilogue="add+relu"), block((1, 40, 56, 20), 120, 40, 5, epilogue="add"),
    block((1, 16, 64, 33), 48, 24, depthwise="relu"), block((1, 160, 7, 7), 320, 160, expand="relu", epilogue="add"),
    *(block((1, 16, 9, 9), 24, 16, expand=a, depthwise=a) for a in ("silu", "leaky_relu:0.1", "sigmoid", "gelu:0.0",
                                                                   "hard_sigmoid:0.1666667:0.5")),
]

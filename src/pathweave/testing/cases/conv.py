"""Cases of conv2, depthwise_conv2, conv_transpose2."""

from __future__ import annotations

from typing import Any, TypeAlias

from .. import Case, Image, case

#: Height and width, or both as one number.
Kernel: TypeAlias = "int | tuple[int, int]"

#: Epilogues that a fused layer meets in trained networks.
EPILOGUES = ("relu", "clip:0.0:6.0", "hard_swish", "leaky_relu:0.1", "silu", "sigmoid", "hard_sigmoid:0.1666667:0.5",
             "tanh", "gelu:0.0", "elu:1.0", "add", "add+relu", "add+clip:0.0:6.0", "add+leaky_relu:0.1")


def conv(x: Image, out: int, kernel: Kernel, groups: int = 1, bias: bool = True, **rest: Any) -> Case:
    """A conv2 case from x's shape, output channels and kernel; `same=1` pads so that stride 1 keeps the size."""
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    if rest.pop("same", 0):
        dilation = rest.get("dilation", (1, 1))
        before = tuple((k - 1) * d // 2 for k, d in zip(kernel, dilation))
        rest["pad"] = before + tuple((k - 1) * d - b for k, d, b in zip(kernel, dilation, before))
    if groups > 1:
        rest["groups"] = groups
    return case("conv2", x, (out, x[1] // groups, *kernel), *([(out,)] if bias else []), constant=(1, 2), **rest)


def depthwise(x: Image, kernel: int, bias: bool = True, same: int = 1, **rest: Any) -> Case:
    """A depthwise_conv2 case from x's shape and a square kernel."""
    if same:
        rest.setdefault("pad", (rest.get("dilation", (1, 1))[0] * (kernel // 2),) * 4)
    return case("depthwise_conv2", x, (x[1], 1, kernel, kernel), *([(x[1],)] if bias else []), constant=(1, 2), **rest)


def transposed(x: Image, out: int, kernel: Kernel, groups: int = 1, bias: bool = True, **rest: Any) -> Case:
    """A conv_transpose2 case from x's shape, output channels and kernel."""
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    if groups > 1:
        rest["groups"] = groups
    return case("conv_transpose2", x, (x[1], out // groups, *kernel), *([(out,)] if bias else []), constant=(1, 2),
                **rest)


CASES = [
    # 1x1: channel counts around every block size, images down to one pixel, batches, strides
    *(conv((1, c, 7, 7), o, 1) for c, o in ((1, 1), (3, 16), (16, 16), (16, 24), (24, 40), (40, 64), (64, 3), (64, 64),
                                            (17, 31), (32, 48), (96, 33), (48, 8), (128, 144))),
    conv((1, 64, 1, 1), 40, 1), conv((1, 40, 1, 1), 1000, 1), conv((4, 24, 1, 1), 16, 1), conv((3, 16, 5, 9), 32, 1),
    conv((4, 32, 7, 7), 16, 1), conv((1, 16, 7, 7), 32, 1, bias=False), conv((1, 64, 14, 14), 64, 1, bias=False),
    conv((1, 32, 8, 8), 64, 1, stride=(2, 2)), conv((3, 16, 7, 7), 24, 1, stride=(2, 2)),
    conv((1, 16, 9, 11), 16, 1, stride=(3, 2)), conv((1, 24, 6, 6), 16, 1, pad=(1, 0, 2, 1)),
    conv((1, 16, 13, 1), 16, 1), conv((1, 16, 1, 37), 32, 1), conv((1, 512, 2, 3), 16, 1),
    conv((1, 65, 9, 9), 67, 1, epilogue="relu"), conv((3, 131, 7, 7), 139, 1), conv((1, 128, 12, 12), 144, 1, bias=False),
    # 3x3, stride 1 (Winograd's field): odd sizes, images smaller than a tile, batches
    *(conv((1, c, h, w), o, 3, same=1) for c, o, h, w in (
        (1, 1, 7, 7), (3, 16, 9, 9), (16, 16, 8, 8), (16, 32, 7, 7), (24, 40, 5, 6), (17, 19, 10, 13), (64, 64, 7, 7),
        (32, 16, 1, 1), (16, 16, 2, 2), (16, 16, 3, 5), (8, 8, 1, 12), (40, 24, 14, 14), (32, 32, 12, 20),
        (3, 64, 16, 16), (5, 1000, 3, 3))),
    conv((3, 16, 7, 7), 16, 3, same=1), conv((4, 32, 6, 6), 32, 3, same=1), conv((1, 16, 8, 8), 16, 3),
    conv((1, 16, 8, 8), 32, 3, same=1, bias=False), conv((1, 32, 3, 3), 16, 3), conv((1, 192, 6, 6), 32, 3, same=1),
    conv((1, 256, 4, 4), 16, 3, same=1),
    # rows of outputs that take several tiles, uneven ones
    conv((2, 12, 3, 35), 24, 3, same=1, epilogue="add+relu"), conv((1, 5, 5, 133), 16, 3, same=1, stride=(2, 2)),
    conv((1, 16, 3, 34), 16, 3, same=1, dilation=(1, 2)), conv((2, 3, 7, 131), 24, 3, same=1, stride=(2, 2)),
    conv((1, 16, 9, 7), 16, 3, pad=(0, 1, 2, 1)), conv((1, 16, 9, 7), 16, 3, pad=(1, 2, 0, 0)),
    conv((1, 16, 5, 5), 16, 3, pad=(2, 2, 2, 2)), conv((1, 3, 5, 5), 16, 3, pad=(3, 4, 5, 3)),
    conv((1, 16, 8, 9), 16, 3, same=1, stride=(2, 2)), conv((3, 3, 15, 15), 32, 3, same=1, stride=(2, 2)),
    conv((1, 3, 16, 16), 16, 3, stride=(2, 2), pad=(0, 0, 1, 1)), conv((1, 24, 11, 7), 40, 3, same=1, stride=(2, 1)),
    conv((1, 16, 11, 11), 16, 3, same=1, stride=(3, 3)), conv((1, 16, 12, 12), 16, 3, same=1, dilation=(2, 2)),
    conv((1, 8, 14, 11), 24, 3, same=1, dilation=(3, 1)), conv((1, 16, 13, 13), 16, 3, stride=(2, 2), dilation=(2, 2)),
    # other kernels
    conv((1, 16, 9, 9), 16, 5, same=1), conv((1, 3, 12, 12), 24, 5), conv((1, 16, 11, 9), 32, 5, same=1, stride=(2, 2)),
    conv((1, 8, 13, 13), 8, 5, same=1, dilation=(2, 2)), conv((1, 1, 28, 28), 6, 5, same=1),
    conv((1, 3, 23, 23), 64, 7, same=1, stride=(2, 2)), conv((1, 3, 20, 17), 16, 7, stride=(2, 2), pad=(2, 3, 3, 2)),
    conv((3, 1, 9, 9), 16, 7, same=1), conv((1, 3, 27, 27), 16, 11, stride=(4, 4), pad=(2, 2, 2, 2)),
    conv((1, 16, 8, 8), 16, (1, 3), same=1), conv((1, 16, 8, 8), 16, (3, 1), same=1),
    conv((1, 8, 9, 9), 8, (1, 7), same=1),
    conv((1, 16, 7, 7), 32, 7), conv((1, 16, 6, 8), 16, 2), conv((1, 16, 8, 6), 16, 2, stride=(2, 2)),
    conv((1, 8, 5, 5), 8, 4, pad=(1, 1, 2, 2)), conv((1, 3, 32, 32), 24, 16, stride=(16, 16)),
    # groups
    conv((1, 16, 7, 7), 16, 3, groups=2, same=1), conv((1, 24, 7, 7), 48, 3, groups=3, same=1),
    conv((3, 32, 5, 5), 32, 3, groups=8, same=1, stride=(2, 2)), conv((1, 16, 6, 6), 32, 1, groups=4),
    conv((1, 12, 7, 7), 24, 3, groups=12, same=1), conv((1, 32, 6, 6), 64, 5, groups=2, same=1),
    conv((1, 64, 7, 7), 64, 3, groups=4, same=1, bias=False), conv((1, 6, 9, 9), 4, 3, groups=2, dilation=(2, 2)),
    # epilogues, on the paths of 1x1, 3x3 and strided 3x3
    *(conv((1, 24, 7, 7), 32, 1, epilogue=e) for e in EPILOGUES),
    *(conv((1, 16, 7, 9), 32, 3, same=1, epilogue=e) for e in EPILOGUES),
    *(conv((1, 16, 9, 9), 24, 3, same=1, stride=(2, 2), epilogue=e) for e in EPILOGUES[:4]),
    conv((3, 17, 5, 5), 19, 1, epilogue="add+relu"), conv((4, 16, 6, 6), 16, 3, same=1, epilogue="add+relu"),
    conv((1, 3, 15, 15), 16, 7, same=1, stride=(2, 2), epilogue="relu"),
    conv((1, 16, 9, 9), 16, 5, same=1, epilogue="add+relu"), conv((1, 16, 8, 8), 32, 1, bias=False, epilogue="add"),
    conv((1, 16, 7, 7), 16, 3, groups=4, same=1, epilogue="relu"),
    conv((1, 16, 7, 7), 16, 3, groups=2, same=1, epilogue="add+relu"),
    conv((1, 64, 1, 1), 16, 1, epilogue="relu"), conv((1, 16, 1, 1), 64, 1, epilogue="hard_sigmoid:0.1666667:0.5"),
    # groups of a part of a vector, of whole ones and across them, of other outputs than inputs; lines of several tiles
    *(conv((1, c, 7, 9), c, 3, groups=c // w, same=1, epilogue=e)
      for c, w, e in ((16, 4, "silu"), (24, 8, "relu"), (48, 24, ""), (12, 3, "add"), (20, 4, "add+relu"), (36, 2, ""))),
    conv((1, 6, 13, 13), 12, 7, groups=6, stride=(2, 2), pad=(3, 3, 3, 3)), conv((2, 16, 5, 130), 16, 3, groups=4, same=1),
    conv((1, 32, 9, 11), 16, 3, groups=4, same=1, stride=(2, 3)),
    conv((1, 64, 5, 15), 64, 3, groups=2, same=1, epilogue="gelu:0.0"),
    conv((1, 18, 8, 17), 30, (1, 5), groups=6, dilation=(1, 3), pad=(0, 6, 0, 6)),
    # rates near and beyond the image's size: outputs that see a few taps, one, or none
    *(conv((1, 16, 9, 10), 24, 3, same=1, dilation=(r, r), epilogue=e) for r, e in ((4, "add+relu"), (6, ""), (12, "silu"))),
    conv((2, 24, 7, 15), 40, 3, same=1, dilation=(1, 9)), conv((1, 8, 5, 5), 16, 3, dilation=(4, 4), pad=(9, 9, 9, 9)),
    conv((1, 12, 14, 5), 32, 5, groups=2, same=1, dilation=(3, 2), stride=(2, 1)),
    # bytes at their ends, with zero points 0 and 255
    *(conv((1, c, 9, 7), o, k, same=1, values=(x, "ends:-1,1")) for x in ("ends:0,255", "ends:-255,0")
      for c, o, k in ((70, 33, 1), (5, 19, 3), (67, 35, 3))),
    # larger ones: several blocks in every direction
    conv((1, 64, 28, 28), 72, 1, epilogue="relu"), conv((1, 48, 20, 20), 48, 3, same=1, epilogue="relu"),
    conv((1, 96, 13, 13), 80, 3, same=1), conv((2, 64, 14, 14), 96, 3, same=1, stride=(2, 2)),
    # lines that no tile divides, columns for each number of blocks that a tile leaves over, more panels than one call takes
    *(conv((1, 9, 3, w), 40, 3, same=1, epilogue="relu") for w in (4, 11, 25, 29)),
    *(conv((1, 18, 3, 9), o, 1, epilogue=e) for o, e in ((56, "add"), (104, "add+relu"), (112, "hard_swish"), (200, "relu"),
                                                         (120, "add+hard_swish"))),
    conv((1, 1024, 3, 3), 280, 1, epilogue="hard_swish"), conv((1, 160, 3, 4), 96, 3, same=1, epilogue="relu"),
    # first layers: pixels of a few bytes, merged or not
    conv((1, 3, 9, 41), 24, 3, same=1, stride=(2, 2), epilogue="relu"), conv((2, 4, 9, 13), 16, 3, same=1),
    conv((1, 1, 9, 41), 16, 5, same=1, dilation=(1, 2)), conv((1, 2, 9, 70), 16, (3, 20), same=1),

    depthwise((1, 19, 7, 7), 3, values=("ends:0,255", "ends:-1,1")),
    depthwise((1, 19, 7, 7), 5, values=("ends:-255,0", "ends:-1,1")),
    # depthwise: the vector width's neighbourhood, images smaller than the kernel, borders on every side
    *(depthwise((1, c, 7, 7), 3) for c in (1, 3, 8, 16, 17, 24, 40, 64)),
    *(depthwise((1, c, 14, 14), 3, stride=(2, 2)) for c in (3, 16, 24, 40)),
    *(depthwise((1, c, 9, 9), 5) for c in (1, 7, 16, 40)), depthwise((1, 16, 14, 14), 5, stride=(2, 2)),
    depthwise((1, 24, 7, 7), 5, stride=(2, 2)), depthwise((1, 16, 11, 11), 7),
    depthwise((1, 5, 13, 13), 7, stride=(2, 2)),
    depthwise((1, 96, 7, 7), 3), depthwise((1, 1000, 2, 2), 3), depthwise((3, 16, 5, 6), 3),
    depthwise((4, 24, 4, 4), 5),
    depthwise((1, 16, 1, 1), 3), depthwise((1, 16, 2, 2), 5), depthwise((1, 16, 1, 9), 3), depthwise((1, 16, 9, 1), 3),
    depthwise((1, 16, 2, 3), 7), depthwise((1, 16, 13, 29), 3), depthwise((1, 16, 33, 5), 3, stride=(2, 2)),
    depthwise((1, 16, 9, 9), 3, same=0), depthwise((1, 16, 9, 9), 5, same=0, stride=(2, 2)),
    depthwise((1, 16, 8, 8), 3, stride=(2, 2), pad=(0, 0, 1, 1)), depthwise((1, 16, 8, 8), 3, pad=(2, 0, 1, 2)),
    depthwise((1, 16, 9, 9), 5, pad=(1, 2, 3, 0)), depthwise((1, 16, 8, 8), 3, stride=(2, 1)),
    depthwise((1, 16, 11, 11), 3, stride=(3, 3)), depthwise((1, 16, 11, 11), 3, dilation=(2, 2)),
    depthwise((1, 24, 13, 13), 5, dilation=(2, 2)), depthwise((1, 16, 13, 13), 3, dilation=(2, 2), stride=(2, 2)),
    depthwise((1, 16, 6, 6), 1), depthwise((1, 16, 6, 6), 2, pad=(0, 1, 1, 0)), depthwise((1, 16, 7, 7), 3, bias=False),
    depthwise((1, 24, 9, 9), 5, bias=False), depthwise((1, 32, 28, 28), 3),
    depthwise((2, 48, 15, 15), 5, stride=(2, 2)),
    # rows that are no multiple of a run of outputs, channels none of a vector; pixels a large power of two apart
    depthwise((1, 21, 19, 20), 3, stride=(2, 2)), depthwise((2, 27, 10, 17), 5), depthwise((1, 13, 9, 24), 5, stride=(2, 2)),
    depthwise((1, 512, 5, 9), 3), depthwise((1, 512, 5, 17), 3, stride=(2, 2), epilogue="clip:0.0:6.0"),
    depthwise((1, 20, 8, 15), 5, epilogue="hard_swish"), depthwise((1, 20, 8, 15), 3, pad=(0, 1, 2, 0)),
    *(depthwise((1, 24, 7, 7), 3, epilogue=e) for e in EPILOGUES),
    *(depthwise((1, 16, 9, 9), 5, epilogue=e) for e in EPILOGUES[:3]),
    *(depthwise((1, 17, 9, 9), 3, stride=(2, 2), epilogue=e) for e in EPILOGUES[:3]),
    depthwise((1, 16, 9, 9), 7, epilogue="add+relu"),
    # large kernels, rates, lines of several tiles
    depthwise((1, 40, 9, 17), 7, epilogue="silu"), depthwise((2, 24, 3, 130), 9),
    depthwise((1, 16, 14, 14), 3, dilation=(5, 5)),
    depthwise((1, 19, 11, 13), 7, stride=(2, 2), epilogue="add+relu"),
    depthwise((1, 33, 14, 15), 13, epilogue="gelu:0.0"),
    # rows of a few outputs and of many, pads wider than what a window leaves behind, kernels of more than 512 taps
    *(depthwise((1, c, 5, w), 3) for c, w in ((15, 3), (33, 2), (8, 10), (47, 12))),
    *(depthwise((1, c, 6, w), k, stride=(2, 2)) for c, w, k in ((15, 20, 3), (40, 5, 3), (17, 19, 5), (33, 8, 5))),
    depthwise((1, 32, 7, 15), 3, stride=(2, 2), pad=(2, 5, 2, 4)),
    depthwise((1, 32, 7, 15), 5, stride=(2, 2), pad=(4, 8, 5, 9)),
    depthwise((1, 24, 6, 12), 3, pad=(3, 6, 4, 5)), depthwise((1, 40, 6, 9), 5, pad=(0, 7, 0, 6)),
    *(depthwise((1, 40, 5, 9), k, stride=s, epilogue=e) for e in ("relu", "hard_swish", "add+relu", "silu")
      for k, s in ((3, (1, 1)), (3, (2, 2)), (5, (1, 1)), (5, (2, 2)))),
    depthwise((1, 9, 5, 6), 23, values=("ends:0,255", "ends:-1,1")), depthwise((1, 37, 8, 9), 3, stride=(2, 3)),

    # transposed
    transposed((1, 1, 5, 5), 1, 3), transposed((1, 16, 7, 7), 16, 3, pad=(1, 1, 1, 1)),
    transposed((1, 16, 7, 7), 8, 2, stride=(2, 2)), transposed((1, 24, 5, 6), 16, 4, stride=(2, 2), pad=(1, 1, 1, 1)),
    transposed((3, 8, 5, 5), 3, 3, stride=(2, 2), pad=(1, 1, 1, 1), output_pad=(1, 1)),
    transposed((1, 16, 1, 1), 16, 4), transposed((1, 16, 5, 5), 16, 3, dilation=(2, 2), pad=(2, 2, 2, 2)),
    transposed((1, 16, 5, 5), 32, 3, groups=4), transposed((1, 8, 6, 6), 8, 4, groups=8, stride=(2, 2),
        pad=(1, 1, 1, 1)),
    transposed((1, 16, 5, 7), 16, 3, stride=(3, 2), pad=(0, 1, 2, 0)),
    transposed((1, 16, 4, 4), 8, (2, 3), stride=(1, 2)),
    transposed((4, 16, 4, 4), 16, 2, stride=(2, 2), bias=False), transposed((1, 3, 6, 6), 5, 5, stride=(4, 4)),
    transposed((1, 16, 5, 5), 16, 2, stride=(2, 2), epilogue="relu"),
    transposed((1, 16, 5, 5), 16, 4, stride=(2, 2), pad=(1, 1, 1, 1), epilogue="add+relu"),
    # strides above the kernel, phases without taps or without outputs, strides and dilations with and without a divisor
    transposed((1, 16, 4, 5), 8, 1, stride=(3, 2)), transposed((2, 8, 3, 4), 20, 2, stride=(3, 4), epilogue="add+silu"),
    transposed((1, 8, 3, 3), 8, 1, stride=(4, 4), pad=(0, 3, 1, 0), output_pad=(3, 2)),
    transposed((1, 24, 1, 1), 16, 2, stride=(4, 4)), transposed((2, 16, 5, 4), 24, 3, stride=(2, 2), dilation=(3, 2)),
    transposed((1, 16, 4, 5), 16, 3, stride=(2, 3), dilation=(2, 2), pad=(3, 4, 1, 2)),
    transposed((1, 8, 5, 5), 17, 3, stride=(3, 3), dilation=(4, 4), output_pad=(2, 1), bias=False),
    transposed((1, 16, 6, 6), 16, 3, pad=(2, 2, 2, 2)), transposed((3, 5, 1, 1), 7, 3), transposed((1, 1, 1, 9), 1, 1),
    # tiles that cross the ends of image rows, several passes over the sum, several blocks; groups with each of these
    transposed((3, 32, 7, 7), 48, 4, stride=(2, 2), pad=(1, 1, 1, 1), epilogue="add+relu"),
    transposed((2, 24, 9, 5), 33, 3, stride=(2, 2), pad=(1, 1, 1, 1), output_pad=(1, 1), epilogue="hard_swish"),
    transposed((1, 320, 6, 7), 40, 3, stride=(2, 2), pad=(1, 1, 1, 1), epilogue="add+clip:0.0:6.0"),
    transposed((1, 512, 5, 5), 24, 4, pad=(1, 2, 2, 1), epilogue="tanh"), transposed((1, 64, 20, 20), 72, 2,
        stride=(2, 2), epilogue="relu"),
    transposed((2, 12, 6, 5), 18, 3, groups=3, stride=(2, 2), dilation=(2, 1), output_pad=(1, 0), epilogue="add"),
    transposed((2, 512, 4, 4), 64, 3, groups=2, stride=(1, 2), pad=(1, 0, 1, 2)),
    transposed((1, 6, 5, 5), 6, 3, groups=6, epilogue="relu"),
    # one filter per channel: strides beyond the kernel (outputs that no tap reaches), crops, dilations, batches
    transposed((2, 40, 6, 5), 40, 4, groups=40, stride=(2, 2), pad=(1, 1, 1, 1), epilogue="add+relu"),
    transposed((3, 17, 4, 7), 17, 3, groups=17, stride=(3, 2), pad=(0, 1, 2, 0), epilogue="silu"),
    transposed((1, 16, 3, 3), 16, 2, groups=16, stride=(4, 3), output_pad=(3, 2), epilogue="add+hard_swish"),
    transposed((1, 24, 5, 4), 24, 3, groups=24, stride=(2, 1), dilation=(3, 2), pad=(3, 2, 1, 2), bias=False),
    transposed((2, 33, 1, 1), 33, (1, 5), groups=33, stride=(1, 2)),
    # few outputs under large kernels, lines of either axis that are cut into tiles, patches
    transposed((1, 34, 1, 70), 1, (1, 64), stride=(1, 16)),
    transposed((2, 34, 70, 1), 1, (64, 1), stride=(16, 1), pad=(24, 0, 8, 0), epilogue="add+relu"),
    transposed((1, 20, 1, 150), 2, (1, 9), stride=(1, 4), dilation=(1, 3), pad=(0, 5, 0, 2), output_pad=(0, 2)),
    transposed((1, 16, 5, 7), 3, 16, stride=(16, 16), epilogue="add"),
    transposed((2, 33, 12, 13), 3, 4, stride=(2, 2), pad=(1, 1, 1, 1), epilogue="tanh"),
    transposed((1, 12, 21, 9), 80, 4, stride=(2, 2), pad=(1, 1, 1, 1), epilogue="add+silu"),
    # taps that are no multiple of the stride, on each side of it; sums in several passes, kernels wider than the image
    transposed((4, 5, 6, 7), 2, (7, 3), stride=(2, 4), pad=(3, 0, 1, 1), output_pad=(1, 3), epilogue="add+relu"),
    transposed((1, 6, 8, 9), 4, 5, groups=2, stride=(3, 3), pad=(0, 1, 2, 2), output_pad=(1, 2), epilogue="silu"),
    transposed((1, 600, 3, 5), 5, 3, stride=(2, 2), pad=(1, 0, 0, 1)), transposed((2, 3, 1, 40), 1, (1, 33), pad=(0, 9, 0, 4)),
    transposed((1, 4, 3, 2), 18, (5, 9), stride=(2, 3), dilation=(3, 2), pad=(4, 1, 2, 7), epilogue="add"),
    # strides beyond what pads leave of the outputs
    transposed((1, 4, 1, 2), 3, 1, stride=(1, 300), pad=(0, 150, 0, 150)),
    transposed((2, 4, 2, 3), 3, (2, 1), stride=(70, 90), pad=(60, 88, 8, 90), epilogue="relu"),
    # lines of several panels and in several pieces, sums in several passes, blocks of outputs
    transposed((1, 300, 1, 205), 1, (1, 16), stride=(1, 8)),
    transposed((2, 7, 9, 101), 3, 7, pad=(3, 3, 3, 3), epilogue="relu"),
    transposed((1, 33, 5, 60), 2, (9, 7), stride=(4, 3), pad=(4, 3, 4, 3), output_pad=(3, 2)),
    transposed((1, 10, 3, 50), 6, (3, 5), groups=2, stride=(1, 2), dilation=(2, 3), pad=(0, 40, 1, 30), epilogue="tanh"),
    transposed((1, 3, 1, 1500), 40, (1, 40), stride=(1, 3)), transposed((1, 5, 70, 2), 1, (12, 1), stride=(2, 31)),
]

"""Cases of windows over three axes of space, of weights that are values, and of pools that say where they found an element."""

from __future__ import annotations

from typing import Any

from ...net.net import TensorSpec
from .. import Attrs, Case, Shape, case


def conv3(x: Shape, out: int, kernel: tuple[int, int, int], groups: int = 1, bias: bool = True, **rest: Any) -> Case:
    """A conv3 case from x's shape, output channels and kernel; `same=1` pads so that stride 1 keeps the size."""
    if rest.pop("same", 0):
        dilation = rest.get("dilation", (1, 1, 1))
        before = tuple((k - 1) * d // 2 for k, d in zip(kernel, dilation))
        rest["pad"] = before + tuple((k - 1) * d - b for k, d, b in zip(kernel, dilation, before))
    if groups > 1:
        rest["groups"] = groups
    return case("conv3", x, (out, x[1] // groups, *kernel), *([(out,)] if bias else []), constant=(1, 2), **rest)


def transposed3(x: Shape, out: int, kernel: tuple[int, int, int], groups: int = 1, bias: bool = True, **rest: Any) -> Case:
    """A conv_transpose3 case from x's shape, output channels and kernel."""
    if groups > 1:
        rest["groups"] = groups
    return case("conv_transpose3", x, (x[1], out // groups, *kernel), *([(out,)] if bias else []), constant=(1, 2), **rest)


def _of_values(kind: str, *inputs: Shape, **attrs: Any) -> Case:
    """A convolution whose weights are values."""
    shapes = ",".join("x".join(map(str, s)) for s in inputs)
    words = " ".join(f"{k}={v}" for k, v in attrs.items())
    return case(kind, *inputs, name=f"{kind} of values {shapes} {words}".strip(), **attrs)


_THREE = (3, 3, 3)
_WINDOWS: list[tuple[Shape, Attrs]] = [
    ((1, 1, 4, 5, 6), {"kernel": (2, 2, 2), "stride": (2, 2, 2)}),
    ((2, 3, 5, 7, 6), {"kernel": _THREE, "stride": (1, 2, 2), "pad": (1, 1, 1, 1, 1, 1)}),
    ((1, 17, 3, 4, 9), {"kernel": (1, 2, 3), "pad": (0, 0, 1, 0, 1, 2), "ceil": 1, "stride": (1, 2, 2)}),
    ((1, 4, 7, 7, 8), {"kernel": (2, 2, 3), "dilation": (2, 3, 2), "pad": (1, 0, 2, 0, 1, 2)}),
    ((3, 16, 2, 6, 6), {"kernel": (2, 6, 6)}),
    ((1, 2, 1, 1, 40), {"kernel": (1, 1, 5), "stride": (1, 1, 3)}),
]
_PLANES: list[tuple[Shape, Attrs]] = [
    ((2, 3, 9), {"kernel": (3,), "stride": (2,), "pad": (1, 1), "dilation": (1,)}),
    ((1, 5, 7, 8), {"kernel": (2, 3), "stride": (2, 1), "pad": (0, 1, 1, 1), "dilation": (1, 1)}),
    ((2, 2, 6, 6), {"kernel": (2, 2), "stride": (2, 3), "pad": (0, 0, 0, 0), "dilation": (2, 1), "ceil": 1}),
    ((2, 2, 4, 5, 6), {"kernel": (2, 2, 3), "stride": (2, 2, 2), "pad": (1, 0, 1, 0, 1, 1), "dilation": (1, 1, 1)}),
]
_MOVED: Attrs = {"kernel": (2, 2), "stride": (2, 2), "pad": (0, 0, 0, 0)}

CASES = [
    # few and many channels, images of a pixel, batches, every stride, padding on one side, groups
    *(conv3((1, c, 4, 5, 6), o, _THREE, same=1) for c, o in ((1, 1), (3, 16), (16, 24), (17, 31), (40, 64), (64, 3))),
    conv3((1, 8, 1, 1, 1), 8, (1, 1, 1)), conv3((2, 24, 3, 4, 5), 40, (1, 1, 1)),
    conv3((1, 64, 2, 7, 7), 67, (1, 1, 1), bias=False),
    conv3((2, 3, 6, 9, 9), 16, (3, 7, 7), stride=(1, 2, 2), pad=(1, 3, 3, 1, 3, 3)),
    conv3((1, 16, 5, 6, 7), 32, (3, 1, 1), same=1, epilogue="relu"),
    conv3((1, 16, 5, 6, 7), 32, (1, 3, 3), same=1, epilogue="add"),
    conv3((1, 8, 7, 8, 9), 12, _THREE, stride=(2, 3, 2), pad=(0, 1, 0, 1, 0, 2), epilogue="add+relu"),
    conv3((1, 4, 7, 9, 8), 8, _THREE, dilation=(2, 3, 1), same=1), conv3((3, 5, 3, 3, 3), 7, _THREE),
    conv3((1, 12, 4, 5, 5), 24, _THREE, groups=4, same=1), conv3((2, 16, 3, 4, 5), 16, (2, 2, 2), groups=2, epilogue="silu"),
    conv3((1, 20, 4, 5, 6), 20, _THREE, groups=20, same=1),
    conv3((1, 33, 5, 4, 6), 33, (2, 3, 2), groups=33, stride=(2, 1, 1)),
    conv3((2, 16, 4, 4, 4), 16, _THREE, groups=16, same=1, epilogue="clip:0.0:6.0"),
    conv3((1, 6, 4, 4, 4), 12, _THREE, groups=6),
    conv3((1, 130, 2, 6, 9), 70, (2, 2, 2), epilogue="gelu:0.0"), conv3((1, 1, 9, 12, 12), 8, (5, 5, 5), same=1),
    # transposed: strides with and without overlap, padding, output padding, groups, kernels that leave gaps
    transposed3((1, 8, 3, 4, 5), 16, (2, 2, 2), stride=(2, 2, 2)), transposed3((2, 17, 2, 3, 4), 9, _THREE, stride=(2, 2, 2)),
    transposed3((1, 16, 3, 3, 4), 24, (4, 4, 4), stride=(2, 2, 2), pad=(1,) * 6, epilogue="relu"),
    transposed3((1, 3, 3, 5, 4), 5, _THREE, stride=(1, 2, 3), pad=(1, 0, 1, 0, 1, 1), output_pad=(0, 1, 2)),
    transposed3((1, 6, 2, 3, 3), 4, (2, 1, 2), stride=(3, 2, 3), bias=False),
    transposed3((1, 8, 4, 4, 4), 8, _THREE, pad=(1,) * 6),
    transposed3((1, 12, 2, 3, 4), 8, (2, 3, 3), groups=4, stride=(2, 1, 2)), transposed3((1, 2, 3, 3, 3), 4, (2, 2, 2),
                                                                                      dilation=(2, 1, 3), stride=(2, 2, 1)),
    transposed3((1, 20, 3, 3, 3), 20, (2, 2, 2), groups=20, stride=(2, 2, 2)), transposed3((1, 64, 2, 5, 5), 40, (3, 4, 4),
                                                                                        stride=(1, 2, 2), pad=(1,) * 6),
    case("conv3", TensorSpec("f64", (1, 4, 3, 5, 4)), TensorSpec("f64", (6, 2, 2, 3, 2)), TensorSpec("f64", (6,)),
        constant=(1, 2),
         groups=2, stride=(1, 2, 1), pad=(1, 0, 1, 0, 1, 1)),
    case("conv_transpose3", TensorSpec("f64", (1, 4, 2, 3, 2)), TensorSpec("f64", (4, 3, 2, 3, 2)), constant=(1,),
         stride=(2, 2, 1), pad=(1, 0, 0, 0, 1, 0)),
    *(case(kind, *(TensorSpec("f64", s) for s in shapes), constant=(1, 2), **attrs) for kind, shapes, attrs in (
        ("conv2", [(2, 6, 7, 5), (8, 3, 3, 2), (8,)], {"groups": 2, "stride": (2, 1), "pad": (1, 1, 0, 1)}),
        ("depthwise_conv2", [(1, 5, 6, 7), (5, 1, 3, 3)], {"pad": (1, 1, 1, 1), "dilation": (1, 2)}),
        ("conv_transpose2", [(1, 4, 5, 4), (4, 3, 3, 3), (3,)],
            {"stride": (2, 3), "pad": (1, 0, 1, 1), "output_pad": (1, 2)}))),
    # products of other types than f32, of every rank
    *(case("matmul", TensorSpec(t, a), TensorSpec(t, b), values=("integral", "integral"))
      for t in ("f64", "i8", "u16", "i64") for a, b in (((5, 7), (7, 9)), ((2, 1, 3, 4), (3, 4, 600)), ((4,), (2, 4, 3)))),
    case("matmul", TensorSpec("f64", (6, 5)), TensorSpec("f64", (5,)), constant=(1,)),
    case("dense", *(TensorSpec("f64", s) for s in ((2, 3, 17), (40, 17), (40,))), constant=(1, 2)),
    case("dense", *(TensorSpec("f64", s) for s in ((5, 33), (7, 33))), constant=(1,)),
    # weights that are values
    _of_values("conv2", (1, 3, 9, 8), (16, 3, 3, 3), (16,), pad=(1, 1, 1, 1)),
    _of_values("conv2", (2, 24, 5, 6), (40, 24, 1, 1)),
    _of_values("conv2", (1, 16, 8, 7), (18, 8, 3, 2), (18,), groups=2, stride=(2, 1), dilation=(1, 2)),
    _of_values("conv2", (1, 8, 6, 6), (8, 1, 3, 3), groups=8, pad=(1, 1, 1, 1)),
    _of_values("conv2", (3, 5, 1, 12), (7, 5, 1, 4), (7,)),
    _of_values("depthwise_conv2", (1, 24, 6, 7), (24, 1, 3, 3), (24,), pad=(1, 1, 1, 1)),
    _of_values("depthwise_conv2", (2, 5, 7, 9), (5, 1, 3, 2), stride=(2, 1), dilation=(1, 2)),
    _of_values("conv3", (1, 6, 4, 5, 6), (10, 6, 2, 3, 3), (10,), pad=(1, 1, 1, 0, 1, 1)),
    _of_values("conv_transpose2", (1, 6, 5, 4), (6, 9, 3, 3), (9,), stride=(2, 2), pad=(1, 1, 0, 1)),
    _of_values("conv_transpose2", (2, 8, 1, 7), (8, 4, 1, 4), groups=2, stride=(1, 3)),
    _of_values("conv_transpose3", (1, 5, 2, 3, 4), (5, 6, 2, 2, 3), (6,), stride=(2, 1, 2)),
    case("conv2", (1, 4, 6, 5), (8, 4, 3, 3), (8,), constant=(1,), name="conv2 with a bias that is a value"),
    *(case("max_pool3", x, **attrs) for x, attrs in _WINDOWS),
    *(case("average_pool3", x, count_pad=c, **attrs) for x, attrs in _WINDOWS for c in (0, 1)),
    *(case("lp_pool3", x, **attrs) for x, attrs in _WINDOWS[:3]), case("lp_pool3", (1, 3, 4, 4, 4), kernel=(2, 2, 2), p=3),
    case("max_pool3", (1, 4, 4, 4, 4), kernel=(2, 2, 2), epilogue="relu"),
    *(case(f"{kind}3", TensorSpec(dtype, (1, 3, 4, 5, 6)), kernel=(2, 3, 2), pad=(1, 1, 0, 0, 1, 1), values=("integral",))
      for kind, dtype in (("max_pool", "u8"), ("max_pool", "i8"), ("max_pool", "f64"), ("average_pool", "f64"),
          ("lp_pool", "f64"))),
    *(case(f"{kind}2", TensorSpec(dtype, (2, 3, 7, 8)), kernel=(3, 2), stride=(2, 1), pad=(1, 0, 1, 1), values=("integral",))
      for kind, dtype in (("max_pool", "i64"), ("max_pool", "u8"), ("max_pool", "f64"), ("average_pool", "f64"),
          ("lp_pool", "f64"))),
    *(case("max_pool_indices", x, values=(word,), column_major=order, **attrs)
      for x, attrs in _PLANES for word, order in (("", 0), ("ties", 0), ("wide", 1))),
    *(case("max_pool_indices", TensorSpec(dtype, (1, 2, 5, 6)), kernel=(2, 2), stride=(2, 2), pad=(0, 1, 0, 0),
        dilation=(1, 1),
           values=("ties",)) for dtype in ("u8", "i8", "i32", "f64")),
    *(case("max_unpool", TensorSpec(dtype, (2, 3, 2, 3)), TensorSpec("i64", (2, 3, 2, 3)), values=("integral", "ties"),
        **_MOVED)
      for dtype in ("f32", "f64", "i8", "u16")),
    case("max_unpool", (1, 2, 3, 2), TensorSpec("i64", (1, 2, 3, 2)), shape=(1, 2, 7, 5), values=("", "ties"), **_MOVED),
    case("max_unpool", (1, 2, 4), TensorSpec("i64", (1, 2, 4)), kernel=(3,), stride=(2,), pad=(1, 0), values=("", "ties")),
]

"""Operators over axes of space, and Einsum, against ONNX Runtime, with fixed and with symbolic shapes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx_models import build, check
from test_onnx_ops import Case, K, f, i64

from pathweave.errors import ModelError, UnsupportedOperatorError
from pathweave.importers import load

VOLUME, IMAGE = f(2, 6, 5, 6, 7), f(2, 6, 7, 9)
REGIONS = np.array([[0, 0, 9, 11], [3.5, 2.5, 20, 17], [-4, -3, 2, 5], [10, 8, 6, 4]], np.float32)
OF_IMAGES = np.concatenate([i64(0, 1, 0, 1)[:, None].astype(np.float32), np.abs(REGIONS)], 1)
POOLS = ("MaxPool", "AveragePool", "LpPool")

CASES = [
    Case("Conv", (11, 22), VOLUME, K(f(8, 6, 3, 3, 3)), K(f(8)), pads=[1, 0, 1, 1, 2, 1], strides=[1, 2, 2]),
    Case("Conv", (11,), VOLUME, K(f(6, 3, 2, 2, 3)), group=2, dilations=[2, 1, 2]),
    Case("Conv", (11,), VOLUME, K(f(6, 1, 3, 1, 2)), K(f(6)), group=6),
    *(Case("Conv", (11,), VOLUME, K(f(4, 6, 3, 2, 3)), strides=[2, 1, 3], auto_pad=a)
      for a in ("SAME_UPPER", "SAME_LOWER", "VALID")),
    Case("Conv", (11,), IMAGE, f(8, 6, 3, 3), f(8), pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
    Case("Conv", (11,), IMAGE, f(8, 3, 2, 3), group=2, strides=[2, 1], kernel_shape=[2, 3], auto_pad="SAME_LOWER"),
    Case("Conv", (11,), f(2, 6, 11), f(5, 6, 3), f(5), pads=[1, 2]), Case("Conv", (11,), VOLUME, f(5, 6, 2, 2, 2)),
    Case("ConvTranspose", (11,), VOLUME, K(f(6, 4, 3, 2, 3)), K(f(4)), strides=[2, 2, 1], pads=[1, 0, 1, 0, 1, 1]),
    Case("ConvTranspose", (11,), VOLUME, K(f(6, 2, 3, 3, 3)), strides=[2, 3, 2], output_padding=[1, 2, 0], group=3),
    Case("ConvTranspose", (11,), VOLUME, K(f(6, 2, 3, 3, 3)), strides=[2, 2, 2], auto_pad="SAME_UPPER"),
    Case("ConvTranspose", (11,), VOLUME, K(f(6, 2, 3, 3, 3)), strides=[2, 2, 2], output_shape=[10, 12, 13],
        kernel_shape=[3, 3, 3]),
    Case("ConvTranspose", (11,), IMAGE, f(6, 4, 3, 3), f(4), strides=[2, 2], kernel_shape=[3, 3]),
    Case("ConvTranspose", (11,), f(2, 6, 8), f(6, 4, 3), strides=[2]),
    *(Case(op, (22,), VOLUME, kernel_shape=[2, 3, 2], strides=[2, 2, 1], pads=[1, 0, 0, 0, 1, 1], dilations=[1, 2, 1],
        ceil_mode=c)
      for op in POOLS for c in (0, 1)),
    Case("AveragePool", (22,), VOLUME, kernel_shape=[2, 3, 3], pads=[1, 1, 1, 0, 1, 1], count_include_pad=1),
    *(Case(op, (22,), VOLUME, kernel_shape=[3, 2, 2], strides=[2, 2, 2], auto_pad="SAME_UPPER")
        for op in ("MaxPool", "AveragePool")),
    *(Case(op, (13,), VOLUME) for op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")),
    *(Case("MaxPool", (12,), x, outputs=2, kernel_shape=[2] * (x.ndim - 2), strides=[2] * (x.ndim - 2), storage_order=order)
      for x in (IMAGE, VOLUME) for order in (0, 1)),
    Case("MaxPool", (12,), f(2, 3, 11), outputs=2, kernel_shape=[3], pads=[1, 1], dilations=[2]),
    Case("MaxPool", (12,), (20 * IMAGE).astype(np.int8), kernel_shape=[3, 2], pads=[1, 0, 1, 1]),
    Case("MaxPool", (12,), (60 + 20 * IMAGE).astype(np.uint8), kernel_shape=[3, 2], strides=[2, 1], auto_pad="SAME_UPPER"),
    Case("MaxUnpool", (11, 22), f(1, 2, 2, 3), np.arange(12).reshape(1, 2, 2, 3) * 4, kernel_shape=[2, 2], strides=[2, 2]),
    Case("MaxUnpool", (11,), f(1, 2, 2, 3), np.arange(12).reshape(1, 2, 2, 3) * 5, K(i64(1, 2, 5, 7)), kernel_shape=[2, 2],
         strides=[2, 2], fixed_only=True),
    *(Case("DeformConv", (19, 22), IMAGE, K(f(8, 3, 3, 3)), f(2, 2 * 18, 4, 9), K(f(8)), mask, group=2, offset_group=2,
           strides=[2, 1], pads=[1, 1, 1, 1]) for mask in (None, f(2, 18, 4, 9))),
    Case("DeformConv", (19,), IMAGE, f(8, 6, 2, 2), f(2, 8, 6, 8)),
    *(Case("GridSample", (16,), IMAGE, f(2, 4, 5, 2), mode=m, padding_mode=p, align_corners=a)
      for m in ("bilinear", "nearest", "bicubic") for p in ("zeros", "border", "reflection") for a in (0, 1)),
    *(Case("GridSample", (20, 22), VOLUME, f(2, 3, 4, 5, 3), mode=m, padding_mode=p)
      for m in ("linear", "nearest") for p in ("zeros", "border", "reflection")),
    Case("AffineGrid", (20,), f(2, 2, 3), K(i64(2, 3, 5, 6))), Case("AffineGrid", (20,), f(2, 3, 4), K(i64(2, 3, 4, 5, 6)),
                                                                 align_corners=1),
    *(Case("RoiAlign", (10, 16), IMAGE, REGIONS, i64(0, 1, 0, 1), output_height=2, output_width=3, spatial_scale=0.5, mode=m,
           sampling_ratio=k) for m in ("avg", "max") for k in (0, 2)),
    Case("RoiAlign", (16,), IMAGE, REGIONS, i64(1, 1, 0, 1), output_height=2,
        coordinate_transformation_mode="output_half_pixel"),
    Case("MaxRoiPool", (11,), IMAGE, OF_IMAGES, pooled_shape=[2, 3], spatial_scale=0.6),
    Case("Col2Im", (18,), f(2, 18, 20), K(i64(6, 7)), K(i64(3, 3))),
    Case("Col2Im", (18,), f(1, 8, 12), K(i64(5, 6)), K(i64(2, 2)), dilations=[2, 1], strides=[1, 2], pads=[1, 0, 0, 1]),
    Case("MatMul", (13,), f(2, 1, 3, 4, 5), f(3, 1, 5, 6)), Case("MatMul", (13,), f(5), f(2, 3, 5, 4)),
    Case("MatMul", (13,), f(5), f(5)),
    Case("MatMul", (13,), f(2, 3, 4, 5), f(5)),
    Case("MatMul", (13,), f(3, 4).astype(np.float64), f(2, 4, 5).astype(np.float64)),
    *(Case("MatMul", (13,), (9 * f(2, 3, 4)).astype(t), (9 * f(4, 5)).astype(t)) for t in (np.int32, np.int64)),
    Case("Gemm", (13,), f(3, 4).astype(np.float64), K(f(4, 5).astype(np.float64)), K(f(5).astype(np.float64)), alpha=0.5),
]
EQUATIONS = [
    ("ij,jk->ik", (3, 4), (4, 5)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)), ("bij,jk->bik", (2, 3, 4), (4, 5)),
    ("ij->ji", (3, 4)),
    ("bhid,bhjd->bhij", (2, 3, 4, 5), (2, 3, 6, 5)), ("bhij,bhjd->bihd", (2, 3, 4, 6), (2, 3, 6, 5)), ("ij->", (3, 4)),
    ("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 6)), ("ii->i", (4, 4)), ("ii", (4, 4)), ("bii->b", (2, 3, 3)),
    ("iij->ij", (3, 3, 2)),
    ("i,j->ij", (3,), (4,)), ("i,i", (3,), (3,)), ("ij,ij->ij", (3, 4), (3, 4)), ("ij,i->ij", (3, 4), (3,)),
    ("a,b,c->cab", (2,), (3,), (4,)),
    ("ab,bc,cd->ad", (2, 3), (3, 4), (4, 5)), ("abc,cd,be->ade", (2, 3, 4), (4, 5), (3, 6)),
    ("ijk,ilm->jklm", (2, 3, 4), (2, 5, 6)),
    ("ijkl,klmn->ijmn", (2, 3, 4, 5), (4, 5, 6, 7)), ("bchw,ck->bkhw", (2, 3, 4, 5), (3, 6)), ("...->...", (2, 3)),
    ("nkctv,kvw->nctw", (2, 3, 4, 5, 6), (3, 6, 7)), (" b n h w , n d -> b d h w ", (2, 3, 4, 5), (3, 6)),
    ("ij,kj", (3, 4), (5, 4)),
    ("i...->...", (3, 2, 4)), ("...i,...i->...", (2, 3, 4), (3, 4)), ("...i,i...->i...", (2, 4), (4, 2)),
    ("ba,cb", (3, 4), (5, 3)),
]


def _run(case, opset, symbols, reference=None):
    inputs, constants, names = {}, {}, []
    for i, operand in enumerate(case.operands):
        names.append("" if operand is None else f"in{i}")
        if isinstance(operand, K):
            constants[f"in{i}"] = operand.array
        elif operand is not None:
            inputs[f"in{i}"] = operand
    outputs = ["y"] if case.outputs == 1 else [f"y{i}" for i in range(case.outputs)]
    check([helper.make_node(case.op, names, outputs, **case.attrs)], inputs, constants, outputs, opset, symbols,
        case.tolerance,
          reference)


RUNS = [(case, opset, symbols) for case in CASES for opset in case.opsets
        for symbols in ((False,) if case.fixed_only else (False, True))]


@pytest.mark.parametrize(("case", "opset", "symbols"), RUNS,
                         ids=[f"{c.op}-{o}-{'symbols' if s else 'fixed'}-{i}" for i, (c, o, s) in enumerate(RUNS)])
def test_operator_agrees_with_onnx_runtime(case, opset, symbols):
    if case.op == "RoiAlign" and case.attrs.get("mode") == "max" and opset == 10:
        pytest.skip("before opset 16 ONNX Runtime computes the maximum in another way")
    _run(case, opset, symbols)


def test_products_of_integers():
    a, b, c = (9 * f(3, 4)).astype(np.int32), (9 * f(4, 5)).astype(np.int32), (9 * f(5)).astype(np.int32)
    _run(Case("Gemm", (13,), a, b, c), 13, False, [a @ b + c])
    _run(Case("MatMul", (13,), a.astype(np.int64), b.astype(np.int64)), 13, False, [a.astype(np.int64) @ b])


def test_an_axis_of_one_place_lies_at_its_begin():
    """As ONNX's definition of AffineGrid has it, for align_corners=1."""
    theta = np.array([[[1, 0, 0], [0, 1, 0]]], np.float32)
    wanted = np.array([[[[-1, -1], [0, -1], [1, -1]]]], np.float32)
    _run(Case("AffineGrid", (20,), theta, K(i64(1, 1, 1, 3)), align_corners=1), 20, False, [wanted])


@pytest.mark.parametrize("symbols", [False, True], ids=["fixed", "symbols"])
@pytest.mark.parametrize(("equation", "shapes"), [(e, s) for e, *s in EQUATIONS])
def test_einsum_agrees_with_numpy(equation, shapes, symbols):
    operands = [f(*s, low=-1.0 - i) for i, s in enumerate(shapes)]
    wanted = np.einsum(equation.replace(" ", ""), *(x.astype(np.float64) for x in operands)).astype(np.float32)
    _run(Case("Einsum", (12,), *operands, equation=equation), 12, symbols, [wanted])


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.int64])
def test_einsum_of_other_types(dtype):
    a, b = (9 * f(2, 3, 4)).astype(dtype), (9 * f(2, 4, 5)).astype(dtype)
    _run(Case("Einsum", (12,), a, b, equation="bij,bjk->bki"), 12, False, [np.einsum("bij,bjk->bki", a, b)])


@pytest.mark.parametrize(("equation", "shapes", "message"), [
    ("ij,jk->ik", [(2, 3)], "2 terms for 1 input"), ("ij->ik", [(2, 3)], "one that no input has"),
    ("ij->ii", [(2, 3)], "repeats"),
    ("ijk->i", [(2, 3)], "rank 2"), ("i1->i", [(2, 3)], "more than letters"), ("ii->i", [(2, 3)], "sizes"),
    ("ij,jk->ik", [(2, 3), (4, 5)], "equal")])
def test_einsum_is_refused(equation, shapes, message):
    names = [f"in{i}" for i in range(len(shapes))]
    node = helper.make_node("Einsum", names, ["y"], equation=equation)
    with pytest.raises(ModelError, match=message):
        _run_refused(node, dict(zip(names, (f(*s) for s in shapes), strict=True)))


def _run_refused(node, inputs):
    from pathweave.passes import bind
    bind(load(build([node], inputs, opset=13)).main, {n: a.shape for n, a in inputs.items()})


def test_four_axes_of_space_are_refused():
    for node, inputs in ((helper.make_node("Conv", ["x", "w"], ["y"]), {"x": f(1, 2, 3, 3, 3, 3), "w": f(4, 2, 1, 1, 1, 1)}),
                         (helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[1] * 4), {"x": f(1, 2, 3, 3, 3, 3)})):
        with pytest.raises(UnsupportedOperatorError, match="4 spatial axes; only one, two and three"):
            load(build([node], inputs, opset=13))

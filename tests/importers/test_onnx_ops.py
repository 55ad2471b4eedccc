"""Every ONNX operator of the importer against ONNX Runtime, over opsets, with fixed and with symbolic shapes."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import all_cases
from onnx_models import check

from pathweave.importers.onnx import operators


class Case:
    """One node: operator, opsets, attributes, inputs (arrays; constants are wrapped in K), number of outputs."""

    def __init__(self, op, opsets, *operands, outputs=1, tolerance=1e-5, fixed_only=False, domain="", **attrs):
        self.op, self.opsets, self.operands, self.attrs = op, opsets, operands, attrs
        self.outputs, self.tolerance, self.fixed_only, self.domain = outputs, tolerance, fixed_only, domain


class K:
    """A constant operand."""

    def __init__(self, value, dtype=None):
        self.array = np.asarray(value, dtype)


def f(*shape, low=-2.0, high=2.0):
    """Random float32 numbers; the same shape always gives the same numbers."""
    return np.random.default_rng(zlib.crc32(repr((shape, low)).encode())).uniform(low, high, shape).astype(np.float32)


def i64(*values):
    return np.array(values, np.int64)


X = f(2, 6, 7, 9)
POSITIVE = f(2, 6, 7, 9, low=0.1)
W = f(8, 6, 3, 3)
ALL = (7, 11, 13, 17, 21)

UNARY = [
    (op, ALL)
    for op in (
        "Relu",
        "Sigmoid",
        "Tanh",
        "Softplus",
        "Softsign",
        "Neg",
        "Abs",
        "Floor",
        "Ceil",
        "Exp",
        "Reciprocal",
        "LeakyRelu",
        "Elu",
        "Selu",
        "HardSigmoid",
        "Identity",
        "Sin",
        "Cos",
    )
]
UNARY += [
    ("Erf", (9, 13)),
    ("Sign", (9, 13)),
    ("Round", (11, 17)),
    ("IsNaN", (9, 13)),
    ("HardSwish", (14, 17)),
    ("Mish", (18,)),
    ("Gelu", (20,)),
    ("Celu", (12,)),
    ("ThresholdedRelu", (10, 17)),
    ("Shrink", (9, 17)),
    ("IsInf", (10,)),
    *((op, (9, 22)) for op in ("Sinh", "Cosh", "Asinh")),
    *((op, (7, 22)) for op in ("Tan", "Atan")),
]

CASES = [Case(op, opsets, X) for op, opsets in UNARY]
CASES += [Case(op, ALL, POSITIVE) for op in ("Sqrt", "Log")]
CASES += [
    Case(op, ALL, a, b)
    for op in ("Add", "Sub", "Mul", "Div")
    for a, b in (
        (X, f(2, 6, 7, 9, low=0.5)),
        (X, f(6, 1, 1, low=0.5)),
        (f(6, 7, 1), POSITIVE),
        (X, K(f(1, 6, 1, 1, low=0.5))),
        (K(np.float32(3.0)), POSITIVE),
    )
]
CASES += [
    Case("Div", (13,), i64(7, -7, 9), i64(2, 2, -4)),
    Case("Mod", (10, 13), i64(7, -7, 9), i64(3, 3, -4)),
    Case("Mod", (13,), X, f(2, 6, 7, 9, low=0.5), fmod=1),
    Case("Pow", (7, 13), POSITIVE, K(np.float32(2.5))),
    Case("Pow", (13,), X, K(i64(2))),
    Case("Equal", (11, 13), i64(1, 2, 3), i64(1, 0, 3)),
    Case("Less", (9, 13), X, f(6, 1, 1)),
    Case("Greater", (9, 13), X, f(6, 1, 1)),
    Case("LessOrEqual", (12, 16), X, f(6, 1, 1)),
    Case("GreaterOrEqual", (12, 16), X, f(6, 1, 1)),
    *(Case(op, (7, 22), X / 2) for op in ("Asin", "Acos")),
    Case("Acosh", (9, 22), POSITIVE + 1),
    Case("Atanh", (9, 22), X / 3),
    *(Case(op, (18,), i64(7, -7, 9), i64(3, 3, -4)) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")),
    Case("BitwiseNot", (18,), i64(7, -7, 9)),
    *(Case("BitShift", (11,), np.uint8([7, 200, 9]), np.uint8([3, 1, 0]), direction=way) for way in ("LEFT", "RIGHT")),
    Case("Det", (11, 22), f(2, 3, 3)),
    Case("And", (7,), X > 0, X > 1),
    Case("Or", (7,), X > 0, X > 1),
    Case("Xor", (7,), X > 0, X > 1),
    Case("Not", (7,), X > 0),
    Case("Min", (8, 13), X, f(6, 1, 1), f(9)),
    Case("Max", (8, 13), X, f(6, 1, 1), f(9)),
    Case("Max", (8,), X),
    Case("Sum", (8, 13), X, f(6, 1, 1), f(9)),
    Case("Mean", (8, 13), X, f(6, 1, 1), f(9)),
    Case("Where", (9, 16), X > 0, X, f(6, 1, 1)),
    Case("PRelu", (9, 16), X, K(f(6, 1, 1))),
    Case("PRelu", (9,), X, f(6, 1, 1)),
    Case("LeakyRelu", (7, 16), X, alpha=0.3),
    Case("HardSigmoid", (7,), X, alpha=0.3, beta=0.4),
    Case("Elu", (7,), X, alpha=0.7),
    Case("Celu", (12,), X, alpha=0.7),
    Case("Selu", (7,), X, alpha=1.5, gamma=1.2),
    Case("ThresholdedRelu", (10,), X, alpha=0.5),
    Case("Gelu", (20,), X, approximate="tanh"),
    Case("Gelu", (17,), X, domain="com.microsoft"),
    Case("Shrink", (9,), X, lambd=0.7, bias=0.2),
    Case("Clip", (7,), X, min=-0.5, max=1.5),
    Case("Clip", (11, 13), X, K(np.float32(-0.5)), K(np.float32(1.5))),
    Case("Clip", (13,), X, None, K(np.float32(1.0))),
    Case("Clip", (13,), X, np.array(-0.5, np.float32)),
    Case("Clip", (12,), i64(-5, 3, 9), K(i64(0).reshape(())), K(i64(6).reshape(()))),
    Case("Cast", (9, 13), X, to=TensorProto.INT64),
    Case("Cast", (13,), i64(0, 2), to=TensorProto.FLOAT),
    Case("Cast", (13,), X, to=TensorProto.BOOL),
    Case("CastLike", (15,), i64(1, 2), f(2)),
    Case("IsInf", (10,), np.array([1, np.inf, -np.inf, np.nan], np.float32), detect_positive=0),
]
CASES += [
    Case(op, opsets, X, axis=axis)
    for op in ("Softmax", "LogSoftmax", "Hardmax")
    for opsets, axis in (((7, 11), 1), ((7, 11), 3), ((7, 11), 2), ((11,), 0), ((11,), -1), ((13, 17), 1), ((13,), -1))
]
CASES += [Case("Softmax", (7, 13), X)]

# convolutions and pools
CASES += [
    Case("Conv", ALL, X, K(W), K(f(8))),
    Case("Conv", (11,), X, K(W), pads=[1, 0, 2, 1], strides=[2, 1]),
    Case("Conv", (11,), X, K(f(8, 3, 3, 3)), group=2, dilations=[2, 2], pads=[2, 2, 2, 2]),
    Case("Conv", (11,), X, K(f(6, 1, 3, 3)), K(f(6)), group=6, pads=[1, 1, 1, 1]),
    Case("Conv", (11,), X, K(f(12, 1, 3, 3)), group=6),
    Case("Conv", (11,), f(2, 6, 11), K(f(8, 6, 3)), K(f(8)), pads=[1, 2]),
    Case("Conv", (11,), f(2, 6, 11), K(f(8, 6, 3)), strides=[2], auto_pad="SAME_UPPER"),
]
CASES += [
    Case("Conv", (11,), X, K(f(8, 6, *k)), strides=s, auto_pad=auto)
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID")
    for k, s in (((3, 3), [1, 1]), ((3, 3), [2, 2]), ((2, 4), [1, 3]))
]
CASES += [
    Case("ConvTranspose", (7, 11), X, K(f(6, 4, 3, 3)), K(f(4))),
    Case("ConvTranspose", (11,), X, K(f(6, 4, 3, 3)), strides=[2, 3], pads=[1, 0, 1, 2], output_padding=[1, 2]),
    Case("ConvTranspose", (11,), X, K(f(6, 2, 3, 3)), group=2, dilations=[2, 1]),
    Case("ConvTranspose", (11,), X, K(f(6, 4, 3, 3)), strides=[2, 2], output_shape=[14, 18]),
    Case("ConvTranspose", (11,), X, K(f(6, 4, 4, 4)), strides=[2, 2], output_shape=[15, 19], auto_pad="SAME_UPPER"),
    Case("ConvTranspose", (11,), X, K(f(6, 4, 3, 3)), strides=[2, 2], auto_pad="SAME_UPPER"),
    Case("ConvTranspose", (11,), X, K(f(6, 4, 4, 3)), strides=[2, 1], auto_pad="SAME_LOWER"),
    Case("ConvTranspose", (11,), f(2, 6, 5), K(f(6, 4, 3)), strides=[2]),
]
for pool in ("MaxPool", "AveragePool"):
    CASES += [
        Case(pool, (7, 10, 12, 19), X, kernel_shape=[3, 2]),
        Case(pool, (11,), X, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 0]),
        Case(pool, (11,), X, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        Case(pool, (11,), f(2, 6, 11), kernel_shape=[3], strides=[2], pads=[1, 1]),
        Case(pool, (19,), X, kernel_shape=[2, 2], dilations=[2, 3]),
    ]
    CASES += [
        Case(pool, (11,), X, kernel_shape=[3, 3], strides=s, auto_pad=a)
        for a in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for s in ([1, 1], [2, 2])
    ]
CASES += [
    Case("AveragePool", (11,), X, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1),
    Case("AveragePool", (11,), X, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER", count_include_pad=1),
    Case("AveragePool", (11,), X, kernel_shape=[7, 9]),
    Case("LpPool", (11,), X, kernel_shape=[3, 3]),
    Case("LpPool", (11, 18), X, kernel_shape=[3, 2], p=3, strides=[2, 1]),
    Case("LpPool", (18,), X, kernel_shape=[3, 3], p=1, pads=[1, 1, 1, 1]),
]
CASES += [
    Case(op, (7, 13), x) for op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool") for x in (X, f(2, 6, 5))
]
CASES += [Case("GlobalLpPool", (7,), X, p=p) for p in (1, 3)]

# matrices and normalisation
for ta in (0, 1):
    for tb in (0, 1):
        a, b = f(*((5, 4), (4, 5))[ta]), f(*((3, 5), (5, 3))[1 - tb])
        a = a if a.shape[1 - ta] == 5 else a.T.copy()
        CASES += [
            Case("Gemm", (7, 11, 13), a, K(b), K(f(3)), transA=ta, transB=tb, alpha=0.5, beta=2.0),
            Case("Gemm", (11,), a, b, f(4, 3), transA=ta, transB=tb, alpha=0.5, beta=2.0),
            Case("Gemm", (11,), a, K(b), K(f(4, 1)), transA=ta, transB=tb),
            Case("Gemm", (11, 13), a, K(b), transA=ta, transB=tb),
            Case("Gemm", (11,), a, K(b), K(np.float32(0.7)), transA=ta, transB=tb),
        ]
CASES += [
    Case("MatMul", (7, 13), f(4, 5), K(f(5, 3))),
    Case("MatMul", (7,), f(2, 4, 5), K(f(5, 3))),
    Case("MatMul", (7,), f(2, 1, 4, 5), f(3, 5, 6)),
    Case("MatMul", (7,), f(5), K(f(5, 3))),
    Case("MatMul", (7,), f(4, 5), f(5)),
    Case("MatMul", (7,), K(f(4, 5)), f(5, 3)),
    Case("BatchNormalization", (7, 9, 14, 15), X, K(f(6)), K(f(6)), K(f(6)), K(f(6, low=0.2))),
    Case("BatchNormalization", (15, 17), X, K(f(6)), K(f(6)), K(f(6)), K(f(6, low=0.2)), outputs=3,
         training_mode=1, momentum=0.7),
    Case("BatchNormalization", (15,), f(3, 6), K(f(6)), K(f(6)), K(f(6)), K(f(6, low=0.2)), epsilon=0.01),
    Case("InstanceNormalization", (7,), X, K(f(6)), K(f(6)), epsilon=1e-3),
    Case("LayerNormalization", (17,), X, K(f(9)), K(f(9))),
    Case("LayerNormalization", (17,), X, K(f(7, 9)), axis=2),
    Case("GroupNormalization", (21,), X, K(f(6)), K(f(6)), num_groups=3),
    Case("LRN", (7, 13), X, size=3),
    Case("LRN", (7,), X, size=5, alpha=0.01, beta=0.6, bias=2.0),
]

# shapes
CASES += [Case("Reshape", (7, 13, 14), X, K(i64(0, -1, 9))), Case("Reshape", (14,), X, K(i64(2, 6, 63)), allowzero=1)]
CASES += [Case("Flatten", (7, 9, 11, 13), X, axis=a) for a in (0, 1, 2, 3, 4)] + [Case("Flatten", (11,), X, axis=-2)]
CASES += [
    Case("Squeeze", (7, 11), f(2, 1, 3, 1), axes=[1, 3]),
    Case("Squeeze", (13,), f(2, 1, 3, 1), K(i64(-1))),
    Case("Squeeze", (11, 13), f(2, 1, 3, 1), fixed_only=True),
    Case("Unsqueeze", (7, 11), f(2, 3), axes=[0, 3]),
    Case("Unsqueeze", (13,), f(2, 3), K(i64(-1, 0))),
    Case("Transpose", (7, 13), X),
    Case("Transpose", (7,), X, perm=[0, 2, 3, 1]),
    Case("Concat", (7, 13), X, f(2, 3, 7, 9), axis=1),
    Case("Concat", (11,), X, X, K(f(2, 6, 7, 2)), axis=-1),
    Case("Concat", (7,), X, axis=0),
    Case("Split", (7, 11), X, axis=1, split=[1, 2, 3], outputs=3),
    Case("Split", (11,), X, axis=-2, split=[3, 4], outputs=2),
    Case("Split", (13,), X, K(i64(2, 4)), axis=1, outputs=2),
    Case("Split", (7, 11, 13), X, axis=1, outputs=3, fixed_only=True),
    Case("Split", (18,), X, axis=3, num_outputs=2, outputs=2, fixed_only=True),
    Case("Slice", (7,), X, starts=[1, -4], ends=[2**31, -1], axes=[1, 2]),
    Case("Slice", (10, 13), X, K(i64(1, -2)), K(i64(5, -8)), K(i64(1, -1)), K(i64(2, -1))),
    Case("Slice", (13,), X, K(i64(0, 1)), K(i64(1, 2**63 - 1))),
    Case("Pad", (7,), X, pads=[0, 1, 2, 0, 0, 0, 1, 3], value=1.5),
    Case("Pad", (11, 13), X, K(i64(0, 1, 2, 0, 0, 0, 1, 3)), K(np.float32(1.5))),
    Case("Pad", (18,), X, K(i64(2, 1, 1, 3)), None, K(i64(2, -1))),
    Case("Pad", (13,), X, K(i64(0, 0, -1, 2, 0, 0, 1, -2))),
]
CASES += [Case("Pad", (11,), X, K(i64(0, 0, 2, 3, 0, 0, 1, 2)), mode=mode) for mode in ("edge", "reflect")]
CASES += [
    Case("Gather", (7, 13), X, K(i64(0, 5, -1)), axis=1),
    Case("Gather", (11,), X, K(i64(2).reshape(())), axis=-1),
    Case("Gather", (11,), f(5, 3), np.array([[0, 1], [4, 2]], np.int64)),
    Case("GatherElements", (11, 13), X, np.abs(f(2, 6, 3, 9)).astype(np.int64), axis=2),
    Case("GatherElements", (13,), f(3, 4), K(i64(0, -1, 2, 1).reshape(1, 4))),
    Case("GatherND", (11,), f(3, 4, 5), K(i64(0, 1, 2, 3).reshape(2, 2)), fixed_only=True),
    Case("GatherND", (12,), f(3, 4, 5), K(i64(0, 1, 2).reshape(3, 1)), fixed_only=True, batch_dims=1),
    Case("NonZero", (9, 13), np.round(f(3, 4)), fixed_only=True),
    Case("Compress", (9, 11), X, K(np.array([True, False, True])), axis=1, fixed_only=True),
    Case("Compress", (11,), X, np.array([True, False, True]), axis=1, fixed_only=True),
    Case("Compress", (11,), f(2, 3), np.array([False, True, True]), fixed_only=True),
    Case("Compress", (11,), f(2, 3), K(np.array([False, True, True])), fixed_only=True),
    Case("Expand", (8, 13), f(3, 1), K(i64(2, 3, 4))),
    Case("Expand", (8,), f(3, 4), K(i64(1, 1))),
    Case("Tile", (7, 13), f(2, 3), K(i64(2, 3))),
    Case("DepthToSpace", (7, 11), f(1, 8, 3, 2), blocksize=2),
    Case("DepthToSpace", (11,), f(1, 8, 3, 2), blocksize=2, mode="CRD"),
    Case("SpaceToDepth", (7, 13), f(1, 2, 4, 6), blocksize=2),
    Case("Dropout", (7, 10), X, ratio=0.3),
    Case("Dropout", (12, 13), X, K(np.float32(0.3)), K(np.array(False))),
    Case("Dropout", (13,), X, outputs=2),
    Case("Shape", (7, 13), X),
    Case("Shape", (15,), X, start=1, end=-1),
    Case("Size", (7, 13), X),
    Case("ConstantOfShape", (9,), K(i64(2, 3))),
    Case("ConstantOfShape", (9,), K(i64(2, 3)), value=numpy_helper.from_array(i64(7))),
    Case("Range", (11,), K(i64(2).reshape(())), K(i64(9).reshape(())), K(i64(3).reshape(()))),
    Case("TopK", (7, 9), X, k=3, outputs=2, axis=2),
    Case("TopK", (10, 11), X, K(i64(3)), outputs=2),
    Case("TopK", (11,), X, K(i64(2)), outputs=2, largest=0, axis=1),
]
CASES += [Case(op, (7, 11, 13), X, axis=2, keepdims=k) for op in ("ArgMax", "ArgMin") for k in (0, 1)]
CASES += [Case("ArgMax", (12,), np.floor(X), axis=1, select_last_index=1)]
ROWS, PLACES = f(7, 5), np.random.default_rng(8).permuted(np.tile(np.arange(7), (5, 1)), axis=1).T[:4].astype(np.int64)
BOXES, SCORES = np.sort(f(2, 30, 2, 2, low=0.0), axis=2).reshape(2, 30, 4), f(2, 3, 30, low=0.0)
CASES += [
    Case("Scatter", (9, 10), ROWS, PLACES, f(4, 5), axis=0),
    Case("ScatterElements", (11, 13), ROWS, PLACES, f(4, 5), axis=0),
    *(Case("ScatterElements", (18,), ROWS, PLACES % 3, f(4, 5), axis=-2, reduction=r) for r in ("add", "mul", "max", "min")),
    Case("ScatterND", (11, 13), X, K(i64(1, 0)[:, None]), f(2, 6, 7, 9, low=0.0)),
    *(Case("ScatterND", (18,), ROWS, i64(3, -2, 3)[:, None], f(3, 5), reduction=r) for r in ("add", "mul", "max", "min")),
    *(Case("CumSum", (11, 14), X, K(np.array(a)), exclusive=e, reverse=r) for a, e, r in ((1, 0, 0), (-1, 1, 0), (2, 1, 1))),
    Case("OneHot", (9, 11), i64(1, -2, 9, 0), K(np.array(5)), K(np.array([0.5, 2.0], np.float32)), axis=0),
    Case("OneHot", (11,), f(3, 2), K(np.array([3.0], np.float32)), K(np.array([0, 7], np.float32))),
    *(Case("Trilu", (14,), X, K(np.array(k)), upper=u) for k in (-1, 2) for u in (0, 1)), Case("Trilu", (14,), ROWS),
    Case("EyeLike", (9,), ROWS, k=1), Case("EyeLike", (9,), ROWS, k=-2, dtype=TensorProto.INT64),
    Case("ReverseSequence", (10,), X, i64(3, 6), batch_axis=0, time_axis=1),
    *(Case("Unique", (11,), np.floor(ROWS), outputs=4, sorted=s) for s in (0, 1)),
    Case("Unique", (11,), np.floor(f(6, 1, 2, low=0.0)), outputs=4, axis=0),
    *(Case("NonMaxSuppression", (10, 11), BOXES, SCORES, K(i64(6)), K(np.array([0.3], np.float32)),
           K(np.array([0.5], np.float32)), center_point_box=c) for c in (0, 1)),
]
for op in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"):
    x = POSITIVE if op == "LogSum" else X
    CASES += [
        Case(f"Reduce{op}", (7, 11, 12), x, axes=[2, 3], keepdims=0),
        Case(f"Reduce{op}", (11,), x, axes=[-1]),
        Case(f"Reduce{op}", (11, 18), x),
        Case(f"Reduce{op}", (18, 20), x, K(i64(1, -1)), keepdims=1),
    ]
CASES = [c for c in CASES if not (c.op == "ReduceSum" and c.attrs.get("axes") and c.opsets[-1] >= 13)]
CASES += [Case("ReduceSum", (13,), X, K(i64(1)), keepdims=0), Case("ReduceSum", (13,), X, noop_with_empty_axes=1)]

# resize
EMPTY = K(np.zeros(0, np.float32))
IMAGE = f(1, 2, 5, 6)
CASES += [Case("Upsample", (7,), IMAGE, scales=[1.0, 1.0, 2.0, 3.0], mode=m) for m in ("nearest", "linear")]
CASES += [
    Case(op, (v,), IMAGE, K(np.array([1, 1, 2, 1.5], np.float32)), mode=m)
    for op, v in (("Upsample", 9), ("Resize", 10))
    for m in ("nearest", "linear")
]
CASES += [
    Case(
        "Resize",
        (11, 13, 18, 19),
        IMAGE,
        EMPTY,
        K(np.array([1, 1, 2, 1.7], np.float32)),
        mode=m,
        coordinate_transformation_mode=c,
    )
    for m in ("nearest", "linear", "cubic")
    for c in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
]
CASES += [
    Case("Resize", (13,), IMAGE, EMPTY, EMPTY, K(i64(1, 2, 7, 4)), mode=m, fixed_only=True)
    for m in ("nearest", "linear", "cubic")
]
CASES += [
    Case(
        "Resize",
        (13,),
        IMAGE,
        EMPTY,
        K(np.array([1, 1, 1.6, 0.7], np.float32)),
        nearest_mode=r,
        coordinate_transformation_mode="asymmetric",
    )
    for r in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
]
CASES += [
    Case("Resize", (18,), IMAGE, None, None, K(i64(7, 4)), axes=[2, 3], mode="linear"),
    Case("Resize", (13,), f(1, 2, 10, 10), EMPTY, K(np.array([1, 1, 0.7, 1.1], np.float32)), mode="linear"),
    Case("Resize", (13,), f(1, 2, 5), EMPTY, K(np.array([1, 1, 2], np.float32)), mode="linear"),
]


def _name(case_opset):
    case, opset, symbols = case_opset
    attrs = ",".join(f"{k}={v}" for k, v in case.attrs.items() if not hasattr(v, "dims"))
    return f"{case.op}-{opset}{'-symbols' if symbols else ''}-{attrs}".replace(" ", "")


ALL_CASES = [
    (case, opset, symbols)
    for case in CASES
    for opset in case.opsets
    for symbols in ((False,) if case.fixed_only else (False, True))
]


@pytest.mark.parametrize("case_opset", ALL_CASES, ids=_name)
def test_operator_agrees_with_onnx_runtime(case_opset):
    case, opset, symbols = case_opset
    inputs, constants, names = {}, {}, []
    for i, operand in enumerate(case.operands):
        names.append("" if operand is None else f"in{i}")
        if isinstance(operand, K):
            constants[f"in{i}"] = operand.array
        elif operand is not None:
            inputs[f"in{i}"] = operand
    if not inputs:  # a node of constants alone: add an input, so that the graph has one
        inputs["unused"] = f(1)
    outputs = ["y"] if case.outputs == 1 else [f"y{i}" for i in range(case.outputs)]
    node = helper.make_node(case.op, names, outputs, domain=case.domain, **case.attrs)
    check(
        [node], inputs, constants, outputs, opset, symbols, case.tolerance, domains=[case.domain] if case.domain else []
    )


def test_every_operator_of_the_table_is_tested():
    """In ONNX's own cases, or by name in a test of this folder."""
    texts = "".join(path.read_text() for path in Path(__file__).parent.glob("*.py"))
    own = {node.op_type for case in all_cases().values() for node in case.load().graph.node}
    names = {op.rpartition(":")[2] for op in operators()}
    assert not {name for name in names - own if f'"{name}"' not in texts}


@pytest.mark.parametrize(
    "attributes, expected",
    [
        ({"value": numpy_helper.from_array(f(2, 3))}, f(2, 3)),
        ({"value_float": 1.5}, np.float32(1.5)),
        ({"value_floats": [1.5, 2.5]}, np.array([1.5, 2.5], np.float32)),
        ({"value_int": 3}, np.int64(3)),
        ({"value_ints": [3, 4]}, i64(3, 4)),
    ],
)
def test_constant_node(attributes, expected):
    nodes = [
        helper.make_node("Constant", [], ["c"], **attributes),
        helper.make_node("Cast", ["c"], ["d"], to=1),
        helper.make_node("Add", ["x", "d"], ["y"]),
    ]
    check(nodes, {"x": f(*np.shape(expected))}, opset=13)


def test_swish_is_silu():
    from onnx_models import build

    from pathweave.importers import load
    from pathweave.meaning.evaluate import evaluate

    for alpha in (1.0, 1.7):
        net = load(build([helper.make_node("Swish", ["x"], ["y"], alpha=alpha)], {"x": X}, opset=24)).main
        wide = X.astype(np.float64)
        np.testing.assert_allclose(
            evaluate(net, {"x": X})["y"], wide / (1 + np.exp(-alpha * wide)), rtol=1e-5, atol=1e-6
        )

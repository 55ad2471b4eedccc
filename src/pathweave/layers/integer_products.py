"""Products of integers with exact sums (matmul_integer, conv_integer), and of floats with weights of few bits (matmul_nbits).

A sum of products is exact in 32 bits, in which it may wrap around. `dtype` says what becomes of it:
i32, itself; f32, float32(sum) * scale; u8 and i8, saturate(round(float32(sum) * scale) + zero_point), ties to even, where the
product is rounded to float32 before it is rounded to an integer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ModelError, ShapeError
from ..net.conditions import assumed, equal
from ..net.dim import Expr
from ..net.format import numpy_dtype
from ..net.net import TensorSpec
from . import Outline
from ._common import (
    check_dtype,
    check_rank,
    check_same_dtype,
    check_shape,
    integers,
    same_shape,
    take,
    word,
)
from .conv import Conv2, convolve
from .dense import MatMul, Product
from .quantise import ends, to_integers

BYTES = frozenset(("u8", "i8"))
RESULTS = ("i32", "f32", "u8", "i8")
_GEOMETRY = {"stride": (1, 1), "pad": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}


def _check_result(dtype: Any, scale: TensorSpec | None, zero: TensorSpec | None) -> None:
    word("dtype", dtype, RESULTS)
    if (scale is None) != (dtype == "i32"):
        raise ModelError(f"attribute dtype={dtype!r} {'with' if scale is not None else 'without'} a scale: expected a scale "
                         f"for all results but i32")
    if scale is not None:
        check_dtype("scale", scale, frozenset(("f32",)))
    if zero is not None:
        check_dtype("zero_point", zero, BYTES & {dtype})
        if not same_shape(zero.dims, ()):
            raise ShapeError(f"zero_point is {zero}: expected a scalar")


def _whole(dims: Sequence[int | Expr], target: Sequence[int | Expr], last: int) -> bool:
    """Whether a shape is the end of the target, where all axes but the `last` ones may have the size 1 together."""
    if len(dims) > len(target):
        return False
    end = target[len(target) - len(dims):]
    front = max(0, len(dims) - last)
    ones = all(d == 1 for d in dims[:front])
    return same_shape(dims[front:], end[front:]) and (ones or same_shape(dims[:front], end[:front]))


def _one_or_whole(dims: Sequence[int | Expr], target: Sequence[int | Expr], apart: bool = False) -> bool:
    """Whether a shape holds one number, or is the end of the target as `_whole` has it; what is open is assumed to be so.

    `apart`: each of the last two open sizes may be 1 whatever the other is.
    """
    if len(dims) > len(target):
        return False
    end = target[len(target) - len(dims):]
    if any(isinstance(d, Expr) for d in dims):
        front = max(0, len(dims) - 2)
        together = all(assumed((d, "==", 1), (other, "==", e)) for d in dims[:front] for other, e in zip(dims[:front], end))
        return together and all(equal(d, 1) if e == 1 else
                                all(assumed((d, "==", e), (other, "==", 1)) for other in ([d] if apart else dims))
                                for d, e in zip(dims[front:], end[front:]))
    return all(d == 1 for d in dims) or _whole(dims, target, 2)


def _fits_scale(dims: Sequence[int | Expr], sums: Sequence[int | Expr]) -> bool:
    """Whether a shape is that of one number, or of one for each row, column or element of the sums."""
    of_rows = len(dims) > 0 and dims[-1] == 1 and _whole(dims, (*sums[:-1], 1), 1)
    return of_rows or _one_or_whole(dims, sums, apart=True)


def _result(sums: np.ndarray, dtype: str, scale: np.ndarray | None, zero: np.ndarray | None) -> np.ndarray:
    """What becomes of exact sums, in float64; `scale` broadcasts to them."""
    exact = np.asarray(sums).astype(np.int64).astype(np.int32)
    if scale is None:
        return exact
    real = exact.astype(np.float32) * scale.astype(np.float32)
    if dtype == "f32":
        return real.astype(scale.dtype, copy=False)
    return to_integers(real, 0 if zero is None else int(zero), *ends(dtype)).astype(numpy_dtype(dtype))


def _less(x: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
    return x.astype(np.float64) if zero is None else x.astype(np.float64) - zero.astype(np.float64)


class MatMulInteger(Product):
    """numpy.matmul of integers a and b, each less its zero point, plus bias: see the top of the file for what is made of it.

    a, b: u8 or i8. a_zero?: [], or one per row, [..,M,1]; b_zero?: [], [N] or [..,1,N], of the types of a and b. bias?: i32
    [N]. scale?: f32: [], [N], one per row or one per element. zero_point?: [] of the result's type.
    Source: ONNX MatMulInteger and QLinearMatMul, with scale = a_scale * b_scale / y_scale.
    """

    name = "matmul_integer"
    exact = True
    attributes = {"dtype": "i32"}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        a, b, a_zero, b_zero, bias, scale, zero = take(inputs, 2, 7)
        for what, x, point, column in (("a", a, a_zero, -1), ("b", b, b_zero, -2)):
            check_dtype(what, x, BYTES)
            check_same_dtype(x, point)
            dims = list(x.dims)
            if x.rank > 1:
                dims[column] = 1
            if point is not None and not _one_or_whole(point.dims, dims if x.rank > 1 else [1]):
                raise ShapeError(f"{what}_zero is {point}, {what} is {x}: expected a scalar, or one number for each "
                                 f"{'row' if what == 'a' else 'column'}")
        (y,) = MatMul().infer({}, [TensorSpec("f32", a.dims), TensorSpec("f32", b.dims)])
        if bias is not None:
            check_dtype("bias", bias, frozenset(("i32",)))
            check_shape("bias", bias, b.dims[-1:] if b.rank > 1 else (1,))
        _check_result(attrs["dtype"], scale, zero)
        if scale is not None and not _fits_scale(scale.dims, y.dims):
            raise ShapeError(f"scale is {scale}: expected one number, or one for each row, column or element of {y}")
        return [TensorSpec(attrs["dtype"], y.dims)]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return MatMul().outline(attrs, shapes[:2])

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return inputs[0].shape[-1]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        a, b, a_zero, b_zero, bias, scale, zero = take(inputs, 2, 7)
        sums = np.matmul(_less(a, a_zero), _less(b, b_zero))
        return [_result(sums if bias is None else sums + bias, attrs["dtype"], scale, zero)]


class ConvInteger(Product):
    """2-D convolution of integers, each less its zero point, plus bias: see the top of the file for what is made of it.

    x [N,C,H,W], w [O,C/groups,kh,kw]: u8 or i8. x_zero? [], w_zero? [] or [O], of the types of x and w. bias? i32 [O]. scale?
    f32 [] or [O]. zero_point? [] of the result's type. What lies in the padding counts as 0.
    Source: ONNX ConvInteger and QLinearConv, with scale = x_scale * w_scale / y_scale.
    """

    name = "conv_integer"
    exact = True
    attributes = {**_GEOMETRY, "dtype": "i32"}
    space = 2

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, w, x_zero, w_zero, bias, scale, zero = take(inputs, 2, 7)
        check_rank("w", w, 4)
        for what, value, point in (("x", x, x_zero), ("w", w, w_zero)):
            check_dtype(what, value, BYTES)
            check_same_dtype(value, point)
        check_shape("x_zero", x_zero, ())
        if w_zero is not None and w_zero.rank:
            check_shape("w_zero", w_zero, w.dims[:1])
        if bias is not None:
            check_dtype("bias", bias, frozenset(("i32",)))
            check_shape("bias", bias, w.dims[:1])
        _check_result(attrs["dtype"], scale, zero)
        if scale is not None and scale.rank:
            check_shape("scale", scale, w.dims[:1])
        geometry = {name: attrs[name] for name in _GEOMETRY}
        (y,) = Conv2().infer(geometry, [TensorSpec("f32", x.dims), TensorSpec("f32", w.dims)])
        return [TensorSpec(attrs["dtype"], y.dims)]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return Conv2().outline(attrs, shapes[:2])

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return Conv2().terms(attrs, inputs)

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return Conv2().effort(attrs, inputs[:2], outputs)

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, w, x_zero, w_zero, bias, scale, zero = take(inputs, 2, 7)
        per_output = None if w_zero is None else w_zero.reshape(-1, 1, 1, 1)
        added = None if bias is None else bias.astype(np.float64)
        stride, dilation = (integers(name, attrs[name], 2, 1) for name in ("stride", "dilation"))
        pad = integers("pad", attrs["pad"], 4, 0)
        sums = convolve(_less(x, x_zero), _less(w, per_output), added, stride, pad, dilation, int(attrs["groups"]))
        return [_result(sums, attrs["dtype"], None if scale is None else scale.reshape(-1, 1, 1), zero)]


def unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Numbers of 4 or 8 bits along the last axis of an array of bytes, those in the low bits first."""
    if bits == 8:
        return packed
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], 2 * packed.shape[-1])


class MatMulNBits(Product):
    """y = x @ w.T + bias? with weights of 4 or 8 bits: w[n,k] = (q[n,k] - zero[n,k / block]) * scale[n,k / block].

    x f32 [..,K]; weights u8 [N, ceil(K / block), block * bits / 8], the number in the low bits first; scale f32
    [N, ceil(K / block)]; zero?: f32 of that shape, or u8 [N, ceil(blocks * bits / 8)] packed like the weights; 2^(bits - 1)
    where it is absent; bias? f32 [N]. Source: MatMulNBits of com.microsoft.
    """

    name = "matmul_nbits"
    attributes = {"bits": 4, "block": 32, "depth": None}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, w, scale, zero, bias = take(inputs, 3, 5)
        (bits,), (block,), (depth,) = (integers(name, attrs[name], 1, 1) for name in ("bits", "block", "depth"))
        if bits not in (4, 8) or block * bits % 8:
            raise ModelError(f"attributes bits={bits}, block={block}: expected 4 or 8 bits, and blocks of whole bytes")
        check_dtype("x", x, frozenset(("f32",)))
        check_dtype("weights", w, frozenset(("u8",)))
        check_same_dtype(x, scale, bias)
        check_rank("weights", w, 3)
        blocks = -(-depth // block)
        check_shape("weights", w, (w.dims[0], blocks, block * bits // 8))
        check_shape("scale", scale, (w.dims[0], blocks))
        check_shape("bias", bias, w.dims[:1])
        if zero is not None:
            check_dtype("zero", zero, frozenset(("u8", "f32")))
            check_shape("zero", zero, (w.dims[0], blocks if zero.dtype == "f32" else -(-blocks * bits // 8)))
        if x.rank < 1 or not equal(x.dims[-1], depth):
            raise ShapeError(f"x is {x}: expected a last dimension of depth={depth}")
        return [TensorSpec("f32", (*x.dims[:-1], w.dims[0]))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return shapes[0] and (*shapes[0][:-1], shapes[1][0] if shapes[1] else None)

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return int(attrs["depth"])

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        bias = len(inputs) > 4 and inputs[4] is not None
        return sum(y.elements for y in outputs) * (2 * self.terms(attrs, inputs) + bias)

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, w, scale, zero, bias = take(inputs, 3, 5)
        y = x @ weights_of(w, scale, zero, int(attrs["bits"]), int(attrs["depth"])).T
        return [np.asarray(y if bias is None else y + bias).astype(x.dtype, copy=False)]


def weights_of(w: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, bits: int, depth: int) -> np.ndarray:
    """The numbers [N,K] that packed weights stand for, in the precision of the scale."""
    blocks = w.shape[1]
    q = unpacked(w, bits).astype(scale.dtype)
    if zero is None:
        q -= 2**(bits - 1)
    else:
        points = zero if zero.dtype.kind == "f" else unpacked(zero, bits)[:, :blocks]
        q -= points.astype(scale.dtype)[:, :, None]
    return (q * scale[:, :, None]).reshape(len(w), -1)[:, :depth]

"""Functions of the bits of elements: and, or, exclusive or, not, shifts, and bits read as another element type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ModelError
from ..net.floats import HALVES, from_bf16, to_bf16
from ..net.format import numpy_dtype
from ..net.net import TensorSpec
from . import LayerKind
from ._common import INTEGERS, NUMBERS, as_type, check_dtype, same_outline, take, word
from .elementwise import Binary

#: Element types of bit_cast -> bytes of an element.
_BYTES = {"bf16": 2, "bool": 1, **{t: np.dtype(numpy_dtype(t)).itemsize for t in sorted(NUMBERS)}}


class BitwiseAnd(Binary):
    """a & b. Source: ONNX BitwiseAnd."""

    name = "bitwise_and"
    accepts = INTEGERS
    exact = True

    @staticmethod
    def function(a: np.ndarray, b: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
        return a & b


class BitwiseOr(Binary):
    """a | b. Source: ONNX BitwiseOr."""

    name = "bitwise_or"
    accepts = INTEGERS
    exact = True

    @staticmethod
    def function(a: np.ndarray, b: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
        return a | b


class BitwiseXor(Binary):
    """a ^ b, bit by bit. Source: ONNX BitwiseXor."""

    name = "bitwise_xor"
    accepts = INTEGERS
    exact = True

    @staticmethod
    def function(a: np.ndarray, b: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
        return a ^ b


class ShiftLeft(Binary):
    """The bits of a moved left by b places; 0 where b is negative, or not below the number of bits. Source: ONNX BitShift."""

    name = "shift_left"
    accepts = INTEGERS
    exact = True

    @staticmethod
    def function(a: np.ndarray, b: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
        inside = (b >= 0) & (b < a.dtype.itemsize * 8)
        return np.where(inside, np.left_shift(a, np.where(inside, b, 0).astype(a.dtype)), 0)


class ShiftRight(Binary):
    """The bits of a moved right by b places, copies of the sign behind them; all of them copies of it where b is negative, or
    not below the number of bits. Source: ONNX BitShift."""

    name = "shift_right"
    accepts = INTEGERS
    exact = True

    @staticmethod
    def function(a: np.ndarray, b: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
        inside = (b >= 0) & (b < a.dtype.itemsize * 8)
        return np.where(inside, np.right_shift(a, np.where(inside, b, 0).astype(a.dtype)), np.where(a < 0, -1, 0))


class BitwiseNot(LayerKind):
    """~x. Source: ONNX BitwiseNot."""

    name = "bitwise_not"
    attributes = {}
    elementwise = True
    exact = True
    outline = same_outline

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_dtype("x", x, INTEGERS)
        return [x]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        return [as_type(~x, x.dtype)]


class BitCast(LayerKind):
    """The bits of x, of `source`, read as another element type of as many bits, `dtype`. Source: ONNX BitCast.

    Both are one of f16 bf16 f32 f64 i8 ... u64 bool. A value of f16 or bf16 is one of f32 here, which stands for it. A
    byte that is not 0 is true.
    """

    name = "bit_cast"
    attributes = {"source": None, "dtype": None}
    elementwise = True
    per_element = 0
    outline = same_outline

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        source, target = (word(name, attrs[name], sorted(_BYTES)) for name in ("source", "dtype"))
        if x.dtype != _net_type(source):
            raise ModelError(f"attribute source={source!r} on {x}: expected a value of {_net_type(source)}")
        if _BYTES[source] != _BYTES[target]:
            raise ModelError(f"x is {source} of {_BYTES[source]} bytes, dtype={target} has {_BYTES[target]}: expected as many")
        return [TensorSpec(_net_type(target), x.shape)]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        source, target = attrs["source"], attrs["dtype"]
        wide = x.dtype if x.dtype.kind == "f" and _net_type(source) == _net_type(target) else numpy_dtype(_net_type(target))
        stored = to_bf16(x.astype(np.float32)) if source == "bf16" else x.astype(numpy_dtype(source))
        bits = np.ascontiguousarray(stored).reshape(x.shape)
        if target == "bool":
            return [bits.view(np.uint8) != 0]
        if target == "bf16":
            return [as_type(from_bf16(bits.view(np.uint16)), wide)]
        return [as_type(bits.view(numpy_dtype(target)), wide)]


def _net_type(dtype: str) -> str:
    return "f32" if dtype in HALVES else dtype

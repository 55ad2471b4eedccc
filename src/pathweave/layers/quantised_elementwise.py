"""Elementwise functions of bytes that stand for real numbers: lookup_table of one value, quantised_binary of two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..net.format import numpy_dtype
from ..net.net import TensorSpec
from . import LayerKind, Outline
from ._common import broadcast, broadcast_outline, check_dtype, check_shape, same_outline, take, word
from .quantise import ends, to_integers

BYTES = frozenset(("u8", "i8"))
FUNCTIONS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "maximum": np.maximum,
             "minimum": np.minimum}


class LookupTable(LayerKind):
    """y = table[x] for x u8, table[x + 128] for x i8, of x's shape and the table's type; table [256] u8 or i8.

    Source: any function of one number between ONNX DequantizeLinear and QuantizeLinear.
    """

    name = "lookup_table"
    exact = True
    outline = same_outline
    attributes = {}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, table = take(inputs, 2)
        check_dtype("x", x, BYTES)
        check_dtype("table", table, BYTES)
        check_shape("table", table, (256,))
        return [TensorSpec(table.dtype, x.dims)]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, table = take(inputs, 2)
        return [np.asarray(table[x.astype(np.int64) + (128 if x.dtype == np.int8 else 0)])]


class QuantisedBinary(LayerKind):
    """y = saturate(round(f(a', b') / y_scale) + y_zero), ties to even; a' = (a - a_zero) * a_scale and b' alike, in float32.

    `function`: add, sub, mul, div, maximum, minimum. a, b: u8 or i8, which broadcast as in NumPy. a_scale, b_scale, y_scale:
    f32 []; a_zero, b_zero: [] of the types of a and b; y_zero: [] u8 or i8, the type of y. NaN gives the least integer.
    Source: ONNX DequantizeLinear, an operator of two values, QuantizeLinear.
    """

    name = "quantised_binary"
    exact = True
    attributes = {"function": None}
    per_element = 7

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        a, b, *points = take(inputs, 8)
        word("function", attrs["function"], tuple(FUNCTIONS))
        y_zero = points[5]
        for what, x, scale, zero in (("a", a, *points[:2]), ("b", b, *points[2:4]), ("y", y_zero, *points[4:])):
            check_dtype(what, x, BYTES)
            check_dtype(f"{what}_scale", scale, frozenset(("f32",)))
            check_dtype(f"{what}_zero", zero, frozenset((x.dtype,)))
            check_shape(f"{what}_scale", scale, ())
            check_shape(f"{what}_zero", zero, ())
        return [TensorSpec(y_zero.dtype, broadcast(a, b))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return broadcast_outline(self, attrs, shapes[:2])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        a, b, a_scale, a_zero, b_scale, b_zero, y_scale, y_zero = take(inputs, 8)

        def real(x: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
            return (x.astype(np.int64) - int(zero)).astype(np.float32) * np.float32(scale)
        with np.errstate(all="ignore"):
            y = FUNCTIONS[attrs["function"]](real(a, a_scale, a_zero), real(b, b_scale, b_zero)) / np.float32(y_scale)
        dtype = "u8" if y_zero.dtype == np.uint8 else "i8"
        return [np.asarray(to_integers(y, int(y_zero), *ends(dtype)).astype(numpy_dtype(dtype)))]

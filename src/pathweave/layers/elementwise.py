"""Functions of two elements with NumPy broadcasting, prelu, identity and cast."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import ModelError, ShapeError
from ..net.dim import Expr, largest, smallest
from ..net.dim_compare import is_at_least, is_equal, is_less
from ..net.floats import HALVES, from_bf16, rounded, to_bf16
from ..net.format import numpy_dtype
from ..net.net import TensorSpec
from . import LayerKind
from ._common import (
    FLOATS,
    NUMBERS,
    Mover,
    as_type,
    broadcast,
    broadcast_outline,
    broadcasts_to,
    check_dtype,
    check_same_dtype,
    per_element,
    same_outline,
    take,
    widen,
    word,
)
from ._linear import Affine

_BOOL = frozenset(("bool",))


class Binary(LayerKind):
    """A function of two elements; shapes broadcast as in NumPy, either input may be a constant."""

    attributes: dict[str, float] = {}
    elementwise = True
    accepts = NUMBERS
    same_dtype = True
    output = ""  # element type of the output; "" = that of the first input

    #: function(a, b, attributes)
    function: Callable[..., np.ndarray]

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        a, b = take(inputs, 2)
        check_dtype("a", a, self.accepts)
        check_dtype("b", b, self.accepts)
        if self.same_dtype:
            check_same_dtype(a, b)
        return [TensorSpec(self.output or a.dtype, broadcast(a, b))]

    outline = broadcast_outline

    def on_sizes(self, attrs: Mapping[str, Any], arrays: list[Any], inputs: list[Any]) -> list[Any] | None:
        function = _ON_SIZES.get(self.name)
        if self.name == "div" and inputs[0].dtype in FLOATS:
            function = _exact_quotient
        return None if function is None else [per_element(function, *arrays)]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        a, b = take(inputs, 2)
        dtype = np.bool_ if self.output else np.result_type(a, b) if self.same_dtype else a.dtype
        return [as_type(self.function(*widen(a, b), attrs), dtype)]


def _whole_quotient(a: int | Expr, b: int | Expr) -> int | Expr | None:
    """a / b of sizes that are not negative, rounded down; None where a sign is not known."""
    return a // b if is_at_least(a, 0) and is_at_least(b, 1) else None


def _exact_quotient(a: int | Expr, b: int | Expr) -> int | Expr | None:
    quotient = _whole_quotient(a, b)
    return quotient if quotient is not None and is_equal(quotient * b, a) else None


def _remainder(a: int | Expr, b: int | Expr) -> int | Expr | None:
    return a % b if is_at_least(a, 0) and is_at_least(b, 1) else None


#: kind -> the function of two sizes that may be open; None for what is not known
_ON_SIZES: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": _whole_quotient, "mod": _remainder,
    "minimum": smallest, "maximum": largest, "equal": is_equal, "less": is_less, "greater": lambda a, b: is_less(b, a),
    "less_equal": lambda a, b: is_at_least(b, a), "greater_equal": is_at_least,
}


class Comparison(Binary):
    """A comparison of two elements, which gives a truth value."""

    output = "bool"

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[Any], constants: list[Any]) -> tuple[int,
                 int] | None:
        other = constants[1 - position]
        if other is None or not other.size or other.dtype.kind not in "iu":
            return None
        least, largest = int(other.min()), int(other.max())
        return (least, largest) if least < largest else (min(0, least), max(1, largest))


def _divide(a: np.ndarray, b: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    """a / b; integers are divided towards zero, as in ONNX and C."""
    if np.result_type(a, b).kind not in "iu":
        return a / b
    quotient = a // b
    return quotient + ((quotient < 0) & (quotient * b != a))


def _power(a: np.ndarray, b: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    """a ^ b; of a base of integers the result is cut to integers, in float64 where the exponent is not a natural."""
    if a.dtype.kind not in "iu":
        return np.power(a, b.astype(a.dtype, copy=False))
    if b.dtype.kind in "iu" and not np.any(b < 0):
        return np.power(a, b)
    return np.power(a.astype(np.float64), b)


def _modulo(a: np.ndarray, b: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    """fmod=0: the sign of b (as Python's %); fmod=1: the sign of a (as C's fmod)."""
    return np.fmod(a, b) if attrs["fmod"] else np.mod(a, b)


_ONE, _ZERO = np.ones(()), np.zeros(())


def _affine(map_of: Callable[[np.ndarray, bool], tuple | None]) -> Callable[..., Affine | None]:
    """`LayerKind.affine` where one operand is a floating-point constant.

    `map_of`: (that constant, True where it comes first) -> (scale, shift), or None.
    """
    def affine(self: LayerKind, attrs: Mapping[str, Any], constants: list[Any]) -> Affine | None:
        first = constants[0] is not None
        array = constants[0 if first else 1]
        if array is None or array.dtype.kind != "f" or all(c is not None for c in constants):
            return None
        with np.errstate(all="ignore"):
            found = map_of(array.astype(np.float64), first)
        return None if found is None else Affine(int(first), found[0], found[1], False)
    return affine


def _binary(kind: str, f: Any, what: str, base: type[Binary] = Binary, **members: Any) -> type[Binary]:
    return type(kind.title().replace("_", ""), (base,), {
        "name": kind, "function": staticmethod(f), "__module__": __name__, "__doc__": what, **members})


def _plain(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, b, attrs: f(a, b)


Add = _binary("add", _plain(np.add), "a + b. Source: ONNX Add.", epilogue=("act",), sums=True,
              formula=operator.add, affine=_affine(lambda c, first: (_ONE, c)))
Sub = _binary("sub", _plain(np.subtract), "a - b. Source: ONNX Sub.", sums=True, formula=operator.sub,
              affine=_affine(lambda c, first: (-_ONE, c) if first else (_ONE, -c)))
Mul = _binary("mul", _plain(np.multiply), "a b. Source: ONNX Mul.", formula=operator.mul,
              affine=_affine(lambda c, first: (c, _ZERO)))
Div = _binary("div", _divide, "a / b, towards zero for integers. Source: ONNX Div.", formula=operator.truediv,
              affine=_affine(lambda c, first: None if first or not np.all(c) else (1 / c, _ZERO)))
Pow = _binary("pow", _power, "a ^ b in the type of a. Source: ONNX Pow.", same_dtype=False, formula=operator.pow)
Minimum = _binary("minimum", _plain(np.minimum), "The smaller element; NaN wins. Source: ONNX Min.", exact=True)
Maximum = _binary("maximum", _plain(np.maximum), "The larger element; NaN wins. Source: ONNX Max.", exact=True)
Mod = _binary("mod", _modulo, "Remainder of a / b. Source: ONNX Mod.", attributes={"fmod": 0})
Equal = _binary("equal", _plain(np.equal), "a == b. Source: ONNX Equal.", accepts=NUMBERS | _BOOL, base=Comparison)
Less = _binary("less", _plain(np.less), "a < b. Source: ONNX Less.", base=Comparison)
Greater = _binary("greater", _plain(np.greater), "a > b. Source: ONNX Greater.", base=Comparison)
LessEqual = _binary("less_equal", _plain(np.less_equal), "a <= b. Source: ONNX LessOrEqual.", base=Comparison)
GreaterEqual = _binary("greater_equal", _plain(np.greater_equal), "a >= b. Source: ONNX GreaterOrEqual.",
                       base=Comparison)
LogicalAnd = _binary("logical_and", _plain(np.logical_and), "Both. Source: ONNX And.", accepts=_BOOL, output="bool")
LogicalOr = _binary("logical_or", _plain(np.logical_or), "Any. Source: ONNX Or.", accepts=_BOOL, output="bool")
LogicalXor = _binary("logical_xor", _plain(np.logical_xor), "One. Source: ONNX Xor.", accepts=_BOOL, output="bool")


class Prelu(LayerKind):
    """x where x >= 0, else slope x; the slope broadcasts to x, trailing axes aligned. Source: ONNX PRelu."""

    name = "prelu"
    elementwise = True
    outline = same_outline
    attributes = {}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, slope = take(inputs, 2)
        check_dtype("x", x, NUMBERS)
        check_same_dtype(x, slope)
        if not broadcasts_to(slope.shape, x.shape):
            raise ShapeError(f"slope is {slope}: it does not broadcast to x, {x}")
        return [x]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, slope = widen(*take(inputs, 2))
        return [as_type(np.where(x >= 0, x, slope * x), inputs[0].dtype)]


class Identity(Mover):
    """y = x. Source: ONNX Identity."""

    name = "identity"
    elementwise = True
    outline = same_outline
    attributes = {}

    def hands_on(self, attrs: Mapping[str, Any], same: bool) -> bool:
        return True

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        return take(inputs, 1)

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        return take(inputs, 1)


class Cast(LayerKind):
    """x in another element type. Source: ONNX Cast.

    `dtype`: f16 bf16 f32 f64 i8 ... u64 bool. `through`: f16 or bf16, to which x is rounded first: the value then stands for
    one of that type. `source`: bf16 where x has that type, which NumPy lacks: x then is an array of its bits.
    Floats are rounded to the nearest, ties to even, and what is too large becomes infinite; floats become integers by
    cutting towards zero, integers smaller ones by dropping high bits; what is not zero is true, NaN too. A float outside
    the range of an integer type, or NaN, gives an undefined integer, as in ONNX: here what the processor's conversion
    gives.
    """

    name = "cast"
    elementwise = True
    outline = same_outline
    exact = True
    per_element = 0
    attributes = {"dtype": None, "through": "", "source": ""}

    def hands_on(self, attrs: Mapping[str, Any], same: bool) -> bool:
        return same and not attrs.get("through")

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        word("through", attrs["through"], ("", *HALVES))
        word("source", attrs["source"], ("", "bf16"))
        # Where only an array is known, bits of bf16 look like u16.
        if x.dtype not in (("bf16", "u16") if attrs["source"] else NUMBERS | _BOOL):
            raise ModelError(f"attribute source={attrs['source']!r} on {x}: expected bf16 for a value of bf16, and only there")
        return [TensorSpec(word("dtype", attrs["dtype"], sorted(NUMBERS | _BOOL | {"bf16"})), x.shape)]

    def on_sizes(self, attrs: Mapping[str, Any], arrays: list[Any], inputs: list[Any]) -> list[Any] | None:
        return None if attrs["through"] or attrs["source"] or attrs["dtype"] == "bool" else arrays

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        if attrs["source"]:
            x = from_bf16(x)
        if attrs["through"]:
            x = rounded(x, attrs["through"])
        return [to_bf16(x) if attrs["dtype"] == "bf16" else as_type(x, numpy_dtype(attrs["dtype"]))]

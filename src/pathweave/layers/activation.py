"""Functions of one element: activations (also used as epilogues), elementary functions, tests."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..net.net import TensorSpec
from . import LayerKind
from ._common import FLOATS, NUMBERS, SIGNED, as_type, check_dtype, numbers, same_outline, take, widen


class Unary(LayerKind):
    """A function of one element; `function(x, *attributes in order)` gets an array in the arithmetic's precision."""

    attributes: dict[str, float] = {}
    elementwise = True
    accepts = FLOATS
    output = ""  # element type of the output; "" = that of the input

    #: function(x, *attributes in order)
    function: Callable[..., np.ndarray]

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_dtype("x", x, self.accepts)
        numbers(attrs, *self.attributes)
        return [TensorSpec(self.output or x.dtype, x.shape)]

    outline = same_outline

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        y = self.function(widen(x), *numbers(attrs, *self.attributes))
        return [as_type(y, np.bool_ if self.output == "bool" else x.dtype)]


class Activation(Unary):
    """A function of one element that may be an epilogue, with its attributes, all numbers, as parameters."""


def _sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _clip(x: np.ndarray, low: float, high: float) -> np.ndarray:
    if x.dtype.kind in "iu":
        limits = np.iinfo(x.dtype)
        low = limits.min if low <= limits.min else min(math.ceil(low), limits.max)
        high = limits.max if high >= limits.max else max(math.floor(high), limits.min)
    return np.minimum(np.maximum(x, low), high)


# Coefficients of fdlibm's s_erf.c (Sun Microsystems, 1993): error below one unit in the last place of a double.
_ERF_SMALL = ((1.28379167095512558561e-01, -3.25042107247001499370e-01, -2.84817495755985104766e-02,
               -5.77027029648944159157e-03, -2.37630166566501626084e-05),
              (1.0, 3.97917223959155352819e-01, 6.50222499887672944485e-02, 5.08130628187576562776e-03,
               1.32494738004321644526e-04, -3.96022827877536812320e-06))
_ERF_ONE = ((-2.36211856075265944077e-03, 4.14856118683748331666e-01, -3.72207876035701323847e-01,
             3.18346619901161753674e-01, -1.10894694282396677476e-01, 3.54783043256182359371e-02,
             -2.16637559486879084300e-03),
            (1.0, 1.06420880400844228286e-01, 5.40397917702171048937e-01, 7.18286544141962662868e-02,
             1.26171219808761642112e-01, 1.36370839120290507362e-02, 1.19844998467991074170e-02))
_ERF_MIDDLE = ((-9.86494403484714822705e-03, -6.93858572707181764372e-01, -1.05586262253232909814e+01,
                -6.23753324503260060396e+01, -1.62396669462573470355e+02, -1.84605092906711035994e+02,
                -8.12874355063065934246e+01, -9.81432934416914548592e+00),
               (1.0, 1.96512716674392571292e+01, 1.37657754143519042600e+02, 4.34565877475229228821e+02,
                6.45387271733267880336e+02, 4.29008140027567833386e+02, 1.08635005541779435134e+02,
                6.57024977031928170135e+00, -6.04244152148580987438e-02))
_ERF_LARGE = ((-9.86494292470009928597e-03, -7.99283237680523006574e-01, -1.77579549177547519889e+01,
               -1.60636384855821916062e+02, -6.37566443368389627722e+02, -1.02509513161107724954e+03,
               -4.83519191608651397019e+02),
              (1.0, 3.03380607434824582924e+01, 3.25792512996573918826e+02, 1.53672958608443695994e+03,
               3.19985821950859553908e+03, 2.55305040643316442583e+03, 4.74528541206955367215e+02,
               -2.24409524465858183362e+01))


def _ratio(z: np.ndarray, coefficients: tuple[Sequence[float], Sequence[float]]) -> np.ndarray:
    above, below = coefficients
    return np.polynomial.polynomial.polyval(z, above) / np.polynomial.polynomial.polyval(z, below)


def erf(x: np.ndarray) -> np.ndarray:
    """The error function, in float64 inside whatever comes in; NaN stays NaN."""
    x = np.asarray(x)
    v = np.atleast_1d(x).astype(np.float64)
    a = np.abs(v)
    y = np.where(np.isnan(a), a, 1.0)
    part = a < 0.84375
    y[part] = a[part] + a[part] * _ratio(a[part] ** 2, _ERF_SMALL)
    part = (a >= 0.84375) & (a < 1.25)
    y[part] = 8.45062911510467529297e-01 + _ratio(a[part] - 1, _ERF_ONE)
    for low, high, coefficients in ((1.25, 1 / 0.35, _ERF_MIDDLE), (1 / 0.35, 6.0, _ERF_LARGE)):
        part = (a >= low) & (a < high)
        s = a[part]
        y[part] = 1 - np.exp(-s * s - 0.5625 + _ratio(1 / (s * s), coefficients)) / s
    return np.copysign(y, v).reshape(x.shape).astype(x.dtype, copy=False)


def _gelu(x: np.ndarray, approximate: str) -> np.ndarray:
    if approximate:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def _expm1_below_zero(x: np.ndarray, scale: float, alpha: float) -> np.ndarray:
    """scale * (x > 0 ? x : alpha (e^x - 1)) without overflow."""
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


class Relu(Activation):
    """max(x, 0). Source: ONNX Relu."""

    name = "relu"
    exact = True
    accepts = NUMBERS

    @staticmethod
    def function(x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0)

    def clamp(self, attrs: Mapping[str, Any]) -> tuple[float, float] | None:
        return 0.0, math.inf


class Clip(Activation):
    """min(max(x, min), max); integers too. Source: ONNX Clip."""

    name = "clip"
    attributes = {"min": -math.inf, "max": math.inf}
    accepts = NUMBERS
    function = staticmethod(_clip)

    def hands_on(self, attrs: Mapping[str, Any], same: bool) -> bool:
        return self.clamp(attrs) == (-math.inf, math.inf)

    def clamp(self, attrs: Mapping[str, Any]) -> tuple[float, float] | None:
        return float(attrs.get("min", -math.inf)), float(attrs.get("max", math.inf))


class LeakyRelu(Activation):
    """x where x >= 0, else alpha x. Source: ONNX LeakyRelu."""

    name = "leaky_relu"
    attributes = {"alpha": 0.01}

    @staticmethod
    def function(x: np.ndarray, alpha: float) -> np.ndarray:
        return np.where(x >= 0, x, alpha * x)


class Sigmoid(Activation):
    """1 / (1 + e^-x). Source: ONNX Sigmoid."""

    name = "sigmoid"
    function = staticmethod(_sigmoid)


class HardSigmoid(Activation):
    """min(1, max(0, alpha x + beta)). Source: ONNX HardSigmoid."""

    name = "hard_sigmoid"
    attributes = {"alpha": 0.2, "beta": 0.5}

    @staticmethod
    def function(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
        return np.minimum(1, np.maximum(0, alpha * x + beta))


class HardSwish(Activation):
    """x min(1, max(0, x / 6 + 1 / 2)). Source: ONNX HardSwish."""

    name = "hard_swish"

    @staticmethod
    def function(x: np.ndarray) -> np.ndarray:
        return x * np.minimum(1, np.maximum(0, x / 6 + 0.5))


class Silu(Activation):
    """x / (1 + e^-x). Source: ONNX Swish with alpha 1."""

    name = "silu"

    @staticmethod
    def function(x: np.ndarray) -> np.ndarray:
        return x * _sigmoid(x)


class Gelu(Activation):
    """x Phi(x); approximate=1: the tanh form. Source: ONNX Gelu."""

    name = "gelu"
    attributes = {"approximate": 0}
    function = staticmethod(_gelu)


class Tanh(Activation):
    """Hyperbolic tangent. Source: ONNX Tanh."""

    name = "tanh"
    function = staticmethod(np.tanh)


class Elu(Activation):
    """x where x > 0, else alpha (e^x - 1). Source: ONNX Elu."""

    name = "elu"
    attributes = {"alpha": 1.0}

    @staticmethod
    def function(x: np.ndarray, alpha: float) -> np.ndarray:
        return _expm1_below_zero(x, 1.0, alpha)


class Selu(Activation):
    """gamma (x where x > 0, else alpha (e^x - 1)). Source: ONNX Selu."""

    name = "selu"
    attributes = {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}

    @staticmethod
    def function(x: np.ndarray, alpha: float, gamma: float) -> np.ndarray:
        return _expm1_below_zero(x, gamma, alpha)


class Celu(Activation):
    """max(0, x) + min(0, alpha (e^(x / alpha) - 1)). Source: ONNX Celu."""

    name = "celu"
    attributes = {"alpha": 1.0}

    @staticmethod
    def function(x: np.ndarray, alpha: float) -> np.ndarray:
        return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(np.minimum(x / alpha, 0) if alpha > 0 else x / alpha))


class Softplus(Activation):
    """log(1 + e^x). Source: ONNX Softplus."""

    name = "softplus"
    function = staticmethod(_softplus)


class Softsign(Activation):
    """x / (1 + |x|). Source: ONNX Softsign."""

    name = "softsign"

    @staticmethod
    def function(x: np.ndarray) -> np.ndarray:
        return x / (1 + np.abs(x))


class Mish(Activation):
    """x tanh(log(1 + e^x)). Source: ONNX Mish."""

    name = "mish"

    @staticmethod
    def function(x: np.ndarray) -> np.ndarray:
        return x * np.tanh(_softplus(x))


class ThresholdedRelu(Activation):
    """x where x > alpha, else 0. Source: ONNX ThresholdedRelu."""

    name = "thresholded_relu"
    attributes = {"alpha": 1.0}

    @staticmethod
    def function(x: np.ndarray, alpha: float) -> np.ndarray:
        return np.where(x > alpha, x, 0)


def _elementary(kind: str, f: Any, what: str, **members: Any) -> type[Unary]:
    return type(kind.title().replace("_", ""), (Unary,), {
        "name": kind, "function": staticmethod(f), "__module__": __name__,
        "__doc__": f"{what}. Source: ONNX {kind.title().replace('_', '')}.", **members})


Exp = _elementary("exp", np.exp, "e^x")
Log = _elementary("log", np.log, "Natural logarithm")
Sqrt = _elementary("sqrt", np.sqrt, "Square root")
Reciprocal = _elementary("reciprocal", lambda x: 1 / x, "1 / x")
Neg = _elementary("neg", np.negative, "-x", accepts=FLOATS | SIGNED, exact=True, formula=operator.neg)
Abs = _elementary("abs", np.abs, "|x|", accepts=NUMBERS, exact=True)
Floor = _elementary("floor", np.floor, "Largest integer not above x", exact=True)
Ceil = _elementary("ceil", np.ceil, "Smallest integer not below x", exact=True)
Round = _elementary("round", np.rint, "Nearest integer, halves to even", exact=True)
Sign = _elementary("sign", np.sign, "-1, 0 or 1", accepts=NUMBERS, exact=True)
Erf = _elementary("erf", erf, "Error function")
Sin = _elementary("sin", np.sin, "Sine, x in radians")
Cos = _elementary("cos", np.cos, "Cosine, x in radians")
LogicalNot = _elementary("logical_not", np.logical_not, "Not x", accepts=frozenset(("bool",)))
IsNan = _elementary("is_nan", np.isnan, "True where x is not a number", output="bool", exact=True)

"""Trigonometric and hyperbolic functions of one element and their inverses; sine, cosine and tanh stand in activation.py."""

from __future__ import annotations

import numpy as np

from .activation import _elementary


def _function(kind: str, f: object, what: str) -> type:
    return _elementary(kind, f, what, __module__=__name__)


Tan = _function("tan", np.tan, "Tangent, x in radians")
Asin = _function("asin", np.arcsin, "Inverse of the sine in radians, for x from -1 to 1")
Acos = _function("acos", np.arccos, "Inverse of the cosine in radians, for x from -1 to 1")
Atan = _function("atan", np.arctan, "Inverse of the tangent in radians")
Sinh = _function("sinh", np.sinh, "Hyperbolic sine")
Cosh = _function("cosh", np.cosh, "Hyperbolic cosine")
Asinh = _function("asinh", np.arcsinh, "Inverse of the hyperbolic sine")
Acosh = _function("acosh", np.arccosh, "Inverse of the hyperbolic cosine, for x from 1 on")
Atanh = _function("atanh", np.arctanh, "Inverse of the hyperbolic tangent, for x between -1 and 1")

"""Cases of trigonometric and hyperbolic functions and their inverses."""

from __future__ import annotations

from ...net.net import TensorSpec
from .. import case
from .activation import SHAPES

#: Kind -> words of the values that it is defined for, those without NaN first.
_VALUES = {
    "sin": ("wide", "special"), "cos": ("wide", "special"), "tan": ("normal", "special"), "asin": ("unit", "special"),
    "acos": ("unit", "special"), "atan": ("wide", "special"), "sinh": ("wide", "special"), "cosh": ("wide", "special"),
    "asinh": ("wide", "special"), "atanh": ("unit", "special"),
}

CASES = [
    *(case(kind, shape, values=(word,)) for kind, words in _VALUES.items() for shape in SHAPES
      for word in (words if shape == (4, 33) else words[:1])),
    *(case("acosh", shape, values=("ends:1.0,1.25,2.0,40.0,1e6,3e38",)) for shape in SHAPES),
    case("acosh", (4, 33), values=("special",)),
    # far from 0, where a multiple of pi/2 with more digits than a float has is subtracted
    *(case(kind, (3, 50), values=("ends:11999.0,-12001.0,1e5,-7e5,355.0,3e8,1.5e30,-3.4e38,22.0",))
      for kind in ("sin", "cos", "tan")),
    *(case(kind, (3, 50), values=("ends:0.5,-0.5,0.4375,-0.75,1e-6,-1e-30,1.0,-1.0,0.0",))
      for kind in ("asin", "acos", "atan", "sinh", "cosh", "asinh")),
    *(case(kind, (2, 30), values=("ends:88.5,-89.25,0.9,1e-4,-1.0",)) for kind in ("sinh", "cosh")),
    *(case(kind, TensorSpec(dtype, shape), values=(words[0],)) for kind, words in _VALUES.items() if kind not in ("sin", "cos")
      for dtype, shape in (("f64", (2, 3, 1, 5)), ("f16", (2, 19)))),
    *(case("acosh", TensorSpec(dtype, (2, 19)), values=("ends:1.0,1.25,2.0,40.0",)) for dtype in ("f64", "f16")),
    case("sin", (0, 4)),
]

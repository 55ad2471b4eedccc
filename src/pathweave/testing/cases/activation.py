"""Cases of functions of one element."""

from __future__ import annotations

from ...net.net import TensorSpec
from .. import Attrs, case

SHAPES = [(1, 16, 7, 7), (3, 17, 5, 6), (4, 33), ()]
_MORE_SHAPES = [(1, 1, 1, 1), (4, 1000), (33,), (2, 3, 5), (1, 24, 1, 1)]
_PARAMETERS: list[tuple[str, Attrs]] = [
    ("relu", {}), ("clip", {"min": 0.0, "max": 6.0}), ("clip", {"min": -0.75}), ("clip", {"max": 0.5}), ("clip", {}),
    ("leaky_relu", {}), ("leaky_relu", {"alpha": 0.25}), ("sigmoid", {}), ("hard_sigmoid", {}),
    ("hard_sigmoid", {"alpha": 1 / 6, "beta": 0.5}), ("hard_swish", {}), ("silu", {}), ("gelu", {}),
    ("gelu", {"approximate": 1}), ("tanh", {}), ("elu", {}), ("elu", {"alpha": 0.5}), ("selu", {}),
    ("selu", {"alpha": 1.5, "gamma": 1.25}), ("celu", {}), ("celu", {"alpha": 2.0}), ("softplus", {}), ("softsign", {}),
    ("mish", {}), ("thresholded_relu", {}), ("thresholded_relu", {"alpha": 0.25}), ("exp", {}), ("neg", {}),
    ("abs", {}),
    ("floor", {}), ("ceil", {}), ("round", {}), ("sign", {}), ("erf", {}), ("sin", {}), ("cos", {}),
]

CASES = [
    *(case(kind, shape, **attrs) for kind, attrs in _PARAMETERS for shape in SHAPES),
    *(case(kind, shape) for kind in ("relu", "hard_swish", "sigmoid", "silu", "tanh", "exp") for shape in _MORE_SHAPES),
    *(case(kind, (1, 24, 7, 7), values=("wide",), **attrs) for kind, attrs in _PARAMETERS if kind not in ("exp",)),
    *(case(kind, shape, values=("positive",)) for kind in ("log", "sqrt", "reciprocal") for shape in SHAPES),
    *(case(kind, (1, 16, 9, 9), epilogue=e) for kind in ("relu", "sigmoid", "tanh") for e in ("add", "add+relu")),
    *(case(kind, (1, 64, 28, 28)) for kind in ("relu", "hard_swish", "sigmoid")),
    case("is_nan", (3, 17), values=("special",)), case("logical_not", TensorSpec("bool", (3, 17))),
    *(case(kind, TensorSpec(t, (3, 17)), values=("integral",)) for kind in ("abs", "neg", "sign", "relu")
      for t in ("i32", "i64")),
    case("clip", TensorSpec("i32", (3, 17)), min=-20.0, max=30.0, values=("integral",)),
    case("clip", TensorSpec("u8", (3, 17)), min=10.0, values=("integral",)),
    case("abs", TensorSpec("u8", (3, 17))), case("sign", TensorSpec("u8", (3, 17))),
]

"""Functions of one element."""

from __future__ import annotations

import numpy as np

from pathweave.net.format import numpy_dtype


def _clip(g, case, a, names):
    dtype = case.inputs[0].dtype if case.kind == "clip" else "f32"  # else an epilogue
    limits = [g.array(v, numpy_dtype(dtype)) if np.isfinite(v) else "" for v in (a["min"], a["max"])]
    return g.node("Clip", [names[0], *limits])


def _gelu(g, case, a, names):
    return g.node("Gelu", names, approximate="tanh" if a["approximate"] else "none")


def _silu(g, case, a, names):
    return g.node("Mul", [names[0], *g.node("Sigmoid", names)])


OPERATORS = {
    "relu": "Relu", "leaky_relu": "LeakyRelu", "sigmoid": "Sigmoid", "hard_sigmoid": "HardSigmoid",
    "hard_swish": "HardSwish", "tanh": "Tanh", "elu": "Elu", "selu": "Selu", "celu": "Celu", "softplus": "Softplus",
    "softsign": "Softsign", "mish": "Mish", "thresholded_relu": "ThresholdedRelu", "clip": _clip, "gelu": _gelu,
    "silu": _silu, "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "reciprocal": "Reciprocal", "neg": "Neg", "abs": "Abs",
    "floor": "Floor", "ceil": "Ceil", "round": "Round", "sign": "Sign", "erf": "Erf", "sin": "Sin", "cos": "Cos",
    "logical_not": "Not", "is_nan": "IsNaN",
}

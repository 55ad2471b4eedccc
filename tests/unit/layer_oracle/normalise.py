"""Normalisation by statistics of some axes, and swish."""

from __future__ import annotations

import numpy as np

from pathweave.net.format import numpy_dtype


def _number(g, case, value):
    return g.array(value, numpy_dtype(case.inputs[0].dtype))


def axes_of(case, a):
    """The axes that a case normalises over."""
    rank = case.inputs[0].rank
    return sorted(x % rank for x in a["axes"]) or list(range(a["axis"] % rank, rank))


def scaled(g, y, scale="", bias=""):
    """y * scale + bias, as nodes."""
    y = g.node("Mul", [y, scale])[0] if scale else y
    return g.node("Add", [y, bias]) if bias else [y]


def _rms_norm(g, case, a, names):
    mean = g.node("ReduceMean", [*g.node("Mul", [names[0], names[0]]), g.array(axes_of(case, a))])
    root = g.node("Sqrt", g.node("Add", [*mean, _number(g, case, a["epsilon"])]))
    return scaled(g, *g.node("Div", [names[0], *root]), *names[1:])


def _group_norm(g, case, a, names):
    """Groups as channels of an instance normalisation whose scale is 1 and whose bias is 0."""
    shape, dtype = case.inputs[0].sizes, numpy_dtype(case.inputs[0].dtype)
    folded = g.node("Reshape", [names[0], g.array([shape[0], a["groups"], -1])])
    y = g.node("InstanceNormalization", [*folded, g.array(np.ones(a["groups"]), dtype), g.array(np.zeros(a["groups"]), dtype)],
               epsilon=a["epsilon"])
    y = g.node("Reshape", [*y, g.array(shape)])
    column = g.array([-1] + [1] * (len(shape) - 2))
    return scaled(g, *y, *(g.node("Reshape", [v, column])[0] for v in names[1:]))


def _mean_variance_norm(g, case, a, names):
    axes = g.array(sorted(x % case.inputs[0].rank for x in a["axes"]))
    centred = g.node("Sub", [names[0], *g.node("ReduceMean", [names[0], axes])])
    variance = g.node("ReduceMean", [*g.node("Mul", [*centred, *centred]), axes])
    return g.node("Div", [*centred, *g.node("Add", [*g.node("Sqrt", variance), _number(g, case, a["epsilon"])])])


def _lp_norm(g, case, a, names):
    norm = g.node("ReduceL1" if a["p"] == 1 else "ReduceL2", [names[0], g.array([a["axis"]])])
    return g.node("Div", [names[0], *g.node("Max", [*norm, _number(g, case, a["least"])])])


def _swish(g, case, a, names):
    return g.node("Mul", [names[0], *g.node("Sigmoid", g.node("Mul", [names[0], g.array(a["alpha"], np.float32)]))])


OPERATORS = {"rms_norm": _rms_norm, "group_norm": _group_norm, "mean_variance_norm": _mean_variance_norm, "lp_norm": _lp_norm,
             "swish": _swish}

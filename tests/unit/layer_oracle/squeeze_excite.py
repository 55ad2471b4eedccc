"""Squeeze-and-excite: its stages one after another."""

from __future__ import annotations

from ._stage import convolved


def _build(g, case, a, names):
    x, depthwise, depthwise_bias, squeeze, squeeze_bias, excite, excite_bias = names
    if depthwise:
        x = convolved(g, case, x, depthwise, depthwise_bias, a["depthwise"], strides=a["stride"], pads=a["pad"],
                      dilations=a["dilation"], group=case.inputs[1].shape[0])
    gate = g.node("GlobalAveragePool", [x])[0]
    gate = convolved(g, case, gate, squeeze, squeeze_bias, a["squeeze"])
    return g.node("Mul", [x, convolved(g, case, gate, excite, excite_bias, a["excite"])])


OPERATORS = {"squeeze_excite": _build}

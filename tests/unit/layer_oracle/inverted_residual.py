"""Inverted residual: its convolutions one after another."""

from __future__ import annotations

from ._stage import convolved


def _build(g, case, a, names):
    x, expand, expand_bias, depthwise, depthwise_bias, project, project_bias = names
    if expand:
        x = convolved(g, case, x, expand, expand_bias, a["expand"])
    x = convolved(g, case, x, depthwise, depthwise_bias, a["depthwise"] if project else "", strides=a["stride"],
                  pads=a["pad"], dilations=a["dilation"], group=case.inputs[3].shape[0])
    return [convolved(g, case, x, project, project_bias, "") if project else x]


OPERATORS = {"inverted_residual": _build}

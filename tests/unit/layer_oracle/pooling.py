"""Pooling over windows and over whole images."""

from __future__ import annotations


def _window(operator, **more):
    """`more`: attributes of the operator that the kind calls otherwise."""
    def build(g, case, a, names):
        return g.node(operator, names, kernel_shape=a["kernel"], ceil_mode=a["ceil"], strides=a["stride"], pads=a["pad"],
                      dilations=a["dilation"], **{theirs: a[ours] for theirs, ours in more.items()})
    return build


def _global(operator):
    def build(g, case, a, names):
        y = g.node(operator, names)
        return y if a["keepdims"] else g.node("Squeeze", [*y, g.array([2, 3])])
    return build


OPERATORS = {"max_pool2": _window("MaxPool"), "average_pool2": _window("AveragePool", count_include_pad="count_pad"),
             "lp_pool2": _window("LpPool", p="p"), "global_average_pool": _global("GlobalAveragePool"),
             "global_max_pool": _global("GlobalMaxPool")}

"""Windows over three axes, and pools that say where they found an element."""

from __future__ import annotations

from .conv import _conv, _conv_transpose
from .pooling import _window


def _indices(g, case, a, names):
    return g.node("MaxPool", names, 2, kernel_shape=a["kernel"], ceil_mode=a["ceil"], strides=a["stride"], pads=a["pad"],
                  dilations=a["dilation"], storage_order=a["column_major"])


def _unpool(g, case, a, names):
    shape = [g.array(a["shape"])] if a["shape"] else []
    return g.node("MaxUnpool", [*names, *shape], kernel_shape=a["kernel"], strides=a["stride"], pads=a["pad"])


OPERATORS = {"conv3": _conv, "conv_transpose3": _conv_transpose, "max_pool3": _window("MaxPool"),
             "average_pool3": _window("AveragePool", count_include_pad="count_pad"), "lp_pool3": _window("LpPool", p="p"),
             "max_pool_indices": _indices, "max_unpool": _unpool}

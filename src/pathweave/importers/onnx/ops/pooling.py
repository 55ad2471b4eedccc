"""Pooling over windows and over whole images."""

from __future__ import annotations

import numpy as np

from ..node import Node
from ._window import Window


def _kernel(n: Node) -> tuple[int, ...]:
    n.required(1)
    kernel = n.ints("kernel_shape", None)
    if not kernel:
        raise ValueError("attribute kernel_shape is missing")
    return kernel


def max_pool(n: Node) -> None:
    """MaxPool without its Indices."""
    n.no_outputs_after(1)
    n.ignore("storage_order")  # the order of Indices
    window = Window(n, _kernel(n))
    x, pad = window.input_and_pad(-np.inf)
    window.output("max_pool2", [x], _attrs(n, window, pad))


def _power(n: Node) -> int | float:
    """The p of a norm; at opset 1 it need not be whole."""
    p = n.float("p", 2.0) if n.version < 2 else n.int("p", 2)
    return int(p) if p == int(p) else p


def _whole_power(n: Node) -> int:
    p = _power(n)
    if not isinstance(p, int):
        n.unsupported(f"p is {p}; only whole numbers are supported")
    return p


def lp_pool(n: Node) -> None:
    """LpPool."""
    window = Window(n, _kernel(n))
    x, pad = window.input_and_pad()
    window.output("lp_pool2", [x], {**_attrs(n, window, pad), "p": _whole_power(n)})


def average_pool(n: Node) -> None:
    """AveragePool; SAME padding of an unknown size divides by an average of ones, so that padding does not count."""
    window = Window(n, _kernel(n))
    count_pad = n.int("count_include_pad")
    pad = window.pad()
    if pad is not None:
        x = window.widened(n.input(0))
        return window.output("average_pool2", [x], {**_attrs(n, window, pad), "count_pad": count_pad})
    x = window.widened(n.input(0))
    pads = window.dynamic_pads(x)
    attrs = {**_attrs(n, window, (0, 0, 0, 0)), "count_pad": 1}
    padded = n.emit("pad", [x, pads], {"mode": "constant", "value": 0.0})
    if count_pad:
        return window.output("average_pool2", [padded], attrs)
    size = n.emit("concat", [n.constant([1, 1]), n.emit("shape", [x], {"start": 2, "end": 4})], {"axis": 0})
    ones = n.emit("constant_of_shape", [size], {"value": 1.0, "dtype": n.dtype(x) or "f32"})
    share = n.emit("average_pool2", [n.emit("pad", [ones, pads], {"mode": "constant", "value": 0.0})], attrs)
    window.output("div", [n.emit("average_pool2", [padded], attrs), share], {})


def _attrs(n: Node, window: Window, pad) -> dict:
    return {"kernel": window.kernel, "stride": window.stride, "pad": pad, "dilation": window.dilation,
            "ceil": n.int("ceil_mode")}


def global_pool(kind: str, op: str):
    """A pool over all spatial axes: its own kind for images, a reduction for other ranks."""
    def operator(n: Node) -> None:
        n.required(1)
        x = n.input(0)
        rank = n.rank(x)
        if rank == 4:
            return n.emit(kind, [x], {"keepdims": 1}, last=True)
        n.emit("reduce", [x], {"op": op, "axes": tuple(range(2, rank)), "keepdims": 1}, last=True)
    return operator


def global_lp_pool(n: Node) -> None:
    """p-norm over all spatial axes."""
    n.required(1)
    x, p = n.input(0), _power(n)
    axes = tuple(range(2, n.rank(x)))
    if p in (1, 2):
        return n.emit("reduce", [x], {"op": f"l{p}", "axes": axes, "keepdims": 1}, last=True)
    if p < 1:
        raise ValueError(f"p is {p}, expected at least 1")
    powers = n.emit("pow", [n.emit("abs", [x]), n.number(p, x)])
    total = n.emit("reduce", [powers], {"op": "sum", "axes": axes, "keepdims": 1})
    n.emit("pow", [total, n.number(1 / p, x)], last=True)


OPERATORS = {
    "MaxPool": max_pool, "AveragePool": average_pool, "LpPool": lp_pool,
    "GlobalAveragePool": global_pool("global_average_pool", "mean"),
    "GlobalMaxPool": global_pool("global_max_pool", "max"), "GlobalLpPool": global_lp_pool,
}

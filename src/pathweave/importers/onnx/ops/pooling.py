"""Pooling over windows and over whole images."""

from __future__ import annotations

import numpy as np

from ....net.format import numpy_dtype
from ..node import Node
from ._window import Window, explicit_pads


def _kernel(n: Node) -> tuple[int, ...]:
    n.required(1)
    kernel = n.ints("kernel_shape", None)
    if not kernel:
        raise ValueError("attribute kernel_shape is missing")
    return kernel


def max_pool(n: Node) -> None:
    """MaxPool; where its Indices are read, in the operator's own rank."""
    window = Window(n, _kernel(n))
    order = n.int("storage_order")
    if n.reads_output(1):
        return _with_indices(n, window, order)
    kind = n.dtype(n.input(0)) or "f32"
    least = -np.inf if kind.startswith("f") else np.iinfo(numpy_dtype(kind)).min
    x, pad = window.input_and_pad(least)
    window.output(window.kind("max_pool"), [x], _attrs(n, window, pad))


def _with_indices(n: Node, window: Window, order: int) -> None:
    pad = window.own_pad()
    if pad is None:
        n.unsupported("auto_pad for a size that is not known before the run, where the indices (output 1) are read")
    attrs = {"kernel": window.own_kernel, "stride": window.own_stride, "pad": pad, "dilation": window.own_dilation,
             "ceil": n.int("ceil_mode"), "column_major": order}
    n.emit("max_pool_indices", [n.input(0)], attrs, last=True, count=2)


def max_unpool(n: Node) -> None:
    """MaxUnpool; the sizes of `output_shape` are those that the indices count in."""
    n.required(2)
    window = Window(n, _kernel(n))
    attrs = {"kernel": window.own_kernel, "stride": window.own_stride, "pad": explicit_pads(n, window.spatial)}
    n.emit("max_unpool", [n.input(0), n.input(1), n.input(2)], attrs, last=True)


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
    window.output(window.kind("lp_pool"), [x], {**_attrs(n, window, pad), "p": _whole_power(n)})


def average_pool(n: Node) -> None:
    """AveragePool; SAME padding of an unknown size divides by an average of ones, so that padding does not count."""
    window = Window(n, _kernel(n))
    count_pad = n.int("count_include_pad")
    pad = window.pad()
    if pad is not None:
        x = window.widened(n.input(0))
        return window.output(window.kind("average_pool"), [x], {**_attrs(n, window, pad), "count_pad": count_pad})
    x = window.widened(n.input(0))
    pads = window.dynamic_pads(x)
    attrs = {**_attrs(n, window, (0,) * 2 * window.axes), "count_pad": 1}
    padded = n.emit("pad", [x, pads], {"mode": "constant", "value": 0.0})
    if count_pad:
        return window.output(window.kind("average_pool"), [padded], attrs)
    size = n.emit("concat", [n.constant([1, 1]), n.emit("shape", [x], {"start": 2, "end": 2 + window.axes})], {"axis": 0})
    ones = n.emit("constant_of_shape", [size], {"value": 1.0, "dtype": n.dtype(x) or "f32"})
    share = n.emit(window.kind("average_pool"), [n.emit("pad", [ones, pads], {"mode": "constant", "value": 0.0})], attrs)
    window.output("div", [n.emit(window.kind("average_pool"), [padded], attrs), share], {})


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
    "MaxPool": max_pool, "MaxUnpool": max_unpool, "AveragePool": average_pool, "LpPool": lp_pool,
    "GlobalAveragePool": global_pool("global_average_pool", "mean"),
    "GlobalMaxPool": global_pool("global_max_pool", "max"), "GlobalLpPool": global_lp_pool,
}

"""Reductions and extreme elements."""

from __future__ import annotations

from ..node import Node

#: Opset from which the axes are an input.
AXES_AS_INPUT = {"ReduceSum": 13}
AXES_AS_INPUT_OTHERS = 18


def reduce(op: str):
    """A reduction; axes from the attribute or, later, from an input."""
    def operator(n: Node) -> None:
        n.required(1)
        x = n.input(0)
        keepdims, noop = int(n.int("keepdims", 1) != 0), int(n.int("noop_with_empty_axes") != 0)
        if n.version < AXES_AS_INPUT.get(n.op, AXES_AS_INPUT_OTHERS):
            axes = n.ints("axes", None)
        elif n.varies(1):
            return n.emit("reduce", [x, n.input(1)], {"op": op, "keepdims": keepdims, "noop": noop}, last=True)
        else:
            axes = n.const_ints(1, "axes")
        if not axes and noop:
            return _elementwise(n, x, op)
        shape = n.shape(x)
        if shape is not None:
            axes = tuple(sorted(n.axis(a, len(shape)) for a in axes or range(len(shape))))
            if not axes:
                return _elementwise(n, x, op)
        attrs = {"op": op, "axes": tuple(axes or ()), "keepdims": keepdims}
        n.emit("reduce", [x], attrs, last=True)
    return operator


def _elementwise(n: Node, x: str, op: str) -> None:
    """A reduction over no axis: only what it does to each element is left."""
    if op in ("l1", "l2"):
        return n.emit("abs", [x], last=True)
    if op == "sum_square":
        return n.emit("mul", [x, x], last=True)
    if op == "log_sum":
        return n.emit("log", [x], last=True)
    n.alias(x)


def arg_extreme(kind: str):
    """ArgMax and ArgMin."""
    def operator(n: Node) -> None:
        n.required(1)
        x = n.input(0)
        attrs = {"axis": n.int("axis"), "keepdims": int(n.int("keepdims", 1) != 0),
                 "select_last": int(n.int("select_last_index") != 0)}
        n.emit(kind, [x], attrs, last=True)
    return operator


def top_k(n: Node) -> None:
    """The k largest or smallest elements and their indices."""
    n.required(1)
    attrs = {"axis": n.int("axis", -1), "largest": int(n.int("largest", 1) != 0),
             "sorted": int(n.int("sorted", 1) != 0)}
    if n.version < 10:
        return n.emit("topk", [n.input(0)], {**attrs, "k": n.int("k")}, last=True, count=2)
    n.required(2)
    n.emit("topk", [n.input(0), n.input(1)], attrs, last=True, count=2)


OPERATORS = {
    "ReduceSum": reduce("sum"), "ReduceMean": reduce("mean"), "ReduceMax": reduce("max"), "ReduceMin": reduce("min"),
    "ReduceProd": reduce("prod"), "ReduceL1": reduce("l1"), "ReduceL2": reduce("l2"),
    "ReduceSumSquare": reduce("sum_square"), "ReduceLogSum": reduce("log_sum"),
    "ReduceLogSumExp": reduce("log_sum_exp"), "ArgMax": arg_extreme("argmax"), "ArgMin": arg_extreme("argmin"),
    "TopK": top_k,
}

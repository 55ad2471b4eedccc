"""Operators that write at indices, cumulate along an axis, and select: ScatterElements, CumSum, OneHot, Unique, others."""

from __future__ import annotations

from ..node import Node

_REDUCTIONS = ("none", "add", "mul", "max", "min")


def _reduction(n: Node) -> str:
    reduction = n.text("reduction", "none")
    if reduction not in _REDUCTIONS:
        raise ValueError(f"reduction is {reduction!r}, expected one of {', '.join(_REDUCTIONS)}")
    return reduction


def scatter_elements(n: Node) -> None:
    """Elements at indices along an axis; Scatter is the same without a reduction."""
    n.required(3)
    n.emit("scatter_elements", [n.input(i) for i in range(3)], {"axis": n.int("axis"), "reduction": _reduction(n)}, last=True)


def scatter_nd(n: Node) -> None:
    """Slices at index vectors."""
    n.required(3)
    n.emit("scatter_nd", [n.input(i) for i in range(3)], {"reduction": _reduction(n)}, last=True)


def tensor_scatter(n: Node) -> None:
    """An update of a cache."""
    n.required(2)
    mode = n.text("mode", "linear")
    if mode not in ("linear", "circular"):
        raise ValueError(f"mode is {mode!r}, expected linear or circular")
    n.emit("tensor_scatter", [n.input(i) for i in range(3)], {"axis": n.int("axis", -2), "mode": mode}, last=True)


def cumulate(kind: str):
    """CumSum and CumProd; the axis is a constant or a value."""
    def operator(n: Node) -> None:
        n.required(2)
        attrs = {"exclusive": int(n.int("exclusive") != 0), "reverse": int(n.int("reverse") != 0)}
        n.emit(kind, [n.input(0), n.input(1)], attrs, last=True)
    return operator


def one_hot(n: Node) -> None:
    """One of two values at indices along a new axis; the depth is a constant or a value."""
    n.required(3)
    dtype = n.file_type(n.input(2))
    if dtype is not None:
        n.builder.types.declare(n.outputs[0], dtype)
    n.emit("onehot", [n.input(i) for i in range(3)], {"axis": n.int("axis", -1)}, last=True)


def trilu(n: Node) -> None:
    """The part of matrices above or below a diagonal."""
    n.required(1)
    n.emit("trilu", [n.input(0), n.input(1)], {"upper": int(n.int("upper", 1) != 0)}, last=True)


def eye_like(n: Node) -> None:
    """Ones on a diagonal of a matrix of zeros, of the input's element type unless `dtype` names one."""
    n.required(1)
    dtype = n.element_type(n.int("dtype")) if n.has("dtype") else n.file_type(n.input(0))
    attrs: dict[str, int | str] = {"k": n.int("k")}
    if dtype is not None:
        n.builder.types.declare(n.outputs[0], dtype)
        attrs["dtype"] = n.builder.types.net_type(dtype)
    n.emit("eye_like", [n.input(0)], attrs, last=True)


def reverse_sequence(n: Node) -> None:
    """The first slices of each sequence in reverse order."""
    n.required(2)
    attrs = {"batch_axis": n.int("batch_axis", 1), "time_axis": n.int("time_axis", 0)}
    n.emit("reverse_sequence", [n.input(0), n.input(1)], attrs, last=True)


def unique(n: Node) -> None:
    """Elements or slices that differ, with indices and counts."""
    n.required(1)
    attrs = {"sorted": int(n.int("sorted", 1) != 0), **({"axis": (n.int("axis"),)} if n.has("axis") else {})}
    n.emit("unique", [n.input(0)], attrs, last=True, count=4)


def non_max_suppression(n: Node) -> None:
    """Boxes that are kept; limits are constants or values."""
    n.required(2)
    n.emit("non_max_suppression", [n.input(i) for i in range(5)],
           {"center_point_box": int(n.int("center_point_box") != 0)}, last=True)


OPERATORS = {
    "ScatterElements": scatter_elements, "Scatter": scatter_elements, "ScatterND": scatter_nd, "TensorScatter": tensor_scatter,
    "CumSum": cumulate("cumsum"), "CumProd": cumulate("cumprod"), "OneHot": one_hot, "Trilu": trilu, "EyeLike": eye_like,
    "ReverseSequence": reverse_sequence, "Unique": unique, "NonMaxSuppression": non_max_suppression,
}

"""Matrix products and normalisation."""

from __future__ import annotations

import numpy as np

from ..node import Node
from .elementwise import BROADCASTS
from .normalise import statistics


def matmul(n: Node) -> None:
    """MatMul with NumPy's rules."""
    n.required(2)
    n.emit("matmul", [n.input(0), n.input(1)], last=True)


def gemm(n: Node) -> None:
    """alpha A' B' + beta C; constant B and C become the weights and the bias of a dense layer."""
    n.required(2)
    a, b, c = n.input(0), n.input(1), n.input(2)
    alpha, beta = n.float("alpha", 1.0), n.float("beta", 1.0)
    if n.version < BROADCASTS:
        n.ignore("broadcast")  # of C: without it C has the shape of the result already
    if n.int("transA"):
        a = n.emit("transpose", [a], {"perm": (1, 0)})
    b, c = n.computed(1) or b, n.computed(2) or c
    if b not in n.builder.constants or n.builder.constants[b].dtype.kind != "f":
        return _gemm_of_values(n, a, b, c, alpha, beta)
    weights = n.builder.constants[b]
    if weights.ndim != 2:
        raise ValueError(f"B has shape {list(weights.shape)}, expected rank 2")
    if not n.int("transB"):
        weights = np.ascontiguousarray(weights.T)
    if alpha != 1:
        weights = weights * weights.dtype.type(alpha)
    w = b if weights is n.builder.constants[b] else n.constant(weights)
    stated = n.builder.scales.get(b)
    if stated is not None and w != b and alpha == 1:
        n.builder.scale(w, stated if stated.axis is None else stated._replace(axis=1 - stated.axis))
    bias = n.builder.constants.get(c)
    if c and (bias is None or bias.size not in (1, weights.shape[0]) or bias.ndim > 2
              or (bias.ndim == 2 and bias.shape[0] != 1)):
        y = n.emit("dense", [a, w])
        return n.emit("add", [y, _scaled(n, c, beta)], last=True)
    if c and bias is not None and (beta != 1 or bias.shape != (weights.shape[0],)):
        # A new array only where something changes: equal biases of several layers stay one constant.
        row = (bias.reshape(-1) * bias.dtype.type(beta)).astype(bias.dtype)
        c = n.constant(np.ascontiguousarray(np.broadcast_to(row, (weights.shape[0],))))
    n.emit("dense", [a, w, c], last=True)


def _scaled(n: Node, value: str, factor: float) -> str:
    return value if factor == 1 else n.emit("mul", [value, n.number(factor, value)])


def _gemm_of_values(n: Node, a: str, b: str, c: str, alpha: float, beta: float) -> None:
    if n.int("transB"):
        b = n.emit("transpose", [b], {"perm": (1, 0)})
    y = n.emit("matmul", [a, b], last=alpha == 1 and not c)
    if alpha != 1:
        y = n.emit("mul", [y, n.number(alpha, y)], last=not c)
    if c:
        n.emit("add", [y, _scaled(n, c, beta)], last=True)


def batch_norm(n: Node) -> None:
    """Batch normalisation at inference; with parameters that are no constants, or one for each element (spatial=0 before
    opset 9), by arithmetic. With training_mode=1 by the statistics of its input, as nets with standardised weights have."""
    n.required(5)
    if n.int("training_mode"):
        return _batch_norm_of_own(n)
    n.ignore("momentum", "is_test")  # before opset 7; what is read of the outputs says the same
    n.no_outputs_after(1)
    if n.version in (7, 9) and any(n.outputs[1:]):
        n.builder.note("a BatchNormalization names the outputs of training, which nothing reads: it is computed as in "
                       "inference")
    x, epsilon = n.input(0), n.float("epsilon", 1e-5)
    parameters = [n.computed(i) or n.input(i) for i in range(1, 5)]
    if n.version >= 9 or n.int("spatial", 1) != 0:
        return n.emit("batch_norm", [x, *parameters], {"epsilon": epsilon}, last=True)
    scale, bias, mean, variance = parameters  # of every element
    deviation = n.emit("sqrt", [n.emit("add", [variance, n.number(epsilon, variance)])])
    factor = n.emit("div", [scale, deviation])
    n.emit("add", [n.emit("mul", [n.emit("sub", [x, mean]), factor]), bias], last=True)


def _batch_norm_of_own(n: Node) -> None:
    """By mean and population variance of the input over all axes but the channels; running ones where they are read."""
    x, epsilon, momentum = n.input(0), n.float("epsilon", 1e-5), n.float("momentum", 0.9)
    over = {"op": "mean", "axes": tuple(i for i in range(n.rank(x)) if i != 1)}
    mean = n.emit("reduce", [x], {**over, "keepdims": 0})
    centred = n.emit("sub", [x, n.emit("reduce", [x], {**over, "keepdims": 1})])
    variance = n.emit("reduce", [n.emit("mul", [centred, centred])], {**over, "keepdims": 0})
    scale, bias, *running = (n.computed(i) or n.input(i) for i in range(1, 5))
    n.emit("batch_norm", [x, scale, bias, mean, variance], {"epsilon": epsilon}, last=True)
    for i, (before, now) in enumerate(zip(running, (mean, variance)), 1):
        if n.reads_output(i):
            n.result(i, "add", [_scaled(n, before, momentum), _scaled(n, now, 1 - momentum)])


def instance_norm(n: Node) -> None:
    """Instance normalisation."""
    n.required(3)
    n.emit("instance_norm", [n.input(i) for i in range(3)], {"epsilon": n.float("epsilon", 1e-5)}, last=True)


def layer_norm(n: Node) -> None:
    """Layer normalisation; mean and inverse deviation, where somebody reads them, by layers of their own."""
    n.required(2)
    n.ignore("stash_type")  # the precision of what is in between: float32 and above here
    x, axis, epsilon = n.input(0), n.int("axis", -1), n.float("epsilon", 1e-5)
    n.emit("layer_norm", [x, n.input(1), n.input(2)], {"axis": axis, "epsilon": epsilon}, last=True)
    if n.reads_output(1) or n.reads_output(2):
        rank = n.rank(x)
        statistics(n, x, range(n.axis(axis, rank), rank), epsilon, 1, 2)


def group_norm(n: Node) -> None:
    """Group normalisation. Scale and bias are per group at opset 18 and per channel from opset 21 on."""
    n.required(3)
    n.ignore("stash_type")  # the precision of what is in between: float32 and above here
    x, groups = n.input(0), n.int("num_groups")
    if groups < 1:
        raise ValueError(f"num_groups is {groups}, expected 1 or more")
    parameters = [n.computed(i) or n.input(i) for i in (1, 2)]
    if n.version < 21:
        parameters = [_per_channel(n, v, x, groups) for v in parameters]
    n.emit("group_norm", [x, *parameters], {"groups": groups, "epsilon": n.float("epsilon", 1e-5)}, last=True)


def _per_channel(n: Node, value: str, x: str, groups: int) -> str:
    """The numbers of groups, each as often as its group has channels."""
    array, channels = n.builder.constants.get(value), n.size(x, 1)
    if array is not None and array.shape != (groups,):
        raise ValueError(f"num_groups={groups} and a scale or bias of shape {list(array.shape)} do not fit")
    if array is not None and channels is not None:
        if channels % groups:
            raise ValueError(f"num_groups={groups} does not divide the {channels} channels")
        return n.constant(np.repeat(array, channels // groups))
    each = n.emit("div", [n.emit("shape", [x], {"start": 1, "end": 2}), n.constant([groups])])
    shape = n.emit("concat", [n.constant([groups]), each], {"axis": 0})
    column = n.emit("reshape", [value, n.constant([groups, 1])], {})
    return n.emit("reshape", [n.emit("expand", [column, shape]), n.constant([-1])], {})


def lrn(n: Node) -> None:
    """Local response normalisation."""
    n.required(1)
    n.emit("lrn", [n.input(0)], {"size": n.int("size"), "alpha": n.float("alpha", 1e-4), "beta": n.float("beta", 0.75),
                                 "bias": n.float("bias", 1.0)}, last=True)


def det(n: Node) -> None:
    """Determinants of matrices."""
    n.required(1)
    n.emit("det", [n.input(0)], last=True)


OPERATORS = {
    "Det": det,
    "MatMul": matmul, "Gemm": gemm, "BatchNormalization": batch_norm, "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm, "GroupNormalization": group_norm, "LRN": lrn,
}

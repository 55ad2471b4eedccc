"""Matrix products and normalisation."""

from __future__ import annotations

import numpy as np

from ....net.size import MOST_RANK
from ..node import Node


def matmul(n: Node) -> None:
    """MatMul with NumPy's rules."""
    n.required(2)
    n.emit("matmul", [n.input(0), n.input(1)], last=True)


def gemm(n: Node) -> None:
    """alpha A' B' + beta C; constant B and C become the weights and the bias of a dense layer."""
    n.required(2)
    a, b, c = n.input(0), n.input(1), n.input(2)
    alpha, beta = n.float("alpha", 1.0), n.float("beta", 1.0)
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
    """Batch normalisation at inference."""
    n.required(5)
    if n.int("training_mode"):
        n.unsupported("training_mode=1; export the model for inference")
    if n.version < 9 and n.int("spatial", 1) != 1:
        n.unsupported("spatial=0")
    n.ignore("momentum")
    n.no_outputs_after(1)
    parameters = [n.const_name(i, what) for i, what in enumerate(("scale", "bias", "mean", "variance"), 1)]
    n.emit("batch_norm", [n.input(0), *parameters], {"epsilon": n.float("epsilon", 1e-5)}, last=True)


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
    if not (n.reads_output(1) or n.reads_output(2)):
        return
    rank = n.rank(x)
    axes = {"axes": tuple(range(n.axis(axis, rank), rank)), "keepdims": 1}
    mean = n.emit("reduce", [x], {"op": "mean", **axes})
    centred = n.emit("sub", [x, mean])
    variance = n.emit("reduce", [n.emit("mul", [centred, centred])], {"op": "mean", **axes})
    deviation = n.emit("sqrt", [n.emit("add", [variance, n.number(epsilon, x)])])
    n.result(1, "identity", [mean])
    n.result(2, "reciprocal", [deviation])


def group_norm(n: Node) -> None:
    """Group normalisation as instance normalisation of channels folded into groups, then scale and bias.

    Scale and bias are per group at opset 18 and per channel from opset 21 on.
    """
    n.required(3)
    n.ignore("stash_type")
    x, groups = n.input(0), n.int("num_groups")
    names = [n.const_name(i, what) for i, what in ((1, "scale"), (2, "bias"))]
    scale, bias = (n.builder.constants[v] for v in names)
    if groups < 1 or scale.ndim != 1 or scale.shape != bias.shape:
        raise ValueError(f"num_groups={groups}, scale {list(scale.shape)}, bias {list(bias.shape)} do not fit")
    shape = n.emit("shape", [x])
    batch, rest = (n.emit("slice", [shape], {"starts": (a,), "ends": (b,), "axes": (0,), "steps": (1,)})
                   for a, b in ((0, 1), (1, MOST_RANK)))
    elements = n.emit("div", [n.emit("reduce", [rest], {"op": "prod", "axes": (0,), "keepdims": 1}), n.constant([groups])])
    inner = n.emit("concat", [batch, n.constant([groups]), elements], {"axis": 0})
    folded = n.emit("reshape", [x, inner], {"allowzero": 1})
    one, zero = n.constant(np.ones(groups, scale.dtype)), n.constant(np.zeros(groups, scale.dtype))
    epsilon = {"epsilon": n.float("epsilon", 1e-5)}
    if n.version < 21:
        normal = n.emit("instance_norm", [folded, *names], epsilon)
        return n.emit("reshape", [normal, shape], {"allowzero": 1}, last=True)
    normal = n.emit("reshape", [n.emit("instance_norm", [folded, one, zero], epsilon), shape], {"allowzero": 1})
    n.emit("madd", [normal, *names], last=True)


def lrn(n: Node) -> None:
    """Local response normalisation."""
    n.required(1)
    n.emit("lrn", [n.input(0)], {"size": n.int("size"), "alpha": n.float("alpha", 1e-4), "beta": n.float("beta", 0.75),
                                 "bias": n.float("bias", 1.0)}, last=True)


OPERATORS = {
    "MatMul": matmul, "Gemm": gemm, "BatchNormalization": batch_norm, "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm, "GroupNormalization": group_norm, "LRN": lrn,
}

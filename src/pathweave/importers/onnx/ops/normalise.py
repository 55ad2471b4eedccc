"""Normalisation: RMSNormalization, LpNormalization, MeanVarianceNormalization, and those of com.microsoft."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..node import Node


def statistics(n: Node, x: str, axes: Sequence[int], epsilon: float, mean: int | None, inverse: int) -> None:
    """The optional outputs of a normalisation, by layers of their own where somebody reads them.

    `mean`: index of the output that is the mean, None where it is not taken out. `inverse`: index of the inverse deviation.
    """
    if not (n.reads_output(inverse) or mean is not None and n.reads_output(mean)):
        return
    over = {"axes": tuple(axes), "keepdims": 1}
    centred = x
    if mean is not None:
        average = n.emit("reduce", [x], {"op": "mean", **over})
        centred = n.emit("sub", [x, average])
        n.result(mean, "identity", [average])
    variance = n.emit("reduce", [n.emit("mul", [centred, centred])], {"op": "mean", **over})
    deviation = n.emit("sqrt", [n.emit("add", [variance, n.number(epsilon, x)])])
    n.result(inverse, "reciprocal", [deviation])


def rms_norm(n: Node) -> None:
    """RMSNormalization and SimplifiedLayerNormalization, which has the inverse deviation as an output."""
    n.required(2)
    n.ignore("stash_type")  # the precision of what is in between: float32 and above here
    x, axis, epsilon = n.input(0), n.int("axis", -1), n.float("epsilon", 1e-5)
    n.emit("rms_norm", [x, n.input(1)], {"axis": axis, "epsilon": epsilon}, last=True)
    if n.reads_output(1):
        rank = n.rank(x)
        statistics(n, x, range(n.axis(axis, rank), rank), epsilon, None, 1)


def _sum(n: Node, *values: str) -> str:
    total, *others = (v for v in values if v)
    for value in others:
        total = n.emit("add", [total, value])
    return total


def _skip(kind: str, parameters: int):
    """(input + skip + bias) and its normalisation; gamma and, where there are two parameters, beta lie before the bias."""
    def operator(n: Node) -> None:
        n.required(3)
        epsilon = n.float("epsilon", 1e-12)
        total = _sum(n, n.input(0), n.input(1), n.input(2 + parameters))
        n.emit(kind, [total, *(n.input(2 + i) for i in range(parameters))], {"axis": -1, "epsilon": epsilon}, last=True)
        n.result(3, "identity", [total])
        if n.reads_output(1) or n.reads_output(2):
            statistics(n, total, (n.rank(total) - 1,), epsilon, 1 if kind == "layer_norm" else None, 2)
            if kind != "layer_norm" and n.reads_output(1):
                n.unsupported("its output 'mean' is read, which it does not compute")
    return operator


def embed_layer_norm(n: Node) -> None:
    """Words, positions and segments looked up, added, and normalised; the mask's index is how many of its elements are 1."""
    n.required(1)
    if not (n.input(2) and n.input(3) and n.input(5)):
        raise ValueError("the embedding of words or of positions, or gamma, is absent")
    n.ignore("mask_index_type")
    ids, segments, mask, positions = n.input(0), n.input(1), n.input(7), n.input(8)
    words = n.emit("gather", [n.input(2), ids], {"axis": 0})
    if positions:
        places = n.emit("gather", [n.input(3), positions], {"axis": 0})
    else:
        length = n.emit("shape", [ids], {"start": 1, "end": 2})
        places = n.emit("slice", [n.input(3), n.constant([0]), length, n.constant([0])])
    total = n.emit("add", [words, places])
    if segments:
        total = n.emit("add", [total, n.emit("gather", [n.input(4), segments], {"axis": 0})])
    else:
        n.ignore_inputs(4)
    n.emit("layer_norm", [total, n.input(5), n.input(6)], {"axis": -1, "epsilon": n.float("epsilon", 1e-12)}, last=True)
    n.result(2, "identity", [total])
    if n.reads_output(1):
        counted = mask or ids
        ones = n.emit("equal", [counted, n.constant(np.array(1, np.int32))])
        found = n.emit("reduce", [n.emit("cast", [ones], {"dtype": "i32"})],
                       {"op": "sum", "axes": (1,), "keepdims": 0})
        found = found if mask else n.emit("mul", [found, n.constant(np.array(0, np.int32))])
        n.result(1, "identity", [found])


def _groups(n: Node, x: str, rank: int) -> None:
    """Group normalisation of a value, with the activation, as the node's output."""
    last = bool(n.int("channels_last", 1))
    activation = n.int("activation")
    if activation not in (0, 1):
        raise ValueError(f"activation is {activation}, expected 0 for none or 1 for silu")
    inputs = [n.emit("transpose", [x], {"perm": (0, rank - 1, *range(1, rank - 1))}) if last else x, n.input(1), n.input(2)]
    y = n.emit("group_norm", inputs, {"groups": n.int("groups"), "epsilon": n.float("epsilon", 1e-5)},
               last=not last and not activation)
    if activation:
        y = n.emit("silu", [y], last=not last)
    if last:
        n.emit("transpose", [y], {"perm": (0, *range(2, rank), 1)}, last=True)


def group_norm(n: Node) -> None:
    """GroupNorm of com.microsoft: channels last or not, with SiLU or not."""
    n.required(3)
    _groups(n, n.input(0), n.rank(n.input(0)))


def skip_group_norm(n: Node) -> None:
    """Group normalisation of x + skip + bias, which is the second output."""
    n.required(4)
    x, skip, bias = n.input(0), n.input(3), n.input(4)
    rank, last = n.rank(x), bool(n.int("channels_last", 1))
    space = tuple(range(1, rank - 1)) if last else tuple(range(2, rank))
    if n.rank(skip) == 2:
        skip = n.emit("unsqueeze", [skip], {"axes": space})
    if bias and not last:
        bias = n.emit("unsqueeze", [bias], {"axes": tuple(range(1, rank - 1))})
    total = _sum(n, x, skip, bias)
    _groups(n, total, rank)
    n.result(1, "identity", [total])


def mean_variance_norm(n: Node) -> None:
    """MeanVarianceNormalization; before opset 9 it named the axes by across_channels."""
    n.required(1)
    axes = n.ints("axes", (0, 2, 3))
    n.emit("mean_variance_norm", [n.input(0)], {"axes": axes}, last=True)


def lp_norm(n: Node) -> None:
    """LpNormalization."""
    n.required(1)
    n.emit("lp_norm", [n.input(0)], {"axis": n.int("axis", -1), "p": n.int("p", 2)}, last=True)


OPERATORS = {
    "RMSNormalization": rms_norm, "SimplifiedLayerNormalization": rms_norm,
    "com.microsoft:SimplifiedLayerNormalization": rms_norm,
    "com.microsoft:SkipLayerNormalization": _skip("layer_norm", 2),
    "com.microsoft:SkipSimplifiedLayerNormalization": _skip("rms_norm", 1),
    "com.microsoft:EmbedLayerNormalization": embed_layer_norm,
    "com.microsoft:GroupNorm": group_norm, "com.microsoft:SkipGroupNorm": skip_group_norm,
    "MeanVarianceNormalization": mean_variance_norm, "LpNormalization": lp_norm,
}

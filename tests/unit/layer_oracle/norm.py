"""Normalisation and per-channel affine maps."""

from __future__ import annotations


def _madd(g, case, a, names):
    rank = case.inputs[0].rank
    shaped = [names[i] if case.inputs[i].rank == 0 else
              g.node("Reshape", [names[i], g.array([-1] + [1] * (rank - 2))])[0] for i in (1, 2)]
    return g.node("Add", [*g.node("Mul", [names[0], shaped[0]]), shaped[1]])


OPERATORS = {"batch_norm": "BatchNormalization", "instance_norm": "InstanceNormalization",
             "layer_norm": "LayerNormalization", "lrn": "LRN", "madd": _madd}

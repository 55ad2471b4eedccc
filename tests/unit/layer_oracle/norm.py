"""Normalisation and per-channel affine maps."""

from __future__ import annotations

from pathweave.net.format import numpy_dtype

from .normalise import axes_of, scaled


def _madd(g, case, a, names):
    rank = case.inputs[0].rank
    shaped = [names[i] if case.inputs[i].rank == 0 else
              g.node("Reshape", [names[i], g.array([-1] + [1] * (rank - 2))])[0] for i in (1, 2)]
    return g.node("Add", [*g.node("Mul", [names[0], shaped[0]]), shaped[1]])


def _layer_norm(g, case, a, names):
    if not a["axes"] and len(names) > 1:
        return g.node("LayerNormalization", names, axis=a["axis"], epsilon=a["epsilon"])
    axes = g.array(axes_of(case, a))
    centred = g.node("Sub", [names[0], *g.node("ReduceMean", [names[0], axes])])
    variance = g.node("ReduceMean", [*g.node("Mul", [*centred, *centred]), axes])
    epsilon = g.array(a["epsilon"], numpy_dtype(case.inputs[0].dtype))
    return scaled(g, *g.node("Div", [*centred, *g.node("Sqrt", g.node("Add", [*variance, epsilon]))]), *names[1:])


def _lrn(g, case, a, names):
    """ONNX Runtime has it for images alone: other values become images of as many pixels."""
    rank = case.inputs[0].rank
    if rank == 4:
        return g.node("LRN", names, **a)
    image = g.node("Reshape", [names[0], g.array([0, 0, -1, 1] if rank > 2 else [0, 0, 1, 1])])
    return g.node("Reshape", [*g.node("LRN", image, **a), g.array(list(case.inputs[0].shape))])


OPERATORS = {"batch_norm": "BatchNormalization", "instance_norm": "InstanceNormalization",
             "layer_norm": _layer_norm, "lrn": _lrn, "madd": _madd}

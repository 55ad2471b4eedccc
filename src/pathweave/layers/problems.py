"""The problem of a layer: what its kind, the specs of the net and its weights make of it."""

from __future__ import annotations

from ..net.net import Layer, Net
from ..net.problem import Problem
from ..net.zeros import zeros_of
from . import kind_of


def problem_of(net: Net, layer: Layer, threads: int) -> Problem:
    """The problem of a layer of a net whose specs are inferred and bound, for a number of threads.

    Raises ModelError for a kind that does not exist, and InputError for a number of threads below 1 or too large.
    """
    kind = kind_of(layer.kind)
    weights = net.constants.get(layer.inputs[kind.weights]) if kind.weights is not None else None
    return Problem.make(layer.kind, [net.specs[v] if v else None for v in layer.inputs],
                        [v in net.constants for v in layer.inputs], [net.specs[v] for v in layer.outputs],
                        kind.complete(layer.attrs), layer.epilogue, threads, "" if weights is None else zeros_of(weights))

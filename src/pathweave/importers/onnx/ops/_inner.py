"""An operator of ONNX as part of another one, which adds something before or behind it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from ..node import Node


def emit_operator(n: Node, op: str, inputs: Sequence[str], part: str = "", version: int = 0) -> str:
    """Emit what an operator of ai.onnx becomes, with the attributes of this node; returns the name of its first output.

    `inputs`: names of values. `part`: ends the name of its layers, by default the operator's. `version`: opset, by default the
    model's.
    """
    from .. import operators
    inner = copy.copy(n)
    inner.op, inner.domain, inner.name = op, "", f"{n.name}/{part or op}"
    inner.version = version or n.conversion.opsets.get("", n.version)
    inner.given, inner.outputs = list(inputs), [n.builder.fresh(f"{n.name}:{op}")]
    inner._seen_inputs = set()
    n.builder.read.update(inner.outputs)
    operators()[op](inner)
    n.builder.types.follow(inner.given, inner.outputs, n.builder.dtype)
    return inner.outputs[0]


#: Activations that operators of com.microsoft have as an attribute: name -> (layer kind, its attributes in the order of
#: `activation_params`). Source: ONNX Runtime, ContribOperators.md, FusedConv and FusedGemm.
_ACTIVATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "Relu": ("relu", {}), "Tanh": ("tanh", {}), "Sigmoid": ("sigmoid", {}), "HardSwish": ("hard_swish", {}),
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}), "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "Clip": ("clip", {"min": float("-inf"), "max": float("inf")}), "Elu": ("elu", {"alpha": 1.0}),
    "Softplus": ("softplus", {}), "Softsign": ("softsign", {}), "ThresholdedRelu": ("thresholded_relu", {"alpha": 1.0}),
    "Gelu": ("gelu", {}), "QuickGelu": ("swish", {"alpha": 1.702}), "Silu": ("silu", {})}


def emit_activation(n: Node, value: str, parameters: Sequence[float]) -> None:
    """Make the node's output the activation of a value that its attribute `activation` names, or the value where it names none.

    `parameters`: of the activation, in order; those that are missing have ONNX's defaults.
    """
    name = n.text("activation")
    if not name:
        return n.alias(value)
    if name not in _ACTIVATIONS:
        n.unsupported(f"activation {name!r}; expected one of {', '.join(_ACTIVATIONS)}")
    kind, defaults = _ACTIVATIONS[name]
    n.emit(kind, [value], {**defaults, **dict(zip(defaults, map(float, parameters)))}, last=True)

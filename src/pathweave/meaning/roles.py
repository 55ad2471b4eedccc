"""The roles of the axes of every value of a net, from what its layers say."""

from __future__ import annotations

from collections.abc import Mapping

from ..layers import kind_of
from ..net.net import Layer, Net, TensorSpec
from ..net.roles import Roles, usual_roles


def roles_of(net: Net, specs: Mapping[str, TensorSpec]) -> dict[str, Roles]:
    """Roles of every value in `specs`: as the layer says that makes it, else as one that reads it, else `usual_roles`.

    What an element-wise layer makes has the roles of its first input of that rank.
    """
    made: dict[str, Roles] = {}
    read: dict[str, Roles] = {}
    for layer in net.layers:
        said_in, said_out = _said(layer, specs)
        for value, roles in zip(layer.inputs, said_in):
            if roles is not None and value in specs and len(roles) == specs[value].rank:
                read.setdefault(value, roles)
        for value, roles in zip(layer.outputs, said_out):
            if roles is not None and value in specs and len(roles) == specs[value].rank:
                made[value] = roles
        if not said_out and kind_of(layer.kind).elementwise and layer.outputs and layer.outputs[0] in specs:
            rank = specs[layer.outputs[0]].rank
            found = next((known for v in layer.inputs if (known := made.get(v) or read.get(v)) and len(known) == rank), None)
            if found:
                made[layer.outputs[0]] = found
    return {value: made.get(value) or read.get(value) or usual_roles(spec.rank) for value, spec in specs.items()}


def _said(layer: Layer, specs: Mapping[str, TensorSpec]) -> tuple[list[Roles | None], list[Roles | None]]:
    kind = kind_of(layer.kind)
    return kind.roles(kind.complete(layer.attrs), [specs.get(v) if v else None for v in layer.inputs])

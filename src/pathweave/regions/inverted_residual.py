"""Expand, depthwise, project: the blocks of MobileNets and their kin, as far as they are there."""

from __future__ import annotations

from collections.abc import Iterator

from ..layers import kind_of
from ..net.net import Layer, Net
from . import Region, activation_text, constant_weights, pointwise, region_name, weights_and_bias


def find(net: Net) -> Iterator[Region]:
    """Every depthwise convolution with the 1x1 convolution before it, after it, or both."""
    makers, users, outputs = net.producer(), net.consumers(), set(net.outputs)

    def private(value: str) -> bool:
        return value not in outputs and len(users.get(value, [])) == 1
    for layer in net.layers:
        if layer.kind != "depthwise_conv2" or not constant_weights(net, layer):
            continue
        before = makers.get(layer.inputs[0])
        if before and not (private(layer.inputs[0]) and not before.epilogue.add and pointwise(net, before)):
            before = None
        value = layer.outputs[0]
        after = users[value][0][0] if private(value) and not layer.epilogue.add else None
        if after and not (pointwise(net, after) and after.inputs[0] == value):
            after = None
        for expand, project in _parts(before, after):
            yield _region(expand, layer, project)


def _parts(before: Layer | None, after: Layer | None) -> list[tuple[Layer | None, Layer | None]]:
    """(expand, project) of the regions around one depthwise layer."""
    if before and after:
        return [(before, after), (before, None), (None, after)]
    return [(before, after)] if before or after else []


def _region(expand: Layer | None, depthwise: Layer, project: Layer | None) -> Region:
    members = [m for m in (expand, depthwise, project) if m]
    last = members[-1]
    geometry = kind_of("depthwise_conv2").complete(depthwise.attrs)
    attrs = {**geometry, "expand": activation_text(expand) if expand else "",
             "depthwise": activation_text(depthwise) if project else ""}
    inputs = (members[0].inputs[0], *weights_and_bias(expand), *weights_and_bias(depthwise), *weights_and_bias(project),
              *(last.inputs[-1:] if last.epilogue.add else ()))
    layer = Layer(region_name(members), "inverted_residual", inputs, last.outputs, attrs, last.epilogue)
    return Region(tuple(m.name for m in members), layer)

"""Expand, depthwise, project: the blocks of MobileNets and their kin, as far as they are there."""

from __future__ import annotations

from collections.abc import Iterator

from ..layers import kind_of
from ..net.net import Epilogue, Layer, Net
from . import Region, region_name


def find(net: Net) -> Iterator[Region]:
    """Every depthwise convolution with the 1x1 convolution before it, after it, or both."""
    makers, users = net.producer(), net.consumers()

    def private(value: str) -> bool:
        return value not in net.outputs and len(users.get(value, [])) == 1
    for layer in net.layers:
        if layer.kind != "depthwise_conv2" or not _constant(net, layer):
            continue
        before = makers.get(layer.inputs[0])
        if before and not (private(layer.inputs[0]) and not before.epilogue.add and _pointwise(net, before)):
            before = None
        value = layer.outputs[0]
        after = users[value][0][0] if private(value) and not layer.epilogue.add else None
        if after and not (_pointwise(net, after) and after.inputs[0] == value):
            after = None
        for expand, project in _parts(before, after):
            yield _region(expand, layer, project)


def _parts(before: Layer | None, after: Layer | None) -> list[tuple[Layer | None, Layer | None]]:
    """(expand, project) of the regions around one depthwise layer."""
    if before and after:
        return [(before, after), (before, None), (None, after)]
    return [(before, after)] if before or after else []


def _constant(net: Net, layer: Layer) -> bool:
    """True when weights and bias are constants."""
    body = layer.inputs[1:-1] if layer.epilogue.add else layer.inputs[1:]
    return all(not v or v in net.constants for v in body)


def _pointwise(net: Net, layer: Layer) -> bool:
    """True for a 1x1 convolution of stride 1 without padding and groups."""
    if layer.kind != "conv2" or layer.inputs[1] not in net.constants or not _constant(net, layer):
        return False
    attrs = kind_of("conv2").complete(layer.attrs)
    return (tuple(net.constants[layer.inputs[1]].shape[2:]) == (1, 1) and tuple(attrs["stride"]) == (1, 1) and
            not any(attrs["pad"]) and attrs["groups"] == 1)


def _weights(layer: Layer | None) -> tuple[str, str]:
    """Names of weights and bias, "" where they are absent."""
    if layer is None:
        return "", ""
    body = layer.inputs[:-1] if layer.epilogue.add else layer.inputs
    return body[1], body[2] if len(body) > 2 else ""


def _activation(layer: Layer) -> str:
    return str(Epilogue(False, layer.epilogue.act, layer.epilogue.params))


def _region(expand: Layer | None, depthwise: Layer, project: Layer | None) -> Region:
    members = [m for m in (expand, depthwise, project) if m]
    last = members[-1]
    geometry = kind_of("depthwise_conv2").complete(depthwise.attrs)
    attrs = {**geometry, "expand": _activation(expand) if expand else "",
             "depthwise": _activation(depthwise) if project else ""}
    inputs = (members[0].inputs[0], *_weights(expand), *_weights(depthwise), *_weights(project),
              *(last.inputs[-1:] if last.epilogue.add else ()))
    layer = Layer(region_name(members), "inverted_residual", inputs, last.outputs, attrs, last.epilogue)
    return Region(tuple(m.name for m in members), layer)

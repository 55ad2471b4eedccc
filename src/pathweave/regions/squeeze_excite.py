"""Squeeze-and-excite: mean of the channels, two small products, and the scaling; with the depthwise layer before it."""

from __future__ import annotations

from collections.abc import Iterator

from ..layers import kind_of
from ..net.net import Layer, Net
from . import Region, activation_text, constant_weights, pointwise, region_name, weights_and_bias


def find(net: Net) -> Iterator[Region]:
    """Every x * excite(squeeze(mean(x))), alone and with the depthwise convolution that makes x for it alone."""
    makers, users, outputs = net.producer(), net.consumers(), set(net.outputs)

    def inside(value: str, consumers: int = 1) -> bool:
        return value not in outputs and len(users.get(value, [])) == consumers
    for scale in net.layers:
        if scale.kind != "mul":
            continue
        for gate, x in (scale.inputs[:2], scale.inputs[1::-1]):
            excite = makers.get(gate)
            squeeze = makers.get(excite.inputs[0]) if excite and excite.inputs else None
            pool = makers.get(squeeze.inputs[0]) if squeeze and squeeze.inputs else None
            if not (pool and squeeze and excite):
                continue
            if not (pool.kind == "global_average_pool" and pool.inputs == (x,) and _keeps(pool)):
                continue
            products = (squeeze, excite)
            if not all(pointwise(net, p) and not p.epilogue.add for p in products) or not _a_factor_per_channel(net, products):
                continue
            if not all(inside(layer.outputs[0]) for layer in (pool, *products)) or _residual(scale) in (gate, x):
                continue
            yield _region(None, pool, squeeze, excite, scale, x)
            depthwise = makers.get(x)
            if depthwise and depthwise.kind == "depthwise_conv2" and not depthwise.epilogue.add and inside(x, 2) and \
                    constant_weights(net, depthwise):
                yield _region(depthwise, pool, squeeze, excite, scale, x)
            break


def _keeps(pool: Layer) -> bool:
    return bool(kind_of(pool.kind).complete(pool.attrs)["keepdims"])


def _a_factor_per_channel(net: Net, products: tuple[Layer, Layer]) -> bool:
    """False where one factor is broadcast over the channels, or the factors make several channels of one."""
    squeeze, excite = (net.constants[layer.inputs[1]].shape for layer in products)
    return excite[0] == squeeze[1]


def _residual(layer: Layer) -> str:
    return layer.inputs[-1] if layer.epilogue.add else ""


def _region(depthwise: Layer | None, pool: Layer, squeeze: Layer, excite: Layer, scale: Layer, x: str) -> Region:
    members = [m for m in (depthwise, pool, squeeze, excite, scale) if m]
    attrs = {"squeeze": activation_text(squeeze), "excite": activation_text(excite)}
    if depthwise:
        attrs |= kind_of("depthwise_conv2").complete(depthwise.attrs) | {"depthwise": activation_text(depthwise)}
    inputs = (depthwise.inputs[0] if depthwise else x, *weights_and_bias(depthwise), *weights_and_bias(squeeze),
              *weights_and_bias(excite), *(scale.inputs[-1:] if scale.epilogue.add else ()))
    layer = Layer(region_name(members), "squeeze_excite", inputs, scale.outputs, attrs, scale.epilogue)
    return Region(tuple(m.name for m in members), layer)

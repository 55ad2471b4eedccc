"""Squeeze-and-excite as one layer, with the depthwise convolution before it where there is one."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..net.net import TensorSpec
from . import LayerKind, apply_epilogue, kind_of
from ._common import POINTWISE, geometry, stage_activation, take


class SqueezeExcite(LayerKind):
    """y = x * g, where g has one factor per image and channel: two 1x1 convolutions of the channels' means.

    Inputs: x [N,C,H,W], depthwise w? [C,1,kh,kw] and b? [C], squeeze w [S,C,1,1] and b? [S], excite w [C,S,1,1] and
    b? [C] -> [N,C,OH,OW]. With a depthwise stage x is its output. `stride`, `pad`, `dilation`: of that stage.
    `depthwise`, `squeeze`, `excite`: activations after these stages, as the text of an epilogue
    ("hard_sigmoid:0.2:0.5", "" = none). Source: Hu et al. 2018, arXiv 1709.01507.
    """

    name = "squeeze_excite"
    attributes = {"stride": (1, 1), "pad": (0, 0, 0, 0), "dilation": (1, 1), "depthwise": "", "squeeze": "", "excite": ""}

    def infer(self, attrs, inputs):
        x, wd, bd, ws, bs, we, be = _inputs(inputs)
        for stage in ("depthwise", "squeeze", "excite"):
            stage_activation(attrs, stage)
        if wd is not None:
            (x,) = kind_of("depthwise_conv2").infer(geometry(attrs), [x, wd, bd])
        elif bd is not None or attrs["depthwise"]:
            raise ShapeError("a depthwise bias or activation without depthwise weights")
        for stage, w in (("squeeze", ws), ("excite", we)):
            if w.rank != 4 or tuple(w.shape[2:]) != (1, 1):
                raise ShapeError(f"{stage} w is {w}: expected a 1x1 kernel")
        (mean,) = kind_of("global_average_pool").infer({"keepdims": 1}, [x])
        (hidden,) = kind_of("conv2").infer(POINTWISE, [mean, ws, bs])
        (gate,) = kind_of("conv2").infer(POINTWISE, [hidden, we, be])
        if gate.shape != mean.shape:
            raise ShapeError(f"excite w is {we}: expected as many outputs as x has channels, {x.shape[1]}")
        return [x]

    def meaning(self, attrs, inputs):
        x, wd, bd, ws, bs, we, be = _inputs(inputs)
        conv2 = kind_of("conv2")
        if wd is not None:
            (x,) = kind_of("depthwise_conv2").meaning(geometry(attrs), [x, wd, bd])
            x = apply_epilogue(x, stage_activation(attrs, "depthwise"))
        (gate,) = kind_of("global_average_pool").meaning({"keepdims": 1}, [x])
        for stage, w, b in (("squeeze", ws, bs), ("excite", we, be)):
            (gate,) = conv2.meaning(POINTWISE, [gate, w, b])
            gate = apply_epilogue(gate, stage_activation(attrs, stage))
        return [x * gate]


def _inputs(inputs: list) -> list[TensorSpec | Any]:
    x, wd, bd, ws, bs, we, be = take(inputs, 1, 7)
    if ws is None or we is None:
        raise ShapeError("the weights of the squeeze or of the excite stage are absent")
    return [x, wd, bd, ws, bs, we, be]

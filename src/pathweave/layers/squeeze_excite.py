"""Squeeze-and-excite as one layer, with the depthwise convolution before it where there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ShapeError
from ..net.net import TensorSpec
from ..words import counted
from ._common import POINTWISE, Staged, geometry, same_shape, take


class SqueezeExcite(Staged):
    """y = x * g, where g has one factor per image and channel: two 1x1 convolutions of the channels' means.

    Inputs: x [N,C,H,W], depthwise w? [C,1,kh,kw] and b? [C], squeeze w [S,C,1,1] and b? [S], excite w [C,S,1,1] and
    b? [C] -> [N,C,OH,OW]. With a depthwise stage x is its output. `stride`, `pad`, `dilation`: of that stage.
    `depthwise`, `squeeze`, `excite`: activations after these stages, as the text of an epilogue
    ("hard_sigmoid:0.2:0.5", "" = none). Source: Hu et al. 2018, arXiv 1709.01507.
    """

    name = "squeeze_excite"
    space = 2
    attributes = {"stride": (1, 1), "pad": (0, 0, 0, 0), "dilation": (1, 1), "depthwise": "", "squeeze": "", "excite": ""}

    activations = ("depthwise", "squeeze", "excite")

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        _, wd, bd, ws, _, we, _ = take(inputs, 1, 7)
        if ws is None or we is None:
            raise ShapeError("the weights of the squeeze or of the excite stage are absent")
        if wd is None and (bd is not None or attrs["depthwise"]):
            raise ShapeError("a depthwise bias or activation without depthwise weights")
        for stage, w in (("squeeze", ws), ("excite", we)):
            if w.rank != 4 or not same_shape(w.shape[2:], (1, 1)):
                raise ShapeError(f"{stage} w is {w}: expected a 1x1 kernel")
        return super().infer(attrs, inputs)

    def stages(self, attrs: Mapping[str, Any], inputs: list[Any], stage: Callable[..., Any]) -> Any:
        x, wd, bd, ws, bs, we, be = take(inputs, 1, 7)
        if wd is not None:
            x = stage("depthwise_conv2", geometry(attrs), [x, wd, bd], "depthwise")
        mean = stage("global_average_pool", {"keepdims": 1}, [x])
        gate = stage("conv2", POINTWISE, [stage("conv2", POINTWISE, [mean, ws, bs], "squeeze"), we, be], "excite")
        if not same_shape(gate.shape, mean.shape):
            raise ShapeError(f"excite w has {counted(str(we.shape[0]), 'output')}: expected as many as x has channels, "
                             f"{x.shape[1]}")
        return stage("mul", {}, [x, gate])

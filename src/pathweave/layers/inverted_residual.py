"""Inverted residual: expand, depthwise, project as one layer, for routines that keep what lies between in cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ShapeError
from ..net.net import TensorSpec
from ._common import POINTWISE, Staged, geometry, same_shape, take


class InvertedResidual(Staged):
    """A 1x1 convolution, a depthwise one and a 1x1 convolution, one after another; the first or the last may be absent.

    Inputs: x [N,I,H,W], expand w? [C,I,1,1] and b? [C], depthwise w [C,1,kh,kw] and b? [C], project w? [O,C,1,1] and
    b? [O] -> [N,O,OH,OW]. Without expansion C = I, without projection O = C. `stride`, `pad`, `dilation`: of the
    depthwise stage. `expand`, `depthwise`: activations after these stages, as the text of an epilogue ("clip:0.0:6.0",
    "" = none); the last stage's is the layer's own epilogue. Source: Sandler et al. 2018, arXiv 1801.04381.
    """

    name = "inverted_residual"
    space = 2
    attributes = {"stride": (1, 1), "pad": (0, 0, 0, 0), "dilation": (1, 1), "expand": "", "depthwise": ""}

    activations = ("expand", "depthwise")

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        _, we, _, wd, _, wp, _ = take(inputs, 1, 7)
        if wd is None:
            raise ShapeError("the weights of the depthwise stage are absent")
        if we is None and wp is None:
            raise ShapeError("expected an expansion or a projection, got neither")
        for stage, w in (("expand", we), ("project", wp)):
            if w is not None and not same_shape(w.shape[2:], (1, 1)):
                raise ShapeError(f"{stage} w is {w}: expected a 1x1 kernel")
        return super().infer(attrs, inputs)

    def stages(self, attrs: Mapping[str, Any], inputs: list[Any], stage: Callable[..., Any]) -> Any:
        x, we, be, wd, bd, wp, bp = take(inputs, 1, 7)
        if we is not None:
            x = stage("conv2", POINTWISE, [x, we, be], "expand")
        if wp is None:
            return stage("depthwise_conv2", geometry(attrs), [x, wd, bd])
        return stage("conv2", POINTWISE, [stage("depthwise_conv2", geometry(attrs), [x, wd, bd], "depthwise"), wp, bp])

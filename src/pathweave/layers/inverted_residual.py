"""Inverted residual: expand, depthwise, project as one layer, for routines that keep what lies between in cache."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..net.net import TensorSpec
from . import LayerKind, apply_epilogue, kind_of
from ._common import POINTWISE, geometry, stage_activation, take


class InvertedResidual(LayerKind):
    """A 1x1 convolution, a depthwise one and a 1x1 convolution, one after another; the first or the last may be absent.

    Inputs: x [N,I,H,W], expand w? [C,I,1,1] and b? [C], depthwise w [C,1,kh,kw] and b? [C], project w? [O,C,1,1] and
    b? [O] -> [N,O,OH,OW]. Without expansion C = I, without projection O = C. `stride`, `pad`, `dilation`: of the
    depthwise stage. `expand`, `depthwise`: activations after these stages, as the text of an epilogue ("clip:0.0:6.0",
    "" = none); the last stage's is the layer's own epilogue. Source: Sandler et al. 2018, arXiv 1801.04381.
    """

    name = "inverted_residual"
    attributes = {"stride": (1, 1), "pad": (0, 0, 0, 0), "dilation": (1, 1), "expand": "", "depthwise": ""}

    def infer(self, attrs, inputs):
        x, we, be, wd, bd, wp, bp = _inputs(inputs)
        if we is None and wp is None:
            raise ShapeError("expected an expansion or a projection, got neither")
        for stage, w in (("expand", we), ("project", wp)):
            if w is not None and tuple(w.shape[2:]) != (1, 1):
                raise ShapeError(f"{stage} w is {w}: expected a 1x1 kernel")
        conv2, depthwise = kind_of("conv2"), kind_of("depthwise_conv2")
        for stage in ("expand", "depthwise"):
            stage_activation(attrs, stage)
        if we is not None:
            (x,) = conv2.infer(POINTWISE, [x, we, be])
        (x,) = depthwise.infer(geometry(attrs), [x, wd, bd])
        return conv2.infer(POINTWISE, [x, wp, bp]) if wp is not None else [x]

    def meaning(self, attrs, inputs):
        x, we, be, wd, bd, wp, bp = _inputs(inputs)
        conv2, depthwise = kind_of("conv2"), kind_of("depthwise_conv2")
        if we is not None:
            (x,) = conv2.meaning(POINTWISE, [x, we, be])
            x = apply_epilogue(x, stage_activation(attrs, "expand"))
        (x,) = depthwise.meaning(geometry(attrs), [x, wd, bd])
        if wp is None:
            return [x]
        return conv2.meaning(POINTWISE, [apply_epilogue(x, stage_activation(attrs, "depthwise")), wp, bp])


def _inputs(inputs: list) -> list[TensorSpec | Any]:
    x, we, be, wd, bd, wp, bp = take(inputs, 1, 7)
    if wd is None:
        raise ShapeError("the weights of the depthwise stage are absent")
    return [x, we, be, wd, bd, wp, bp]

"""Inverted residual: expand, depthwise, project as one layer, for routines that keep what lies between in cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ShapeError
from ..net.net import Epilogue, TensorSpec
from . import LayerKind, apply_epilogue, kind_of
from ._common import take

_POINTWISE = {"stride": (1, 1), "pad": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}


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
            _activation(attrs, stage)
        if we is not None:
            (x,) = conv2.infer(_POINTWISE, [x, we, be])
        (x,) = depthwise.infer(_geometry(attrs), [x, wd, bd])
        return conv2.infer(_POINTWISE, [x, wp, bp]) if wp is not None else [x]

    def meaning(self, attrs, inputs):
        x, we, be, wd, bd, wp, bp = _inputs(inputs)
        conv2, depthwise = kind_of("conv2"), kind_of("depthwise_conv2")
        if we is not None:
            (x,) = conv2.meaning(_POINTWISE, [x, we, be])
            x = apply_epilogue(x, _activation(attrs, "expand"))
        (x,) = depthwise.meaning(_geometry(attrs), [x, wd, bd])
        if wp is None:
            return [x]
        return conv2.meaning(_POINTWISE, [apply_epilogue(x, _activation(attrs, "depthwise")), wp, bp])


def _inputs(inputs: list) -> list[TensorSpec | Any]:
    x, we, be, wd, bd, wp, bp = take(inputs, 1, 7)
    if wd is None:
        raise ShapeError("the weights of the depthwise stage are absent")
    return [x, we, be, wd, bd, wp, bp]


def _geometry(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: attrs[name] for name in ("stride", "pad", "dilation")}


def _activation(attrs: Mapping[str, Any], stage: str) -> Epilogue:
    """The activation after a stage. Raises ShapeError where the last stage has one, or for anything but an activation."""
    epilogue = Epilogue.parse(attrs[stage])
    if epilogue.add:
        raise ShapeError(f"{stage}={attrs[stage]!r}: expected an activation, got a residual")
    if epilogue.act:
        kind_of(epilogue.act)
    return epilogue

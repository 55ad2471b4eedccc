"""Convolutions."""

from __future__ import annotations


def _conv(g, case, a, names):
    return g.node("Conv", names, group=a.get("groups", case.inputs[0].shape[1]), strides=a["stride"], pads=a["pad"],
                  dilations=a["dilation"])


def _conv_transpose(g, case, a, names):
    return g.node("ConvTranspose", names, group=a["groups"], strides=a["stride"], pads=a["pad"], dilations=a["dilation"],
                  output_padding=a["output_pad"])


OPERATORS = {"conv2": _conv, "depthwise_conv2": _conv, "conv_transpose2": _conv_transpose}

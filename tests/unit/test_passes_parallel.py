"""Branches of one image that are added up become one convolution; those that would cost more stay."""

from __future__ import annotations

import numpy as np
import pytest
from pass_sketch import Sketch, norm


@pytest.mark.parametrize("unbound", [True, False])
@pytest.mark.parametrize("kind", ["add", "sub"])
@pytest.mark.parametrize("turned", [True, False])
def test_a_small_kernel_goes_into_a_large_one(kind, turned, unbound):
    s = Sketch()
    parts = [s.conv("x", cout=6), s.conv("x", cout=6, k=1, pad=(0, 0, 0, 0))]
    assert s.check(s.op(kind, *parts[::-1 if turned else 1]), unbound=unbound) == ["conv2"]
    assert s.constants.keys() != s.result.constants.keys()


def test_a_block_of_repvgg_is_one_convolution():
    s = Sketch()
    three, one = s.conv("x", bias=False), s.conv("x", k=1, pad=(0, 0, 0, 0), bias=False)
    y = s.op("add", s.op("add", norm(s, three), norm(s, one)), norm(s, "x"))
    assert s.check(s.op("relu", y)) == ["conv2+relu"]


@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_of_mobileone_is_one_convolution(stride):
    s = Sketch()
    strides = {"stride": (stride, stride)}
    y = norm(s, s.op("depthwise_conv2", "x", s.weights(4, 1, 1, 1), **strides))
    for _ in range(4):
        y = s.op("add", norm(s, s.op("depthwise_conv2", "x", s.weights(4, 1, 3, 3), pad=(1, 1, 1, 1), **strides)), y)
    if stride == 1:
        y = s.op("add", y, norm(s, "x"))
    assert s.check(s.op("relu", y)) == ["depthwise_conv2+relu"]


def test_a_scaled_mixer_and_its_image_are_one_convolution():
    """x + (mixer(x) - norm(x)) * scale, as in FastViT."""
    s = Sketch()
    x = s.op("relu", "x")
    mixer = s.op("add", norm(s, s.op("depthwise_conv2", x, s.weights(4, 1, 3, 3), pad=(1, 1, 1, 1))), norm(s, x))
    y = s.op("add", x, s.op("mul", s.op("sub", mixer, norm(s, x)), s.weights(4, 1, 1)))
    assert s.check(y) == ["relu", "depthwise_conv2"]


@pytest.mark.parametrize("groups", [1, 2])
def test_one_filter_per_channel_goes_into_more_of_them(groups):
    s = Sketch()
    deep = s.op("depthwise_conv2", "x", s.weights(4, 1, 3, 3), s.weights(4), pad=(1, 1, 1, 1))
    assert s.check(s.op("add", s.conv("x", groups=groups), deep)) == ["conv2"]


def test_groups_go_into_groups_that_hold_them():
    s = Sketch(2, 8, 6, 5)
    y = s.op("sub", s.conv("x", cin=8, cout=16, groups=4), s.conv("x", cin=8, cout=16, groups=2))
    assert s.check(y) == ["conv2"]
    s = Sketch(2, 12, 6, 5)
    y = s.op("add", s.conv("x", cin=12, cout=12, groups=3), s.conv("x", cin=12, cout=12, groups=2))
    assert s.check(y) == ["conv2", "conv2+add"]


def test_lines_go_into_a_square_and_three_axes_are_taken_too():
    s = Sketch()
    y = s.op("add", s.conv("x"), s.op("conv2", "x", s.weights(4, 4, 1, 3), pad=(0, 1, 0, 1)))
    assert s.check(y) == ["conv2"]
    s = Sketch(1, 2, 3, 4, 5)
    y = s.op("conv3", "x", s.weights(2, 2, 3, 1, 3), pad=(1, 0, 1, 1, 0, 1))
    assert s.check(s.op("add", "x", y)) == ["conv3"]


@pytest.mark.parametrize("what", [
    "lines", "stride", "dilation", "sizes", "shared", "output", "wide", "other image", "act", "bias per column"])
def test_branches_stay_that_do_not_fit(what):
    s = Sketch(2, 4, 6, 6)
    a = s.conv("x")
    outputs = []
    if what == "lines":  # 1x3 and 3x1 would make nine taps of six
        a = s.op("conv2", "x", s.weights(4, 4, 1, 3), pad=(0, 1, 0, 1))
        b = s.op("conv2", "x", s.weights(4, 4, 3, 1), pad=(1, 0, 1, 0))
    elif what == "stride":
        b = s.conv("x", stride=(2, 2), k=1, pad=(3, 3, 2, 2))
    elif what == "dilation":
        b = s.conv("x", dilation=(2, 2), pad=(2, 2, 2, 2))
    elif what == "sizes":
        b = s.conv("x", cout=1)
    elif what == "shared":
        b = s.conv("x")
        outputs = [s.op("tanh", b)]
    elif what == "output":
        b = s.conv("x")
        outputs = [b]
    elif what == "wide":  # nine taps of one channel would make nine of all
        a, b = s.conv("x", k=1, pad=(0, 0, 0, 0)), s.op("depthwise_conv2", "x", s.weights(4, 1, 3, 3), pad=(1, 1, 1, 1))
    elif what == "other image":
        b = s.conv(s.op("relu", "x"))
    elif what == "act":
        b = s.op("relu", s.conv("x"))
    else:
        b = s.op("mul", "x", s.weights(6))
    found = s.check(s.op("add", a, b), *outputs)
    assert len(found) > 1 and sum("conv" in kind for kind in found) == (1 if what == "bias per column" else 2)


def test_weights_that_overflow_and_offsets_that_cancel_stay():
    s = Sketch()
    large = [s.const(np.full((4, 4, 1, 1), value), np.float32) for value in (3e38, 2e38)]
    s.inputs["x"] = (type(s.inputs["x"][0])("f32", (2, 4, 6, 5)), np.zeros((2, 4, 6, 5), np.float32))
    assert s.check(s.op("add", *(s.op("conv2", "x", w) for w in large))) == ["conv2", "conv2+add"]
    s = Sketch()
    parts = [s.op("conv2", "x", s.weights(4, 4, 1, 1), s.const(np.full(4, 1e6 * sign))) for sign in (1, -1)]
    assert s.check(s.op("add", *parts)) == ["conv2", "conv2+add"]

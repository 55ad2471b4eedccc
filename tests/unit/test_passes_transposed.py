"""conv_transpose2 of stride 1 becomes conv2, in float64 against the meaning of the layer that it was."""

from __future__ import annotations

import pytest
from pass_sketch import Sketch


@pytest.mark.parametrize("attrs", [
    {"pad": (1, 1, 1, 1)}, {"pad": (2, 0, 1, 2)}, {"pad": (2, 2, 2, 2)}, {"pad": (1, 1, 1, 1), "groups": 2},
    {"pad": (2, 3, 2, 3), "dilation": (2, 3)}, {"pad": (4, 2, 0, 2), "dilation": (2, 2), "output_pad": (0, 0)},
    {"pad": (3, 3, 3, 3), "dilation": (2, 2), "output_pad": (1, 1)},
])
def test_stride_1_becomes_a_convolution(attrs):
    s = Sketch()
    y = s.op("conv_transpose2", "x", s.weights(4, 8, 3, 3), s.weights(8 * attrs.get("groups", 1)), **attrs)
    assert s.check(y, unbound=True) == ["conv2"]


def test_kernels_of_two_sizes_and_none():
    s = Sketch()
    assert s.check(s.op("conv_transpose2", "x", s.weights(4, 9, 4, 1), pad=(2, 0, 1, 0)), unbound=True) == ["conv2"]
    s = Sketch()
    assert s.check(s.op("conv_transpose2", "x", s.weights(4, 9, 1, 1)), unbound=True) == ["conv2"]


def test_one_filter_per_channel():
    s = Sketch()
    y = s.op("conv_transpose2", "x", s.weights(4, 1, 3, 3), s.weights(4), pad=(1, 1, 1, 1), groups=4)
    assert s.check(s.op("relu", y), unbound=True) == ["depthwise_conv2+relu"]


@pytest.mark.parametrize("attrs", [
    {"stride": (2, 1), "pad": (1, 1, 1, 1)},
    {"pad": (1, 1, 1, 0)},  # the output is larger than the input
    {"pad": (3, 0, 0, 2)},  # the convolution's padding would be negative
    {"pad": (3, 2, 2, 2), "dilation": (2, 2), "output_pad": (1, 1)},
])
def test_it_stays(attrs):
    s = Sketch()
    assert s.check(s.op("conv_transpose2", "x", s.weights(4, 8, 3, 3), **attrs)) == ["conv_transpose2"]


@pytest.mark.parametrize("outputs, groups", [(3, 1), (2, 2)])
def test_few_outputs_stay(outputs, groups):
    s = Sketch()
    y = s.op("conv_transpose2", "x", s.weights(4, outputs, 3, 3), pad=(1, 1, 1, 1), groups=groups)
    assert s.check(y) == ["conv_transpose2"]


def test_computed_weights_stay():
    s = Sketch()
    w = s.op("tanh", s.input("w", 4, 8, 3, 3))
    assert s.check(s.op("conv_transpose2", "x", w, pad=(1, 1, 1, 1))) == ["tanh", "conv_transpose2"]

"""Passes over the forms that simplifiers and exporters of models give to dense layers, residuals, splits and gates."""

from __future__ import annotations

import numpy as np
import pytest
from pass_sketch import Sketch


def folded(s: Sketch, x: str, rows: tuple, back: tuple, *shapes: tuple, act: str = "") -> str:
    """reshape to rows, dense layers with biases and an activation between them, reshape back."""
    y = s.op("reshape", x, shape=rows)
    for i, (n, k) in enumerate(shapes):
        y = s.op("dense", y, s.weights(n, k), s.weights(n))
        y = s.op(act, y) if act and i + 1 < len(shapes) else y
    return s.op("reshape", y, shape=back)


def test_rows_are_unfolded_around_dense_layers():
    s = Sketch(2, 3, 4)
    assert s.check(s.op("add", folded(s, "x", (6, 4), (2, 3, 5), (5, 4)), s.input("r", 2, 3, 5))) == ["dense+add"]
    s = Sketch(2, 3, 4)
    assert s.check(s.op("gelu", folded(s, "x", (6, 4), (2, 3, 5), (5, 4)))) == ["dense+gelu:0.0"]
    s = Sketch(2, 3, 4)
    assert s.check(folded(s, "x", (6, 4), (2, 3, 4), (8, 4), (4, 8), act="gelu")) == ["dense+gelu:0.0", "dense"]
    s = Sketch(2, 3, 4)
    scaled = s.op("mul", s.op("dense", s.op("reshape", "x", shape=(6, 4)), s.weights(5, 4), s.weights(5)), s.weights(5))
    assert s.check(s.op("silu", s.op("reshape", scaled, shape=(2, 3, 5)))) == ["dense+silu"]


def test_rows_of_heads_meet_in_one_reshape():
    s = Sketch(2, 3, 2, 2)
    y = folded(s, s.op("reshape", "x", shape=(2, 3, 4)), (6, 4), (2, 3, 5), (5, 4))
    assert s.check(s.op("add", y, s.input("r", 2, 3, 5))) == ["reshape", "dense+add"]
    s = Sketch(2, 3, 4)
    heads = folded(s, "x", (6, 4), (2, 3, 2, 3), (6, 4))
    assert s.check(heads) == ["dense", "reshape"] and s.result.specs[s.result.layers[0].outputs[0]].shape == (2, 3, 6)


def test_rows_that_somebody_sees_stay():
    s = Sketch(2, 3, 4)
    rows = s.op("dense", s.op("reshape", "x", shape=(6, 4)), s.weights(5, 4))
    assert s.check(s.op("reshape", rows, shape=(2, 3, 5)), rows) == ["reshape", "dense", "reshape"]
    s = Sketch(2, 3, 4)
    assert s.check(folded(s, "x", (3, 8), (3, 5, 1), (5, 8))) == ["reshape", "dense", "reshape"]
    s = Sketch(2, 3, 4)
    total = s.op("softmax", s.op("dense", s.op("reshape", "x", shape=(6, 4)), s.weights(5, 4)), axis=0)
    assert s.check(s.op("reshape", total, shape=(2, 3, 5))) == ["reshape", "dense", "softmax", "reshape"]


def test_slices_that_share_a_value_out_are_a_split():
    def sliced(s: Sketch, *ranges: tuple, axis: int = 1) -> list[str]:
        return [s.op("slice", "x", starts=(a,), ends=(b,), axes=(axis,)) for a, b in ranges]
    s = Sketch(2, 7, 3)
    assert s.check(*sliced(s, (4, 2**40), (0, 3), (3, -3))) == ["split"]
    assert s.result.layers[0].attrs["sizes"] == (3, 1, 3)
    s = Sketch(2, 7, 3)
    assert s.check(*sliced(s, (0, 2), (2, 3), axis=-1)) == ["split"]
    for ranges in (((0, 3), (4, 7)), ((0, 4), (3, 7)), ((0, 3), (3, 6)), ((1, 3), (3, 7))):
        s = Sketch(2, 7, 3)
        assert s.check(*sliced(s, *ranges)) == ["slice", "slice"], ranges
    s = Sketch(2, 4, 3)
    stepped = [s.op("slice", "x", starts=(i,), ends=(4,), axes=(1,), steps=(2,)) for i in (0, 1)]
    assert s.check(*stepped) == ["slice", "slice"]


@pytest.mark.parametrize("adjusted", [True, False])
def test_joined_projections_are_divided_where_a_part_is_adjusted(adjusted):
    s = Sketch(2, 3, 4)
    parts = s.op("split", s.op("dense", "x", s.weights(9, 4)), outputs=3, axis=2, sizes=(4, 3, 2))
    biased = [s.op("add", v, s.weights(n)) if adjusted else v for v, n in zip(parts, (4, 3, 2))]
    assert s.check(*(s.op("exp", v) for v in biased)) == (["dense", "dense", "dense", "exp", "exp", "exp"] if adjusted else
                                                         ["dense", "split", "exp", "exp", "exp"])


def test_a_bias_behind_a_residual_goes_into_the_layer():
    s = Sketch(2, 3, 4)
    y = s.op("add", s.op("dense", "x", s.weights(5, 4)), s.input("r", 2, 3, 5))
    assert s.check(s.op("add", y, s.weights(5))) == ["dense+add"]
    s = Sketch(2, 3, 4)
    y = s.op("add", s.op("dense", "x", s.weights(5, 4), s.weights(5)), s.input("r", 2, 3, 5))
    assert s.check(s.op("relu", s.op("add", s.weights(5), y))) == ["dense+add+relu"]
    s = Sketch(2, 3, 4)
    y = s.op("add", s.op("dense", "x", s.weights(5, 4)), s.input("r", 2, 3, 5))
    assert s.check(s.op("mul", y, s.weights(5))) == ["dense+add", "mul"]


def test_a_residual_goes_to_the_longer_branch_in_any_order():
    for swapped in (False, True):
        s = Sketch()
        branches = {"short": lambda s=s: s.conv("x"), "long": lambda s=s: s.conv(s.op("relu", s.conv("x")))}
        made = {name: branches[name]() for name in sorted(branches, reverse=swapped)}
        assert sorted(s.check(s.op("add", made["short"], made["long"]))) == ["conv2", "conv2+add", "conv2+relu"]
        host = next(layer for layer in s.result.layers if layer.epilogue.add)
        assert any(layer.epilogue.act == "relu" and layer.outputs[0] == host.inputs[0] for layer in s.result.layers)


def test_swish_of_alpha_one_is_silu():
    s = Sketch()
    assert s.check(s.op("swish", s.conv("x"), alpha=1.0)) == ["conv2+silu"]
    s = Sketch()
    assert s.check(s.op("swish", s.conv("x"), alpha=1.702)) == ["conv2+swish:1.702"]


def test_relu_below_a_number_is_clip():
    for swapped in (False, True):
        s = Sketch()
        operands = (s.op("relu", s.conv("x")), s.const(6.0))
        assert s.check(s.op("minimum", *operands[::-1 if swapped else 1])) == ["conv2+clip:0.0:6.0"]
    s = Sketch()
    assert s.check(s.op("minimum", s.op("relu", "x"), s.const(-1.0))) == ["relu", "minimum"]
    s = Sketch()
    y = s.op("relu", "x")
    assert s.check(s.op("minimum", y, s.const(6.0)), y) == ["relu", "minimum"]


@pytest.mark.parametrize("kind", ["layer_norm", "rms_norm"])
def test_last_axes_are_told_by_the_first(kind):
    for axes, expected in (((2, 3), -2), ((-1,), -1), ((3, 2, 1), -3)):
        s = Sketch()
        bias = [s.weights(5)] if kind == "layer_norm" else []
        scale = s.weights(5)
        s.check(s.op(kind, "x", scale, *bias, axes=axes))
        attrs = s.result.layers[0].attrs
        assert attrs["axis"] == expected and not attrs.get("axes")
    s = Sketch()
    s.check(s.op(kind, "x", axes=(1,)))
    assert s.result.layers[0].attrs["axes"] == (1,)


@pytest.mark.parametrize("kind, gates", [("lstm", 4), ("gru", 3), ("rnn", 1)])
def test_zeros_as_first_states_go(kind, gates):
    for last in (0.0, 0.5):
        s = Sketch(3, 2, 4)
        states = [s.const(np.zeros((1, 2, 5)))] if kind == "lstm" else []
        states.append(s.const(np.full((1, 2, 5), last)))
        y = s.op(kind, "x", s.weights(1, gates * 5, 4), s.weights(1, gates * 5, 5), "", "", *states,
                 outputs=3 if kind == "lstm" else 2)
        s.check(y[0])
        inputs = s.result.layers[0].inputs
        assert len(inputs) == (3 if last == 0 else len(states) + 5) and (last == 0 or inputs[-1])

"""Passes that compute constants: none overflows or vanishes, none loses an axis, a scale, or the memory that layers share."""

from __future__ import annotations

import numpy as np
import pytest
from pass_sketch import Sketch

from pathweave.meaning.evaluate import evaluate
from pathweave.net.net import Layer, Net, TensorSpec
from pathweave.net.scales import make_scale
from pathweave.passes import bind, optimise

F32 = np.float32
#: Name -> (layers as (kind, operand, whether it is on the left), an input, the numbers that float32 gives).
CHAINS = {
    "large": ([("mul", 1e20, False)] * 2, [0, 1e-30, 1], [0, 1e10, np.inf]),
    "small": ([("mul", 1e-30, False)] * 2, [1e30, 3e38, 0], [1e-30, 3e-22, 0]),
    "reciprocal": ([("div", 1e-39, False), ("add", 1.0, False)], [0, 1e-30, 1], [1, 1e9, np.inf]),
    "rounding": ([("add", 12582912.0, False), ("sub", 12582912.0, False)], [0.3, 2.6, -1.7], [0, 3, -2]),
    "rounding to quarters": ([("mul", 4.0, False), ("add", 12582912.0, False), ("add", -12582912.0, False),
                              ("div", 4.0, False)], [0.3, 2.6, -1.7], [0.25, 2.5, -1.75]),
    "infinite": ([("sub", 1.0, True), ("mul", -np.inf, False)], [0, 0.5, -1], [-np.inf] * 3),
    "not a number": ([("add", np.nan, False), ("mul", 2.0, False)], [0, 1, 2], [np.nan] * 3),
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("weights", ["none", "before", "behind"])
def test_constants_that_are_no_numbers_are_not_made(name, weights):
    steps, x, wanted = CHAINS[name]
    if weights != "none" and name == "small":
        steps = [("mul", 1e20, False), *steps]  # products with weights may vanish, those that are as large as here do not
        x, wanted = [1e10, 1e18, 0], [1e-30, 1e-22, 0]
    layers, value, constants = [], "x", {"w": np.eye(3, dtype=F32)}

    def add(kind: str, *inputs: str) -> str:
        layers.append(Layer(f"l{len(layers)}", kind, inputs, (f"v{len(layers)}",), {}))
        return layers[-1].outputs[0]
    if weights == "before":
        value = add("dense", value, "w")
    for kind, number, left in steps:
        name = f"c{len(layers)}"
        constants[name] = np.asarray(number, F32)
        value = add(kind, name, value) if left else add(kind, value, name)
    if weights == "behind":
        value, constants["w"] = add("dense", value, "one"), np.eye(3, dtype=F32)
        constants["one"], x, wanted = np.ones((1, 1), F32), x[:1], wanted[:1]
    net = Net({"x": TensorSpec("f32", (1, len(x)))}, [value], layers, {k: v for k, v in constants.items()
                                                                       if any(k in layer.inputs for layer in layers)})
    for result in (optimise(net), bind(net), bind(optimise(net))):
        with np.errstate(all="ignore"):
            got = evaluate(result, {"x": np.array([x], F32)})[value]
        np.testing.assert_allclose(got[0], np.array(wanted, F32), rtol=1e-5)
        if weights == "behind" or name == "not a number":
            continue
        assert all(np.isfinite(c).all() for n, c in result.constants.items() if n not in constants)


def test_ordinary_numbers_are_merged_still():
    s = Sketch(2, 3)
    assert s.check(s.op("mul", s.op("add", "x", s.const(3.0)), s.const(1e-3))) == ["madd"]
    s = Sketch(2, 3)
    assert s.check(s.op("mul", s.op("dense", "x", s.weights(4, 3)), s.const(np.full(4, 1e-8)))) == ["dense"]


@pytest.mark.parametrize("one_at", range(5))
@pytest.mark.parametrize("rank", [1, 3])
def test_a_formula_of_constants_that_add_axes_keeps_them(one_at, rank):
    """x * (1 + erf(x / sqrt 2)) / 2 and clip(x + 3, 0, 6) / 6 of a vector, with one of the numbers as [1,1,1] or [1]."""
    for formula in ("gelu", "hard_sigmoid", "silu"):
        s = Sketch(5)
        count = iter(range(10))

        def number(value: float, s=s, count=count) -> str:
            return s.const(np.full((1,) * rank if next(count) == one_at else (), value))
        if formula == "gelu":
            inner = s.op("add", s.op("erf", s.op("div", "x", number(2 ** 0.5))), number(1.0))
            y = s.op("mul", s.op("mul", "x", inner), number(0.5))
        elif formula == "silu":
            y = s.op("mul", s.op("mul", "x", number(1.0)), s.op("sigmoid", "x"))
        else:
            y = s.op("div", s.op("clip", s.op("add", "x", number(3.0)), min=0.0, max=6.0), number(6.0))
        kinds = s.check(y)  # compares the shapes too
        if rank == 1:
            assert kinds == [formula]


def test_a_scale_moves_with_its_value():
    scale = make_scale((0.25, 0.5, 0.75), (1, 2, 3), axis=3)
    layers = [Layer("a", "transpose", ("x",), ("p",), {"perm": (0, 2, 3, 1)}), Layer("b", "relu", ("p",), ("q",), {}),
              Layer("c", "transpose", ("q",), ("r",), {"perm": (0, 3, 1, 2)}),
              Layer("d", "max_pool2", ("r",), ("y",), {"kernel": (2, 2)})]
    for value in "pq":
        result = optimise(Net({"x": TensorSpec("f32", ("N", 3, 4, 4))}, ["y"], layers, {}, scales={value: scale}))
        assert [layer.kind for layer in result.layers] == ["relu", "max_pool2"]
        wanted = result.layers[0].inputs[0] if value == "p" else result.layers[0].outputs[0]
        assert result.scales == {wanted: scale._replace(axis=1)}


def test_equal_values_of_different_scales_stay_two():
    layers = [Layer("a", "relu", ("x",), ("p",), {}), Layer("b", "relu", ("x",), ("q",), {}),
              Layer("c", "mul", ("p", "q"), ("y",), {})]
    for second, count in ((make_scale(0.5, 0), 3), (make_scale(0.1, 0), 2)):
        net = Net({"x": TensorSpec("f32", (2, 3))}, ["y"], layers, {}, scales={"p": make_scale(0.1, 0), "q": second})
        assert len(optimise(net).layers) == count


def test_weights_that_layers_share_stay_one_array():
    s = Sketch(2, 64)
    w, value = s.weights(64, 64), "x"  # 32 KiB: equal constants of up to 16 KiB are merged whatever they come from
    for _ in range(4):
        value = s.op("matmul", value, w)
    assert s.check(value) == ["dense"] * 4
    assert len(s.result.constants) == 1


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("mean, deviation", [(127.5, 58.0), (2015.0, 3.0), (101325.0, 300.0), (1.7e9, 1e5)])
def test_centred_values_keep_their_digits(mean, deviation, weights):
    """(x - mean) / deviation, and its product with weights, as accurate as class f32 demands; years lose nothing to 2015."""
    random = np.random.default_rng(0)
    x = (mean + deviation * random.standard_normal((64, 16))).astype(F32)
    constants = {"m": np.asarray(mean, F32), "s": np.asarray(deviation, F32)}
    layers = [Layer("sub", "sub", ("x", "m"), ("a",), {}), Layer("div", "div", ("a", "s"), ("b",), {})]
    expected = (x.astype(np.float64) - mean) / deviation
    if weights:
        constants["w"] = random.standard_normal((8, 16)).astype(F32)
        layers.append(Layer("dense", "dense", ("b", "w"), ("y",), {}))
        expected = expected @ constants["w"].T.astype(np.float64)
    net = Net({"x": TensorSpec("f32", x.shape)}, [layers[-1].outputs[0]], layers, constants)
    got = evaluate(bind(net), {"x": x})[net.outputs[0]]
    assert np.sqrt(np.mean((got - expected) ** 2) / np.mean(expected ** 2)) < 1e-5

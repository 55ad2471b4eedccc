"""Normalisations, activations and norms as exporters write them become one layer each, with the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from pass_sketch import Sketch

AXES = {"last": (-1,), "last two": (-2, -1), "positive": (3,), "channel": (1,)}


def root_of(s, square, axes, way, epsilon=1e-5):
    """(function of a value, which divides it by sqrt(mean of squares + epsilon)), spelled in one of several ways."""
    total = s.op("add", s.op("reduce", square, op="mean", axes=axes), s.const(epsilon))
    if way == "rsqrt":
        inverse = s.op("pow", total, s.const(-0.5))
    elif way == "pow":
        return lambda x: s.op("div", x, s.op("pow", total, s.const(0.5)))
    else:
        root = s.op("sqrt", total)
        if way == "div":
            return lambda x: s.op("div", x, root)
        inverse = s.op("reciprocal", root) if way == "reciprocal" else s.op("div", s.const(1.0), root)
    return lambda x: s.op("mul", inverse, x)


def layer_norm(s, x, axes, way, square="pow"):
    centred = s.op("sub", x, s.op("reduce", x, op="mean", axes=axes))
    squared = s.op("pow", centred, s.const(2.0)) if square == "pow" else s.op("mul", centred, centred)
    return root_of(s, squared, axes, way)(centred)


WAYS = ["div", "reciprocal", "one over", "rsqrt", "pow"]


@pytest.mark.parametrize("unbound", [False, True])
@pytest.mark.parametrize("axes", AXES.values(), ids=list(AXES))
@pytest.mark.parametrize("way", WAYS)
def test_layer_norm(way, axes, unbound):
    s = Sketch()
    assert s.check(layer_norm(s, "x", axes, way, "pow" if way == "div" else "mul"), unbound=unbound) == ["layer_norm"]


@pytest.mark.parametrize("axes", AXES.values(), ids=list(AXES))
@pytest.mark.parametrize("way", WAYS)
def test_rms_norm(way, axes):
    s = Sketch()
    assert s.check(root_of(s, s.op("mul", "x", "x"), axes, way)("x")) == ["rms_norm"]


@pytest.mark.parametrize("shape", [(5,), (1, 5), (1,), ()])
def test_scale_and_bias_go_into_the_norm(shape):
    s = Sketch()
    y = s.op("mul", s.weights(*shape), layer_norm(s, "x", (-1,), "div"))
    assert s.check(s.op("add", y, s.weights(*shape))) == ["layer_norm"]
    assert len(s.result.layers[0].inputs) == 3


def test_scales_one_after_the_other():
    s = Sketch()
    y = s.op("rms_norm", "x", s.weights(5), axis=-1)
    assert s.check(s.op("mul", s.op("mul", y, s.weights(5)), s.const(2.0))) == ["rms_norm"]


def test_scale_of_channels():
    s = Sketch()
    y = s.op("mul", layer_norm(s, "x", (1,), "div"), s.weights(4, 1, 1))
    assert s.check(s.op("add", y, s.weights(1, 4, 1, 1))) == ["layer_norm"]


@pytest.mark.parametrize("kind", ["layer_norm", "rms_norm", "instance_norm", "group_norm"])
@pytest.mark.parametrize("numbers", ["channels", "numbers"])
def test_madd(kind, numbers):
    s = Sketch()
    attrs = {"groups": 2} if kind == "group_norm" else {} if kind == "instance_norm" else {"axes": (1,)}
    shape = (4,) if numbers == "channels" else ()
    assert s.check(s.op("madd", s.op(kind, "x", **attrs), s.weights(*shape), s.weights(*shape))) == [kind]


def test_madd_along_another_axis_stays():
    s = Sketch()
    assert s.check(s.op("madd", s.op("rms_norm", "x", axis=-1), s.weights(4), s.weights(4))) == ["rms_norm", "madd"]


def test_scale_along_another_axis_stays():
    s = Sketch()
    assert s.check(s.op("mul", layer_norm(s, "x", (-1,), "div"), s.weights(6, 1)))[0] == "layer_norm"
    assert len(s.result.layers) == 2


def test_a_normalisation_that_is_seen_keeps_its_scale_apart():
    s = Sketch()
    y = s.op("rms_norm", "x", axis=-1)
    assert s.check(s.op("mul", y, s.weights(5)), s.op("tanh", y)) == ["rms_norm", "mul", "tanh"]


def test_a_value_as_scale():
    s = Sketch()
    s.input("g", 5)
    assert s.check(s.op("mul", layer_norm(s, "x", (-1,), "rsqrt"), "g")) == ["layer_norm"]


def test_a_scale_that_makes_the_value_larger_stays():
    s = Sketch(1, 1, 1, 5)
    assert s.check(s.op("mul", s.op("rms_norm", "x", axis=-1), s.weights(2, 3, 4, 5))) == ["rms_norm", "mul"]


@pytest.mark.parametrize("scale", [True, False])
def test_tensorflow(scale):
    """x * r + (bias - mean * r), as batch normalisation is written."""
    s = Sketch(2, 3, 8)
    mean = s.op("reduce", "x", op="mean", axes=(-1,))
    centred = s.op("sub", "x", mean)
    total = s.op("add", s.op("reduce", s.op("mul", centred, centred), op="mean", axes=(-1,)), s.const(1e-3))
    inverse = s.op("reciprocal", s.op("sqrt", total))
    if scale:
        inverse = s.op("mul", inverse, s.weights(8))
    rest = s.op("sub", s.weights(8), s.op("mul", mean, inverse))
    assert s.check(s.op("add", s.op("mul", "x", inverse), rest)) == ["layer_norm"]


@pytest.mark.parametrize("change", ["another mean", "another axis", "another value", "no epsilon", "another power"])
def test_what_is_no_layer_norm_stays(change):
    s = Sketch()
    s.input("z", 2, 4, 6, 5)
    axes = (-1,)
    centred = s.op("sub", "x", s.op("reduce", "z" if change == "another mean" else "x", op="mean",
                                    axes=(-2,) if change == "another axis" else axes))
    squared = s.op("pow", centred, s.const(4.0 if change == "another power" else 2.0))
    variance = s.op("reduce", squared, op="mean", axes=axes)
    total = variance if change == "no epsilon" else s.op("add", variance, s.const(1e-5))
    found = s.check(s.op("div", "z" if change == "another value" else centred, s.op("sqrt", total)))
    assert "layer_norm" not in found and ("rms_norm" in found) == (change in ("another mean", "another axis"))


@pytest.mark.parametrize("affine", ["", "mul", "mul add"])
def test_instance_norm_by_reductions(affine):
    s = Sketch()
    y = layer_norm(s, "x", (2, 3), "div")
    for kind in affine.split():
        y = s.op(kind, y, s.weights(4, 1, 1))
    assert s.check(y) == ["instance_norm"]


@pytest.mark.parametrize("by", ["channel", "last axis"])
def test_normalisation_of_sequences(by):
    """Of rank 3 the last axis may be that of channels, or space: the scale behind the norm tells."""
    s = Sketch(2, 4, 6)
    y = s.op("mul", layer_norm(s, "x", (2,), "div"), s.weights(*((4, 1) if by == "channel" else (6,))))
    assert s.check(y) == ["instance_norm" if by == "channel" else "layer_norm"]


@pytest.mark.parametrize("inner", ["instance_norm", "layer_norm", "five axes"])
def test_group_norm(inner):
    s = Sketch()
    shape = (2, 2, 2, 6, 5) if inner == "five axes" else (2, 2, -1)
    folded = s.op("reshape", "x", s.const(shape, np.int64))
    if inner == "instance_norm":
        y = s.op("instance_norm", folded, s.const(np.ones(2)), s.const(np.zeros(2)), epsilon=1e-3)
    elif inner == "layer_norm":
        y = s.op("layer_norm", folded, axes=(2,))
    else:
        y = layer_norm(s, folded, (2, 3, 4), "div")
    y = s.op("reshape", y, s.const((2, 4, 6, 5), np.int64))
    assert s.check(s.op("add", s.op("mul", y, s.weights(4, 1, 1)), s.weights(4, 1, 1))) == ["group_norm"]


def test_group_norm_with_a_scale_by_group():
    s = Sketch()
    folded = s.op("reshape", "x", s.const((2, 2, -1), np.int64))
    y = s.op("instance_norm", folded, s.weights(2), s.weights(2))
    assert s.check(s.op("reshape", y, s.const((2, 4, 6, 5), np.int64))) == ["group_norm"]


def test_reshapes_to_another_shape_stay():
    s = Sketch()
    folded = s.op("reshape", "x", s.const((2, 2, -1), np.int64))
    y = s.op("instance_norm", folded, s.weights(2), s.weights(2))
    assert "group_norm" not in s.check(s.op("reshape", y, s.const((2, 4, 5, 6), np.int64)))


@pytest.mark.parametrize("least", ["clip", "maximum"])
@pytest.mark.parametrize("norm", ["l2", "l1", "sum", "sum_square"])
@pytest.mark.parametrize("expanded", [False, True])
def test_lp_norm(norm, least, expanded):
    s = Sketch()
    over = {"axes": (1,), "keepdims": 1}
    if norm in ("l1", "l2"):
        y = s.op("reduce", "x", op=norm, **over)
    else:
        square = s.op("pow", "x", s.const(2.0)) if norm == "sum" else "x"
        y = s.op("sqrt", s.op("reduce", square, op=norm, **over))
    y = s.op("clip", y, min=1e-12) if least == "clip" else s.op("maximum", y, s.const(1e-12))
    if expanded:
        y = s.op("expand", y, s.const((2, 4, 6, 5), np.int64))
    assert s.check(s.op("div", "x", y)) == ["lp_norm"]


def test_a_norm_of_integers_stays():
    """x / max(norm x, 3) of integers is a quotient of integers."""
    from pathweave.meaning.evaluate import evaluate
    from pathweave.net.net import Layer, Net, TensorSpec
    from pathweave.passes import bind
    layers = [Layer("l1", "reduce", ("x",), ("n",), {"op": "l1", "axes": (1,), "keepdims": 1}),
              Layer("max", "maximum", ("n", "three"), ("m",), {}), Layer("div", "div", ("x", "m"), ("y",), {})]
    net = Net({"x": TensorSpec("i32", (2, 3))}, ["y"], layers, {"three": np.asarray(3, np.int32)})
    got = evaluate(bind(net), {"x": np.array([[1, -1, 0], [9, 0, 0]], np.int32)})["y"]
    assert got.dtype == np.int32 and got.tolist() == [[0, 0, 0], [1, 0, 0]]


def test_a_norm_of_something_else_stays():
    s = Sketch()
    s.input("z", 2, 4, 6, 5)
    y = s.op("clip", s.op("reduce", "z", op="l2", axes=(1,), keepdims=1), min=1e-12)
    assert "lp_norm" not in s.check(s.op("div", "x", y))
    s = Sketch()
    assert "lp_norm" not in s.check(s.op("div", "x", s.op("reduce", "x", op="l2", axes=(1,), keepdims=1)))


def _silu_of(s, x, alpha):
    return s.op("sigmoid", s.op("mul", x, s.const(alpha)))


ACTIVATIONS = {
    "swish": ("swish", lambda s, x: s.op("mul", x, _silu_of(s, x, 1.702))),
    "swish turned": ("swish", lambda s, x: s.op("mul", _silu_of(s, x, 1.702), x)),
    "swish 1": ("silu", lambda s, x: s.op("mul", x, s.op("sigmoid", x))),
    "softplus": ("softplus", lambda s, x: s.op("log", s.op("add", s.op("exp", x), s.const(1.0)))),
    "softplus bounded": ("softplus", lambda s, x: s.op("where", s.op("greater", x, s.const(40.0)), x, s.op("softplus", x))),
    "mish": ("mish", lambda s, x: s.op("mul", x, s.op("tanh", s.op("softplus", x)))),
    "mish in full": ("mish", lambda s, x: s.op("mul", s.op("tanh", s.op("log", s.op("add", s.const(1.0), s.op("exp", x)))), x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    kind, make = ACTIVATIONS[name]
    s = Sketch()
    x = s.op("tanh", "x")
    assert s.check(make(s, x)) == ["tanh", kind]


def test_activations_that_are_seen_inside_stay():
    s = Sketch()
    gate = _silu_of(s, "x", 1.702)
    assert "swish" not in s.check(s.op("mul", "x", gate), gate)
    s = Sketch()
    assert "swish" not in s.check(s.op("mul", "x", s.op("sigmoid", s.op("add", "x", s.const(1.0)))))
    s = Sketch()
    assert "softplus" not in s.check(s.op("log", s.op("add", s.op("exp", "x"), s.const(2.0))))


def half(s, x):
    """A value rounded to float16, as a model of that type has it between two operators."""
    return s.op("cast", x, dtype="f32", through="f16")


def _f32_net(make):
    """Kinds of the layers of a net in float32 that `make(sketch, x)` writes down, and how far its outputs are from before."""
    from pathweave.meaning.evaluate import evaluate
    from pathweave.net.net import Net, TensorSpec
    from pathweave.passes import bind
    s = Sketch(2, 3, 8)
    x = s.inputs["x"][1].astype(np.float32)
    y = make(s, "x")
    constants = {n: a.astype(np.float32) if a.dtype.kind == "f" else a for n, a in s.constants.items()}
    net = Net({"x": TensorSpec("f32", (2, 3, 8))}, [y], s.layers, constants)
    bound = bind(net)
    difference = np.abs(evaluate(bound, {"x": x})[y] - evaluate(net, {"x": x})[y]).max()
    return [layer.kind for layer in bound.layers], float(difference)


def test_casts_in_a_layer_norm():
    """The statistics in float32, the product with the scale in float16."""
    def make(s, x):
        y = layer_norm(s, half(s, x), (-1,), "div")
        return s.op("add", s.op("mul", half(s, y), s.weights(8)), s.weights(8))
    kinds, difference = _f32_net(make)
    assert kinds == ["cast", "layer_norm"]
    assert difference < 4e-3


def test_casts_in_a_gelu():
    def make(s, x):
        x = s.op("tanh", x)
        e = half(s, s.op("erf", s.op("div", x, s.const(np.sqrt(2)))))
        return s.op("mul", s.op("mul", x, s.op("add", e, s.const(1.0))), s.const(0.5))
    kinds, difference = _f32_net(make)
    assert kinds == ["tanh", "gelu"] and difference < 1e-3


@pytest.mark.parametrize("start", ["mean", "pool", "view"])
def test_squeeze_and_excite_with_linear_layers(start):
    s = Sketch()
    if start == "mean":
        pooled = s.op("reduce", "x", op="mean", axes=(2, 3), keepdims=0)
    else:
        pooled = s.op("global_average_pool", "x", keepdims=1)
        pooled = s.op("reshape", pooled, s.const((2, 4), np.int64)) if start == "pool" else s.op("squeeze", pooled, axes=(2, 3))
    y = s.op("relu", s.op("dense", pooled, s.weights(3, 4), s.weights(3)))
    y = s.op("sigmoid", s.op("dense", y, s.weights(4, 3)))
    assert s.check(s.op("mul", "x", s.op("reshape", y, s.const((2, 4, 1, 1), np.int64)))) == [
        "global_average_pool", "conv2+relu", "conv2+sigmoid", "mul"]
    from pathweave.regions import find
    assert [region.layer.kind for region in find(s.result).values()] == ["squeeze_excite"]


def test_dense_layers_whose_rows_are_used_stay():
    s = Sketch()
    y = s.op("dense", s.op("global_average_pool", "x", keepdims=0), s.weights(4, 4))
    assert "conv2" not in s.check(s.op("mul", "x", s.op("reshape", y, s.const((2, 4, 1, 1), np.int64))), y)
    s = Sketch()
    y = s.op("softmax", s.op("dense", s.op("global_average_pool", "x", keepdims=0), s.weights(4, 4)), axis=1)
    assert "conv2" not in s.check(s.op("mul", "x", s.op("reshape", y, s.const((2, 4, 1, 1), np.int64))))

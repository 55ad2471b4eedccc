"""Every pass that fuses: the rewrite happens, the meaning stays (float64), and it does not happen where it must not."""

from __future__ import annotations

import math

import pytest
from pass_sketch import Sketch, norm

from pathweave.net.net import Epilogue
from pathweave.passes import passes


def test_passes_are_found_by_folder_and_ordered():
    names = [m.__name__.rpartition(".")[2] for m in passes()]
    assert {"dead_code", "affine_into_weights", "epilogue_add", "transpose_sink"} <= set(names)
    assert [m.order for m in passes()] == sorted(m.order for m in passes())
    assert all(m.__doc__ and isinstance(m.needs_shapes, bool) for m in passes())


# batch norm, multiply, add -> weights


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("host", ["conv2", "grouped", "depthwise", "conv_transpose2", "transposed groups", "dense"])
def test_batch_norm_goes_into_weights(host, bias):
    s = Sketch(3, 4) if host == "dense" else Sketch()
    b = [s.weights(6)] if bias else []
    four = [s.weights(4)] if bias else []
    y = {
        "conv2": lambda: s.op("conv2", "x", s.weights(6, 4, 3, 3), *b, stride=(2, 1)),
        "grouped": lambda: s.op("conv2", "x", s.weights(6, 2, 3, 3), *b, groups=2),
        "depthwise": lambda: s.op("depthwise_conv2", "x", s.weights(4, 1, 3, 3), *four),
        "conv_transpose2": lambda: s.op("conv_transpose2", "x", s.weights(4, 6, 3, 3), *b, stride=(2, 2)),
        "transposed groups": lambda: s.op("conv_transpose2", "x", s.weights(4, 3, 3, 3), *b, groups=2),
        "dense": lambda: s.op("dense", "x", s.weights(6, 4), *b),
    }[host]()
    y = norm(s, y, 4 if host == "depthwise" else 6)
    assert len(s.check(y)) == 1
    assert set(s.result.constants) == set(s.result.layers[0].inputs[1:])


@pytest.mark.parametrize("unbound", [True, False])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1, 1), (4, 1, 1), (1, 4, 1, 1)])
@pytest.mark.parametrize("kind", ["add", "sub", "mul", "div", "rsub", "madd"])
def test_arithmetic_by_constants_goes_into_weights(kind, shape, unbound):
    s = Sketch()
    y, c = s.conv("x"), s.weights(*shape, low=0.5)
    if kind == "madd":
        y = s.op(
            "madd",
            y,
            *(
                s.const(
                    s.constants[c].reshape(-1)[: 4 if 4 in shape else 1].reshape(shape and (-1,) if 4 in shape else ())
                )
                for _ in "ab"
            ),
        )
    else:
        y = s.op("sub", c, y) if kind == "rsub" else s.op(kind, y, c)
    assert s.check(y, unbound=unbound) == ["conv2"]


@pytest.mark.parametrize("shape", [(5,), (6, 1), (2, 4, 1, 1), (4, 6, 5), (1, 1, 4, 1, 1)])
def test_arithmetic_along_other_axes_stays(shape):
    s = Sketch()
    assert len(s.check(s.op("mul", s.conv("x"), s.weights(*shape)))) == 2


def test_broadcast_that_adds_channels_stays():
    s = Sketch()
    assert s.check(s.op("mul", s.conv("x", cout=1), s.weights(4, 1, 1))) == ["conv2", "mul"]


def test_division_of_a_constant_and_by_zero_stays():
    s = Sketch()
    assert s.check(s.op("div", s.const(2.0), s.conv("x"))) == ["conv2", "div"]


def test_weights_stay_where_others_see_the_convolution():
    s = Sketch()
    c = s.conv("x")
    assert s.check(norm(s, c), s.op("tanh", c)) == ["conv2", "madd", "tanh"]
    s = Sketch()
    c = s.conv("x")
    assert s.check(norm(s, c), c) == ["conv2", "madd"]


def test_shared_weights_are_not_changed_for_the_other():
    s = Sketch()
    w = s.weights(4, 4, 1, 1)
    a, b = s.op("conv2", "x", w), s.op("conv2", s.op("tanh", "x"), w)
    assert sorted(s.check(norm(s, a), b)) == ["conv2", "conv2", "tanh"]


def test_dense_bias_needs_the_last_axis():
    s = Sketch(2, 3, 4)
    assert s.check(s.op("add", s.op("dense", "x", s.weights(5, 4)), s.weights(5))) == ["dense"]
    s = Sketch(2, 5, 4)
    assert s.check(s.op("add", s.op("dense", "x", s.weights(5, 4)), s.weights(5, 1))) == ["dense", "add"]
    s = Sketch(2, 5, 4)
    assert s.check(norm(s, s.op("dense", "x", s.weights(5, 4)), 5)) == ["dense", "madd"]
    s = Sketch(4)
    assert s.check(s.op("add", s.op("dense", "x", s.weights(5, 4)), s.weights(1, 5))) == ["dense", "add"]


# chains and what is in front


def test_chains_become_one_madd():
    s = Sketch()
    y = norm(s, s.op("add", s.op("mul", "x", s.const(2.0)), s.weights(4, 1, 1)))
    y = s.op("div", s.op("sub", s.const(1.0), y), s.const([4.0]))
    assert s.check(y) == ["madd"]


def test_chain_stays_where_the_middle_is_seen():
    s = Sketch()
    a = s.op("mul", "x", s.const(2.0))
    assert s.check(s.op("add", a, s.const(1.0)), a) == ["mul", "add"]


def test_chain_stays_where_it_broadcasts():
    s = Sketch(2, 1, 3, 3)
    assert s.check(s.op("add", s.op("mul", "x", s.weights(4, 1, 1)), s.const(1.0))) == ["mul", "add"]


@pytest.mark.parametrize("kind", ["conv2", "grouped", "depthwise_conv2", "dense"])
def test_madd_goes_into_the_next_weights(kind):
    s = Sketch(3, 4) if kind == "dense" else Sketch()
    m = s.op("madd", "x", s.weights(4), s.weights(4))
    y = {
        "conv2": lambda: s.op("conv2", m, s.weights(6, 4, 3, 3), s.weights(6)),
        "grouped": lambda: s.op("conv2", m, s.weights(6, 2, 3, 3), groups=2),
        "depthwise_conv2": lambda: s.op("depthwise_conv2", m, s.weights(4, 1, 3, 3)),
        "dense": lambda: s.op("dense", m, s.weights(6, 4)),
    }[kind]()
    assert len(s.check(y)) == 1


def test_in_front_of_padding_only_a_factor_goes_in():
    s = Sketch()
    assert s.check(s.conv(s.op("mul", "x", s.weights(4, 1, 1)))) == ["conv2"]
    s = Sketch()
    assert s.check(s.conv(s.op("add", "x", s.weights(4, 1, 1)))) == ["add", "conv2"]


def test_in_front_of_a_residual_epilogue():
    s = Sketch()
    w, b = s.weights(4, 4, 1, 1), s.weights(4)
    m = s.op("madd", "x", s.const(2.0), s.const(0.5))
    y = s.op("conv2", m, w, b, "x", epilogue=Epilogue(True, "relu"))
    assert s.check(y) == ["conv2+add+relu"]


# epilogues

ACTIVATIONS = [
    ("relu", {}),
    ("clip", {"min": -0.5, "max": 0.5}),
    ("leaky_relu", {"alpha": 0.3}),
    ("sigmoid", {}),
    ("hard_sigmoid", {"alpha": 0.3}),
    ("hard_swish", {}),
    ("silu", {}),
    ("gelu", {}),
    ("gelu", {"approximate": 1}),
    ("tanh", {}),
    ("elu", {"alpha": 0.5}),
    ("selu", {}),
    ("celu", {}),
    ("softplus", {}),
    ("softsign", {}),
    ("mish", {}),
    ("thresholded_relu", {"alpha": 0.2}),
]


@pytest.mark.parametrize("act, attrs", ACTIVATIONS)
def test_activation_goes_into_the_epilogue(act, attrs):
    s = Sketch()
    (found,) = s.check(s.op(act, s.conv("x"), **attrs), unbound=True)
    assert found.startswith(f"conv2+{act}")
    text = str(s.result.layers[0].epilogue)
    assert Epilogue.parse(text) == s.result.layers[0].epilogue


@pytest.mark.parametrize("host", ["depthwise_conv2", "conv_transpose2", "dense", "add"])
def test_hosts_of_activations(host):
    s = Sketch(2, 4) if host == "dense" else Sketch()
    y = {
        "depthwise_conv2": lambda: s.op("depthwise_conv2", "x", s.weights(4, 1, 3, 3)),
        "conv_transpose2": lambda: s.op("conv_transpose2", "x", s.weights(4, 4, 3, 3)),
        "dense": lambda: s.op("dense", "x", s.weights(6, 4)),
        "add": lambda: s.op("add", "x", s.op("tanh", "x")),
    }[host]()
    assert s.check(s.op("relu", y))[-1] == f"{host}+relu"


def test_activation_stays():
    s = Sketch()  # another consumer
    c = s.conv("x")
    assert s.check(s.op("relu", c), s.op("tanh", c)) == ["conv2", "relu", "tanh"]
    s = Sketch()  # a net output
    c = s.conv("x")
    assert s.check(c, s.op("relu", c)) == ["conv2", "relu"]
    s = Sketch()  # an epilogue is there already
    assert s.check(s.op("tanh", s.op("sigmoid", s.conv("x")))) == ["conv2+sigmoid", "tanh"]
    s = Sketch()  # not a host
    assert s.check(s.op("relu", s.op("global_average_pool", "x"))) == ["global_average_pool", "relu"]


def test_activation_goes_before_a_view():
    s = Sketch()
    y = s.op("reshape", s.conv("x"), shape=(1, -1))
    assert s.check(s.op("tanh", s.op("relu", y))) == ["conv2+relu", "reshape", "tanh"]
    s = Sketch()  # the viewed value is seen by another layer
    y = s.op("reshape", s.conv("x"), shape=(1, -1))
    assert s.check(s.op("relu", y), s.op("tanh", y)) == ["conv2", "reshape", "relu", "tanh"]
    s = Sketch()  # what makes it has an activation already, or takes none
    y = s.op("reshape", s.op("relu", s.conv("x")), shape=(1, -1))
    assert s.check(s.op("tanh", y)) == ["conv2+relu", "reshape", "tanh"]
    s = Sketch()
    assert s.check(s.op("relu", s.op("reshape", "x", shape=(1, -1)))) == ["reshape", "relu"]


@pytest.mark.parametrize("order", [0, 1])
def test_residual_add_goes_into_the_epilogue(order):
    s = Sketch()
    skip = s.op("tanh", "x")
    operands = [s.conv(s.op("sigmoid", skip)), skip]
    assert s.check(s.op("relu", s.op("add", *operands[:: 1 - 2 * order]))) == ["tanh", "sigmoid", "conv2+add+relu"]
    assert s.result.layers[-1].inputs[-1] == skip


def test_residual_of_a_later_layer():
    s = Sketch()
    c = s.conv("x")
    assert s.check(s.op("add", c, s.op("tanh", "x"))) == ["tanh", "conv2+add"]


@pytest.mark.parametrize("order", [0, 1])
def test_of_two_convolutions_the_last_takes_the_add(order):
    s = Sketch()
    first, last = s.conv("x"), s.conv(s.op("tanh", "x"))
    assert s.check(s.op("add", *(first, last)[:: 1 - 2 * order])) == ["conv2", "tanh", "conv2+add"]
    assert s.result.layers[-1].name == "conv2_2" and s.result.layers[-1].inputs[-1] == first


def test_residual_add_stays():
    s = Sketch(2, 4, 1, 1)  # broadcasting
    s.input("z", 2, 4, 6, 5)
    assert s.check(s.op("add", s.conv("x", pad=(1, 1, 1, 1)), "z")) == ["conv2", "add"]
    s = Sketch()  # another consumer
    c = s.conv("x")
    assert s.check(s.op("add", c, "x"), s.op("exp", c)) == ["conv2", "add", "exp"]
    s = Sketch()  # a net output
    c = s.conv("x")
    assert s.check(s.op("add", c, "x"), c) == ["conv2", "add"]
    s = Sketch()  # an activation comes first
    assert s.check(s.op("add", s.op("relu", s.conv("x")), "x")) == ["conv2+relu", "add"]
    s = Sketch()  # the same value twice
    c = s.conv("x")
    assert s.check(s.op("add", c, c)) == ["conv2", "add"]
    s = Sketch(symbolic=True)  # shapes are not known
    assert s.check(s.op("add", s.conv(s.op("tanh", "x")), "x"), unbound=True) == ["tanh", "conv2", "add"]


# patterns


def shifted_clip(s, v):
    return s.op("clip", s.op("add", v, s.const(3.0)), min=0.0, max=6.0)


HARD_SWISH = {
    "x * hard_sigmoid": lambda s, x: s.op("mul", x, s.op("hard_sigmoid", x, alpha=0.1666667, beta=0.5)),
    "hard_sigmoid * x": lambda s, x: s.op("mul", s.op("hard_sigmoid", x, alpha=1 / 6, beta=0.5), x),
    "x * clip / 6": lambda s, x: s.op("div", s.op("mul", x, shifted_clip(s, x)), s.const(6.0)),
    "x * (clip / 6)": lambda s, x: s.op("mul", x, s.op("div", shifted_clip(s, x), s.const(6.0))),
    "x * (clip * 1/6)": lambda s, x: s.op("mul", s.op("mul", shifted_clip(s, x), s.const(1 / 6)), x),
    "(x / 6) * clip": lambda s, x: s.op("mul", s.op("div", x, s.const(6.0)), shifted_clip(s, x)),
}
SILU = {
    "x * sigmoid": lambda s, x: s.op("mul", x, s.op("sigmoid", x)),
    "sigmoid * x": lambda s, x: s.op("mul", s.op("sigmoid", x), x),
}


def erf_part(s, x, by="div"):
    inner = s.op("div", x, s.const(math.sqrt(2))) if by == "div" else s.op("mul", x, s.const(math.sqrt(0.5)))
    return s.op("add", s.op("erf", inner), s.const(1.0))


def tanh_part(s, x, cube):
    c = math.sqrt(2 / math.pi)
    if cube == "pow":
        inner = s.op("mul", s.op("add", x, s.op("mul", s.op("pow", x, s.const(3.0)), s.const(0.044715))), s.const(c))
    elif cube == "mul":
        inner = s.op(
            "mul", s.const(c), s.op("add", x, s.op("mul", s.const(0.044715), s.op("mul", x, s.op("mul", x, x))))
        )
    else:
        square = s.op("add", s.op("mul", s.op("mul", x, x), s.const(0.044715)), s.const(1.0))
        inner = s.op("mul", s.op("mul", x, s.const(c)), square)
    return s.op("add", s.const(1.0), s.op("tanh", inner))


GELU = {
    "(x * e) / 2": lambda s, x: s.op("mul", s.op("mul", x, erf_part(s, x)), s.const(0.5)),
    "(x / 2) * e": lambda s, x: s.op("mul", s.op("mul", x, s.const(0.5)), erf_part(s, x, "mul")),
    "x * (e / 2)": lambda s, x: s.op("mul", x, s.op("div", erf_part(s, x), s.const(2.0))),
    "e * x * 0.5": lambda s, x: s.op("mul", s.const(0.5), s.op("mul", erf_part(s, x), x)),
}
for _cube in ("pow", "mul", "factored"):
    GELU[f"tanh {_cube}"] = lambda s, x, c=_cube: s.op("mul", s.op("mul", s.const(0.5), x), tanh_part(s, x, c))
PATTERNS = (
    [("hard_swish", *p) for p in HARD_SWISH.items()]
    + [("silu", *p) for p in SILU.items()]
    + [("gelu", *p) for p in GELU.items()]
)


@pytest.mark.parametrize("unbound", [True, False])
@pytest.mark.parametrize("kind, spelled, make", PATTERNS, ids=lambda p: p if isinstance(p, str) else "")
def test_patterns(kind, spelled, make, unbound):
    s = Sketch()
    x = s.op("exp", "x")
    y = make(s, x)
    # 0.1666667 is 1/6 to seven digits: such exporters' nets keep their meaning to that precision only.
    if "hard_sigmoid" in spelled:
        for layer in s.layers:
            if layer.kind == "hard_sigmoid":
                layer.attrs["alpha"] = 1 / 6
    assert s.check(y, unbound=unbound) == ["exp", kind]
    if kind == "gelu":
        assert s.result.layers[-1].attrs["approximate"] == int("tanh" in spelled)


@pytest.mark.parametrize("kind, spelled, make", PATTERNS, ids=lambda p: p if isinstance(p, str) else "")
def test_patterns_with_another_gate_stay(kind, spelled, make):
    s = Sketch()
    s.input("z", 2, 4, 6, 5)
    y = make(s, "x")
    # The last use of x outside the gate becomes z: z * gate(x) is no activation.
    last = max(i for i, layer in enumerate(s.layers) if layer.kind in ("mul", "div") and "x" in layer.inputs)
    users = [i for i, layer in enumerate(s.layers) if "x" in layer.inputs]
    chosen = users[0] if spelled in ("(x / 6) * clip", "(x / 2) * e") or spelled.startswith("tanh") else last
    layer = s.layers[chosen]
    s.layers[chosen] = layer.with_(inputs=tuple("z" if v == "x" else v for v in layer.inputs))
    assert kind not in s.check(y)


def test_patterns_with_other_numbers_stay():
    s = Sketch()
    assert s.check(s.op("mul", "x", s.op("hard_sigmoid", "x", alpha=0.2, beta=0.5))) == ["hard_sigmoid", "mul"]
    s = Sketch()
    assert "gelu" not in s.check(s.op("mul", s.op("mul", "x", erf_part(s, "x")), s.const(0.6)))
    s = Sketch()
    clip = s.op("clip", s.op("add", "x", s.const(3.0)), min=0.0, max=5.0)
    assert "hard_swish" not in s.check(s.op("div", s.op("mul", "x", clip), s.const(6.0)))
    s = Sketch()
    assert "silu" not in s.check(s.op("mul", "x", s.op("sigmoid", s.op("mul", "x", s.const(1.7)))))


def test_patterns_whose_inside_is_seen_stay():
    s = Sketch()
    gate = s.op("sigmoid", "x")
    assert s.check(s.op("mul", "x", gate), gate) == ["sigmoid", "mul"]
    s = Sketch()
    clip = shifted_clip(s, "x")
    assert "hard_swish" not in s.check(s.op("div", s.op("mul", "x", clip), s.const(6.0)), s.op("tanh", clip))


def test_hard_sigmoid_spelled_out():
    s = Sketch()
    assert s.check(s.op("div", shifted_clip(s, "x"), s.const(6.0))) == ["hard_sigmoid"]


# pools, dense, depthwise


@pytest.mark.parametrize("axes", [(2, 3), (-1, -2), (3, 2)])
@pytest.mark.parametrize("op, kind", [("mean", "global_average_pool"), ("max", "global_max_pool")])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduction_of_images_becomes_a_pool(op, kind, axes, keepdims):
    s = Sketch()
    assert s.check(s.op("reduce", "x", op=op, axes=axes, keepdims=keepdims)) == [kind]


def test_other_reductions_stay():
    for shape, axes, op in (
        ((2, 4, 6, 5), (1, 2), "mean"),
        ((2, 4, 6, 5), (2, 3), "sum"),
        ((2, 3, 4, 5, 6), (2, 3), "mean"),
    ):
        s = Sketch(*shape)
        assert s.check(s.op("reduce", "x", op=op, axes=axes, keepdims=1)) == ["reduce"]


def test_pool_over_the_whole_image_is_global():
    s = Sketch()
    assert s.check(s.op("average_pool2", "x", kernel=(6, 5))) == ["global_average_pool"]
    s = Sketch()
    assert s.check(s.op("average_pool2", "x", kernel=(6, 4))) == ["average_pool2"]


def test_matmul_becomes_dense():
    s = Sketch(2, 3, 4)
    y = s.op("matmul", "x", s.weights(4, 5))
    assert s.check(s.op("relu", s.op("add", s.weights(5), y)), unbound=True) == ["dense+relu"]
    for shape, weights in (((2, 3, 4), (2, 4, 5)), ((2, 3, 4), (4,))):
        s = Sketch(*shape)
        assert s.check(s.op("matmul", "x", s.weights(*weights))) == ["matmul"]
    s = Sketch(4, 5)
    assert s.check(s.op("matmul", s.weights(3, 4), "x")) == ["matmul"]


def test_depthwise():
    s = Sketch()
    assert s.check(s.conv("x", groups=4), unbound=True) == ["depthwise_conv2"]
    for cin, cout, groups in ((4, 8, 4), (4, 4, 2)):
        s = Sketch()
        assert s.check(s.conv("x", cin, cout, groups=groups)) == ["conv2"]
    s = Sketch(2, 1, 5, 5)
    assert s.check(s.conv("x", 1, 1)) == ["conv2"]


@pytest.mark.parametrize(
    "kind, value",
    [("conv2", 0.0), ("depthwise_conv2", 0.0), ("max_pool2", -math.inf), ("average_pool2", 0.0), ("lp_pool2", 0.0)],
)
def test_pad_goes_into_the_window(kind, value):
    def net(value, pads=(0, 0, 1, 0, 0, 0, 2, 1), count_pad=1):
        s = Sketch()
        p = s.op("pad", "x", pads=pads, mode="constant", value=value)
        if kind.endswith("conv2"):
            shape = (4, 4, 3, 3) if kind == "conv2" else (4, 1, 3, 3)
            return s, s.op(kind, p, s.weights(*shape), pad=(1, 0, 0, 1))
        attrs = {"count_pad": count_pad} if kind == "average_pool2" else {}
        return s, s.op(kind, p, kernel=(3, 3), stride=(2, 2), **attrs)

    s, y = net(value)
    assert s.check(y, unbound=True) == [kind]
    s, y = net(1.0)
    assert s.check(y) == ["pad", kind]
    s, y = net(value, pads=(0, 0, 1, 0, 1, 0, 2, 1))
    assert s.check(y) == ["pad", kind]
    if kind == "average_pool2":
        s, y = net(value, count_pad=0)
        assert s.check(y) == ["pad", kind]

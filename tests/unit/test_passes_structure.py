"""Passes over shapes, transposes, constants and dead code; passes on random graphs; bind and optimise as a whole."""

from __future__ import annotations

import numpy as np
import pytest
from pass_sketch import Sketch, norm

from pathweave.errors import InputError, ModelError, ShapeError
from pathweave.net.net import Layer, Net, TensorSpec
from pathweave.passes import bind, optimise

# shapes and transposes


def test_reshape_chains():
    s = Sketch(2, 3, 4)
    y = s.op("unsqueeze", s.op("reshape", s.op("reshape", "x", shape=(0, -1)), shape=(4, -1, 3)), axes=(0,))
    assert s.check(y) == ["reshape"] and s.result.layers[0].attrs["shape"] == (1, 4, 2, 3)
    s = Sketch(2, 3, 4)
    assert s.check(s.op("reshape", s.op("exp", s.op("reshape", "x", shape=(6, 4))), shape=(0, -1))) == [
        "reshape",
        "exp",
    ]
    s = Sketch(2, 1, 4)
    assert s.check(s.op("exp", s.op("squeeze", s.op("unsqueeze", "x", axes=(3,)), axes=(3,)))) == ["exp"]


def test_pool_and_flatten_are_one():
    for kind, shape in (("global_average_pool", (0, -1)), ("global_max_pool", (2, 4))):
        s = Sketch()
        assert s.check(s.op("reshape", s.op(kind, "x"), shape=shape)) == [kind]
    s = Sketch()
    assert s.check(s.op("unsqueeze", s.op("global_average_pool", "x", keepdims=0), axes=(2, 3))) == [
        "global_average_pool"
    ]
    s = Sketch()
    pool = s.op("global_average_pool", "x")
    assert s.check(s.op("reshape", pool, shape=(0, -1)), pool) == ["global_average_pool", "reshape"]


def test_transposes_cancel_and_compose():
    s = Sketch()
    assert s.check(
        s.op("exp", s.op("transpose", s.op("transpose", "x", perm=(0, 2, 3, 1)), perm=(0, 3, 1, 2))), unbound=True
    ) == ["exp"]
    s = Sketch()
    t = s.op("transpose", s.op("transpose", "x", perm=(1, 0, 3, 2)), perm=(3, 1, 2, 0))
    assert s.check(t) == ["transpose"]
    s = Sketch(2, 4, 1, 1)
    assert s.check(s.op("transpose", "x", perm=(0, 2, 3, 1))) == ["reshape"]


NHWC, NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
SINKABLE = {
    "unary": lambda s, t: s.op("exp", t),
    "scalar": lambda s, t: s.op("maximum", t, s.const(0.1)),
    "vector": lambda s, t: s.op("minimum", t, s.weights(4)),
    "matrix": lambda s, t: s.op("pow", s.op("abs", t), s.weights(6, 1, 4)),
    "left constant": lambda s, t: s.op("minimum", s.weights(5, 4), t),
    "prelu": lambda s, t: s.op("prelu", t, s.weights(4)),
    "softmax": lambda s, t: s.op("softmax", t, axis=-1),
    "pad": lambda s, t: s.op("pad", t, pads=(0, 1, 2, 3, 1, 0, 1, 2), mode="constant", value=0.5),
    "slice": lambda s, t: s.op("slice", t, starts=(1, 0), ends=(3, 4), axes=(-1, 1), steps=(1, 2)),
    "reduce": lambda s, t: s.op("reduce", t, op="sum", axes=(1, -1), keepdims=1),
    "concat": lambda s, t: s.op("concat", t, s.op("transpose", s.op("tanh", "x"), perm=NHWC), axis=3),
    "self": lambda s, t: s.op("mul", t, s.op("sigmoid", s.op("neg", t))),
    "both": lambda s, t: s.op("minimum", t, s.op("transpose", s.op("tanh", "x"), perm=NHWC)),
}


@pytest.mark.parametrize("name", SINKABLE)
def test_transposes_sink_and_meet_their_inverse(name):
    s = Sketch()
    y = s.op("transpose", SINKABLE[name](s, s.op("transpose", "x", perm=NHWC)), perm=NCHW)
    assert "transpose" not in s.check(y, unbound=True)


def test_split_and_reduction_of_transposed_values():
    s = Sketch()
    parts = s.op("split", s.op("transpose", "x", perm=NHWC), outputs=2, axis=3, sizes=(1, 3))
    assert sorted(s.check(*(s.op("exp", s.op("transpose", p, perm=NCHW)) for p in parts))) == ["exp", "exp", "split"]
    s = Sketch()
    assert s.check(s.op("reduce", s.op("transpose", "x", perm=NHWC), op="mean", axes=(1, 2), keepdims=0)) == [
        "global_average_pool"
    ]
    s = Sketch()
    y = s.op("reduce", s.op("transpose", "x", perm=(3, 2, 1, 0)), op="sum", axes=(1,), keepdims=0)
    assert s.check(y) == ["reduce", "transpose"]


def test_transposes_stay():
    s = Sketch()  # a net output
    t = s.op("transpose", "x", perm=NHWC)
    assert s.check(t, s.op("exp", t)) == ["transpose", "exp"]
    s = Sketch(2, 4, 5, 5)  # the other operand is not transposed
    s.input("z", 2, 5, 5, 4)
    assert s.check(s.op("minimum", s.op("transpose", "x", perm=NHWC), "z")) == ["transpose", "minimum"]
    s = Sketch(2, 4, 4, 4)  # transposed another way
    a, b = s.op("transpose", "x", perm=NHWC), s.op("transpose", "x", perm=NCHW)
    assert s.check(s.op("minimum", a, b)) == ["transpose", "transpose", "minimum"]


# general


def test_dead_code_identities_and_unused_constants_go():
    s = Sketch()
    s.op("exp", s.op("neg", "x"))
    s.weights(3)
    y = s.op("identity", s.op("tanh", s.op("identity", "x")))
    assert s.check(y, unbound=True) == ["tanh"]
    assert not s.result.constants


def test_no_effect():
    for make in (
        lambda s: s.op("add", "x", s.const(0.0)),
        lambda s: s.op("mul", s.weights(1, low=1.0), "x"),
        lambda s: s.op("reshape", "x", shape=(2, 4, 6, 5)),
        lambda s: s.op("cast", "x", dtype="f64"),
        lambda s: s.op("expand", "x", shape=(1, 5)),
        lambda s: s.op("pad", "x", pads=(0,) * 8),
        lambda s: s.op("slice", "x", starts=(0,), ends=(99,), axes=(1,), steps=(1,)),
        lambda s: s.op("clip", "x"),
        lambda s: s.op("concat", "x", axis=1),
    ):
        s = Sketch()
        if (y := make(s)) and s.layers[-1].kind == "mul":
            s.constants[s.layers[-1].inputs[0]] = np.ones(1)
        assert s.check(s.op("exp", y)) == ["exp"]
    s = Sketch(2, 4, 1, 5)
    assert s.check(s.op("exp", s.op("add", "x", s.const(np.zeros((3, 1)))))) == ["add", "exp"]
    s = Sketch()
    assert s.check(s.op("slice", "x", starts=(-1,), ends=(-99,), axes=(1,), steps=(-1,))) == ["slice"]


def test_an_identity_from_an_input_to_an_output_stays():
    s = Sketch()
    assert s.check(s.op("identity", "x")) == ["identity"]


def test_two_outputs_of_one_value():
    s = Sketch()
    e = s.op("exp", "x")
    assert s.check(e, s.op("identity", e)) == ["exp", "identity"]


def test_common_subexpressions():
    s = Sketch()
    a = s.op("exp", s.op("add", "x", s.const(1.5)))
    b = s.op("exp", s.op("add", "x", s.const(1.5)))
    assert s.check(s.op("mul", a, b), unbound=True) == ["add", "exp", "mul"]
    s = Sketch()
    assert s.check(s.op("mul", s.op("clip", "x", min=0.0), s.op("clip", "x", max=0.0))) == ["clip", "clip", "mul"]
    s = Sketch()
    a, b = s.op("exp", "x"), s.op("exp", "x")
    s.check(a, b)
    s = Sketch()
    parts = [s.op("split", "x", outputs=2, axis=1, sizes=(1, 3)) for _ in "ab"]
    assert s.check(s.op("mul", parts[0][0], parts[1][1])) == ["split", "mul"]


def test_constant_folding_is_bounded():
    s = Sketch(2)
    small = s.op("mul", s.op("exp", s.const([1.0, 2.0])), s.const(3.0))
    assert s.check(s.op("mul", "x", small), unbound=True) == ["mul"]
    s = Sketch(1)
    big = s.op("expand", s.const(np.ones((1, 1))), shape=(2000, 2000))
    assert s.check(s.op("mul", "x", s.op("reduce", big, op="sum", axes=(0, 1), keepdims=0))) == [
        "expand",
        "reduce",
        "mul",
    ]
    assert sum(c.nbytes for c in s.result.constants.values()) < 1000


def test_shape_arithmetic_folds_when_bound():
    s = Sketch(2, 3, 4, symbolic=True)
    length = s.op("mul", s.op("gather", s.op("shape", "x"), s.const(1, np.int64), axis=0), s.const(4, np.int64))
    target = s.op("concat", s.const([-1], np.int64), s.op("unsqueeze", length, axes=(0,)), axis=0)
    y = s.op("exp", s.op("reshape", "x", target))
    assert s.check(y) == ["reshape", "exp"]
    assert s.result.layers[0].inputs == ("x",) and s.result.layers[0].attrs["shape"] == (2, 12)
    assert not s.result.constants and s.result.specs[y] == TensorSpec("f64", (2, 12))


def test_constant_shape_inputs_become_attributes():
    s = Sketch()
    starts, ends, axes = (s.const([v], np.int64) for v in (1, 3, -1))
    assert s.check(s.op("slice", "x", starts, ends, axes), unbound=True) == ["slice"]
    assert s.result.layers[0].inputs == ("x",) and s.result.layers[0].attrs["starts"] == (1,)


def test_the_given_net_is_not_changed():
    s = Sketch()
    y = s.op("relu", norm(s, s.conv("x")))
    net = Net({"x": s.inputs["x"][0]}, [y], s.layers, s.constants)
    copy = Net(dict(net.inputs), list(net.outputs), list(net.layers), {n: a.copy() for n, a in net.constants.items()})
    optimise(net)
    bind(net)
    assert (net.inputs, net.outputs, net.layers) == (copy.inputs, copy.outputs, copy.layers) and not net.specs
    assert all(np.array_equal(net.constants[n], a) for n, a in copy.constants.items())


def test_long_chains_end_soon():
    s = Sketch(3)
    v = "x"
    for i in range(2000):
        v = s.op("mul" if i % 2 else "add", v, s.const(1.0 + i % 3 / 100))
    assert s.check(v) == ["madd"]


def test_random_elementwise_graphs_keep_their_meaning():
    unary = ("relu", "tanh", "sigmoid", "neg", "abs", "identity")
    for seed in range(150):
        s = Sketch(4, 4, 4, 4, seed=seed)
        values = ["x", s.conv("x"), s.op("transpose", "x", perm=(0, 2, 3, 1))]
        for _ in range(s.random.integers(3, 14)):
            a, b = (values[i] for i in s.random.integers(0, len(values), 2))
            choice = s.random.integers(0, 8)
            if choice == 0:
                values.append(s.op(unary[s.random.integers(0, len(unary))], a))
            elif choice == 1:
                values.append(s.op(("add", "mul", "sub", "minimum")[s.random.integers(0, 4)], a, b))
            elif choice == 2:
                shape = ((), (4, 1, 1), (4,), (1, 4, 1, 1))[s.random.integers(0, 4)]
                values.append(s.op(("add", "mul", "sub")[s.random.integers(0, 3)], a, s.weights(*shape)))
            elif choice == 3:
                values.append(s.op("transpose", a, perm=tuple(int(p) for p in s.random.permutation(4))))
            elif choice == 4:
                values.append(s.conv(a, groups=(1, 4)[s.random.integers(0, 2)]))
            elif choice == 5:
                values.append(norm(s, a))
            elif choice == 6:
                values.append(s.op("mul", a, s.op("sigmoid", a)))
            else:
                values.append(s.op("softmax", a, axis=int(s.random.integers(-1, 4))))
        outputs = list(dict.fromkeys([values[-1], *(v for v in values[1:] if s.random.random() < 0.15)]))
        s.check(*(v for v in outputs if v != "x"))


def test_malformed_nets_are_refused():
    spec = {"x": TensorSpec("f32", (2, 2))}
    with pytest.raises(ModelError, match="not defined before"):
        optimise(Net(spec, ["y"], [Layer("a", "relu", ("z",), ("y",))], {}))
    with pytest.raises(ModelError, match="unknown"):
        bind(Net(spec, ["y"], [Layer("a", "frobnicate", ("x",), ("y",))], {}))
    with pytest.raises(ShapeError, match="'a'"):
        bind(Net(spec, ["y"], [Layer("a", "transpose", ("x",), ("y",), {"perm": (0, 5)})], {}))
    with pytest.raises(InputError):
        bind(Net({"x": TensorSpec("f32", ("N",))}, ["y"], [Layer("a", "relu", ("x",), ("y",))], {}))

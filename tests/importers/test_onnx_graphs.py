"""Whole graphs in forms that are valid ONNX: unread outputs, unknown sizes, computed weights, If, functions, defaults."""

from __future__ import annotations

import glob
import os
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_models import assert_same, build, check, run_reference

import pathweave
from pathweave.errors import InputError, ModelError, UnsupportedOperatorError
from pathweave.importers import load
from pathweave.meaning.evaluate import evaluate
from pathweave.meaning.open_shapes import infer
from pathweave.passes import bind, optimise

X = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)


def i64(*values):
    return np.array(values, np.int64)


def node(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs.split(), outputs.split(), **attrs)


def check_sizes(model: bytes, feeds: list[dict], tolerance: float = 1e-5) -> None:
    """The imported net and the bound one agree with ONNX Runtime at several sizes."""
    net = load(model).main
    for given in feeds:
        expected = run_reference(model, given)
        for candidate in (net, bind(optimise(net), {n: a.shape for n, a in given.items()})):
            for (name, found), wanted in zip(evaluate(candidate, given).items(), expected, strict=True):
                assert_same(found, wanted, tolerance, f"{name} of {[a.shape for a in given.values()]}")


def batches(*sizes, shape=(3, 4, 5)):
    return [{"x": np.random.default_rng(n).standard_normal((n, *shape)).astype(np.float32)} for n in sizes]


# sizes that are known at run time only


def test_squeeze_without_axes_looks_at_the_size_of_the_call():
    model = build([node("Squeeze", "x", "y")], {"x": (X[:1, :1, 0, :3], ["N", 1, 3])}, opset=13)
    check_sizes(model, batches(1, 2, 5, shape=(1, 3)))
    assert bind(load(model).main, {"x": (1, 1, 3)}).specs["y"].shape == (3,)


def test_layers_behind_a_squeeze_whose_rank_depends_on_the_batch():
    nodes = [node("Squeeze", "x", "s"), node("Concat", "s s", "c", axis=-1), node("ReduceMax", "c", "r", axes=[-1]),
             node("Softmax", "c", "t", axis=-1), node("Add", "t r", "y")]
    check_sizes(build(nodes, {"x": (X[:1, :1, 0, :3], ["N", 1, 3])}, opset=12), batches(1, 2, 5, shape=(1, 3)))


def test_a_slice_longer_than_the_batch_has_no_fixed_size():
    nodes = [node("Slice", "x zero three zero", "s"), node("Shape", "s", "n"), node("Split", "s", "a b", axis=1),
             node("Concat", "a s", "y", axis=1)]
    inputs = {"x": (X[:, :2], ["N", 2, 4, 5])}
    check_sizes(build(nodes, inputs, {"zero": i64(0), "three": i64(3)}, ("y", "n"), opset=13),
                batches(1, 2, 5, shape=(2, 4, 5)))


@pytest.mark.parametrize("change", ["Reshape", "Expand"])
def test_ranks_after_a_constant_shape_under_a_free_batch(change):
    shape = i64(1, 3, 20) if change == "Reshape" else i64(1, 3, 4, 5)
    nodes = [node(change, "x shape", "r"), node("Concat", "r r", "c", axis=-1), node("GlobalAveragePool", "c", "g"),
             node("Flatten", "g", "f", axis=-1), node("Softmax", "f", "y")]
    check_sizes(build(nodes, {"x": (X, ["N", 3, 4, 5])}, {"shape": shape}, opset=12),
                batches(1) if change == "Reshape" else batches(1, 2, 5))


def test_ranks_after_a_shape_that_is_computed_in_part():
    nodes = [node("Shape", "x", "d"), node("Slice", "d zero one", "n"), node("Concat", "n rest", "shape", axis=0),
             node("Add", "x only", "a"), node("Reshape", "a shape", "r"), node("Concat", "r r", "c", axis=-1),
             node("ReduceMean", "c", "y", keepdims=0)]
    constants = {"zero": i64(0), "one": i64(1), "rest": i64(12, -1), "only": np.ones((2, 1, 1, 1), np.float32)}
    check_sizes(build(nodes, {"x": (X, ["N", 3, 4, 5])}, constants, opset=12), batches(1, 2))


@pytest.mark.parametrize("name", ["?", "-1", "", "None"])
def test_dimensions_without_a_name_are_different_unknowns(name):
    model = onnx.ModelProto.FromString(build([node("Transpose", "x", "y", perm=[0, 1, 3, 2])], {"x": (X, ["N", 3, "H", "N"])}))
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    shape = load(model.SerializeToString()).main.inputs["x"].shape
    assert shape[0] == "N" and len(set(shape)) == 4 and all(isinstance(d, str) for d in shape[2:])
    check_sizes(model.SerializeToString(), batches(2, shape=(3, 7, 4)))


def test_dimensions_of_one_name_stay_one_symbol():
    model = build([node("Add", "a b", "y")], {"a": (X, ["N", 3, "H", "?"]), "b": (X, ["N", 3, "H", "?"])})
    a, b = (load(model).main.inputs[n].shape for n in "ab")
    assert a[:3] == b[:3] == ("N", 3, "H") and a[3] != b[3]


# outputs


@pytest.mark.parametrize(("operator", "constants", "outputs", "opset", "attrs"), [
    ("MaxPool", (), "y indices", 12, {"kernel_shape": [2, 2]}),
    ("BatchNormalization", (3, 3, 3, 3), "y mean var saved_mean saved_var", 9, {}),
    ("LayerNormalization", (5, 5), "y mean deviation", 17, {}),
    ("Dropout", (), "y mask", 10, {}),
])
def test_optional_outputs_that_nobody_reads(operator, constants, outputs, opset, attrs):
    arrays = {f"c{i}": np.abs(np.random.default_rng(i).standard_normal(n)).astype(np.float32) + 0.1
              for i, n in enumerate(constants)}
    nodes = [node(operator, " ".join(["x", *arrays]), outputs, **attrs)]
    model = build(nodes, {"x": X}, arrays, opset=opset)
    if operator == "BatchNormalization":  # ONNX Runtime trains, or ends: exporters mean inference
        expected = run_reference(build([node(operator, " ".join(["x", *arrays]), "y")], {"x": X}, arrays, opset=opset),
                                 {"x": X})
        assert_same(evaluate(load(model).main, {"x": X})["y"], expected[0], 1e-5, operator)
        assert "computed as in inference" in load(model).meta["notes"][0]
    else:
        check_sizes(model, [{"x": X}])


def test_optional_outputs_that_are_read_are_computed():
    scale = {"s": np.ones(5, np.float32)}
    check([node("LayerNormalization", "x s s", "y mean deviation", axis=-1)], {"x": X}, scale, ("y", "mean", "deviation"))
    check([node("Dropout", "x", "y mask")], {"x": X}, outputs=("y", "mask"), opset=13)
    check([node("MaxPool", "x", "y indices", kernel_shape=[2, 2])], {"x": X}, outputs=("y", "indices"))
    check([node("MaxPool", "x", "z indices", kernel_shape=[2, 2]), node("Add", "indices indices", "y")], {"x": X})


def test_an_output_that_is_returned_twice_or_is_an_input():
    net = load(build([node("Relu", "x", "y")], {"x": X}, outputs=("y", "x", "y"))).main
    assert net.outputs == ["y", "x"]
    found = pathweave.load(build([node("Relu", "x", "y")], {"x": X}, outputs=("y", "x", "y"))).run({"x": X})
    np.testing.assert_array_equal(found["y"], np.maximum(X, 0))
    np.testing.assert_array_equal(found["x"], X)


# attributes


def test_attributes_that_nobody_reads_are_refused():
    with pytest.raises(UnsupportedOperatorError, match="'shape_of_things' are unknown here"):
        load(build([node("Relu", "x", "y", name="n", shape_of_things=3)], {"x": X}))
    nodes = [node("Conv", "x w", "y", new_mode="fast")]
    with pytest.raises(UnsupportedOperatorError, match="'new_mode'"):
        load(build(nodes, {"x": X}, {"w": np.ones((1, 3, 1, 1), np.float32)}))


def test_inputs_that_nobody_reads_are_refused():
    for nodes in ([node("Relu", "x x", "y")], [node("Clip", "x low high x", "y")], [node("Conv", "x w b x", "y")],
                  [node("MatMul", "x m x", "y")]):
        constants = {"low": np.float32(0), "high": np.float32(6), "w": np.ones((1, 3, 1, 1), np.float32),
                     "b": np.ones(1, np.float32), "m": np.ones((5, 5), np.float32)}
        used = {v for n in nodes for v in n.input}
        with pytest.raises(UnsupportedOperatorError, match="its inputs [0-9] are unknown here"):
            load(build(nodes, {"x": X}, {n: a for n, a in constants.items() if n in used}))


def test_space_to_depth_of_both_modes():
    x = np.arange(2 * 3 * 4 * 6, dtype=np.float32).reshape(2, 3, 4, 6)
    blocks = x.reshape(2, 3, 2, 2, 3, 2)  # n, c, y, by, x, bx
    expected = {"DCR": blocks.transpose(0, 3, 5, 1, 2, 4), "CRD": blocks.transpose(0, 1, 3, 5, 2, 4)}
    for mode, wanted in expected.items():
        for symbols in (False, True):
            net = load(build([node("SpaceToDepth", "x", "y", blocksize=2, mode=mode)], {"x": x}, opset=21,
                             symbols=symbols)).main
            for candidate in (net, bind(optimise(net), {"x": x.shape})):
                np.testing.assert_array_equal(evaluate(candidate, {"x": x})["y"], wanted.reshape(2, 12, 2, 3))
    with pytest.raises(ModelError, match="expected DCR or CRD"):
        load(build([node("SpaceToDepth", "x", "y", blocksize=2, mode="XYZ")], {"x": x}, opset=21))


# constants


@pytest.mark.parametrize("unbound", [False, True])
def test_layers_on_constants_are_folded(unbound):
    """Positional encodings: a convolution, a resampling and products of constants run at no call."""
    nodes = [node("Conv", "grid w", "c", pads=[1, 1, 1, 1]), node("Resize", "c none scales", "r", mode="linear"),
             node("MatMul", "r m", "e"), node("AveragePool", "e", "p", kernel_shape=[2, 2]), node("Add", "x p", "y")]
    random = np.random.default_rng(1)
    constants = {"grid": random.standard_normal((1, 8, 32, 32)), "w": random.standard_normal((16, 8, 3, 3)),
                 "none": np.zeros(0), "scales": [1, 1, 2, 2], "m": random.standard_normal((64, 64))}
    constants = {n: np.asarray(a, np.float32) for n, a in constants.items()}
    x = random.standard_normal((1, 16, 63, 63)).astype(np.float32)
    model = build(nodes, {"x": (x, ["N", 16, 63, 63])}, constants)
    net = optimise(load(model).main)
    net = net if unbound else bind(net, {"x": x.shape})
    assert [layer.kind for layer in net.layers] == ["add"]
    assert_same(evaluate(net, {"x": x})["y"], run_reference(model, {"x": x})[0], 1e-5, "folded")


def test_what_is_large_is_folded_when_bound_only():
    nodes = [node("Expand", "row shape", "e"), node("Sigmoid", "e", "s"), node("Add", "x s", "y")]
    row = np.random.default_rng(2).standard_normal((1, 1000)).astype(np.float32)
    x = np.zeros((1000, 1000), np.float32)
    model = build(nodes, {"x": x}, {"row": row, "shape": i64(1000, 1)})
    net = optimise(load(model).main)
    assert sum(a.nbytes for a in net.constants.values()) < 1 << 16
    bound = bind(net)
    assert [layer.kind for layer in bound.layers] == ["add"]
    assert_same(evaluate(bound, {"x": x})["y"], run_reference(model, {"x": x})[0], 1e-5, "folded")


def test_folding_is_bounded_in_bytes_and_time():
    """Small constants of which much would be made, in one layer and in many."""
    tall = [node("MaxPool", "w", "p", kernel_shape=[2**30, 1], pads=[2**30 - 1, 0, 2**30 - 1, 0], strides=[2**30, 1]),
            node("ReduceSum", "p", "s", keepdims=0), node("Add", "x s", "y")]
    wide = [node("Expand", f"v{i} shape", f"v{i + 1}") for i in range(200)]
    wide += [node("Exp", f"v{i + 1}", f"e{i}") for i in range(200)]
    wide += [node("ReduceSum", f"e{i}", f"s{i}", keepdims=0) for i in range(200)]
    wide += [node("Sum", " ".join(f"s{i}" for i in range(200)), "s"), node("Add", "x s", "y")]
    constants = {"w": np.ones((1, 1, 3, 4), np.float32), "v0": np.ones((1, 1), np.float32), "shape": i64(1900, 1900)}
    for nodes in (tall, wide):
        used = {v for n in nodes for v in n.input}
        began = time.perf_counter()
        net = optimise(load(build(nodes, {"x": X}, {n: a for n, a in constants.items() if n in used}, opset=12)).main)
        assert sum(a.nbytes for a in net.constants.values()) < 1 << 20
        assert time.perf_counter() - began < 20  # it would take hours
    if nodes is wide:
        assert sum(a.nbytes for a in bind(net).constants.values()) < 300 << 20


def test_weights_that_are_computed():
    random = np.random.default_rng(3)
    raw = random.standard_normal((3, 3, 3, 8)).astype(np.float32)
    nodes = [
        node("Transpose", "raw", "w", perm=[3, 2, 0, 1]), node("Identity", "w", "w1"), node("Mul", "w1 half", "w2"),
        node("Cast", "bias16", "b", to=TensorProto.FLOAT),
        node("Conv", "x w2 b", "c", pads=[1, 1, 1, 1]),
        node("ConstantOfShape", "shape", "full", value=numpy_helper.from_array(np.array([0.01], np.float32))),
        node("Reshape", "full matrix", "m"), node("Flatten", "c", "f"), node("Gemm", "f m", "g", transB=1),
        node("ConstantOfShape", "channels", "ones", value=numpy_helper.from_array(np.array([1.0], np.float32))),
        node("BatchNormalization", "c ones ones ones ones", "n"), node("PRelu", "n slope1", "p"),
        node("Sub", "slope one", "slope1"),
    ]
    nodes = [nodes[-1], *nodes[:-1]]
    constants = {"raw": raw, "half": np.float32(0.5), "bias16": np.arange(8, dtype=np.float64), "shape": i64(8 * 20 * 4000),
                 "matrix": i64(4000, 160), "channels": i64(8), "slope": np.full((8, 1, 1), 1.25, np.float32),
                 "one": np.float32(1)}
    check(nodes, {"x": (X, ["N", 3, 4, 5])}, constants, ("g", "p"), opset=12, tolerance=1e-4)


def test_weights_of_absurd_size_are_refused_soon():
    value = numpy_helper.from_array(np.array([1.0], np.float32))
    for sizes in (i64(2**40, 3, 3, 3), i64(2**62, 2**62, 3, 3), i64(100000, 3, 300, 300)):
        nodes = [node("ConstantOfShape", "shape", "w", value=value), node("Conv", "x w", "y")]
        began = time.perf_counter()
        with pytest.raises((UnsupportedOperatorError, ModelError)):
            load(build(nodes, {"x": X}, {"shape": sizes}))
        assert time.perf_counter() - began < 5


@pytest.mark.parametrize("linear", [False, True])
def test_sparse_tensors(linear):
    dense = np.zeros((5, 4), np.float32)
    dense[[0, 2, 4], [3, 1, 0]] = [1.5, -2, 7]
    at = np.argwhere(dense).astype(np.int64)
    indices = numpy_helper.from_array(at @ i64(4, 1) if linear else at, "w_indices")
    sparse = onnx.SparseTensorProto(values=numpy_helper.from_array(dense[tuple(at.T)], "w"), indices=indices, dims=[5, 4])
    for nodes in ([node("MatMul", "x w", "y")], [node("Constant", "", "c", sparse_value=sparse), node("MatMul", "x c", "y")]):
        model = onnx.ModelProto.FromString(build(nodes, {"x": X}, opset=13))
        if len(nodes) == 1:
            model.graph.sparse_initializer.append(sparse)
        net = load(model.SerializeToString()).main
        np.testing.assert_allclose(evaluate(net, {"x": X})["y"], X @ dense, rtol=1e-6)
    for change in ({"dims": [5, 3]}, {"dims": [2**40, 2**20]}, {"dims": [-5, 4]}, {"dims": [0, 4]}):
        wrong = onnx.ModelProto.FromString(build([node("MatMul", "x w", "y")], {"x": X}, opset=13))
        wrong.graph.sparse_initializer.append(sparse)
        wrong.graph.sparse_initializer[0].dims[:] = change["dims"]
        with pytest.raises(ModelError, match="sparse initializer 'w'"):
            load(wrong.SerializeToString())


LIGHT = sorted(glob.glob(os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "light", "*.onnx")))


@pytest.mark.parametrize("path", [p for p in LIGHT if "vgg" not in p], ids=os.path.basename)
def test_models_with_light_weights(path):
    """ONNX's own models whose weights are made by ConstantOfShape, against the outputs that stand beside them."""
    model = pathweave.load(path)
    (name, spec), = ((n, s) for n, s in model.inputs.items())
    shape = tuple(1 if isinstance(d, str) else d for d in spec.shape)
    x = np.random.default_rng(0).random(shape).astype(np.float32)
    (found,) = model.run({name: x}).values()
    (expected,) = run_reference(Path(path).read_bytes(), {name: x})
    assert_same(found, expected, 1e-4, os.path.basename(path))


# empty values


def test_batches_without_rows():
    nodes = [node("Conv", "x w", "c"), node("Relu", "c", "r"), node("GlobalAveragePool", "r", "g"),
             node("Flatten", "g", "f"), node("Concat", "f tail", "k", axis=0), node("Split", "f", "a b", axis=1)]
    constants = {"w": np.ones((4, 3, 3, 3), np.float32), "tail": np.ones((2, 4), np.float32)}
    outputs = ("r", "f", "k", "a", "x")
    data = build(nodes, {"x": (X, ["N", 3, 4, 5])}, constants, outputs, opset=12)
    model = pathweave.load(data)
    for n in (0, 1, 3):
        x = np.ones((n, 3, 4, 5), np.float32)
        found, expected = model.run({"x": x}), run_reference(data, {"x": x})
        for name, wanted in zip(outputs, expected):
            assert_same(found[name], wanted, 1e-5, f"{name} of {n} rows")


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8, np.int64])
@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin", "ReduceSum", "ReduceProd"])
def test_reductions_of_nothing(op, dtype):
    x = np.zeros((2, 0, 3), dtype)
    model = build([node(op, "x", "y", axes=[1])], {"x": (x, ["N", "M", 3])}, opset=12)
    limits = np.finfo(dtype) if dtype == np.float32 else np.iinfo(dtype)
    low, high = (-np.inf, np.inf) if dtype == np.float32 else (limits.min, limits.max)
    wanted = {"ReduceMax": low, "ReduceMin": high, "ReduceSum": 0, "ReduceProd": 1}[op]
    net = load(model).main
    for candidate in (net, bind(net, {"x": x.shape})):
        found = evaluate(candidate, {"x": x})["y"]
        assert_same(found, np.full((2, 1, 3), wanted, dtype), 0, op)


# default inputs


def _with_default(ir_version=8):
    w = np.arange(15, dtype=np.float32).reshape(5, 3)
    model = onnx.ModelProto.FromString(build([node("MatMul", "x w", "m"), node("Add", "m b", "y")],
                                             {"x": X[0, 0]}, {"w": w, "b": np.float32(1)}))
    model.graph.input.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, []))
    model.ir_version = ir_version
    return model.SerializeToString(), X[0, 0] @ w


def test_a_default_input_may_be_left_out_or_given(tmp_path):
    data, product = _with_default()
    for model in (pathweave.load(data), pathweave.load(_saved(tmp_path / "m.onnx", data))):
        for feeds in ({"x": X[0, 0]}, {"x": X[0, 0], "b": np.array(7, np.float32)}, {"x": X[0, 0]}):
            (expected,) = run_reference(data, feeds)
            assert_same(model(feeds), expected, 1e-5, str(list(feeds)))
        assert_same(model(x=X[0, 0], b=np.array(-2, np.float32)), product - 2, 1e-5, "by keyword")
        with pytest.raises(InputError, match="'c' unknown"):
            model({"x": X[0, 0], "c": np.float32(7)})
    pathweave.load(data).save(tmp_path / "m.pw")
    saved = pathweave.load(tmp_path / "m.pw")
    assert_same(saved(X[0, 0]), product + 1, 1e-5, "saved")
    with pytest.raises(InputError, match="'b': expected to be left out.*default_inputs"):
        saved({"x": X[0, 0], "b": np.array(7, np.float32)})
    pathweave.load(data, default_inputs=["b"]).save(tmp_path / "given.pw")
    assert_same(pathweave.load(tmp_path / "given.pw")({"x": X[0, 0], "b": np.array(7, np.float32)}), product + 7, 1e-5, "given")


def test_before_ir_version_4_every_weight_is_a_default_input():
    data, product = _with_default(ir_version=3)
    model = pathweave.load(data)
    assert_same(model(X[0, 0]), product + 1, 1e-5, "left out")
    assert_same(model({"x": X[0, 0], "b": np.array(7, np.float32)}), product + 7, 1e-5, "given")
    with pytest.raises(InputError, match="'y' is no input with a default value; the model has 'b'"):
        load(data, default_inputs=["y"])


def test_a_weight_that_is_given_takes_the_place_of_the_constant():
    model = onnx.ModelProto.FromString(build([node("Conv", "x w", "y")], {"x": X}, {"w": np.ones((4, 3, 1, 1), np.float32)}))
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3, 1, 1]))
    loaded = pathweave.load(model.SerializeToString())
    assert loaded(X).shape == (2, 4, 4, 5)
    given = 2 * np.ones((4, 3, 1, 1), np.float32)
    np.testing.assert_allclose(np.asarray(loaded({"x": X, "w": given})), 2 * np.asarray(loaded(X)), rtol=1e-5, atol=1e-5)


def _saved(path, data):
    path.write_bytes(data)
    return path


# If


def _branch(name, nodes, outputs, tensors=()):
    return helper.make_graph(nodes, name, [], [onnx.ValueInfoProto(name=v) for v in outputs], list(tensors))


def _if_model(condition, outputs=("y", "z")):
    """Both branches use the same inner names, a value from outside, an initializer, and an If of their own."""
    def branch(op, number):
        constant = numpy_helper.from_array(np.float32(number), "k")
        inner = [_branch("t", [node("Add", "t k", "u")], ["u"]), _branch("e", [node("Sub", "t outer", "u")], ["u"])]
        return _branch(op, [node(op, "outer k", "t"), node("If", "never", "r", then_branch=inner[0], else_branch=inner[1]),
                            node("Relu", "r", "s"), node("Identity", "outer", "same")], ["s", "same"], [constant])
    nodes = [node("Relu", "x", "outer"), *condition,
             helper.make_node("If", ["flag"], list(outputs), then_branch=branch("Mul", 2), else_branch=branch("Div", 4)),
             node("Add", "y z", "end")]
    return build(nodes, {"x": (X, ["N", 3, 4, 5])}, {"never": np.array(False), "four": i64(4)}, ("end",), opset=17)


@pytest.mark.parametrize("taken", [False, True])
def test_if_with_a_condition_that_is_known(taken):
    comparison = "Equal" if taken else "Less"
    condition = [node("Shape", "x", "d"), node("Size", "d", "rank"), node(comparison, "rank four", "flag")]
    model = _if_model(condition)
    check_sizes(model, batches(1, 2, 5))
    kinds = [layer.kind for layer in bind(load(model).main, {"x": X.shape}).layers]
    assert ("div" in kinds or "mul" in kinds) and "if" not in kinds


@pytest.mark.parametrize("number", [-5.0, 0.5, 5.0])
def test_if_with_a_condition_that_depends_on_the_input(number):
    condition = [node("ReduceMax", "x", "m", keepdims=0), node("Greater", "m zero", "flag")]
    nodes = [node("Sub", "x k", "shifted"), *condition, node("If", "flag", "y", then_branch=_branch(
        "t", [node("Mul", "shifted k", "a")], ["a"]), else_branch=_branch("e", [node("Abs", "shifted", "a")], ["a"]))]
    model = build(nodes, {"x": (X, ["N", 3, 4, 5])}, {"k": np.float32(2), "zero": np.float32(0)})
    x = np.full_like(X, number)
    (expected,) = run_reference(model, {"x": x})
    net = load(model).main
    for candidate in (net, bind(optimise(net), {"x": x.shape})):
        np.testing.assert_array_equal(evaluate(candidate, {"x": x})["y"], expected)


def test_if_with_a_condition_that_depends_on_sizes_is_decided_when_they_are_known():
    sized = [node("Shape", "x", "d", start=0, end=1), node("Squeeze", "d", "n"), node("Less", "n four", "many"),
             node("Squeeze", "many", "flag")]
    model = _if_model(sized)
    check_sizes(model, batches(1, 2, 5))
    assert "if" in {layer.kind for layer in load(model).main.layers}
    assert "if" not in {layer.kind for layer in bind(load(model).main, {"x": (2, *X.shape[1:])}).layers}


def test_operators_of_the_branch_that_is_not_taken_do_not_matter():
    good, bad = _branch("g", [node("Relu", "x", "a")], ["a"]), _branch("b", [node("RandomNormalLike", "x", "a")], ["a"])
    for flag in (True, False):
        data = build([node("If", "flag", "y", then_branch=good, else_branch=bad)], {"x": X}, {"flag": np.array(flag)})
        if flag:
            np.testing.assert_array_equal(evaluate(load(data).main, {"x": X})["y"], np.maximum(X, 0))
        else:
            with pytest.raises(UnsupportedOperatorError) as e:
                load(data)
            assert e.value.operators == [("RandomNormalLike", "RandomNormalLike_0")]


# functions


def _function(name, nodes, inputs=("a",), outputs=("b",)):
    return helper.make_function("local", name, list(inputs), list(outputs), nodes, [helper.make_opsetid("", 17),
                                                                                   helper.make_opsetid("local", 1)])


def _with_functions(functions, nodes, constants=None):
    model = onnx.ModelProto.FromString(build(nodes, {"x": X}, constants, opset=17, domains=["local"]))
    model.functions.extend(functions)
    return model


def test_local_functions_are_inlined():
    functions = [_function("Twice", [node("Add", "a a", "b")]),
                 _function("Four", [helper.make_node("Twice", ["a"], ["t"], domain="local"),
                                    helper.make_node("Twice", ["t"], ["b"], domain="local")])]
    nodes = [helper.make_node("Four", ["x"], ["u"], domain="local"), helper.make_node("Twice", ["u"], ["v"], domain="local"),
             node("MatMul", "v w", "y")]
    w = np.random.default_rng(5).standard_normal((5, 200)).astype(np.float32)
    large = np.random.default_rng(6).standard_normal((200, 200)).astype(np.float32)  # taken out before the parser sees it
    model = _with_functions(functions, [*nodes[:2], node("MatMul", "v w", "m"), node("MatMul", "m large", "y")],
                            {"w": w, "large": large})
    (expected,) = ReferenceEvaluator(model).run(None, {"x": X})
    assert_same(evaluate(load(model.SerializeToString()).main, {"x": X})["y"], expected, 1e-4, "inlined")


def test_functions_that_call_themselves_or_explode_are_refused():
    def call(name, i, o):
        return helper.make_node(name, [i], [o], domain="local")
    loop = [_function("A", [call("B", "a", "b")]), _function("B", [call("A", "a", "b")])]
    with pytest.raises(ModelError, match="calls itself"):
        load(_with_functions(loop, [call("A", "x", "y")]).SerializeToString())
    bombs = [_function("F0", [node("Relu", "a", "b")])]
    for i in range(60):
        bombs.append(_function(f"F{i + 1}", [call(f"F{i}", "a", "t"), call(f"F{i}", "t", "b")]))
    began = time.perf_counter()
    with pytest.raises(ModelError, match="more than"):
        load(_with_functions(bombs, [call("F60", "x", "y")]).SerializeToString())
    assert time.perf_counter() - began < 5


# resampling


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("shape", "sizes"), [
    ((6, 7), (9, 4)), ((3, 6, 7), (3, 9, 4)), ((2, 3, 8), (2, 3, 5)), ((1, 6, 7, 3), (1, 9, 4, 3)),
    ((1, 2, 4, 5, 6), (1, 2, 2, 10, 9)), ((8,), (5,)), ((2, 3, 4, 5), (2, 3, 7, 5)),
])
def test_resize_of_any_rank(shape, sizes, mode):
    x = np.random.default_rng(7).standard_normal(shape).astype(np.float32)
    scales = np.array([o / i for o, i in zip(sizes, shape)], np.float32)
    for inputs, constants in (("x none none sizes", {"sizes": i64(*sizes)}), ("x none scales", {"scales": scales})):
        constants["none"] = np.zeros(0, np.float32)
        data = build([node("Resize", inputs, "y", mode=mode)], {"x": x}, constants, opset=19)
        (expected,) = ReferenceEvaluator(onnx.ModelProto.FromString(data)).run(None, {"x": x})
        found = evaluate(bind(optimise(load(data).main)), {"x": x})["y"]
        assert_same(found, expected.astype(np.float32), 1e-5, inputs)


def test_resize_of_images_in_other_orders_runs_as_an_image():
    for shape, sizes, kinds in (((6, 7), (12, 14), {"resize2", "reshape"}), ((2, 3, 8), (2, 3, 16), {"resize2", "reshape"}),
                                ((1, 6, 7, 3), (1, 12, 14, 3), {"resize2", "transpose"})):
        x = np.zeros(shape, np.float32)
        data = build([node("Resize", "x none none sizes", "y", mode="linear")], {"x": x},
                     {"none": np.zeros(0, np.float32), "sizes": i64(*sizes)}, opset=19)
        assert {layer.kind for layer in bind(load(data).main).layers} == kinds


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
def test_uneven_split_of_a_free_axis(parts):
    outputs = [f"y{i}" for i in range(parts)]
    data = build([node("Split", "x", " ".join(outputs), axis=-1, num_outputs=parts)], {"x": (X, ["N", 3, 4, "W"])},
                 outputs=outputs, opset=18)
    for width in (4, 7, 8, 11):
        x = np.arange(2 * 3 * 4 * width, dtype=np.float32).reshape(2, 3, 4, width)
        size = -(-width // parts)
        if size * (parts - 1) > width:
            continue
        wanted = np.split(x, [size * i for i in range(1, parts)], -1)
        bound = bind(load(data).main, {"x": x.shape})
        assert {layer.kind for layer in bound.layers} <= {"split"}
        for found in (evaluate(load(data).main, {"x": x}), evaluate(bound, {"x": x})):
            for name, array in zip(outputs, wanted):
                np.testing.assert_array_equal(found[name], array)


def test_a_tower_of_functions_is_refused_by_what_it_would_become():
    """A file of a kilobyte must not ask for half a million nodes, which take half a minute."""
    def tower(height):
        functions = [_function(f"F{i}", [helper.make_node(*call) for call in (("Relu", ["a"], ["c"]), ("Relu", ["c"], ["b"]))]
                               if i + 1 == height else
                               [helper.make_node(f"F{i + 1}", ["a"], ["c"], domain="local"),
                                helper.make_node(f"F{i + 1}", ["c"], ["b"], domain="local")]) for i in range(height)]
        return _with_functions(functions, [helper.make_node("F0", ["x"], ["y"], domain="local")]).SerializeToString()
    assert len(load(tower(5)).main.layers) == 2**5
    with pytest.raises(ModelError, match="would become 524288 after inlining, more than 2000"):
        load(tower(19))


@pytest.mark.parametrize("op", ["Reshape", "Expand", "Tile", "ConstantOfShape"])
def test_a_vector_of_sizes_that_doubles(op):
    """24 times twice as long: nothing may follow its elements one by one. Its length is an error, whenever it is met."""
    nodes, last = [node("Shape", "x", "s0")], "s0"
    for i in range(24):
        nodes.append(node("Concat", f"{last} {last}", f"s{i + 1}", axis=0))
        last = f"s{i + 1}"
    nodes.append(node(op, last if op == "ConstantOfShape" else f"x {last}", "y"))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "M"])],
                              [helper.make_empty_tensor_value_info("y")])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    begin = time.process_time()
    with pytest.raises(ModelError):
        model = pathweave.load(data)
        model._repr_html_()
        model.plan(shapes={"N": 2, "M": 2})
    assert time.process_time() - begin < 60  # it took minutes


def _sizes_of(what: str) -> list[onnx.NodeProto]:
    """Nodes that make the scalar-like sizes n, t of x [N,T,12], each of shape [1]."""
    return [node("Shape", what, "d"), node("Slice", "d zero one", "n"), node("Slice", "d one two", "t")]


#: name -> (nodes behind `_sizes_of`, the text of the output's shape), as exporters write dynamic shapes
DYNAMIC = {
    "heads": ([node("Concat", "n t heads", "s", axis=0), node("Reshape", "x s", "r"),
               node("Transpose", "r", "q", perm=[0, 2, 1, 3]), node("Transpose", "r", "k", perm=[0, 2, 3, 1]),
               node("MatMul", "q k", "y")], "f32[N,3,T,T]"),
    "halves": ([node("Div", "t two", "h"), node("Slice", "x zero h one", "a"), node("Slice", "x h end one", "b"),
                node("Concat", "b a", "y", axis=1)], "f32[N,T,12]"),
    "pooled": ([node("Unsqueeze", "x one", "i"),
                node("MaxPool", "i", "y", kernel_shape=[3, 4], strides=[2, 2], pads=[1, 1, 1, 1])],
               "f32[N,1,(T+1)/2,6]"),
    "doubled": ([node("Mul", "t two", "t2"), node("Concat", "n t2 twelve", "s", axis=0), node("Resize", "x", "y")], ""),
    "expanded": ([node("Concat", "n one t twelve", "s", axis=0), node("Equal", "s minus", "e"),
                  node("ConstantOfShape", "four", "m", value=numpy_helper.from_array(i64(1))),
                  node("Where", "e m s", "w"), node("Expand", "twelves w", "y")], "f32[N,1,T,12]"),
    "positions": ([node("Squeeze", "t zero", "t0"), node("Squeeze", "zero zero", "z0"), node("Squeeze", "one zero", "o0"),
                   node("Range", "z0 t0 o0", "r"), node("Cast", "r", "f", to=TensorProto.FLOAT),
                   node("Unsqueeze", "f one", "c"), node("Add", "x c", "y")], "f32[N,T,12]"),
    "flat": ([node("Mul", "n t", "nt"), node("Concat", "nt minus", "s", axis=0), node("Reshape", "x s", "y")], "f32[N*T,12]"),
    "tail": ([node("Slice", "x last end one", "y")], "f32[N,min(3, T),12]"),
}
DYNAMIC["doubled"][0][-1].input[:] = ["x", "", "", "s"]
DYNAMIC["doubled"] = (DYNAMIC["doubled"][0], "f32[N,2*T,12]")


@pytest.mark.parametrize("name", DYNAMIC)
def test_open_shapes_are_those_of_onnx_runtime(name):
    """Expressions of one pass, evaluated, and the shapes of ONNX Runtime's results; the net agrees too."""
    nodes, text = DYNAMIC[name]
    constants = {"zero": i64(0), "one": i64(1), "two": i64(2), "four": i64(4), "twelve": i64(12), "minus": i64(-1),
                 "last": i64(-3), "end": i64(2**63 - 1), "heads": i64(3, 4), "twelves": np.ones(12, np.float32)}
    model = build([*_sizes_of("x"), *nodes], {"x": (X, ["N", "T", 12])}, constants, opset=13)
    net = optimise(load(model).main)
    shapes = infer(net)
    assert str(shapes.specs["y"]) == text
    for n, t in ((1, 5), (2, 4), (3, 7), (1, 2), (2, 1)):
        x = np.random.default_rng(n).standard_normal((n, t, 12)).astype(np.float32)
        (wanted,) = run_reference(model, {"x": x})
        assert shapes.shapes_at({"N": n, "T": t})["y"].shape == wanted.shape
    check_sizes(model, [{"x": np.ones((n, t, 12), np.float32)} for n, t in ((1, 5), (2, 4), (2, 1))])

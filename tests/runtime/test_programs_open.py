"""Open sizes: one plan for all of them computes what plans for just these sizes do, and refuses what they refuse."""

from __future__ import annotations

import time

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import pathweave as pw
from pathweave.errors import InputError, OutOfMemoryError, ShapeError, SizeError
from pathweave.runtime import opened

F = TensorProto.FLOAT


def model_of(nodes, inputs: dict, constants=(), threads: int = 2) -> pw.LoadedModel:
    """A model whose output is `y`."""
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info(n, F, s) for n, s in inputs.items()],
                              [helper.make_tensor_value_info("y", F, None)],
                              [numpy_helper.from_array(np.asarray(a), n) for n, a in constants])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    return pw.load(data, threads=threads)


def array(rng, *shape: int) -> np.ndarray:
    return rng.integers(-4, 5, shape).astype(np.float32)


#: nodes, inputs, constants, function of the inputs that NumPy computes; which sizes fit.
PAIRS = {
    "concat": ([("Concat", ["x", "z"], {"axis": 1})], ("L", 3), ("K", 2), (), lambda x, z: np.concatenate([x, z], 1),
               lambda length, other: length == other),
    "add": ([("Add", ["x", "z"], {})], ("L", 8), ("K", 8), (), np.add,
            lambda length, other: length == other or 1 in (length, other)),
    "add columns": ([("Add", ["x", "z"], {})], (3, "L"), (3, "K"), (), np.add,
                    lambda length, other: length == other or 1 in (length, other)),
    "matmul": ([("MatMul", ["x", "z"], {})], (3, "L"), ("K", 5), (), np.matmul, lambda length, other: length == other),
    "first rows": ([("Shape", ["z"], {}), ("Slice", ["x", "zero", "v0"], {})], ("L", 2), ("K",), [("zero", np.array([0]))],
                   lambda x, z: x[:len(z)], lambda length, other: True),
}


@pytest.mark.parametrize("name", PAIRS)
def test_sizes_of_two_inputs_up_and_down(name):
    """Relu in front and behind, so that values lie in the arena and in the caller's arrays; sizes beyond the planned memory."""
    operators, x, z, constants, meaning, fits = PAIRS[name]
    nodes = [helper.make_node("Relu", ["x0"], ["x"]), helper.make_node("Relu", ["z0"], ["z"])]
    for i, (op, ins, attrs) in enumerate(operators):
        nodes.append(helper.make_node(op, ins, [f"v{i}"], **attrs))
    nodes.append(helper.make_node("Neg", [f"v{len(operators) - 1}"], ["y"]))
    model = model_of(nodes, {"x0": x, "z0": z}, constants)
    rng = np.random.default_rng(5)
    sizes = [(16, 16), (16, 15), (4, 16), (16, 4), (1, 16), (16, 1), (1, 1), (300, 300), (301, 17), (17, 301), (7, 7),
             (1000, 3),
             *((int(a), int(a if rng.random() < 0.5 else b)) for a, b in rng.integers(1, 60, (20, 2)))]
    for length, other in sizes:
        at = {"L": length, "K": other}
        x0, z0 = (array(rng, *(at.get(d, d) for d in shape)) for shape in (x, z))
        if not fits(length, other):
            with pytest.raises((InputError, ShapeError)):
                model({"x0": x0, "z0": z0})
            continue
        got, want = model({"x0": x0, "z0": z0}), -meaning(np.maximum(x0, 0), np.maximum(z0, 0))
        assert got.shape == want.shape and np.array_equal(got, want), (length, other)
    assert model.runnable()._open.reason == ""  # sizes that do not fit turn no others away


def test_a_size_that_must_be_divided():
    model = model_of([helper.make_node("Reshape", ["x", "shape"], ["r"]), helper.make_node("Relu", ["r"], ["y"])],
                     {"x": ("L",)}, [("shape", np.array([-1, 4]))])
    for length in (16, 15, 8, 401, 400, 4, 3):
        x = np.arange(length, dtype=np.float32)
        if length % 4 == 0:
            assert np.array_equal(model(x), x.reshape(-1, 4))
        else:
            with pytest.raises((InputError, ShapeError)):
                model(x)


@pytest.mark.parametrize("first", [-16, -3, 0])
def test_the_last_rows_lie_elsewhere_at_each_size(first):
    model = model_of([helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Slice", ["r", "from", "to"], ["s"]),
                      helper.make_node("Neg", ["s"], ["y"])], {"x": ("L", 3)},
                     [("from", np.array([first])), ("to", np.array([2**40]))])
    for length in (16, 20, 100, 3, 1, 17, 16):
        x = np.arange(length * 3, dtype=np.float32).reshape(length, 3)
        assert np.array_equal(model(x), -x[first:])


def test_a_session_of_an_open_plan_refuses_what_does_not_fit():
    """The plan itself, without the model that would make another one."""
    model = model_of([helper.make_node("Concat", ["x", "z"], ["y"], axis=1)], {"x": ("L", 3), "z": ("K", 2)})
    rng = np.random.default_rng(6)
    for length in (16, 9):
        model({"x": array(rng, length, 3), "z": array(rng, length, 2)})
    (plan,) = [p for p in model.runnable().kept_plans() if p.bound.opened and len(p.bound.opened.given) == 2] or [None]
    assert plan is not None
    session = plan.session()
    with pytest.raises(InputError, match="=="):
        session({"x": array(rng, 9, 3), "z": array(rng, 8, 2)})
    x, z = array(rng, 9, 3), array(rng, 9, 2)
    assert np.array_equal(session({"x": x, "z": z}), np.concatenate([x, z], 1))


def of_contents(op: str, inputs: list[str], dims: dict[str, list]) -> pw.LoadedModel:
    """One operator, whose results are as large as what its inputs hold says."""
    graph = helper.make_graph([helper.make_node(op, inputs, ["y"], name="it")], "g",
                              [helper.make_tensor_value_info(n, F if n == "x" else TensorProto.INT64, dims[n]) for n in dims],
                              [helper.make_empty_tensor_value_info("y")])
    return pw.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


def test_an_error_in_sizes_names_its_layer():
    """A vector of sizes that is wrong shows only when the net runs."""
    model, x = of_contents("Pad", ["x", "sizes"], {"x": ["N", "M"], "sizes": [4]}), np.ones((2, 3), np.float32)
    assert model(x=x, sizes=np.array([0, 1, 0, 1])).shape == (2, 5)
    with pytest.raises(ShapeError, match="step 0 .'it'. was given contents that say no size"):
        model(x=x, sizes=np.array([0, -2, 0, -2]))


@pytest.mark.parametrize("op, inputs, count, huge, large", [
    ("Expand", ["x", "sizes"], 2, [200_000, 300_000], [1200, 1200]),
    ("Tile", ["x", "sizes"], 2, [200_000, 300_000], [1200, 1200]),
    ("Resize", ["x", "", "", "sizes"], 2, [200_000, 300_000], [1200, 1200]),
    ("ConstantOfShape", ["sizes"], 2, [2**17, 2**20], [1200, 1200]),
    ("Pad", ["x", "sizes"], 4, [200_000, 300_000, 1, 1], [1200, 1200, 1, 1])], ids=lambda p: p if isinstance(p, str) else "")
def test_results_that_contents_make_too_large(op, inputs, count, huge, large, monkeypatch):
    """They are refused by their sizes, before anything is computed."""
    model = of_contents(op, inputs, {"x": ["N", "M"], "sizes": [count]})
    x, start = np.ones((1, 1), np.float32), time.process_time()
    with pytest.raises(OutOfMemoryError, match="'it'"):
        model(x=x, sizes=np.array(huge))
    monkeypatch.setenv("PATHWEAVE_MAX_BYTES", "1000000")
    with pytest.raises(SizeError, match="'it'.*PATHWEAVE_MAX_BYTES"):
        model(x=x, sizes=np.array(large))
    assert time.process_time() - start < 5


@pytest.mark.parametrize("outputs", [["y"], ["v", "y"], ["v"]])
def test_results_that_are_larger_than_what_is_planned(outputs, monkeypatch):
    """A result lies in the caller's memory however large it is; a value inside has memory once its size is known."""
    monkeypatch.setattr(opened, "MOST_PLANNED_BYTES", 256)
    nodes = [helper.make_node("Sub", ["p", "q"], ["v"]), helper.make_node("ReduceMax", ["v"], ["y"], axes=[0], keepdims=1)]
    graph = helper.make_graph(nodes[:1 if outputs == ["v"] else 2], "net",
                              [helper.make_tensor_value_info("p", TensorProto.FLOAT, [1, "A"]),
                               helper.make_tensor_value_info("q", TensorProto.FLOAT, ["B", 1])],
                              [helper.make_empty_tensor_value_info(o) for o in outputs])
    model = pw.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    for sizes in ((3, 4), (30, 40), (2, 3), (60, 7), (1, 1)):
        p, q = np.arange(sizes[0], dtype=np.float32)[None], np.arange(sizes[1], dtype=np.float32)[:, None]
        wanted = {"v": p - q, "y": (p - q).max(0, keepdims=True)}
        for out in (None, {o: np.full(wanted[o].shape, 77, np.float32) for o in outputs}):
            got = model.run({"p": p, "q": q}, out)
            assert all(np.array_equal(got[o], wanted[o]) for o in outputs), sizes


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.float32])
@pytest.mark.parametrize("constant", [False, True])
def test_padding_with_a_number_that_a_call_gives(dtype, constant):
    code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    inputs = [("x", code, ["N"]), ("value", code, []), *([] if constant else [("pads", TensorProto.INT64, [2])])]
    graph = helper.make_graph([helper.make_node("Pad", ["x", "pads", "value"], ["y"])], "net",
                              [helper.make_tensor_value_info(*i) for i in inputs],
                              [helper.make_tensor_value_info("y", code, [None])],
                              [numpy_helper.from_array(np.array([1, 2]), "pads")] if constant else [])
    model = pw.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    for size in (3, 5, 0, 1):
        x, value, pads = np.arange(size).astype(dtype), np.array(7, dtype), np.array([1, 2])
        got = model.run({"x": x, "value": value, **({} if constant else {"pads": pads})})["y"]
        assert got.dtype == dtype and np.array_equal(got, np.pad(x, (1, 2), constant_values=7))


def test_powers_of_unsigned_exponents_beyond_the_signed_ones():
    graph = helper.make_graph([helper.make_node("Pow", ["x", "e"], ["y"])], "net",
                              [helper.make_tensor_value_info(n, TensorProto.UINT64, ["N"]) for n in "xe"],
                              [helper.make_tensor_value_info("y", TensorProto.UINT64, [None])])
    model = pw.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    x, e = np.array([3, 3, 1, 0, 2], np.uint64), np.array([2**63 + 1, 5, 2**64 - 1, 2**63, 2**63], np.uint64)
    wanted = [pow(int(a), int(b), 2**64) for a, b in zip(x, e)]
    assert model.run({"x": x, "e": e})["y"].tolist() == wanted


def test_squeeze_of_what_has_one_element_but_at_a_size_of_zero():
    model = model_of([helper.make_node("Slice", ["x", "zero", "one", "one"], ["v"]), helper.make_node("Squeeze", ["v"], ["y"])],
                     {"x": (3, "M")}, [("zero", np.array([0])), ("one", np.array([1]))])
    for size in (4, 0, 1, 7):
        x = np.arange(3 * size, dtype=np.float32).reshape(3, size)
        assert np.array_equal(model.run({"x": x})["y"], x[:, 0:1].squeeze())


def test_a_size_inside_that_becomes_zero_at_some_sizes():
    """Columns from the fourth on: none at 4, after larger sizes whose kernels do for all."""
    nodes = [helper.make_node("Slice", ["x", "four", "end", "one"], ["rest"]), helper.make_node("Exp", ["rest"], ["e"]),
             helper.make_node("Transpose", ["e"], ["t"], perm=[1, 0]), helper.make_node("MatMul", ["e", "t"], ["m"]),
             helper.make_node("ReduceSum", ["e", "one"], ["s"], keepdims=1),
             helper.make_node("Softmax", ["rest"], ["soft"], axis=1),
             helper.make_node("ReduceSum", ["soft", "one"], ["u"], keepdims=1),
             helper.make_node("Concat", ["m", "s", "u", "rest"], ["y"], axis=1)]
    model = model_of(nodes, {"x": (3, "N")}, [("four", np.array([4])), ("end", np.array([2**31 - 1])), ("one", np.array([1]))])
    for size in (9, 12, 40, 8, 4, 10, 4, 5, 64, 4, 33):
        x = np.random.default_rng(size).standard_normal((3, size)).astype(np.float32)
        rest = x[:, 4:].astype(np.float64)
        e = np.exp(rest)
        soft = np.ones((3, 1)) if rest.size else np.zeros((3, 1))
        wanted = np.concatenate([e @ e.T, e.sum(1, keepdims=True), soft, rest], 1)
        np.testing.assert_allclose(model.run({"x": x})["y"], wanted, rtol=1e-5, atol=1e-5)
    assert len(model.runnable().kept_plans()) <= 2

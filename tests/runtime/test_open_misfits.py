"""Sizes, and contents, that a plan for open sizes does not do for: refused, and nothing stays of them."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import pathweave as pw
from pathweave.errors import Error, InputError, ShapeError, SizeError, UnfitSizesError

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
NUMBERS = {"zero": np.array([0]), "one": np.array([1]), "minus": np.array([-1]), "all": np.array([-1, 4])}


def made(nodes: list, inputs: dict[str, tuple[int, list]], outputs: dict[str, int]) -> bytes:
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()],
                              [helper.make_tensor_value_info(n, FLOAT, [None] * rank) for n, rank in outputs.items()],
                              [numpy_helper.from_array(a, n) for n, a in NUMBERS.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def node(op: str, inputs: str, output: str, **attributes):
    return helper.make_node(op, inputs.split(), [output], **attributes)


def size_less_one(value: str) -> list:
    """[-1, size of axis 1, less 1] as "shape"."""
    return [node("Shape", value, "sizes"), node("Gather", "sizes one", "size", axis=0), node("Sub", "size one", "less"),
            node("Concat", "minus less", "shape", axis=0), node("Reshape", f"{value} shape", "y")]


#: Name -> nodes, inputs, outputs with their ranks, shapes of the inputs in turn. Of some layers only the sizes are read.
NETS = {
    "reshape": (size_less_one("x"), {"x": (FLOAT, ["N", "M"])}, {"y": 2}, [((n, m),) for n, m in
                ((6, 3), (12, 3), (6, 4), (6, 1), (5, 4), (6, 3))]),
    "reshape read for its sizes": (
        [*size_less_one("x"), node("Shape", "y", "s"), node("ConstantOfShape", "s", "z"),
         node("ReduceSum", "x", "r", keepdims=0)],
        {"x": (FLOAT, ["N", "M"])}, {"z": 2, "r": 0},
        [((n, m),) for n, m in ((6, 3), (12, 3), (6, 4), (6, 1), (5, 4), (7, 2))]),
    "add read for its sizes": (
        [node("Add", "x y", "a"), node("Shape", "a", "s"), node("ConstantOfShape", "s", "z")],
        {"x": (FLOAT, ["B", "N"]), "y": (FLOAT, ["B", "M"])}, {"z": 2},
        [((2, n), (2, m)) for n, m in ((4, 4), (5, 5), (1, 5), (3, 5), (6, 4))]),
    "add of nothing": ([node("Add", "x y", "z")], {"x": (FLOAT, ["N", 3]), "y": (FLOAT, ["M", 3])}, {"z": 2},
                       [((n, 3), (m, 3)) for n, m in ((4, 4), (5, 5), (7, 0), (5, 0), (1, 0), (0, 0), (8, 0), (0, 1))]),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("first", [0, 3])
def test_sizes_that_do_not_fit_are_refused_whatever_was_called_before(name, first):
    runtime = pytest.importorskip("onnxruntime")
    nodes, inputs, outputs, shapes = NETS[name]
    data = made(nodes, inputs, outputs)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session, model = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"]), pw.load(data, threads=2)
    for sizes in shapes[first:] + shapes:
        given = {n: np.ones(s, np.float32) for n, s in zip(inputs, sizes)}
        try:
            wanted = session.run(None, given)
        except Exception:  # its own types
            with pytest.raises(ShapeError):
                model.run(given)
            continue
        got = list(model.run(given).values())
        assert [g.shape for g in got] == [w.shape for w in wanted] and all(map(np.array_equal, got, wanted)), sizes


def test_sizes_that_are_too_large_are_told_alike_by_every_plan():
    outer = made([node("Add", "x y", "z"), node("ReduceSum", "z one", "r", keepdims=1)],
                 {"x": (FLOAT, ["N", 1]), "y": (FLOAT, [1, "M"])}, {"r": 2})
    huge = {"x": np.ones((2**20, 1), np.float32), "y": np.ones((1, 2**20), np.float32)}
    small = {"x": np.ones((3, 1), np.float32), "y": np.ones((1, 4), np.float32)}
    model = pw.load(outer, threads=1)
    for given in (small, {**small, "y": np.ones((1, 5), np.float32)}):
        model.run(given)
    for used in (model, pw.load(outer, threads=1)):
        with pytest.raises(SizeError):
            used.run(huge)
    assert np.array_equal(model.run(small)["r"], np.full((3, 1), 8))
    plan = model.plan(most={"N": 4, "M": 4})
    for most in ({"N": 2**41, "M": 1}, {"N": 2**70, "M": 1}, {"N": 0, "M": 1}, {"N": 3}):
        with pytest.raises(InputError, match="plan: the size of"):
            plan.resized(most)
    with pytest.raises(SizeError, match="N = 1048576, M = 1048576"):
        plan.resized({"N": 2**20, "M": 2**20})


def test_sizes_that_do_not_fit_take_no_memory():
    model = pw.load(made([node("MatMul", "x y", "z"), node("ReduceSum", "z", "r", keepdims=0)],
                         {"x": (FLOAT, ["N", "K"]), "y": (FLOAT, ["L", "M"])}, {"r": 0}), threads=1)

    def run(n: int, k: int, inner: int):
        return model.run({"x": np.ones((n, k), np.float32), "y": np.ones((inner, 2), np.float32)})
    for n, k in ((3, 4), (5, 4), (5, 6), (4, 7)):  # then all sizes are open
        run(n, k, k)
    before = [plan.peak_bytes for plan in model.runnable().kept_plans()]
    with pytest.raises(ShapeError):
        run(3_000_000, 4, 5)
    assert [plan.peak_bytes for plan in model.runnable().kept_plans()] == before


def test_a_call_of_the_model_is_not_told_to_call_the_model():
    model = pw.load(made([helper.make_node("TopK", ["x", "k"], ["v", "i"]), node("ArgMax", "v", "u", axis=1)],
                         {"x": (FLOAT, ["N", "A"]), "k": (INT64, [1])}, {"v": 2, "u": 2}), threads=1)
    inputs = {"x": np.arange(10, dtype=np.float32).reshape(2, 5), "k": np.array([0])}
    for call in (model.run, lambda given: model(**given)):
        with pytest.raises(UnfitSizesError, match=r"^call: no plan .*expected v\.1 >= 1; correct the contents") as e:
            call(inputs)
        assert "call the model" not in str(e.value)
    with pytest.raises(UnfitSizesError, match="or call the model, which looks for a plan that does"):
        model.session({"N": 2, "A": 5}).run(inputs)
    assert np.array_equal(model.run({**inputs, "k": np.array([2])})["v"], [[4, 3], [9, 8]])


def test_contents_that_do_not_fit_say_nothing_of_their_sizes():
    model = pw.load(made([node("Compress", "x mask", "a", axis=0), node("Reshape", "a all", "y")],
                         {"x": (FLOAT, ["N"]), "mask": (BOOL, ["N"])}, {"y": 2}), threads=2)

    def run(size: int, kept: int) -> np.ndarray:
        return model.run({"x": np.arange(size, dtype=np.float32), "mask": np.arange(size) < kept})["y"]
    for size in (8, 9):
        run(size, 8)
    kept = len(model.runnable().kept_plans())
    for _ in range(3):
        with pytest.raises(UnfitSizesError, match="correct the contents"):
            run(10, 3)
        assert np.array_equal(run(10, 4), np.arange(4).reshape(1, 4))
        assert len(model.runnable().kept_plans()) == kept


def test_a_plan_that_was_forgotten_in_a_call_is_not_used_again():
    body = helper.make_graph([node("Identity", "c", "going"), node("Add", "a w", "b")], "body",
                             [helper.make_tensor_value_info("i", INT64, ()), helper.make_tensor_value_info("c", BOOL, ()),
                              helper.make_tensor_value_info("a", FLOAT, ("N",))],
                             [helper.make_tensor_value_info("going", BOOL, ()),
                              helper.make_tensor_value_info("b", FLOAT, ("N",))])
    loop = helper.make_node("Loop", ["n", "", "w"], ["y"], body=body)
    model = pw.load(made([loop], {"n": (INT64, []), "w": (FLOAT, ["N"])}, {"y": 1}), threads=1)
    runnable, done = model.runnable(), threading.Event()

    def run(size: int, rounds: int) -> None:
        model.run({"n": np.array(rounds), "w": np.ones(size, np.float32)})
    for size in (3, 5):
        run(size, 1)

    def long() -> None:
        rounds = 1000
        while not forgotten:
            run(9, rounds)
            rounds *= 4
        run(9, 1)
        done.set()
    forgotten: list = []
    thread = threading.Thread(target=long)
    thread.start()
    for _ in range(50):
        time.sleep(0.002)
        runnable.forget_plans()
    forgotten.append(True)
    thread.join()
    run(9, 1)
    kept = runnable.kept_plans()
    assert done.is_set() and all(entry.plan in kept for entry in runnable._open_known.values())


@pytest.mark.parametrize("sizes", [(6, 1), (1, 1)])
def test_a_size_that_divides_by_nothing_is_a_typed_error_or_right(sizes):
    """Range(0, N, M - 1) has N / (M - 1) elements."""
    model = pw.load(made([node("Shape", "x", "s"), node("Gather", "s zero", "n", axis=0), node("Gather", "s one", "m", axis=0),
                          node("Sub", "m one", "step"), node("Squeeze", "n", "end"), node("Squeeze", "step", "by"),
                          node("Squeeze", "zero", "begin"), node("Range", "begin end by", "r"),
                          node("Cast", "r", "y", to=FLOAT)], {"x": (FLOAT, ["N", "M"])}, {"y": 1}), threads=1)
    for n, m in ((6, 3), (12, 3), (6, 4)):
        got = model.run({"x": np.ones((n, m), np.float32)})["y"]
        assert np.array_equal(got, np.arange(0, n, m - 1))
    with pytest.raises(Error):
        model.run({"x": np.ones(sizes, np.float32)})


def test_a_result_whose_size_divides_by_nothing_is_refused_whatever_its_layers_ask():
    plan = pw.load(made(size_less_one("x"), {"x": (FLOAT, ["N", "M"])}, {"y": 2}), threads=1).plan(most={"N": 12, "M": 12})
    plan.bound.opened.conditions.clear()
    with pytest.raises(UnfitSizesError, match="N = 6, M = 1: a size of the results is divided by 0"):
        plan.session().run({"x": np.ones((6, 1), np.float32)})

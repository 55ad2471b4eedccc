"""Networks with If, Loop, Scan and sizes that depend on contents: random ones against ONNX Runtime, to the bit."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from program_nets import COLUMNS, Program

import pathweave as pw
from pathweave.errors import UnfitSizesError

CALLS = 3
FEW, MANY = range(8), range(8, 150)


def reference(data: bytes):
    """A session of ONNX Runtime, on one thread."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def assert_equal(got: dict, session, inputs: dict) -> None:
    names = [o.name for o in session.get_outputs()]
    for name, want in zip(names, session.run(names, inputs)):
        assert got[name].shape == want.shape and np.array_equal(got[name], want), name


def compare(seed: int, threads: tuple[int, ...], depth: int = 3) -> None:
    program = Program(seed, depth)
    session = reference(program.data)
    for count in threads:
        model = pw.load(program.data, threads=count)
        for call in range(CALLS):
            inputs = program.inputs(1000 * seed + call)
            assert_equal(model.run(inputs), session, inputs)
        assert len(model.runnable().kept_plans()) == 1  # one plan for all contents


@pytest.mark.parametrize("seed", FEW)
def test_random_programs(seed):
    compare(seed, (1, 5))


@pytest.mark.long
@pytest.mark.parametrize("seed", MANY)
def test_many_random_programs(seed):
    compare(seed, (1, 2, 5, 9))


@pytest.mark.parametrize("seed", [3, 4])
def test_two_sessions_run_at_the_same_time(seed):
    program = Program(seed, 2)
    session, plan = reference(program.data), pw.load(program.data, threads=2).plan()
    names = [o.name for o in session.get_outputs()]
    expected = [(inputs, session.run(names, inputs)) for inputs in map(program.inputs, range(6))]
    wrong: list[object] = []

    def work(own, order):
        try:
            for inputs, want in order:
                got = own.run(inputs)
                wrong.extend(n for n, w in zip(names, want) if not np.array_equal(got[n], w))
        except Exception as e:  # the test's own thread tells
            wrong.append(e)
    threads = [threading.Thread(target=work, args=(plan.session(), order)) for order in (expected, expected[::-1])]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


# ---- small ones, by hand -------------------------------------------------------------------------------------------------

def info(name: str, dtype: int, shape) -> object:
    return helper.make_tensor_value_info(name, dtype, shape)


F, INT, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def onnx_model(nodes, inputs, outputs, constants=()) -> bytes:
    graph = helper.make_graph(nodes, "net", inputs, outputs, [numpy_helper.from_array(a, n) for n, a in constants])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def loop(body_nodes, carried: list[str], made: list[str], parts: list[str], constants=()) -> bytes:
    """A loop of `n` rounds over rows `carried`; `made` is what they become, `parts` are stacked."""
    nodes = [*body_nodes, helper.make_node("Identity", ["c"], ["again"])]
    body = helper.make_graph(nodes, "body", [info("i", INT, ()), info("c", B, ()), *(info(v, F, (None,)) for v in carried)],
                             [info("again", B, ()), *(info(v, F, (None,)) for v in (*made, *parts))])
    outputs = [f"out{k}" for k in range(len(made) + len(parts))]
    node = helper.make_node("Loop", ["n", "", *(f"{v}0" for v in carried)], outputs, body=body)
    return onnx_model([node], [info("n", INT, ()), *(info(f"{v}0", F, (k + 2,)) for k, v in enumerate(carried))],
                      [info(o, F, None) for o in outputs], constants)


def call(model, rounds: int, **arrays) -> dict:
    return model.run({"n": np.array(rounds, np.int64), **arrays})


@pytest.mark.parametrize("threads", [1, 2])
def test_carried_values_grow_by_each_other(threads):
    """Both new sizes depend on both old ones: no order of writing them one by one is right."""
    concat = [helper.make_node("Concat", ["a", "b"], ["a2"], axis=0), helper.make_node("Neg", ["a"], ["b2"])]
    model = pw.load(loop(concat, ["a", "b"], ["a2", "b2"], []), threads=threads)
    first, second = np.arange(2, dtype=np.float32), np.arange(3, dtype=np.float32)
    for rounds in (0, 1, 2, 7):
        a, b = first, second
        for _ in range(rounds):
            a, b = np.concatenate([a, b]), -a
        got = call(model, rounds, a0=first, b0=second)
        assert np.array_equal(got["out0"], a) and np.array_equal(got["out1"], b)


@pytest.mark.parametrize("threads", [1, 2])
def test_carried_values_change_places(threads):
    swap = [helper.make_node("Identity", ["b"], ["a2"]), helper.make_node("Identity", ["a"], ["b2"])]
    model = pw.load(loop(swap, ["a", "b"], ["a2", "b2"], []), threads=threads)
    given = np.arange(2, dtype=np.float32), np.arange(3, dtype=np.float32)
    for rounds in range(4):
        got = call(model, rounds, a0=given[0], b0=given[1])
        assert all(np.array_equal(got[f"out{k}"], given[(k + rounds) % 2]) for k in (0, 1))


@pytest.mark.parametrize("threads", [1, 2])
def test_parts_of_one_loop_that_differ_are_refused(threads):
    concat = [helper.make_node("Concat", ["a", "one"], ["a2"], axis=0), helper.make_node("Relu", ["a"], ["p"])]
    model = pw.load(loop(concat, ["a"], ["a2"], ["p"], [("one", np.ones(1, np.float32))]), threads=threads)
    a = np.arange(2, dtype=np.float32)
    for rounds in (1, 0, 1):
        assert call(model, rounds, a0=a)["out0"].size == 2 + rounds
    with pytest.raises(UnfitSizesError, match="a part has size 3"):
        call(model, 2, a0=a)
    assert np.array_equal(call(model, 1, a0=a)["out1"], a[None])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_hundred_thousand_rounds(threads):
    add = [helper.make_node("Add", ["a", "one"], ["a2"])]
    model = pw.load(loop(add, ["a"], ["a2"], [], [("one", np.ones(1, np.float32))]), threads=threads)
    assert np.array_equal(call(model, 100_000, a0=np.zeros(2, np.float32))["out0"], np.full(2, 100_000, np.float32))


def test_what_finds_out_a_size_that_alone_is_used_stays():
    """Rows as many as there are numbers other than 0, whose places nobody reads."""
    nodes = [helper.make_node("NonZero", ["x"], ["at"]), helper.make_node("Shape", ["at"], ["shape"]),
             helper.make_node("Slice", ["shape", "one", "two"], ["count"]),
             helper.make_node("Concat", ["count", "rest"], ["wanted"], axis=0),
             helper.make_node("Reshape", ["w", "wanted"], ["y"])]
    numbers = [("one", [1]), ("two", [2]), ("rest", [-1])]
    model = pw.load(onnx_model(nodes, [info("x", F, (6,)), info("w", F, (12,))], [info("y", F, None)],
                               [(n, np.array(v, np.int64)) for n, v in numbers]))
    w = np.arange(12, dtype=np.float32)
    for count in (3, 1, 6, 4):
        assert np.array_equal(model({"x": (np.arange(6) < count).astype(np.float32), "w": w}), w.reshape(count, -1))
    with pytest.raises(UnfitSizesError, match="12"):
        model({"x": (np.arange(6) < 5).astype(np.float32), "w": w})


@pytest.mark.parametrize("threads", [1, 2])
def test_late_sizes_that_must_be_equal_are_looked_at(threads):
    nodes = [helper.make_node("Compress", ["x", "c"], ["a"], axis=0), helper.make_node("Compress", ["x", "d"], ["b"], axis=0),
             helper.make_node("Concat", ["a", "b"], ["y"], axis=1)]
    model = pw.load(onnx_model(nodes, [info("x", F, (20, COLUMNS)), info("c", B, (20,)), info("d", B, (20,))],
                               [info("y", F, None)]), threads=threads)
    x = np.arange(20 * COLUMNS, dtype=np.float32).reshape(20, COLUMNS)
    for a, b in ((20, 20), (5, 5), (20, 5), (5, 20), (0, 0), (7, 8), (7, 7)):
        inputs = {"x": x, "c": np.arange(20) < a, "d": np.arange(20) >= 20 - b}
        if a == b:
            assert np.array_equal(model(inputs), np.concatenate([x[:a], x[20 - b:]], 1))
            continue
        with pytest.raises(UnfitSizesError, match="=="):
            model(inputs)

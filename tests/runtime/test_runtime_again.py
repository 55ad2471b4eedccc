"""Calls like one before take a shorter way: what they give and raise is what the first call gave and raised."""

from __future__ import annotations

import threading

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import pathweave as pw  # noqa: E402
from pathweave.errors import DTypeError, InputError  # noqa: E402
from pathweave.runtime.session import KEPT_SHAPES  # noqa: E402

WEIGHTS = np.random.default_rng(1).standard_normal((8, 6)).astype(np.float32)


def net(shape: list, two: bool = False) -> bytes:
    """p = x W + b; y = relu(p), and for two inputs and outputs z = -y, with b an input."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["q"]),
             helper.make_node("Relu", ["q"], ["y"]), *([helper.make_node("Neg", ["y"], ["z"])] if two else [])]
    ins = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    constants = [numpy_helper.from_array(WEIGHTS, "w")]
    if two:
        ins.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, [6]))
    else:
        constants.append(numpy_helper.from_array(np.ones(6, np.float32), "b"))
    outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("y", "z")[:1 + two]]
    graph = helper.make_graph(nodes, "net", ins, outs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def meaning(x: np.ndarray, b: np.ndarray | float = 1.0) -> np.ndarray:
    return np.maximum(x.astype(np.float64) @ WEIGHTS + b, 0)


def rows(n: int, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 8)).astype(np.float32)


def close(y: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5)


@pytest.fixture(params=[[3, 8], ["N", 8]], ids=["fixed", "open"])
def model(request):
    found = pw.load(net(request.param))
    for _ in range(3):
        found(rows(3))
    return found


def test_it_is_taken(model, monkeypatch):
    """Else the other tests of this file show nothing."""
    def anew(*_, **__):
        raise AssertionError("the longer way")
    monkeypatch.setattr(pw.Session, "anew", anew)
    close(model(rows(3, 4)), meaning(rows(3, 4)))
    close(model.run({"x": rows(3, 5)})["y"], meaning(rows(3, 5)))
    with pytest.raises(AssertionError, match="longer"):
        model(rows(3, 5)[::-1])


def test_every_result_is_an_array_of_its_own(model):
    first, second = model(rows(3, 4)), model(rows(3, 5))
    assert not np.shares_memory(first, second)
    close(first, meaning(rows(3, 4)))
    close(second, meaning(rows(3, 5)))


def test_arrays_that_lie_otherwise(model):
    x = rows(3, 4)
    backwards = x[::-1].copy()[::-1]
    wide = np.zeros((3, 16), np.float32)
    wide[:, ::2] = x
    bytes_ = bytearray(x.nbytes + 1)
    odd = np.frombuffer(memoryview(bytes_)[1:], np.float32).reshape(3, 8)
    odd[...] = x
    fixed = x.copy()
    fixed.flags.writeable = False

    class Other(np.ndarray):
        pass
    for given in (backwards, wide[:, ::2], np.asfortranarray(x), odd, fixed, x.view(Other), x.astype(x.dtype.newbyteorder("=")),
                  {"x": x}):
        close(model(given), meaning(x))
        close(model({"x": given} if isinstance(given, np.ndarray) else given), meaning(x))
        close(model(x), meaning(x))


@pytest.mark.parametrize("wrong, error, text", [
    (lambda x: x.astype(np.float64), DTypeError, "float64"), (lambda x: x[:, :5], InputError, "5"),
    (lambda x: x[0], InputError, "x"), (lambda x: None, InputError, "no input"), (lambda x: {}, InputError, "missing"),
    (lambda x: {"z": x}, InputError, "z"), (lambda x: {"x": x, "z": x}, InputError, "z"),
    (lambda x: [1.0], InputError, "list"), (lambda x: {"x": None}, InputError, "x"),
    (lambda x: np.ma.masked_array(x, x > 0), InputError, "mask")])
def test_errors_are_those_of_a_first_call(model, wrong, error, text):
    x = rows(3, 4)
    fresh = pw.load(model)
    with pytest.raises(error, match=text) as found:
        model(wrong(x))
    with pytest.raises(error) as first:
        pw.Model(fresh)(wrong(x))
    assert str(found.value) == str(first.value)
    close(model(x), meaning(x))


def test_shapes_in_turn():
    model = pw.load(net(["N", 8]))
    for _ in range(3):
        for n in (1, 5, 2, 0, 40):
            close(model(rows(n, n)), meaning(rows(n, n)))
    for n in range(KEPT_SHAPES + 9):
        close(model(rows(n, n)), meaning(rows(n, n)))


def test_two_inputs_and_outputs():
    model, x, b = pw.load(net(["N", 8], two=True)), rows(3), np.arange(6, dtype=np.float32)
    for _ in range(3):
        found = model({"b": b, "x": x})  # in whatever order
        assert list(found) == ["y", "z"]
        close(found["z"], -meaning(x, b))
        close(model(x=x, b=b)["y"], meaning(x, b))
    for given in ({"x": x}, x, {"x": x, "c": b}, {"x": b, "b": x}):
        with pytest.raises(InputError):
            model(given)


@pytest.mark.parametrize("kind", ["model", "session"])
def test_where_outputs_are_written(kind):
    model, x, b = pw.load(net([3, 8], two=True)), rows(3), np.arange(6, dtype=np.float32)
    runs = model if kind == "model" else model.session()
    y, z = np.empty((3, 6), np.float32), np.empty((3, 6), np.float32)
    for _ in range(3):
        found = runs({"x": x, "b": b}, out={"z": z, "y": y})
        assert found["y"] is y and found["z"] is z and list(found) == ["y", "z"]
        close(z, -meaning(x, b))
        found = runs({"x": x, "b": b}, out={"z": z})
        assert found["z"] is z
        close(found["y"], meaning(x, b))
    memory = np.zeros((6, 6), np.float32)
    for wrong in ({"y": y, "z": y}, {"y": memory[:3], "z": memory[2:5]}, {"y": y, "z": z[:2]}, {"y": y, "z": z.T},
                  {"y": y, "z": z.astype(np.float64)}, {"y": y, "q": z}, {"y": y, "z": None}):
        with pytest.raises(InputError, match="out"):
            runs({"x": x, "b": b}, out=wrong)
    one = pw.load(net([3, 8]))
    for _ in range(3):
        assert one(x, out=y) is y
        close(y, meaning(x))
    square = np.zeros((6, 8), np.float32)
    with pytest.raises(InputError, match="overlaps an input"):
        one(square[:3], out=square.reshape(-1)[:18].reshape(3, 6))


def test_another_route_counts_at_once(model):
    x = rows(3)
    bound = model.bind({"x": (3, 8)})
    model.add_route(pw.default_route(bound, model.threads, restrict="naive"))
    close(model(x), meaning(x))
    (plan,) = model.runnable().kept_plans()
    assert any("naive" in step.routine for step in plan.steps)


def test_an_error_in_the_run_is_told_every_time():
    table = np.arange(8, dtype=np.float32).reshape(4, 2)
    graph = helper.make_graph([helper.make_node("Gather", ["t", "i"], ["y"])], "net",
                              [helper.make_tensor_value_info("i", TensorProto.INT64, ["N"])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(table, "t")])
    model = pw.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    for _ in range(3):
        np.testing.assert_array_equal(model(np.array([1, 3])), table[[1, 3]])
        with pytest.raises(InputError, match="'Gather|gather|layer") as found:
            model(np.array([1, 9]))
        assert "indices" in str(found.value)


def test_results_whose_sizes_are_found():
    graph = helper.make_graph([helper.make_node("NonZero", ["x"], ["y"])], "net",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])],
                              [helper.make_tensor_value_info("y", TensorProto.INT64, [1, None])])
    model = pw.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    for x in ([1, 0, 2], [0, 0, 0], [1, 1, 1], [0, 3, 0]):
        array = np.array(x, np.float32)
        np.testing.assert_array_equal(model(array), np.stack(np.nonzero(array)))


def test_many_threads_at_the_same_time(model):
    wrong: list[BaseException] = []

    def call(seed: int) -> None:
        try:
            for i in range(60):
                x = rows(3, 100 * seed + i)
                close(model(x), meaning(x))
        except BaseException as e:
            wrong.append(e)
    threads = [threading.Thread(target=call, args=(i,)) for i in range(7)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong

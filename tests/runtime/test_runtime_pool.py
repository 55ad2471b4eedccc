"""Pools: calls that run at the same time give what NumPy gives, whatever happens to other calls."""

from __future__ import annotations

import asyncio
import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import pathweave as pw  # noqa: E402
from pathweave.errors import InputError  # noqa: E402

WEIGHTS = np.random.default_rng(1).standard_normal((16, 12)).astype(np.float32)


def dense(outputs: int = 1) -> bytes:
    """y = relu(x W) of [N, 16], and with a second output its negative."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Relu", ["p"], ["y"]),
             helper.make_node("Neg", ["y"], ["z"])][:1 + outputs]
    outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("y", "z")[:outputs]]
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16])], outs,
                              [numpy_helper.from_array(WEIGHTS, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def inputs(count: int, rows: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.standard_normal((rows, 16)).astype(np.float32) for _ in range(count)]


def meaning(x: np.ndarray) -> np.ndarray:
    return np.maximum(x.astype(np.float64) @ WEIGHTS, 0)


@pytest.fixture
def model():
    return pw.load(dense())


class Meeting:
    """An input that is read only once so many calls read theirs: that they run at the same time."""

    def __init__(self, array: np.ndarray, barrier: threading.Barrier):
        self.array, self.barrier = array, barrier

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options):
        self.barrier.wait(30)
        return self.array.__dlpack__(**options)


@pytest.mark.parametrize("sessions", [1, 2, 7])
def test_results_are_those_of_the_calls(model, sessions):
    xs = inputs(50)
    with model.pool(sessions) as pool:
        assert (pool.sessions, pool.threads) == (sessions, 1)
        futures = [pool.submit(x) for x in xs]
        for x, future in zip(xs, futures):
            np.testing.assert_allclose(future.result(), meaning(x), rtol=1e-4, atol=1e-5)
        for x, y in zip(xs, pool.map(xs), strict=True):
            np.testing.assert_allclose(y, meaning(x), rtol=1e-4, atol=1e-5)


def test_forms_of_a_call():
    x = inputs(1)[0]
    with pw.load(dense(2)).pool(2) as pool:
        for future in (pool.submit(x), pool.submit({"x": x}), pool.submit(x=x)):
            np.testing.assert_allclose(future.result()["z"], -meaning(x), rtol=1e-4, atol=1e-5)
        y = np.empty((3, 12), np.float32)
        assert pool.submit(x, out={"y": y}).result()["y"] is y
        np.testing.assert_allclose(y, meaning(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sessions", [2, 7])
def test_calls_run_at_the_same_time(model, sessions):
    """More of them than there are processors too."""
    barrier = threading.Barrier(sessions)
    with model.pool(sessions) as pool:
        for y, x in zip(pool.map([Meeting(x, barrier) for x in inputs(2 * sessions)]), inputs(2 * sessions)):
            np.testing.assert_allclose(y, meaning(x), rtol=1e-4, atol=1e-5)


def test_shapes_may_differ(model):
    xs = [x for rows in range(1, 9) for x in inputs(3, rows)]
    with model.pool(3) as pool:
        for x, y in zip(xs, pool.map(xs), strict=True):
            np.testing.assert_allclose(y, meaning(x), rtol=1e-4, atol=1e-5)


def test_sessions_share_plan_and_weights(model):
    model = model.with_threads(1)
    with model.pool(4) as pool:
        assert pool.model is model
        list(pool.map(inputs(40)))
        assert len(model.runnable().kept_plans()) == 1
    two = model.with_threads(2)
    with two.pool(2) as pool:
        assert pool.model.threads == 1 and pool.model.main is two.main


def test_an_error_is_that_of_its_call(model):
    xs: list = inputs(6)
    xs[2] = xs[2][:, :5]
    xs[4] = xs[4].astype(np.int32)
    with model.pool(3) as pool:
        futures = [pool.submit(x) for x in xs]
        for i, future in enumerate(futures):
            if i in (2, 4):
                with pytest.raises(InputError, match="'x'"):
                    future.result()
            else:
                np.testing.assert_allclose(future.result(), meaning(xs[i]), rtol=1e-4, atol=1e-5)
        for chunk in (1, 4):
            found = list(pool.map(xs, return_errors=True, chunk=chunk))
            assert [isinstance(y, InputError) for y in found] == [i in (2, 4) for i in range(6)]
            np.testing.assert_allclose(found[5], meaning(xs[5]), rtol=1e-4, atol=1e-5)
            results = pool.map(xs, chunk=chunk)
            np.testing.assert_allclose(next(results), meaning(xs[0]), rtol=1e-4, atol=1e-5)
            next(results)
            with pytest.raises(InputError, match="'x'"):
                next(results)
            assert list(results) == []
        np.testing.assert_allclose(pool.submit(xs[0]).result(), meaning(xs[0]), rtol=1e-4, atol=1e-5)


def test_inputs_without_end(model):
    taken = itertools.count()
    source = (x for x in itertools.cycle(inputs(3)) if next(taken) >= 0)
    with model.pool(2) as pool:
        found = list(itertools.islice(pool.map(source), 10))
    assert len(found) == 10 and next(taken) <= 10 + 2 * 2 + 1


def test_wrong_use(model):
    with model.pool(2) as pool:
        with pytest.raises(InputError, match="by name"):
            pool.submit(inputs(1)[0], inputs(1)[0])
        with pytest.raises(InputError, match="chunk"):
            pool.map([], chunk=0)
        with pytest.raises(InputError, match="pickle its model"):
            pickle.dumps(pool)
        assert "2 sessions" in repr(pool)
    with pytest.raises(RuntimeError):
        pool.submit(inputs(1)[0])
    for wrong in (0, -1, 2000, True, "2", 1.5):
        with pytest.raises(InputError, match="sessions"):
            model.pool(wrong)
    with pytest.raises(InputError, match="threads"):
        model.pool(2, threads=0)


def test_a_model_with_states_has_none():
    graph = helper.make_graph([helper.make_node("Add", ["x", "s"], ["y"])], "net",
                              [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in ("x", "s")],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    with pytest.raises(InputError, match=r"model\.session\(\)"):
        pw.load(data, states={"s": "y"}).pool()


def test_inputs_with_defaults():
    graph = helper.make_graph([helper.make_node("Mul", ["x", "s"], ["y"])], "net",
                              [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in ("x", "s")],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
                              [numpy_helper.from_array(np.full(4, 3, np.float32), "s")])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    x = np.arange(4, dtype=np.float32)
    with pw.load(data).pool(2) as pool:
        np.testing.assert_array_equal(pool.submit(x).result(), 3 * x)
        np.testing.assert_array_equal(pool.submit({"x": x, "s": x}).result(), x * x)


def test_dropping_what_waits(model):
    barrier = threading.Barrier(2)
    with model.pool(1) as pool:
        first = pool.submit(Meeting(inputs(1)[0], barrier))
        waiting = [pool.submit(x) for x in inputs(5)]
        assert waiting[0].cancel()
        pool.close(wait=False, drop=True)
        barrier.wait(30)
        assert first.result().shape == (3, 12)
        for future in waiting:
            with pytest.raises(CancelledError):
                future.result()


def test_an_error_of_the_caller_drops_what_waits(model):
    barrier = threading.Barrier(2)
    with pytest.raises(ZeroDivisionError), model.pool(1) as pool:
        pool.submit(Meeting(inputs(1)[0], barrier))
        waiting = pool.submit(inputs(1)[0])
        threading.Timer(0.1, lambda: barrier.wait(30)).start()
        raise ZeroDivisionError
    assert waiting.cancelled()


def test_awaited(model):
    async def serve() -> list[np.ndarray]:
        with model.pool(2) as pool:
            return await asyncio.gather(*(asyncio.wrap_future(pool.submit(x)) for x in inputs(8)))
    for x, y in zip(inputs(8), asyncio.run(serve()), strict=True):
        np.testing.assert_allclose(y, meaning(x), rtol=1e-4, atol=1e-5)


def test_ctrl_c(tmp_path):
    """The thread that waits gets KeyboardInterrupt, and the process ends."""
    (tmp_path / "net.onnx").write_bytes(dense())
    code = """
import itertools, sys
import numpy as np
import pathweave as pw
x = np.ones((3, 16), np.float32)
try:
    with pw.load("net.onnx").pool(3) as pool:
        for i, y in enumerate(pool.map(itertools.repeat(x))):
            if i == 100:
                print("running", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(7)
"""
    source = str(Path(pw.__file__).parents[1])
    # What a shell runs in the background ignores the signal, and so would what it starts.
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                               env={**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])})
    try:
        assert process.stdout.readline() == "running\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert (rest, process.returncode) == ("interrupted\n", 7)
    finally:
        process.kill()


def test_a_process_that_forgets_its_pool_ends(tmp_path):
    (tmp_path / "net.onnx").write_bytes(dense())
    code = ("import numpy as np, pathweave as pw\n"
            "pool = pw.load('net.onnx').pool(2)\n"
            "print(pool.submit(np.ones((3, 16), np.float32)).result().shape)")
    source = str(Path(pw.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])})
    assert (done.returncode, done.stdout) == (0, "(3, 12)\n"), done.stderr

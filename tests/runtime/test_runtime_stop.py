"""Long native work ends at a deadline and on Ctrl-C, and leaves everything usable."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import pathweave as pw
from pathweave.errors import OutOfMemoryError, ShapeError
from pathweave.net.net import Layer, Model, Net, TensorSpec
from pathweave.runtime.native import native, time_limit

#: Seconds after which a request to stop counts as not heard, on a machine that emulates units and does other things too.
SOON = 30


def slow_net(layers: int = 24, size: int = 1024) -> pw.Model:
    """Products, one after another: y = w^n x."""
    w = np.eye(size, dtype=np.float32)
    chain = [Layer(f"d{i}", "dense", (f"v{i}", "w"), (f"v{i + 1}",)) for i in range(layers)]
    return pw.load(Model({"main": Net({"v0": TensorSpec("f32", ("N", size))}, [f"v{layers}"], chain, {"w": w})}), threads=2)


@pytest.fixture(scope="module")
def slow():
    model = slow_net()
    x = np.ones((256, 1024), np.float32)
    return model.plan(shapes={"v0": x.shape}).session(), {"v0": x}


@pytest.mark.parametrize("timed", [False, True])
def test_a_run_ends_at_the_deadline_and_the_session_goes_on(slow, timed):
    session, inputs = slow
    start = time.monotonic()
    out = {n: np.empty((256, 1024), np.float32) for n in session.plan.outputs}
    with pytest.raises(TimeoutError), time_limit(0.0):
        (session.run_timed if timed else session.run)(inputs, out)
    assert time.monotonic() - start < SOON
    whole = session.run(inputs)
    assert all(np.array_equal(a, inputs["v0"]) for a in whole.values())


def test_without_a_deadline_nothing_ends(slow):
    session, inputs = slow
    with time_limit(None):
        assert session.run(inputs)
    with time_limit(1000.0):
        assert session.run(inputs)


def test_the_deadline_is_that_of_its_thread(slow):
    session, inputs = slow
    other = session.plan.session()
    found = []
    with time_limit(0.0):
        thread = threading.Thread(target=lambda: found.append(other.run(inputs)))
        thread.start()
        thread.join()
    assert len(found) == 1 and all(np.array_equal(a, inputs["v0"]) for a in found[0].values())


@pytest.mark.parametrize("kind, shape", [("dense", (1, 4096)), ("conv2", (1, 512, 14, 14))])
def test_preparing_ends_at_the_deadline_and_keeps_nothing(kind, shape):
    """Every routine: after a deadline that has passed it prepares nothing or all; afterwards it is right as ever."""
    from pathweave.net.problem import Problem
    w = np.zeros((4096, 4096) if kind == "dense" else (512, 512, 3, 3), np.float32)
    attrs = {} if kind == "dense" else {"stride": (1, 1), "dilation": (1, 1), "pad": (1,) * 4, "groups": 1}
    out = TensorSpec("f32", (1, 4096) if kind == "dense" else shape)
    problem = Problem.make(kind, [TensorSpec("f32", shape), TensorSpec("f32", w.shape)], [False, True], [out], attrs, threads=2)
    stopped = 0
    for i, card in enumerate(c for c in native().candidates(problem.text) if c["ok"] and ":u8:" not in c["id"]):
        constants = [(None, 0), (w, 10**9 + i)]
        start = time.monotonic()
        try:
            with time_limit(0.0):
                native().prepare(problem.text, card["id"], card["variants"][0], constants)
        except TimeoutError:
            stopped += 1
        assert time.monotonic() - start < SOON
        assert native().prepare(problem.text, card["id"], card["variants"][0], constants).packed_bytes >= 0
    assert stopped > 0


def interrupted(code: str, after: float) -> tuple[float, subprocess.Popen, str]:
    """Seconds from Ctrl-C to the end of a process that runs the code and says `ready` when it begins."""
    process = subprocess.Popen([sys.executable, "-u", "-c", textwrap.dedent(code)], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env={**os.environ},
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a parent may ignore it
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, err = process.communicate(timeout=60)
    return time.monotonic() - start, process, err


def test_ctrl_c_ends_a_long_call():
    code = f"""
        import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
        import numpy as np
        from test_runtime_stop import slow_net
        model, x = slow_net(4000), np.ones((2048, 1024), np.float32)
        model.plan(shapes={{"v0": x.shape}})
        print("ready")
        try:
            model(x)
        except KeyboardInterrupt:
            sys.exit(7)
    """
    seconds, process, err = interrupted(code, 0.5)
    assert process.returncode == 7, err
    assert seconds < SOON


def test_ctrl_c_ends_tuning_and_keeps_what_was_measured(tmp_path):
    code = f"""
        import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
        import pathweave as pw
        from test_runtime_stop import slow_net
        model = slow_net(400)
        print("ready")
        try:
            pw.tune(model, shapes={{"v0": (512, 1024)}}, budget_s=600, progress=False, store={str(tmp_path / 'store.sqlite')!r})
        except pw.errors.InterruptedTuning as e:
            print(e, file=sys.stderr)
            sys.exit(7)
    """
    seconds, process, err = interrupted(code, 4.0)
    assert process.returncode == 7 and "store.sqlite" in err, err
    assert seconds < 2 * SOON


# ---- while a kernel is made within a call ---------------------------------------------------------------------------------

def columns() -> pw.LoadedModel:
    """y = every M-th row of x[N, M], by a layer that runs in NumPy: new sizes make a kernel in the middle of a call."""
    F, constants = TensorProto.FLOAT, {"one": np.array(1), "zero": np.array([0]), "far": np.array([2**31 - 1])}
    nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Gather", ["s", "one"], ["k"], axis=0),
             helper.make_node("Unsqueeze", ["k", "zero"], ["k1"]),
             helper.make_node("Slice", ["x", "zero", "far", "zero", "k1"], ["y"])]
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", F, ["N", "M"])],
                              [helper.make_tensor_value_info("y", F, [None, "M"])],
                              [numpy_helper.from_array(a, n) for n, a in constants.items()])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    return pw.load(data, threads=2)


def pressed() -> None:
    """Ctrl-C, by a real signal."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)  # a bytecode boundary, at which Python looks at signals


def raising(error: BaseException):
    def act() -> None:
        raise error
    return act


@pytest.mark.parametrize("session", [False, True], ids=["model", "session"])
@pytest.mark.parametrize("act, expected, text", [
    (pressed, KeyboardInterrupt, ""), (raising(MemoryError("none")), OutOfMemoryError, "no memory"),
    (raising(OutOfMemoryError("prepare: none is left")), OutOfMemoryError, "none is left"),
    (raising(ShapeError("rows and columns")), ShapeError, "rows and columns"),
    (raising(TimeoutError("late")), TimeoutError, "late"),
], ids=["Ctrl-C", "MemoryError", "OutOfMemoryError", "ShapeError", "TimeoutError"])
def test_what_stops_the_making_of_a_kernel_ends_the_call(monkeypatch, act, expected, text, session):
    """It is raised as it is, nothing is tried instead, and the next call is right."""
    from pathweave.runtime import prepare
    model, made, actual = columns(), [], prepare.python_kernel
    call = model.plan(most={"N": 32, "M": 32}).session().run if session else model.run

    def right(rows: int, width: int) -> bool:
        x = np.arange(rows * width, dtype=np.float32).reshape(rows, width)
        return np.array_equal(call({"x": x})["y"], x[::width])  # k1 is the step of the slice
    assert right(3, 4) and right(3, 5)

    def once(*args, **kwargs):
        made.append(args)
        if len(made) == 1:
            act()
        return actual(*args, **kwargs)
    monkeypatch.setattr(prepare, "python_kernel", once)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(expected, match=text or None) as e:
            right(3, 6)
    finally:
        signal.signal(signal.SIGINT, before)
    assert type(e.value) is expected and "Traceback" not in str(e.value) and len(made) == 1
    assert right(3, 6) and right(4, 7)

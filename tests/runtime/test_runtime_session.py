"""Calls: what is taken, what is given, and what is said about wrong ones."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from runtime_nets import convolutions

import pathweave as pw
from pathweave.errors import DTypeError, Error, InputError
from pathweave.meaning.evaluate import evaluate
from pathweave.net.net import Layer, Model, Net, TensorSpec
from pathweave.runtime.model import LoadedModel
from pathweave.runtime.runnable import Runnable


@pytest.fixture
def session(classifier):
    return classifier.session()


@pytest.fixture
def pair():
    rng = np.random.default_rng(1)
    return {"a": rng.standard_normal((3, 6)).astype(np.float32), "b": rng.standard_normal((3, 6)).astype(np.float32)}


def test_one_array_in_and_out(classifier, session, x):
    y = session(x)
    assert isinstance(y, np.ndarray) and y.shape == (1, 10) and y.dtype == np.float32
    assert np.allclose(y.sum(), 1, atol=1e-5)
    for other in (session({"x": x}), session(x=x), classifier(x), classifier({"x": x}), classifier(x=x)):
        assert np.array_equal(y, other)


def test_dicts_keep_the_order_of_the_model(adder, pair):
    for result in (adder(pair), adder({"b": pair["b"], "a": pair["a"]}), adder(**pair), adder.session({"N": 3})(pair)):
        assert list(result) == ["sum", "product"]
        assert np.array_equal(result["sum"], pair["a"] + pair["b"])
        assert np.allclose(result["product"], (pair["a"] - pair["b"]) * pair["a"], atol=1e-6)


def test_outputs_are_fresh(session, x):
    first = session(x)
    kept = first.copy()
    second = session(x * 2)
    assert not np.shares_memory(first, second)
    assert np.array_equal(first, kept)


def test_inputs_are_left_alone(session, x):
    kept = x.copy()
    x.flags.writeable = False
    session(x)
    assert np.array_equal(x, kept)


@pytest.mark.parametrize("value, says", [
    ([[1.0]], "NumPy array"), (1.0, "NumPy array"), ("x", "NumPy array"), (np.float32(1), "shape"),
    (None, "x"), (np.zeros((1, 3, 16), np.float32), "shape"), (np.zeros((1, 3, 16, 15), np.float32), "15"),
    (np.zeros((2, 3, 16, 16), np.float32), "shape"), ({}, "missing"), ({"y": 1}, "unknown"),
])
def test_wrong_inputs(session, classifier, value, says):
    with pytest.raises(InputError, match=says) as caught:
        session(value)
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, Error)
    if not (isinstance(value, np.ndarray) and value.shape[1:] == (3, 16, 16)):  # the model makes a plan for any batch
        with pytest.raises(InputError):
            classifier(value)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", ">f4", "bool", "complex64"])
def test_wrong_dtype(session, classifier, x, dtype):
    for call in (session, classifier):
        with pytest.raises(DTypeError, match=r"float32.*astype") as caught:
            call(x.astype(dtype))
        assert isinstance(caught.value, TypeError)


def test_several_inputs_need_names(adder, pair):
    with pytest.raises(InputError, match="'a'.*'b'"):
        adder(pair["a"])
    with pytest.raises(InputError, match="'b' missing"):
        adder({"a": pair["a"]})
    with pytest.raises(InputError, match="'c' unknown"):
        adder({**pair, "c": pair["a"]})
    with pytest.raises(InputError, match="both"):
        adder(pair, a=pair["a"])


def test_several_arguments_are_none(adder, pair):
    stated = adder.with_states({"a": "sum"}).session({"N": 3})
    for call in (adder, adder.session({"N": 3}), adder.runnable(), stated):
        with pytest.raises(InputError, match="got 2 arguments; say by name"):
            call(pair["a"], pair["b"])


def test_a_mask_is_not_dropped(adder, pair):
    masked = np.ma.masked_greater(pair["a"], 0)
    session = adder.with_states({"a": "sum"}).session({"N": 3})
    for call in (lambda: adder(a=masked, b=pair["b"]), lambda: adder.session({"N": 3})(a=masked, b=pair["b"]),
                 lambda: session(b=masked), lambda: session.set_state({"a": masked}),
                 lambda: adder.with_states({"a": "sum"}, initial={"a": masked}),
                 lambda: adder.session({"N": 3})(pair, out={"sum": np.ma.zeros((3, 6), np.float32)}),
                 lambda: adder.calibrate([{"a": masked, "b": pair["b"]}]), lambda: evaluate(adder.main, {**pair, "a": masked})):
        with pytest.raises(InputError, match="without a mask"):
            call()
    wanted = np.where(masked.mask, 0, pair["a"]) + pair["b"]
    assert np.array_equal(adder(a=masked.filled(0), b=pair["b"])["sum"], wanted)


def _number_model(dtype):
    return LoadedModel(Model({"main": Net({"k": TensorSpec(dtype, ())}, ["y"], [Layer("i", "identity", ("k",), ("y",))], {})}))


@pytest.mark.parametrize("dtype, value, wanted", [
    ("f32", 0.1, np.float32(0.1)), ("f32", 3, np.float32(3)), ("f32", float("inf"), np.float32(np.inf)),
    ("f64", 0.1, np.float64(0.1)), ("f16", 0.1, np.float16(0.1)), ("i64", -2**63, np.int64(-2**63)),
    ("i32", 7, np.int32(7)), ("u8", 255, np.uint8(255)), ("bool", True, np.bool_(True)), ("bf16", 1.5, None)])
def test_numbers_of_python_for_inputs_without_dimensions(dtype, value, wanted):
    model = _number_model(dtype)
    for call in (model, model.session()):
        for got in (call(value), call(k=value)):
            if wanted is None:  # bits, or the type of ml_dtypes
                assert np.asarray(got).view(np.uint16) == np.array(value, np.float32).view(np.uint32) >> 16
            else:
                assert got.shape == () and got.dtype == wanted.dtype and got == wanted


@pytest.mark.parametrize("dtype, value", [
    ("f32", True), ("f32", 2**24 + 1), ("f32", 1e39), ("f16", 1e5), ("bf16", 257), ("i64", 1.0), ("i64", 2**63), ("i64", True),
    ("u8", -1), ("u8", 256), ("bool", 1), ("bool", 0.0), *(pytest.param(t, 10**5000, id=f"{t} large") for t in ("f32", "i32"))])
def test_numbers_of_python_that_an_input_does_not_hold(dtype, value):
    model = _number_model(dtype)
    for call in (model, model.session()):
        with pytest.raises(DTypeError, match=rf"input 'k': expected a number that {dtype}\[\] holds, got the "):
            call(value)


def test_symbols_must_agree(adder, pair):
    with pytest.raises(InputError, match="'N'"):
        adder(a=pair["a"], b=pair["b"][:2])


@pytest.mark.parametrize("make", [
    lambda x: np.asfortranarray(x), lambda x: np.repeat(x, 2, axis=3)[..., ::2],
    lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape),
    lambda x: np.broadcast_to(x[:, :, :, :1], x.shape),
], ids=["fortran", "stepped", "reversed", "channels-last", "misaligned", "broadcast"])
def test_any_strides(session, x, make):
    y = make(x)
    assert not (y.flags.c_contiguous and y.flags.aligned)
    assert np.array_equal(session(y), session(np.array(y, order="C")))


def test_contiguous_inputs_are_read_in_place(adder, pair, monkeypatch):
    """The layer's NumPy meaning sees the caller's own memory."""
    import pathweave.layers as layers
    from pathweave.runtime import catalogue
    from pathweave.runtime.plan import build_plan
    bound = adder.bind({"N": 3})
    choices = {layer.name: catalogue.numpy_candidate(p) for layer, p in zip(bound.layers, bound.problems(1))}
    seen = []
    compute = layers.compute

    def spy(layer, inputs):
        seen.extend(a.ctypes.data for a in inputs if a is not None)
        return compute(layer, inputs)
    monkeypatch.setattr(layers, "compute", spy)
    build_plan(bound, choices, [], 1).session()(pair)
    assert pair["a"].ctypes.data in seen and pair["b"].ctypes.data in seen


class Capsule:
    """Offers DLPack and nothing else."""

    def __init__(self, array, device=(1, 0), error=None):
        self.array, self.device, self.error = array, device, error

    def __dlpack__(self, **options):
        if self.error:
            raise self.error
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device


def test_dlpack(session, classifier, x):
    expected = session(x)
    assert np.array_equal(session(Capsule(x)), expected)
    assert np.array_equal(classifier(Capsule(x)), expected)
    strided = np.asfortranarray(x)
    assert np.array_equal(session(Capsule(strided)), expected)
    with pytest.raises(DTypeError):
        session(Capsule(x.astype(np.float64)))


@pytest.mark.parametrize("error", [BufferError("on another device"), RuntimeError("requires grad")])
def test_dlpack_that_refuses(session, x, error):
    with pytest.raises(InputError, match=f"DLPack: .*{error}"):
        session(Capsule(x, error=error))


def test_torch_tensors(session, x):
    torch = pytest.importorskip("torch")
    assert np.array_equal(session(torch.from_numpy(x)), session(x))
    with pytest.raises(InputError, match="DLPack"):
        session(torch.from_numpy(x).requires_grad_())


def test_out(session, adder, pair, x):
    y = np.full((1, 10), np.nan, np.float32)
    assert session(x, out=y) is y
    assert np.array_equal(y, session(x))
    total = np.empty((3, 6), np.float32)
    result = adder(pair, out={"sum": total})
    assert result["sum"] is total and list(result) == ["sum", "product"]
    assert np.array_equal(total, pair["a"] + pair["b"])


@pytest.mark.parametrize("out, says", [
    ([0] * 10, "NumPy array"), (np.empty((10,), np.float32), "shape"),
    (np.empty((1, 20), np.float32)[:, ::2], "contiguous"), ({"z": np.empty((1, 10), np.float32)}, "unknown"),
    (np.empty((1, 10)), "element type"),
])
def test_wrong_out(session, x, out, says):
    with pytest.raises(InputError, match=says):
        session(x, out=out)


def test_out_must_be_memory_of_its_own(adder, pair):
    session = adder.session({"N": 3})
    with pytest.raises(InputError, match="overlaps"):
        session(pair, out={"sum": pair["a"]})
    both = np.empty((3, 6), np.float32)
    with pytest.raises(InputError, match="overlaps"):
        session(pair, out={"sum": both, "product": both})
    both.flags.writeable = False
    with pytest.raises(InputError, match="writeable"):
        session(pair, out={"sum": both})


def test_timed_run(session, x):
    times = session.run_timed(x)
    assert times.dtype == np.int64 and times.shape == (len(session.plan.steps),) and (times >= 0).all()


# ---- threads ----

def in_threads(count: int, body) -> None:
    """Run body(i) in several threads at once; the first failure is raised here."""
    failures, ready = [], threading.Barrier(count)

    def run(i: int) -> None:
        try:
            ready.wait()
            body(i)
        except BaseException as e:
            failures.append(e)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]


def test_the_first_calls_of_a_process_may_come_from_several_threads(tmp_path):
    """While the first one asks Python for something, another has the interpreter's lock: it must not wait for the first."""
    path = tmp_path / "net.onnx"
    path.write_bytes(convolutions())
    code = f"""
        import threading, time
        import numpy as np
        import pathweave as pw
        real = threading.main_thread
        def slow():
            time.sleep(0.5)
            return real()
        threading.main_thread = slow  # gives the interpreter's lock away in the middle of the first call
        models = [pw.load({str(path)!r}, threads=1) for _ in range(2)]
        done = []
        def call(model):
            model.plan(shapes={{"N": 1}})
            done.append(model)
        for model in models:
            threading.Thread(target=call, args=(model,), daemon=True).start()
        end = time.monotonic() + 30
        while len(done) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        print(len(done))
    """
    # The time-out ends a process in which all wait for each other, the main thread too.
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "2\n", done.stderr


def test_a_session_per_thread_over_one_plan(classifier, batch_of):
    plan = classifier.plan(shapes={"N": 2})
    images = [batch_of(2, seed) for seed in range(4)]
    expected = [plan.session()(x) for x in images]

    def body(i: int) -> None:
        session = plan.session()
        for _ in range(20):
            assert np.array_equal(session(images[i]), expected[i])
    in_threads(4, body)


def test_one_session_in_several_threads(session, batch_of):
    images = [batch_of(1, seed) for seed in range(4)]
    expected = [session(x) for x in images]

    def body(i: int) -> None:
        for _ in range(20):
            assert np.array_equal(session(images[i]), expected[i])
    in_threads(4, body)


def test_a_model_in_several_threads_with_several_shapes(classifier, batch_of):
    """More shapes than plans are kept, so that building, evicting and running meet."""
    runnable = Runnable(classifier.main, kept=2, threads=2)
    images = [batch_of(1 + seed % 3, seed) for seed in range(6)]
    expected = [classifier(x) for x in images]

    def body(i: int) -> None:
        for k in range(8):
            j = (i + k) % len(images)
            assert np.allclose(runnable(images[j]), expected[j], atol=1e-6)
    in_threads(4, body)


def test_the_interpreter_is_free_while_a_net_runs(batch_of):
    """A second thread gets on with its work during one long run."""
    from runtime_nets import convolutions
    model = pw.load(convolutions(channels=64), threads=1)
    x = batch_of(64)
    session = model.session({"N": 64})
    session(x)
    ticks, done = [], threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(1)
            done.wait(0.0002)
    t = threading.Thread(target=tick)
    t.start()
    before = len(ticks)
    for _ in range(5):
        session(x)
    after = len(ticks)
    done.set()
    t.join()
    assert after > before


def test_no_memory_for_a_result_is_a_typed_error(monkeypatch):
    """Also for the results that `out` does not hold."""
    net = pw.Net({"x": pw.TensorSpec("f32", (4, 4))}, ["y", "z"], [pw.Layer("relu", "relu", ("x",), ("y",)),
                                                                  pw.Layer("abs", "abs", ("x",), ("z",))], {})
    session = pw.Model(pw.net.net.Model({"main": net})).session()
    x, z = np.ones((4, 4), np.float32), np.ones((4, 4), np.float32)

    def none_left(*_, **__):
        raise MemoryError("none left")
    for call in (session.run, session.run_timed):
        for out in (None, {"z": z}):
            with monkeypatch.context() as patched, pytest.raises(pw.errors.OutOfMemoryError, match="none left"):
                patched.setattr(np, "empty", none_left)
                call({"x": x}, out)
    assert np.array_equal(session(x)["y"], x)


@pytest.mark.parametrize("question", ["counts", "sizes"])
def test_what_is_asked_of_the_last_run_waits_for_one_in_progress(question):
    """The native session is asked nothing while it runs."""
    session = pw.load(Model({"main": Net({"x": TensorSpec("f32", (1, 4))}, ["y"], [Layer("r", "relu", ("x",), ("y",))], {})})) \
        .plan().session()
    running, asked, go_on = threading.Event(), [], threading.Event()

    class Slow:
        """A native session whose run takes as long as the test wants."""

        def run(self, *args):
            running.set()
            assert go_on.wait(60)
            running.clear()

        def counts(self):
            asked.append(running.is_set())

        def symbols(self):
            asked.append(running.is_set())
            return []
    session._handle = Slow()
    run = threading.Thread(target=session.run, args=(np.ones((1, 4), np.float32),))
    run.start()
    assert running.wait(60)
    ask = threading.Thread(target=getattr(session, question))
    ask.start()
    ask.join(0.1)  # it would have been answered meanwhile
    go_on.set()
    run.join(60)
    ask.join(60)
    assert asked == [False]

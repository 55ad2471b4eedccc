"""Plans and sessions against plain NumPy execution."""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import weakref

import numpy as np
import pytest
from native_helpers import accepted, adapt, address, bytes_of, native_step, problem, python_step

from pathweave import _native

N = 96  # elements of most values


def fill(value: float):
    def function(ins, outs):
        outs[0][...] = value
    return function


def add(ins, outs):
    np.add(ins[0], ins[1], out=outs[0])


def relu(ins, outs):
    np.maximum(ins[0], 0, out=outs[0])


def concat(ins, outs):
    """Copies what does not lie in its place already, as a native routine with share hints does."""
    at = 0
    for x in ins:
        target = outs[0].reshape(-1)[at:at + x.size]
        if address(x) != address(target):
            target[...] = x.reshape(-1)
        at += x.size


def run(plan, inputs, out_shapes, session=None):
    outputs = [np.full(s, np.nan, np.float32) for s in out_shapes]
    (session or plan.session()).run(inputs, outputs)
    return outputs


def chain(threads=1):
    """y = relu(x + x) by Python kernels."""
    steps = [python_step(add, [[N], [N]], [[N]], [0, 0], [1]),
             python_step(relu, [[N]], [[N]], [1], [2], reuse=[(0, 0)])]
    return _native.Plan(bytes_of([N], [N], [N]), steps, [0], [2], threads)


@pytest.mark.parametrize("threads", [1, 2, 4, 128])
def test_python_kernels_in_a_chain(threads):
    x = np.random.default_rng(0).standard_normal(N, np.float32)
    plan = chain(threads)
    (y,) = run(plan, [x], [N])
    np.testing.assert_array_equal(y, np.maximum(x + x, 0))
    assert plan.placement == [(0, 0, "input"), (0, 0, "output"), (0, 0, "output")]
    assert (plan.peak_bytes, plan.unshared_bytes, plan.workspace_bytes, plan.threads) == (0, 384, 0, threads)


def test_inputs_are_read_and_outputs_written_in_place():
    seen = []

    def look(ins, outs):
        seen.append((address(ins[0]), address(outs[0]), ins[0].flags.writeable))
        outs[0][...] = ins[0]

    plan = _native.Plan(bytes_of([N], [N]), [python_step(look, [[N]], [[N]], [0], [1])], [0], [1], 1)
    x, y = np.ones(N, np.float32), np.empty(N, np.float32)
    plan.session().run([x], [y])
    assert seen == [(address(x), address(y), False)]


@pytest.mark.parametrize("dtype, numpy_name", [
    ("f32", "float32"), ("f64", "float64"), ("f16", "float16"), ("bf16", "uint16"), ("i8", "int8"), ("u8", "uint8"),
    ("i16", "int16"), ("u16", "uint16"), ("i32", "int32"), ("u32", "uint32"), ("i64", "int64"), ("u64", "uint64"),
    ("bool", "bool")])
@pytest.mark.parametrize("shape", [[], [0, 3], [2, 3, 4]])
def test_python_kernels_see_every_dtype_and_shape(dtype, numpy_name, shape):
    def copy(ins, outs):
        assert ins[0].dtype == numpy_name and list(ins[0].shape) == shape
        outs[0][...] = ins[0]

    x = (np.arange(int(np.prod(shape))).reshape(shape) % 2).astype(numpy_name)
    kernel = _native.python_kernel(copy, [(dtype, shape)], [(dtype, shape)])
    plan = _native.Plan([(x.nbytes, "cpu")] * 2, [("copy", kernel, [0], [1], [], [])], [0], [1], 1)
    y = np.ones_like(x)
    plan.session().run([x], [y])
    np.testing.assert_array_equal(y, x)


def random_plan(rng: random.Random):
    """A plan of Python kernels with honest hints, and the same in plain NumPy."""
    sizes, steps, program = [], [], []

    def value(size):
        sizes.append(size)
        return len(sizes) - 1

    inputs = [value(rng.choice([1, 8, 33])) for _ in range(2)]
    for _ in range(rng.randint(2, 25)):
        v = rng.randrange(max(0, len(sizes) - 6), len(sizes))
        kind = rng.choice(["concat", "view", "add", "relu"])
        if kind == "concat":
            ins = [v, *(rng.randrange(len(sizes)) for _ in range(rng.randint(0, 3)))]
            total = sum(sizes[i] for i in ins)
            share = [(k, 0, 4 * sum(sizes[i] for i in ins[:k])) for k in range(len(ins))]
            ins_shapes = [[sizes[i]] for i in ins]
            out = value(total)
            steps.append(python_step(concat, ins_shapes, [[total]], ins, [out], share))
        elif kind == "view":
            out, ins = value(sizes[v]), [v]
            steps.append(python_step(concat, [[sizes[v]]], [[sizes[v]]], ins, [out], [(0, 0, 0)]))
        else:
            ins = [v]
            if kind == "add":
                ins.append(rng.choice([w for w in range(len(sizes)) if sizes[w] == sizes[v]]))
            reuse = [(k, 0) for k in range(len(ins))]
            out = value(sizes[v])
            steps.append(python_step(add if kind == "add" else relu, [[sizes[v]]] * len(ins), [[sizes[v]]], ins, [out],
                                     (), reuse))
        program.append((kind, ins, out))
    outputs = [rng.randrange(len(sizes)) for _ in range(3)]
    plan = _native.Plan(bytes_of(*([s] for s in sizes)), steps, inputs, outputs, 2)

    def plain(arrays):
        held = dict(zip(inputs, arrays, strict=True))
        for kind, ins, out in program:
            a = [held[i] for i in ins]
            held[out] = {"concat": lambda a: np.concatenate(a), "view": lambda a: a[0],
                         "add": lambda a: a[0] + a[-1], "relu": lambda a: np.maximum(a[0], 0)}[kind](a)
        return [held[v] for v in outputs]

    return plan, plain, [sizes[v] for v in inputs]


def test_random_plans_agree_with_numpy_whatever_memory_they_share():
    rng, numbers = random.Random(23), np.random.default_rng(1)
    saved = 0
    for _ in range(300):
        plan, plain, sizes = random_plan(rng)
        session = plan.session()
        for _ in range(2):  # the second run finds what the first one left
            x = [numbers.standard_normal(s, np.float32) for s in sizes]
            copies = [a.copy() for a in x]
            expected = plain(x)
            got = run(plan, x, [e.shape for e in expected], session)
            for e, g in zip(expected, got, strict=True):
                np.testing.assert_array_equal(g, e)
            for a, b in zip(x, copies, strict=True):
                np.testing.assert_array_equal(a, b)
        saved += plan.unshared_bytes - plan.peak_bytes
    assert saved > 0


def native_block(threads: int):
    """Two branches and a residual by native routines: relu(x) + relu(relu(x) + x), concatenated with x."""
    shape, double = (1, 16, 12, 12), (1, 32, 12, 12)
    steps = [native_step(problem("relu", [shape], [shape], threads), [0], [1], "relu/vector:f32:nchw"),
             native_step(problem("add", [shape, shape], [shape], threads), [1, 0], [2], "add/broadcast:f32:nchw"),
             native_step(problem("relu", [shape], [shape], threads), [2], [3], "relu/vector:f32:nchw"),
             native_step(problem("add", [shape, shape], [shape], threads), [1, 3], [4], "add/broadcast:f32:nchw"),
             native_step(problem("concat", [shape, shape], [double], threads, axis=1), [4, 0], [5],
                         "concat/copy:f32:nchw")]
    return _native.Plan(bytes_of(shape, shape, shape, shape, shape, double), steps, [0], [5], threads), shape, double


@pytest.mark.parametrize("threads", [1, 2, 3, 16, 64, 128])
def test_native_routines_share_memory_and_agree_with_numpy(threads):
    plan, shape, double = native_block(threads)
    x = np.random.default_rng(2).standard_normal(shape, np.float32)
    (y,) = run(plan, [x], [double])
    r = np.maximum(x, 0)
    np.testing.assert_array_equal(y, np.concatenate([r + np.maximum(r + x, 0), x], 1))
    assert plan.placement[4] == (0, 0, "output")  # its producer writes into the concatenation
    assert plan.peak_bytes < plan.unshared_bytes


def test_native_and_python_steps_mix():
    shape = (1, 16, 4, 4)
    steps = [native_step(problem("relu", [shape], [shape], 2), [0], [1], "relu/vector:f32:nchw"),
             python_step(add, [shape, shape], [shape], [1, 0], [2], reuse=[(0, 0)]),
             native_step(problem("relu", [shape], [shape], 2), [2], [3], "relu/vector:f32:nchw")]
    plan = _native.Plan(bytes_of(shape, shape, shape, shape), steps, [0], [3], 2)
    x = np.random.default_rng(2).standard_normal(shape, np.float32)
    (y,) = run(plan, [x], [shape])
    np.testing.assert_array_equal(y, np.maximum(np.maximum(x, 0) + x, 0))


def test_several_sessions_over_one_plan_from_several_threads():
    plan, shape, double = native_block(2)
    mixed = chain(2)
    failures = []

    def work(seed):
        rng, session, second = np.random.default_rng(seed), plan.session(), mixed.session()
        for _ in range(150):
            x = rng.standard_normal(shape, np.float32)
            (y,) = run(plan, [x], [double], session)
            r = np.maximum(x, 0)
            if not np.array_equal(y, np.concatenate([r + np.maximum(r + x, 0), x], 1)):
                failures.append(seed)
            z = rng.standard_normal(N, np.float32)
            if not np.array_equal(run(mixed, [z], [N], second)[0], np.maximum(z + z, 0)):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert failures == []


def test_one_session_is_for_one_thread_at_a_time():
    entered, leave = threading.Event(), threading.Event()

    def wait(ins, outs):
        entered.set()
        leave.wait(30)

    plan = _native.Plan(bytes_of([1], [1]), [python_step(wait, [[1]], [[1]], [0], [1])], [0], [1], 1)
    session, x = plan.session(), np.zeros(1, np.float32)
    first = threading.Thread(target=run, args=(plan, [x], [1], session))
    first.start()
    assert entered.wait(30)
    with pytest.raises(RuntimeError, match="running in another thread"):
        run(plan, [x], [1], session)
    leave.set()
    first.join()
    run(plan, [x], [1], session)


def test_the_gil_is_free_while_native_steps_run():
    shape = (1, 16, 512, 512)
    steps = [native_step(problem("relu", [shape], [shape]), [i], [i + 1], "relu/vector:f32:nchw") for i in range(40)]
    plan = _native.Plan(bytes_of(*[shape] * 41), steps, [0], [40], 1)
    session, x, y = plan.session(), np.ones(shape, np.float32), np.empty(shape, np.float32)
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(1)
            stop.wait(0.0005)

    ticker = threading.Thread(target=tick)
    ticker.start()
    during = 0
    for _ in range(20):
        before = len(ticks)
        session.run([x], [y])
        during += len(ticks) - before
    stop.set()
    ticker.join()
    assert during > 0


class Refused(Exception):
    pass


def test_an_exception_of_a_python_kernel_reaches_the_caller():
    later = []

    def refuse(ins, outs):
        raise Refused("no")

    steps = [python_step(refuse, [[N]], [[N]], [0], [1], label="bad one"),
             python_step(lambda i, o: later.append(1), [[N]], [[N]], [1], [2])]
    plan = _native.Plan(bytes_of([N], [N], [N]), steps, [0], [2], 2)
    session, x = plan.session(), np.zeros(N, np.float32)
    for call in (session.run, session.run_timed):
        with pytest.raises(Refused) as caught:
            call([x], [x.copy()])
        assert caught.value.__traceback__ is not None and later == []
        if sys.version_info >= (3, 11):
            assert "step 0 ('bad one')" in caught.value.__notes__[0]
    with pytest.raises(ValueError, match="input 0"):  # nothing of it is left
        session.run([x[:2]], [x.copy()])


def test_a_failure_between_native_steps_leaves_the_session_usable():
    """Threads that are a step ahead must not run away from a failure, nor wait for ever."""
    shape, fail = (1, 16, 16, 16), []

    def sometimes(ins, outs):
        if fail:
            raise Refused
        outs[0][...] = ins[0]

    def relu_step(i):
        return native_step(problem("relu", [shape], [shape], 2), [i], [i + 1], "relu/vector:f32:nchw")

    steps = [relu_step(0), relu_step(1), python_step(sometimes, [shape], [shape], [2], [3]),
             python_step(relu, [shape], [shape], [3], [4]), relu_step(4)]
    plan = _native.Plan(bytes_of(*[shape] * 6), steps, [0], [5], 2)
    session, x = plan.session(), np.random.default_rng(0).standard_normal(shape, np.float32)
    for i in range(200):
        fail[:] = [1] * (i % 2)
        y = np.full(shape, np.nan, np.float32)
        if fail:
            with pytest.raises(Refused):
                session.run([x], [y])
        else:
            session.run([x], [y])
            np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_run_timed_gives_a_time_for_each_step():
    plan, shape, double = native_block(2)
    x, y = np.ones(shape, np.float32), np.empty(double, np.float32)
    times = plan.session().run_timed([x], [y])
    assert times.dtype == np.int64 and times.shape == (5,) and (times >= 0).all() and times.sum() > 0
    np.testing.assert_array_equal(y, np.concatenate([x + 2 * x, x], 1))


def test_a_plan_without_steps_copies_inputs_to_outputs():
    plan = _native.Plan(bytes_of([3], [2]), [], [0, 1], [1, 0, 0], 2)
    a, b = np.float32([1, 2, 3]), np.float32([4, 5])
    y = run(plan, [a, b], [2, 3, 3])
    assert [v.tolist() for v in y] == [[4, 5], [1, 2, 3], [1, 2, 3]]
    assert plan.session().run_timed([a, b], [b.copy(), a.copy(), a.copy()]).shape == (0,)


def test_large_values_and_copies_by_several_threads():
    """An output that is read on must be copied out, in parallel; arenas of megabytes ask for huge pages."""
    shape = (1, 16, 300, 301)
    steps = [native_step(problem("relu", [shape], [shape], 2), [0], [1], "relu/vector:f32:nchw"),
             native_step(problem("concat", [shape, shape], [(1, 32, 300, 301)], 2, axis=1), [1, 1], [2],
                         "concat/copy:f32:nchw")]
    plan = _native.Plan(bytes_of(shape, shape, (1, 32, 300, 301)), steps, [0], [1, 2], 2)
    x = np.random.default_rng(4).standard_normal(shape, np.float32)
    r, both = run(plan, [x], [shape, (1, 32, 300, 301)])
    np.testing.assert_array_equal(r, np.maximum(x, 0))
    np.testing.assert_array_equal(both, np.concatenate([r, r], 1))


@pytest.mark.parametrize("inputs, outputs, message", [
    (lambda x: [], lambda x: [x], "expected 1 inputs and 1 outputs, got 0 and 1"),
    (lambda x: [x], lambda x: [x, x], "got 1 and 2"),
    (lambda x: [x[:-1]], lambda x: [x.copy()], "input 0: expected 384 bytes, got 380"),
    (lambda x: [x], lambda x: [np.zeros(N + 1, np.float32)], "output 0: expected 384 bytes, got 388"),
    (lambda x: [np.zeros(2 * N, np.float32)[::2]], lambda x: [x], "input 0: expected a C-contiguous"),
    (lambda x: [x], lambda x: [np.broadcast_to(np.float32(0), N)], "output 0: expected a C-contiguous, writable"),
    (lambda x: [3.5], lambda x: [x], "input 0: .* got float"),
    (lambda x: [x], lambda x: [x], "output 0 shares memory with input 0"),
    (lambda x: [np.zeros(4 * N + 1, np.int8)[1:].view(np.float32)], lambda x: [x], "input 0: .* not aligned"),
])
def test_wrong_arrays_are_refused(inputs, outputs, message):
    x = np.zeros(N, np.float32)
    with pytest.raises(ValueError, match=message):
        chain().session().run(inputs(x), outputs(x))


def test_two_outputs_in_one_buffer_are_refused():
    steps = [python_step(fill(i), [], [[N]], [], [i]) for i in range(2)]
    plan = _native.Plan(bytes_of([N], [N]), steps, [], [0, 1], 1)
    y = np.zeros(N + 8, np.float32)
    with pytest.raises(ValueError, match="output 1 shares memory with output 0"):
        plan.session().run([], [y[:N], y[8:]])


def test_read_only_inputs_and_any_buffer_are_taken():
    plan = chain()
    x = np.arange(N, dtype=np.float32)
    x.flags.writeable = False
    for given in (x, x.tobytes(), memoryview(x), x.reshape(4, -1)):
        np.testing.assert_array_equal(run(plan, [given], [N])[0], 2 * x)


class Tensor:
    """Offers its memory by DLPack alone, as frameworks do."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_dlpack_tensors_are_read_and_written_without_copies():
    x, y = np.arange(N, dtype=np.float32), np.zeros(N, np.float32)
    chain().session().run([Tensor(x)], [Tensor(y)])
    np.testing.assert_array_equal(y, 2 * x)
    with pytest.raises(ValueError, match="C-contiguous"):
        chain().session().run([Tensor(np.zeros((N, 2), np.float32)[:, 0])], [y])


@pytest.mark.parametrize("change, message", [
    (dict(threads=0), "0 threads: expected 1 to 1024"),
    (dict(threads=1025), "1025 threads: expected 1 to 1024"),
    (dict(values=bytes_of([N], [N], [N - 1])), "outputs.0. is 384 bytes on cpu, got value 2 of 380"),
    (dict(values=[(384, "cpu"), (384, "moon"), (384, "cpu")]), "device 'moon' is not open"),
    (dict(inputs=[]), "read before it is written"),
    (dict(outputs=[3]), "value 3 does not exist"),
    (dict(steps=[python_step(add, [[N], [N]], [[N]], [0], [1])]), "its kernel has 2 inputs, got 1"),
])
def test_malformed_plans_are_refused(change, message):
    steps = [python_step(add, [[N], [N]], [[N]], [0, 0], [1], label="first"),
             python_step(relu, [[N]], [[N]], [1], [2])]
    whole = dict(values=bytes_of([N], [N], [N]), steps=steps, inputs=[0], outputs=[2], threads=1)
    _native.Plan(**whole)
    if "steps" in change:
        change = {**change, "values": bytes_of([N], [N]), "outputs": [1]}
    with pytest.raises(ValueError, match=message):
        _native.Plan(**{**whole, **change})


def test_a_plan_of_more_threads_than_a_kernel_has_memory_for_is_refused():
    shape = (1, 16, 4, 4)
    for prepared, threads in [(2, 3), (16, 128)]:
        steps = [native_step(problem("relu", [shape], [shape], prepared), [0], [1], "relu/vector:f32:nchw")]
        with pytest.raises(ValueError, match=f"prepared for {prepared} threads, the plan has {threads}"):
            _native.Plan(bytes_of(shape, shape), steps, [0], [1], threads)
        _native.Plan(bytes_of(shape, shape), steps, [0], [1], prepared - 1)
    alone = [native_step(problem("relu", [shape], [shape], 1), [0], [1], "relu/vector:f32:nchw")]
    _native.Plan(bytes_of(shape, shape), alone, [0], [1], 16)  # a step of one thread


@pytest.mark.parametrize("threads", ["0", "-1", "1025", "4294967298", "99999999999999999999", "2x", ""])
def test_a_problem_for_no_team_is_refused(threads):
    with pytest.raises(ValueError, match=f"'relu in=f32:4 out=f32:4 threads={threads}': {threads} threads, expected 1 to 1024"):
        _native.candidates(f"relu in=f32:4 out=f32:4 threads={threads}")


def test_kernels_keep_their_constants_and_plans_their_kernels():
    shape = (1, 16, 4, 4)
    text = problem("add", [shape, "const:f32:1x16x1x1"], [shape])
    constant = np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1)
    c = accepted(text, "add/broadcast:f32:nchw")
    kernel = _native.prepare(text, c["id"], c["variants"][0], [(None, 0), (constant, 0)])
    expected = constant + np.ones(shape, np.float32)
    plan = _native.Plan(bytes_of(shape, shape), [("add", kernel, [0], [1], c["share"], c["reuse"])], [0], [1], 1)
    del kernel, constant
    gc.collect()
    np.testing.assert_array_equal(run(plan, [np.ones(shape, np.float32)], [shape])[0], expected)


def test_python_kernels_are_released_with_the_last_plan():
    class Callable:
        def __call__(self, ins, outs):
            outs[0][...] = 1

    function = Callable()
    alive = weakref.ref(function)
    plan = _native.Plan(bytes_of([N]), [python_step(function, [], [[N]], [], [0])], [], [0], 1)
    session = plan.session()
    del function, plan
    gc.collect()
    assert alive() is not None
    y = np.zeros(N, np.float32)
    session.run([], [y])
    assert (y == 1).all()
    del session
    gc.collect()
    assert alive() is None


def test_prepare_refuses_with_reasons():
    shape = (1, 16, 4, 4)
    text = problem("relu", [shape], [shape])
    routine = accepted(text)["id"]
    for args, message in [
        (("nonsense", routine, "", []), "incomplete|expected"),
        ((text, "relu/nothing:f32:nchw:cpu", "", [(None, 0)]), "not in the catalogue"),
        ((text, "add/broadcast:f32:nchw:cpu", "", [(None, 0)]), "it computes add"),
        ((text, routine, "", []), "expected 1 constants"),
        ((text, routine, "", [(None, 0)], [(1.0, 0)]), "no scales or 2, got 1 and 1"),
        ((adapt(shape, "f32:nchw:cpu", "u8:nhwc:cpu"), "adapt/quantise:f32:nchw-u8:nhwc:cpu", "", [(None, 0)]),
         "the scale of the value is not known"),
        ((text, routine, "", [(np.zeros(shape, np.float32), 0)]), "input 0 is not a constant"),
        ((problem("relu", [(1, 16)], [(1, 16)]), "relu/vector:f32:nchw:cpu", "", [(None, 0)]), "relu/vector:f32:nchw:cpu"),
    ]:
        with pytest.raises(ValueError, match=message):
            _native.prepare(*args)
    constant = problem("add", [shape, f"const:f32:{'x'.join(map(str, shape))}"], [shape])
    add_routine = accepted(constant)["id"]
    with pytest.raises(ValueError, match="expected 1024 bytes, got 4"):
        _native.prepare(constant, add_routine, "", [(None, 0), (np.zeros(1, np.float32), 0)])
    with pytest.raises(ValueError, match="contents are missing"):
        _native.prepare(constant, add_routine, "", [(None, 0), (None, 0)])


def test_candidates_say_why_they_decline():
    found = {c["id"]: c for c in _native.candidates(problem("relu", [(1, 16)], [(1, 16)]))}
    assert found["relu/vector:f32:plain:cpu"]["ok"]
    assert found["relu/vector:f32:plain:cpu"]["ins"] == ["f32:plain:cpu"]
    declined = found["relu/vector:f32:nchw:cpu"]
    assert not declined["ok"] and declined["reason"] and "variants" not in declined
    with pytest.raises(ValueError, match="incomplete"):
        _native.candidates("relu")
    assert _native.candidates("no_such_layer in=f32:1 out=f32:1 threads=1") == []


def test_every_routine_that_takes_no_epilogue_declines_one():
    plain = {r["id"] for r in _native.routines() if r["layer"] == "relu" and not r["takes_epilogue"]}
    text = problem("relu", [(1, 16)], [(1, 16)]).replace(" threads", " epilogue=tanh threads")
    reasons = {c["id"]: c["reason"] for c in _native.candidates(text)}
    assert {reasons[i] for i in plain} <= {"takes no epilogue"}


def test_the_cards_of_all_routines_are_complete():
    cards = _native.routines()
    assert len({c["id"] for c in cards}) == len(cards) > 0
    for c in cards:
        assert c["layer"] == c["id"].split("/")[0] and c["device"] == c["id"].split(":")[-1]
        assert c["accuracy"] in ("strict", "f32", "reduced", "quantised") and c["version"] >= 1
        assert (c["unavailable"] == "") == (c["requires"] == "" or set(c["requires"].split("+")) <= set(
            _native.devices()[0]["capabilities"].split()))


def test_the_processor_is_described():
    info = _native.cpu_info()
    assert info["used"][0] == "generic" and set(info["used"]) <= set(info["compiled"]) & set(info["found"])
    assert info["l1d"] > 0 and info["model"]
    assert 1 <= _native.usable_processors() <= (os.cpu_count() or 1)
    cpu = _native.devices()[0]
    assert cpu["name"] == "cpu" and cpu["available"] and cpu["clock"] == "wall" and cpu["host_memory"]
    assert set(info["used"]) <= set(cpu["capabilities"].split())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_runs_with_threads_of_its_own():
    plan, shape, double = native_block(2)
    session, x = plan.session(), np.random.default_rng(0).standard_normal(shape, np.float32)
    (expected,) = run(plan, [x], [double], session)
    for _ in range(3):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if all(np.array_equal(run(plan, [x], [double], session)[0], expected)
                                  for _ in range(20)) else 2
            finally:
                os._exit(status)
        (again,) = run(plan, [x], [double], session)
        np.testing.assert_array_equal(again, expected)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

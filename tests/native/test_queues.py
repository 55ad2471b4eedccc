"""Queues of devices: what waits for what, that nothing is read too early or written too soon, that copies run beside work.

The null devices run each queue in a thread. With the lag `hold` nothing in a queue runs before somebody waits for it, so that
a wait which is missing shows in the result; their own memory faults when the host touches it.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from native_helpers import adapt, failures, isolated, native_step, null_library, problem, python_step

from pathweave import _native

SHAPE = (1, 16, 6, 5)
BYTES = 4 * 16 * 6 * 5
LAGS = ("", "slow", "hold")


def on(device: str, layout: str = "nchw") -> str:
    return f"f32:{layout}:{device}"


def opened(path: str, lag: str = "", devices: int = 2, **more: object) -> ctypes.CDLL:
    os.environ |= {"PW_NULL_LAG": lag, "PW_NULL_DEVICES": str(devices), **{k: str(v) for k, v in more.items()}}
    found = _native.open_plugin(path)
    assert all(d["available"] for d in found), found
    return null_library(path)


class Net:
    """A plan under construction, with what it computes: each value is the caller's `x`, its positive part, or 0.5.

    relu of a null device copies, so that what goes through one must not be negative.
    """

    def __init__(self, threads: int = 2):
        self.threads, self.values, self.steps, self.meaning = threads, [], [], []

    def value(self, device: str, meaning: object) -> int:
        self.values.append((BYTES, device))
        self.meaning.append(meaning)
        return len(self.values) - 1

    def _step(self, text: str, ins: list[int], device: str, meaning: object, prefix: str) -> int:
        out = self.value(device, meaning)
        self.steps.append(native_step(text, ins, [out], prefix))
        return out

    def move(self, v: int, device: str) -> int:
        source = self.values[v][1]
        kind = "upload" if source == "cpu" else "download"
        return self._step(adapt(SHAPE, on(source), on(device)), [v], device, self.meaning[v], f"adapt/{kind}")

    def relu(self, v: int) -> int:
        device = self.values[v][1]
        prefix = "relu/vector:f32:nchw" if device == "cpu" else f"relu/null:f32:nchw:{device}"
        return self._step(problem("relu", [SHAPE], [SHAPE], self.threads), [v], device, self.meaning[v], prefix)

    def add(self, v: int, w: int) -> int:
        device = self.values[v][1]
        text = problem("add", [SHAPE, SHAPE], [SHAPE], self.threads)
        return self._step(text, [v, w], device, 0.5, f"add/null:f32:nchw:{device}")

    def python(self, function, v: int, meaning: object) -> int:
        out = self.value("cpu", meaning)
        self.steps.append(python_step(function, [SHAPE], [SHAPE], [v], [out]))
        return out

    def plan(self, inputs: list[int], outputs: list[int]):
        return _native.Plan(self.values, self.steps, inputs, outputs, self.threads)

    def check(self, outputs: list[int], arrays, x: np.ndarray) -> bool:
        wanted = [np.full(SHAPE, 0.5) if self.meaning[v] == 0.5 else np.maximum(x, 0) for v in outputs]
        return all(np.array_equal(a, w) for a, w in zip(arrays, wanted))


def across() -> tuple[Net, list[int]]:
    """CPU, null0, CPU, null1 and back; what null0 made goes on to null1 both by the host and behind a step of it."""
    net = Net()
    x = net.value("cpu", "x")
    a = net.move(net.relu(x), "null0")
    b = net.relu(a)
    c = net.add(a, b)
    d = net.relu(net.move(b, "cpu"))
    e = net.relu(net.move(d, "null1"))
    f = net.move(net.move(c, "cpu"), "null1")
    g = net.add(e, f)
    return net, [net.move(e, "cpu"), net.move(g, "cpu"), net.relu(net.move(e, "cpu")), d]


def _run(net: Net, outputs: list[int], times: int = 4) -> bool:
    session, right = net.plan([0], outputs).session(), []
    for seed in range(times):
        x = np.abs(np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32))
        arrays = [np.full(SHAPE, np.nan, np.float32) for _ in outputs]
        (session.run if seed % 2 else session.run_timed)([x], arrays)
        right.append(net.check(outputs, arrays, x))
    return all(right)


def _across(path: str, lag: str, queues: int):
    library = opened(path, lag, PW_NULL_COPY_QUEUES=queues)
    right = _run(*across())
    return right, library.null_device_live_bytes(), library.null_device_alive()


@pytest.mark.parametrize("lag", LAGS)
@pytest.mark.parametrize("queues", [0, 1, 2])
def test_a_net_crosses_three_devices(null_device, lag, queues):
    assert isolated(_across, null_device, lag, queues) == (True, 0, 0)


def _random(path: str, lag: str, seed: int):
    opened(path, lag, PW_NULL_COPY_QUEUES=seed % 3)
    rng, wrong = random.Random(seed), []
    for number in range(12):
        net = Net()
        values = [net.value("cpu", "x")]
        values.append(net.relu(values[0]))
        for _ in range(rng.randrange(8, 30)):
            v = rng.choice(values[-6:])
            device = net.values[v][1]
            others = [w for w in values if net.values[w][1] == device]
            kind = rng.choice(("relu", "move", "add"))
            if kind == "move":
                values.append(net.move(v, rng.choice(("null0", "null1")) if device == "cpu" else "cpu"))
            elif kind == "relu" or device == "cpu":
                values.append(net.relu(v))
            else:
                values.append(net.add(v, rng.choice(others)))
        host = [v for v in values[1:] if net.values[v][1] == "cpu"]
        outputs = sorted(set(rng.sample(host, min(len(host), 3))))
        used = {v for _, _, ins, *_ in net.steps for v in ins}
        outputs += [v for v in host if v not in used and v not in outputs]
        if not _run(net, outputs, 2):
            wrong.append(number)
    return wrong


@pytest.mark.parametrize("lag", ["slow", "hold"])
@pytest.mark.parametrize("seed", range(3))
def test_random_nets_across_devices(null_device, lag, seed):
    """Places are used again and again: a copy that still reads, or still writes, is never overtaken."""
    assert isolated(_random, null_device, lag, seed) == []


# ---- what waits for what -------------------------------------------------------------------------------------------

def happens_before(work, devices, waits):
    """For each step the set of those that are surely over when it begins, by the contract alone."""
    host: set[int] = set()
    last = [set() for _ in devices]  # of each queue: what is over when its newest work is
    before, behind = [], []
    for s, ((queue, _), (on_host, on_queue, _)) in enumerate(zip(work, waits)):
        for t in on_host:
            host |= behind[t]
        over = set(host)
        if queue >= 0:
            over |= last[queue]
            for t in on_queue:
                assert devices[work[t][0]] == devices[queue] and work[t][0] != queue
                over |= behind[t]
            last[queue] = over | {s}
        else:
            assert not on_queue
            host |= {s}
            over = set(host) - {s}
        before.append(over)
        behind.append(over | {s})
    return before


@pytest.mark.parametrize("seed", range(60))
def test_waits_order_all_that_touches_the_same_bytes(seed):
    rng = random.Random(seed)
    devices = [0, 0, 1, 1, 2][:rng.randrange(1, 6)]
    work = []
    for _ in range(rng.randrange(2, 40)):
        touches = []
        for _ in range(rng.randrange(1, 4)):
            first = rng.randrange(0, 12)
            touches.append((rng.randrange(3), first, first + rng.randrange(0, 6), rng.random() < 0.4))
        work.append((rng.randrange(-1, len(devices)), touches))
    waits = _native.queue_waits(work, devices)
    before = happens_before(work, devices, waits)

    def clash(a, b) -> bool:
        return any(s == t and (w or v) and max(f, g) < min(e, h) for s, f, e, w in a for t, g, h, v in b)
    waited = {t for on_host, on_queue, _ in waits for t in (*on_host, *on_queue)}
    for s, (_, touches) in enumerate(work):
        for t in range(s):
            if work[t][0] >= 0 and clash(work[t][1], touches):
                assert t in before[s], (s, t)
        assert waits[s][2] == (s in waited)
        # None is asked for that follows from the others.
        for own in (0, 1):
            for t in waits[s][own]:
                fewer = [list(map(list, w[:2])) + [w[2]] for w in waits]
                fewer[s][own].remove(t)
                weaker = happens_before(work, devices, fewer)
                assert any(clash(work[q][1], work[u][1]) and q not in weaker[u] for u in range(s, len(work)) for q in range(u))


def test_a_queue_that_does_not_exist():
    with pytest.raises(ValueError, match="queue 2 of 2"):
        _native.queue_waits([(2, [])], [0, 1])


# ---- overlap -------------------------------------------------------------------------------------------------------

def branches(depth: int, device: str = "null0") -> tuple[Net, list[int]]:
    """`depth` times: a value goes to the device, is worked on and comes back; they have nothing to do with each other."""
    net = Net()
    inputs = [net.value("cpu", "x") for _ in range(depth)]
    moved = [net.move(v, device) for v in inputs]
    return net, [net.move(net.relu(v), "cpu") for v in moved]


def _pipeline(path: str, queues: int, depth: int):
    library = opened(path, "", 1, PW_NULL_COPY_QUEUES=queues)
    library.null_device_set_time(b"adapt/upload:any:null0", b"", 300)
    library.null_device_set_time(b"relu/null:f32:nchw:null0", b"", 500)
    library.null_device_set_time(b"adapt/download:any:null0", b"", 200)
    net, outputs = branches(depth)
    session = net.plan(list(range(depth)), outputs).session()
    xs = [np.full(SHAPE, i + 1, np.float32) for i in range(depth)]
    ys = [np.zeros(SHAPE, np.float32) for _ in range(depth)]
    found = []
    for _ in range(2):
        begin = library.null_device_now()
        session.run(xs, ys)
        found.append(library.null_device_now() - begin)
    times, starts = session.run_timeline(xs, ys)
    return found, all((y == x).all() for x, y in zip(xs, ys)), times.tolist(), starts.tolist()


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_copies_run_beside_work(null_device, depth):
    """Three engines in a row: the first value passes all, each further one adds the time of the slowest."""
    (first, second), right, times, starts = isolated(_pipeline, null_device, 2, depth)
    assert right and first == second == 300 + 500 + 200 + (depth - 1) * 500
    assert times == [300] * depth + [500, 200] * depth
    assert max(s + t for s, t in zip(starts, times)) == first
    assert starts[:depth] == [300 * i for i in range(depth)]
    assert starts[depth::2] == [300 + 500 * i for i in range(depth)]
    assert starts[depth + 1::2] == [800 + 500 * i for i in range(depth)]


@pytest.mark.parametrize("depth", [1, 4])
def test_without_queues_for_copies_a_device_does_one_thing_after_another(null_device, depth):
    (first, second), right, times, _ = isolated(_pipeline, null_device, 0, depth)
    assert right and first == second == depth * 1000 and times == [300] * depth + [500, 200] * depth


def _three(path: str):
    """The CPU's work is scripted too: 700 ns by a Python kernel on the calling thread."""
    library = opened(path, "", 2)
    for device, ns in ((b"null0", 1000), (b"null1", 600)):
        library.null_device_set_time(b"relu/null:f32:nchw:" + device, b"", ns)
        library.null_device_set_time(b"adapt/upload:any:" + device, b"", 50)
        library.null_device_set_time(b"adapt/download:any:" + device, b"", 50)

    def work(ins, outs):
        library.null_device_spend(700)
        outs[0][...] = np.maximum(ins[0], 0)
    net = Net()
    x = net.value("cpu", "x")
    on0, on1 = net.relu(net.move(x, "null0")), net.relu(net.move(x, "null1"))
    here = net.python(work, x, "x")
    outputs = [here, net.move(on0, "cpu"), net.move(on1, "cpu")]
    session = net.plan([0], outputs).session()
    x, ys = np.ones(SHAPE, np.float32), [np.zeros(SHAPE, np.float32) for _ in outputs]
    begin = library.null_device_now()
    session.run([x], ys)
    total = library.null_device_now() - begin
    times, starts = session.run_timeline([x], ys)
    return total, all((y == 1).all() for y in ys), times.tolist(), starts.tolist()


def test_the_cpu_and_two_devices_work_at_the_same_time(null_device):
    """1100 ns of null0 hide 700 of null1 and 700 of the CPU."""
    total, right, times, starts = isolated(_three, null_device)
    assert right and total == 50 + 1000 + 50
    assert times[:4] == [50, 1000, 50, 600] and times[5:] == [50, 50]
    assert starts[:4] == [0, 50, 0, 50] and starts[5:] == [1050, 700]


# ---- pinned memory -------------------------------------------------------------------------------------------------

def _pinned(path: str, device: str):
    library = opened(path, "", 2)
    depth = 3
    net, outputs = branches(depth, device)
    session = net.plan(list(range(depth)), outputs).session()
    pinned = library.null_device_pinned_bytes()
    xs, ys = [np.full(SHAPE, i + 1, np.float32) for i in range(depth)], [np.zeros(SHAPE, np.float32) for _ in range(depth)]
    begin = library.null_device_now()
    for _ in range(2):
        session.run(xs, ys)
    total = library.null_device_now() - begin
    right = all((y == x).all() for x, y in zip(xs, ys))
    del session
    return pinned, total, right, library.null_device_live_bytes()


def test_what_crosses_lies_in_pinned_memory_where_the_device_wants_it(null_device):
    """null1 would hold the caller up for each copy of other memory: 9 steps of 1000 ns one after another."""
    assert isolated(_pinned, null_device, "null1") == (6 * BYTES, 2 * 5000, True, 0)
    assert isolated(_pinned, null_device, "null0") == (0, 2 * 5000, True, 0)


def _arena_is_pinned(path: str, lag: str):
    library = opened(path, lag, 2)
    net = Net()
    x = net.value("cpu", "x")
    up = net.move(net.relu(x), "null1")
    outputs = [net.relu(net.move(net.relu(up), "cpu"))]
    session = net.plan([x], outputs).session()
    x, y = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.float32)
    session.run([x], [y])
    return library.null_device_pinned_bytes() >= BYTES, bool((y == 1).all())


@pytest.mark.parametrize("lag", LAGS)
def test_values_of_the_host_between_two_steps_are_pinned_too(null_device, lag):
    assert isolated(_arena_is_pinned, null_device, lag) == (True, True)


# ---- memory --------------------------------------------------------------------------------------------------------

def _full(path: str):
    library = opened(path, "", 2, PW_NULL_MEMORY=4 * BYTES)
    messages, kept = [], []
    net, outputs = across()
    plan = net.plan([0], outputs)
    for _ in range(2):
        try:
            kept.append(plan.session())
        except MemoryError as e:
            messages.append(str(e))
    live = library.null_device_live_bytes()
    alive = library.null_device_alive()
    kept.clear()
    again = plan.session()
    del again
    return messages, live, alive, library.null_device_live_bytes(), library.null_device_alive()


def test_memory_that_a_device_does_not_have(null_device):
    messages, live, alive, left, left_alive = isolated(_full, null_device)
    assert len(messages) == 1 and messages[0].startswith("device null0 has no ") and "bytes are free" in messages[0]
    assert live > 0 and alive > 0 and (left, left_alive) == (0, 0)  # of the session that there was, and none


TOUCH = """
import ctypes, sys
from pathweave import _native
_native.open_plugin(sys.argv[1])
library = ctypes.CDLL(sys.argv[1])
library.null_device_take.restype = ctypes.c_void_p
at = library.null_device_take(int(sys.argv[2]))
print(len(ctypes.string_at(at, 4)), flush=True)
"""


@pytest.mark.parametrize("kind, faults", [(0, True), (1, False), (2, False)])
def test_the_host_cannot_touch_the_devices_own_memory(null_device, kind, faults):
    """Kinds: device, host-visible, pinned."""
    done = subprocess.run([sys.executable, "-c", TOUCH, null_device, str(kind)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == ((-signal.SIGSEGV, "") if faults else (0, "4\n")), done.stderr


def _padded(path: str):
    opened(path, "", 1, PW_NULL_PADDING=192)
    plain, more = _native.value_bytes("f32:nchw:cpu", SHAPE), _native.value_bytes("f32:nchw:null0", SHAPE)
    messages = []
    for form in ("u8:nchw:null0", "f32:nchw:null7"):
        try:
            _native.value_bytes(form, SHAPE)
        except ValueError as e:
            messages.append(str(e))
    net = Net()
    x = net.value("cpu", "x")
    up = net.move(x, "null0")
    try:
        net.plan([0], [0])
    except ValueError as e:
        messages.append(str(e))
    net.values[up] = (more, "null0")
    out = net.move(up, "cpu")
    session, x, y = net.plan([0], [out]).session(), np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.float32)
    session.run([x], [y])
    return plain, more, messages, bool((y == 1).all())


def test_the_device_says_how_large_a_value_is(null_device):
    plain, more, messages, right = isolated(_padded, null_device)
    assert plain == BYTES and more == BYTES + 192 and right
    assert messages[0] == "device null0 holds no value in format u8:nchw:null0"
    assert "null7" in messages[1] and f"{BYTES + 192} bytes on null0" in messages[2]


# ---- failures ------------------------------------------------------------------------------------------------------

def _late(path: str, lag: str, where: str):
    library = opened(path, lag, 2)
    library.null_device_set_late_code(where.encode(), b"", 42)
    net, outputs = across()
    messages = failures(net.plan([0], outputs).session(), np.ones(SHAPE, np.float32), len(outputs))
    library.null_device_clear()
    return messages, _run(*across())


@pytest.mark.parametrize("lag", LAGS)
@pytest.mark.parametrize("where, step", [
    ("adapt/upload:any:null0", 1), ("relu/null:f32:nchw:null0", 2), ("add/null:f32:nchw:null0", 3),
    ("adapt/download:any:null0", 4), ("add/null:f32:nchw:null1", 10), ("adapt/download:any:null1", 11)])
def test_work_that_fails_in_a_queue_is_told_with_its_step(null_device, lag, where, step):
    """Whoever waits for it first, at the end of the run or in the middle; the next run is as new."""
    messages, right = isolated(_late, null_device, lag, where)
    assert messages == [f"step {step} ('{where}') failed with code 42"] * 3 and right


# ---- processes and threads -----------------------------------------------------------------------------------------

def _forked(path: str):
    opened(path, "", 2)
    net, outputs = across()
    plan = net.plan([0], outputs)
    session = plan.session()
    x, arrays = np.ones(SHAPE, np.float32), [np.zeros(SHAPE, np.float32) for _ in outputs]
    session.run([x], arrays)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        told = []
        for body in (lambda: session.run([x], arrays), plan.session):
            try:
                body()
                told.append("nothing")
            except (RuntimeError, ValueError) as e:
                told.append(str(e))
        del session
        host = Net()
        y = np.zeros(SHAPE, np.float32)
        v = host.value("cpu", "x")
        host.plan([v], [host.relu(v)]).session().run([x], [y])
        told.append(str(bool((y == 1).all())))
        os.write(write, "\n".join(told).encode())
        os._exit(0)
    os.close(write)
    told = b""
    while part := os.read(read, 4096):
        told += part
    code = os.waitpid(child, 0)[1]
    session.run([x], arrays)
    return told.decode().split("\n"), code, net.check(outputs, arrays, x)


def test_a_forked_child_is_told_that_devices_stay_with_the_parent(null_device):
    (running, making, host), code, right = isolated(_forked, null_device)
    assert "belongs to the process that opened it" in running and "forked" in running
    assert making.startswith("device null0 was opened before this process was forked")
    assert host == "True" and code == 0 and right


def _threads(path: str, lag: str):
    opened(path, lag, 2)
    net, outputs = across()
    plan, wrong = net.plan([0], outputs), []

    def work(seed: int) -> None:
        session, rng = plan.session(), np.random.default_rng(seed)
        for _ in range(25):
            x = rng.standard_normal(SHAPE).astype(np.float32)
            arrays = [np.full(SHAPE, np.nan, np.float32) for _ in outputs]
            session.run([x], arrays)
            if not net.check(outputs, arrays, x):
                wrong.append(seed)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return wrong


@pytest.mark.parametrize("lag", ["", "hold"])
def test_sessions_in_several_threads(null_device, lag):
    assert isolated(_threads, null_device, lag) == []


# ---- a device on the host's memory -----------------------------------------------------------------------------------

def _hosted(path: str):
    opened(path, "", 3)
    net = Net(threads=3)
    x = net.value("cpu", "x")
    text = problem("relu", [SHAPE], [SHAPE], 3)
    out = net.value("cpu", "x")
    net.steps.append(native_step(text, [x], [out], "relu/hosted"))
    kernel = net.steps[0][1]
    return kernel.phases, kernel.serial, kernel.device, _run(net, [out])


def test_a_plugin_may_run_in_a_team_of_threads(null_device):
    """Phases and pieces are no matter of the CPU's own routines."""
    assert isolated(_hosted, null_device) == (1, False, "hosted", True)


# ---- workspace -----------------------------------------------------------------------------------------------------------

def _workspace(path: str, queues: int) -> list[bool]:
    """Transfers whose kernels are made anew for larger values, beside work that needs more workspace, in a queue of its own."""
    opened(path, "", 1, PW_NULL_COPY_QUEUES=queues, PW_NULL_WORKSPACE=1)
    large, most, there, here = 5000, 4000, "f32:plain:null0", "f32:plain:cpu"
    up, down = adapt((3,), here, there), adapt((3,), there, here)

    def maker(text: str, routine: str) -> tuple:
        return [0, 0], (text.replace("f32:3 ", "f32:N ").split("N"), routine, "", [(None, 0)], [], None)
    steps = [native_step(up, [0], [1], "adapt/upload:f32"),
             native_step(problem("concat", [(3,)], [(large,)], axis=0), [1], [2], "concat/null"),
             native_step(up, [3], [4], "adapt/upload:f32"), native_step(down, [4], [5], "adapt/download:f32")]
    plan = _native.Plan([(12, "cpu"), (12, "null0"), (4 * large, "null0"),
                         (4 * most, "cpu"), (4 * most, "null0"), (4 * most, "cpu")], steps, [0, 3], [5], 2,
                        [("symbol", 1, most)], {v: (4, [0], False) for v in (3, 4, 5)}, given=1, most=[most],
                        makers={i: maker(text, steps[i][0]) for i, text in ((2, up), (3, down))})
    session, right = plan.session(), []
    for size in (3, most, 2, most, 100):
        x, y = np.arange(size, dtype=np.float32), np.zeros(size, np.float32)
        session.run([np.ones(3, np.float32), x], [y], [size])
        right.append(np.array_equal(x, y))
    return right


@pytest.mark.parametrize("queues", [0, 1, 2])
def test_a_kernel_that_is_made_anew_has_the_workspace_that_it_needs(null_device, queues):
    assert isolated(_workspace, null_device, queues) == [True] * 5

"""Plans with branches, loops and open sizes, as the native core takes them: what is refused, what ends, where values lie."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from native_helpers import isolated, problem, python_step

from pathweave import _native
from pathweave.runtime.native import time_limit

#: Seconds after which a request to stop counts as not heard.
SOON = 30
NONE = (False, False, False)
FLOAT, WORD, TRUTH = (4, "cpu"), (8, "cpu"), (1, "cpu")


def control(label: str, ins=(), outs=()) -> tuple:
    """A step that runs no kernel."""
    return (label, None, list(ins), list(outs), [], [])


def same(ins, outs) -> None:
    """A kernel that copies."""
    outs[0][:] = ins[0]


def doubling(source: int, target: int) -> tuple:
    def double(ins, outs):
        outs[0][:] = 2 * ins[0]
    return python_step(double, [[1]], [[1]], [source], [target])


def loop_plan(threads: int = 1, **changes):
    """x is doubled n times. Values: 0 x, 1 n, 2 carried, 3 number of the round, 4 doubled."""
    args = {
        "values": [FLOAT, WORD, FLOAT, WORD, FLOAT],
        "steps": [control("first", [0], [2]), control("loop", [1], [3]), doubling(2, 4), control("next", [4, 2]),
                  control("again", [2, 3]), python_step(same, [[1]], [[1]], [2], [5])],
        "control": {0: ("copy", -1, -1, 0, -1, NONE), 1: ("loop", 5, 1, 0, -1, (True, False, False)),
                    3: ("copy", -1, -1, 0, -1, NONE), 4: ("again", 2, 1, 0, -1, NONE)},
    }
    args["values"].append(FLOAT)
    for name, change in changes.items():
        args[name] = change(args[name]) if callable(change) and name in args else change
    return _native.Plan(args.pop("values"), args.pop("steps"), [0, 1], [5], threads, **args)


def run_loop(plan, x: float, rounds: int) -> float:
    out = np.zeros(1, np.float32)
    plan.session().run([np.array([x], np.float32), np.array([rounds], np.int64)], [out])
    return float(out[0])


@pytest.mark.parametrize("threads", [1, 3])
def test_a_loop_by_hand(threads):
    plan = loop_plan(threads)
    for rounds in (0, 1, 5, 20, -3):
        assert run_loop(plan, 3.0, rounds) == 3.0 * 2 ** max(0, rounds)


SIZES = [("symbol", 1, 10), ("number", 3, 0), ("multiply", 0, 1)]

#: What is wrong, and a part of the message.
HOSTILE = {
    "a jump past the end": ({"control": lambda c: {**c, 1: ("loop", 7, 1, 0, -1, (True, False, False))}}, "does not exist"),
    "a jump before the beginning": ({"control": lambda c: {**c, 1: ("loop", -1, 1, 0, -1, (True, False, False))}},
                                    "does not exist"),
    "a word that is none": ({"control": lambda c: {**c, 0: ("leap", -1, -1, 0, -1, NONE)}}, "no operation"),
    "control of a step that is none": ({"control": lambda c: {**c, 99: ("copy", -1, -1, 0, -1, NONE)}}, "does not exist"),
    "again without a loop": ({"control": lambda c: {**c, 4: ("again", 0, 1, 0, -1, NONE)}}, "no loop"),
    "a loop of another number": ({"control": lambda c: {**c, 4: ("again", 2, 77, 0, -1, NONE)}}, "no loop"),
    "a loop of a negative number": ({"control": lambda c: {**c, 1: ("loop", 5, -1, 0, -1, (True, False, False))}}, "no loop"),
    "a count that is no size": ({"control": lambda c: {**c, 1: ("loop", 5, 1, 0, 4, NONE)}}, "no size"),
    "a truth value of eight bytes": ({"control": lambda c: {**c, 1: ("branch", 5, -1, 0, -1, NONE)}}, "expected 1"),
    "a count of one byte": ({"values": lambda v: [v[0], TRUTH, *v[2:]]}, "expected 8"),
    "a copy of more bytes": ({"values": lambda v: [WORD, *v[1:]]}, "copies"),
    "a kernel where none runs": ({"steps": lambda s: [(s[0][0], s[2][1], *s[0][2:]), *s[1:]]}, "no kernel"),
    "no kernel where one runs": ({"control": lambda c: {k: v for k, v in c.items() if k != 3}}, "no kernel"),
    "a size of an operand that is none": ({"sizes": [("add", 0, 0)]}, "no earlier"),
    "a size of a later operand": ({"sizes": [("number", 1, 0), ("add", 0, 2), ("number", 2, 0)]}, "no earlier"),
    "a size with bounds that fall": ({"sizes": [("symbol", 5, 4)]}, "bounds"),
    "a size with a negative bound": ({"sizes": [("symbol", -5, 4)]}, "bounds"),
    "a size with a huge bound": ({"sizes": [("symbol", 0, 2**62)]}, "bounds"),
    "a size of an unknown word": ({"sizes": [("power", 0, 0)]}, "no operation"),
    "more given sizes than there are": ({"sizes": SIZES, "given": 2}, "given more"),
    "an axis that is no size": ({"sizes": SIZES, "open": {4: (4, [3], False)}}, "not among"),
    "an axis that is negative": ({"sizes": SIZES, "open": {4: (4, [-1], False)}}, "not among"),
    "elements without bytes": ({"sizes": SIZES, "open": {4: (0, [1], False)}}, "not among"),
    "open value that is none": ({"sizes": SIZES, "open": {9: (4, [1], False)}}, "does not exist"),
    "pooled without sizes": ({"sizes": SIZES, "open": {4: (4, [], True)}}, "memory that is taken"),
    "another number of axes than the kernel": ({"sizes": SIZES, "open": {4: (4, [1, 1], False)}}, "sizes and 4 bytes"),
    "another element than the kernel": ({"sizes": SIZES, "open": {4: (8, [1], False)}}, "sizes and 8 bytes"),
    "a set of what is no symbol": ({"sizes": SIZES, "open": {4: (4, [1], False)}, "sets": {2: [(0, 0, 1)]}}, "no symbol"),
    "a set of a given size": ({"sizes": SIZES, "given": 1, "open": {4: (4, [0], False)}, "sets": {2: [(0, 0, 0)]}},
                              "caller gives"),
    "a set of another output": ({"sizes": SIZES, "open": {4: (4, [0], False)}, "sets": {2: [(1, 0, 0)]}}, "no such size"),
    "a set of another axis": ({"sizes": SIZES, "open": {4: (4, [0], False)}, "sets": {2: [(0, 1, 0)]}}, "no such size"),
    "a set of a negative axis": ({"sizes": SIZES, "open": {4: (4, [0], False)}, "sets": {2: [(0, -1, 0)]}}, "no such size"),
    "a set by a copy of fixed size": ({"sizes": SIZES, "sets": {0: [(0, 0, 0)]}}, "no such size"),
    "a set by a loop": ({"sizes": SIZES, "sets": {1: [(0, 0, 0)]}}, "finds none"),
    "a set of a step that is none": ({"sizes": SIZES, "sets": {99: [(0, 0, 0)]}}, "does not exist"),
    "a maker by sizes that are none": ({"sizes": SIZES, "makers": {2: ([7], lambda values: None)}}, "not among"),
    "a maker of a step that runs no kernel": ({"sizes": SIZES, "makers": {0: ([0], lambda values: None)}}, "no kernel"),
    "a check of sizes that are none": ({"sizes": SIZES, "checks": {2: [([(0, "==", 9)], "")]}}, "not among"),
    "a check by another word": ({"sizes": SIZES, "checks": {2: [([(0, "<", 1)], "")]}}, "no operation"),
    "a late value that is an input": ({"sizes": SIZES, "open": {0: (4, [1], False)}, "late": [0]}, "handed out"),
    "a late value of fixed size": ({"late": [4]}, "handed out"),
    "a late value that is none": ({"late": [44]}, "does not exist"),
    "memory planned for other sizes": ({"sizes": SIZES, "given": 1, "most": [5, 5, 5]}, "expected 1 sizes"),
    "taking apart what states no sizes": ({"control": lambda c: {**c, 0: ("take", -1, 1, 0, -1, NONE)}}, "cuts axis"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_followed_is_refused(name):
    changes, message = HOSTILE[name]
    with pytest.raises(ValueError, match=message):
        loop_plan(**changes)


def test_sizes_that_overflow_are_an_error_of_the_run():
    """2^40 * 2^40 * 3 is no size: what has it cannot run, and nothing is taken for it."""
    sizes = [("symbol", 1, 2**40), ("multiply", 0, 0), ("number", 3, 0), ("multiply", 1, 2)]
    kernel = python_step(lambda i, o: None, [[3]], [[3]], [0], [1])
    plan = _native.Plan([(12, "cpu"), (12, "cpu")], [kernel], [0], [1], 1, sizes,
                        {0: (4, [0], False), 1: (4, [3], False)}, given=1, most=[1], makers={0: ([0], lambda v: None)})
    with pytest.raises(ValueError, match="more bytes"):
        plan.resized([2**40])
    with pytest.raises(ValueError, match="expected"):
        plan.session().run([np.zeros(3, np.float32)], [np.zeros(3, np.float32)], [2**40])
    with pytest.raises(ValueError, match="sizes"):
        plan.session().run([np.zeros(3, np.float32)], [np.zeros(3, np.float32)], [])


@pytest.mark.parametrize("made, error", [
    (lambda: None, TypeError),
    (lambda: 5, TypeError),
    (lambda: python_step(lambda i, o: None, [[2], [2]], [[2]], [0, 0], [1])[1], ValueError),
    (lambda: python_step(lambda i, o: None, [[2, 1]], [[2]], [0], [1])[1], ValueError),
    (lambda: python_step(lambda i, o: None, [[5]], [[5]], [0], [1])[1], _native.UnfitSizes),
    (lambda: _native.python_kernel(lambda i, o: None, [("f64", [2])], [("f32", [2])]), ValueError),
], ids=["nothing", "a number", "another port", "another rank", "other sizes", "another element"])
def test_a_maker_that_makes_something_else(made, error):
    kernel = python_step(lambda i, o: None, [[3]], [[3]], [0], [1])
    plan = _native.Plan([(40, "cpu")] * 2, [kernel], [0], [1], 1, [("symbol", 1, 10)],
                        {v: (4, [0], False) for v in (0, 1)}, given=1, most=[10], makers={0: ([0], lambda values: made())})
    session = plan.session()
    with pytest.raises(error):
        session.run([np.zeros(2, np.float32)], [np.zeros(2, np.float32)], [2])
    session.run([np.zeros(3, np.float32)], [np.zeros(3, np.float32)], [3])  # the first one does


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("late", [False, True], ids=["given", "found"])
@pytest.mark.parametrize("raised", [KeyboardInterrupt("now"), MemoryError("none"), TimeoutError("late"), LookupError("lost"),
                                    SystemExit(3), _native.UnfitSizes("no")], ids=lambda e: type(e).__name__)
def test_what_a_maker_raises_comes_out_as_it_is(raised, late, threads):
    """Of sizes that are given, before the first step, and of those that a step found, by whichever thread ended it."""
    failing = [raised]

    def find(ins):
        return [ins[0][ins[0] > 0]]

    def make(values):
        if failing:
            raise failing.pop()
        return python_step(same, [values], [values], [0], [1])[1]
    finder = _native.python_kernel(find, [("f32", [9])], [("f32", [9])], True)
    copier = python_step(same, [[9]], [[9]], [1], [2])
    sizes, open_ = [("symbol", 0, 9)], {v: (4, [0], False) for v in ((1, 2) if late else (0, 1, 2))}
    steps = [("find", finder, [0], [1], [], []) if late else python_step(same, [[9]], [[9]], [0], [1]), copier]
    plan = _native.Plan([(36, "cpu")] * 3, steps, [0], [] if late else [2], threads, sizes, open_,
                        sets={0: [(0, 0, 0)]} if late else {}, given=0 if late else 1, late=[2] if late else [],
                        makers={i: ([0], make) for i in ([1] if late else [0, 1])}, most=[] if late else [9])
    session = plan.session()
    x = np.array([1, 2, 3, 4, *([-1] * 5 if late else [])], np.float32)
    for trial in range(2):
        outs, given = ([], []) if late else ([np.zeros(4, np.float32)], [4])
        if trial == 0:
            with pytest.raises(type(raised)) as e:
                session.run([x], outs, given)
            assert e.value is raised
            continue
        session.run([x], outs, given)
        found = np.frombuffer(session.late(0)[1].tobytes(), np.float32) if late else outs[0]
        assert np.array_equal(found, [1, 2, 3, 4])


def test_a_routine_that_is_stopped_while_it_prepares_is_not_one_that_declines():
    w = np.random.default_rng(1).standard_normal((4096, 4096)).astype(np.float32)
    text = problem("dense", [(3, 4096), "const:f32:4096x4096"], [(3, 4096)])
    parts = problem("dense", [("N", 4096), "const:f32:4096x4096"], [("N", 4096)]).split("N")
    stopped = 0
    for i, card in enumerate(c for c in _native.candidates(text) if c["ok"] and c["id"].split(":")[1] == "f32"):
        kernel = _native.prepare(text, card["id"], card["variants"][0], [(None, 0), (w, 10**9 + i)])
        maker = ([0, 0], (parts, card["id"], card["variants"][0], [(None, 0), (w, 0)], [], None))
        plan = _native.Plan([(16384 * 3, "cpu")] * 2, [("dense", kernel, [0], [1], [], [])], [0], [1], 1,
                            [("symbol", 1, 3), ("number", 4096, 0)], {v: (4, [0, 1], False) for v in (0, 1)}, given=1, most=[3],
                            makers={0: maker})
        session, x, y = plan.session(), np.ones((2, 4096), np.float32), np.zeros((2, 4096), np.float32)
        with time_limit(0.0):
            try:
                session.run([x], [y], [2])
            except TimeoutError:
                stopped += 1
        session.run([x], [y], [2])
        assert np.allclose(y, x.astype(np.float64) @ w.astype(np.float64).T, atol=1), card["id"]
    assert stopped > 0


def test_more_steps_than_a_plan_with_jumps_may_have():
    step, most = control("on"), 2**20
    jumps = {i: ("jump", i + 1, -1, 0, -1, NONE) for i in range(most)}
    with pytest.raises(ValueError, match=f"a plan of {most + 1} steps: expected at most {most}"):
        _native.Plan([FLOAT], [step] * (most + 1), [0], [0], 1, control=jumps)
    y = np.zeros(1, np.float32)
    _native.Plan([FLOAT], [step] * most, [0], [0], 1, control=jumps).session().run([np.ones(1, np.float32)], [y])
    assert y[0] == 1


def test_a_kernel_of_more_phases_than_a_plan_with_open_sizes_may_have():
    """A Winograd convolution for a team works off its tiles in pieces that fit the cache, three phases each."""
    def text(n: int) -> str:
        attrs = {"stride": "1,1", "dilation": "1,1", "pad": "1,1,1,1", "groups": 1}
        return problem("conv2", [(n, 64, 64, 64), "const:f32:64x64x3x3"], [(n, 64, 64, 64)], 2, **attrs)
    w = np.zeros((64, 64, 3, 3), np.float32)
    refused = 0
    for card in _native.candidates(text(2**20)):
        if not card["ok"] or "winograd" not in card["id"] or ":u8:" in card["id"]:
            continue
        for variant in card["variants"]:
            kernel = _native.prepare(text(2**20), card["id"], variant, [(None, 0), (w, 0)])
            if kernel.phases <= 2**20 - 3:
                continue
            refused += 1
            with pytest.raises(ValueError, match=f"{kernel.phases} phases, expected at most {2**20 - 3}"):
                _native.Plan([(2**40, "cpu")] * 2, [("conv2", kernel, [0], [1], [], [])], [0], [1], 2, [("number", 1, 0)])
    assert refused, "no kernel has so many phases"


def test_numbers_that_64_bits_do_not_hold_are_never_met():
    """-2^63 stands for them: a check that asks for one is false, whichever way it asks, and one beside it counts."""
    for relation in itertools.product((0, 1, 2), ("==", ">=", "divides"), (0, 1, 2)):
        if 1 not in (relation[0], relation[2]):
            continue
        for more in ([], [(0, ">=", 2)]):
            plan = _native.Plan([FLOAT] * 2, [python_step(same, [[1]], [[1]], [0], [1])], [0], [1], 1,
                                [("symbol", 1, 9), ("number", -2**63, 0), ("number", 0, 0)], given=1, most=[9],
                                checks={0: [([relation, *more], "what cannot be")]})
            x, y = np.ones(1, np.float32), np.zeros(1, np.float32)
            if more:
                plan.session().run([x], [y], [5])
                assert y[0] == 1
            else:
                with pytest.raises(_native.UnfitSizes, match="what cannot be"):
                    plan.session().run([x], [y], [5])


def _threads_after() -> tuple[int, int, bool]:
    """Threads of this process before and behind a run whose kernel is made in it, and whether it was right."""
    size = 1 << 20
    native = [c for c in _native.candidates(problem("relu", [(size,)], [(size,)], 2)) if c["ok"] and c["id"].endswith(":cpu")]

    def make(values):
        kernels = (_native.prepare(problem("relu", [tuple(values)], [tuple(values)], 2), c["id"], v, [(None, 0)])
                   for c in native for v in c["variants"])
        return next(k for k in kernels if not k.serial)
    first = python_step(same, [[3]], [[3]], [0], [1])
    plan = _native.Plan([(4 * size, "cpu")] * 2, [first], [0], [1], 2, [("symbol", 1, size)],
                        {v: (4, [0], False) for v in (0, 1)}, given=1, most=[size], makers={0: ([0], make)})
    session, x, y = plan.session(), np.linspace(-1, 1, size, dtype=np.float32), np.zeros(size, np.float32)
    session.run([x[:3].copy()], [y[:3].copy()], [3])
    before = len(os.listdir("/proc/self/task"))
    for _ in range(3):
        session.run([x], [y], [size])
    return before, len(os.listdir("/proc/self/task")), bool(np.array_equal(y, np.maximum(x, 0)))


def test_a_kernel_for_a_team_that_is_made_in_a_run_has_one():
    before, after, right = isolated(_threads_after)
    assert right and after > before


def test_checks_are_looked_at_when_a_step_begins():
    kernel = python_step(same, [[3]], [[3]], [0], [1])
    checks = {0: [([(0, "==", 1), (0, ">=", 2)], "L is 3 or large"), ([(3, "divides", 0)], "2 divides L or so")]}

    def make(values):
        return python_step(same, [values], [values], [0], [1])[1]
    plan = _native.Plan([(400, "cpu")] * 2, [kernel], [0], [1], 1,
                        [("symbol", 1, 100), ("number", 3, 0), ("number", 8, 0), ("number", 1, 0)],
                        {v: (4, [0], False) for v in (0, 1)}, given=1, most=[100], makers={0: ([0], make)}, checks=checks)
    session = plan.session()
    for size in range(1, 12):
        x, y = np.arange(size, dtype=np.float32), np.zeros(size, np.float32)
        if size == 3 or size >= 8:
            session.run([x], [y], [size])
            assert np.array_equal(x, y)
        else:
            with pytest.raises(_native.UnfitSizes, match="L is 3 or large"):
                session.run([x], [y], [size])


def rounds_of_copies(threads: int, copies: int):
    """n rounds in which a value is copied on and on: y = x, and the number of the last round."""
    values = [FLOAT, WORD, WORD, *[FLOAT] * (copies + 1), FLOAT, WORD, WORD]
    first, back, last = 3, 3 + copies, 4 + copies
    steps = [control("first", [0], [first]), control("loop", [1], [2])]
    steps += [control("on", [first + i], [first + i + 1]) for i in range(copies)]
    steps += [control("back", [back, first]), control("again", [2, first]), control("out", [first], [last]),
              control("number", [2], [last + 1])]
    words = {0: ("copy", -1, -1, 0, -1, NONE), 1: ("loop", len(steps) - 2, 1, 0, -1, (True, False, False))}
    words |= {i: ("copy", -1, -1, 0, -1, NONE) for i in range(2, len(steps)) if i != len(steps) - 3}
    words[len(steps) - 3] = ("again", 2, 1, 0, -1, NONE)
    return _native.Plan(values[:-1], steps, [0, 1], [last, last + 1], threads, control=words)


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.long)])
def test_more_stages_than_one_region_has(threads):
    """A region of threads has 2^24 stages; a run goes on in another one."""
    rounds, copies = 1_100_000, 15
    assert rounds * (copies + 1) > 1 << 24
    y, number = np.zeros(1, np.float32), np.zeros(1, np.int64)
    session = rounds_of_copies(threads, copies).session()
    session.run([np.array([7], np.float32), np.array([rounds], np.int64)], [y, number])
    assert y[0] == 7 and number[0] == rounds
    assert session.counts() == [1, 1, *[rounds] * (copies + 1), rounds, 1, 1]


# ---- what does not end by itself ----------------------------------------------------------------------------------------

def endless(threads: int, kernel: bool):
    """Steps that go round for ever: of nothing but jumps, or with a kernel among them."""
    steps = [doubling(0, 1)] if kernel else [control("jump")]
    steps += [control("back"), doubling(0, 2)]
    jumps = {1: ("jump", 0, -1, 0, -1, NONE), **({} if kernel else {0: ("jump", 1, -1, 0, -1, NONE)})}
    return _native.Plan([FLOAT, FLOAT, FLOAT] if kernel else [FLOAT, FLOAT],
                        steps if kernel else [*steps[:2], doubling(0, 1)], [0], [2 if kernel else 1], threads, control=jumps)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kernel", [False, True], ids=["jumps", "kernels"])
def test_a_loop_without_end_ends_at_the_deadline(threads, kernel):
    session = endless(threads, kernel).session()
    start = time.monotonic()
    with pytest.raises(TimeoutError), time_limit(0.2):
        session.run([np.ones(1, np.float32)], [np.zeros(1, np.float32)])
    assert time.monotonic() - start < SOON


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kernel", [False, True], ids=["jumps", "kernels"])
def test_ctrl_c_ends_a_loop_without_end(threads, kernel):
    session = endless(threads, kernel).session()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process of a script in the background ignores it
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            session.run([np.ones(1, np.float32)], [np.zeros(1, np.float32)])
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - start < SOON


def test_a_python_kernel_that_raises_in_a_loop_ends_it():
    seen = []

    def third(ins, outs):
        seen.append(1)
        if len(seen) == 3:
            raise LookupError("the third round")
        outs[0][:] = ins[0]
    plan = loop_plan(2, steps=lambda s: [*s[:2], python_step(third, [[1]], [[1]], [2], [4]), *s[3:]])
    with pytest.raises(LookupError, match="the third round") as e:
        run_loop(plan, 1.0, 10)
    assert len(seen) == 3 and any("step 2" in note for note in getattr(e.value, "__notes__", ["step 2"]))
    assert run_loop(plan, 5.0, 10) == 5.0


def test_a_loop_in_a_forked_child():
    plan = loop_plan(3)
    assert run_loop(plan, 1.0, 5) == 32.0
    child = os.fork()
    if child == 0:
        os._exit(0 if run_loop(plan, 1.0, 6) == 64.0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert run_loop(plan, 1.0, 7) == 128.0


def test_no_memory_for_what_grows_in_a_loop():
    """Rows are doubled until no memory is left: MemoryError, and the session runs on."""
    body = """
        import resource
        import sys
        import numpy as np
        from onnx import TensorProto as T, helper as h
        import pathweave as pw
        from pathweave.errors import OutOfMemoryError, UnfitSizesError
        body = h.make_graph([h.make_node("Concat", ["a", "a"], ["b"], axis=0), h.make_node("Identity", ["c"], ["d"])], "body",
                            [h.make_tensor_value_info("i", T.INT64, []), h.make_tensor_value_info("c", T.BOOL, []),
                             h.make_tensor_value_info("a", T.FLOAT, [None])],
                            [h.make_tensor_value_info("d", T.BOOL, []), h.make_tensor_value_info("b", T.FLOAT, [None])])
        graph = h.make_graph([h.make_node("Loop", ["n", "", "x"], ["y"], body=body)], "net",
                             [h.make_tensor_value_info("n", T.INT64, []), h.make_tensor_value_info("x", T.FLOAT, [1024])],
                             [h.make_tensor_value_info("y", T.FLOAT, None)])
        data = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8).SerializeToString()
        model = pw.load(data, threads=2)
        x = np.ones(1024, np.float32)
        assert model({"n": np.array(3), "x": x}).size == 8192
        now = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (now + (256 << 20), -1))
        for _ in range(2):
            try:
                model({"n": np.array(40), "x": x})
            except (OutOfMemoryError, UnfitSizesError) as e:
                assert isinstance(e, (MemoryError, ValueError))
            else:
                sys.exit("no error")
            assert model({"n": np.array(2), "x": x}).size == 4096
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(body)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# ---- where values lie -----------------------------------------------------------------------------------------------------

class Interpreted:
    """A random nest of loops over kernels `out = in + in + constant`, run step by step in memory of each value's own."""

    def __init__(self, seed: int):
        r = self.random = random.Random(seed)
        self.values, self.steps, self.control, self.numbers = [FLOAT, FLOAT], [], {}, {}
        self.rounds = []
        known = self._block([0, 1], r.randint(1, 3), 2)
        self.output = self._value()
        self._kernel(self.output, known)
        self.inputs = [0, 1]

    def _value(self, kind=FLOAT) -> int:
        self.values.append(kind)
        return len(self.values) - 1

    def _kernel(self, out: int, known: list[int]) -> None:
        a, b, c = self.random.choice(known), self.random.choice(known), self.random.randint(1, 9)
        self.numbers[len(self.steps)] = (a, b, c)

        def add(ins, outs):
            outs[0][:] = np.float32((int(ins[0][0]) + 3 * int(ins[1][0]) + c) % 1009)
        self.steps.append(python_step(add, [[1], [1]], [[1]], [a, b], [out], reuse=[(0, 0)] if a != b else []))

    def _block(self, known: list[int], count: int, depth: int) -> list[int]:
        known = list(known)
        for _ in range(count):
            if depth and self.random.random() < 0.6:
                known = self._loop(known, depth - 1)
            else:
                out = self._value()
                self._kernel(out, known)
                known.append(out)
        return known

    def _loop(self, known: list[int], depth: int) -> list[int]:
        carried = self._value()
        self.control[len(self.steps)] = ("copy", -1, -1, 0, -1, NONE)
        self.steps.append(control("copy", [self.random.choice(known)], [carried]))
        at, number, rounds = len(self.steps), self._value(WORD), self.random.randint(0, 3)
        self.rounds.append(rounds)
        self.steps.append(control("loop", [], [number]))
        before = len(self.values)
        inner = self._block([*known, carried], self.random.randint(1, 3), depth)
        made = self._value()
        self._kernel(made, inner)
        self.control[len(self.steps)] = ("copy", -1, -1, 0, -1, NONE)
        self.steps.append(control("copy", [made, carried]))
        kept = {v for step in self.steps[at + 1:] for v in step[2] if v < before} | {carried, number}
        self.control[len(self.steps)] = ("again", at + 1, at, 0, -1, NONE)
        self.steps.append(control("again", sorted(kept)))
        self.control[at] = ("loop", len(self.steps), at, 0, len(self.rounds) - 1, NONE)
        return [*known, carried]

    def plan(self, threads: int):
        sizes = [("number", n, 0) for n in self.rounds]
        return _native.Plan(self.values, self.steps, self.inputs, [self.output], threads, sizes, control=self.control)

    def run(self, x: int, y: int) -> int:
        memory, at, rounds = {0: x, 1: y}, 0, {}
        while at < len(self.steps):
            word, target, loop, _, count, _ = self.control.get(at, ("kernel", 0, 0, 0, 0, NONE))
            _, _, ins, outs, _, _ = self.steps[at]
            if word == "kernel":
                a, b, c = self.numbers[at]
                memory[outs[0]] = (memory[a] + 3 * memory[b] + c) % 1009
            elif word == "copy":
                memory[outs[0] if outs else ins[1]] = memory[ins[0]]
            elif word == "loop":
                rounds[loop] = 0
                if self.rounds[count] == 0:
                    at = target
                    continue
            else:
                rounds[loop] += 1
                if rounds[loop] < self.rounds[self.control[loop][4]]:
                    at = target
                    continue
            at += 1
        return memory[self.output]


@pytest.mark.parametrize("threads", [1, 2])
def test_values_that_later_rounds_read_are_never_overwritten(threads):
    shared = 0
    for seed in range(150):
        program = Interpreted(seed)
        plan = program.plan(threads)
        places = [p for p in plan.placement if p[2] == "arena"]
        shared += len(places) - len({(p[0], p[1]) for p in places})
        out = np.zeros(1, np.float32)
        session = plan.session()
        for x, y in itertools.product((1, 5), (2, 7)):
            session.run([np.array([x], np.float32), np.array([y], np.float32)], [out])
            assert out[0] == program.run(x, y), seed
    assert shared > 50  # memory is shared: else nothing could be overwritten


def test_a_session_in_use_is_busy_in_a_loop():
    plan = loop_plan(2, steps=lambda s: [*s[:2], python_step(lambda i, o: time.sleep(0.05), [[1]], [[1]], [2], [4]), *s[3:]])
    session, errors = plan.session(), []

    def work():
        try:
            session.run([np.ones(1, np.float32), np.array([10], np.int64)], [np.zeros(1, np.float32)])
        except RuntimeError as e:
            errors.append(str(e))
    threads = [threading.Thread(target=work) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(errors) == 1 and "running in another thread" in errors[0]

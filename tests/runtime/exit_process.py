"""A process that ends, or forks, while other threads are at work: python exit_process.py WORK THREADS END.

WORK: what daemon threads do in a loop. THREADS: of a call. END: how the main thread ends: exit, error,
interrupt, return, or fork (children that must do the same work; then it returns).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from runtime_nets import convolutions

import pathweave as pw
from pathweave import _native
from pathweave.profiling.store import Store

RNG = np.random.default_rng(3)
BATCH = RNG.standard_normal((16, 3, 16, 16)).astype(np.float32)


class Slow:
    """Keeps the interpreter at clearing modules for a while: the daemon threads come back from their calls meanwhile."""

    def __del__(self, sleep=time.sleep):
        sleep(0.3)


def native(threads: int):
    """Calls of a model: nearly all of the time without the interpreter's lock."""
    model = pw.load(convolutions(), threads=threads)
    return lambda: model(BATCH)


def timed(threads: int):
    """A timer per step, as while profiling."""
    session = pw.load(convolutions(), threads=threads).session({"N": len(BATCH)})
    return lambda: session.run_timed(BATCH)


def callback(threads: int):
    """A layer that runs NumPy, which gives the lock away in the middle of a native call, between two native layers."""
    side = 200
    shape, size = [side, side], 4 * side * side
    wide = RNG.standard_normal(shape).astype(np.float32)

    def multiply(ins, outs):
        outs[0][...] = np.matmul(ins[0], wide)
        time.sleep(0.001)

    kernel = _native.python_kernel(multiply, [("f32", shape)], [("f32", shape)])
    text = f"relu in=f32:{side}x{side} out=f32:{side}x{side} threads={threads}"
    card = next(c for c in _native.candidates(text) if c["ok"])
    relu = _native.prepare(text, card["id"], card["variants"][0], [(None, 0)])
    steps = [("relu", relu, [0], [1], [], []), ("numpy", kernel, [1], [2], [], []), ("relu", relu, [2], [3], [], [])]
    plan = _native.Plan([(size, "cpu")] * 4, steps, [0], [3], threads)
    mine = threading.local()

    def call():
        if not hasattr(mine, "session"):
            mine.session = plan.session()
        mine.session.run([wide], [np.empty(shape, np.float32)])
    return call


def building(threads: int):
    """Loading, listing candidates, packing, planning."""
    data = convolutions()
    return lambda: pw.load(data, threads=threads)(BATCH[:1])


def profile(threads: int):
    """Measuring, with a store in memory."""
    data = convolutions(1)
    return lambda: pw.profile(pw.load(data, threads=threads), budget_s=5, store=Store.memory())


def tune(threads: int):
    """The whole of tuning, again and again."""
    data = convolutions(1)
    return lambda: pw.tune(pw.load(data, threads=threads), budget_s=1, store=Store.memory())


WORK = {work.__name__: work for work in (native, timed, callback, building, profile, tune)}


def forever(call, begun: threading.Event) -> None:
    while True:
        begun.set()
        call()


def start(work: str, threads: int, count: int) -> Callable[[], Any]:
    """`count` daemon threads in a loop over the call that is returned, when each is in its first call or later."""
    call = WORK[work](threads)
    for _ in range(count):
        begun = threading.Event()
        threading.Thread(target=forever, args=(call, begun), daemon=True).start()
        assert begun.wait(60)
    time.sleep(0.2)
    return call


def fork(call: Callable[[], Any], threads: int) -> None:
    """Children that go on with what the parent has, and that begin anew; exit code 0 where all give the same."""
    model = pw.load(convolutions(), threads=threads)
    expected = model(BATCH)

    def child() -> None:
        call()
        for mine in (model, pw.load(convolutions(), threads=threads)):
            if not np.array_equal(mine(BATCH), expected):
                sys.exit(3)

    context = multiprocessing.get_context("fork")
    for _ in range(6):
        process = context.Process(target=child)
        process.start()
        process.join(60)
        if process.exitcode != 0:
            print("the child ended with", process.exitcode, flush=True)
            process.kill()
            os._exit(4)


def end(how: str, call: Callable[[], Any], threads: int) -> None:
    if how == "fork":
        fork(call, threads)
    print("ending", flush=True)
    if how == "exit":
        sys.exit(7)
    elif how == "error":
        raise ValueError("the end")
    elif how == "interrupt":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # where the parent ignores it
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)


if __name__ == "__main__":
    slow = Slow()
    end(sys.argv[3], start(sys.argv[1], int(sys.argv[2]), 3), int(sys.argv[2]))

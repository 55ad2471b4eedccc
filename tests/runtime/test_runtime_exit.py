"""The process ends as it was asked to, and a forked child works, whatever other threads are in the middle of."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pathweave import locks

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENDS = {"exit": 7, "error": 1, "interrupt": -signal.SIGINT, "return": 0}
WORK = ("native", "timed", "callback", "building", "profile", "tune")


def run(*arguments: object) -> subprocess.CompletedProcess:
    # OpenBLAS waits for its own threads at the end, for ever where one was at work: with NumPy alone, too.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
                   "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-X", "faulthandler", HERE / "exit_process.py", *map(str, arguments)],
                          capture_output=True, text=True, env=environment, timeout=180)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("work, how", [*((work, "exit") for work in WORK),
                                       *(("callback", how) for how in ENDS if how != "exit"), ("native", "error")])
def test_daemon_threads_in_a_call_do_not_keep_the_process_from_ending(work, how, threads):
    done = run(work, threads, how)
    assert done.stdout == "ending\n", done.stdout + done.stderr
    assert done.returncode == ENDS[how], done.stderr
    assert "Fatal" not in done.stderr and "terminate" not in done.stderr, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("work", ["native", "building"])
def test_a_child_that_is_forked_while_threads_are_in_a_call_works(work, threads):
    done = run(work, threads, "fork")
    assert (done.returncode, done.stdout) == (0, "ending\n"), done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_lock_that_somebody_holds_is_open_in_a_forked_child():
    import threading
    held = [locks.lock(), locks.lock(threading.RLock)]
    taken, done = threading.Event(), threading.Event()

    def hold():
        with held[0], held[1]:
            taken.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(60)
    child = os.fork()
    if child == 0:
        os._exit(0 if all(lock.acquire(timeout=5) for lock in held) else 1)
    assert not held[0].acquire(blocking=False)
    status = os.waitpid(child, 0)[1]
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


def test_workers_take_no_signals(classifier, batch_of):
    """A signal for the process goes to a thread that the program knows, and interrupts what waits there."""
    for threads in (7, 8):
        session = classifier.plan(shapes={"N": 1}, threads=threads).session()
        for _ in range(20):
            session(batch_of())

    def blocked():
        masks = [int(re.search(r"SigBlk:\s*(\w+)", (task / "status").read_text())[1], 16)
                 for task in Path("/proc/self/task").iterdir()]
        return [[mask >> (own - 1) & 1 for own in (signal.SIGINT, signal.SIGALRM, signal.SIGSEGV, signal.SIGPROF)]
                for mask in masks]
    end = time.monotonic() + 30  # on a busy machine a thread begins later than the calls that do not wait for it
    while blocked().count([1, 1, 0, 0]) < 7 and time.monotonic() < end:
        time.sleep(0.02)
    assert blocked().count([1, 1, 0, 0]) >= 7, blocked()  # of the larger team, but for the caller


def test_the_scopes_of_the_lock_are_those_that_survive_the_end():
    """nanobind's abort where the interpreter ends meanwhile; `native/python/gil.h` has ours."""
    for path in sorted((ROOT / "native" / "python").iterdir()):
        assert "gil_scoped" not in path.read_text(), path

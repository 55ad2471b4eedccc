"""Shared by the tests of the native core: problems, plans from Python kernels, the null device, isolation."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from pathweave import _native

ROOT = Path(__file__).resolve().parents[2]
NULL_DEVICE = Path(__file__).parent / "null_device" / "null_device.c"


def compiler(language: str) -> str:
    """The system's C or C++ compiler; the package itself cannot be built without them."""
    names = ("cc", "gcc", "clang") if language == "c" else ("c++", "g++", "clang++")
    found = next(filter(None, map(shutil.which, names)), None)
    assert found, f"none of {names} is installed"
    return found


def build_null_device(folder: Path) -> str:
    """Path of the null device's library, built in `folder` with nothing of pathweave but plugin.h."""
    library = folder / "null_device.so"
    subprocess.run([compiler("c"), "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared",
                    "-fvisibility=hidden", "-I", str(ROOT / "include"), "-o", str(library), str(NULL_DEVICE),
                    "-pthread"], check=True)
    return str(library)


def write_layouts(folder: Path) -> Path:
    """The folder to include with the core's table of layouts in it, as the build writes it."""
    subprocess.run([sys.executable, ROOT / "cmake/layouts.py", ROOT / "src/pathweave/net/layouts.py",
                    folder / "types/layouts.inc"], check=True)
    return folder


def null_library(path: str) -> ctypes.CDLL:
    """The functions of the null device's library that script it and count."""
    library = ctypes.CDLL(path)
    for name in ("set_time", "set_code", "set_late_code"):
        value = ctypes.c_uint64 if name == "set_time" else ctypes.c_int
        getattr(library, f"null_device_{name}").argtypes = [ctypes.c_char_p, ctypes.c_char_p, value]
    for name in ("live_bytes", "pinned_bytes", "event_waits", "queue_waits", "alive", "now"):
        getattr(library, f"null_device_{name}").restype = ctypes.c_int64
    library.null_device_spend.argtypes = [ctypes.c_uint64]
    return library


def isolated(body: Callable, *args):
    """What body(*args) returns in a process of its own: devices stay open until their process ends."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(body, *args).result(timeout=120)


def side_by_side(request, body: Callable[..., object]) -> Iterator[Callable[..., object]]:
    """For a fixture of a test that waits for processes: gives what gives body(*parameters of the test).

    Bodies of all tests that use the fixture are run as many at a time as there are processors, in the tests' order.
    """
    tests = [item.callspec.params for item in request.session.items if request.fixturename in item.fixturenames]
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    runs = {frozenset(given.items()): pool.submit(body, **given) for given in tests}
    yield lambda **given: runs[frozenset(given.items())].result()
    pool.shutdown(cancel_futures=True)


def tensors(shapes) -> str:
    return ",".join(s if isinstance(s, str) else "f32:" + "x".join(map(str, s)) for s in shapes)


def problem(kind: str, ins, outs, threads: int = 1, **attrs) -> str:
    """Canonical text of a problem over f32 shapes."""
    words = [kind, f"in={tensors(ins)}", f"out={tensors(outs)}", *(f"{k}={v}" for k, v in sorted(attrs.items()))]
    return " ".join([*words, f"threads={threads}"])


def adapt(shape, source: str, target: str) -> str:
    return problem("adapt", [shape], [shape], source=source, target=target)


def accepted(text: str, prefix: str = "") -> dict:
    """The first candidate of a problem that accepts and whose id begins with `prefix`."""
    found = [c for c in _native.candidates(text) if c["ok"] and c["id"].startswith(prefix)]
    assert found, f"no routine {prefix}* accepts {text}: {_native.candidates(text)}"
    return found[0]


def native_step(text: str, ins: list[int], outs: list[int], prefix: str = "", constants=()) -> tuple:
    """A plan's step by the first routine that accepts, with the routine's own hints."""
    c = accepted(text, prefix)
    kernel = _native.prepare(text, c["id"], c["variants"][0], list(constants) or [(None, 0)] * len(ins))
    return (c["id"], kernel, ins, outs, c["share"], c["reuse"])


def python_step(function: Callable, in_shapes, out_shapes, ins, outs, share=(), reuse=(), label="python") -> tuple:
    """A plan's step by a Python function over float32 arrays."""
    kernel = _native.python_kernel(function, [("f32", list(s)) for s in in_shapes],
                                   [("f32", list(s)) for s in out_shapes])
    return (label, kernel, list(ins), list(outs), list(share), list(reuse))


def bytes_of(*shapes) -> list[tuple[int, str]]:
    """Values of a plan: float32 on the CPU."""
    return [(4 * int(np.prod(s, dtype=np.int64)), "cpu") for s in shapes]


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def failures(session: _native.Session, x: np.ndarray, outputs: int) -> list[str]:
    """What three calls of a session, of which the second is timed, raise; each output is an array like x."""
    messages = []
    for call in (session.run, session.run_timed, session.run):
        try:
            call([x], [np.zeros_like(x) for _ in range(outputs)])
        except RuntimeError as e:
            messages.append(str(e))
    return messages

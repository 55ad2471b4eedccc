"""Run by test_sizes.py in a process of its own: hostile sizes through shape inference, problems, kernels and plans.

Prints a line before every case, so that the last line names the one that ended the process, and `failed: ...` for what
raised something else than a `pathweave.Error`.
"""

from __future__ import annotations

import resource
import sys
import time
import traceback

import numpy as np

from pathweave.errors import Error
from pathweave.layers import infer_layer, kind_of, kinds
from pathweave.net import memory
from pathweave.net.format import itemsize, numpy_dtype
from pathweave.net.net import Layer, Model, Net
from pathweave.net.problem import Problem
from pathweave.net.size import product
from pathweave.runtime import catalogue
from pathweave.runtime.bound import BoundNet
from pathweave.runtime.model import LoadedModel
from pathweave.runtime.native import native
from pathweave.runtime.prepare import kernel_of
from pathweave.testing import Case, cases
from pathweave.testing.edges import grown_cases, hostile_cases, hostile_text

MEMORY = 6 << 30    # address space of this process
ASKING = 2          # seconds of CPU for what all routines say of a problem: a loop over its sizes takes more
EVERY = 4           # cases of a kind of which one is grown
MODEST = 64 << 20   # bytes of constants, and of the values of a kernel that is prepared


def bytes_of(specs) -> int:
    return sum(product(s.shape) * itemsize(s.dtype) for s in specs if s is not None)


def net_of(case: Case, outputs: int) -> Net:
    names = tuple(f"in{i}" if s is not None else "" for i, s in enumerate(case.inputs))
    layer = Layer("layer", case.kind, names, tuple(f"out{i}" for i in range(outputs)), case.attrs, case.epilogue)
    constants = {n: np.zeros(s.shape, numpy_dtype(s.dtype)) for n, s, c in zip(names, case.inputs, case.constant) if n and c}
    inputs = {n: s for n, s in zip(names, case.inputs) if n and n not in constants}
    return Net(inputs, list(layer.outputs), [layer], constants)


def problem_of(case: Case, threads: int = 1) -> Problem:
    """Its problem by shape inference alone: no array is made. Raises what shape inference raises."""
    layer = Layer("layer", case.kind, tuple("x" if s is not None else "" for s in case.inputs), ("y",), case.attrs,
                  case.epilogue)
    return Problem.make(case.kind, case.inputs, case.constant, infer_layer(layer, list(case.inputs)),
                        kind_of(case.kind).complete(case.attrs), case.epilogue, threads)


def through(case: Case) -> None:
    """Shape inference, what the catalogue says, every kernel, a plan. Raises what they raise."""
    for threads in (1, 3):
        problem = problem_of(case, threads)
        found, _ = catalogue.candidates(problem, accuracy="reduced", include_reference=True)
    constant = [s for s, c in zip(case.inputs, case.constant) if c]
    if bytes_of(constant) > MODEST:
        return
    bound = BoundNet(net_of(case, len(problem.outputs)))
    if bytes_of([*case.inputs, *problem.outputs]) <= MODEST:
        for candidate in found:
            kernel_of("layer", candidate, bound.constants_of(bound.layers[0], candidate.base))
    LoadedModel(Model({"main": bound.net}), threads=2).plan()


def grown(case: Case) -> None:
    """What the routines say of a case with long axes. Raises what shape inference and they raise, and that they took long."""
    problem = problem_of(case)
    begin = time.process_time()
    catalogue.candidates(problem)
    if (spent := time.process_time() - begin) > ASKING:
        raise RuntimeError(f"{spent:.1f} s of computing for what the routines say of {problem.text}")


def texts(kind: str, count: int, rng) -> None:
    """Problems whose numbers need not fit together: the catalogue answers or refuses."""
    known = cases(kind)
    for _ in range(count):
        text = hostile_text(known[int(rng.integers(len(known)))].problem().text, rng)
        print(f"text {text}", flush=True)
        try:
            native().candidates(text)
        except ValueError:
            pass


def main(seed: int, count: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    memory.available = lambda: 1 << 29  # as on a small machine: nothing larger may be asked for
    for kind in sorted(kinds()):
        tried = [("planned", through, case) for case in hostile_cases(kind, count, seed)]
        if seed == 1:
            tried += [("answered", grown, case) for case in grown_cases(kind, EVERY)]
        for word, body, case in tried:
            print(f"case {case.kind} {case.name} {case.inputs} {case.attrs}", flush=True)
            try:
                with np.errstate(all="ignore"):
                    body(case)
                print(word, flush=True)
            except Error:
                pass
            except Exception as e:
                print(f"failed: {type(e).__name__}: {e}: {traceback.format_exc()!r}", flush=True)
        if cases(kind):
            texts(kind, count, np.random.default_rng(seed))
    print("done", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

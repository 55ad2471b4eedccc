"""Routines that find out sizes of their outputs, checked in a plan: nothing else knows how large these are."""

from __future__ import annotations

import numpy as np

from ..layers import kind_of
from ..net.compare import relative_error
from ..net.format import numpy_dtype
from ..net.net import Layer, Net
from ..net.problem import Problem
from ..runtime import catalogue
from ..runtime.bound import BoundNet
from ..runtime.catalogue import Candidate
from ..runtime.conversions import conversions_for
from ..runtime.native import native
from ..runtime.plan import build_plan
from . import Case, tolerance
from .guard import Guarded

#: Kinds that compute elements; the others copy, count or choose them, to the bit.
_COMPUTED = ("resample",)


def finds_sizes(case: Case | None) -> bool:
    """True for a case in which native routines find out sizes."""
    return case is not None and kind_of(case.kind).finds_sizes and not all(s.bound for s in case.outputs())


def check(case: Case, arrays: list[np.ndarray | None], wanted: list[np.ndarray], routine: str, variant: str,
          threads: int) -> tuple[float, str]:
    """(largest relative error, what is wrong) of a routine on a case, in two runs of one session."""
    if not all(a.size for a in arrays if a is not None):
        return _empty(case, arrays, wanted, routine, variant, threads)
    names = [f"x{i}" for i, s in enumerate(case.inputs) if s is not None]
    given = dict(zip(names, (a for a in arrays if a is not None)))
    specs = dict(zip(names, (s for s in case.inputs if s is not None)))
    outputs = tuple(f"y{i}" for i in range(len(wanted)))
    given_or_not = tuple(f"x{i}" if s is not None else "" for i, s in enumerate(case.inputs))
    layer = Layer("layer", case.kind, given_or_not, outputs, dict(case.attrs), case.epilogue)
    bound = BoundNet.bind(Net(specs, list(outputs), [layer], {}))
    found = catalogue.find(bound.problems(threads)[0], routine, variant)
    if not isinstance(found, Candidate):
        return float("inf"), found.reason
    choices = {"layer": found}
    session = build_plan(bound, choices, conversions_for(bound, choices, threads), threads).session()
    worst = 0.0
    for _ in range(2):
        for value, expected in zip(session.run(given).values(), wanted):
            if value.shape != expected.shape:
                return float("inf"), f"an output has shape {value.shape}, expected {expected.shape}"
            worst = max(worst, relative_error(value, expected))
    most = tolerance(case, "f32") if case.kind in _COMPUTED else 0.0
    return worst, "" if worst <= most else f"relative error {worst:.3g}"


def _empty(case: Case, arrays: list[np.ndarray | None], wanted: list[np.ndarray], routine: str, variant: str,
           threads: int) -> tuple[float, str]:
    """The same where there is nothing to find: no plan has such a layer, the kernel runs alone."""
    outputs = [s.upper for s in case.outputs()]
    problem = Problem.make(case.kind, case.inputs, case.constant, outputs, kind_of(case.kind).complete(case.attrs),
                           case.epilogue, threads)
    kernel = native().prepare(problem.text, routine, variant, [(None, 0) for _ in case.inputs], [])
    places = [np.empty(s.sizes, numpy_dtype(s.dtype)) for s in outputs]
    given = [Guarded(a.shape, a.dtype, True) for a in arrays if a is not None]
    for own, a in zip(given, (a for a in arrays if a is not None)):
        own.array[...] = a
    workspace = Guarded((kernel.workspace_bytes,), np.uint8, True, align=64)
    kernel.run([own.array for own in given], places, workspace.array, threads)
    return (0.0, "") if all(w.size == 0 for w in wanted) else (float("inf"), "found something in nothing")

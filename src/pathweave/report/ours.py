"""Our side of a comparison of engines: routes of a bound net as engines, and what the peers beside them are asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..net.accuracy import common_class
from ..profiling.rounds import block_runs
from ..runtime.inputs import as_caller, as_declared, random_inputs
from ..runtime.native import native
from ..runtime.overlap import overlap_of
from ..timer import SYSTEM
from .agreement import least_accurate
from .bench import Entry
from .peers import Task, samples
from .routes import origin_of

if TYPE_CHECKING:
    from ..net.route import Route
    from ..runtime.bound import BoundNet
    from ..runtime.model import LoadedModel


def exact(accuracy: str) -> bool:
    """Whether outputs of a class are compared among engines; others are compared with f32's, and never fail."""
    return common_class(accuracy) == "f32"


def missing_class(accuracy: str) -> str:
    """Why we cannot compute in a class, "" when we can."""
    if exact(accuracy) or any(c["accuracy"] == accuracy and not c["unavailable"] for c in native().routines()):
        return ""
    return f"this build has no routine of class {accuracy} for this machine"


def calibrated(loaded: LoadedModel, bound: BoundNet, inputs: Mapping[str, Any] | None = None) -> BoundNet:
    """The net bound again, with scales from the samples that all quantised engines get. `inputs`: as a call takes them; None:
    random ones. What is no float32 keeps its values in all samples."""
    given = as_declared(bound, random_inputs(bound) if inputs is None else inputs)
    loaded.calibrate([as_caller(bound, sample) for sample in samples(bound.shapes, given)])
    return loaded.bind(bound.shapes)


def entry_of(name: str, loaded: LoadedModel, bound: BoundNet, route: Route, inputs: Mapping[str, Any]) -> Entry:
    """A route as an engine, after its first call. `inputs`: as a call takes them. Outputs are views, in the declared order."""
    begin = SYSTEM.now()
    plan = loaded.plan(route, bound.shapes, loaded.threads)
    session = plan.session()

    def call() -> list[Any]:
        return list(as_declared(bound, session.run(inputs)).values())  # views, so that all engines' outputs compare
    call()
    seconds = SYSTEM.now() - begin
    counts = session.counts()
    blocks = block_runs(plan, counts) if counts and plan.bound.flat.blocks else None
    overlap = overlap_of(plan, session, inputs)
    return Entry(name, call, accuracy=common_class(least_accurate(plan)), version=origin_of(plan), prepare_s=seconds,
                 overlap=overlap.to_json() if overlap else None, blocks=blocks)


def task_of(onnx: str, inputs: Mapping[str, Any], bound: BoundNet, threads: int) -> Task:
    """What the peers are asked: the ONNX file on the same inputs, in the declared order."""
    declared = {n: np.asarray(a, order="C") for n, a in as_declared(bound, inputs).items()}
    return Task(onnx, declared, tuple(bound.net.outputs), threads)

#!/usr/bin/env python3
"""One net of the suite in one setting: verified against ONNX Runtime, tuned, and timed in turns with the peers.

run.py starts this file in a process of its own, with a request as JSON, and reads from a pipe: before everything that it begins
a line `{"stage": ..., "engine": ...}`, so that the engine is known with which it ended or hung, and in the end one line
`{"result": ...}`, `{"failed": ...}` or `{"left_out": ...}`.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Difference from ONNX Runtime's outputs, over the largest number, from which a peer computes another net. What is quantised
#: may be rounded elsewhere than in the file.
LOOSE = 0.1
#: Seconds of timed runs for roofs.
ROOF_SECONDS = 1.0


@dataclass(frozen=True)
class Request:
    """What is to be measured. `file`, `inputs`: paths. `batch`: 0 for the inputs as they are. `out`: peers that are left out,
    with the reason. `route`: a file that keeps our route for a further process. `seconds` None: so many `rounds`."""

    file: str
    inputs: str
    accuracy: str
    threads: int
    batch: int
    against: list[str]
    out: dict[str, str]
    rounds: int
    seconds: float | None
    budget: float
    default_only: bool
    roof: bool
    route: str


class Failure(Exception):
    """The net counts as failed; the message says why."""


class LeftOut(Exception):
    """The net cannot be run in this setting, which is no failure; the message says why."""


def batched(inputs: Mapping[str, Any], specs: Mapping[str, Any], batch: int) -> dict[str, Any]:
    """Inputs with a batch of so many: rows are repeated along the first axis of every input where the net leaves it free.
    Raises LeftOut for a net without such an axis."""
    import numpy as np
    free = [n for n, a in inputs.items() if a.ndim and not isinstance(specs[n].shape[0], int)]
    rows = {inputs[n].shape[0] for n in free}
    if len(rows) != 1:
        raise LeftOut("its batch is not free")
    (count,) = rows
    return {n: a[np.arange(batch) % count] if n in free else a for n, a in inputs.items()}


class Net:
    """A net, its inputs and what its outputs must be."""

    def __init__(self, request: Request, stage: Callable[[str, str], None]):
        self.request, self.stage = request, stage

    def load(self) -> None:
        """Read the model, ask ONNX Runtime, bind. Raises Failure where ONNX Runtime cannot say what the outputs are, LeftOut
        where it takes another batch only."""
        from check import Reference

        import pathweave as pw
        from pathweave.runtime.inputs import as_caller
        request, path = self.request, Path(self.request.file)
        self.stage("importing", "")
        self.loaded = pw.load(path, threads=request.threads)
        self.stage("asking ONNX Runtime what the outputs are", "")
        try:
            self.reference = Reference(path)
            inputs = self.reference.inputs(Path(request.inputs))
        except Exception as e:  # of many types
            raise Failure(f"ONNX Runtime: {type(e).__name__}: {e}") from e
        inputs = batched(inputs, self.loaded.main.inputs, request.batch) if request.batch else inputs
        try:
            self.expected = self.reference.run(inputs)
        except Exception as e:
            raise (LeftOut if request.batch else Failure)(f"ONNX Runtime: {type(e).__name__}: {e}") from e
        given = self.reference.given(inputs)
        self.stage("binding", "")
        self.bound = self.loaded.bind({name: a.shape for name, a in given.items()})
        self.inputs = as_caller(self.bound, given)
        if request.accuracy == "quantised":
            from pathweave.report.ours import calibrated
            self.stage("calibrating", "")
            self.bound = calibrated(self.loaded, self.bound, self.inputs)

    def tuned(self) -> Any:
        """The tuned route, from the file of a process before where there is one."""
        from pathweave.net.route import Route
        from pathweave.tuning.api import tune
        kept = Path(self.request.route)
        if kept.exists():
            return Route.from_json(json.loads(kept.read_text()))
        self.stage("tuning", "")
        model = tune(self.loaded, accuracy=self.request.accuracy, threads=self.request.threads, shapes=self.bound.shapes,
                     budget_s=self.request.budget, progress=False)
        route = model.route(self.bound.shapes)
        kept.write_text(json.dumps(route.to_json()))
        return route

    def forget(self) -> None:
        """Give up ONNX Runtime's session of the comparison, whose memory and threads are nobody's who is timed."""
        del self.reference, self.expected

    def difference(self, engine: str, values: list[Any], ours: bool) -> float | None:
        """How far outputs are from ONNX Runtime's, None where they cannot be compared. Raises AssertionError in class f32 for
        what is too far: in the classes below, outputs differ, and how much is told."""
        import numpy as np

        from pathweave.report.agreement import compare, worst
        from pathweave.report.bench import EXACT
        from pathweave.report.ours import exact
        names, wanted = list(self.bound.net.outputs), dict(zip(self.reference.outputs, self.expected))
        if len(values) != len(names):
            raise AssertionError(f"{engine}: {len(values)} outputs, expected {len(names)}")
        found = dict(zip(names, map(np.array, values)))
        if not exact(self.request.accuracy):
            error = worst(compare(found[name], y) for name, y in wanted.items()).largest
            return error if math.isfinite(error) else None
        plain = not self.reference.form
        allowed = EXACT if plain else None if ours else LOOSE
        if not ours:  # some give every output as float32
            found = {n: y.astype(wanted[n].dtype) for n, y in found.items()}
        return self.reference.error([found[name] for name in self.reference.outputs], self.expected, engine, allowed)


def entries_of_ours(net: Net) -> list[Any]:
    """Our tuned and our default route, verified. Raises Failure where outputs differ."""
    from pathweave.report.agreement import Agreement
    from pathweave.report.ours import entry_of
    from pathweave.report.suite import DEFAULT, OURS
    from pathweave.runtime.defaults import usual_route
    request = net.request
    routes = {} if request.default_only else {OURS: net.tuned()}
    net.stage("the default route", "")
    routes[DEFAULT] = usual_route(net.bound, request.threads, request.accuracy)
    entries = []
    for name, route in routes.items():
        net.stage("our first call", "")
        entry = entry_of(name, net.loaded, net.bound, route, net.inputs)
        try:
            error = net.difference(name, list(entry.call()), ours=True)
        except AssertionError as e:
            raise Failure(f"outputs differ from ONNX Runtime's: {e}") from e
        entry.agreement = None if error is None else Agreement(error, error)
        entries.append(entry)
    net.routes = routes
    return entries


def entry_of_peer(net: Net, name: str) -> Any:
    """A peer, loaded and verified; without a call where it is out."""
    from pathweave.report.agreement import Agreement
    from pathweave.report.bench import Entry, prepare_peer
    from pathweave.report.ours import task_of
    from pathweave.report.peers import peers, quiet_stdout
    peer = peers()[name]
    if name in net.request.out:
        return Entry(name, None, net.request.out[name], peer.accuracy, peer.version())
    net.stage("loading", name)
    entry = prepare_peer(peer, task_of(net.request.file, net.inputs, net.bound, net.request.threads))
    if entry.call is None:
        return entry
    try:
        with quiet_stdout():
            error = net.difference(name, list(entry.call()), ours=False)
        entry.agreement = None if error is None else Agreement(error, error)
    except Exception as e:  # whatever a peer's second call raises
        entry.call = None
        entry.reason = f"its outputs differ from ONNX Runtime's: {e}" if isinstance(e, AssertionError) else \
            f"{type(e).__name__}: {str(e)[:200]}"
    return entry


def measure(request: Request, stage: Callable[[str, str], None]) -> dict[str, Any]:
    """The result of one net, see `pathweave.report.suite`. Raises Failure, LeftOut, and whatever an import raises."""
    from pathweave.report import bench
    net = Net(request, stage)
    net.load()
    entries = [*entries_of_ours(net), *(entry_of_peer(net, name) for name in request.against)]
    net.forget()
    facts = bench.host_facts()
    rounds = bench.measure(entries, request.rounds, seconds=request.seconds, before=lambda e: stage("timing", e.name))
    facts["load_after"] = bench.load_average()
    run = {"model": Path(request.file).name, "data": Path(request.inputs).name, "shapes": net.bound.shapes,
           "threads": request.threads, "rounds": rounds, "calls": 2, "seed": bench.SEED, "accuracy": request.accuracy,
           "route": entries[0].version, "first": entries[0].name, "reference": "onnxruntime",
           "budget_s": None if request.default_only else request.budget}
    result = bench.report(entries, facts, run)
    for row in result["engines"]:
        row.pop("difference_rms", None)
    return {**result, "layers": len(net.loaded.main.layers), "batch": request.batch or _rows(net), "failed": "",
            "predicted": _predicted(net), **(_roofs(net) if request.roof else {})}


def _rows(net: Net) -> int:
    """The batch of the inputs as they are: the first free axis, 1 for a net without one."""
    free = [net.bound.shapes[n][0] for n, s in net.loaded.main.inputs.items() if s.shape and not isinstance(s.shape[0], int)]
    return int(free[0]) if free else 1


def _predicted(net: Net) -> float | None:
    """The predicted time of the tuned route over the measured one, at equal speed; None for a route without a prediction."""
    route = next(iter(net.routes.values()))
    measured = route.notes.get("measured_at_reference_ns")
    return route.predicted_ns / measured if route.predicted_ns and measured else None


def _roofs(net: Net) -> dict[str, Any]:
    """The steps of our best route against their roofs, summed by kind and shape, and the summary of the whole net."""
    from pathweave.report import roof
    from pathweave.report.suite import lost_by_shape
    from pathweave.report.timing import step_samples
    from pathweave.runtime.limits import limits
    net.stage("measuring roofs", "")
    plan = net.loaded.plan(next(iter(net.routes.values())), net.bound.shapes, net.request.threads)
    session = plan.session()
    samples, calls = step_samples(session, net.inputs, seconds=ROOF_SECONDS, at_least=5, at_most=1000)
    found = roof.report(plan, samples, limits([plan.threads]), calls, Path(net.request.file).name, session.counts())
    return {"roof": roof.summary(found), "lost": lost_by_shape(plan, found["steps"])}


def main() -> int:
    """`one.py REQUEST PIPE`: measure, and write the result into a file descriptor."""
    request, pipe = Request(**json.loads(sys.argv[1])), int(sys.argv[2])

    def say(**what: Any) -> None:
        data = (json.dumps(what) + "\n").encode()
        while data:
            data = data[os.write(pipe, data):]
    try:
        say(result=measure(request, lambda stage, engine: say(stage=stage, engine=engine)))
    except LeftOut as e:
        say(left_out=str(e))
    except Failure as e:
        say(failed=str(e))
    except Exception as e:  # whatever a net does wrong is its row of the table
        say(failed=f"{type(e).__name__}: {' '.join(str(e).split())[:600]}")
    sys.stdout.flush()
    os._exit(0)  # what libraries do when they are unloaded is no matter of the report


if __name__ == "__main__":
    sys.exit(main())

"""How far results are from a reference: whole outputs, and layer by layer on the reference's own inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..net.compare import Agreement, compare
from ..net.floats import numbers_of

if TYPE_CHECKING:
    from ..runtime.bound import BoundNet
    from ..runtime.catalogue import Candidate
    from ..runtime.plan import Plan


def same_class(got: Any, wanted: Any) -> tuple[int, int] | None:
    """(rows whose largest number is at the same place, rows) of an output of scores [N,C]; None for another one."""
    got, wanted = numbers_of(got), numbers_of(wanted)
    if wanted.ndim != 2 or wanted.dtype.kind != "f" or got.shape != wanted.shape or wanted.shape[1] < 2:
        return None
    return int((got.argmax(1) == wanted.argmax(1)).sum()), len(wanted)


def least_accurate(plan: Plan) -> str:
    """The least accurate class among the chosen routines of a plan."""
    from ..net import accuracy
    return accuracy.least_accurate(c.accuracy for c in plan.choices.values())


def worst(agreements: Any) -> Agreement:
    """The largest of each measure."""
    all_ = list(agreements)
    return Agreement(max((a.largest for a in all_), default=0.0), max((a.rms for a in all_), default=0.0))


def layer_errors(plan: Plan, inputs: Mapping[str, Any],
                 tell: Callable[[float, str], None] = lambda share, what: None) -> list[dict[str, Any]]:
    """Error of every layer's chosen routine against its meaning in float64, both on the reference's inputs.

    `plan`: of a bound net. `inputs`: of the net, as a call takes them. One dict per layer: index, layer, kind, routine,
    variant, accuracy, problem, largest, rms. Errors of earlier layers do not add up: every layer starts from exact inputs,
    rounded.
    """
    from ..meaning.evaluate import run_layer
    from ..profiling.rounds import single
    from ..runtime.inputs import as_declared
    from ..runtime.plan import build_plan
    bound, choices = _as_run(plan, inputs)
    net = bound.net
    values = as_declared(bound, inputs)
    last_use = {v: i for i, layer in enumerate(net.layers) for v in layer.inputs if v}
    rows = []
    for i, layer in enumerate(net.layers):
        tell(i / len(net.layers), layer.name)
        arguments = [None if not v else values[v] if v in values else net.constants[v] for v in layer.inputs]
        wanted = run_layer(layer, [_double(a) for a in arguments])
        alone, candidate = single(bound, layer), choices[layer.name]
        own = {x.name: choices[x.name] for x in alone.all_layers()}
        got = build_plan(alone, own, [], plan.threads).session().run({v: values[v] for v in alone.inputs})
        error = worst(compare(got[v], w) for v, w in zip(layer.outputs, wanted))
        rows.append({"index": i, "layer": layer.name, "kind": layer.kind, "routine": candidate.routine,
                     "variant": candidate.variant, "accuracy": candidate.accuracy, "problem": candidate.problem.text,
                     **error.to_json()})
        for name, array in zip(layer.outputs, wanted):
            if name in last_use:
                values[name] = array.astype(np.float32) if bound.spec(name).dtype == "f32" else array
        for v in set(layer.inputs):
            if v in values and last_use.get(v) == i:
                del values[v]
    return rows


def _as_run(plan: Plan, inputs: Mapping[str, Any]) -> tuple[BoundNet, dict[str, Candidate]]:
    """The bound net of a plan at the sizes that its layers find out on these inputs, and what its layers run there."""
    from ..runtime import catalogue
    if plan.bound.opened is None:
        return plan.bound, plan.choices
    session = plan.session()
    session.run(inputs)
    bound = plan.bound.at_sizes({n: size for n, size in session.sizes().items() if size > 0})
    choices = dict(plan.choices)
    for layer, problem in zip(bound.flat.layers, bound.flat.problems(plan.threads)):
        c = choices[layer.name]
        found = catalogue.find(problem, c.routine, c.variant)
        choices[layer.name] = found if isinstance(found, catalogue.Candidate) else c
    return bound, choices


def _double(array: Any) -> Any:
    return array.astype(np.float64) if array is not None and array.dtype == np.float32 else array

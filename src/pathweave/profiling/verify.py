"""Verify while profiling: every candidate of every layer against the layer's meaning in float64, on its real inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import Error
from ..layers import kind_of
from ..meaning.evaluate import run_layer
from ..net.accuracy import largest_error
from ..net.compare import relative_error
from ..net.net import Layer, Net
from ..net.scales import HELD_AS
from ..runtime.bound import BoundNet
from ..runtime.catalogue import Candidate
from ..runtime.inputs import as_declared
from ..runtime.plan import build_plan
from ..words import counted
from .slots import Slot


def limit(c: Candidate) -> float:
    """Largest relative RMS error that a candidate may have on its problem."""
    p = c.problem
    return largest_error(c.accuracy, kind_of(p.kind).terms(dict(p.attrs), list(p.inputs[:-1] if p.epilogue.add else p.inputs)))


def verify(bound: BoundNet, slots: list[Slot], inputs: Mapping[str, np.ndarray], threads: int,
           tell: Callable[[str], None] = lambda text: None) -> list[dict]:
    """Mark every candidate that computes something else as failed; gives one dict per failure.

    `slots`: one per layer, in the order of `bound.layers`; of equal layers the first is checked, and the others where values
    lie in f16, whose range those of one layer may leave and those of another not. `inputs`: of the net, as a call takes them.
    """
    values = as_declared(bound, inputs)
    net, failures, seen = bound.net, [], set()
    last_use = {v: i for i, layer in enumerate(net.layers) for v in layer.inputs if v}
    for i, (layer, slot) in enumerate(zip(net.layers, slots)):
        arguments = [None if not v else values[v] if v in values else net.constants[v] for v in layer.inputs]
        wanted = run_layer(layer, [_double(a) for a in arguments])
        entries = [e for e in slot.entries if slot.text not in seen or (e.state != "failed" and _in_f16(e.candidate))]
        seen.add(slot.text)
        if entries:
            tell(f"verifying {layer.name} ({counted(len(entries), 'candidate')})")
            single = _single(bound, layer)
            given = {v: values[v] for v in single.inputs}
            exact = _Reference(layer, given, wanted, {})
            within = _within(single, layer, given) if any(_scaled(e.candidate) for e in entries) else exact
            for entry in entries:
                reason = _check(single, within if _scaled(entry.candidate) else exact, entry.candidate, threads)
                if reason:
                    entry.state, entry.reason = "failed", reason
                    failures.append({"layer": layer.name, "problem": slot.text, "candidate": str(entry.candidate),
                                     "reason": reason})
        for name, array in zip(layer.outputs, wanted):
            if name in last_use:
                spec = net.specs[name]
                values[name] = array.astype("float32") if spec.dtype == "f32" else array
        for v in set(layer.inputs):
            if v in values and last_use.get(v) == i:
                del values[v]
    return failures


def _double(array: Any) -> Any:
    return array.astype(np.float64) if array is not None and array.dtype == np.float32 else array


def _single(bound: BoundNet, layer: Layer) -> BoundNet:
    """A net of that layer alone."""
    inputs = {v: bound.spec(v) for v in bound.dynamic(layer)}
    constants = {v: bound.net.constants[v] for v in layer.inputs if v in bound.net.constants}
    return BoundNet(Net(inputs, list(layer.outputs), [layer], constants), bound.scales)


class _Reference(NamedTuple):
    """A layer, its inputs, its outputs in float64, and the step of those that may be held as integers."""

    layer: Layer
    given: Mapping[str, np.ndarray]
    wanted: list
    steps: Mapping[str, float]


def _scaled(c: Candidate) -> bool:
    """True for a routine that holds values as integers."""
    return any(f.dtype in HELD_AS for f in (*c.ins, *c.outs))


def _in_f16(c: Candidate) -> bool:
    return any(f.dtype == "f16" for f in (*c.ins, *c.outs))


def _within(single: BoundNet, layer: Layer, given: Mapping[str, np.ndarray]) -> _Reference:
    """The reference for integers: inputs and outputs cut to the ranges of calibration, which these inputs may exceed."""
    def cut(value: str, array: np.ndarray) -> np.ndarray:
        scale = single.scales.get(value)
        return array if scale is None else np.clip(array, *scale.range)
    given = {v: np.ascontiguousarray(cut(v, a), a.dtype) for v, a in given.items()}
    arguments = [None if not v else given[v] if v in given else single.net.constants[v] for v in layer.inputs]
    wanted = [cut(v, y) for v, y in zip(layer.outputs, run_layer(layer, [_double(a) for a in arguments]))]
    return _Reference(layer, given, wanted, {v: max(single.scales[v].steps) for v in layer.outputs if v in single.scales})


def _check(single: BoundNet, reference: _Reference, c: Candidate, threads: int) -> str:
    """What is wrong with a candidate, "" when nothing is. A rounding step of an integer output is allowed on top."""
    layer = reference.layer
    try:
        results = build_plan(single, {layer.name: c}, [], threads).session().run(reference.given)
    except (Error, RuntimeError) as e:
        return f"it does not run: {e}"
    for name, right in zip(layer.outputs, reference.wanted):
        error, allowed = relative_error(results[name], right), limit(c)
        if name in reference.steps:
            allowed += reference.steps[name] / max(float(np.sqrt(np.mean(np.square(right)))), 1e-30)
        if not error <= allowed:
            return (f"output {name!r} has a relative RMS error of {error:.3g} against float64, "
                    f"its class {c.accuracy} allows {allowed:.3g}")
    return ""

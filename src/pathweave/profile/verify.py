"""Verify while profiling: every candidate of every layer against the layer's meaning in float64, on its real inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod, sqrt

import numpy as np

from ..errors import Error
from ..net.evaluate import run_layer
from ..net.net import Layer, Net
from ..runtime.bound import BoundNet
from ..runtime.catalogue import Candidate
from ..runtime.plan import build_plan
from .slots import Slot

#: Largest relative RMS error of an accuracy class for sums of up to 1,024 terms (DESIGN section 4); of bf16 and int8
#: what their formats can hold. Rounding errors of longer sums grow with the square root of the length.
LIMITS = {"strict": 1e-6, "f32": 1e-5, "reduced": 1e-2, "quantised": 5e-2}


def limit(c: Candidate) -> float:
    """Largest relative RMS error that a candidate may have on its problem."""
    ins, outs = c.problem.inputs, c.problem.outputs
    weights = [s for s, constant in zip(ins, c.problem.constant) if s is not None and constant and s.rank > 1]
    values = [prod(s.shape) for s, constant in zip(ins, c.problem.constant) if s is not None and not constant]
    length = max((prod(s.shape[1:]) for s in weights), default=max(values, default=1) / max(1, prod(outs[0].shape)))
    return LIMITS[c.accuracy] * max(1.0, sqrt(length / 1024))


def verify(bound: BoundNet, slots: list[Slot], inputs: Mapping[str, np.ndarray], threads: int,
           tell: Callable[[str], None] = lambda text: None) -> list[dict]:
    """Mark every candidate that computes something else as failed; gives one dict per failure.

    `slots`: one per layer, in the order of `bound.layers`; of equal layers the first is checked. `inputs`: of the net.
    """
    values = dict(inputs)
    net, failures, seen = bound.net, [], set()
    last_use = {v: i for i, layer in enumerate(net.layers) for v in layer.inputs if v}
    for i, (layer, slot) in enumerate(zip(net.layers, slots)):
        arguments = [None if not v else values[v] if v in values else net.constants[v] for v in layer.inputs]
        wanted = run_layer(layer, [_double(a) for a in arguments])
        if slot.text not in seen:
            seen.add(slot.text)
            tell(f"verifying {layer.name} ({len(slot.entries)} candidates)")
            single = _single(bound, layer)
            given = {v: values[v] for v in single.inputs}
            for entry in slot.entries:
                reason = _check(single, layer, entry.candidate, given, wanted, threads)
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


def _double(array):
    return array.astype(np.float64) if array is not None and array.dtype == np.float32 else array


def _single(bound: BoundNet, layer: Layer) -> BoundNet:
    """A net of that layer alone."""
    inputs = {v: bound.spec(v) for v in bound.dynamic(layer)}
    constants = {v: bound.net.constants[v] for v in layer.inputs if v in bound.net.constants}
    return BoundNet(Net(inputs, list(layer.outputs), [layer], constants), bound.scales)


def _check(single: BoundNet, layer: Layer, c: Candidate, given: Mapping, wanted: list, threads: int) -> str:
    """What is wrong with a candidate, "" when nothing is."""
    try:
        results = build_plan(single, {layer.name: c}, [], threads).session().run(given)
    except (Error, RuntimeError) as e:
        return f"it does not run: {e}"
    for name, right in zip(layer.outputs, wanted):
        error = relative_error(results[name], right)
        if not error <= limit(c):
            return (f"output {name!r} has a relative RMS error of {error:.3g} against float64, "
                    f"its class {c.accuracy} allows {limit(c):.3g}")
    return ""


def relative_error(got: np.ndarray, wanted: np.ndarray) -> float:
    """RMS of the difference over RMS of what is wanted; 0 for equal arrays, infinite where NaN or infinity differ."""
    if got.dtype.kind != "f":
        return 0.0 if np.array_equal(got, wanted) else float("inf")
    got = got.astype(np.float64)
    fine = np.isfinite(wanted)
    if not np.array_equal(fine, np.isfinite(got)) or not np.array_equal(got[~fine], wanted[~fine], equal_nan=True):
        return float("inf")
    difference, size = (float(np.sqrt(np.mean(np.square(x)))) if x.size else 0.0
                        for x in (got[fine] - wanted[fine], wanted[fine]))
    return difference / size if size else difference

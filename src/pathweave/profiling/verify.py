"""Verify while profiling: every candidate of every layer against the layer's meaning in float64, on its real inputs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import Error
from ..layers import kind_of
from ..meaning.evaluate import MEANING_ERRORS, run_layer
from ..net.accuracy import largest_error
from ..net.compare import relative_error
from ..net.net import Layer
from ..net.scales import HELD_AS
from ..runtime.bound import BoundNet
from ..runtime.catalogue import Candidate
from ..runtime.inputs import as_declared, random_inputs
from ..runtime.plan import build_plan
from ..words import counted
from .rounds import single
from .slots import Slot


def limit(c: Candidate) -> float:
    """Largest relative RMS error that a candidate may have on its problem."""
    p = c.problem
    return largest_error(c.accuracy, kind_of(p.kind).terms(dict(p.attrs), list(p.inputs[:-1] if p.epilogue.add else p.inputs)))


def verify(bound: BoundNet, slots: list[Slot], inputs: Mapping[str, np.ndarray], threads: int,
           tell: Callable[[str], None] = lambda text: None) -> list[dict]:
    """Mark every candidate that computes something else as failed; gives one dict per failure.

    `slots`: one per layer, in the order of `bound.flat.layers`; of equal layers the first is checked, and the others where
    values lie in f16, whose range those of one layer may leave and those of another not. `inputs`: of the net, as a call takes
    them; layers of blocks are checked on random ones.
    """
    by = {layer.name: slot for layer, slot in zip(bound.flat.layers, slots)}
    return _verify(bound, by, as_declared(bound, inputs), threads, tell, set())


def _verify(bound: BoundNet, slots: Mapping[str, Slot], values: dict[str, np.ndarray], threads: int,
            tell: Callable[[str], None], seen: set[str]) -> list[dict]:
    """`verify` for one net, and for the blocks in it on random inputs. `seen`: texts of the problems that were checked."""
    net, failures = bound.net, []
    last_use = {v: i for i, layer in enumerate(net.layers) for v in layer.inputs if v}
    for i, layer in enumerate(net.layers):
        slot = slots[layer.name]
        arguments = [None if not v else values[v] if v in values else net.constants[v] for v in layer.inputs]
        wanted = run_layer(layer, [_double(a) for a in arguments])
        if layer.name in bound.nested:
            for block in bound.nested[layer.name].values():
                with contextlib.suppress(*MEANING_ERRORS):  # random inputs may be none for it
                    failures += _verify(block, slots, as_declared(block, random_inputs(block)), threads, tell, seen)
        elif not bound.finds_sizes(layer):  # there only NumPy computes it
            failures += _verify_layer(bound, layer, slot, values, wanted, threads, tell, seen)
        for name, array in zip(layer.outputs, wanted):
            if name in last_use:
                spec = net.specs[name]
                values[name] = array.astype("float32") if spec.dtype == "f32" else array
        for v in set(layer.inputs):
            if v in values and last_use.get(v) == i:
                del values[v]
    return failures


def _verify_layer(bound: BoundNet, layer: Layer, slot: Slot, values: Mapping[str, np.ndarray], wanted: list, threads: int,
                  tell: Callable[[str], None], seen: set[str]) -> list[dict]:
    entries = [e for e in slot.entries if slot.text not in seen or (e.state != "failed" and _in_f16(e.candidate))]
    seen.add(slot.text)
    if not entries:
        return []
    tell(f"verifying {layer.name} ({counted(len(entries), 'candidate')})")
    failures = []
    alone = single(bound, layer)
    given = {v: values[v] for v in alone.inputs}
    if any(a.shape != alone.spec(v).sizes for v, a in given.items()):  # the profile is of other sizes than these values have
        given = as_declared(alone, random_inputs(alone))
        wanted = run_layer(layer, [None if not v else _double(given[v]) if v in given else bound.net.constants[v]
                                   for v in layer.inputs])
    exact = _Reference(layer, given, wanted, {}, alone.net.constants)
    within = _within(alone, layer, given) if any(_scaled(e.candidate) for e in entries) else exact
    for entry in entries:
        reason = _check(alone, within if _scaled(entry.candidate) else exact, entry.candidate, threads)
        if reason:
            entry.state, entry.reason = "failed", reason
            failures.append({"layer": layer.name, "problem": slot.text, "candidate": str(entry.candidate), "reason": reason})
    return failures


def _double(array: Any) -> Any:
    return array.astype(np.float64) if array is not None and array.dtype == np.float32 else array


class _Reference(NamedTuple):
    """A layer, its inputs, its outputs in float64, the step of those that may be held as integers, and its constants."""

    layer: Layer
    given: Mapping[str, np.ndarray]
    wanted: list
    steps: Mapping[str, float]
    constants: Mapping[str, np.ndarray]


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
    given = {v: np.asarray(cut(v, a), a.dtype, order="C") for v, a in given.items()}
    arguments = [None if not v else given[v] if v in given else single.net.constants[v] for v in layer.inputs]
    wanted = [cut(v, y) for v, y in zip(layer.outputs, run_layer(layer, [_double(a) for a in arguments]))]
    steps = {v: max(single.scales[v].steps) for v in layer.outputs if v in single.scales}
    return _Reference(layer, given, wanted, steps, single.net.constants)


def _condition(reference: _Reference, output: str) -> float:
    """How many times larger the relative change of an output is than that of the inputs; at least 1.

    Where a sum cancels, rounding the inputs alone changes it by more than a class allows. Source: backward errors, in Higham,
    Accuracy and Stability of Numerical Algorithms, 2002, chapter 1.
    """
    layer, unit = reference.layer, 2.0 ** -24
    rng = np.random.default_rng(0)
    moved = {v: a * (1 + unit * rng.choice((-1.0, 1.0), a.shape)) if a.dtype == np.float32 else a
             for v, a in reference.given.items()}
    arguments = [None if not v else moved[v] if v in moved else reference.constants[v] for v in layer.inputs]
    position = layer.outputs.index(output)
    changed = relative_error(run_layer(layer, [_double(a) for a in arguments])[position], reference.wanted[position])
    return max(1.0, changed / unit) if np.isfinite(changed) else 1.0


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
        elif not error <= allowed:
            allowed *= _condition(reference, name)
        if not error <= allowed:
            return (f"output {name!r} has a relative RMS error of {error:.3g} against float64, "
                    f"its class {c.accuracy} allows {allowed:.3g}")
    return ""

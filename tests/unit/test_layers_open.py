"""Shape rules on expressions: inferred once with open sizes and evaluated, they give what they give on integers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pathweave.errors import Error, OpenSizesError
from pathweave.layers import compute, infer_layer, kinds
from pathweave.meaning.evaluate import MEANING_ERRORS
from pathweave.net.conditions import recording
from pathweave.net.dim import evaluate, highest, is_unknown, lowest, symbol
from pathweave.net.net import TensorSpec
from pathweave.testing import cases, fill

#: Elements of the arrays on which a meaning is run.
MOST_ELEMENTS = 60_000
#: Kinds whose result has a size that depends on more than sizes.
MAY_BE_UNKNOWN = {"resample", "resize2", "slice", "if", "loop", "scan", "nonzero", "compress", "unique", "non_max_suppression"}


def _opened(case, which):
    """Specs with a symbol for each size for which which(input, axis, size); equal sizes have one symbol."""
    names = {}

    def dim(i, axis, d):
        name = which(i, axis, d)
        return d if not name or d < 1 else names.setdefault(name, (symbol(name), d))[0]
    specs = [s and TensorSpec(s.dtype, tuple(dim(i, a, d) for a, d in enumerate(s.shape))) for i, s in enumerate(case.inputs)]
    return specs, {name: d for name, (_, d) in names.items()}


def _at(specs, sizes):
    return [s and TensorSpec(s.dtype, tuple(evaluate(d, sizes) for d in s.shape)) for s in specs]


def _concrete(layer, specs):
    try:
        return infer_layer(layer, specs)
    except Error:
        return None


def _meant(case, layer, specs):
    """Shapes of the meaning's outputs; None where it is large, or refuses the random contents."""
    if sum(math.prod(s.shape) for s in specs if s) > MOST_ELEMENTS:
        return None
    rng, words = case.rng(), (*case.values, *[""] * len(specs))
    try:
        arrays = [s and fill(s, words[i] or "normal", rng) for i, s in enumerate(specs)]
        with np.errstate(all="ignore"):
            return [np.shape(y) for y in compute(layer, arrays)]
    except (Error, *MEANING_ERRORS):
        return None


def _variants(sizes):
    """Sizes near the ones at which the case was written, all at once and one by one."""
    yield sizes
    for change in (lambda d: d + 1, lambda d: 2 * d, lambda d: 3 * d + 2, lambda d: max(1, d - 1), lambda d: 1):
        yield {n: change(d) for n, d in sizes.items()}
        for name in tuple(sizes)[:3]:
            yield {**sizes, name: change(sizes[name])}


def _check(case, which, seen):
    layer, (specs, sizes) = case.layer(), _opened(case, which)
    if not sizes:
        return
    conditions = []
    with recording(conditions):
        try:
            opened = infer_layer(layer, specs)
        except Error as e:
            needs_numbers = case.kind in ("gather_nd", "scatter_nd") or case.kind == "squeeze" and not case.attrs.get("axes")
            assert needs_numbers, f"{case}: {e}"
            return
    for number, at in enumerate(_variants(sizes)):
        bound = _at(specs, at)
        wanted = _concrete(layer, bound)
        try:
            holds = all(c.holds(at) for c in conditions)
        except OpenSizesError:  # a condition on what is unknown says nothing
            assert case.kind in MAY_BE_UNKNOWN
            holds = wanted is not None
        what = f"{case}, {specs} -> {opened} at {at}, if {'; '.join(map(str, conditions))}"
        assert holds == (wanted is not None), f"{what}: {wanted}"
        if not holds:
            continue
        seen["held"] += 1
        meant = _meant(case, layer, bound) if number < 4 else None
        for i, spec in enumerate(opened):
            assert (spec.dtype, spec.rank) == (wanted[i].dtype, wanted[i].rank), what
            for d, size in zip(spec.shape, wanted[i].shape):
                if is_unknown(d):
                    assert case.kind in MAY_BE_UNKNOWN and lowest(d) <= lowest(size) <= highest(size) <= highest(d), what
                else:
                    assert evaluate(d, at) == size, what
            if meant is not None:
                assert len(meant[i]) == wanted[i].rank, what
                assert all(lowest(d) <= n <= highest(d) for n, d in zip(meant[i], wanted[i].dims)), what
                seen["meant"] += 1


@pytest.mark.parametrize("kind", sorted(kinds()))
def test_infer_on_expressions_agrees_with_integers_and_with_the_meaning(kind):
    seen = {"held": 0, "meant": 0}
    # Where sizes are contents, how many numbers there are is no open size.
    looked_at = [c for c in cases(kind) if not any(i < len(c.inputs) and c.inputs[i]
                                                   for i in getattr(kinds()[kind], "value_inputs", ()))]
    for case in looked_at:
        places = [(i, a) for i, s in enumerate(case.inputs) if s for a in range(s.rank)]
        _check(case, lambda i, axis, d: f"s{d}", seen)  # sizes that are equal stay so
        _check(case, lambda i, axis, d: f"s{d}" if i == 0 else "", seen)
        _check(case, lambda i, axis, d: f"x{i}_{axis}", seen)
        for place in places[:6]:
            _check(case, lambda i, axis, d, place=place: "N" if (i, axis) == place else "", seen)
    assert seen["held"] > 10 or not any(s and s.rank for c in looked_at for s in c.inputs)
    assert seen["meant"] or not seen["held"]

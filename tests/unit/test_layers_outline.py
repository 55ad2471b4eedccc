"""What a kind says of its outputs' shapes when the inputs' are known in part must not contradict its shape rule."""

from __future__ import annotations

import itertools

import pytest

from pathweave.layers import kind_of, kinds
from pathweave.testing import cases


def _agrees(outline, shape) -> bool:
    return outline is None or len(outline) == len(shape) and all(d in (None, e) for d, e in zip(outline, shape))


def _given_by_inputs(of, specs):
    """None for attributes that inputs stand for: their contents are not known."""
    inputs = getattr(of, "value_inputs", {})
    return {name: None for i, name in inputs.items() if i < len(specs) and specs[i] is not None}


@pytest.mark.parametrize("kind", sorted(name for name, kind in kinds().items() if not kind.refuses))
def test_outline_agrees_with_infer(kind):
    known = ranks = 0
    for case in cases(kind):
        of = kind_of(kind)
        specs = case.inputs[:-1] if case.epilogue.add else case.inputs
        attrs, shapes = of.complete(case.attrs), [None if s is None else tuple(s.shape) for s in specs]
        attrs_known, attrs = attrs, {**attrs, **_given_by_inputs(of, specs)}
        expected = [tuple(s.shape) for s in of.infer_open(attrs_known, list(specs))]
        ranks = max(ranks, len({len(s) for s in expected}))
        sizes = [(i, axis) for i, s in enumerate(shapes) if s is not None for axis in range(len(s))]
        hidden = [(), sizes, *([one] for one in sizes), *itertools.islice(itertools.combinations(sizes, 2), 40)]
        for holes in hidden:
            partial = [None if s is None else tuple(None if (i, a) in holes else d for a, d in enumerate(s))
                       for i, s in enumerate(shapes)]
            outline = of.outline(attrs, partial)
            assert all(_agrees(outline, s) for s in expected), f"{case}: {partial} gives {outline}, not {expected}"
            known += outline is not None
        for i, s in enumerate(shapes):  # an input of unknown rank
            if s is not None:
                outline = of.outline(attrs, [None if j == i else t for j, t in enumerate(shapes)])
                assert all(_agrees(outline, e) for e in expected), f"{case}: without input {i}: {outline}"
    assert known or ranks > 1, f"{kind}: never knows so much as a rank"


@pytest.mark.parametrize("kind", sorted(n for n in kinds() if getattr(kind_of(n), "value_inputs", None)))
def test_outline_with_attributes_that_are_not_known(kind):
    for case in cases(kind):
        of = kind_of(kind)
        specs = case.inputs[:-1] if case.epilogue.add else case.inputs
        attrs, shapes = of.complete(case.attrs), [None if s is None else tuple(s.shape) for s in specs]
        attrs_known, attrs = attrs, {**attrs, **_given_by_inputs(of, specs)}
        expected = [tuple(s.shape) for s in of.infer_open(attrs_known, list(specs))]
        for name in of.value_inputs.values():
            given = attrs[name]
            outline = of.outline({**attrs, name: None}, shapes)
            assert all(_agrees(outline, e) for e in expected), f"{case}: {name} unknown: {outline}"
            if isinstance(given, tuple) and given:
                outline = of.outline({**attrs, name: (None,) * len(given)}, shapes)
                assert all(_agrees(outline, e) for e in expected), f"{case}: {name} of unknown numbers: {outline}"

"""Sizes at the edges of what integers hold, in layers of every kind: what checks of sizes are tested with.

A case of the conformance suite is taken, and some of its dimensions and attributes become numbers near a power of two,
zero or below. Nothing says that such a layer is valid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..net.net import TensorSpec
from . import Case, cases

#: Powers of two at which some type, table or product ends.
POWERS = (8, 16, 31, 32, 40, 45, 46, 59, 60, 61, 62, 63)
EDGES = tuple(sorted({sign * 2**p + d for p in POWERS for d in (-1, 0, 1) for sign in (1, -1)} | {-2, -1, 0, 1, 2, 3}))
#: Sizes at which a loop over them takes long, and so much memory that the system refuses it.
GROWN = (2**28 + 1, 2**31 + 1)
FACTORS = (0.0, -1.0, 1e-30, 1e-9, 1e6, 1e9, 1e18, 3e38, float("inf"), float("nan"))


def hostile(case: Case, rng: np.random.Generator) -> Case:
    """The case with one to three numbers replaced."""
    for _ in range(int(rng.integers(1, 4))):
        places = list(_places(case))
        if not places:
            return case
        case = _changed(case, places[int(rng.integers(len(places)))], rng)
    return case


def hostile_cases(kind: str, count: int, seed: int = 0) -> Iterator[Case]:
    """`count` of them of one layer kind, the same for the same seed; none of a kind without cases."""
    known, rng = cases(kind), np.random.default_rng([seed, len(kind), *map(ord, kind)])
    for i in range(count if known else 0):
        chosen = known[int(rng.integers(len(known)))]
        yield replace(hostile(chosen, rng), name=f"{chosen.name} #{seed}.{i}")


def grown_cases(kind: str, every: int = 1) -> Iterator[Case]:
    """Of every N-th case of one layer kind: an axis of a value, and of all values that are as long there, is very long."""
    for case in cases(kind)[::every]:
        values = [s for s, c in zip(case.inputs, case.constant) if s is not None and not c]
        for axis, old in dict.fromkeys((i, d) for s in values for i, d in enumerate(s.shape)):
            for size in GROWN:
                inputs = [s if s is None or c or s.shape[axis:axis + 1] != (old,) else
                          TensorSpec(s.dtype, (*s.shape[:axis], size, *s.shape[axis + 1:]))
                          for s, c in zip(case.inputs, case.constant)]
                yield replace(case, inputs=tuple(inputs), name=f"{case.name} axis {axis}: {old} -> {size}")


def hostile_text(text: str, rng: np.random.Generator) -> str:
    """The text of a problem with one to three of its whole numbers replaced; it need not fit together any more."""
    for _ in range(int(rng.integers(1, 4))):
        numbers = list(re.finditer(r"(?<=[:x=,])-?\d+(?=[x,\s]|$)", text))
        if not numbers:
            return text
        at = numbers[int(rng.integers(len(numbers)))]
        text = text[:at.start()] + str(_edge(rng)) + text[at.end():]
    return text


def _edge(rng: np.random.Generator) -> int:
    return EDGES[int(rng.integers(len(EDGES)))]


def _places(case: Case) -> Iterator[tuple[str, Any, int]]:
    """("input", index, axis) and ("attribute", name, position) of every number; position -1: the attribute is one."""
    for i, spec in enumerate(case.inputs):
        yield from (("input", i, axis) for axis in range(spec.rank if spec is not None else 0))
    for name, value in case.attrs.items():
        if isinstance(value, tuple):
            yield from (("attribute", name, k) for k, v in enumerate(value) if not isinstance(v, str))
        elif not isinstance(value, str):
            yield "attribute", name, -1


def _changed(case: Case, place: tuple[str, Any, int], rng: np.random.Generator) -> Case:
    what, key, position = place
    if what == "input":
        spec = case.inputs[key]
        shape = tuple(_edge(rng) if i == position else d for i, d in enumerate(spec.shape))
        return replace(case, inputs=tuple(TensorSpec(spec.dtype, shape) if i == key else s
                                          for i, s in enumerate(case.inputs)))
    value = case.attrs[key]
    old = value if position < 0 else value[position]
    new = FACTORS[int(rng.integers(len(FACTORS)))] if isinstance(old, float) else _edge(rng)
    attribute = new if position < 0 else (*value[:position], new, *value[position + 1:])
    return replace(case, attrs={**case.attrs, key: attribute})

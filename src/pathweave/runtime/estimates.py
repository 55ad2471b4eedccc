"""Estimates: nanoseconds of candidates that nobody measured, from what routines say that they do and from the machine's rates.

A routine says what it does (`Routine::estimate`, native/spi/estimate.h): operations, the share of the peak at which its loops
make them, bytes that it moves beside its inputs and outputs, pieces of work, meetings of the threads. What it does not say is
taken from its layer. The time is that of the arithmetic or of the bytes, whichever is longer, and some of the other; the bytes
come from the level of memory that holds them (`limits.py`). Source: Williams et al. 2009, "Roofline".

An estimate is a guess and decides nothing that is measured. bench/estimates.py compares estimates with measurements.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import ShapeError
from ..layers import kinds
from ..net.problem import Problem
from ..net.size import size_bytes
from .catalogue import Candidate, is_python
from .limits import LEVELS, Limits

#: Of the shorter one of arithmetic and bytes, what comes on top of the longer one.
OVERLAP = 0.3
#: Of a routine that counts its work: shares of the time of the bytes that its arithmetic does not hide, of values and of what
#: it moves beside them.
VALUES, MOVES = 0.3, 0.5
#: Weights that lie beyond L2 come at so many times the rate of memory: every run reads them once.
WEIGHTS = 1.5
#: A cache holds this share of its size beside all else.
HELD = {"L1": 0.5, "L2": 0.6, "L3": 0.25}
#: Nanoseconds of a step beside its work, of one that only renames, and barriers that the end of a phase takes, of a team; where
#: one thread does all of it, nobody waits for more than one.
STEP_NS, RENAMED_NS, MEETINGS = 400.0, 50.0, 10.0
#: A byte written costs so many bytes read.
WRITTEN = 1.5
#: Share of the peak of a routine that says nothing: of one for a single element type, of one for any, whose loops are over
#: single elements, of a reference routine, and of NumPy; what a step in NumPy takes beside.
SHARE, ANY_SHARE, REFERENCE_SHARE, NUMPY_SHARE, NUMPY_NS = 0.08, 0.01, 0.004, 0.002, 30_000.0
#: Of the elements of a routine that says nothing, below this many one thread does all.
ALONE = 8192
#: Operations that moving an element takes where a layer has none per element.
MOVED = 1.0
#: Of the bytes of a routine whose inputs may lie inside its output, or the other way round, how many it moves on average.
SHARED = 0.1
#: Factor for devices of plugins that say nothing.
FOREIGN = 100.0
#: Element type of a routine that multiplies parts of 16 bits -> the unit, and its products per product of the layer; the share
#: of the peak that such a routine reaches, and the rows and columns of its tiles, which are filled up.
SPLIT, SPLIT_SHARE, SPLIT_TILE = {"bf16x2": ("bf16", 3.0), "bf16x3": ("bf16", 6.0)}, 0.4, 32
#: Peak rate of a unit without a probe, against that of f32.
UNITS = {"f64": 0.5, "bf16": 1.0, "f16": 1.0, "i8": 2.0}


#: Of a variant, the tier of its micro-kernel.
_TIER = re.compile(r"__[a-z0-9-]+")


def _renames(c: Candidate, problem: Problem) -> bool:
    """Whether the output is the input as it lies, mostly without a copy."""
    inside = len(c.ins) == len(problem.outputs) == len(c.share) == 1
    values = [s.elements for s, constant in zip(problem.inputs, problem.constant) if s is not None and not constant]
    return inside and not c.steps and c.share[0][2] == 0 and values == [problem.outputs[0].elements]


def _filled(problem: Problem) -> float:
    """How many times the operations of a product are made where tiles are filled up with zeros."""
    weights = problem.inputs[1] if len(problem.inputs) > 1 else None
    sizes = weights.sizes[:2] if weights is not None and weights.rank > 1 else ()
    filled = 1.0
    for n in sizes:
        filled *= -(-n // SPLIT_TILE) * SPLIT_TILE / max(1, n)
    return filled


class Estimate(NamedTuple):
    """What a routine says that it does; see `native/spi/estimate.h`. Numbers below 0 are those of its layer."""

    operations: float = -1.0
    work: float = -1.0
    share: float = 0.0
    constants: float = -1.0
    pieces: float = -1.0
    phases: int = 1
    unit: str = "f32"
    moved: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Estimator:
    """Prices candidates for `threads`. `limits`: of the machine. `constants`: bytes of all constants of the net, which decide
    from where weights come."""

    limits: Limits
    threads: int
    constants: float = 0.0
    _known: dict[tuple[str, tuple[str, int, str]], float] = field(default_factory=dict, repr=False, compare=False)

    def price(self, candidate: Candidate) -> float:
        """Nanoseconds of one run, the steps of its epilogue included; finite and positive."""
        key = candidate.problem.text, candidate.key
        ns = self._known.get(key)
        if ns is None:
            ns = self._known[key] = self._own(candidate) + sum(map(self.price, candidate.steps))
        return ns

    @staticmethod
    def stated(candidate: Candidate) -> bool:
        """Whether the routine says what it does, so that its price is more than a generic guess."""
        return bool(candidate.estimate) or _renames(candidate, candidate.base)

    def _own(self, c: Candidate) -> float:
        problem = c.base
        said = Estimate(*c.estimate) if c.estimate else Estimate()
        threads = 1 if c.alone else self.threads
        pieces = said.pieces
        if pieces < 0:
            pieces = 1.0 if said.work < 0 and sum(s.elements for s in problem.outputs) < ALONE else float(threads)
        busy = max(1.0, pieces / -(-pieces // threads) if pieces < 8 * threads else float(threads))
        if _renames(c, problem):
            return RENAMED_NS
        unit = said.unit if c.estimate else SPLIT.get(c.routine.split(":")[1], (said.unit, 1.0))[0]
        operations = self._operations(c, problem, said) / (self._peak(unit, c.own_variant) * busy / self.threads)
        values, constants, moved = self._bytes(c, problem, said, busy)
        if said.work >= 0:
            ns = operations + VALUES * values + constants + MOVES * moved
        else:
            moved += values + constants
            ns = max(operations, moved) + OVERLAP * min(operations, moved)
        ns += STEP_NS
        if threads > 1:
            ns += (MEETINGS if pieces > 1 else 1.0) * said.phases * self.limits.barrier_ns(self.threads)
        if is_python(c):
            ns += NUMPY_NS
        if c.device not in ("cpu", "python") and not c.estimate:
            ns *= FOREIGN
        return ns

    def _peak(self, unit: str, variant: str = "") -> float:
        """Operations per nanosecond of all threads, of the micro-kernel's tier where that has a probe: matrix units are many
        times as fast as vectors beside them."""
        tier = _TIER.search(variant) if unit != "f32" else None
        peak = self.limits.peak(unit, self.threads, tier.group() if tier else "")
        if peak is None:
            peak = UNITS.get(unit, 1.0) * (self.limits.peak("f32", self.threads) or 1e10)
        return peak / 1e9

    def _operations(self, c: Candidate, problem: Problem, said: Estimate) -> float:
        """Operations at the peak rate that take as long as the work."""
        outputs = float(sum(s.elements for s in problem.outputs))
        parts = int(problem.epilogue.add) + int(bool(problem.epilogue.act))
        if said.work >= 0:
            return said.work + parts * outputs
        share = said.share or self._share(c)
        kind = kinds().get(problem.kind)
        own = 0.0
        if kind is not None:
            inputs = list(problem.inputs)
            with contextlib.suppress(ShapeError):  # sizes that contents say are not known
                own = float(kind.operations(kind.complete(dict(problem.attrs)), inputs[:-1] if problem.epilogue.add else inputs,
                                            list(problem.outputs)))
        _, products = SPLIT.get(c.routine.split(":")[1], ("", 0.0))
        if products and not c.estimate:
            return own * products * _filled(problem) / SPLIT_SHARE + (parts + MOVED) * outputs / share
        return (own + (parts + MOVED) * outputs) * (SHARED if c.share else 1.0) / share

    @staticmethod
    def _share(c: Candidate) -> float:
        if is_python(c):
            return NUMPY_SHARE
        if c.reference:
            return REFERENCE_SHARE
        return ANY_SHARE if ":any:" in c.routine else SHARE

    def _bytes(self, c: Candidate, problem: Problem, said: Estimate, busy: float) -> tuple[float, float, float]:
        """Nanoseconds of the bytes of values, of constants, and of what is moved beside."""
        dynamic = [s for s, constant in zip(problem.inputs, problem.constant) if s is not None and not constant]
        ins = [float(size_bytes(s, f.dtype)) for s, f in zip(dynamic, c.ins)]
        outs = [float(size_bytes(s, f.dtype)) for s, f in zip(problem.outputs, c.outs)]
        constants = said.constants
        if constants < 0:
            constants = float(sum(size_bytes(s) for s, constant in zip(problem.inputs, problem.constant)
                                  if s is not None and constant))
        room = sum(ins) + sum(outs)
        values = sum(ins) + WRITTEN * sum(outs)
        if c.share:
            values *= SHARED
        return (self._from(values, room, busy), self._weights(constants, max(constants, self.constants) + room, busy),
                sum(self._from(size, place, busy) for size, place in said.moved))

    def _level(self, room: float) -> str:
        for level in LEVELS[:-1]:
            if room <= HELD[level] * self.limits.caches[level] * (1 if level == "L3" else self.threads):
                return level
        return LEVELS[-1]

    def _weights(self, size: float, room: float, busy: float) -> float:
        """Nanoseconds of constants, of which there are so many bytes in all."""
        if self._level(room) in LEVELS[:2]:
            return self._from(size, room, busy)
        return size / (WEIGHTS * self.limits.bandwidth(LEVELS[-1], self.threads) / 1e9 * (1.0 + busy / self.threads) / 2)

    def _from(self, size: float, room: float, busy: float) -> float:
        """Nanoseconds of bytes that lie in memory of a size, read by so many threads."""
        if size <= 0:
            return 0.0
        level = self._level(room)
        rate = self.limits.bandwidth(level, self.threads) / 1e9
        # One thread alone gets more than its share of what all have in common.
        part = busy / self.threads if level != LEVELS[-1] else (1.0 + busy / self.threads) / 2
        return size / (rate * part)

"""Verification: the outputs of a plan against a reference, per output and per channel, and where they differ most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..net.accuracy import accuracy_rank
from ..net.compare import Agreement, Channel, Channels, Place, comparable, compare, fits, largest_difference
from ..profiling.rounds import block_runs
from ..runtime.inputs import as_declared
from ..words import counted
from .agreement import layer_errors, least_accurate, same_class, worst

Arrays = Mapping[str, Any]

#: Largest difference over the largest output that class f32 may show; RMS over RMS for classes below.
LIMIT, LIMIT_BELOW = 1e-4, 0.1
#: A channel may show this many times the limit of the whole output.
CHANNEL = 5.0
#: What float32 itself loses on a net: this many times as much is no error.
CONDITION = 10.0


@dataclass(frozen=True)
class Failed:
    """A test that an output failed: `output` as a whole or one `channel`; what was found, and the limit."""

    test: str
    found: float
    limit: float


@dataclass
class Output:
    """One output over all samples. `agreement`: worst of the samples, `sample` the one, `place` where in it.

    `channel`: the one that agrees least. `float32`: what the net's meaning in float32 differs from that in float64; None
    where nobody had to look. `limit`: what was accepted in `sample`. `ok`: within the limits; if not, `failed` is the first
    test that it failed. `second`: a second reference was asked, and the output is that far from it; `ok` then where that is
    within the limits.
    """

    name: str
    agreement: Agreement = Agreement(0.0, 0.0)
    sample: int = 0
    place: Place | None = None
    channel: Channel | None = None
    float32: Agreement | None = None
    limit: float = 0.0
    ok: bool = True
    failed: Failed | None = None
    second: Agreement | None = None

    def to_json(self) -> dict[str, Any]:
        c, p = self.channel, self.place
        return {"output": self.name, "sample": self.sample, **self.agreement.to_json(), "limit": self.limit, "ok": self.ok,
                "failed": self.failed and {"test": self.failed.test, "found": self.failed.found, "limit": self.failed.limit},
                "channel": c and {"axis": c.axis, "number": c.number, "size": c.size, **c.agreement.to_json()},
                "at": p and {"index": list(p.index), "got": p.got, "expected": p.expected},
                "float32": self.float32 and self.float32.to_json(), "second": self.second and self.second.to_json()}


@dataclass
class Verification:
    """What `verify` found. `below`: a routine below class f32 runs, so that RMS counts. `best_class`: [rows of scores whose
    best class is the same, all rows]. `layers`: the worst row of every layer. `blocks`: how often each block ran on all samples
    together."""

    outputs: list[Output]
    accuracy: str
    limit: float
    below: bool
    best_class: list[int] = field(default_factory=lambda: [0, 0])
    layers: list[dict[str, Any]] = field(default_factory=list)
    blocks: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return all(o.ok for o in self.outputs)

    @property
    def worst(self) -> Agreement:
        """The largest of each measure over the outputs."""
        return worst(o.agreement for o in self.outputs)

    @property
    def sensitive(self) -> Output | None:
        """Of the outputs beyond the limit that pass since float32 gives no better ones the one that differs most."""
        found = [o for o in self.outputs if o.ok and o.second is None and o.limit > self.limit and
                 _measure(o.agreement, self.below) > self.limit]
        return max(found, key=lambda o: o.agreement.largest, default=None)

    @property
    def conditioned(self) -> bool:
        """True where an output is beyond the limit and float32 gives no better one."""
        return any(o.ok and o.second is None and _measure(o.agreement, self.below) > self.limit for o in self.outputs)


def verify(plan: Any, inputs: Iterable[Arrays], reference: Callable[[Arrays], Arrays], *, limit: float | None = None,
           meaning: Callable[[Arrays, str], Arrays] | None = None, layers: bool = False,
           tell: Callable[[int], None] = lambda sample: None) -> Verification:
    """Run a plan on inputs and compare every output with a reference, whole and channel by channel.

    `plan`: of a bound net. `inputs`: as a call takes them. `reference`: outputs by name from inputs by name, both in the
    declared order. `limit`: on the largest difference over the largest output, or with a routine below class f32 on RMS over
    RMS; a channel may show `CHANNEL` times as much of its own size (see `net.compare.Channels`). None: that of the class, and,
    in class f32, `CONDITION` times what the net's meaning loses in float32 is let pass: `meaning(inputs, "f32" or "f64")`.
    `layers`: also every layer on exact inputs.
    """
    least = least_accurate(plan)
    below = accuracy_rank(least) > accuracy_rank("f32")
    given = limit is not None
    if limit is None:
        limit = LIMIT_BELOW if below else LIMIT
    found = {name: _Judge(name, limit, below) for name in plan.outputs}
    result = Verification([], least, limit, below)
    rows: dict[str, dict[str, Any]] = {}
    session = plan.session()
    for i, sample in enumerate(inputs):
        tell(i)
        declared = as_declared(plan.bound, sample)
        wanted, got = reference(declared), as_declared(plan.bound, session.run(sample))
        counts = session.counts() if plan.bound.flat.blocks else None
        for block, n in block_runs(plan, counts).items() if counts else ():
            result.blocks[block] = result.blocks.get(block, 0) + n
        for name, judge in found.items():
            judge.take(i, got[name], wanted[name])
            same = same_class(got[name], wanted[name]) or (0, 0)
            result.best_class = [a + b for a, b in zip(result.best_class, same)]
        if meaning is not None and not given and not below and any(j.doubtful(i) for j in found.values()):
            single, double = meaning(declared, "f32"), meaning(declared, "f64")
            for name, judge in found.items():
                judge.allow(i, single[name], double[name])
        for row in layer_errors(plan, sample) if layers else ():
            old = rows.setdefault(row["layer"], row)
            for key in ("largest", "rms"):
                old[key] = max(old[key], row[key])
    result.outputs, result.layers = [j.output() for j in found.values()], list(rows.values())
    return result


def _measure(agreement: Agreement, below: bool) -> float:
    return agreement.rms if below else agreement.largest


class _Judge:
    """What is known of one output so far."""

    def __init__(self, name: str, limit: float, below: bool):
        self.found, self.limit, self.below = Output(name, limit=limit), limit, below
        self.by = "rms" if below else "largest"
        self.channels, self.allowed = Channels(), Channels()
        self._samples: list[_Sample] = []

    def take(self, sample: int, got: Any, wanted: Any) -> None:
        """One sample."""
        got, wanted = comparable(got, wanted)
        agreement = compare(got, wanted)
        if not self._samples or agreement.largest > self.found.agreement.largest:
            self.found.sample, self.found.place = sample, largest_difference(got, wanted)
        self.found.agreement = worst((self.found.agreement, agreement))
        if fits(got, wanted):
            self.channels.add(got, wanted)
        self._samples.append(_Sample(_measure(agreement, self.below), _different(got, wanted), self.limit))

    def doubtful(self, sample: int) -> bool:
        """True where this sample, or a channel up to it, is beyond its limit."""
        channel = self.channels.worst(self.by)
        return self._samples[sample].error > self.limit or \
            channel is not None and _measure(channel.agreement, self.below) > CHANNEL * self.limit

    def allow(self, sample: int, single: Any, double: Any) -> None:
        """Let pass what float32 loses itself: outputs of the net's meaning in float32 and float64 on a sample."""
        single, double = np.asarray(single), np.asarray(double)
        agreement = compare(single, double)
        self.found.float32 = agreement if self.found.float32 is None else worst((self.found.float32, agreement))
        if fits(single, double):
            self.allowed.add(single, double)
        found = self._samples[sample]
        if np.isfinite(agreement.largest):
            found.limit = max(self.limit, CONDITION * agreement.largest)
        elif double.dtype.kind == "f":  # float32 has NaN or infinity where float64 has none, or the other way round
            found.passes = bool(np.isfinite(found.error))
        else:
            found.passes = found.different <= CONDITION * _different(single, double)

    def output(self) -> Output:
        """The output, judged."""
        found = self.found
        found.channel = self.channels.worst(self.by)
        if found.sample < len(self._samples):
            found.limit = self._samples[found.sample].limit
        beyond = [s for s in self._samples if s.error > s.limit and not s.passes]
        if beyond:
            most = max(beyond, key=lambda s: s.error / s.limit if s.limit else s.error)
            found.ok, found.failed = False, Failed("output", most.error, most.limit)
        left = self.channels.worst(self.by, self.allowed, CONDITION)
        if left is not None and _measure(left.agreement, self.below) > CHANNEL * self.limit:
            found.ok, found.channel = False, left
            found.failed = found.failed or Failed("channel", _measure(left.agreement, self.below), CHANNEL * self.limit)
        return found


@dataclass
class _Sample:
    """One output on one sample: `error` by the measure that counts, share of `different` elements, the `limit` of the error.
    `passes`: whatever the limit says."""

    error: float
    different: float
    limit: float
    passes: bool = False


def _different(got: np.ndarray, wanted: np.ndarray) -> float:
    """The share of elements that are not equal; 1 for other shapes."""
    if got.shape != wanted.shape:
        return 1.0
    return float(np.mean(got != wanted)) if got.size else 0.0


# ---- words and tables -----------------------------------------------------------------------------------------------

def sentences(result: Verification, advise_data: bool) -> list[str]:
    """What was found, a sentence each: where outputs differ, what float32 allows, the verdict.

    `advise_data`: the inputs were made up.
    """
    lines = [_where(o, result.below) for o in result.outputs if not o.ok]
    if sensitive := result.sensitive:
        lines.append(f"the model is sensitive: float32 itself loses {sensitive.limit / CONDITION:.1e} here, so up to "
                     f"{sensitive.limit:.1e} is accepted")
    if advise_data and (lines or result.conditioned):
        lines.append("the inputs were random numbers, which need not be like those that the model is made for: give real ones "
                     "with --data FILE.npz")
    if result.blocks:
        ran = ", ".join(f"{block} {n}" for block, n in result.blocks.items() if n)
        lines += [f"runs of blocks on all samples: {ran or 'none'}"]
    if unrun := [block for block, n in result.blocks.items() if not n]:
        lines.append(f"blocks that never ran, so that nothing in them was compared: {', '.join(unrun)}; inputs that reach them "
                     "can be given with --data FILE.npz")
    same, rows = result.best_class
    best = f"; the best class is the same in {same} of {rows} rows" if rows else ""
    return [*lines, f"{_verdict(result)} (accuracy class {result.accuracy}){best}"]


def _verdict(result: Verification) -> str:
    """The test that decides, with its numbers: one that failed, or the largest difference."""
    bad = [(o, o.failed) for o in result.outputs if o.failed is not None and not o.ok]
    if not bad:
        found, limit = max(((_measure(o.second or o.agreement, result.below), o.limit) for o in result.outputs),
                           default=(0.0, result.limit))
        return f"agrees: {_difference(found, result.below)}, limit {_short(limit)}"
    worst_, failed = max(bad, key=lambda one: one[1].found / (one[1].limit or 1.0))
    c = worst_.channel
    what = f"channel {c.number} of axis {c.axis} differs by {failed.found:.2e} relative to {c.over}" \
        if failed.test == "channel" and c is not None else _difference(failed.found, result.below)
    return f"DIFFERS: output {worst_.name!r}: {what}, limit {_short(failed.limit)}"


def _short(limit: float) -> str:
    return f"{limit:.1e}".replace(".0e", "e")


def _difference(found: float, below: bool) -> str:
    if np.isinf(found):
        return "integers, NaN, infinity or the shape are not the same"
    return f"relative RMS difference {found:.2e}" if below else f"largest difference {found:.2e} of the largest output"


def _where(output: Output, below: bool) -> str:
    """One sentence on an output that differs."""
    parts = []
    if output.place is not None:
        p = output.place
        parts.append(f"differs most at {list(p.index)} of sample {output.sample}: got {_number(p.got)}, expected "
                     f"{_number(p.expected)}")
    if output.channel is not None:
        c = output.channel
        parts.append(f"channel {c.number} of axis {c.axis} differs by {_measure(c.agreement, below):.1e} relative to {c.over}")
    return f"output {output.name!r}: " + ("; ".join(parts) or "its shape or element type is another")


def _number(x: Any) -> str:
    return f"{x:.6g}" if isinstance(x, float) else str(x)


def tables(result: Verification, against: str, samples: int) -> list[Any]:
    """The layers, where they were looked at, and the outputs: whole, and the channel that agrees least."""
    from .tables import Column, Table, show_error
    errors = [Column("largest", "largest", show_error, True), Column("rms", "RMS", show_error, True)]
    made: list[Any] = []
    if result.layers:
        made.append(Table([Column("index", "#", right=True), Column("layer", "layer"), Column("kind", "kind", fold=2),
                           Column("routine", "routine"), Column("variant", "variant", fold=3),
                           Column("accuracy", "class", fold=1),
                           *errors], result.layers, "layers, each on exact inputs, against float64"))
    rows = [{"output": o.name, "sample": o.sample, **o.agreement.to_json(),
             "channel": o.channel and f"{o.channel.number} of axis {o.channel.axis}",
             "own": o.channel and _measure(o.channel.agreement, result.below),
             "at": o.place and str(list(o.place.index)), "got": o.place and _number(o.place.got),
             "expected": o.place and _number(o.place.expected)} for o in result.outputs]
    columns = [Column("output", "output"), Column("sample", "worst sample", right=True), *errors,
               Column("channel", "worst channel", fold=1),
               Column("own", "RMS of it" if result.below else "largest of it", show_error, True, fold=2),
               Column("at", "differs most at", fold=3), Column("got", "got", right=True, fold=5),
               Column("expected", "expected", right=True, fold=4)]
    return [*made, Table(columns, rows, f"outputs against {against}, {counted(samples, 'sample')}")]

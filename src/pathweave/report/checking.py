"""Checking an import: what the model computes here against what another engine computes from the original file.

Where an output differs, the first node of the file is looked for whose own result differs although its inputs agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import Error
from ..meaning.evaluate import evaluate
from ..net.floats import numbers_of
from ..runtime.inputs import as_declared
from ..words import counted
from .sources import Node, Source
from .verification import Output, Verification, verify

#: Largest difference over the largest output, by what the file computes in; None: what `verify` takes for class f32. The other
#: engine rounds every value to the narrower type, and pathweave where the model casts.
LIMITS: dict[str, float | None] = {"f32": None, "f16": 2e-2, "bf16": 1e-1, "u8": 5e-2}
#: A second engine is asked where an output is off by this share of its largest number at most, or by so much at all: a few
#: units in the last place of 1, which is what engines lose where they compute a probability near 0 as 0.5 - 0.49999.
ROUNDING, ROUNDING_OF_ONE = 1e-2, 2.0 ** -22


@dataclass
class First:
    """The first node whose result differs although its inputs agree. `value`: which result; `output`: how it differs; `inputs`:
    those of the node by the names of the values; `expected`, `got`: the result; `before`: the largest difference of an input
    that nodes compute, over its largest number, None where there is none."""

    node: Node
    value: str
    output: Output
    inputs: dict[str, np.ndarray]
    expected: np.ndarray
    got: np.ndarray
    before: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {"node": self.node.name, "operator": self.node.operator, "value": self.value, "inputs": self.before,
                **self.output.to_json()}

    def arrays(self) -> dict[str, np.ndarray]:
        """What an .npz file of it holds: the node's inputs by name, `expected:NAME` and `got:NAME`."""
        return {**self.inputs, f"expected:{self.value}": self.expected, f"got:{self.value}": self.got}


@dataclass
class Input:
    """An input over all samples: its sizes, those of each sample once, and its least and largest number."""

    name: str
    dtype: str
    shapes: list[tuple[int, ...]]
    least: float | int
    largest: float | int

    def __str__(self) -> str:
        sizes = " or ".join("x".join(map(str, s)) or "one number" for s in self.shapes[:3])
        more = f" or {len(self.shapes) - 3} others" if len(self.shapes) > 3 else ""
        least, largest = (f"{x:.4g}" if isinstance(x, float) else str(x) for x in (self.least, self.largest))
        return f"{self.name} {self.dtype} {sizes}{more} ({least} to {largest})"


@dataclass
class Check:
    """What was found: the outputs, judged, and where the first difference is; None where all agree or it was not found.
    `advice`: a better engine, as a sentence, or empty. `inputs`: what it ran on."""

    engine: str
    samples: int
    verification: Verification
    advice: str = ""
    inputs: list[Input] = field(default_factory=list)
    second: str | None = None
    first: First | None = None

    @property
    def ok(self) -> bool:
        return self.verification.ok


def check(loaded: Any, source: Source, samples: Iterable[Mapping[str, Any]], count: int, limit: float | None = None,
          tell: Callable[[float, str], None] = lambda share, what: None) -> Check:
    """Compare a model with its source on samples, each of them inputs as a call takes them.

    `loaded`: as it was imported from there. `count`: of the samples. `limit`: see LIMITS. `tell`: progress, (0..1, what is
    done). Raises InputError where the other engine cannot run the model, and what a call of ours raises.
    """
    comparison = _Comparison(source, limit)
    samples = list(samples)
    outputs = list(loaded.main.outputs)
    reached, found = 0, []
    for numbers in _of_one_shape(loaded, samples):
        part = comparison.verified(loaded, [samples[i] for i in numbers], outputs, _telling(tell, reached, count))
        for output in part.outputs:
            output.sample = numbers[output.sample]
        found.append((numbers, part))
        reached += len(numbers)
    total = _together([part for _, part in found])
    result = Check(source.engine, len(samples), total, source.advice, _inputs(loaded, samples), source.second)
    bad = next((o for o in total.outputs if not o.ok), None)
    if bad is not None:
        numbers = next(n for n, _ in found if bad.sample in n)
        if bad.failed is None or bad.failed.test == "output":
            numbers = [bad.sample]
        shown = [as_declared(loaded.bind(loaded.runnable().shapes_of(samples[i])), samples[i]) for i in numbers]
        result.first = _first(_Values(comparison, shown, numbers.index(bad.sample)), bad.name, tell)
    return result


def _of_one_shape(loaded: Any, samples: list[Mapping[str, Any]]) -> list[list[int]]:
    """Numbers of the samples, those of the same sizes together."""
    groups: dict[Any, list[int]] = {}
    for i, sample in enumerate(samples):
        groups.setdefault(tuple(loaded.runnable().shapes_of(sample).items()), []).append(i)
    return list(groups.values())


def _inputs(loaded: Any, samples: list[Mapping[str, Any]]) -> list[Input]:
    """What a check runs on."""
    found = []
    for name, spec in loaded.main.inputs.items():
        arrays = [numbers_of(np.asarray(s[name]), spec.dtype) for s in samples]
        full = [a for a in arrays if a.size] or [np.zeros(1)]
        found.append(Input(name, spec.dtype, list(dict.fromkeys(a.shape for a in arrays)),
                           min(a.min() for a in full).item(), max(a.max() for a in full).item()))
    return found


@dataclass
class _Comparison:
    """A source as reference. `limit`: as it was given, None for those that LIMITS has."""

    source: Source
    limit: float | None

    def verified(self, loaded: Any, samples: Sequence[Mapping[str, Any]], outputs: list[str],
                 tell: Callable[[int], None] = lambda sample: None) -> Verification:
        """A model against the source on samples of one shape. Where the difference may be the engine's own rounding and no
        limit was given, the second engine's opinion counts as well."""
        plan = loaded.plan(shapes=loaded.runnable().shapes_of(samples[0]))
        limit = LIMITS[self.source.precision] if self.limit is None else self.limit

        def against(reference: Callable[[Any], Any]) -> Verification:
            return verify(plan, samples, reference, limit=limit, tell=tell,
                          meaning=lambda inputs, precision: evaluate(loaded.main, inputs, precision))
        found = against(self.source.reference(outputs))
        if self.limit is None and self.source.second is not None and any(map(_by_rounding, found.outputs)):
            try:
                again = against(self.source.reference(outputs, self.source.second))
            except Error:  # it lacks an operator
                return found
            for mine, other in zip(found.outputs, again.outputs):
                if _by_rounding(mine):
                    mine.second, mine.ok = other.agreement, other.ok
        return found


def _by_rounding(output: Output) -> bool:
    """True for an output that differs by so little that either engine may have rounded."""
    p = output.place
    return not output.ok and p is not None and (
        output.agreement.largest <= ROUNDING or isinstance(p.got, float) and abs(p.got - p.expected) <= ROUNDING_OF_ONE)


def _together(found: list[Verification]) -> Verification:
    """One verification of samples of several shapes: of each output the worst."""
    first = found[0]
    for other in found[1:]:
        for mine, output in enumerate(other.outputs):
            old = first.outputs[mine]
            if (not output.ok, output.agreement.largest) > (not old.ok, old.agreement.largest):
                first.outputs[mine] = output
        first.best_class = [a + b for a, b in zip(first.best_class, other.best_class)]
        first.blocks = {b: first.blocks.get(b, 0) + other.blocks.get(b, 0) for b in {**first.blocks, **other.blocks}}
    return first


def _telling(tell: Callable[[float, str], None], done: int, count: int) -> Callable[[int], None]:
    """Progress of samples behind `done` others, in the first half of all."""
    return lambda i: tell(0.5 * (done + i) / max(1, count), f"sample {done + i + 1} of {count}")


class _Values:
    """Values of the graph on samples, here and there; each is compared once. `shown`: the sample that is told of."""

    def __init__(self, comparison: _Comparison, samples: Sequence[Mapping[str, Any]], shown: int):
        self.comparison, self.samples, self.sample, self.source = comparison, samples, samples[shown], comparison.source
        self._known: dict[str, Output | None] = {}

    def found(self, value: str) -> Output | None:
        """How far a value is from the other engine's; None where it cannot be looked at."""
        if value not in self._known:
            try:
                (self._known[value],) = self.comparison.verified(self.source.load([value]), self.samples, [value]).outputs
            except Error:
                self._known[value] = None
        return self._known[value]

    def difference(self, value: str) -> Output | None:
        """How a value differs; None where it agrees, or cannot be looked at."""
        found = self.found(value)
        return None if found is None or found.ok else found


def _first(values: _Values, output: str, tell: Callable[[float, str], None]) -> First | None:
    """The node whose result differs although its inputs agree, among those that an output depends on: halving finds a node
    that differs where the one before agrees, and inputs of it that differ are followed."""
    nodes = values.source.nodes
    producer = {v: i for i, node in enumerate(nodes) for v in node.outputs}
    value = output
    while value in producer:
        chain = sorted(_ancestors(nodes, producer, producer[value]))
        node = nodes[chain[-1]]
        low, high = -1, len(chain) - 1
        while high - low > 1:
            middle = (low + high) // 2
            tell(0.5 + 0.5 * (1 - (high - low) / len(chain)), f"looking for the first difference: {nodes[chain[middle]].name}")
            different = next((v for v in nodes[chain[middle]].outputs if values.difference(v)), None)
            if different is None:
                low = middle
            else:
                high, node, value = middle, nodes[chain[middle]], different
        before = next((v for v in node.inputs if v in producer and values.difference(v)), None)
        if before is None:
            return _told(values, node, value)
        value = before
    return None


def _ancestors(nodes: Any, producer: Mapping[str, int], last: int) -> set[int]:
    """Numbers of the nodes that one depends on, and its own."""
    found, todo = {last}, [last]
    while todo:
        for v in nodes[todo.pop()].inputs:
            i = producer.get(v)
            if i is not None and i not in found:
                found.add(i)
                todo.append(i)
    return found


def _told(values: _Values, node: Node, value: str) -> First | None:
    output = values.difference(value)
    if output is None:
        return None
    source = values.source
    constants = {v: a for v in node.inputs if v and (a := source.constant(v)) is not None}
    made = wanted = [v for v in dict.fromkeys(node.inputs) if v and v not in constants and v not in values.sample]
    try:
        computed = source.reference([*wanted, value])(values.sample)
    except Error:  # a value that the engine does not hand out
        wanted, computed = [], source.reference([value])(values.sample)
    known = {**values.sample, **constants, **{v: computed[v] for v in wanted}}
    got = source.load([value]).run(values.sample)[value]
    before = [o.agreement.largest for v in made if (o := values.found(v)) is not None]
    return First(node, value, output, {v: np.asarray(known[v]) for v in node.inputs if v in known}, np.asarray(computed[value]),
                 np.asarray(got), max(before, default=None))


def sentences(result: Check, made_up: bool) -> list[str]:
    """Where the first difference is, and the verdict. `made_up`: the inputs were random."""
    from .verification import sentences as of_outputs
    lines = of_outputs(result.verification, made_up)
    verdict = lines.pop()
    for o in result.verification.outputs:
        if o.second is not None:
            counts = ": the first rounds more here, so that the second counts" if o.ok else ""
            lines.append(f"output {o.name!r} differs from {result.engine} by {o.agreement.largest:.1e} of its largest number, "
                         f"and from {result.second} by {o.second.largest:.1e}{counts}")
    if result.first is not None:
        first = result.first
        inputs = "its inputs are those of the model" if first.before is None else "its inputs are equal" if not first.before \
            else f"its inputs differ by {first.before:.1e} at most, which is within their limits"
        lines.append(f"the first layer that differs is {first.node.label}: its result {first.value!r} differs by "
                     f"{first.output.agreement.largest:.1e} of its largest number, and {inputs}")
    elif not result.ok:
        lines.append("no single layer was found that differs although its inputs agree")
    lines.append(f"compared on {counted(result.samples, 'sample')}{' of random numbers' if made_up else ''}: "
                 f"{', '.join(map(str, result.inputs))}")
    return [*lines, *([result.advice] if result.advice else []), verdict]

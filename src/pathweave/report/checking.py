"""Checking an import: what the model computes here against what another engine computes from the original file.

Where an output differs, the first node of the file is looked for whose own result differs although its inputs agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import Error
from ..meaning.evaluate import evaluate
from ..runtime.inputs import as_declared
from .sources import Node, Source
from .verification import Output, Verification, verify

#: Largest difference over the largest output, by what the file computes in; None: what `verify` takes for class f32. The other
#: engine rounds every value to the narrower type, and pathweave where the model casts.
LIMITS: dict[str, float | None] = {"f32": None, "f16": 2e-2, "bf16": 1e-1, "u8": 5e-2}


@dataclass
class First:
    """The first node whose result differs although its inputs agree. `value`: which result; `output`: how it differs; `inputs`:
    those of the node by the names of the values; `expected`, `got`: the result."""

    node: Node
    value: str
    output: Output
    inputs: dict[str, np.ndarray]
    expected: np.ndarray
    got: np.ndarray

    def to_json(self) -> dict[str, Any]:
        return {"node": self.node.name, "operator": self.node.operator, "value": self.value, **self.output.to_json()}

    def arrays(self) -> dict[str, np.ndarray]:
        """What an .npz file of it holds: the node's inputs by name, `expected:NAME` and `got:NAME`."""
        return {**self.inputs, f"expected:{self.value}": self.expected, f"got:{self.value}": self.got}


@dataclass
class Check:
    """What was found: the outputs, judged, and where the first difference is; None where all agree or it was not found.
    `advice`: a better engine, as a sentence, or empty."""

    engine: str
    samples: int
    verification: Verification
    advice: str = ""
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
    limit = LIMITS[source.precision] if limit is None else limit
    samples = list(samples)
    outputs = list(loaded.main.outputs)
    found: list[Verification] = []
    reference = source.reference(outputs)
    for i, sample in enumerate(samples):
        tell(0.5 * i / max(1, count), f"sample {i + 1} of {count}")
        found.append(_verified(loaded, sample, reference, limit))
    total = _together(found)
    result = Check(source.engine, len(samples), total, source.advice)
    bad = next((o for o in total.outputs if not o.ok), None)
    if bad is not None:
        sample = samples[bad.sample]
        declared = as_declared(loaded.bind(loaded.runnable().shapes_of(sample)), sample)
        result.first = _first(_Values(source, declared, limit), bad.name, tell)
    return result


def _verified(loaded: Any, sample: Mapping[str, Any], reference: Any, limit: float | None) -> Verification:
    shapes = loaded.runnable().shapes_of(sample)
    plan = loaded.plan(shapes=shapes)
    return verify(plan, [sample], reference, limit=limit,
                  meaning=lambda inputs, precision: evaluate(loaded.main, inputs, precision))


def _together(found: list[Verification]) -> Verification:
    """One verification of several samples: of each output the worst."""
    first = found[0]
    for i, other in enumerate(found):
        for mine, output in zip(range(len(first.outputs)), other.outputs):
            output.sample = i
            old = first.outputs[mine]
            if i and ((not output.ok, output.agreement.largest) > (not old.ok, old.agreement.largest)):
                first.outputs[mine] = output
        if i:
            first.best_class = [a + b for a, b in zip(first.best_class, other.best_class)]
    return first


class _Values:
    """Values of the graph on one sample, here and there; each is compared once."""

    def __init__(self, source: Source, sample: Mapping[str, Any], limit: float | None):
        self.source, self.sample, self.limit = source, sample, limit
        self._known: dict[str, Output | None] = {}

    def difference(self, value: str) -> Output | None:
        """How a value differs; None where it agrees, or cannot be looked at."""
        if value not in self._known:
            try:
                found = _verified(self.source.load([value]), self.sample, self.source.reference([value]), self.limit).outputs[0]
            except Error:
                found = None
            self._known[value] = None if found is None or found.ok else found
        return self._known[value]


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
    wanted = [v for v in dict.fromkeys(node.inputs) if v and v not in constants and v not in values.sample]
    try:
        computed = source.reference([*wanted, value])(values.sample)
    except Error:  # a value that the engine does not hand out
        wanted, computed = [], source.reference([value])(values.sample)
    known = {**values.sample, **constants, **{v: computed[v] for v in wanted}}
    got = source.load([value]).run(values.sample)[value]
    return First(node, value, output, {v: np.asarray(known[v]) for v in node.inputs if v in known}, np.asarray(computed[value]),
                 np.asarray(got))


def sentences(result: Check, made_up: bool) -> list[str]:
    """Where the first difference is, and the verdict. `made_up`: the inputs were random."""
    from .verification import sentences as of_outputs
    lines = of_outputs(result.verification, made_up)
    if result.advice:
        lines.insert(-1, result.advice)
    if result.first is not None:
        first = result.first
        lines.insert(-1, f"the first layer that differs is {first.node.label}: its result {first.value!r} differs by "
                         f"{first.output.agreement.largest:.1e} of its largest number, and its inputs agree")
    elif not result.ok:
        lines.insert(-1, "no single layer was found that differs although its inputs agree")
    return lines

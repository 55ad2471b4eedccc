"""Binding a net to inputs of which some sizes stay open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from operator import is_
from typing import Any, NamedTuple

from ..errors import ShapeError
from ..layers import infer_layer, kind_of
from ..layers.contents import resolve
from ..meaning.open_shapes import OpenShapes
from ..meaning.opened import OpenNet
from ..meaning.partial import FREE_BYTES_BOUND, Folding
from ..net.conditions import Condition, recording
from ..net.dim import Expr, is_unknown, symbols_of
from ..net.net import Layer, Net, TensorSpec
from ..net.scales import Scale
from ._graph import Graph


class _Step(NamedTuple):
    """What came of following a layer: its inputs, the form in which it was understood, and what it made known."""

    layer: Layer
    specs: list[TensorSpec | None]
    contents: list[Any]
    found: Layer
    made: list[TensorSpec]
    made_contents: list[Any]
    asked: list[tuple[list[Condition], Iterable[str]]]
    effort: int


class _Follower(OpenShapes):
    """Follows layers and hands on the form in which each was understood.

    `steps`: by layer name, what came of it before; a layer that is followed with the same inputs is not inferred again.
    """

    def __init__(self, inputs: Mapping[str, TensorSpec], steps: dict[str, _Step]):
        super().__init__(inputs)
        self.understood: Layer | None = None
        self._steps = steps
        self._asked: list[tuple[list[Condition], Iterable[str]]] = []

    def _infer(self, layer: Layer) -> dict[str, TensorSpec] | None:
        self.understood = layer
        return super()._infer(layer)

    def _ask(self, conditions: Iterable[Condition], outputs: Iterable[str]) -> None:
        self._asked.append((list(conditions), list(outputs)))
        super()._ask(*self._asked[-1])

    def take(self, layer: Layer) -> Layer:
        """Follow a layer; as it stands where an input decides on sizes whose contents are not known. Raises ShapeError."""
        specs, contents = [self.specs.get(v) for v in layer.inputs], [self.contents.get(v) for v in layer.inputs]
        step = self._steps.get(layer.name)
        if step is not None and step.layer is layer and step.specs == specs and all(map(is_, step.contents, contents)):
            self._repeat(step)
            return step.found
        self._asked, effort = [], self._effort
        found = self._take(layer)
        # A step that was refused, or that made its inputs simpler, is taken anew each time.
        if layer.name not in self.refusals and all(map(is_, specs, map(self.specs.get, layer.inputs))):
            self._steps[layer.name] = _Step(layer, specs, contents, found, [self.specs[v] for v in layer.outputs],
                                            [self.contents.get(v) for v in layer.outputs], self._asked, self._effort - effort)
        return found

    def _repeat(self, step: _Step) -> None:
        """Make known what a step made known before."""
        self.specs.update(zip(step.layer.outputs, step.made))
        self.contents.update((v, c) for v, c in zip(step.layer.outputs, step.made_contents) if c is not None)
        self._effort += step.effort
        for conditions, outputs in step.asked:
            super()._ask(conditions, outputs)

    def _take(self, layer: Layer) -> Layer:
        self.understood = None
        layer = self._settled(layer)
        self.step(layer)
        if any(v not in self.specs for v in layer.outputs) or self.understood is None:
            return self._take_unknown(layer)
        found = self.understood
        gone = Counter(v for v in layer.inputs if v) - Counter(found.inputs)
        return layer if any(self._is_open(v) for v in gone) else found

    def _settled(self, layer: Layer) -> Layer:
        """A layer with blocks in the form that it has where all sizes that it is given are numbers."""
        kind = kind_of(layer.kind)
        if not kind.nested or not all(v in self.specs and self.specs[v].bound for v in layer.inputs if v):
            return layer
        return kind.settle(layer, [self.specs[v] if v else None for v in layer.inputs])

    def _is_open(self, value: str) -> bool:
        """Whether a run must look at the contents of a value."""
        array = self.contents.get(value)
        return array is None or array.dtype == object and any(map(is_unknown, array.reshape(-1).tolist()))

    def _take_unknown(self, layer: Layer) -> Layer:
        """Follow a layer of which an input says more of the output's sizes than expressions can."""
        layer = resolve(layer, {v: c for v in layer.inputs if v and (c := self.content(v)) is not None})
        if any(v and v not in self.specs for v in layer.inputs):
            raise ShapeError(f"layer {layer.name!r} ({layer.kind}): its shapes are not known while sizes are open")
        conditions: list[Condition] = []
        with recording(conditions):
            outputs = infer_layer(layer, [self.specs[v] if v else None for v in layer.inputs], limited=False)
        self.specs.update((v, TensorSpec(s.dtype, self._own(v, s.dims))) for v, s in zip(layer.outputs, outputs))
        self._ask(conditions, layer.outputs)
        return layer


def bind_open(net: Net, inputs: Mapping[str, TensorSpec], scales: Mapping[str, Scale] | None = None) -> OpenNet:
    """The net for inputs whose sizes are integers or symbols with bounds. `scales`: of calibrated values. The given net is not
    changed.

    Raises ShapeError, or another Error, where it cannot be planned with these sizes open.
    """
    net.check()
    steps: dict[str, _Step] = {}
    folded, origins, assumed = _folded(net, inputs, steps)
    kept: set[str] = set()
    while True:
        graph, follower, layers = _rewritten(folded, kept, {**(scales or {}), **net.scales}, steps)
        # A value may be read for nothing but its sizes: what finds them out must stay.
        made = {v for layer in layers for v in layer.outputs}
        lost = {origins[s.name] for spec in follower.specs.values() for d in spec.dims for s in symbols_of(d)
                if s.name in origins and origins[s.name] not in made} - kept
        if not lost:
            break
        kept |= lost
    result = graph.to_net()
    result.outputs = list(net.outputs)
    specs = dict(follower.specs)
    result.layers = layers = _of_values(layers, graph, specs)
    result.specs = specs
    given = {s.name: (s.low, s.high) for spec in inputs.values() for d in spec.dims for s in symbols_of(d)}
    found = OpenNet(result, given)
    known = set(given)
    for layer in layers:
        for value in layer.outputs:
            for axis, d in enumerate(result.specs[value].dims):
                for s in symbols_of(d):
                    if s.name in known:
                        continue
                    if len(symbols_of(d)) > 1 or isinstance(d, Expr) and d.nodes > 2:
                        raise ShapeError(f"value {value!r}: its size {d} is more than one that a layer finds out")
                    known.add(s.name)
                    found.late[s.name] = value, axis
    found.conditions = [c for c in follower.conditions if c.names() <= known]
    found.asked = {c: follower.conditions[c] for c in found.conditions}
    # of layers that are gone, such as those that were read for nothing but their sizes: what can be asked before a run
    found.conditions += [c for c in assumed if c not in found.asked and c.names() <= given.keys()]
    return found


def _of_values(layers: list[Layer], graph: Graph, specs: dict[str, TensorSpec]) -> list[Layer]:
    """The layers, where one whose inputs are all constants reads a value: a constant is folded as soon as sizes are known, and
    native routines expect that of most kinds. Specs of what is new are added."""
    found: list[Layer] = []
    values: dict[str, str] = {}
    for layer in layers:
        kind, data = kind_of(layer.kind), [v for v in layer.inputs if v]
        settings = getattr(kind, "value_inputs", ())
        first = next((i for i, v in enumerate(layer.inputs) if v and i not in settings), None)
        alone = all(v in graph.constants for v in data) and layer.kind != "identity"
        if first is None or not alone or kind.nested or kind.of_constants or kind.refuses:
            found.append(layer)
            continue
        name = layer.inputs[first]
        if name not in values:
            values[name] = value = graph.fresh(f"{name}:value")
            specs[value] = specs[name]
            found.append(Layer(graph.fresh_layer_name(value), "identity", (name,), (value,)))
        found.append(layer.with_(inputs=(*layer.inputs[:first], values[name], *layer.inputs[first + 1:])))
    return found


def _rewritten(net: Net, kept: set[str], scales: Mapping[str, Scale],
               steps: dict[str, _Step]) -> tuple[Graph, _Follower, list[Layer]]:
    """The net behind all passes, followed; `kept`: values that stay, whoever reads them."""
    from . import passes, run_passes
    outputs = [*net.outputs, *sorted(kept - set(net.outputs))]
    graph = Graph(Net(dict(net.inputs), outputs, list(net.layers), dict(net.constants)), Folding(FREE_BYTES_BOUND))
    graph.scales = dict(scales)
    graph.follow = lambda: _specs(graph, steps)[0].specs
    run_passes(graph, list(passes()), lenient=True)
    return graph, *_specs(graph, steps)


def _folded(net: Net, inputs: Mapping[str, TensorSpec],
            steps: dict[str, _Step]) -> tuple[Net, dict[str, str], list[Condition]]:
    """The net with shape inputs as attributes, and what depends on nothing but known contents as constants; the value that
    each size which a layer finds out is one of, by symbol; and what all layers together assume of sizes."""
    follower = _Follower(inputs, steps)
    for name, array in net.constants.items():
        follower.constant(name, array)
    layers, constants = [], dict(net.constants)
    for layer in net.layers:
        found = follower.take(layer)
        if all(follower.content(v) is not None for v in layer.outputs):
            constants.update((v, follower.contents[v]) for v in layer.outputs)
        else:
            layers.append(found)
    known = {s.name for spec in inputs.values() for d in spec.dims for s in symbols_of(d)}
    origins: dict[str, str] = {}
    for layer in layers:
        for value in layer.outputs:
            for d in follower.specs[value].dims:
                origins.update((s.name, value) for s in symbols_of(d) if s.name not in known | origins.keys())
    return Net(dict(inputs), list(net.outputs), layers, constants), origins, list(follower.conditions)


def _specs(graph: Graph, steps: dict[str, _Step]) -> tuple[_Follower, list[Layer]]:
    follower = _Follower(graph.inputs, steps)
    for name, array in graph.constants.items():
        follower.constant(name, array)
    return follower, [follower.take(layer) for layer in graph.layers()]

"""Binding a net to inputs of which some sizes stay open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

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


@dataclass(frozen=True)
class _Seen:
    """What came of following a layer: `given` are specs and contents of its inputs."""

    layer: Layer
    given: list[tuple[TensorSpec | None, np.ndarray | None]]
    taken: Layer
    specs: dict[str, TensorSpec]
    contents: dict[str, np.ndarray]
    asked: list[Condition]
    effort: int


class _Follower(OpenShapes):
    """Follows layers and hands on the form in which each was understood. `seen`: by the followers of one net before, which
    passes go on changing; what is as it was is not followed again."""

    def __init__(self, inputs: Mapping[str, TensorSpec], seen: dict[str, _Seen]):
        super().__init__(inputs)
        self.understood: Layer | None = None
        self._seen = seen
        self._asked: list[Condition] = []

    def _ask(self, conditions: Iterable[Condition], outputs: Iterable[str]) -> None:
        listed = list(conditions)
        self._asked += listed
        super()._ask(listed, outputs)

    def _infer(self, layer: Layer) -> dict[str, TensorSpec] | None:
        self.understood = layer
        return super()._infer(layer)

    def take(self, layer: Layer) -> Layer:
        """Follow a layer; as it stands where an input decides on sizes whose contents are not known. Raises ShapeError."""
        given = [(self.specs.get(v), self.contents.get(v)) for v in layer.inputs]
        seen = self._seen.get(layer.name)
        if seen is not None and seen.layer is layer and len(seen.given) == len(given) and all(
                content is before and spec == known for (spec, content), (known, before) in zip(given, seen.given)):
            self.specs.update(seen.specs)
            self.contents.update(seen.contents)
            super()._ask(seen.asked, layer.outputs)
            self._effort += seen.effort
            return seen.taken
        self._asked, effort = [], self._effort
        taken = self._take(layer)
        if not kind_of(layer.kind).nested and all(spec is not None or not v for v, (spec, _) in zip(layer.inputs, given)):
            self._seen[layer.name] = _Seen(layer, given, taken, {v: self.specs[v] for v in layer.outputs},
                                           {v: self.contents[v] for v in layer.outputs if v in self.contents}, self._asked,
                                           self._effort - effort)
        return taken

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
    seen: dict[str, _Seen] = {}
    folded, origins, assumed = _folded(net, inputs, seen)
    kept: set[str] = set()
    while True:
        graph, follower, layers = _rewritten(folded, kept, {**(scales or {}), **net.scales}, seen)
        # A value may be read for nothing but its sizes: what finds them out must stay.
        made = {v for layer in layers for v in layer.outputs}
        lost = {origins[s.name] for spec in follower.specs.values() for d in spec.dims for s in symbols_of(d)
                if s.name in origins and origins[s.name] not in made} - kept
        if not lost:
            break
        kept |= lost
    result = graph.to_net()
    result.outputs = list(net.outputs)
    result.specs = dict(follower.specs)
    result.layers = layers = _of_values(layers, graph, result.specs)
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
        alone = first is not None and all(v in graph.constants for v in data) and layer.kind != "identity"
        if not alone or kind.nested or kind.of_constants or kind.refuses:
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
               seen: dict[str, _Seen]) -> tuple[Graph, _Follower, list[Layer]]:
    """The net behind all passes, followed; `kept`: values that stay, whoever reads them."""
    from . import passes, run_passes
    outputs = [*net.outputs, *sorted(kept - set(net.outputs))]
    graph = Graph(Net(dict(net.inputs), outputs, list(net.layers), dict(net.constants)), Folding(FREE_BYTES_BOUND))
    graph.scales = dict(scales)
    graph.follow = lambda: _specs(graph, seen)[0].specs
    run_passes(graph, list(passes()), lenient=True)
    return graph, *_specs(graph, seen)


def _folded(net: Net, inputs: Mapping[str, TensorSpec],
            seen: dict[str, _Seen]) -> tuple[Net, dict[str, str], list[Condition]]:
    """The net with shape inputs as attributes, and what depends on nothing but known contents as constants; the value that
    each size which a layer finds out is one of, by symbol; and what all layers together assume of sizes."""
    follower = _Follower(inputs, seen)
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


def _specs(graph: Graph, seen: dict[str, _Seen]) -> tuple[_Follower, list[Layer]]:
    follower = _Follower(graph.inputs, seen)
    for name, array in graph.constants.items():
        follower.constant(name, array)
    return follower, [follower.take(layer) for layer in graph.layers()]

"""Graph: a net that is being rewritten, with its producers and consumers kept up to date."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..meaning.partial import Folding, Known
from ..net.names import Names
from ..net.net import Layer, Net, TensorSpec
from ..net.scales import Scale

#: Room between the keys of neighbours for layers that come between them.
_GAP = 1 << 40


class _Place:
    """Where a layer stands: keys grow along the order. A place that is given up still knows the next one."""

    __slots__ = ("layer", "key", "before", "behind")

    def __init__(self, layer: Layer | None, key: int):
        self.layer: Any = layer  # None where it is given up
        self.key = key
        self.before = self.behind = self


class Graph:
    """A net under rewriting. Replaced layers keep their place, so that the order stays topological.

    `specs` is filled while passes that need shapes run, else empty; `known` remembers what was inferred for it. Names of net
    outputs never change. `scales` of values are carried along: whose users are given another, equal value hands its scale to
    that, if it has none of its own.
    """

    def __init__(self, net: Net, folding: Folding | None = None):
        self.folding = folding or Folding()
        for array in net.constants.values():
            self.folding.constant(array)
        self.inputs = dict(net.inputs)
        self.outputs = tuple(net.outputs)
        self.constants: dict[str, Any] = dict(net.constants)
        self.specs: dict[str, TensorSpec] = {}
        self.known = Known()
        #: How `specs` are found where some sizes are open; None: those of a bound net.
        self.follow: Callable[[], dict[str, TensorSpec]] | None = None
        self.scales: dict[str, Scale] = dict(net.scales)
        self._output_set = frozenset(net.outputs)
        self._end = _Place(None, 0)  # of a ring: the first place is behind it, the last one before it
        self._place_of: dict[str, _Place] = {}
        self._producer: dict[str, Layer] = {}
        self._consumers: dict[str, dict[str, Layer]] = {}
        self._sorts: dict[str, Counter[tuple[str, bool, bool]]] = {}
        self._values = Names((*net.inputs, *net.constants))
        self._layer_names = Names()
        self._insert(self._end, net.layers)

    def to_net(self) -> Net:
        """The net as it is now, without specs."""
        scales = {v: s for v, s in self.scales.items() if v in self._producer or v in self.inputs or v in self.constants}
        return Net(dict(self.inputs), list(self.outputs), list(self.layers()), dict(self.constants), scales=scales)

    # reading

    def layers(self) -> Iterator[Layer]:
        """Layers in topological order; what is replaced or added meanwhile may be seen, what is removed is not.

        What comes in the place of the layer at hand is not seen.
        """
        place = self._end.behind
        while place is not self._end:
            behind = place.behind
            if place.layer is not None:
                yield place.layer
            place = behind

    def layer(self, name: str) -> Layer:
        """The layer of a name as it is now: its inputs may have got other names."""
        return self._place_of[name].layer

    def alive(self, layer: Layer) -> bool:
        """True while this very layer is part of the net."""
        place = self._place_of.get(layer.name)
        return place is not None and place.layer is layer

    def position(self, layer: Layer) -> int:
        """Place in the topological order, comparable until layers are added."""
        return self._place_of[layer.name].key

    def producer(self, value: str) -> Layer | None:
        """The layer that makes a value; None for inputs and constants."""
        return self._producer.get(value)

    def made_by(self, value: str, *kinds: str) -> Layer | None:
        """The layer that makes a value, if it is of one of these kinds and has no epilogue."""
        layer = self._producer.get(value)
        return layer if layer is not None and layer.kind in kinds and not layer.epilogue else None

    def bare_producer(self, value: str) -> Layer | None:
        """The layer that makes a value, if it has no epilogue."""
        layer = self._producer.get(value)
        return layer if layer is not None and not layer.epilogue else None

    def consumers(self, value: str) -> list[Layer]:
        """The layers that use a value, each once."""
        return list(self._consumers.get(value, {}).values())

    def used(self, value: str) -> bool:
        """True when a layer uses the value."""
        return bool(self._consumers.get(value))

    def sole_consumer(self, value: str) -> Layer | None:
        """The layer that uses a value, where there is just one."""
        users = self._consumers.get(value, {})
        return next(iter(users.values())) if len(users) == 1 else None

    def consumer_sorts(self, value: str) -> list[tuple[str, bool, bool]]:
        """(kind, has an epilogue, has several inputs) of the layers that use a value, each combination once."""
        return list(self._sorts.get(value, ()))

    def is_output(self, value: str) -> bool:
        """True for a value that the net returns."""
        return value in self._output_set

    def private(self, value: str) -> bool:
        """True when exactly one input of one layer uses the value, and the net does not return it."""
        users = self._consumers.get(value, {})
        return len(users) == 1 and value not in self._output_set and \
            next(iter(users.values())).inputs.count(value) == 1

    def constant(self, value: str) -> np.ndarray | None:
        """Array of a constant, None for anything else."""
        return self.constants.get(value)

    def scalar(self, value: str, layer: Layer) -> float | None:
        """The number that an input of a layer is for its other ones; None where it is no constant of one element, or where it
        may give the result more axes than they have.

        A NumPy float64 for a constant of that type, and a Python number else: what is computed from both is a NumPy one.
        """
        array = self.constants.get(value)
        if array is None or array.size != 1 or array.dtype == bool:
            return None
        if array.ndim and all(v not in self.specs or self.specs[v].rank < array.ndim for v in layer.inputs if v != value):
            return None
        return array.reshape(())[()] if array.dtype == np.float64 else array.reshape(()).item()

    def is_dynamic(self, value: str) -> bool:
        """True for a value that is computed or given at run time."""
        return bool(value) and value not in self.constants

    # rewriting

    def fresh(self, base: str) -> str:
        """A value name that nothing else has."""
        return self._values.fresh(base)

    def fresh_layer_name(self, base: str) -> str:
        """A layer name that nothing else has."""
        return self._layer_names.fresh(base)

    def add_constant(self, array: np.ndarray, base: str) -> str:
        """Make an array a constant under a new name."""
        name = self.fresh(base)
        self.constants[name] = array
        return name

    def replace(self, layer: Layer, *new: Layer) -> None:
        """Put layers in the place of one; inputs must be defined before that place."""
        if not new:
            return self._drop(layer)
        place = self._place_of[layer.name]
        self._forget(layer)
        self._note(new[0], place)
        self._insert(place, new[1:])

    def remove(self, *layers: Layer) -> None:
        """Take layers out whose outputs nobody uses any more."""
        for layer in layers:
            self._drop(layer)

    def rename(self, names: Mapping[str, str]) -> None:
        """Make every consumer of some values use others that are defined before them: old name -> new one.

        A new name may be an old one too, for which another stands in turn. Net outputs are not touched. A consumer is
        replaced once, however many of its inputs change.
        """
        def final(v: str) -> str:
            while v in names:
                v = names[v]
            return v
        for old in names:
            if old in self.scales:
                self.scales.setdefault(final(old), self.scales[old])
        affected = {layer.name: layer for old in names for layer in self.consumers(old)}
        for layer in affected.values():
            self.replace(layer, layer.with_(inputs=tuple(final(v) if v in names else v for v in layer.inputs)))

    def bypass(self, layer: Layer, source: str | None = None) -> bool:
        """Take out a layer whose (first) output equals `source`, by default its first input; False where it must stay.

        It must stay where its output is a net output and the source cannot take that name.
        """
        source, value = source or layer.inputs[0], layer.outputs[0]
        if not self.is_output(value):
            return self.bypass_all([(layer, source)])
        maker = self.producer(source)
        if maker is None or self.is_output(source):
            return False
        self._drop(layer)
        self.rename({source: value})
        maker = self.layer(maker.name)
        self.replace(maker, maker.with_(outputs=tuple(value if v == source else v for v in maker.outputs)))
        return True

    def bypass_all(self, found: Sequence[tuple[Layer, str]]) -> bool:
        """Take out layers, each with the value that its (first) output equals; True where there are any.

        No output may be one of the net.
        """
        self.rename({layer.outputs[0]: source for layer, source in found})
        for layer, _ in found:
            self._drop(self.layer(layer.name))
        return bool(found)

    def prune_constants(self) -> bool:
        """Drop constants that nobody uses."""
        unused = [c for c in self.constants if not self._consumers.get(c) and c not in self._output_set]
        for c in unused:
            del self.constants[c]
        return bool(unused)

    def make_constant(self, value: str, array: np.ndarray) -> None:
        """Turn a value whose producer is gone into a constant of the same name."""
        self.constants[value] = array

    def _insert(self, place: _Place, layers: Sequence[Layer]) -> None:
        """Put layers behind a place."""
        last = place.behind
        room = _GAP if last is self._end else (last.key - place.key) // (len(layers) + 1)
        for layer in layers:
            new = _Place(layer, place.key + room)
            new.before, new.behind = place, last
            place.behind = last.before = new
            self._note(layer, new)
            place = new
        if not room:
            self._number()

    def _number(self) -> None:
        key, place = 0, self._end.behind
        while place is not self._end:
            key += _GAP
            place.key, place = key, place.behind

    def _note(self, layer: Layer, place: _Place) -> None:
        """Fill a place."""
        place.layer = layer
        self._place_of[layer.name] = place
        self._layer_names.add(layer.name)
        for v in layer.outputs:
            self._producer[v] = layer
            self._values.add(v)
        sort = _sort(layer)
        for v in set(layer.inputs) - {""}:
            self._consumers.setdefault(v, {})[layer.name] = layer
            self._sorts.setdefault(v, Counter())[sort] += 1

    def _drop(self, layer: Layer) -> None:
        place = self._place_of[layer.name]
        self._forget(layer)
        place.layer = None
        place.before.behind, place.behind.before = place.behind, place.before

    def _forget(self, layer: Layer) -> None:
        """Empty the place of a layer."""
        del self._place_of[layer.name]
        for v in layer.outputs:
            if self._producer.get(v) is layer:
                del self._producer[v]
        sort = _sort(layer)
        for v in set(layer.inputs) - {""}:
            if self._consumers[v].pop(layer.name, None) is not None:
                self._sorts[v][sort] -= 1
                if not self._sorts[v][sort]:
                    del self._sorts[v][sort]


def _sort(layer: Layer) -> tuple[str, bool, bool]:
    return layer.kind, bool(layer.epilogue), len(layer.inputs) > 1

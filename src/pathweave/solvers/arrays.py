"""An instance as plain arrays, for the methods that walk over choices instead of eliminating variables.

A value's price is looked up in `trees[value, produced format, set of needed formats]`, sets as bit masks. Impossible
conversions cost `big`, a finite number above any sensible route.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from .contract import Candidate, Instance, LayerChoices
from .conversion import closure, subsets, tree_prices
from .dominance import representatives
from .encode import cost_scale

#: More needed formats than this per value make the tables of sets too large.
MAX_FORMATS = 10


class LayerArrays(NamedTuple):
    """`candidates` by representative; `costs` [c]; `ins` values and `needs` [c, port] index of the needed format;
    `values` distinct inputs and `masks` [c, value] sets of needed formats; `outs` values, `makes` [c, out] index of the
    produced format."""

    candidates: list[Candidate]
    costs: np.ndarray
    ins: np.ndarray
    needs: np.ndarray
    values: np.ndarray
    masks: np.ndarray
    outs: np.ndarray
    makes: np.ndarray


class Arrays:
    """See the module. `fixed` [value]: set of formats that the caller needs; `made` [value]: 0 (graph inputs)."""

    def __init__(self, instance: Instance):
        self.instance = instance
        layers = instance.layers
        best = [list(representatives(layer.candidates).values()) for layer in layers]
        names = sorted(instance.inputs) + [v for layer in layers for v in layer.outputs]
        self.index = {v: i for i, v in enumerate(names)}
        needed: list[set[str]] = [set() for _ in names]
        made: list[set[str]] = [set() for _ in names]
        for value, fmt in instance.outputs.items():
            needed[self.index[value]].add(fmt)
        for value, fmt in instance.inputs.items():
            made[self.index[value]].add(fmt)
        for layer, found in zip(layers, best):
            for port, value in enumerate(layer.inputs):
                needed[self.index[value]].update({c.ins[port] for c in found})
            for port, value in enumerate(layer.outputs):
                made[self.index[value]].update({c.outs[port] for c in found})
        self.needed = [{f: i for i, f in enumerate(sorted(s))} for s in needed]
        self.made = [{f: i for i, f in enumerate(sorted(s))} for s in made]
        self.formats = max((len(s) for s in needed), default=0)
        self.fixed = np.zeros(len(names), np.int64)
        for value, fmt in instance.outputs.items():
            self.fixed[self.index[value]] |= 1 << self.needed[self.index[value]][fmt]
        self.trees = self._trees(names) if self.formats <= MAX_FORMATS else None
        self.layers = [self._layer(layer, found) for layer, found in zip(layers, best)]

    @property
    def tables(self) -> np.ndarray:
        """`trees`, of an instance that has them."""
        assert self.trees is not None
        return self.trees

    def _trees(self, names: list[str]) -> np.ndarray:
        """[value, produced, set]"""
        scale = cost_scale(self.instance)
        makers = max((len(s) for s in self.made), default=0)
        trees = np.full((len(names), makers, 1 << self.formats), np.inf)
        known: dict[tuple, np.ndarray] = {}
        for v, name in enumerate(names):
            table = self.instance.adapts.get(name, {})
            key = (frozenset(table.items()), tuple(self.needed[v]), tuple(self.made[v]))
            if key not in known:
                nodes = sorted({f for pair in table for f in pair} | set(self.needed[v]) | set(self.made[v]))
                place = {f: i for i, f in enumerate(nodes)}
                prices = tree_prices(closure(table, nodes, scale, 1.0), [place[f] for f in self.needed[v]],
                                     len(self.needed[v])) if self.needed[v] else np.zeros((0, len(nodes)))
                block = np.full((len(self.made[v]), 1 << self.formats), np.inf)
                block[:, 0] = 0.0
                masks = subsets(len(self.needed[v]), len(self.needed[v])) if self.needed[v] else ()
                block[:, list(masks)] = prices.real[:, [place[f] for f in self.made[v]]].T / scale
                known[key] = block
            trees[v, :len(known[key])] = known[key]
        finite = trees[np.isfinite(trees)]
        self.big = 10.0 * (1.0 + len(names) * float(finite.max(initial=0.0))
                           + sum(max(c.cost for c in layer.candidates) for layer in self.instance.layers))
        trees[~np.isfinite(trees)] = self.big
        return trees

    def _layer(self, layer: LayerChoices, found: list[Candidate]) -> LayerArrays:
        ins = np.array([self.index[v] for v in layer.inputs], np.int64)
        outs = np.array([self.index[v] for v in layer.outputs], np.int64)
        needs = np.array([[self.needed[v][f] for v, f in zip(ins, c.ins)] for c in found],
                         np.int64).reshape(len(found), len(ins))
        makes = np.array([[self.made[v][f] for v, f in zip(outs, c.outs)] for c in found],
                         np.int64).reshape(len(found), len(outs))
        values, where = np.unique(ins, return_inverse=True)
        masks = np.zeros((len(found), len(values)), np.int64)
        for port, u in enumerate(where):
            masks[:, u] |= 1 << needs[:, port]
        return LayerArrays(found, np.array([c.cost for c in found]), ins, needs, values, masks, outs, makes)

    def choice(self, picks: Iterable[int]) -> dict[str, Candidate]:
        """Layer -> candidate, from the index of each layer's candidate."""
        return {layer.name: own.candidates[int(i)] for layer, own, i in zip(self.instance.layers, self.layers, picks)}

    def picks(self, choice: Mapping[str, Candidate]) -> np.ndarray:
        """Indices of the candidates of a choice; of a candidate that is no representative: the one with its ports."""
        found = []
        for layer, own in zip(self.instance.layers, self.layers):
            ports = [(c.ins, c.outs) for c in own.candidates]
            found.append(ports.index((choice[layer.name].ins, choice[layer.name].outs)))
        return np.array(found, np.int64)

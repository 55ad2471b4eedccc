"""An instance as a sum of tables over discrete variables: what elimination works on.

Variables and how they keep tables small:

- the format of each port of a layer, where the layer's table over its ports is small; else one variable for the layer,
  whose states are its candidates (a concatenation of twenty values has few candidates and a huge table);
- for a value with more than two consumers, the *set* of formats in which it is made available. A consumer asks only
  whether its format is in the set, so that consumers do not meet in one table.

Prices are complex (see conversion.py): real = cost in integer units, so that sums are exact in any order; imaginary =
conversions, then bytes. A layer's states are its port formats: only the cheapest candidate of each matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import frexp, isfinite, ldexp, prod
from typing import NamedTuple

import numpy as np

from ..errors import SolverError
from .contract import Candidate, Instance, LayerChoices
from .conversion import INFINITE, closure, subset_count, subsets, tree_prices
from .dominance import by_cost, consumed_values, representatives
from .evaluate import evaluate

#: One conversion weighs as much as this many memory units when costs are equal: more than all memory together.
CONVERSION = 2.0 ** 38
#: A layer's table over its ports may have this many entries; beyond that (and beyond three ports) it is one variable.
SMALL_TABLE = 600
#: More sets of formats than this for one value are not enumerated.
MAX_SETS = 1 << 13


#: The variables of a factor; formats of a layer's active ports -> representative.
Scope = tuple[int, ...]
Options = dict[tuple[str, ...], Candidate]


class TooWide(Exception):
    """The instance has a value with too many sets of formats to enumerate."""


class Port(NamedTuple):
    """A format that depends on a variable: `formats[state of var]`; `var` is None for a format that is fixed."""

    var: int | None
    formats: tuple[str, ...]


class EncodedLayer(NamedTuple):
    """`options`: formats of the active ports -> representative. `active`: indices of the ports that are variables or
    that the layer's variable decides. `var`: the layer's variable, None when its ports are variables (`ports`)."""

    options: dict[tuple[str, ...], Candidate]
    active: tuple[int, ...]
    var: int | None
    ports: tuple[int, ...]


class Encoding:
    """Variables (`sizes`) and factors (`scopes`) of an instance; `tables(position)` computes the factors.

    `scale`: integer units per unit of cost, known once the tables are. Raises TooWide.
    """

    scale = 1.0

    def __init__(self, instance: Instance):
        self.instance = instance
        self.sizes: list[int] = []
        self.scopes: list[tuple[int, ...]] = []
        self.layers: list[EncodedLayer] = []
        self.layer_factor: dict[str, int] = {}
        self.consumers: dict[str, list[Port]] = {value: [Port(None, (fmt,))] for value, fmt in instance.outputs.items()}
        self.producer: dict[str, Port] = {value: Port(None, (fmt,)) for value, fmt in instance.inputs.items()}
        self._builders: list[tuple] = []
        used = consumed_values(instance)
        for layer in instance.layers:
            self._add_layer(layer, used)
        for value in sorted(instance.inputs):
            self._add_value(value)
        for layer in instance.layers:
            for value in layer.outputs:
                self._add_value(value)

    # -- structure ---------------------------------------------------------------------------------------------------

    def _variable(self, size: int) -> int:
        self.sizes.append(size)
        return len(self.sizes) - 1

    def _add_layer(self, layer: LayerChoices, used: set[str]) -> None:
        best = representatives(layer.candidates)
        values = layer.inputs + layer.outputs
        columns = list(zip(*(ins + outs for ins, outs in best)))
        domains = [tuple(sorted(set(column))) for column in columns]
        active = tuple(i for i, d in enumerate(domains) if len(d) > 1 and values[i] in used)
        options = _options(best, active, len(values))
        keys = tuple(options)
        size = prod(len(domains[i]) for i in active)
        ports = [Port(None, d[:1]) for d in domains]
        var: int | None = None
        port_vars: tuple[int, ...] = ()
        if active and (size <= SMALL_TABLE or len(active) <= 3):
            port_vars = tuple(self._variable(len(domains[i])) for i in active)
            for i, x in zip(active, port_vars):
                ports[i] = Port(x, domains[i])
            self._factor(port_vars, ("ports", options, tuple(domains[i] for i in active)))
        elif active:
            var = self._variable(len(keys))
            for column, i in enumerate(active):
                ports[i] = Port(var, tuple(key[column] for key in keys))
            self._factor((var,), ("options", options))
        else:
            self._factor((), ("options", options))
        if port_vars:
            self.layer_factor[layer.name] = len(self.scopes) - 1
        self.layers.append(EncodedLayer(options, active, var, port_vars))
        for i, value in enumerate(values):
            if i < len(layer.inputs):
                self.consumers.setdefault(value, []).append(ports[i])
            else:
                self.producer[value] = ports[i]

    def _factor(self, scope: tuple[int, ...], builder: tuple) -> None:
        self.scopes.append(tuple([x for x in scope if self.sizes[x] > 1]))
        self._builders.append((scope, *builder))

    def _add_value(self, value: str) -> None:
        """Factors that price the conversions of one value."""
        if value not in self.consumers:
            return
        made = self.producer[value]
        fixed = tuple(sorted({p.formats[0] for p in self.consumers[value] if p.var is None}))
        free = sorted({p for p in self.consumers[value] if p.var is not None})
        if made.var is None and not free and set(fixed) <= {made.formats[0]}:
            return
        if len(free) <= 2:
            ports = ([made] if made.var is not None else []) + free
            scope: tuple[int, ...] = tuple(sorted({p.var for p in ports if p.var is not None}))
            self._factor(scope, ("tree", value, made, tuple(free), fixed))
            return
        goals = tuple(sorted({f for p in free for f in p.formats} | set(fixed)))
        if subset_count(len(goals), len(free) + len(fixed)) > MAX_SETS:
            raise TooWide(value)
        masks = _useful_sets(goals, free, fixed)
        available = self._variable(len(masks))
        scope = (available,) if made.var is None else (made.var, available)
        self._factor(scope, ("sets", value, made, goals, len(free) + len(fixed), masks))
        for port in free:
            assert port.var is not None
            self._factor((port.var, available), ("member", port, goals, masks))

    # -- tables ------------------------------------------------------------------------------------------------------

    def tables(self, position: Sequence[int]) -> list[tuple[tuple[int, ...], np.ndarray]]:
        """Factors as (scope, table), both sorted by `position` (of each variable in the elimination order)."""
        builder = _Tables(self)
        self.scale = builder.scale
        return [builder.build(i, position) for i in range(len(self.scopes))]

    def decode(self, states: Sequence[int]) -> dict[str, Candidate]:
        """Layer -> candidate, from the state of every variable."""
        choice = {}
        for layer, encoded in zip(self.instance.layers, self.layers):
            if encoded.var is not None:
                key = list(encoded.options)[states[encoded.var]]
            else:
                key = tuple(d[states[x]] for x, d in zip(encoded.ports, self._domains(layer.name)))
            choice[layer.name] = encoded.options[key]
        return choice

    def _domains(self, name: str) -> tuple[tuple[str, ...], ...]:
        factor = self.layer_factor.get(name)
        return () if factor is None else self._builders[factor][3]

    def option_prices(self, name: str, encoded: EncodedLayer, table: np.ndarray | None) -> dict[tuple[str, ...], float]:
        """Formats of the active ports -> entry of a table over the layer's variables (in the layer's order)."""
        if table is None:
            return {key: 0.0 for key in encoded.options}
        if encoded.var is not None:
            return dict(zip(encoded.options, table.tolist()))
        index = [{f: i for i, f in enumerate(d)} for d in self._domains(name)]
        return {key: float(table[tuple(m[f] for m, f in zip(index, key))]) for key in encoded.options}


def _options(best: dict, active: tuple[int, ...], ports: int) -> dict[tuple[str, ...], Candidate]:
    """Representatives by the formats of the active ports."""
    if len(active) == ports:
        return {ins + outs: c for (ins, outs), c in best.items()}
    options: dict[tuple[str, ...], Candidate] = {}
    for (ins, outs), c in best.items():
        both = ins + outs
        key = tuple(both[i] for i in active)
        other = options.get(key)
        if other is None or by_cost(c) < by_cost(other):
            options[key] = c
    return options


def _useful_sets(goals: tuple[str, ...], free: list[Port], fixed: tuple[str, ...]) -> tuple[int, ...]:
    """Sets of available formats that hold the fixed ones and something for every consumer, no larger than needed."""
    bit = {f: 1 << i for i, f in enumerate(goals)}
    must = sum(bit[f] for f in fixed)
    domains = {sum(bit[f] for f in set(p.formats)) for p in free}
    return tuple(m for m in subsets(len(goals), len(free) + len(fixed))
                 if m & must == must and all(m & d for d in domains))


class _Tables:
    """Computes the tables of an encoding; equal tables are computed once."""

    def __init__(self, encoding: Encoding):
        self.encoding = encoding
        self.adapts = encoding.instance.adapts
        self.scale = cost_scale(encoding.instance)
        memory = sum(max(c.memory for c in layer.options.values()) for layer in encoding.layers)
        self.memory_scale = min(1.0, 2.0 ** (37 - frexp(memory)[1]))
        self._same: dict[int, int] = {}         # id of a conversion table -> number of its content
        self._contents: dict[frozenset, int] = {}
        self._closures: dict[tuple, tuple[dict[str, int], np.ndarray]] = {}
        self._known: dict[tuple, np.ndarray] = {}
        self._places: dict[tuple, np.ndarray] = {}

    def build(self, i: int, position: Sequence[int]) -> tuple[tuple[int, ...], np.ndarray]:
        """Factor i, its axes sorted by position."""
        scope = self.encoding.scopes[i]
        full_scope, kind, *args = self.encoding._builders[i]
        table = getattr(self, "_" + kind)(full_scope, *args)
        table = table.reshape([self.encoding.sizes[x] for x in scope])
        order = sorted(range(len(scope)), key=lambda axis: position[scope[axis]])
        if order != list(range(len(scope))):
            table = table.transpose(order)
            scope = tuple(scope[axis] for axis in order)
        return scope, table

    def _costs(self, options: dict[tuple[str, ...], Candidate]) -> np.ndarray:
        costs = np.array([(c.cost, c.memory) for c in options.values()])
        costs[:, 0] *= self.scale
        costs[:, 1] *= self.memory_scale
        return np.rint(costs, out=costs).view(complex).ravel()

    def _options(self, scope: Scope, options: Options) -> np.ndarray:
        return self._costs(options)

    def _ports(self, scope: Scope, options: Options, domains: tuple[tuple[str, ...], ...]) -> np.ndarray:
        keys = (tuple(options), domains)
        places = self._places.get(keys)
        if places is None:
            strides, stride = [], 1
            for d in reversed(domains):
                strides.append({f: i * stride for i, f in enumerate(d)})
                stride *= len(d)
            strides.reverse()
            places = np.array([sum(s[f] for s, f in zip(strides, key)) for key in options])
            self._places[keys] = places
        table = np.full(prod(map(len, domains)), INFINITE)
        table[places] = self._costs(options)
        return table.reshape([len(d) for d in domains])

    def _content(self, value: str) -> int:
        """A number for the conversion table of a value, the same for equal tables."""
        table = self.adapts.get(value, {})
        number = self._same.get(id(table))
        if number is None:
            number = self._contents.setdefault(frozenset(table.items()), len(self._contents))
            self._same[id(table)] = number
        return number

    def _closure(self, value: str, formats: set[str]) -> tuple[dict[str, int], np.ndarray]:
        """Format -> index, and the price of the cheapest chain between any two, for one value."""
        table = self.adapts.get(value, {})
        key = (self._content(value), frozenset(formats))
        if key not in self._closures:
            nodes = sorted(formats | {f for pair in table for f in pair})
            self._closures[key] = ({f: i for i, f in enumerate(nodes)}, closure(table, nodes, self.scale, CONVERSION))
        return self._closures[key]

    def _tree(self, scope: Scope, value: str, made: Port, free: tuple[Port, ...], fixed: tuple[str, ...]) -> np.ndarray:
        axes = {x: axis for axis, x in enumerate(scope)}
        key = ("tree", self._content(value), made.formats, None if made.var is None else axes[made.var], fixed,
               tuple((p.formats, axes[p.var]) for p in free if p.var is not None))
        table = self._known.get(key)
        if table is None:
            index, price = self._closure(value, {f for p in (made, *free) for f in p.formats} | set(fixed))

            def rows(port: Port) -> np.ndarray:
                shape = [1] * max(len(scope), 1)
                if port.var is not None:
                    shape[axes[port.var]] = -1
                return np.array([index[f] for f in port.formats]).reshape(shape)

            root, targets = rows(made), [rows(p) for p in free]
            if not free or fixed and not (made.var is None and set(fixed) <= set(made.formats)):
                table = self._tree_with_fixed(price, root, targets, [index[f] for f in fixed])
            elif len(targets) == 1:
                table = price[root, targets[0]]
            else:
                table = _two_targets(price, root, *targets)
            table = self._known[key] = table.reshape([self.encoding.sizes[x] for x in scope])
        return table

    @staticmethod
    def _tree_with_fixed(price: np.ndarray, root: np.ndarray, targets: list[np.ndarray], fixed: list[int]) -> np.ndarray:
        """Trees to one or two free formats and some that are always needed."""
        goals = sorted({int(i) for t in targets for i in t.ravel()} | set(fixed))
        trees = tree_prices(price, goals, len(targets) + len(fixed))
        masks = np.array(subsets(len(goals), len(targets) + len(fixed)))
        by_number = np.argsort(masks)
        bit = np.zeros(len(price), int)
        bit[goals] = 1 << np.arange(len(goals))
        mask = np.array(sum(1 << goals.index(f) for f in fixed))
        for t in targets:
            mask = mask | bit[t]
        return trees[by_number[np.searchsorted(masks[by_number], mask)], root]

    def _sets(self, scope: Scope, value: str, made: Port, goals: tuple[str, ...], largest: int,
              masks: tuple[int, ...]) -> np.ndarray:
        key = ("sets", self._content(value), made.formats, goals, largest, masks)
        table = self._known.get(key)
        if table is None:
            index, price = self._closure(value, set(goals) | set(made.formats))
            trees = tree_prices(price, [index[f] for f in goals], largest)
            row = {m: i for i, m in enumerate(subsets(len(goals), largest))}
            table = trees[[row[m] for m in masks]][:, [index[f] for f in made.formats]].T
            table = self._known[key] = np.ascontiguousarray(table if made.var is not None else table[0])
        return table

    def _member(self, scope: Scope, port: Port, goals: tuple[str, ...], masks: tuple[int, ...]) -> np.ndarray:
        key = ("member", port.formats, goals, masks)
        table = self._known.get(key)
        if table is None:
            bits = np.array([1 << goals.index(f) for f in port.formats])
            table = self._known[key] = np.where(bits[:, None] & np.array(masks), 0, INFINITE)
        return table


def _two_targets(price: np.ndarray, root: np.ndarray, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Cheapest trees to two formats: a stem to where the paths part, over all places to part."""
    return (price.T[:, root] + price[:, one] + price[:, two]).min(axis=0)


def cost_scale(instance: Instance) -> float:
    """Integer units per unit of cost: a power of two such that no sensible route exceeds 2**51 units."""
    low = high = 0.0
    for layer in instance.layers:
        costs = [c.cost for c in layer.candidates]
        low += min(costs)
        high += max(costs)
    edges: dict[int, float] = {}
    for table in instance.adapts.values():
        if id(table) not in edges:
            nodes = len({f for pair in table for f in pair})
            edges[id(table)] = nodes * max((c for c in table.values() if isfinite(c)), default=0.0)
        high += edges[id(table)]
    if high > 4096 * low:
        high = min(high, _some_route(instance))
    return ldexp(1.0, 51 - frexp(high)[1]) if high > 0 else 1.0


def _some_route(instance: Instance) -> float:
    """Price of a plain choice (each layer's cheapest), infinite where its values cannot be converted."""
    choice = {layer.name: min(layer.candidates, key=lambda c: (c.cost, c)) for layer in instance.layers}
    try:
        return evaluate(instance, choice).cost
    except SolverError:
        return float("inf")

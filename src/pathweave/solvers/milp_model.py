"""The instance as a mixed-integer linear programme, compact: no product of candidates, values and consumers.

Columns: x[layer, candidate] (binary); per value and format a = made available, u = depth in the conversion tree; per
value and conversion z (binary). Rows: one candidate per layer; a consumer's candidates of one format together <= a; a
<= made in that format + conversions into it; z <= a of its source; depths rise along conversions, so that none feeds
itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .contract import Candidate, Instance
from .conversion import closure
from .dominance import consumed_values, representatives
from .encode import cost_scale


class Model:
    """Columns and rows (in row-wise sparse form) of an instance, and the translation of choices."""

    def __init__(self, instance: Instance):
        self.instance = instance
        self.cost: list[float] = []
        self.integer: list[bool] = []
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.row_lower: list[float] = []
        self.row_upper: list[float] = []
        self.starts: list[int] = [0]
        self.index: list[int] = []
        self.value: list[float] = []
        self.layers: list[tuple[list[Candidate], int]] = []
        #: value -> (formats, first column of a, {(from, to): column of z}, first column of u)
        self.values: dict[str, tuple[list[str], int, dict[tuple[str, str], int], int]] = {}
        self._scale = cost_scale(instance)
        self._fill()

    @staticmethod
    def entries(instance: Instance) -> int:
        """About how many entries the matrix will have."""
        ports = sum(len(layer.inputs) * len(layer.candidates) for layer in instance.layers)
        return 2 * ports + 9 * sum(len(table) for table in instance.adapts.values())

    def _columns(self, costs: Sequence[float], integer: bool, upper: float = 1.0) -> int:
        first = len(self.cost)
        self.cost += costs
        self.integer += [integer] * len(costs)
        self.lower += [0.0] * len(costs)
        self.upper += [upper] * len(costs)
        return first

    def _row(self, entries: dict[int, float], lower: float, upper: float) -> None:
        self.index += entries
        self.value += entries.values()
        self.starts.append(len(self.index))
        self.row_lower.append(lower)
        self.row_upper.append(upper)

    def _fill(self) -> None:
        needed: dict[str, set[str]] = {v: {f} for v, f in self.instance.outputs.items()}
        made: dict[str, dict[str, list[int]]] = {v: {f: []} for v, f in self.instance.inputs.items()}
        for layer in self.instance.layers:
            found = list(representatives(layer.candidates).values())
            first = self._columns([c.cost for c in found], True)
            self.layers.append((found, first))
            self._row({first + i: 1.0 for i in range(len(found))}, 1.0, 1.0)
            for port, v in enumerate(layer.inputs):
                needed.setdefault(v, set()).update(c.ins[port] for c in found)
            for port, v in enumerate(layer.outputs):
                made[v] = {}
                for i, c in enumerate(found):
                    made[v].setdefault(c.outs[port], []).append(first + i)
        used = consumed_values(self.instance)
        for v, producers in made.items():
            if v in used:
                self._add_value(v, producers, needed[v])
        for layer, (found, first) in zip(self.instance.layers, self.layers):
            for v in sorted(set(layer.inputs)):
                self._add_needs(v, [{f for f, w in zip(c.ins, layer.inputs) if w == v} for c in found], first)

    def _add_needs(self, v: str, needs: list[set[str]], first: int) -> None:
        """Rows: the candidates of one layer that need value v in a format <= that format available."""
        formats, a, _, _ = self.values[v]
        for f in sorted(set().union(*needs)):
            users = [first + i for i, need in enumerate(needs) if f in need]
            if len(users) == len(needs):
                self.lower[a + formats.index(f)] = 1.0
            else:
                self._row({**{x: 1.0 for x in users}, a + formats.index(f): -1.0}, -np.inf, 0.0)

    def _add_value(self, v: str, producers: dict[str, list[int]], needed: set[str]) -> None:
        table = self.instance.adapts.get(v, {})
        formats = sorted({f for pair in table for f in pair} | needed | set(producers))
        place = {f: i for i, f in enumerate(formats)}
        shortest = closure(table, formats, self._scale, 1.0)
        arcs = [(f, g) for f, g in sorted(table) if shortest[place[f], place[g]].imag == 1.0
                and any(np.isfinite(shortest[place[p], place[f]].real) for p in producers)
                and any(np.isfinite(shortest[place[g], place[n]].real) for n in needed)]
        a = self._columns([0.0] * len(formats), False)
        z = self._columns([float(table[arc]) for arc in arcs], True)
        u = self._columns([0.0] * len(formats), False, float(len(formats)))
        columns = {arc: z + i for i, arc in enumerate(arcs)}
        self.values[v] = (formats, a, columns, u)
        if v in self.instance.outputs:
            self.lower[a + place[self.instance.outputs[v]]] = 1.0
        for g in formats:
            row = {a + place[g]: 1.0}
            row.update((columns[arc], -1.0) for arc in arcs if arc[1] == g)
            row.update((x, -1.0) for x in producers.get(g, ()))
            given = 1.0 if producers.get(g) == [] else 0.0
            self._row(row, -np.inf, given)
        for (f, g), column in columns.items():
            self._row({column: 1.0, a + place[f]: -1.0}, -np.inf, 0.0)
            self._row({u + place[f]: 1.0, u + place[g]: -1.0, column: float(len(formats))}, -np.inf, len(formats) - 1.0)

    def start(self, choice: dict[str, Candidate], conversions: list[tuple[str, str, str]]) -> np.ndarray:
        """Column values of a priced choice."""
        columns = np.zeros(len(self.cost))
        available: dict[str, dict[str, int]] = {v: {f: 0} for v, f in self.instance.inputs.items()}
        for layer, (found, first) in zip(self.instance.layers, self.layers):
            chosen = choice[layer.name]
            ports = [(c.ins, c.outs) for c in found]
            columns[first + ports.index((chosen.ins, chosen.outs))] = 1.0
            available.update({v: {f: 0} for v, f in zip(layer.outputs, chosen.outs)})
        for v, f, g in conversions:
            available[v][g] = available[v][f] + 1
            if (f, g) in self.values[v][2]:
                columns[self.values[v][2][f, g]] = 1.0
        for v, (formats, a, _, u) in self.values.items():
            for i, f in enumerate(formats):
                if f in available[v]:
                    columns[a + i], columns[u + i] = 1.0, available[v][f]
        return columns

    def choice(self, columns: Sequence[float]) -> dict[str, Candidate]:
        """The choice that column values stand for."""
        picked = {}
        for layer, (found, first) in zip(self.instance.layers, self.layers):
            share = list(columns[first:first + len(found)])
            picked[layer.name] = found[share.index(max(share))]
        return picked

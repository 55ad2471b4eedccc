"""Lower bound for graphs that are too wide for elimination: block-coordinate ascent on a Lagrangian dual.

Every layer and every value is solved for itself; messages m[format, port] (and n[format, value] for what the producer
makes) shift cost between a layer and the values that it touches, so that the two agree. The sum of the separate minima
is a lower bound for any messages. A sweep visits the layers in order: it collects the min-marginals of all touched
values into the layer, then hands the layer's own min-marginals on to the values with layers still to come (as TRW-S
does for pairs: Kolmogorov 2006; for larger factors: Kolmogorov 2015, SRMP). A value's min-marginals over all its
consumers are cheap, because it only matters which *set* of formats is available.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .arrays import Arrays


class Dual:
    """Messages and what follows from them; `reduced[i]` holds the shifted costs of layer i's candidates.

    Axes are ordered so that the longest (ports, values) is the last: m [format, port], n [format, value], and per value
    `base` [set, value] = price of making a set of formats available, `need` [set, value] = what the consumers then pay.
    """

    def __init__(self, arrays: Arrays):
        self.arrays = arrays
        sets, values = 1 << arrays.formats, len(arrays.index)
        self.ports: list[slice] = []
        total = 0
        for layer in arrays.layers:
            self.ports.append(slice(total, total + len(layer.ins)))
            total += len(layer.ins)
        self.m = np.full((arrays.formats, total), -arrays.big)
        self.n = np.zeros((arrays.tables.shape[1], values))
        self.trees = np.ascontiguousarray(arrays.tables.transpose(1, 2, 0))
        self.forbidden = np.where((np.arange(sets)[:, None] & arrays.fixed) == arrays.fixed, 0.0, arrays.big)
        self.trees += self.forbidden
        for v, made in enumerate(arrays.made):
            self.trees[len(made):, :, v] = arrays.big
        self.base = self.trees.min(axis=0)
        self.need = np.zeros((sets, values))
        self.reduced = [layer.costs.copy() for layer in arrays.layers]
        for layer, ports in zip(arrays.layers, self.ports):
            used = _least(layer.needs, layer.costs, arrays.formats) < np.inf
            self.m[:, ports][used] = 0.0
            self._add_need(layer.ins, self._own(self.m[:, ports]))
        self._weights()

    def _weights(self) -> None:
        """Share of a layer's min-marginals that each touched value gets, in forward and in backward sweeps."""
        last: dict[int, int] = {}
        for i, layer in enumerate(self.arrays.layers):
            for v in layer.ins.tolist():
                last[v] = i
        self.shares = []
        for i, layer in enumerate(self.arrays.layers):
            ahead = np.array([last[v] > i for v in layer.ins.tolist()], bool)
            outs = np.array([v in last for v in layer.outs.tolist()], bool)
            share = 1.0 / max(int(ahead.sum() + outs.sum()), len(layer.ins), 1)
            self.shares.append((ahead * share, outs * share, np.full(len(layer.ins), share)))

    def _own(self, m: np.ndarray) -> np.ndarray:
        """[set, port] least -m over the formats of a set: what a consumer pays when exactly those are available."""
        own = np.empty((1 << len(m), m.shape[1]))
        own[0] = self.arrays.big
        for f, row in enumerate(m):
            np.minimum(own[:1 << f], -row, out=own[1 << f:2 << f])
        return own

    def _add_need(self, values: np.ndarray, change: np.ndarray) -> None:
        if len(set(values.tolist())) == len(values):
            self.need[:, values] += change
        else:
            for column, v in enumerate(values):
                self.need[:, v] += change[:, column]

    def bound(self) -> float:
        """The lower bound on the price of every route."""
        return float((self.base + self.need).min(axis=0).sum() + sum(r.min() for r in self.reduced))

    def _collect(self, i: int, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Min-marginals of the touched values: [format, port] as seen by each input, [format, out] by each output."""
        layer = self.arrays.layers[i]
        rest = self.base[:, layer.ins]
        rest += self.need[:, layer.ins]
        rest -= own
        ins = np.empty((self.arrays.formats, len(layer.ins)))
        for f in range(self.arrays.formats):
            halves = rest.reshape(len(rest) >> f + 1, 2, 1 << f, len(layer.ins))
            halves[:, 1].min(axis=(0, 1), out=ins[f])
        ins -= self.m[:, self.ports[i]]
        outs = (self.trees[:, :, layer.outs] + self.need[:, layer.outs]).min(axis=1) - self.n[:, layer.outs]
        return ins, outs

    def _at(self, i: int, ins: np.ndarray, outs: np.ndarray) -> np.ndarray:
        """[c] sum of messages at the formats of each candidate."""
        layer = self.arrays.layers[i]
        return (ins[layer.needs, np.arange(len(layer.ins))].sum(axis=1)
                + outs[layer.makes, np.arange(len(layer.outs))].sum(axis=1))

    def sweep(self, forward: bool) -> None:
        """Visit all layers once."""
        order = range(len(self.arrays.layers))
        for i in order if forward else reversed(order):
            self._visit(i, forward)

    def _visit(self, i: int, forward: bool) -> None:
        layer, ports = self.arrays.layers[i], self.ports[i]
        old = self._own(self.m[:, ports])
        ins, outs = self._collect(i, old)
        reduced = self.reduced[i] + self._at(i, ins, outs)
        ahead, ahead_outs, behind = self.shares[i]
        least_in = _least(layer.needs, reduced, len(ins))
        least_out = _least(layer.makes, reduced, len(outs))
        ins = _shift(ins, ahead if forward else behind, least_in)
        outs = _shift(outs, ahead_outs if forward else 0.0 * ahead_outs, least_out)
        self.reduced[i] += self._at(i, ins, outs)
        self.m[:, ports] += ins
        new = self._own(self.m[:, ports])
        new -= old
        self._add_need(layer.ins, new)
        if len(layer.outs):
            self.n[:, layer.outs] += outs
            self.base[:, layer.outs] = (self.trees[:, :, layer.outs] - self.n[:, None, layer.outs]).min(axis=0)

    def bounds(self, i: int) -> np.ndarray:
        """[c] by how much the lower bound on routes that use a candidate of layer i exceeds `bound()`."""
        layer, ports = self.arrays.layers[i], self.ports[i]
        ins, outs = self._collect(i, self._own(self.m[:, ports]))
        ins -= (self.base[:, layer.ins] + self.need[:, layer.ins]).min(axis=0)
        outs -= (self.base[:, layer.outs] + self.need[:, layer.outs]).min(axis=0)
        _, first = np.unique(layer.ins, return_index=True)
        again = np.setdiff1d(np.arange(len(layer.ins)), first)
        ins[:, again] = 0.0   # a value that is read twice may count once only
        return self.reduced[i] + self._at(i, ins, outs) - self.reduced[i].min()

    def picks(self) -> np.ndarray:
        """Each layer's cheapest candidate by shifted costs: a good start for a search."""
        return np.array([int(r.argmin()) for r in self.reduced], np.int64)


def _shift(message: np.ndarray, share: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Message minus a share of what is handed on; 0 at formats that no candidate has."""
    used = least < np.inf
    return np.where(used, message - share * np.where(used, least, 0.0), 0.0)


def _least(formats: np.ndarray, prices: np.ndarray, count: int) -> np.ndarray:
    """[format, port] least price of a candidate with that format on that port, infinite where there is none."""
    least = np.empty((count, formats.shape[1]))
    for f in range(count):
        np.where(formats == f, prices[:, None], np.inf).min(axis=0, initial=np.inf, out=least[f])
    return least


def ascend(dual: Dual, sweeps: int, target: float, expired: Callable[[], bool]) -> float:
    """Sweep until the bound reaches `target`, stops growing, or `expired()`. The best bound."""
    best = dual.bound()
    for k in range(sweeps):
        if expired() or best >= target:
            break
        dual.sweep(forward=k % 2 == 0)
        bound = dual.bound()
        if bound <= best + 1e-6 * abs(best) and k > 5:
            best = max(best, bound)
            break
        best = max(best, bound)
    return best

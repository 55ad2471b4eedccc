"""Good routes without a proof: coordinate descent over layers, from several starts. Deterministic."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np

from ..errors import SolverError
from .arrays import Arrays
from .contract import Candidate, Instance, Margins, Solution, relative_gap, same_routine
from .evaluate import evaluate

#: Layers of all descents of `descended` together.
DESCENTS = 2000


class State:
    """A choice (`picks`) with what each value is made as and needed in; prices exchanges of single candidates."""

    def __init__(self, arrays: Arrays, picks: np.ndarray):
        self.arrays = arrays
        self.picks = picks.copy()
        self.bits = np.arange(max(arrays.formats, 1))
        values = len(arrays.index)
        self.made = np.zeros(values, np.int64)
        self.counts = (arrays.fixed[:, None] >> self.bits & 1).astype(np.int64)
        for layer, pick in zip(arrays.layers, picks):
            self.made[layer.outs] = layer.makes[pick]
            self.counts[layer.values] += layer.masks[pick][:, None] >> self.bits & 1
        self.masks = (self.counts > 0) @ (1 << self.bits)

    def cost(self) -> float:
        """Price of the choice; at least `arrays.big` where a conversion is impossible."""
        layers = sum(float(layer.costs[pick]) for layer, pick in zip(self.arrays.layers, self.picks))
        return layers + float(self.arrays.tables[np.arange(len(self.made)), self.made, self.masks].sum())

    def prices(self, i: int) -> np.ndarray:
        """[c] price of layer i and the values it touches, for each of its candidates, all other layers kept."""
        layer, trees = self.arrays.layers[i], self.arrays.tables
        prices = layer.costs
        if len(layer.values):
            own = layer.masks[self.picks[i]][:, None] >> self.bits & 1
            others = (self.counts[layer.values] > own) @ (1 << self.bits)
            prices = prices + trees[layer.values, self.made[layer.values], others | layer.masks].sum(axis=1)
        if len(layer.outs):
            prices = prices + trees[layer.outs, layer.makes, self.masks[layer.outs]].sum(axis=1)
        return prices

    def move(self, i: int, pick: int) -> None:
        """Exchange the candidate of layer i."""
        layer = self.arrays.layers[i]
        old = layer.masks[self.picks[i]][:, None] >> self.bits & 1
        new = layer.masks[pick][:, None] >> self.bits & 1
        self.counts[layer.values] += new - old
        self.masks[layer.values] = (self.counts[layer.values] > 0) @ (1 << self.bits)
        self.made[layer.outs] = layer.makes[pick]
        self.picks[i] = pick

    def descend(self, sweeps: int = 50) -> float:
        """Improve one layer at a time, forwards and backwards, until nothing changes. The final cost."""
        order = range(len(self.picks))
        for _ in range(sweeps):
            changed = False
            for i in order:
                if len(self.arrays.layers[i].candidates) == 1:
                    continue
                prices = self.prices(i)
                pick = int(prices.argmin())
                if prices[pick] < prices[self.picks[i]] * (1 - 1e-12):
                    self.move(i, pick)
                    changed = True
            order = order[::-1]
            if not changed:
                break
        return self.cost()


def preferring(arrays: Arrays, fmt: str | None) -> np.ndarray:
    """Each layer's candidate with the most ports of one format, then the cheapest."""
    picks = []
    for layer in arrays.layers:
        rated = [(-(c.ins + c.outs).count(fmt), c.cost, i) for i, c in enumerate(layer.candidates)]
        picks.append(min(rated)[2])
    return np.array(picks, np.int64)


def search(arrays: Arrays, starts: list[np.ndarray], kicks: int, enough: float,
           expired: Callable[[], bool]) -> tuple[float, np.ndarray]:
    """Best choice found from given starts, uniform ones, and `kicks` disturbed ones; stops at a cost of `enough`.

    `expired()`: whether to stop early.
    """
    formats = sorted({f for layer in arrays.layers for c in layer.candidates for f in c.ins + c.outs})
    uniform = {f: preferring(arrays, f) for f in [None, *formats]}
    best_cost, best = np.inf, np.zeros(0, np.int64)
    for i, picks in enumerate([*starts, *uniform.values()]):
        if i and (expired() or best_cost <= enough):
            break
        state = State(arrays, picks)
        cost = state.descend()
        if cost < best_cost:
            best_cost, best = cost, state.picks.copy()
    random = Random(0)
    for _ in range(kicks if len(best) > 1 and formats else 0):
        if expired() or best_cost <= enough:
            break
        picks = best.copy()
        start = random.randrange(len(picks))
        stop = start + 1 + random.randrange(max(1, len(picks) // 4))
        picks[start:stop] = uniform[random.choice(formats)][start:stop]
        state = State(arrays, picks)
        cost = state.descend()
        if cost < best_cost * (1 - 1e-12):
            best_cost, best = cost, state.picks.copy()
    return best_cost, best


def descended(instance: Instance) -> Solution | None:
    """A good route without a proof, in time that grows with the layers alone; None where none was found."""
    arrays = Arrays(instance)
    if arrays.trees is None:
        return None
    left = iter(range(DESCENTS // max(1, len(instance.layers))))
    _, picks = search(arrays, [], 0, 0.0, lambda: next(left, None) is None)
    choice = arrays.choice(picks)
    try:
        priced = evaluate(instance, choice)
    except SolverError:
        return None
    bound = sum(min(c.cost for c in layer.candidates) for layer in instance.layers)
    return Solution(choice, priced.conversions, priced.cost, bound, "gap", relative_gap(priced.cost, bound), "local")


def local_margins(instance: Instance, choice: dict[str, Candidate]) -> Margins:
    """Runner-up of every layer when that layer alone changes: an upper bound on the exact margin."""
    margins = Margins()
    margins.exact = False
    arrays = Arrays(instance)
    state = State(arrays, arrays.picks(choice)) if arrays.trees is not None else None
    for i, (layer, own) in enumerate(zip(instance.layers, arrays.layers)):
        if state is not None:
            prices = state.prices(i)
            price = {(c.ins, c.outs): prices[j] - own.costs[j] for j, c in enumerate(own.candidates)}
        chosen = choice[layer.name]
        rated = []
        for c in layer.candidates:
            same_ports = (c.ins, c.outs) == (chosen.ins, chosen.outs)
            if same_routine(c, chosen):
                continue
            if state is None:   # too many formats for tables: only candidates with the same ports can be compared
                around = 0.0 if same_ports else np.inf
            else:
                around = price[c.ins, c.outs] - price[chosen.ins, chosen.outs]
                around = np.inf if around > arrays.big / 2 else float(around)
            rated.append((c.cost - chosen.cost + around, c.memory, c.routine, c.variant, c.ins, c.outs, c))
        best = min(rated, key=lambda r: r[:6], default=None)
        margins[layer.name] = (None, float("inf")) if best is None or best[0] == np.inf else (best[6], best[0])
    return margins

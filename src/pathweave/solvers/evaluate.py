"""The true price of a choice, computed independently of every solver: layers plus one conversion tree per value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from math import frexp, fsum, inf, isfinite, ldexp
from typing import NamedTuple

from ..errors import SolverError
from .contract import Candidate, Instance

#: More distinct formats of one value than this are refused: the conversion tree is exact, by subsets of them.
MAX_TARGETS = 14
Edge = tuple[str, str]
_BITS = 60  # prices are summed as integers of about this many bits, so that ties do not depend on the order of a sum


class Evaluation(NamedTuple):
    """Price of a choice, and the conversions (value, from, to) that it needs, in an order in which they can run."""

    cost: float
    conversions: list[tuple[str, str, str]]


def required_formats(instance: Instance, choice: Mapping[str, Candidate]) -> dict[str, set[str]]:
    """Value -> formats in which its consumers and the caller need it."""
    needed: dict[str, set[str]] = {value: {fmt} for value, fmt in instance.outputs.items()}
    for layer in instance.layers:
        for value, fmt in zip(layer.inputs, choice[layer.name].ins):
            needed.setdefault(value, set()).add(fmt)
    return needed


def evaluate(instance: Instance, choice: Mapping[str, Candidate]) -> Evaluation:
    """Exact price of a choice. Raises SolverError when a value cannot be had in a format that is needed."""
    needed = required_formats(instance, choice)
    produced = dict(instance.inputs)
    for layer in instance.layers:
        produced.update(zip(layer.outputs, choice[layer.name].outs))
    costs = [choice[layer.name].cost for layer in instance.layers]
    conversions: list[tuple[str, str, str]] = []
    systems: dict[int, _Conversions] = {}
    for value, made in _ordered(instance, produced):
        targets = needed.get(value, set()) - {made}
        if not targets:
            continue
        table = instance.adapts.get(value, {})
        system = systems.get(id(table))
        if system is None:
            system = systems[id(table)] = _Conversions(table)
        edges = system.tree(made, frozenset(targets))
        if edges is None:
            raise SolverError(f"value {value!r} is made as {made} and needed as {', '.join(sorted(targets))}: no chain "
                              "of conversions leads there; measure the missing adapt or choose other routines")
        costs += [table[edge] for edge in edges]
        conversions += [(value, *edge) for edge in edges]
    return Evaluation(fsum(costs), conversions)


def _ordered(instance: Instance, produced: dict[str, str]) -> Iterator[tuple[str, str]]:
    """(value, format) with the inputs first, by name, then the values in the order in which layers make them."""
    yield from ((value, produced[value]) for value in sorted(instance.inputs))
    yield from ((value, produced[value]) for layer in instance.layers for value in layer.outputs)


class _Conversions:
    """Cheapest conversion trees over one table of direct conversions.

    One target: Dijkstra's shortest path. Several: Dreyfus and Wagner's dynamic programme over subsets of the targets,
    for directed trees. Prices are pairs (cost, number of conversions), the cost as an integer.
    """

    def __init__(self, table: Mapping[Edge, float]):
        edges = {e: c for e, c in table.items() if isfinite(c) and e[0] != e[1]}
        self.nodes = sorted({f for e in edges for f in e})
        self.index = index = {f: i for i, f in enumerate(self.nodes)}
        shift = _BITS - frexp(max(edges.values(), default=0.0))[1]   # a power of two, so that round prices stay exact
        self.edges: list[list[tuple[int, int]]] = [[] for _ in self.nodes]
        for (f, g), cost in sorted(edges.items()):
            self.edges[index[f]].append((index[g], int(ldexp(cost, shift))))
        self.price: list[list[tuple[float, int]]] = []
        self.next: list[list[int]] = []
        self.known: dict[tuple[str, frozenset[str]], list[Edge] | None] = {}

    def _close(self) -> None:
        """Floyd and Warshall's shortest paths, with the first step of each."""
        n = len(self.nodes)
        price: list[list[tuple[float, int]]] = [[(0, 0) if i == j else (inf, 0) for j in range(n)] for i in range(n)]
        self.price = price
        self.next = step = [list(range(n)) for _ in range(n)]
        for i, edges in enumerate(self.edges):
            for j, cost in edges:
                price[i][j] = (cost, 1)
        for m in range(n):
            for i in range(n):
                ca, ka = price[i][m]
                if i == m or ca == inf:
                    continue
                row = price[i]
                for j in range(n):
                    cb, kb = price[m][j]
                    if cb != inf and (ca + cb, ka + kb) < row[j]:
                        row[j] = (ca + cb, ka + kb)
                        step[i][j] = step[i][m]

    def _path(self, start: int, goal: int) -> set[tuple[int, int]] | None:
        """Steps of the shortest path, None where there is none."""
        queue, came, done = [(0, 0, start, start)], {}, set()
        while queue:
            cost, count, i, before = heappop(queue)
            if i in done:
                continue
            done.add(i)
            came[i] = before
            if i == goal:
                steps = set()
                while i != start:
                    steps.add((came[i], i))
                    i = came[i]
                return steps
            for j, more in self.edges[i]:
                if j not in done:
                    heappush(queue, (cost + more, count + 1, j, i))
        return None

    def tree(self, root: str, targets: frozenset[str]) -> list[Edge] | None:
        """Conversions of the cheapest tree from `root` to all `targets`, parents first; None where there is none."""
        key = (root, targets)
        if key not in self.known:
            self.known[key] = self._tree(root, sorted(targets))
        return self.known[key]

    def _tree(self, root: str, targets: list[str]) -> list[Edge] | None:
        if len(targets) > MAX_TARGETS:
            raise SolverError(f"a value is needed in {len(targets)} formats at once ({', '.join(targets)}), at most "
                              f"{MAX_TARGETS} are supported, restrict the candidates")
        if root not in self.index or any(t not in self.index for t in targets):
            return None
        goals = [self.index[t] for t in targets]
        start = self.index[root]
        if len(goals) == 1:
            steps = self._path(start, goals[0])
        else:
            if not self.price:
                self._close()
            steps = None if any(self.price[start][g][0] == inf for g in goals) else self._branch(start, goals)
        return None if steps is None else self._sorted(start, steps)

    def _walk(self, i: int, j: int, steps: set[tuple[int, int]]) -> None:
        while i != j:
            steps.add((i, self.next[i][j]))
            i = self.next[i][j]

    def _branch(self, start: int, goals: list[int]) -> set[tuple[int, int]]:
        """Steps of the cheapest tree from `start` to several goals, all reachable."""
        n, full = len(self.nodes), (1 << len(goals)) - 1
        best: dict[int, list[tuple]] = {}    # subset -> per node, price of a tree rooted there
        via: dict[int, list[tuple]] = {}     # subset -> per node, (node where the tree parts, one half of the subset)
        for k, g in enumerate(goals):
            best[1 << k] = [self.price[i][g] for i in range(n)]
        for subset in range(1, full + 1):
            if subset in best:
                continue
            split = []
            for i in range(n):
                half, found = (subset - 1) & subset, ((inf, 0), 0)
                while half > (subset ^ half):
                    a, b = best[half][i], best[subset ^ half][i]
                    found = min(found, ((a[0] + b[0], a[1] + b[1]), half))
                    half = (half - 1) & subset
                split.append(found)
            rows = [min(((stem[0] + split[m][0][0], stem[1] + split[m][0][1]), m)
                        for m, stem in enumerate(self.price[i])) for i in range(n)]
            best[subset] = [price for price, _ in rows]
            via[subset] = [(m, split[m][1]) for _, m in rows]
        steps: set[tuple[int, int]] = set()
        work = [(full, start)]
        while work:
            subset, i = work.pop()
            if subset in via:
                m, half = via[subset][i]
                self._walk(i, m, steps)
                work += [(half, m), (subset ^ half, m)]
            else:
                self._walk(i, goals[subset.bit_length() - 1], steps)
        return steps

    def _sorted(self, start: int, steps: set[tuple[int, int]]) -> list[Edge]:
        """The steps as formats, parents before children, else by name."""
        children: dict[int, list[int]] = {}
        for i, j in sorted(steps):
            children.setdefault(i, []).append(j)
        order, queue = [], [start]
        for i in queue:
            for j in children.get(i, ()):
                order.append((self.nodes[i], self.nodes[j]))
                queue.append(j)
        return order

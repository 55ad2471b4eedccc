"""A good order in which to eliminate variables, and what it will cost."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from math import log2
from typing import NamedTuple


class Order(NamedTuple):
    """Variables in elimination order, entries of the largest table, and of all tables together."""

    variables: list[int]
    largest: int
    total: int


def find_order(sizes: Sequence[int], scopes: Sequence[tuple[int, ...]], max_table: int) -> Order | None:
    """The better of two greedy orders; None when either would need a table of more than `max_table` entries.

    Smallest table first is tried alone as long as its tables are small; the other heuristic adds fewest new neighbours.
    """
    first = _greedy(sizes, scopes, max_table, fill=False)
    if first is not None and first.largest <= 1 << 14:
        return first
    if len(sizes) > 4000:
        return first
    second = _greedy(sizes, scopes, max_table, fill=True)
    return min((o for o in (first, second) if o is not None), key=lambda o: o.total, default=None)


def _greedy(sizes: Sequence[int], scopes: Sequence[Sequence[int]], max_table: int, fill: bool) -> Order | None:
    neighbours: list[set[int]] = [set() for _ in sizes]
    for scope in scopes:
        for x in scope:
            neighbours[x].update(scope)
    for x, around in enumerate(neighbours):
        around.discard(x)
    bits = [log2(s) for s in sizes]
    limit = log2(max_table) + 1e-9

    def score(x: int) -> tuple[float, float]:
        around = neighbours[x]
        weight = bits[x] + sum([bits[y] for y in around])
        if not fill or weight > limit:
            return (0.0, weight) if weight <= limit else (1e9, weight)
        missing = sum(bits[y] * bits[z] for y in around for z in around - neighbours[y] if y < z)
        return missing, weight

    heap = [(*score(x), x) for x in range(len(sizes))]
    current = [entry[:2] for entry in heap]
    heapify(heap)
    done = [False] * len(sizes)
    variables: list[int] = []
    largest = total = 1
    while heap:
        missing, weight, x = heappop(heap)
        if done[x] or current[x] != (missing, weight):
            continue
        if weight > limit:
            return None
        done[x] = True
        variables.append(x)
        entries = round(2 ** weight)
        largest, total = max(largest, entries), total + entries
        around = neighbours[x]
        stale = set(around)
        for y in around:
            near = neighbours[y]
            near |= around
            near.discard(x)
            near.discard(y)
            if fill:
                stale |= near
        for y in sorted(stale):
            if done[y]:
                continue
            fresh = score(y)
            if fresh != current[y]:
                current[y] = fresh
                heappush(heap, (*fresh, y))
    return Order(variables, largest, total)

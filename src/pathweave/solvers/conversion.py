"""Prices of converting values, as tables over formats: shortest chains and cheapest trees, vectorised.

Prices are complex: the real part is the cost as an integer, the imaginary part what decides among equal costs. NumPy
orders complex numbers by the real part, then the imaginary part, so that one `minimum` is a lexicographic one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np

INFINITE = complex(np.inf, 0.0)


def closure(table: Mapping[tuple[str, str], float], nodes: Sequence[str], scale: float, step: float) -> np.ndarray:
    """[from, to] price of the cheapest chain between formats. `scale`: units per cost; `step`: per conversion."""
    n = len(nodes)
    price = np.full((n, n), INFINITE)
    flat = price.reshape(-1)
    if table:
        costs = np.rint(np.fromiter(table.values(), float, len(table)) * scale)
        flat[_places(tuple(table), tuple(nodes))] = np.where(np.isfinite(costs), costs + 1j * step, INFINITE)
    flat[::n + 1] = 0
    for m in range(n):
        np.minimum(price, price[:, m, None] + price[m], out=price)
    return price


@lru_cache(maxsize=256)
def _places(pairs: tuple[tuple[str, str], ...], nodes: tuple[str, ...]) -> np.ndarray:
    """Where pairs of formats lie in a flattened [from, to] table."""
    index = {f: i for i, f in enumerate(nodes)}
    return np.array([index[f] * len(nodes) + index[g] for f, g in pairs])


def subset_count(goals: int, largest: int) -> int:
    """Number of non-empty subsets of `goals` formats with at most `largest` members."""
    return sum(comb(goals, k) for k in range(1, min(goals, largest) + 1))


@lru_cache(maxsize=64)
def subsets(goals: int, largest: int) -> tuple[int, ...]:
    """Those subsets as bit masks, by size, then by number."""
    found = []
    for k in range(1, min(goals, largest) + 1):
        found += sorted(sum(1 << i for i in members) for members in combinations(range(goals), k))
    return tuple(found)


@lru_cache(maxsize=64)
def _splits(goals: int, largest: int) -> list[tuple[slice, np.ndarray, np.ndarray]]:
    """Per size >= 2: rows of the subsets of that size, and rows of their two halves, [subset, split]."""
    masks = subsets(goals, largest)
    row = {m: i for i, m in enumerate(masks)}
    levels, start = [], goals
    for k in range(2, min(goals, largest) + 1):
        one, other = [], []
        stop = start + comb(goals, k)
        for m in masks[start:stop]:
            low = m & -m
            rest, halves = m ^ low, []
            part = (rest - 1) & rest
            while True:
                halves.append(low | part)
                if not part:
                    break
                part = (part - 1) & rest
            one.append([row[h] for h in halves])
            other.append([row[m ^ h] for h in halves])
        levels.append((slice(start, stop), np.array(one), np.array(other)))
        start = stop
    return levels


def tree_prices(price: np.ndarray, goals: Sequence[int], largest: int) -> np.ndarray:
    """[subset, root]: price of the cheapest tree from a format to all of a subset of `goals` (indices of formats).

    Subsets in the order of `subsets(len(goals), largest)`. Dreyfus and Wagner's dynamic programme, one size at a time.
    """
    out = np.empty((subset_count(len(goals), largest), len(price)), complex)
    out[:len(goals)] = price[:, list(goals)].T
    for rows, one, other in _splits(len(goals), largest):
        branch = (out[one] + out[other]).min(axis=1)
        out[rows] = (branch[:, None, :] + price).min(axis=2)
    return out

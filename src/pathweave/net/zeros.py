"""How many zeros weights hold, as the word of a problem: what decides how fast a sparse routine is."""

from __future__ import annotations

import numpy as np

from .per_array import PerArray

#: Below this share nothing is said, and a problem's text is that of dense weights.
LEAST = 0.5
#: Outputs of a block.
BLOCK = 16
_RUNS, _RUN = 64, 1024


def _zeros_of(weights: np.ndarray) -> str:
    """`80`, `80/1x16:75`, or "" below one half.

    `weights`: f32 [outputs, inputs, ...]; anything else is "". The first number is the percentage of zeros, the second
    that of blocks of 16 consecutive outputs (the last one may be shorter) at one input and tap that are zero
    throughout, where it is one half or more. Both are rounded down to whole percents: 4 % of what is left at 75.
    """
    if weights.dtype != np.float32 or weights.ndim < 2 or weights.size == 0:
        return ""
    weights = np.ascontiguousarray(weights)
    if _sample(weights) < LEAST - 0.1:
        return ""
    nonzero = weights.reshape(weights.shape[0], -1) != 0
    share = 1 - np.count_nonzero(nonzero) / nonzero.size
    if share < LEAST:
        return ""
    word = f"{_percent(share)}"
    if weights.shape[0] >= BLOCK:
        blocks = np.logical_or.reduceat(nonzero, range(0, nonzero.shape[0], BLOCK), axis=0)
        empty = 1 - np.count_nonzero(blocks) / blocks.size
        if empty >= LEAST:
            word += f"/1x{BLOCK}:{_percent(empty)}"
    return word


def _percent(share: float) -> int:
    return int(share * 100 + 1e-9)


def _sample(weights: np.ndarray) -> float:
    """The share of zeros among some runs, evenly spread: dense weights are known as such without being read."""
    flat = weights.reshape(-1)
    if flat.size <= _RUNS * _RUN:
        return 1.0
    starts = np.linspace(0, flat.size - _RUN, _RUNS).astype(np.int64)
    return sum(np.count_nonzero(flat[s:s + _RUN] == 0) for s in starts) / (_RUNS * _RUN)


#: The word of an array, counted once.
zeros_of = PerArray(_zeros_of)

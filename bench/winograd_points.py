#!/usr/bin/env python3
"""Rounding error of Winograd's F(m x m, 3 x 3) in float32, for sets of interpolation points.

    python bench/winograd_points.py                      the points that the kernels use, and the usual integers
    python bench/winograd_points.py 4 0.75 1.5           F(4) with the points 0, +-0.75, +-1.5, infinity
    python bench/winograd_points.py --search 4           tries all pairs of multiples of 1/8 up to 2

The error is the relative RMS of a float32 computation (transforms, products summed over 128 channels, output transform,
all in float32) against float64, on rectified normal data and normal weights. The matrices come from the Cook-Toom
construction with points 0, +-a, +-b, ..., infinity in exact fractions. Source: Lavin and Gray 2015, arXiv 1509.09308;
Barabasz et al. 2018, arXiv 1803.10986, on how points decide the error.
"""

from __future__ import annotations

import argparse
import itertools
from fractions import Fraction

import numpy as np

CHANNELS, TILES, OUTPUTS, TAPS = 128, 24, 32, 3
#: (m, points): those of native/ukernels/kinds/winograd_f32.h, then the usual integers.
DEFAULT = [(2, (1,)), (4, (0.75, 1.5)), (6, (0.5, 1, 2)), (4, (1, 2)), (6, (0.625, 1, 1.625))]


def matrices(m: int, pairs: tuple[float, ...], taps: int = TAPS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A^T [m, n], G [n, taps], B^T [n, n] with n = m + taps - 1, float64 of exact fractions.

    y = A^T ((G g) * (B^T d)) are the m outputs of a correlation of n inputs d with `taps` weights g. Raises ValueError
    when the number of points does not fit.
    """
    n = m + taps - 1
    points = [Fraction(0)]
    for a in pairs:
        points += [Fraction(a), -Fraction(a)]
    if len(points) != n - 1 or len(set(points)) != n - 1:
        raise ValueError(f"F({m}) needs {(n - 2) // 2} different pairs of points other than 0, got {pairs}")
    # Transposed Toom-Cook: a product of polynomials of m and taps coefficients, evaluated at n - 1 points and infinity.
    a = [[p ** j for j in range(m)] for p in points] + [[Fraction(int(j == m - 1)) for j in range(m)]]
    g = [[p ** j for j in range(taps)] for p in points] + [[Fraction(int(j == taps - 1)) for j in range(taps)]]
    scale = [_product(p - q for q in points if q != p) for p in points] + [Fraction(1)]
    g = [[x / s for x in row] for row, s in zip(g, scale)]
    # Row i of B^T: coefficients of the product of (x - q) over the other points; of all points for infinity.
    b = [_coefficients([q for q in points if q != p], n) for p in points] + [_coefficients(points, n)]
    return (np.array(a, dtype=np.float64).T.copy(), np.array(g, dtype=np.float64), np.array(b, dtype=np.float64))


def _product(factors) -> Fraction:
    result = Fraction(1)
    for f in factors:
        result *= f
    return result


def _coefficients(roots: list[Fraction], n: int) -> list[Fraction]:
    """Coefficients of the product of (x - root), from x^0 up, n of them."""
    poly = [Fraction(1)]
    for r in roots:
        poly = [(poly[i - 1] if i else Fraction(0)) - r * (poly[i] if i < len(poly) else Fraction(0))
                for i in range(len(poly) + 1)]
    return poly + [Fraction(0)] * (n - len(poly))


def error(m: int, pairs: tuple[float, ...], channels: int = CHANNELS, seed: int = 0) -> float:
    """Relative RMS error of F(m x m, 3 x 3) in float32 against a float64 correlation."""
    at, g, bt = matrices(m, pairs)
    n = m + TAPS - 1
    rng = np.random.default_rng(seed)
    data = np.maximum(rng.standard_normal((TILES, channels, n, n)), 0)
    weights = rng.standard_normal((OUTPUTS, channels, TAPS, TAPS)) / np.sqrt(channels * TAPS * TAPS)
    d, w = data.astype(np.float32), weights.astype(np.float32)
    exact = np.zeros((TILES, OUTPUTS, m, m))
    for i, j in itertools.product(range(TAPS), repeat=2):
        exact += np.einsum("tcyx,oc->toyx", d[:, :, i:i + m, j:j + m].astype(np.float64), w[:, :, i, j].astype(np.float64))
    # Weights are transformed once, in float64, and rounded; data and outputs in float32, in pairs, as the kernels do.
    u = np.einsum("ip,ocpq,jq->ocij", g, w.astype(np.float64), g).astype(np.float32)
    v = _input_transform(bt, pairs, _input_transform(bt, pairs, d).swapaxes(2, 3)).swapaxes(2, 3)
    product = np.matmul(v.transpose(2, 3, 0, 1), u.transpose(2, 3, 1, 0)).transpose(2, 3, 0, 1)
    got = _output_transform(at, _output_transform(at, product).swapaxes(2, 3)).swapaxes(2, 3)
    return float(np.sqrt(np.mean((got - exact) ** 2) / np.mean(exact ** 2)))


def _input_transform(bt: np.ndarray, pairs: tuple[float, ...], d: np.ndarray) -> np.ndarray:
    """B^T d over axis 2 in float32. The rows of +-p are an even part plus or minus p times an odd part."""
    def times(row: np.ndarray) -> np.ndarray:
        total = np.zeros(d.shape[:2] + d.shape[3:], np.float32)
        for k in range(len(row) - 1, -1, -1):
            if row[k]:
                total = total + np.float32(row[k]) * d[:, :, k]
        return total
    rows = [times(bt[0])]
    for i, p in enumerate(pairs):
        plus, minus = bt[2 * i + 1], bt[2 * i + 2]
        even, odd = times((plus + minus) / 2), np.float32(p) * times((plus - minus) / (2 * p))
        rows += [even + odd, even - odd]
    return np.stack([*rows, times(bt[-1])], axis=2)


def _output_transform(at: np.ndarray, m: np.ndarray) -> np.ndarray:
    """A^T m over axis 2 in float32, from sums and differences of the positions of +-p."""
    sums = [m[:, :, 2 * i + 1] + m[:, :, 2 * i + 2] for i in range(at.shape[1] // 2 - 1)]
    differences = [m[:, :, 2 * i + 1] - m[:, :, 2 * i + 2] for i in range(at.shape[1] // 2 - 1)]
    rows = []
    for j in range(at.shape[0]):
        total = m[:, :, 0] if j == 0 else np.zeros_like(m[:, :, 0])
        for i, part in enumerate(differences if j % 2 else sums):
            total = total + np.float32(at[j, 2 * i + 1]) * part
        rows.append(total + m[:, :, -1] if j == at.shape[0] - 1 else total)
    return np.stack(rows, axis=2)


def search(m: int, step: float = 0.125, largest: float = 2.0, show: int = 10) -> list[tuple[float, tuple[float, ...]]]:
    """The best sets of multiples of `step`, with their errors, best first."""
    values = [step * i for i in range(1, int(largest / step) + 1)]
    found = [(error(m, pairs), pairs) for pairs in itertools.combinations(values, m // 2)]
    return sorted(found)[:show]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("m", nargs="?", type=int, choices=(2, 4, 6))
    parser.add_argument("points", nargs="*", type=float)
    parser.add_argument("--search", type=int, choices=(2, 4, 6), metavar="M")
    arguments = parser.parse_args()
    if arguments.search:
        rows = [(arguments.search, pairs, e) for e, pairs in search(arguments.search)]
    else:
        sets = [(arguments.m, tuple(arguments.points))] if arguments.m else DEFAULT
        rows = [(m, pairs, error(m, pairs)) for m, pairs in sets]
    for m, pairs, e in rows:
        print(f"F({m})  0, {', '.join(f'+-{p:g}' for p in pairs)}, infinity   relative RMS {e:.2e} at {CHANNELS} channels")


if __name__ == "__main__":
    main()

"""bench/winograd_points.py: its matrices compute a correlation exactly, and its errors rank points as they must."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).resolve().parents[2] / "bench" / "winograd_points.py"
spec = importlib.util.spec_from_file_location("winograd_points", PATH)
points = importlib.util.module_from_spec(spec)
spec.loader.exec_module(points)


@pytest.mark.parametrize("m, pairs", points.DEFAULT)
def test_matrices_are_a_correlation(m, pairs):
    at, g, bt = points.matrices(m, pairs)
    rng = np.random.default_rng(m)
    d, w = rng.standard_normal(m + 2), rng.standard_normal(3)
    np.testing.assert_allclose(at @ ((g @ w) * (bt @ d)), np.correlate(d, w, "valid"), rtol=1e-9, atol=1e-9)


def test_errors():
    f2, f4, f4_integers = (points.error(m, pairs, channels=32) for m, pairs in ((2, (1,)), (4, (0.75, 1.5)), (4, (1, 2))))
    assert 1e-8 < f2 < f4 < f4_integers < 1e-5


def test_wrong_points():
    with pytest.raises(ValueError, match="different pairs"):
        points.matrices(4, (1, 1))

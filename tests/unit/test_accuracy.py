"""Accuracy classes: their order, and the errors that they allow."""

from __future__ import annotations

import numpy as np
import pytest

from pathweave.errors import InputError
from pathweave.net.accuracy import ACCURACIES, accuracy_rank, common_class, largest_error, least_accurate


def test_order():
    assert [accuracy_rank(a) for a in ("strict", "f32", "reduced", "quantised")] == [0, 1, 2, 3]
    assert least_accurate(["f32", "quantised", "strict"]) == "quantised" and least_accurate([]) == "strict"
    with pytest.raises(InputError, match="'half': expected one of strict, f32"):
        accuracy_rank("half")


def test_whole_nets_have_no_strict_class():
    assert [common_class(a) for a in ACCURACIES] == ["f32", "f32", "reduced", "quantised"]


def test_errors_grow_with_the_square_root_of_the_sum():
    """As those of float32 sums added one by one do, far below: 64 times the terms, 8 times the error allowed."""
    assert largest_error("strict", 1) == largest_error("strict", 1024) == 1e-6
    assert largest_error("reduced", 65536) == pytest.approx(8e-2)
    rng = np.random.default_rng(0)
    for terms in (1024, 65536):
        x, w = rng.standard_normal((2, 64, terms)).astype(np.float32)
        wanted = (x.astype(np.float64) * w).sum(1)
        error = np.sqrt(np.mean((np.cumsum(x * w, axis=1, dtype=np.float32)[:, -1] - wanted) ** 2) / np.mean(wanted ** 2))
        assert 0 < error < largest_error("f32", terms)

"""Forms bf16 and bf16x2: names, sizes, and the suite's own definition against a search over all bf16 numbers."""

from __future__ import annotations

import numpy as np
import pytest

from pathweave.errors import ModelError
from pathweave.net.format import DTYPES, Format, dtype_of, itemsize, numpy_dtype
from pathweave.testing.layouts import decode, encode, round_bf16


def test_a_form_is_a_format_but_no_element_type():
    assert str(Format.parse("bf16x2:nhwc:cpu")) == "bf16x2:nhwc:cpu"
    assert (itemsize("bf16x2"), numpy_dtype("bf16x2"), itemsize("bf16")) == (4, "uint32", 2)
    assert "bf16x2" not in DTYPES and dtype_of(np.dtype("uint32")) == "u32"
    with pytest.raises(ModelError, match="bf16x2"):
        Format.parse("bf16x3:nhwc:cpu")


def test_rounding_is_to_the_nearest_even():
    every = (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32)
    finite = np.sort(np.unique(every[np.isfinite(every)].astype(np.float64)))
    grid = np.concatenate([[-2.0**128], finite, [2.0**128]])  # where infinity would lie
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.integers(0, 1 << 32, 20000, np.uint32).view(np.float32), every[::7],
                        ((rng.integers(0, 1 << 16, 2000, np.uint32) << 16) | 0x8000).view(np.float32)])
    got = round_bf16(x)
    assert np.array_equal(np.isnan(got), np.isnan(x))
    number = np.isfinite(x)
    wide = np.where(np.isinf(got), np.copysign(np.float64(2.0**128), got), got.astype(np.float64))[number]
    value = x[number].astype(np.float64)
    at = np.clip(np.searchsorted(grid, value), 1, len(grid) - 1)
    best = np.minimum(abs(grid[at] - value), abs(grid[at - 1] - value))
    assert np.array_equal(abs(wide - value), best)
    tie = abs(grid[at] - value) == abs(grid[at - 1] - value)
    assert tie.sum() > 100 and not (got[number][tie].view(np.uint32) >> 16 & 1).any()
    assert np.array_equal(got[np.isinf(x)], x[np.isinf(x)])


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3, 4), (2, 5, 3, 7)])
def test_the_parts_of_a_row_lie_one_behind_the_other(shape):
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    stored = encode(x, "bf16x2")
    assert stored.shape == x.shape and stored.dtype == np.uint32
    rows = np.ascontiguousarray(stored).reshape(-1).view(np.uint16).reshape(*shape[:-1], 2, shape[-1] if shape else 1)
    hi = round_bf16(x).reshape(*shape[:-1], -1)
    assert np.array_equal(rows[..., 0, :], (hi.view(np.uint32) >> 16).astype(np.uint16))
    assert np.array_equal(decode(encode(x, "bf16"), "bf16"), round_bf16(x))
    assert np.abs(decode(stored, "bf16x2").astype(np.float64) / x - 1).max() <= 2.0**-17


def test_what_is_not_finite_has_no_low_part():
    x = np.array([np.inf, -np.inf, np.nan, 3.4028235e38, -3.4e38], np.float32)
    rows = encode(x, "bf16x2").view(np.uint16).reshape(2, 5)
    assert not rows[1].any()
    assert np.array_equal(decode(encode(x, "bf16x2"), "bf16x2"), [np.inf, -np.inf, np.nan, np.inf, -np.inf],
                          equal_nan=True)

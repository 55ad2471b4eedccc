"""Every layer kind: its meaning against ONNX Runtime and onnx.reference, its shape rule against its meaning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from layer_oracle import covers, elsewhere, oracle

from pathweave.layers import compute, kinds
from pathweave.net.compare import relative_error
from pathweave.net.dim import highest, lowest
from pathweave.net.format import numpy_dtype
from pathweave.testing import cases, tolerance

CASES = cases()
_SLACK = {"resize2": 1e-5}  # ONNX Runtime finds the source coordinates in float32


def _within(shape, spec) -> bool:
    """Whether a shape is what the shape rule says; a size that depends on contents is between its bounds."""
    return len(shape) == spec.rank and all(lowest(d) <= n <= highest(d) for n, d in zip(shape, spec.dims))


@pytest.mark.parametrize("case", [c for c in CASES if covers(c)], ids=str)
def test_meaning_equals_onnx(case):
    arrays = case.arrays()
    wanted = oracle(case, arrays)
    reference = case.reference(arrays)
    plain = compute(case.layer(), arrays)
    assert len(wanted) == len(reference) == len(plain)
    for onnx_result, wide, own, spec in zip(wanted, reference, plain, case.outputs(), strict=True):
        assert onnx_result.shape == wide.shape == np.shape(own)
        assert _within(np.shape(own), spec)
        assert onnx_result.dtype == own.dtype == np.dtype(numpy_dtype(spec.dtype))
        limit = max(tolerance(case, "strict"), _SLACK.get(case.kind, 2e-6) if own.dtype.kind == "f" else 0.0)
        assert relative_error(onnx_result, wide.astype(np.float64) if wide.dtype.kind == "f" else wide) <= limit
        assert relative_error(own, wide) <= limit


@pytest.mark.parametrize("case", CASES, ids=str)
def test_shape_rule_equals_meaning(case):
    arrays = case.arrays()
    single = all(s is None or s.dtype not in ("f16", "f64") for s in case.inputs)
    for precision in ("f64", "f32", "f16") if single else ("as it is",):
        given = [a.astype(numpy_dtype(precision)) if single and a is not None and a.dtype.kind == "f" else a for a in arrays]
        floats = single and any(a is not None and a.dtype.kind == "f" for a in arrays)
        with np.errstate(all="ignore"):
            results = compute(case.layer(), given)
        for y, spec in zip(results, case.outputs(), strict=True):
            assert isinstance(y, np.ndarray)
            assert _within(y.shape, spec)
            follows = spec.dtype == "f32" and floats and case.kind not in ("cast", "source")
            assert y.dtype == np.dtype(numpy_dtype(precision if follows else spec.dtype))


def test_every_kind_has_cases():
    assert {c.kind for c in CASES} == {name for name, kind in kinds().items() if not kind.refuses}


def test_every_kind_is_compared_with_something():
    assert {c.kind for c in CASES if not covers(c)} == set(elsewhere())
    for kind, file in elsewhere().items():
        assert f'"{kind}"' in Path(__file__).with_name(file).read_text()


def test_case_names_are_unique_and_problems_too():
    assert len({c.name for c in CASES}) == len(CASES)
    texts = [str(c.problem(2)) for c in CASES if not any(c.values)]
    assert len(set(texts)) == len(texts)


def test_cases_are_small_and_repeat():
    sizes = sorted(sum(a.nbytes for a in case.arrays() if a is not None) for case in CASES)
    assert sizes[-2] < 4 << 20 and sizes[-1] < 20 << 20  # one is larger than half of a common shared cache
    one = CASES[0]
    assert all(np.array_equal(a, b) for a, b in zip(one.arrays(), one.arrays(), strict=True))


def test_tolerance_follows_class_and_reduction_length():
    (short,) = [c for c in cases("conv2") if c.name == "conv2 1x16x8x8,16x16x3x3,16"]
    (long,) = [c for c in cases("dense") if c.name == "dense 1x4096,128x4096,128"]
    (moving,) = [c for c in cases("transpose") if c.name == "transpose 33x65 perm=1,0"]
    assert short.reduction_length() == 144 and tolerance(short, "f32") == 1e-5
    assert long.reduction_length() == 4096 and tolerance(long, "f32") == pytest.approx(2e-5)
    assert tolerance(moving, "strict") == 0.0 and tolerance(moving, "reduced") == 1e-2


@pytest.mark.parametrize(("got", "wanted", "error"), [
    ([1.0, 2.0], [1.0, 2.0], 0.0), ([2.0, 2.0], [1.0, 1.0], 1.0), ([0.5], [0.0], 0.5), ([np.nan], [1.0], np.inf),
    ([1.0], [np.nan], np.inf), ([np.nan, 3.0], [np.nan, 3.0], 0.0), ([np.inf], [np.inf], 0.0), ([], [], 0.0),
    ([-np.inf], [np.inf], np.inf), ([[1.0]], [1.0], np.inf)])
def test_relative_error(got, wanted, error):
    assert relative_error(np.array(got), np.array(wanted)) == error


def test_relative_error_of_integers():
    assert relative_error(np.array([1, 2]), np.array([1, 2])) == 0
    assert relative_error(np.array([1, 3]), np.array([1, 2])) == np.inf

"""The integer reference of the conformance suite against brute force in exact numbers, and that it notices mistakes."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from pathweave.net.format import Format
from pathweave.net.scales import UNKNOWN, Scale
from pathweave.testing import case, cases, conformance, quantised
from pathweave.testing.cases.conv import conv
from pathweave.testing.cases.dense import dense

U8 = Format("u8", "nhwc")


def rounded(exact: Fraction) -> np.float32:
    """The float32 nearest to a number, ties to even, by comparing with its neighbours."""
    guess = np.float32(float(exact))
    around = [np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))]
    distance = [abs(Fraction(float(c)) - exact) for c in around]
    nearest = [c for c, d in zip(around, distance) if d == min(distance)]
    return nearest[0] if len(nearest) == 1 else next(c for c in nearest if c.view(np.int32) % 2 == 0)


def test_fma_rounds_once():
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(3000).astype(np.float32) for _ in "ab")
    c = (-a.astype(np.float64) * b * rng.choice([1, 1 + 1e-9, 0.5, 1e-8, 1e8], 3000)).astype(np.float32)
    got = quantised.fma(a, b, c)
    for x, y, z, r in zip(a, b, c, got):
        assert r == rounded(Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)))
    # Halfway between two floats in float64 already: rounding twice gives the other one.
    x, y, z = np.float32(2 ** -30), np.float32(1), np.float32(1)
    assert quantised.fma(np.float32(1 + 2 ** -12), np.float32(1 + 2 ** -12), np.float32(2 ** -60)) == \
        rounded(Fraction((1 + 2 ** -12) ** 2) + Fraction(2) ** -60)
    assert quantised.fma(x, y, z) == 1


@pytest.mark.parametrize("scale", [Scale(0.5, 0), Scale(0.25, 128), Scale(2.0, 255), Scale(0.125, 3)])
def test_quantise_by_its_definition(scale):
    """Scales that are powers of two, so that nothing but the wanted rounding rounds."""
    x = (np.arange(-2400, 2400) / 8 * scale.scale).astype(np.float32)
    for value, q in zip(x, quantised.quantise(x, scale)):
        exact = Fraction(float(value)) / Fraction(scale.scale)
        assert q == min(255, max(0, round(exact) + scale.zero_point))  # Python rounds ties to even
    special = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)
    assert list(quantised.quantise(special, scale)) == [scale.zero_point, 255, 0, scale.zero_point]
    q = np.arange(256, dtype=np.uint8)
    assert np.array_equal(quantised.quantise(quantised.dequantise(q, scale), scale), q)


def expected(subject_case, **scales):
    arrays = subject_case.arrays()
    wanted = subject_case.reference(arrays)
    found = quantised.scales_of(subject_case, arrays, wanted)
    dynamic = sum(1 for s, c in zip(subject_case.inputs, subject_case.constant) if s is not None and not c)
    return quantised.Expected(subject_case, arrays, found, [U8] * dynamic, [U8]), arrays, wanted, found


def test_a_convolution_by_loops():
    """Integers by Python's own, floats by exact fractions rounded where the document says so."""
    one = conv((1, 3, 4, 5), 2, 3, same=1, epilogue="add+relu")
    reference, arrays, _, scales = expected(one)
    x, w, bias = reference.arrays[0], arrays[1], arrays[2]
    residual, (sx, _, _, sr, sy) = reference.arrays[3], scales
    for o in range(2):
        row = [w[o, c, a, b] for a in range(3) for b in range(3) for c in range(3)] + [np.float32(0)]
        pair = max(abs(first + second) for first, second in zip(row[::2], row[1::2]))
        step = max(np.float32(np.abs(w[o]).max()) / np.float32(127), pair / np.float32(127.9))
        q = [[[max(-127, min(127, round(float(v / step)))) for v in row] for row in plane] for plane in w[o]]
        for i in range(4):
            for j in range(5):
                total = sum((int(x[0, c, i + a - 1, j + b - 1]) - sx.zero_point) * q[c][a][b]
                            for c in range(3) for a in range(3) for b in range(3)
                            if 0 <= i + a - 1 < 4 and 0 <= j + b - 1 < 5)
                factor = np.float32(sx.scale) * step
                y = rounded(Fraction(total) * Fraction(float(factor)) + Fraction(float(bias[o])))
                r = int(residual[0, o, i, j]) - sr.zero_point
                y = rounded(Fraction(r) * Fraction(sr.scale) + Fraction(float(y)))
                t = max(y, np.float32(0)) * (np.float32(1) / np.float32(sy.scale))
                assert reference.values[0][0, o, i, j] == min(255, max(0, round(float(t)) + sy.zero_point))


@pytest.mark.parametrize("draw", ["uniform", "equal", "halves"])
def test_no_pair_of_weights_passes_16_bits(draw):
    """255 times two neighbours fits, whatever the weights are; and one weight is as large as it may be."""
    rng = np.random.default_rng(5)
    for depth in range(1, 40):
        w = {"uniform": rng.uniform(-1, 1, (200, depth)), "equal": np.full((200, depth), rng.uniform(0.1, 9)),
             "halves": rng.integers(0, 256, (200, depth)) / 2}[draw].astype(np.float32)
        q, _ = quantised.weights("dense", 1, w)
        padded = np.pad(q, ((0, 0), (0, depth % 2)))
        pairs = np.abs(padded[:, ::2] + padded[:, 1::2]).max(1)
        assert np.all(pairs <= 128) and np.all((pairs >= 127) | (np.abs(q).max(1) == 127) | ~w.any(1))


@pytest.mark.parametrize("one", [conv((1, 16, 7, 7), 24, 3, same=1), dense((4, 64), 40, epilogue="relu"),
                                 case("matmul", (7, 16), (16, 24))], ids=str)
def test_one_step_off_is_noticed(one):
    reference, *_ = expected(one)
    assert reference.steps == 0 and reference.fault(reference.values) == ""
    wrong = reference.values[0].copy()
    wrong.flat[5] += 1 if wrong.flat[5] < 255 else -1
    assert "1 of" in reference.fault([wrong]) and "0 allowed" in reference.fault([wrong])
    assert "expected uint8" in reference.fault([wrong.astype(np.float32)])


def test_other_activations_may_be_a_step_off():
    reference, *_ = expected(conv((1, 24, 7, 7), 32, 1, epilogue="tanh"))
    assert reference.steps == 1
    middle = np.clip(reference.values[0], 1, 254)
    assert reference.fault([np.where(reference.values[0] == middle, middle + 1, reference.values[0]).astype(np.uint8)]) == ""
    assert reference.fault([np.where(middle < 200, middle + 2, middle).astype(np.uint8)])


def test_moved_elements_with_one_scale_are_exact():
    kinds = {c.name: expected(c)[0].steps for c in cases("max_pool2")
             if not c.values and c.inputs[0].dtype == "f32"}
    assert set(kinds.values()) == {0, 1}  # every other case has one scale for all values


def test_the_bound_holds_and_is_not_loose():
    """Rounding errors of the reference itself: below the bound, above a fiftieth of it."""
    ratios = []
    for one in [c for kind in ("conv2", "depthwise_conv2", "dense") for c in cases(kind) if not c.values
                and c.inputs[0].dtype == "f32" and all(c.constant[1:len(c.inputs) - c.epilogue.add])]:
        reference, arrays, wanted, scales = expected(one)
        got = quantised.dequantise(reference.values[0], scales[-1])
        error = conformance.relative_error(got, wanted[0])
        allowed = reference.allowed(arrays, wanted)
        assert error <= allowed, one
        ratios.append(error / allowed)
    assert len(ratios) > 150 and max(ratios) > 0.2 and np.median(ratios) > 0.05
    assert math.isfinite(sum(ratios))


def test_a_wrong_scale_is_noticed():
    one = conv((1, 16, 7, 7), 24, 3, same=1)
    reference, arrays, wanted, scales = expected(one)
    other = Scale(scales[-1].scale * 1.5, scales[-1].zero_point)
    got = quantised.dequantise(reference.values[0], other)
    assert conformance.relative_error(got, wanted[0]) > reference.allowed(arrays, wanted)


def test_scales_of_what_is_no_value():
    one = conv((1, 16, 7, 7), 24, 3, same=1)
    arrays = one.arrays()
    found = quantised.scales_of(one, arrays, one.reference(arrays))
    assert found[1] == found[2] == UNKNOWN and found[0].scale > 0 and found[3].scale > 0


def test_a_product_of_two_values_by_loops():
    one = case("matmul", (3, 37), (37, 5))
    reference, _, _, (sa, sb, sy) = expected(one)
    assert sa.zero_point and sb.zero_point
    a, b = ([[int(q) for q in row] for row in array] for array in reference.arrays)
    factor = np.float32(sa.scale) * np.float32(sb.scale)
    for i in range(3):
        for j in range(5):
            total = sum((a[i][k] - sa.zero_point) * (b[k][j] - sb.zero_point) for k in range(37))
            t = rounded(Fraction(total) * Fraction(float(factor))) * (np.float32(1) / np.float32(sy.scale))
            assert reference.values[0][i, j] == min(255, max(0, round(float(t)) + sy.zero_point))


def between(x, row: Fraction, column: Fraction) -> Fraction:
    """The exact number between four pixels, the border repeated."""
    def pixel(i: int, j: int) -> int:
        return int(x[min(max(i, 0), x.shape[0] - 1), min(max(j, 0), x.shape[1] - 1)])
    i, j = math.floor(row), math.floor(column)
    v, h = row - i, column - j
    return (1 - v) * ((1 - h) * pixel(i, j) + h * pixel(i, j + 1)) + v * ((1 - h) * pixel(i + 1, j) + h * pixel(i + 1, j + 1))


@pytest.mark.parametrize("size", [(14, 12), (9, 21), (3, 4)])
def test_what_lies_between_pixels(size):
    """Bytes are the nearest to the exact number, but for what 15 bits of weights and 7 of results leave out."""
    one = case("resize2", (1, 2, 7, 6), mode="bilinear", size=size)
    arrays = one.arrays()
    scale = Scale(0.25, 77)
    reference = quantised.Expected(one, arrays, [scale, scale], [U8], [U8])
    assert reference.steps == 0
    for c in range(2):
        x, y = reference.arrays[0][0, c], reference.values[0][0, c]
        for o in range(size[0]):
            for p in range(size[1]):
                exact = between(x, (o + Fraction(1, 2)) * 7 / size[0] - Fraction(1, 2),
                                (p + Fraction(1, 2)) * 6 / size[1] - Fraction(1, 2))
                assert abs(int(y[o, p]) - exact) <= Fraction(1, 2) + Fraction(1, 64)
    other = quantised.Expected(one, arrays, [scale, Scale(0.5, 20)], [U8], [U8])
    assert np.array_equal(other.values[0], quantised.quantise(quantised.dequantise(reference.values[0], scale), Scale(0.5, 20)))
    wrong = reference.values[0] ^ np.uint8(1)
    assert "0 allowed" in reference.fault([wrong])


def test_nearest_pixels_are_moved():
    one = case("resize2", (1, 3, 4, 5), mode="nearest", coordinates="asymmetric", rounding="floor", scale=(2.0, 3.0))
    scale = Scale(0.25, 77)
    reference = quantised.Expected(one, one.arrays(), [scale, scale], [U8], [U8])
    assert np.array_equal(reference.values[0], reference.arrays[0].repeat(2, 2).repeat(3, 3))


def test_a_cubic_resize_has_no_rule():
    reference, *_ = expected(case("resize2", (1, 3, 4, 5), mode="cubic", scale=(2.0, 3.0)))
    assert reference.steps == 1

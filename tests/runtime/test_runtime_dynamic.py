"""Products of 8 bits between f32 values, of which every row finds its own scale when it comes."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from made_up import made_up_limits

import pathweave as pw
from pathweave.net.net import Epilogue, Layer, Model, Net, TensorSpec
from pathweave.runtime.calibrate import AT_RUN_TIME, NONE_TAKES_PART, uncalibrated_note
from pathweave.runtime.rates import fixed
from pathweave.testing import dynamic
from pathweave.testing.cases.dense import dense

GEMM, GEMV = "dense/dynamic_gemm:qint8:plain:cpu", "dense/dynamic_gemv:qint8:plain:cpu"


def dense_net(rows: int | str = 5, depth: int = 24, outputs: int = 19, act: str = "") -> Model:
    """y = act(x @ w.T + b)."""
    rng = np.random.default_rng(3)
    constants = {"w": rng.standard_normal((outputs, depth)).astype(np.float32),
                 "b": rng.standard_normal(outputs).astype(np.float32)}
    layer = Layer("d", "dense", ("x", "w", "b"), ("y",), epilogue=Epilogue.parse(act))
    return Model({"main": Net({"x": TensorSpec("f32", (rows, depth))}, ["y"], [layer], constants)})


def run(model, x: np.ndarray, routine: str = GEMM, threads: int = 1) -> np.ndarray:
    loaded = pw.load(model)
    route = pw.default_route(loaded, threads, shapes={"x": x.shape}, accuracy="quantised", restrict=routine)
    assert [c.routine for c in route.layers.values()] == [routine]
    return loaded.plan(route, {"x": x.shape}, threads).session().run({"x": x})["y"]


@pytest.fixture
def x():
    return np.random.default_rng(1).standard_normal((5, 24)).astype(np.float32)


def test_the_default_route_of_the_class_takes_them_without_scales():
    """On a machine that is made up, which multiplies bytes four times as fast as floats."""
    limits = made_up_limits()
    fast = {}
    for n, m in limits.measured.items():
        bytes_too = {"dtype": "i8", "per_second": 4 * m["peaks"]["peak_f32__x"]["per_second"]}
        fast[n] = {**m, "peaks": {**m["peaks"], "peak_i8__x": bytes_too}}
    for rows, routine in ((64, GEMM), (1, GEMV)):
        model = pw.load(dense_net(rows, 1024, 1024))
        with fixed(replace(limits, measured=fast)):
            assert pw.default_route(model, 1, accuracy="quantised").layers["d"].routine == routine
            assert "qint8" not in pw.default_route(model, 1).layers["d"].routine


@pytest.mark.parametrize("routine, rows", [(GEMM, 5), (GEMV, 3)])
def test_a_row_does_not_depend_on_the_others(x, routine, rows):
    """Not where another is a million times as large, or not finite."""
    x = x[:rows]
    alone = run(dense_net(1), x[:1], routine)
    beside = x.copy()
    beside[1] *= 1e6
    beside[2, 7] = np.inf
    together = run(dense_net(rows), beside, routine)
    assert together[0].tobytes() == alone[0].tobytes()
    assert np.isnan(together[2]).all() and np.isfinite(np.delete(together, 2, 0)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 7, 16, 23])
def test_a_row_that_is_not_finite_gives_nan(x, bad, column):
    x[3, column] = bad
    y = run(dense_net(), x)
    assert np.isnan(y[3]).all() and np.isfinite(np.delete(y, 3, 0)).all()


def test_rows_of_zeros_and_of_tiny_numbers(x):
    net = dense_net()
    x[0], x[1], x[2], x[3] = 0, x[1] * 1e-30, x[2] * 1e-42, 3e38 * np.sign(x[3])
    y, bias = run(net, x), net.main.constants["b"]
    assert (y[:3] == bias).all()
    assert np.isfinite(y[4]).all() and np.abs(y[3]).max() > 1e38


def test_one_sign(x):
    """0 is always within the range, and is exact."""
    w = dense_net().main.constants["w"]
    for sign in (1, -1):
        a = np.where(np.arange(24) % 3 == 0, np.float32(0), sign * np.abs(x)).astype(np.float32)
        wanted = a.astype(np.float64) @ w.T.astype(np.float64) + dense_net().main.constants["b"]
        assert np.sqrt(np.mean((run(dense_net(), a) - wanted) ** 2) / np.mean(wanted ** 2)) < 0.02


def test_one_plan_for_all_numbers_of_rows(x):
    model, bare = pw.load(dense_net("N")), dense_net
    route = pw.default_route(model, 2, shapes={"x": (40, 24)}, accuracy="quantised", restrict=GEMM)
    model.add_route(route)
    many = np.random.default_rng(5).standard_normal((40, 24)).astype(np.float32)
    for rows in (40, 1, 7, 33):
        got = model(many[:rows])
        assert got.tobytes() == run(bare(rows), many[:rows]).tobytes()


def test_the_reference_knows_rows():
    """Brute force, element by element, in exact integers."""
    case = dense((3, 6), 4)
    arrays = case.arrays()
    rows, w, b = (np.asarray(a, np.float32) for a in arrays)
    got = dynamic.values(case, arrays)
    scale, zero = dynamic.row_scales(rows)
    q_w, s_w = dynamic.weights("dense", 1, w)
    for i in range(3):
        low, high = min(0.0, float(rows[i].min())), max(0.0, float(rows[i].max()))
        assert scale[i, 0] == pytest.approx((high - low) / 255, rel=1e-6) and 0 <= zero[i, 0] <= 255
        q = [round(float(v * (np.float32(1) / scale[i, 0]))) for v in rows[i]]
        assert max(q) - min(min(q), 0) <= 256
        for j in range(4):
            total = sum(a * int(v) for a, v in zip(q, q_w[j]))
            assert got[i, j] == pytest.approx(total * float(scale[i, 0]) * float(s_w[j]) + float(b[j]), rel=1e-5, abs=1e-6)


def test_the_reference_notices_mistakes():
    case = dense((3, 16), 8, epilogue="add+relu")
    arrays = case.arrays()
    right = dynamic.values(case, arrays)
    assert dynamic.fault(case, arrays, right) == ""
    wrong = right.copy()
    wrong.flat[np.argmax(wrong)] = np.nextafter(wrong.max(), np.float32(0))
    assert "1 of 24 elements differ" in dynamic.fault(case, arrays, wrong)
    allowed = dynamic.allowed(case, arrays, case.reference(arrays)[0])
    assert 0.01 < allowed < 0.3


# ---- what is said ---------------------------------------------------------------------------------------------------

def test_the_note_says_which_routines_take_part(classifier):
    bound = pw.load(dense_net()).bind()
    assert uncalibrated_note(bound, "quantised", 1) == AT_RUN_TIME
    assert uncalibrated_note(bound, "reduced", 1) == ""
    nothing = Model({"main": Net({"x": TensorSpec("f32", (2, 3))}, ["y"], [Layer("l", "relu", ("x",), ("y",))], {})})
    assert uncalibrated_note(pw.load(nothing).bind(), "quantised", 1) == NONE_TAKES_PART
    calibrated = pw.load(dense_net()).calibrate([np.ones((5, 24), np.float32)])
    assert uncalibrated_note(calibrated.bind(), "quantised", 1) == ""


def test_tuning_without_samples_uses_them_and_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tuned = pw.tune(dense_net(64, 256, 256), accuracy="quantised", threads=1, budget_s=0.5, progress=False,
                        restrict="qint8", store=str(tmp_path / "store"))
    assert AT_RUN_TIME in tuned.report["findings"]
    route = tuned.route({"x": (64, 256)})
    assert route.layers["d"].routine == GEMM and route.accuracy == "quantised"


def test_with_samples_both_take_part(x):
    model = pw.load(dense_net()).calibrate([x])
    found = {c.routine for c in model.bind().candidates(0, 1, accuracy="quantised")[0]}
    assert {GEMM, "dense/gemm:u8:plain:cpu", "dense/gemm:f32:plain:cpu"} <= found


def test_verify_measures_their_error(x, tmp_path):
    from pathweave.profiling.protocol import profile_bound
    from pathweave.profiling.store import Store
    profile = profile_bound(pw.load(dense_net()).bind(), threads=1, budget_s=0, accuracy="quantised", store=Store.memory(),
                            verify=True)
    assert profile.notes["wrong"] == [] and any(m.routine == GEMM for m in profile)

"""Calibration and quantised routes from the command line."""

from __future__ import annotations

import numpy as np
import pytest

from pathweave.files.model import save
from pathweave.net.net import Layer, Model, Net, TensorSpec
from pathweave.net.scales import Scale


@pytest.fixture
def calibrated(pw, digits, heldout, tmp_path):
    out = tmp_path / "digits.pw"
    result = pw("import", digits, "-o", out, "--calibrate", f"x={heldout}:images")
    assert result.code == 0 and "calibrated   9 values on 360 samples" in result.out, result.err
    return out


def test_show_prints_scales(pw, digits, calibrated):
    shown = pw("show", calibrated)
    assert "calibrated: 9 of 9 values" in shown.out
    (scale, zero_point) = pw("show", calibrated, "--json").json["quantisation"]["main"]["x"]
    assert scale == pytest.approx(1 / 255) and zero_point == 0
    assert "calibrated" not in pw("show", digits).out


def test_show_prints_scales_that_the_model_states(pw, tmp_path):
    net = Net({"x": TensorSpec("f32", (2, 3))}, ["y"], [Layer("l", "relu", ("x",), ("y",))], {},
              scales={"x": Scale((0.5, 0.25, 2.0), (1, 1, 4), "i8", 1), "y": Scale(0.125, 3)})
    save(Model({"main": net}), tmp_path / "m.pw")
    shown = pw("show", tmp_path / "m.pw").out
    x, y = (next(line for line in shown.splitlines() if line.strip().startswith(f"{name} ") and "." in line) for name in "xy")
    assert x.split() == ["x", "-264", "246", "0.25", "to", "2", "1", "to", "4", "i8", "1"]
    assert y.split() == ["y", "-0.375", "31.5", "0.125", "3", "u8"]
    assert "stated by the model: 2, of 2 values" in shown
    found = pw("show", tmp_path / "m.pw", "--json").json
    assert found["scales"] == {"x": {"scale": [0.5, 0.25, 2.0], "zero_point": [1, 1, 4], "dtype": "i8", "axis": 1},
                               "y": [0.125, 3]} and found["quantisation"] == {}


def test_verify_stays_in_the_range_of_the_samples(pw, calibrated):
    """Random numbers that the scales do not cover would make a right model look wrong."""
    from pathweave.runtime.inputs import random_inputs
    from pathweave.runtime.model import load
    result = pw("verify", calibrated, "-r", "cpu:u8", "--accuracy", "quantised")
    assert result.code == 0 and "accuracy class quantised" in result.out, result.out + result.err
    bound = load(calibrated).bind({"N": 64})
    x = random_inputs(bound)["x"]
    assert x.dtype == np.float32 and 0 <= x.min() < 0.01 and 0.99 < x.max() <= 1.0001


def test_import_says_what_it_found(pw, digits, heldout, tmp_path):
    found = pw("import", digits, "-o", tmp_path / "a.pw", "--calibrate", f"x={heldout}:images", "--json").json
    assert found["samples"] == 360 and len(found["quantisation"]["main"]) == 9


def test_images_of_a_folder(pw, digits, pipeline, tmp_path):
    pytest.importorskip("PIL")
    folder = digits.parent / "images"
    result = pw("import", digits, "-o", tmp_path / "a.pw", "--preprocess", pipeline, "--calibrate", folder)
    assert result.code == 0 and "on 5 samples" in result.out, result.err
    refused = pw("import", digits, "-o", tmp_path / "a.pw", "--calibrate", folder)
    assert refused.code == 2 and "preprocess" in refused.err


def test_arrays_of_every_input(pw, two_inputs, tmp_path):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((8, 3)).astype(np.float32) for _ in "ab")
    np.savez(tmp_path / "s.npz", a=a, b=b)
    found = pw("import", two_inputs, "-o", tmp_path / "m.pw", "--calibrate", tmp_path / "s.npz", "--json").json
    assert found["samples"] == 4  # the inputs are [2,3]
    scale, _ = found["quantisation"]["main"]["a"]
    assert scale == pytest.approx((max(a.max(), 0) - min(a.min(), 0)) / 255, rel=1e-6)
    np.savez(tmp_path / "s.npz", a=a, b=b[:4])
    assert "as many samples of every input" in pw("import", two_inputs, "-o", tmp_path / "m.pw", "--calibrate",
                                                   tmp_path / "s.npz").err


def samples(kind: str, tmp_path, heldout):
    """A path that holds something else than samples."""
    path = tmp_path / "samples.npz"
    images = np.load(heldout)["images"][:3]
    if kind == "text":
        path.write_text("no arrays")
    elif kind == "shape":
        np.save(path.with_suffix(".npy"), images[:, :, :4])
        return path.with_suffix(".npy")
    elif kind == "type":
        np.savez(path, x=images.astype(np.float64))
    elif kind == "nan":
        np.savez(path, x=np.where(images > 0.9, np.nan, images).astype(np.float32))
    elif kind == "names":
        np.savez(path, first=images, second=images)
    elif kind == "none":
        np.savez(path, x=images[:0])
    elif kind == "folder":
        (tmp_path / "empty").mkdir()
        return tmp_path / "empty"
    return path


@pytest.mark.parametrize("kind, words", [
    ("text", "expected a .npy or .npz file with plain arrays"), ("missing", "no such file"),
    ("shape", "samples[0]: input 'x'"), ("type", "expected element type float32"), ("nan", "expected finite numbers"),
    ("names", "expected arrays of samples named x (f32[N,1,8,8]), got first float32[3, 1, 8, 8]"),
    ("none", "expected at least one sample, got none"), ("folder", "expected images in that folder")])
def test_wrong_samples(pw, digits, heldout, tmp_path, kind, words):
    out = tmp_path / "a.pw"
    result = pw("import", digits, "-o", out, "--calibrate", samples(kind, tmp_path, heldout))
    assert result.code == 2 and words in result.err and not out.exists(), result.err


def test_tune_quantised(pw, digits, heldout, tmp_path):
    out = tmp_path / "tuned.pw"
    result = pw("tune", digits, "--calibrate", f"x={heldout}:images", "--accuracy", "quantised", "--budget", 1, "--threads", 1,
                "-o", out, "--routine", "qint8", "--json")
    assert result.code == 0, result.err
    steps = result.json["route"]["steps"]
    assert sum(":u8:" in s["routine"] for s in steps) >= 6 and result.json["route"]["accuracy"] == "quantised"
    verified = pw("verify", out, "--data", f"x={heldout}:images", "--samples", 40, "--json").json
    assert verified["ok"] and verified["accuracy"] == "quantised" and 1e-4 < verified["rms"] < 0.1
    assert verified["top1"]["rows"] == 40 and verified["top1"]["same"] >= 39
    text = pw("verify", out, "--data", f"x={heldout}:images", "--samples", 5)
    assert "the best class is the same in" in text.out and "(accuracy class quantised)" in text.out
    assert pw("verify", out, "--data", f"x={heldout}:images", "--samples", 5, "--limit", "1e-5").code == 1

    measured = pw("bench", out, "--rounds", 1, "--threads", 1, "--data", f"x={heldout}:images", "--json")
    assert measured.code == 0, measured.err
    ours, plain = measured.json["engines"]
    assert (ours["accuracy"], plain["accuracy"]) == ("quantised", "f32")
    assert measured.json["run"]["reference"] == plain["engine"]
    assert plain["difference"] == 0 < ours["difference_rms"] < 0.1 and ours["top1"] == [1, 1]


def test_bench_against_single_classes(pw, digits, heldout):
    """What the store learnt while tuning is what the routes of one class are made from."""
    done = pw("bench", digits, "--tune", "--accuracy", "quantised", "--uniform", "--rounds", 1, "--threads", 1, "--data",
              f"x={heldout}:images", "--json")
    assert done.code == 0, done.err
    engines = {e["engine"]: e for e in done.json["engines"]}
    assert {"pathweave", "pathweave-f32-only", "pathweave-quantised-only"} <= set(engines)
    assert engines["pathweave-f32-only"]["accuracy"] == "f32" and engines["pathweave-f32-only"]["difference"] < 1e-4
    assert engines["pathweave-quantised-only"]["accuracy"] == "quantised"


def test_tuning_without_scales_says_so(pw, digits):
    result = pw("tune", digits, "--accuracy", "quantised", "--budget", 0, "--threads", 1, "--no-save")
    assert result.code == 0 and "only routines that take their scales at run time are used" in result.out


def test_profile_verifies_quantised_candidates(pw, calibrated):
    """On random inputs, which go far beyond the range of the samples."""
    result = pw("profile", calibrated, "--accuracy", "quantised", "--budget", 0, "--threads", 1, "--verify", "--json")
    assert result.code == 0 and result.json["notes"]["wrong"] == [], result.err


def test_data_that_does_not_fit(pw, digits, heldout, tmp_path):
    assert "fewer than the batch 400" in pw("bench", digits, "--data", f"x={heldout}:images", "--batch", 400).err
    np.savez(tmp_path / "s.npz", x=np.zeros((0, 1, 8, 8), np.float32))
    assert pw("verify", digits, "--data", tmp_path / "s.npz").code == 2

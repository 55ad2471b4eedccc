"""`--data` and `--calibrate`: which samples the arrays of a file are, and which input each is for."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@pytest.fixture
def voice(tmp_path):
    """y = x * mean(state) + rate, for x [1,4], a state [2,1,3] and a rate that is a single integer."""
    nodes = [helper.make_node("ReduceMean", ["state"], ["mean"], keepdims=0), helper.make_node("Mul", ["x", "mean"], ["m"]),
             helper.make_node("Cast", ["rate"], ["r"], to=FLOAT), helper.make_node("Add", ["m", "r"], ["y"])]
    inputs = [helper.make_tensor_value_info(*i)
              for i in (("x", FLOAT, [1, 4]), ("state", FLOAT, [2, 1, 3]), ("rate", INT64, []))]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", FLOAT, [1, 4])])
    path = tmp_path / "voice.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    return path


def arrays(count=None, **other):
    """Samples of that model, stacked along a new first dimension unless `count` is None."""
    rng = np.random.default_rng(0)
    first = () if count is None else (count,)
    return {"x": rng.standard_normal((*first, 1, 4)).astype("f4"), "state": rng.standard_normal((*first, 2, 1, 3)).astype("f4"),
            "rate": np.full(first, 7), **other}


LAYOUTS = {
    "stacked": (arrays(5), 5), "one call": (arrays(), 1), "one rate": (arrays(5, rate=np.int64(7)), 5),
    "rate of length 1": (arrays(5, rate=np.int64([7])), 5), "one state": (arrays(5, state=arrays()["state"]), 5),
    "rows": (arrays(5, x=np.ones((5, 4), "f4"), state=np.ones((10, 1, 3), "f4")), 5)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_samples(pw, voice, tmp_path, layout):
    given, count = LAYOUTS[layout]
    np.savez(tmp_path / "s.npz", **given)
    found = pw("verify", voice, "--data", tmp_path / "s.npz", "--json")
    assert found.code == 0 and found.json["samples"] == count, found.err
    assert pw("import", voice, "-o", tmp_path / "m.pw", "--calibrate", tmp_path / "s.npz", "--json").json["samples"] == count
    measured = pw("bench", voice, "--data", tmp_path / "s.npz", "--rounds", 1, "--threads", 1, "--json")
    assert measured.code == 0, measured.err


def test_the_samples_are_those_of_the_file(voice, tmp_path):
    from pathweave.cli._calibration import all_data, data
    from pathweave.runtime.model import load
    given = arrays(3, rate=np.int64(9))
    np.savez(tmp_path / "s.npz", **given)
    np.savez(tmp_path / "one.npz", **arrays())
    model = load(voice, threads=1)
    count, found = data(model, str(tmp_path / "s.npz"))
    for i, sample in enumerate(found):
        np.testing.assert_array_equal(sample["x"], given["x"][i])
        np.testing.assert_array_equal(sample["state"], given["state"][i])
        assert sample["rate"] == 9 and sample["rate"].shape == ()
    assert count == 3
    files = [str(tmp_path / "one.npz"), str(tmp_path / "s.npz")]
    assert all_data(model, files, None)[0] == 4 and [s["rate"] for s in all_data(model, files, 2)[1]] == [7, 9]


def test_files_that_are_a_call_each(pw, voice, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays())
    np.savez(tmp_path / "b.npz", **arrays(2))
    found = pw("verify", voice, "-d", tmp_path / "a.npz", "-d", tmp_path / "b.npz", "--json")
    assert found.code == 0 and found.json["samples"] == 3


def test_an_array_of_another_name_is_refused(pw, digits, heldout, tmp_path):
    """As `run` does; NAME=FILE:KEY says what is meant."""
    images = np.load(heldout)["images"][:3]
    np.savez(tmp_path / "y.npz", y=images)
    np.save(tmp_path / "x.npy", images)
    for words in (["verify", digits, "--data"], ["import", digits, "-o", tmp_path / "m.pw", "--calibrate"]):
        refused = pw(*words, tmp_path / "y.npz")
        assert refused.code == 2 and f"such as x={tmp_path / 'y.npz'}:y" in refused.err
        for good in (f"x={tmp_path / 'y.npz'}:y", f"x={tmp_path / 'y.npz'}", f"{tmp_path / 'y.npz'}:y", tmp_path / "x.npy",
                     f"x={tmp_path / 'x.npy'}"):
            found = pw(*words, good, "--json")
            assert found.code == 0 and found.json["samples"] == 3, found.err


@pytest.mark.parametrize("text, words", [
    ("z={}", "'z' is no input; the inputs are x"), ("{}:other", "there is no array 'other'"), ("x={}", "a file of 2"),
    ("x={}x", "no such file")])
def test_bad_names(pw, digits, tmp_path, text, words):
    np.savez(tmp_path / "s.npz", a=np.ones(3), b=np.ones(3))
    refused = pw("verify", digits, "--data", text.format(tmp_path / "s.npz"))
    assert refused.code == 2 and words in refused.err


def test_what_is_no_sample(pw, voice, two_inputs, tmp_path):
    np.savez(tmp_path / "s.npz", **arrays(state=np.float32(1)))
    assert "'state' is a single number" in pw("verify", voice, "--data", tmp_path / "s.npz").err
    np.savez(tmp_path / "s.npz", **arrays(3, rate=np.arange(4)))
    assert "3 of x, 3 of state, 4 of rate" in pw("verify", voice, "--data", tmp_path / "s.npz").err


def test_run_takes_numbers_and_fixed_values_beside_random_ones(pw, voice, tmp_path):
    given = arrays()
    for name in ("x", "state"):
        np.save(tmp_path / f"{name}.npy", given[name])
    files = [f"{n}={tmp_path / n}.npy" for n in ("x", "state")]
    expected = given["x"].astype("f8") * given["state"].astype("f8").mean() + 16000
    for words in ([*files, "rate=16000"], ["--random", *files, "rate=16000"]):
        assert pw("run", voice, *words, "-o", tmp_path / "y.npz").code == 0
        np.testing.assert_allclose(np.load(tmp_path / "y.npz")["y"], expected, rtol=1e-6)
    assert pw("run", voice, "--random", "state=0", "rate=5", "-o", tmp_path / "y.npz").code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "y.npz")["y"], np.full((1, 4), 5))


@pytest.mark.parametrize("words, expected", [
    (["--random", "rate=1.5"], "holds, got the float 1.5"), (["--random", "x.npy"], "expected NAME=NUMBER or NAME=FILE.npy"),
    (["--random", "speed=1"], "the inputs are x, state, rate"), ([], "expected INPUT... or --random")])
def test_run_refuses_numbers_that_do_not_fit(pw, voice, words, expected):
    refused = pw("run", voice, *words)
    assert refused.code == 2 and expected in refused.err


def test_a_number_needs_known_sizes(pw, digits):
    refused = pw("run", digits, "--random", "x=1")
    assert refused.code == 2 and "give x=FILE.npy" in refused.err

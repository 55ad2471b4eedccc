"""`--layout`: arrays of a call that lie channels last, through every command, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def image_net(tmp_path):
    """x [N,3,6,8] -> y [N,5,6,8], in a file."""
    w = np.random.default_rng(1).standard_normal((5, 3, 3, 3)).astype(np.float32)
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", c, 6, 8]) for n, c in (("x", 3), ("y", 5)))
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)], "g", [x], [y],
                              [numpy_helper.from_array(w, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "net.onnx"


@pytest.fixture
def x():
    return np.random.default_rng(2).standard_normal((2, 3, 6, 8)).astype(np.float32)


def channels_last(array):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def expected(path, x):
    runtime = pytest.importorskip("onnxruntime")
    return runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.parametrize("more", [[], ["--routine", "naive"]], ids=["own route", "restricted"])
def test_run(pw, image_net, x, tmp_path, more):
    np.save(tmp_path / "x.npy", channels_last(x))
    done = pw("run", image_net, tmp_path / "x.npy", "--layout", "x=nhwc", "--layout", "y=nhwc", "-o", tmp_path / "y.npz", *more)
    assert done.code == 0, done.err
    got, wanted = np.load(tmp_path / "y.npz")["y"], channels_last(expected(image_net, x))
    assert got.shape == wanted.shape and np.abs(got - wanted).max() < 1e-5
    assert "6x8x5" in done.out
    np.save(tmp_path / "x.npy", x)
    wrong = pw("run", image_net, tmp_path / "x.npy", "--layout", "nhwc")
    assert wrong.code != 0 and "x.transpose(0, 2, 3, 1)" in wrong.err


def test_the_same_random_numbers_in_every_layout(pw, image_net, tmp_path):
    found = []
    for words in ([], ["--layout", "nhwc", "--layout", "y=nhwc"]):
        assert pw("run", image_net, "--random", "-o", tmp_path / "y.npz", *words).code == 0
        found.append(np.load(tmp_path / "y.npz")["y"])
    assert np.abs(channels_last(found[0]) - found[1]).max() < 1e-5


def test_a_file_keeps_its_layouts(pw, image_net, x, tmp_path):
    out = tmp_path / "net.pw"
    np.savez(tmp_path / "x.npz", x=channels_last(x))
    made = pw("import", image_net, "-o", out, "--layout", "x=nhwc", "--layout", "y=nhwc", "--calibrate", tmp_path / "x.npz",
              "--json")
    assert made.code == 0 and made.json["layouts"] == {"x": "nhwc", "y": "nhwc"} and made.json["samples"] == 2
    shown = pw("show", out)
    assert "in nhwc: an array [1, 6, 8, 3]" in shown.out and "in nhwc: an array [1, 6, 8, 5]" in shown.out
    facts = pw("show", out, "--json").json
    assert facts["inputs"]["x"]["format"] == "f32:nhwc:cpu" and facts["layouts"] == {"x": "nhwc", "y": "nhwc"}
    assert "in nhwc" not in pw("show", image_net).out
    for words in ([], ["--data", tmp_path / "x.npz", "--layers"]):
        assert pw("verify", out, *words).code == 0


def test_other_engines_get_the_declared_order(pw, image_net, tmp_path):
    pytest.importorskip("onnxruntime")
    out = tmp_path / "net.pw"
    pw("import", image_net, "-o", out, "--layout", "x=nhwc", "--layout", "y=nhwc")
    assert pw("verify", out, "--against", "onnxruntime", "--onnx", image_net).code == 0
    done = pw("bench", out, "--against", "onnxruntime", "--onnx", image_net, "--rounds", 1, "--memory", "--json")
    assert done.code == 0, done.err
    assert max(e["difference"] for e in done.json["engines"]) < 1e-5
    assert all("peak_bytes" in facts for facts in done.json["memory"].values()), done.json["memory"]


def test_tune_and_explain(pw, image_net, tmp_path):
    out = tmp_path / "net.pw"
    tuned = pw("tune", image_net, "-o", out, "--layout", "x=nhwc", "--layout", "y=nhwc", "--budget", 0, "-t", 1, "--routine",
               "conv2/direct:f32:nhwc:cpu", "--json")
    assert tuned.code == 0, tuned.err
    assert [s["kind"] for s in tuned.json["route"]["steps"]] == ["conv2"]  # no conversion beside it
    assert pw("explain", out, 0, "-t", 1, "--json").json["conversions"] == []
    assert "tuned route" in pw("show", out, "-t", 1).out
    assert "carried over" in pw("show", out, "-t", 1, "--layout", "x=nchw").out
    assert pw("profile", image_net, "--budget", 0, "--layout", "nhwc", "--verify", "-t", 1).code == 0


@pytest.mark.parametrize("text, says", [("z=nhwc", "neither an input nor an output"), ("x=nhcw", "expected one of"),
                                        ("nchw16c", "16 divides")])
def test_layouts_that_do_not_fit_are_bad_use(pw, image_net, text, says):
    done = pw("show", image_net, "--layout", text)
    assert done.code == 2 and done.err.startswith(f"pathweave: --layout {text}: ") and says in done.err

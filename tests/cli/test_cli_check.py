"""pathweave import --check: an imported model against another engine on the original file, and the first layer that differs."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pathweave import load
from pathweave.cli import _calibration
from pathweave.importers import onnx as importer

pytest.importorskip("onnxruntime", reason="onnxruntime, which imports are checked with, is not installed")


def write(path, nodes, inputs, outputs, constants=None):
    graph = helper.make_graph(nodes, "net", inputs, outputs,
                              [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()])
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    return path


def info(name, shape, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


@pytest.fixture
def file(tmp_path):
    """Two branches, with a softplus in one of them, and layers behind both."""
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
             helper.make_node("Tanh", ["a"], ["left"], name="left branch"),
             helper.make_node("Softplus", ["a"], ["s"], name="right branch"),
             helper.make_node("Mul", ["s", "scale"], ["right"]),
             helper.make_node("Add", ["left", "right"], ["sum"]),
             helper.make_node("Sigmoid", ["sum"], ["y"], name="last")]
    return write(tmp_path / "m.onnx", nodes, [info("x", ["N", 8])], [info("y", ["N", 6]), info("left", ["N", 6])],
                 {"w": rng.standard_normal((8, 6)).astype("f4"), "scale": np.float32([2])})


@pytest.fixture
def wrong(monkeypatch):
    """Make the importer take an operator for another one."""
    def take(operator, other):
        monkeypatch.setitem(importer.operators(), operator, importer.operators()[other])
    return take


@pytest.mark.parametrize("against", [None, "onnxruntime", "onnx.reference"])
def test_an_import_that_agrees(pw, file, against):
    found = pw("import", file, "--check", "--json", *(["--against", against] if against else []))
    assert found.code == 0
    check = found.json["check"]
    assert check["ok"] and check["first"] is None and check["samples"] == 3
    assert check["against"].startswith(against or "onnxruntime ")
    assert [o["output"] for o in check["outputs"]] == ["y", "left"] and 0 <= check["largest"] < 1e-5


@pytest.mark.parametrize("operator", ["MatMulInteger", "ConvInteger"])
def test_signed_weights_of_8_bits_agree_on_every_processor(pw, tmp_path, monkeypatch, operator):
    monkeypatch.chdir(tmp_path)
    shape, weights = ([2, 64], (64, 8)) if operator == "MatMulInteger" else ([1, 16, 6, 6], (8, 16, 3, 3))
    file = write(tmp_path / "m.onnx", [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
                                       helper.make_node(operator, ["q", "w"], ["sum"]),
                                       helper.make_node("Cast", ["sum"], ["y"], to=TensorProto.FLOAT)],
                 [info("x", shape)], [info("y", None)], {"w": np.full(weights, 127, "i1")})
    np.save(tmp_path / "x.npy", np.linspace(90, 100, np.prod(shape), dtype="f4").reshape(shape))
    found = pw("import", file, "--check", "--data", tmp_path / "x.npy", "--json")
    assert found.code == 0 and found.json["check"]["ok"], found.out


def test_the_file_is_written_too(pw, file, tmp_path):
    found = pw("import", file, "--check", "-o", tmp_path / "m.pw")
    assert found.code == 0 and (tmp_path / "m.pw").exists()
    assert "written from" in found.out and found.out.rstrip().splitlines()[-1].startswith("agrees: ")


@pytest.mark.parametrize("against", ["onnxruntime", "onnx.reference"])
def test_the_first_layer_that_differs_is_named_and_its_inputs_are_saved(pw, file, wrong, tmp_path, monkeypatch, against):
    monkeypatch.chdir(tmp_path)
    wrong("Softplus", "Relu")
    found = pw("import", file, "--check", "--against", against)
    assert found.code == 1
    assert "the first layer that differs is node 'right branch' (Softplus): its result 's' differs by " in found.out
    assert "DIFFERS" in found.out.splitlines()[-1] and "m.difference.npz" in found.out
    with np.load("m.difference.npz") as arrays:
        assert set(arrays) == {"a", "expected:s", "got:s"}
        np.testing.assert_allclose(arrays["expected:s"], np.log1p(np.exp(arrays["a"].astype("f8"))), rtol=1e-5)
        np.testing.assert_allclose(arrays["got:s"], np.maximum(arrays["a"], 0), atol=1e-6)


def test_of_two_wrong_layers_one_is_found_whose_inputs_agree(pw, file, wrong, tmp_path):
    wrong("Softplus", "Relu")
    wrong("Sigmoid", "Tanh")
    found = pw("import", file, "--check", "--json", "--difference", tmp_path / "d.npz")
    first = found.json["check"]["first"]
    assert found.code == 1 and (first["node"], first["operator"], first["value"]) == ("right branch", "Softplus", "s")
    assert first["file"] == str(tmp_path / "d.npz")
    assert {o["output"]: o["ok"] for o in found.json["check"]["outputs"]} == {"y": False, "left": True}


def test_a_node_without_a_name_has_that_of_the_importer(pw, file, wrong, tmp_path):
    wrong("Mul", "Add")
    found = pw("import", file, "--check", "--json", "--difference", tmp_path / "d.npz")
    assert found.json["check"]["first"]["node"] == "Mul_3"
    with np.load(tmp_path / "d.npz") as arrays:
        np.testing.assert_allclose(arrays["expected:right"], arrays["s"] * arrays["scale"], rtol=1e-6)


def test_given_data_are_compared(pw, file, wrong, tmp_path):
    """Samples of several files, one after the other."""
    wrong("Softplus", "Relu")
    near, far = np.zeros((2, 8), "f4"), np.ones((3, 8), "f4")
    big = np.full((2, 8), 1e4, "f4")
    np.savez(tmp_path / "big.npz", x=big)
    np.savez(tmp_path / "near.npz", x=np.concatenate([near, far]))
    same = pw("import", file, "--check", "--json", "--data", tmp_path / "big.npz")
    assert same.json["check"]["samples"] == 2
    both = pw("import", file, "--check", "--json", "-d", tmp_path / "big.npz", "-d", tmp_path / "near.npz",
              "--difference", tmp_path / "d.npz")
    assert both.code == 1 and both.json["check"]["samples"] == 7


def test_sizes_that_must_be_known_are_found_or_given(pw, tmp_path):
    path = write(tmp_path / "open.onnx", [helper.make_node("Softmax", ["x"], ["y"], axis=-1)], [info("x", ["N", "T", 4])],
                 [info("y", ["N", "T", 4])])
    assert pw("import", path, "--check").code == 0
    assert pw("import", path, "--check", "--shape", "T=5").code == 0


def test_halves_may_differ_by_more(pw, tmp_path):
    rng = np.random.default_rng(0)
    path = write(tmp_path / "half.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])],
                 [info("x", [4, 64], TensorProto.FLOAT16)],
                 [info("y", [4, 5], TensorProto.FLOAT16)], {"w": rng.standard_normal((64, 5)).astype("f2")})
    found = pw("import", path, "--check", "--json")
    assert found.code == 0 and found.json["check"]["limit"] == 2e-2


def test_sizes_and_numbers_that_it_ran_on_are_told(pw, file, tmp_path):
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, (2, 8)).astype("f4"), rng.uniform(-1, 1, (1, 3, 8)).astype("f4")
    a[0, 0], b[0, 0, 0] = 1.5, -2.5
    np.savez(tmp_path / "a.npz", x=a)
    np.savez(tmp_path / "b.npz", x=b)
    words = ("import", file, "--check", "-d", tmp_path / "a.npz", "-d", tmp_path / "b.npz")
    assert "compared on 3 samples: x f32 1x8 or 3x8 (-2.5 to 1.5)" in pw(*words).out
    (given,) = pw(*words, "--json").json["check"]["inputs"]
    assert given == {"name": "x", "dtype": "f32", "shapes": [[1, 8], [3, 8]], "least": -2.5, "largest": 1.5}
    assert "compared on 2 samples of random numbers: x f32 " in pw("import", file, "--check", "-n", 2).out


def test_how_far_the_inputs_of_the_first_layer_differ_is_told(pw, file, wrong, tmp_path):
    wrong("Softplus", "Relu")
    found = pw("import", file, "--check", "--json", "--difference", tmp_path / "d.npz").json["check"]["first"]
    assert 0 <= found["inputs"] < 1e-6 < found["largest"]
    said = pw("import", file, "--check", "--difference", tmp_path / "d.npz").out
    assert "and its inputs are equal" in said or "and its inputs differ by " in said
    wrong("MatMul", "Sub")
    square = write(tmp_path / "s.onnx", [helper.make_node("MatMul", ["x", "x"], ["y"])], [info("x", [4, 4])],
                   [info("y", [4, 4])])
    assert "and its inputs are those of the model" in pw("import", square, "--check", "--difference", tmp_path / "d.npz").out


def test_samples_of_one_size_are_judged_together(pw, tmp_path):
    """Blocks are counted over all of them."""
    branches = [helper.make_graph([helper.make_node(op, ["x"], [op])], op, [], [info(op, [1, 4])]) for op in ("Relu", "Tanh")]
    node = helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])
    path = write(tmp_path / "if.onnx", [node], [info("x", [1, 4]), info("c", [], TensorProto.BOOL)], [info("y", [1, 4])])
    np.savez(tmp_path / "s.npz", x=np.ones((5, 1, 4), "f4"), c=np.array([True, False, True, True, False]))
    said = pw("import", path, "--check", "--data", tmp_path / "s.npz").out
    assert "then_branch 3" in said and "else_branch 2" in said
    assert "compared on 5 samples: x f32 1x4 (1 to 1), c bool one number (False to True)" in said


@pytest.fixture
def rounding(monkeypatch):
    """ONNX Runtime with results that are off by half a unit in the last place of 0.5, as its sigmoid's are near 0."""
    from pathweave.report.sources import onnx_file
    real = onnx_file._onnxruntime

    def off(model, folder):
        run = real(model, folder)
        return lambda outputs, inputs: [a + np.float32(2.0 ** -25) for a in run(outputs, inputs)]
    monkeypatch.setattr(onnx_file, "_onnxruntime", off)


def probability(path, bias):
    return write(path, [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Sigmoid", ["a"], ["y"])],
                 [info("x", [1, 1])], [info("y", [1, 1])], {"b": np.float32([bias])})


def test_a_difference_that_the_other_engine_makes_is_none(pw, tmp_path, rounding):
    """A small probability, of which engines keep a few digits; the evaluator of onnx decides."""
    found = pw("import", probability(tmp_path / "m.onnx", -11), "--check", "--json")
    (output,) = found.json["check"]["outputs"]
    assert found.code == 0 and output["largest"] > 1e-4 > output["second"]["largest"] and output["failed"]["limit"] == 1e-4
    said = pw("import", tmp_path / "m.onnx", "--check").out
    assert "and from onnx.reference by " in said and said.splitlines()[-1].startswith("agrees: ")
    kept = pw("import", tmp_path / "m.onnx", "--check", "--limit", "1e-4", "--difference", tmp_path / "d.npz")
    assert kept.code == 1 and "DIFFERS: output 'y': largest difference " in kept.out  # a limit that is given is kept


def test_a_wrong_layer_that_rounding_might_hide_is_found(pw, tmp_path, wrong, rounding):
    """Near 0 a softplus is a sigmoid but for 0.1 %, about what the engine's results are off; both engines differ from it."""
    wrong("Sigmoid", "Softplus")
    found = pw("import", probability(tmp_path / "m.onnx", -6), "--check", "--difference", tmp_path / "d.npz")
    assert found.code == 1 and "the first layer that differs is node 'Sigmoid_1'" in found.out
    assert "and from onnx.reference by " in found.out and "DIFFERS: output 'y': " in found.out.splitlines()[-1]


def test_bad_use_is_refused(pw, file, tmp_path):
    for arguments, words in ((("import", file), "--out"), (("import", file, "-o", tmp_path / "m.pw", "-n", "2"), "--check"),
                             (("import", file, "--check", "--against", "nothing"), "expected onnxruntime or onnx.reference")):
        refused = pw(*arguments)
        assert refused.code == 2 or "engine" in refused.err
        assert words in refused.err
    pw("import", file, "-o", tmp_path / "m.pw")
    refused = pw("import", tmp_path / "m.pw", "--check")
    assert refused.code and "an ONNX model can be checked" in refused.err


@pytest.mark.parametrize("number", [np.float32([2, -3, 5]), np.float32(4)], ids=["a number per sample", "one for all"])
def test_data_for_an_input_that_is_a_single_number(pw, tmp_path, number):
    """Such an input gets one number of its array per sample; `verify`, `bench` and `--calibrate` read samples likewise."""
    path = write(tmp_path / "number.onnx", [helper.make_node("Mul", ["x", "k"], ["y"])],
                 [info("x", ["N", 3]), info("k", [])], [info("y", ["N", 3])])
    rows = np.random.default_rng(0).standard_normal((3, 3)).astype("f4")
    np.savez(tmp_path / "samples.npz", x=rows, k=number)
    read = _calibration.data(load(path), str(tmp_path / "samples.npz"))
    assert read[0] == 3
    for i, sample in enumerate(read[1]):
        assert sample["k"].shape == () and sample["k"] == (number[i] if number.ndim else number)
        np.testing.assert_array_equal(sample["x"], rows[i:i + 1])
    data = ("--data", tmp_path / "samples.npz")
    assert "3 samples" in pw("import", path, "--check", *data).out
    assert "3 samples" in pw("verify", path, *data).out
    assert pw("bench", path, "--batch", 2, "--rounds", 1, *data).code == 0
    pw("import", path, "--calibrate", tmp_path / "samples.npz", "-o", tmp_path / "out.pw")

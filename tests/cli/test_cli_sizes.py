"""Commands on sizes of 0 and on outputs without dimensions, against NumPy."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def written(path, nodes, ins, outs, constants):
    infos = [[helper.make_tensor_value_info(n, t, s) for n, (t, s) in those.items()] for those in (ins, outs)]
    graph = helper.make_graph(nodes, "g", *infos, [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def cache(tmp_path):
    """past [B,P,4] and x [B,S,4] -> present, one behind the other."""
    return written(tmp_path / "cache.onnx", [helper.make_node("Concat", ["past", "x"], ["present"], axis=1)],
                   {"x": (FLOAT, ["B", "S", 4]), "past": (FLOAT, ["B", "P", 4])}, {"present": (FLOAT, None)}, {})


@pytest.mark.parametrize("shapes", [["P=0", "S=3"], ["past=1x0x4", "S=3"]], ids=["symbol", "input"])
@pytest.mark.parametrize("command", ["run", "verify", "bench", "show", "profile", "tune", "import"])
def test_sizes_of_0(pw, cache, tmp_path, command, shapes):
    words = [w for s in shapes for w in ("--shape", s)]
    more = {"run": ["--random", "-o", tmp_path / "y.npz"], "bench": ["--rounds", "1"], "import": ["-o", tmp_path / "c.pw"],
            "profile": ["--budget", "0.1"], "tune": ["--budget", "0.1", "-o", tmp_path / "c.pw"]}.get(command, [])
    done = pw(command, cache, *words, *more)
    assert done.code == 0, done.err
    if command == "run":
        assert np.load(tmp_path / "y.npz")["present"].shape == (1, 3, 4)
    if command == "import":
        assert "past f32[1,0,4]" in done.out or "past f32[B,0,4]" in done.out
        assert pw("verify", tmp_path / "c.pw").code == 0


@pytest.fixture
def without_ranks(tmp_path):
    """y = x + z, of which nothing is declared but the types."""
    return written(tmp_path / "any.onnx", [helper.make_node("Add", ["x", "z"], ["y"])],
                   {"x": (FLOAT, None), "z": (FLOAT, None)}, {"y": (FLOAT, None)}, {})


@pytest.mark.parametrize("command", ["run", "verify", "bench", "show", "profile", "tune", "import", "explain"])
def test_inputs_without_a_rank_get_that_of_the_options(pw, without_ranks, tmp_path, command):
    more = {"run": ["--random", "-o", tmp_path / "y.npz"], "bench": ["--rounds", "1"], "import": ["-o", tmp_path / "c.pw"],
            "profile": ["--budget", "0.1"], "tune": ["--budget", "0.1", "-o", tmp_path / "c.pw"]}.get(command, [])
    done = pw(command, without_ranks, "--shape", "x=2x3", "--shape", "z=4,2,1", *more)
    if command == "explain":  # which wants what a profile found
        assert "no declared rank" not in done.err
        return
    assert done.code == 0, done.err
    if command == "run":
        assert np.load(tmp_path / "y.npz")["y"].shape == (4, 2, 3)
    if command == "import":
        assert "x f32[2,3]" in done.out
        assert pw("verify", tmp_path / "c.pw").code == 0
    if command == "tune":
        assert pw("bench", tmp_path / "c.pw", "--rounds", "1").code == 0


def test_inputs_without_a_rank_are_named_with_what_to_write(pw, without_ranks, tmp_path):
    done = pw("run", without_ranks, "--random", "--shape", "x=2x3")
    assert done.code == 2 and "'z': no declared rank; give the shape, such as --shape z=1x3x224x224" in done.err
    np.savez(tmp_path / "in.npz", x=np.ones((2, 3), np.float32), z=np.ones((2, 1), np.float32))
    done = pw("run", without_ranks, tmp_path / "in.npz")
    assert done.code == 2 and "pathweave import" in done.err and "--shape x=Nx3x224x224 --shape z=Nx3x224x224" in done.err
    assert pw("import", without_ranks, "--shape", "x=Nx3", "--shape", "z=Nx1", "-o", tmp_path / "c.pw").code == 0
    done = pw("run", tmp_path / "c.pw", tmp_path / "in.npz", "-o", tmp_path / "y.npz")
    assert done.code == 0, done.err
    np.testing.assert_array_equal(np.load(tmp_path / "y.npz")["y"], np.full((2, 3), 2))


def test_a_single_input_without_a_rank_needs_no_name(pw, tmp_path):
    path = written(tmp_path / "r.onnx", [helper.make_node("Relu", ["x"], ["y"])],
                   {"x": (FLOAT, None)}, {"y": (FLOAT, None)}, {})
    done = pw("import", path, "--shape", "Nx3", "-o", tmp_path / "r.pw")
    assert done.code == 0 and "x f32[N,3]" in done.out, done.err
    assert pw("run", path, "--random", "--shape", "2x3").code == 0


def test_run_with_scalars(pw, tmp_path):
    nodes = [helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0), helper.make_node("Size", ["x"], ["count"]),
             helper.make_node("Greater", ["sum", "zero"], ["above"])]
    path = written(tmp_path / "s.onnx", nodes, {"x": (FLOAT, ["N", 2])},
                   {"sum": (FLOAT, []), "count": (INT, []), "above": (TensorProto.BOOL, [])}, {"zero": np.float32(0)})
    x = np.array([[1, 2], [3, 4.5]], np.float32)
    np.save(tmp_path / "x.npy", x)
    done = pw("run", path, tmp_path / "x.npy")
    assert done.code == 0, done.err
    rows = {words[0]: words[1:] for words in map(str.split, done.out.splitlines()) if words}
    assert rows["sum"] == ["float32", "scalar", "10.5", "10.5", "10.5"] and rows["count"] == ["int64", "scalar", "4", "4", "4"]
    assert rows["above"] == ["bool", "scalar"]
    found = pw("run", path, tmp_path / "x.npy", "--json").json[0]["outputs"]
    assert found["sum"] == {"dtype": "float32", "shape": [], "data": 10.5,
                            "summary": {"minimum": 10.5, "maximum": 10.5, "mean": 10.5}} and found["above"]["data"] is True


def test_an_unknown_size_is_asked_for_as_a_shape(pw, tmp_path):
    path = written(tmp_path / "o.onnx", [helper.make_node("Relu", ["x"], ["y"])], {"x": (FLOAT, ["N", 3, "p.H", None])},
                   {"y": (FLOAT, None)}, {})
    wanted = "give it, such as --shape x=1x3x16x16, or --shape p.H=16 --shape x_3=16"
    assert wanted in pw("run", path, "--random").err
    assert wanted.replace("=1x", "=2x") in pw("run", path, "--random", "--batch", 2).err
    for options in (["--shape", "x=1x3x16x16"], ["--shape", "p.H=16", "--shape", "x_3=16"]):
        assert pw("run", path, "--random", *options).code == 0


def test_run_with_the_best_none(pw, tmp_path):
    path = written(tmp_path / "k.onnx", [helper.make_node("TopK", ["x", "k"], ["v", "i"])],
                   {"x": (FLOAT, [2, 5]), "k": (INT, [1])}, {"v": (FLOAT, None), "i": (INT, None)}, {})
    np.savez(tmp_path / "in.npz", x=np.zeros((2, 5), np.float32), k=np.array([0]))
    done = pw("run", path, tmp_path / "in.npz")
    assert done.code == 0 and done.out.count("2x0") == 2, done.err


@pytest.mark.parametrize("words, says", [
    (["--shape", "x=1x1x8x8"], "--shape: "), (["--external-root", "."], "--external-root: "),
    (["--narrow-double"], "--narrow-")])
def test_what_only_the_original_can_be_imported_with(pw, digits, tmp_path, words, says):
    model = tmp_path / "d.pw"
    assert pw("import", digits, "-o", model).code == 0
    done = pw("import", model, "-o", tmp_path / "e.pw", *words)
    assert done.code == 2 and done.err.startswith(f"pathweave: {says}") and "is a .pw model" in done.err
    assert "import the original again" in done.err and not (tmp_path / "e.pw").exists()


@pytest.mark.parametrize("symbols", [["batch size"], ["batch size", "a b"]], ids=["batch", "open"])
def test_symbols_that_are_no_words_are_quoted_everywhere(pw, tmp_path, symbols):
    shape = [*symbols, 2]
    path = written(tmp_path / "q.onnx", [helper.make_node("Relu", ["x"], ["y"])], {"x": (FLOAT, shape)},
                   {"y": (FLOAT, shape)}, {})
    done = pw("show", path)
    quoted = ",".join(f'"{s}"' for s in symbols)
    wanted = f"f32[{quoted},2]"
    assert done.code == 0 and f"input   x: {wanted}" in done.out and f"output  y: {wanted}" in done.out
    assert pw("show", path, "--json").json["inputs"]["x"]["declared"] == wanted
    for option in re.findall(r"(--shape .*=16) shows", done.out):  # what it advises is a line of a shell
        assert pw("show", path, *shlex.split(option), "--shape", "a b=3").code == 0


def test_a_tuned_model_has_the_sizes_that_it_was_tuned_for(pw, cache, tmp_path):
    """Commands that need sizes take those of the route where none are given; sizes that are given count, all of them."""
    out = tmp_path / "tuned.pw"
    done = pw("tune", cache, "--shape", "P=5", "--shape", "S=3", "--budget", "0.1", "-o", out)
    assert done.code == 0, done.err
    assert "shown for f32[1,8,4]" in pw("show", out).out
    assert pw("explain", out, "0").code == 0
    assert pw("run", out, "--random", "-o", tmp_path / "y.npz").code == 0
    assert np.load(tmp_path / "y.npz")["present"].shape == (1, 8, 4)
    assert "the size of S is not known" in pw("run", out, "--random", "--shape", "P=2").err
    assert "the size of S, P is not known" in pw("run", cache, "--random").err

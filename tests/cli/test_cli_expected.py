"""What a user expects of the commands without reading their help: files where they look for them, errors as JSON."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import pathweave as pw_package


@pytest.fixture
def open_sizes(tmp_path) -> Path:
    """w = relu(x) + z of shapes [N,S,8]."""
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", "S", 8]) for n in ("x", "z")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Add", ["y", "z"], ["w"])], "g", ports,
                              [helper.make_tensor_value_info("w", TensorProto.FLOAT, ["N", "S", 8])])
    path = tmp_path / "open.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_package_is_a_program():
    done = subprocess.run([sys.executable, "-m", "pathweave", "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"pathweave {pw_package.__version__}\n"), done.stderr


@pytest.mark.parametrize("arguments, code, kind", [
    (["show", "nowhere.onnx"], 2, "BadUse"), (["tune", "nowhere.onnx"], 2, "BadUse"),
    (["verify", "damaged.pw"], 1, "FileFormatError"),
    (["bench", "DIGITS", "-r", "nonsense"], 2, "RestrictionError"), (["run", "DIGITS", "nowhere.npy"], 2, "BadUse"),
    # what the parser refuses, of every command's options and of the program's
    (["nonsense"], 2, "BadUse"), (["show"], 2, "BadUse"), (["show", "DIGITS", "--nonsense"], 2, "BadUse"),
    (["devices", "more"], 2, "BadUse"), (["run", "DIGITS", "--threads", "0"], 2, "BadUse"),
    (["tune", "DIGITS", "--budget", "nan"], 2, "BadUse"), (["tune", "DIGITS", "--budget"], 2, "BadUse"),
    (["--plugin"], 2, "BadUse")])
def test_an_error_is_a_json_document_too(pw, digits, folder, arguments, code, kind):
    (folder / "damaged.pw").write_bytes(b"\x10" + bytes(7) + b'{"__metadata__":{"pathweave":"')
    done = pw(*(str(digits) if a == "DIGITS" else a for a in arguments), "--json")
    assert done.code == code and done.json["error"]["exit_code"] == code
    assert done.json["error"]["type"] == kind and done.json["error"]["message"] in done.err


@pytest.mark.parametrize("command", ["show", "profile", "verify", "bench", "tune"])
def test_a_routine_that_is_not_there(pw, digits, command):
    if command != "show":
        done = pw(command, digits, "--routine", "nonsense", *(["--budget", 0] if command in ("profile", "tune") else []))
        assert done.code == 2 and "--routine: routine descriptor 'nonsense': it matches no candidate" in done.err


@pytest.mark.parametrize("arguments", [["import", "MODEL", "-o"], ["tune", "MODEL", "-o"], ["run", "MODEL", "--random", "-o"],
                                       ["profile", "MODEL", "--export"], ["bench", "MODEL", "-o"]])
def test_a_name_that_the_system_refuses(pw, digits, arguments):
    done = pw(*(str(digits) if a == "MODEL" else a for a in arguments), "n" * 300)
    assert done.code == 2 and "File name too long" in done.err and len(done.err) < 500


def test_a_path_that_the_system_refuses(pw):
    for path in ("n" * 300 + ".onnx", "a\0b"):
        done = pw("show", path)
        assert done.code == 2 and len(done.err) < 400


# ---- sizes ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments", [["verify"], ["bench", "--rounds", 1], ["tune", "--batch", 2], ["profile"],
                                       ["explain", "--all"], ["run", "--random"]])
def test_open_sizes_are_named_with_the_option(pw, open_sizes, arguments):
    done = pw(arguments[0], open_sizes, *arguments[1:])
    assert done.code == 2 and "the size of S is not known" in done.err and "--shape S=16" in done.err


def test_show_prints_symbols(pw, open_sizes):
    done = pw("show", open_sizes)
    assert done.code == 0 and "output  w: f32[N,S,8]" in done.out and "--shape S=32 shows others" in done.out
    rows = pw("show", open_sizes, "--json").json
    assert rows["open"] == ["S"] and [r["outputs"] for r in rows["layers"]] == [["f32[N,S,8]"]] * 2
    assert "f32[1,16,8]" in pw("show", open_sizes, "--shape", "S=16").out
    assert rows["representative"] == {"N": 1, "S": 16} and [r["operations"] for r in rows["layers"]] == [128, 128]
    assert "operations are those at N=1, S=16" in done.out


def test_show_prints_sizes_as_expressions(pw, tmp_path):
    """A strided convolution of an image of open size, whose channels alone are known."""
    weights = onnx.numpy_helper.from_array(np.zeros((64, 3, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2], pads=[1, 1, 0, 0])
    for shape, output in ((["N", 3, "H", "W"], "f32[N,64,H/2,W/2]"), (["N", 3, "H", ""], "f32[N,64,H/2,x_3/2]")):
        graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                                  [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [weights])
        path = tmp_path / "image.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        done = pw("show", path)
        assert done.code == 0 and f"output  y: {output}" in done.out and "H=224" in done.out
        assert pw("show", path, "--json").json["conditions"] == [f"{n} >= 2" for n in ("H", "W" if "W" in shape else "x_3")]


def test_show_of_many_conditions_names_some(pw, tmp_path):
    """A deep net shrinks its image in every layer: the last condition implies all others; and not all of many are printed."""
    nodes = [helper.make_node("MaxPool", [f"v{i}"], [f"v{i + 1}"], kernel_shape=[2, 2]) for i in range(30)]
    nodes += [helper.make_node("Reshape", ["v0", f"s{i}"], [f"r{i}"]) for i in range(2, 42)]
    sizes = [onnx.numpy_helper.from_array(np.array([i, -1]), f"s{i}") for i in range(2, 42)]
    outputs = ["v30", *(f"r{i}" for i in range(2, 42))]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("v0", TensorProto.FLOAT, ["N", 3, "H", "W"])],
                              [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs], sizes)
    path = tmp_path / "deep.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    found = pw("show", path, "--json").json["conditions"]
    assert found[:2] == ["H >= 31", "W >= 31"] and "41 divides 3*H*N*W" in found and len(found) == 2 + 39
    assert "H >= 31; W >= 31; 2 divides 3*H*N*W; " in pw("show", path).out and "and 25 more" in pw("show", path).out


def test_show_names_the_batch_for_which_it_shows_sizes(pw, digits):
    assert "output  logits: f32[N,10], shown for f32[1,10]" in pw("show", digits).out


@pytest.mark.parametrize("shapes, wanted", [(["S=16"], ("N", 16, 8)), (["S=16", "N=2"], (2, 16, 8)),
                                            (["x=BxTx8", "z=BxTx8"], ("B", "T", 8)), (["x=1x4x8", "z=1x4x8"], (1, 4, 8)),
                                            (["S=0"], ("N", 0, 8))])
def test_import_takes_shapes(pw, open_sizes, shapes, wanted):
    done = pw("import", open_sizes, "-o", "out.pw", *(w for s in shapes for w in ("--shape", s)))
    assert done.code == 0, done.err
    assert {s.shape for s in pw_package.load("out.pw").inputs.values()} == {wanted}


def test_import_refuses_shapes_that_do_not_fit(pw, open_sizes):
    for shape, text in (("q=4", "neither an input nor a symbol"), ("S=4x4", "expected one size"), ("x=1x4", "expected 3 sizes"),
                        ("x=1x-1x8", "joined by x")):
        done = pw("import", open_sizes, "-o", "out.pw", "--shape", shape)
        assert done.code == 2 and text in done.err and not Path("out.pw").exists()


# ---- run ------------------------------------------------------------------------------------------------------------

def test_run_on_random_inputs(pw, open_sizes):
    done = pw("run", open_sizes, "--random", "--shape", "S=4", "--batch", 2, "-o", "out.npz")
    assert done.code == 0 and np.load("out.npz")["w"].shape == (2, 4, 8)
    assert pw("run", open_sizes).code == 2 and "--random" in pw("run", open_sizes).err
    np.save("x.npy", np.zeros((1, 4, 8), np.float32))
    for extra in (["--random"], ["--shape", "S=4"]):
        assert pw("run", open_sizes, "x=x.npy", "z=x.npy", *extra).code == 2


def test_run_on_a_folder(pw, digits_with_pipeline):
    images = digits_with_pipeline.parent / "images"
    done = pw("run", digits_with_pipeline, images, "--json")
    assert done.code == 0 and len(done.json) == len(list(images.glob("*.png"))) > 2
    empty = Path("empty")
    empty.mkdir()
    assert pw("run", digits_with_pipeline, empty).code == 2


@pytest.fixture
def digits_with_pipeline(pw, digits, pipeline, folder) -> Path:
    """The shipped network with a preprocess net, beside a folder of its images."""
    shutil.copytree(digits.parent / "images", folder / "images")
    assert pw("import", digits, "-o", "digits.pw", "--preprocess", pipeline).code == 0
    return folder / "digits.pw"


# ---- tune -----------------------------------------------------------------------------------------------------------

def test_tune_writes_where_a_user_looks(pw, digits):
    done = pw("tune", digits, "--budget", 0, "--threads", 1)
    assert done.code == 0 and "digits.pw: written" in done.out and len(pw_package.load("digits.pw").routes) == 1
    before = Path("digits.pw").read_bytes()
    again = pw("tune", digits, "--budget", 0, "--threads", 1)
    assert again.code == 2 and "digits.pw exists" in again.err and Path("digits.pw").read_bytes() == before
    none = pw("tune", digits, "--budget", 0, "--threads", 1, "--no-save")
    assert none.code == 0 and "no file was written" in none.out
    foreign = pw("tune", digits, "--budget", 0, "-o", "tuned.onnx")
    assert foreign.code == 2 and "tuned.pw" in foreign.err and not Path("tuned.onnx").exists()


@pytest.mark.parametrize("command", ["verify", "bench"])
def test_a_file_that_nothing_would_read_is_bad_use(pw, digits, command):
    done = pw(command, digits, "--onnx", "nowhere.onnx")
    assert done.code == 2 and "--onnx nowhere.onnx" in done.err and "--against" in done.err

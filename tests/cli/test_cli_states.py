"""`--state`: inputs that get an output's value in the next call, through the commands, against NumPy in float64."""

from __future__ import annotations

import re

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def growing(tmp_path):
    """x [N,T,3] and past [N,P,3] -> y, the sum of past and x over the rows, [N,1,3], and present, past with x behind it."""
    nodes = [helper.make_node("Concat", ["past", "x"], ["present"], axis=1),
             helper.make_node("ReduceSum", ["present", "ax"], ["y"])]
    ins = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", d, 3]) for n, d in (("x", "T"), ("past", "P"))]
    outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("y", "present")]
    graph = helper.make_graph(nodes, "g", ins, outs, [numpy_helper.from_array(np.array([1]), "ax")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "net.onnx"


@pytest.fixture
def x(tmp_path):
    array = np.random.default_rng(2).standard_normal((2, 4, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", array)
    return array


STATE = ("--state", "past=present:2x0x3")


def check(path, wanted):
    found = np.load(path)
    assert np.array_equal(found["present"], wanted)
    assert np.abs(found["y"] - wanted.astype(np.float64).sum(1, keepdims=True)).max() < 1e-6


@pytest.mark.parametrize("saved", [False, True], ids=["stated", "in the file"])
def test_run_after_run(pw, growing, x, tmp_path, saved):
    model, words = growing, STATE
    if saved:
        model, words = tmp_path / "net.pw", ()
        made = pw("import", growing, "-o", model, *STATE)
        assert made.code == 0 and "past from 'present', at first zeros f32[2,0,3]" in made.out, made.err
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    done = pw("run", model, tmp_path / "x.npy", *words, "-o", one)
    assert done.code == 0, done.err
    check(one, x)
    done = pw("run", model, tmp_path / "x.npy", f"past={one}:present", *words, "-o", two, "--routine", "numpy")
    assert done.code == 0, done.err
    check(two, np.concatenate([x, x], 1))
    assert pw("verify", model, "--shape", "T=2", "--shape", "P=3").code == 0


def test_random_inputs_begin_with_the_initial_value(pw, growing, tmp_path):
    out = tmp_path / "y.npz"
    done = pw("run", growing, "--random", "--shape", "T=5", *STATE, "-o", out)
    assert done.code == 0 and np.load(out)["present"].shape == (2, 5, 3), done.err
    done = pw("run", growing, "--random", "--shape", "T=5", "--shape", "P=3", "--state", "past=present", "-o", out)
    assert done.code == 0, done.err
    present = np.load(out)["present"]
    assert present.shape == (1, 8, 3) and not present[:, :3].any() and present[:, 3:].all()


def test_show_says_them(pw, growing):
    line = "state   past from 'present', at first zeros f32[2,0,3]"
    assert line in pw("show", growing, *STATE).out
    assert line in pw("show", growing, *STATE, "--shape", "T=2", "--shape", "P=1").out
    assert "  state  " not in pw("show", growing).out
    facts = {"past": {"output": "present", "initial": "zeros", "first": "f32[2,0,3]"}}
    for words in ((), ("--shape", "T=2", "--shape", "P=1")):
        assert pw("show", growing, *STATE, "--json", *words).json["states"] == facts
    assert pw("show", growing, "--json").json["states"] == {}


def test_import_says_them(pw, growing, tmp_path):
    made = pw("import", growing, "-o", tmp_path / "net.pw", "--state", "past=present", "--json").json
    assert made["states"] == {"past": {"output": "present", "initial": "zeros", "first": "f32[N,P,3]"}}


@pytest.mark.parametrize("text, says", [
    ("past", "expected INPUT=OUTPUT; the inputs are x, past, the outputs y, present"), ("z=present", "'z' is no input"),
    ("past=z", "'z', which the input 'past' is to take, is no output"), ("past=present:2x3", "expected rank 3"),
    ("past=present:2x0x4", "expected 3 in dimension 2"),
    ("past=present:2x-1x3", "expected sizes of 0 or more joined by x behind present:"),
    ("past=present:1xax3", "got '1xax3'"), ("past=present:", "got ''"), ("past=z:1x2", "'z:1x2', which")])
def test_states_that_do_not_fit_are_bad_use(pw, growing, text, says):
    done = pw("show", growing, "--state", text)
    assert done.code == 2 and done.err.startswith(f"pathweave: --state {text}: ") and says in done.err


def test_what_run_needs_to_know(pw, growing, x, tmp_path):
    done = pw("run", growing, tmp_path / "x.npy", "--state", "past=present")
    assert done.code == 2 and "the size of P is not known" in done.err and "--state past=present:2x0x3, or" in done.err
    (advised,) = re.findall(r"--state (\S+),", done.err)  # what it advises is enough
    assert pw("run", growing, tmp_path / "x.npy", "--state", advised, "-o", tmp_path / "y.npz").code == 0
    check(tmp_path / "y.npz", x)
    done = pw("run", growing, tmp_path / "x.npy", tmp_path / "x.npy", *STATE)
    assert done.code == 2 and "2 arrays without a name, and 1 input left" in done.err

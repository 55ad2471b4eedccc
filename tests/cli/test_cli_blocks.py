"""Commands on a model with a condition in a loop, and on one with a size that depends on contents."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

V, F = helper.make_tensor_value_info, TensorProto.FLOAT


def written(path, nodes, ins, outs, constants):
    graph = helper.make_graph(nodes, "g", ins, outs, [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def loop_net(tmp_path):
    """Three trips of a product and a condition that always holds."""
    then = helper.make_graph([helper.make_node("Tanh", ["z"], ["t"], "tanh")], "then", [], [V("t", F, None)])
    other = helper.make_graph([helper.make_node("Sigmoid", ["z"], ["e"], "sigmoid")], "else", [], [V("e", F, None)])
    body = helper.make_graph(
        [helper.make_node("MatMul", ["a", "w"], ["z"], "product"), helper.make_node("Less", ["n", "many"], ["b"], "less"),
         helper.make_node("If", ["b"], ["o"], "if", then_branch=then, else_branch=other),
         helper.make_node("Identity", ["go"], ["on"], "on")],
        "body", [V("n", TensorProto.INT64, []), V("go", TensorProto.BOOL, []), V("a", F, [2, 4])],
        [V("on", TensorProto.BOOL, []), V("o", F, [2, 4])])
    return written(tmp_path / "loop.onnx", [helper.make_node("Loop", ["three", "", "x"], ["y"], "loop", body=body)],
                   [V("x", F, [2, 4])], [V("y", F, [2, 4])],
                   {"w": np.eye(4, dtype=np.float32), "many": np.int64(100), "three": np.int64(3)})


@pytest.fixture
def indices_net(tmp_path):
    """Indices of the numbers of x that are not below 0, halved."""
    nodes = [helper.make_node("Abs", ["x"], ["p"], "abs"), helper.make_node("Mul", ["p", "sign"], ["q"], "signed"),
             helper.make_node("Greater", ["q", "zero"], ["g"], "greater"),
             helper.make_node("NonZero", ["g"], ["nz"], "nonzero"),
             helper.make_node("Cast", ["nz"], ["f"], "cast", to=F), helper.make_node("Mul", ["f", "half"], ["y"], "last")]
    return written(tmp_path / "indices.onnx", nodes, [V("x", F, [4])], [V("y", F, None)],
                   {"sign": np.array([1, -1, 1, -1], np.float32), "zero": np.float32(0), "half": np.float32(0.5)})


def test_tune_and_explain_list_blocks(pw, loop_net, tmp_path):
    done = pw("tune", loop_net, "--budget", "0.3", "--threads", "1", "-o", tmp_path / "t.pw")
    assert done.code == 0, done.err
    lines = [line.split() for line in done.out.splitlines()]
    firsts = [words[0] if not words or not words[0].isdigit() else words[1] for words in lines if words]
    order = [firsts.index(w) for w in ("loop", "body:", "product", "then_branch:", "tanh", "else_branch:", "sigmoid")]
    assert order == sorted(order)
    told = pw("explain", tmp_path / "t.pw", "--all", "--json")
    assert told.code == 0, told.err
    rows = {r["layer"]: r for r in json.loads(told.out)["steps"]}
    assert (rows["loop/body"]["runs"], rows["loop/body/if/then_branch"]["runs"]) == (3, 3)
    assert rows["loop/body/if/else_branch"]["runs"] == pytest.approx(0.3) and rows["loop/body/product"]["predicted_ns"] > 0
    one = pw("explain", tmp_path / "t.pw", "loop/body/product", "--json")
    found = json.loads(one.out)
    assert (found["block"], found["runs"]) == ("loop/body", 3) and found["chosen"]
    assert "runs 3 times in a call" in pw("explain", tmp_path / "t.pw", "loop").out


def test_profile_tells_counts_and_sizes(pw, loop_net, indices_net):
    told = pw("profile", loop_net, "--budget", "0.2", "--threads", "1", "--verify")
    assert told.code == 0 and "loop/body 3" in told.out and "never ran" in told.out, told.err
    notes = json.loads(pw("profile", loop_net, "--budget", "0.2", "--threads", "1", "--json").out)["notes"]
    assert notes["counts"]["loop/body"] == 3 and notes["unrun"] == ["loop/body/if/else_branch"]
    told = pw("profile", indices_net, "--budget", "0.2", "--threads", "1")
    assert told.code == 0 and "sizes: nz.1=2 (measured)" in told.out, told.err
    one = json.loads(pw("explain", indices_net, "last", "--threads", "1", "--json").out)
    assert one["sizes"] == {"nz.1": {"size": 2, "source": "measured"}} and "f32:1x2" in one["problem"] and "runs" not in one


@pytest.mark.parametrize("more", [[], ["--roof"], ["--json", "--roof"]], ids=["times", "roof", "roof as json"])
def test_bench(pw, loop_net, indices_net, more):
    for path in (loop_net, indices_net):
        done = pw("bench", path, "--rounds", "1", "--threads", "1", *more)
        assert done.code == 0, done.err
        assert more or path != loop_net or "loop/body 3" in done.out
    if more == ["--json", "--roof"]:
        steps = {r["layer"]: r for r in json.loads(pw("bench", loop_net, "--threads", "1", *more).out)["steps"]}
        assert steps["loop/body/product"]["runs"] == 3 and steps["loop/body/product"]["operations"] == 3 * 2 * 2 * 4 * 4
        assert steps["loop"]["operations"] == 0


def test_a_routine_that_is_asked_for_in_a_block(pw, loop_net):
    done = pw("profile", loop_net, "--budget", "0.1", "--threads", "1", "--routine", "dense/gemm@0")
    assert done.code == 0, done.err
    wrong = pw("profile", loop_net, "--budget", "0.1", "--threads", "1", "--routine", "dense/gemm@1")
    assert wrong.code != 0 and "position 1" in wrong.err


@pytest.mark.parametrize("more", [[], ["--layers"]], ids=["whole", "layers"])
def test_verify(pw, loop_net, indices_net, more):
    for path in (loop_net, indices_net):
        assert pw("verify", path, "--samples", "2", *more).code == 0


def test_verify_says_what_ran(pw, loop_net, indices_net):
    done = pw("verify", loop_net, "--samples", "2")
    assert "runs of blocks on all samples: loop/body 6, loop/body/if/then_branch 6" in done.out
    assert "blocks that never ran, so that nothing in them was compared: loop/body/if/else_branch; inputs that" in done.out
    assert pw("verify", loop_net, "--samples", "2", "--json").json["blocks"] == {
        "loop/body": 6, "loop/body/if/then_branch": 6, "loop/body/if/else_branch": 0}
    assert "block" not in pw("verify", indices_net).out and "blocks" not in pw("verify", indices_net, "--json").json


def test_run(pw, loop_net, tmp_path):
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    assert pw("run", loop_net, tmp_path / "x.npy", "-o", tmp_path / "y.npz").code == 0
    assert np.allclose(np.load(tmp_path / "y.npz")["y"], np.tanh(np.tanh(np.tanh(x))), atol=1e-5)

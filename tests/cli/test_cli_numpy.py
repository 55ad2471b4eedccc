"""Layers that run through NumPy are named: in show, after tune, in the reports; with their share of the time."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pathweave.runtime.interpreted import interpreted


@pytest.fixture
def model(tmp_path):
    """A dense layer and, in float64, an LRN, for which there is no native routine."""
    w = numpy_helper.from_array(np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"], "dense"),
             helper.make_node("Cast", ["a"], ["b"], "wide", to=TensorProto.DOUBLE),
             helper.make_node("LRN", ["b"], ["y"], "best", size=3)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 16])
    y = helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(helper.make_graph(nodes, "net", [x], [y], [w]), ir_version=8,
                                       opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return path


def test_shares_of_the_time():
    rows = [("a", "conv2", "conv2/direct:f32:nhwc:cpu", 30.0), ("b", "softmax", "softmax/numpy:f32:plain:python", 60.0),
            ("v", "adapt", "adapt/numpy:f32:nchw:python", 10.0)]
    found = interpreted(rows)
    assert found.share == pytest.approx(0.7) and found.layers == (("b", "softmax"), ("v", "adapt"))
    assert str(found) == "2 of 3 layers and conversions run through NumPy (1 softmax, 1 adapt): 70 % of the time"
    assert interpreted([*rows, ("c", "relu", "relu/vector:f32:plain:cpu", None)]).share is None
    assert str(interpreted(rows[:1])) == "no layer runs through NumPy" and interpreted([]).share is None


def test_show_names_them(pw, model, digits):
    found = pw("show", model, "--json").json["numpy"]
    assert (found["count"], found["share"]) == (1, None) and found["layers"] == [{"layer": "best", "kind": "lrn"}]
    assert "run through NumPy (1 lrn)" in pw("show", model).out
    assert "no layer runs through NumPy" in pw("show", digits).out


def test_show_says_why(pw, model):
    said = pw("show", model).out
    reason = next(line for line in said.splitlines() if line.startswith("  lrn (best): "))
    assert "lrn/channels: " in reason and "f32" in reason


def test_show_says_what_operators_became(pw, model):
    """LRN and Cast keep their names; a MatMul by a constant is a dense layer only behind the passes."""
    node = [helper.make_node("Gemm", ["x", "w", "c"], ["g"]), helper.make_node("HardSwish", ["g"], ["y"])]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [4, 4]) for n in "xy")
    constants = [numpy_helper.from_array(np.ones(s, np.float32), n) for n, s in (("w", (4, 4)), ("c", (4,)))]
    path = model.with_name("named.onnx")
    path.write_bytes(helper.make_model(helper.make_graph(node, "net", [x], [y], constants), ir_version=8,
                                       opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    said = next(line for line in pw("show", path).out.splitlines() if "as imported: " in line)
    assert "Gemm 1 > " in said and "dense 1" in said
    found = pw("show", path, "--json").json["meta"]["operators"]
    assert found["Gemm"][""] == 1 and set(found) == {"Gemm", "HardSwish"}
    assert "as imported: " not in pw("show", model).out.replace("layers as imported", "")


def test_show_of_open_sizes_says_what_runs(pw, tmp_path):
    """Of five layers two fold into their neighbours: a shape that a reshape reads, and what only that reads."""
    nodes = [helper.make_node("Shape", ["x"], ["s"], "sizes"), helper.make_node("Det", ["x"], ["d"], "det"),
             helper.make_node("Slice", ["s", "zero", "one"], ["n"], "first"),
             helper.make_node("Reshape", ["d", "n"], ["r"], "again"), helper.make_node("Exp", ["r"], ["y"], "exp")]
    constants = [numpy_helper.from_array(np.array([n]), name) for n, name in ((0, "zero"), (1, "one"))]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", ["N", "M", "M"]), ("y", ["N"])))
    path = tmp_path / "open.onnx"
    path.write_bytes(helper.make_model(helper.make_graph(nodes, "net", [x], [y], constants), ir_version=8,
                                       opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    said = pw("show", path).out
    assert "while sizes are open 2 layers run; with the default route 1 of 2 layers" in said
    assert "  det (det): there is no native routine for it" in said
    alone = helper.make_graph(nodes[1:2], "net", [x], [helper.make_tensor_value_info("d", TensorProto.FLOAT, ["N"])])
    path.write_bytes(helper.make_model(alone, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    assert "while sizes are open 1 layer runs; with the default route 1 of 1 layer" in pw("show", path).out


def test_tune_and_show_give_their_share(pw, model, tmp_path):
    """The share follows from the times of the steps, which the document holds too."""
    out = tmp_path / "t.pw"
    tuned = pw("tune", model, "--budget", 0.5, "--threads", 1, "-o", out, "--json").json
    for found in (tuned["report"]["numpy"], tuned["route"]["numpy"]):
        assert found["count"] == 1 and found["layers"][0]["kind"] == "lrn"
    steps = tuned["route"]["steps"]
    times = {s["layer"]: s["measured_ns"] for s in steps}
    assert tuned["route"]["numpy"]["share"] == pytest.approx(times["best"] / sum(times.values()))
    said = pw("show", out).out
    assert "run through NumPy (1 lrn)" in said and "% of the time" in said


def test_the_roof_gives_their_share(pw, model):
    done = pw("bench", model, "--roof", "--threads", 1, "--json").json
    times = {s["layer"]: s["minimum_ns"] for s in done["steps"]}
    assert done["numpy"]["share"] == pytest.approx(times["best"] / sum(times.values()))

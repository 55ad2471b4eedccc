"""pathweave import --check against the evaluator of the package onnx, where ONNX Runtime is not there or not asked for."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

CHECK = ("--check", "--against", "onnx.reference")


def info(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def write(path, nodes, constants, opset, shape, functions=()):
    graph = helper.make_graph(nodes, "net", [info("x", shape)], [info("y", None)],
                              [numpy_helper.from_array(a, n) for n, a in constants.items()])
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid("own", 1)] if functions else [])]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions).SerializeToString())
    return path


def parameters(shape=(3,)):
    rng = np.random.default_rng(0)
    return {n: rng.uniform(0.5, 1.5, shape).astype("f4") for n in ("scale", "bias", "mean", "variance")}


def normal(**attributes):
    return helper.make_node("BatchNormalization", ["x", "scale", "bias", "mean", "variance"], ["y"], **attributes)


def expected(x, epsilon):
    """Batch normalisation at inference, in float64."""
    scale, bias, mean, variance = (a.astype("f8").reshape(-1, 1, 1) for a in parameters().values())
    return scale * (x - mean) / np.sqrt(variance + epsilon) + bias


@pytest.mark.parametrize("opset", [7, 9, 13, 15])
@pytest.mark.parametrize("attributes", [{}, {"momentum": 0.9}, {"momentum": 0.5, "epsilon": 0.1}])
def test_an_old_batch_normalisation_is_inference(pw, tmp_path, opset, attributes):
    from pathweave.report.sources import source_of
    path = write(tmp_path / "m.onnx", [normal(**attributes)], parameters(), opset, [2, 3, 4, 5])
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 5)).astype("f4")
    got = source_of(str(path), "onnx.reference").reference(["y"])({"x": x})["y"]
    np.testing.assert_allclose(got, expected(x, attributes.get("epsilon", 1e-5)), rtol=1e-5, atol=1e-5)
    assert pw("import", path, *CHECK).code == 0


def test_a_batch_normalisation_with_a_parameter_for_each_element(pw, tmp_path):
    """Which spatial=0 says before opset 9."""
    path = write(tmp_path / "m.onnx", [normal(spatial=0)], parameters((3, 4)), 7, [2, 3, 4])
    assert pw("import", path, *CHECK).code == 0


def test_an_old_batch_normalisation_in_a_function(pw, tmp_path):
    names = ["x", "scale", "bias", "mean", "variance"]
    function = helper.make_function("own", "Normal", names, ["y"], [normal()], [helper.make_opsetid("", 13)])
    path = write(tmp_path / "m.onnx", [helper.make_node("Normal", names, ["y"], domain="own")], parameters(), 13, [2, 3, 4, 5],
                 [function])
    assert pw("import", path, *CHECK).code == 0


def _lacking(proto):
    raise RuntimeError("No implementation for operator 'Own' domain '' and version 13")


def _broken(proto):
    def run(outputs, inputs):
        raise IndexError("axis 2 is out of\nbounds " + "x" * 1000)
    return run


@pytest.mark.parametrize("evaluator, words", [(_lacking, "cannot load the model (RuntimeError: No implementation for operator"),
                                              (_broken, "cannot run the model on these inputs (IndexError: axis 2 is out of")])
def test_what_the_evaluator_cannot_run_is_no_verdict(pw, tmp_path, monkeypatch, evaluator, words):
    from pathweave.report.sources import _onnx_evaluator
    monkeypatch.setattr(_onnx_evaluator, "evaluator", evaluator)
    refused = pw("import", write(tmp_path / "m.onnx", [normal()], parameters(), 13, [2, 3, 4, 5]), *CHECK)
    assert refused.code == 2 and "DIFFERS" not in refused.out + refused.err and len(refused.err.splitlines()) == 1
    assert words in refused.err and "nothing was compared" in refused.err and len(refused.err) < 500
    assert "--against onnxruntime" in refused.err or "pip install onnxruntime" in refused.err


def test_a_better_reference_is_named(pw, tmp_path):
    path = write(tmp_path / "m.onnx", [normal()], parameters(), 15, [2, 3, 4, 5])
    assert "ONNX Runtime is a better reference" in pw("import", path, *CHECK).out
    assert "ONNX Runtime is a better reference" in pw("import", path, *CHECK, "--json").json["check"]["advice"]
    pytest.importorskip("onnxruntime", reason="onnxruntime, which needs no advice, is not installed")
    assert pw("import", path, "--check", "--json").json["check"]["advice"] is None


def test_without_onnxruntime_the_evaluator_is_the_reference(pw, tmp_path, monkeypatch):
    import importlib.util
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "onnxruntime" else find(name, *more))
    found = pw("import", write(tmp_path / "m.onnx", [normal()], parameters(), 9, [2, 3, 4, 5]), "--check", "--json")
    assert found.code == 0 and found.json["check"]["against"].startswith("onnx.reference ")
    assert "pip install onnxruntime" in found.json["check"]["advice"] and found.json["check"]["second"] is None

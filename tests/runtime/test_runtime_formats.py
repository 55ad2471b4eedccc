"""Formats that routines name: conversions lead to each from the caller's, and back; what names another is not offered."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import pathweave as pw
from pathweave.net.format import Format, plain_format
from pathweave.net.net import TensorSpec
from pathweave.net.problem import adapt_problem
from pathweave.profiling.store import Store
from pathweave.runtime import catalogue
from pathweave.runtime.catalogue import Refusal
from pathweave.runtime.native import native
from pathweave.testing import cases

_direct: dict[tuple, bool] = {}


def direct(spec: TensorSpec, source: Format, target: Format) -> bool:
    """Whether an adapt turns one format into the other; those of integers run in NumPy."""
    key = spec, source, target
    if key not in _direct:
        found = catalogue.candidates(adapt_problem(spec, source, target, 1), accuracy="quantised", include_reference=True)
        _direct[key] = source == target or bool(found[0])
    return _direct[key]


def reachable(spec: TensorSpec, source: Format, target: Format) -> bool:
    """Directly, or by way of an f32 value in some layout."""
    ways = [Format(spec.dtype, layout) for layout in ("plain", "nchw", "nhwc", "nchw16c")]
    return direct(spec, source, target) or any(direct(spec, source, w) and direct(spec, w, target) for w in ways)


def stray_formats() -> list[str]:
    """Every routine of this tier on every conformance case: formats that are not reachable both ways."""
    found = set()
    for case in cases():
        problem = case.problem(1)
        values = [s for s, constant in zip(problem.inputs, problem.constant) if s is not None and not constant]
        for d in native().candidates(problem.text):
            if not d["ok"]:
                continue
            for spec, text in (*zip(values, d["ins"]), *zip(problem.outputs, d["outs"])):
                form, plain = Format.parse(text), plain_format(spec.dtype, spec.rank)
                if not (reachable(spec, plain, form) and reachable(spec, form, plain)):
                    found.add(f"{d['id']} on {case.name}: {form} for {spec}")
    return sorted(found)


def test_every_format_of_every_routine_is_reachable():
    assert stray_formats() == []


@pytest.mark.parametrize("isa", ["generic", "amx-emulated", "fp16-emulated"])
def test_every_format_is_reachable_with_units_that_this_machine_may_lack(isa):
    """The catalogue depends on the tier: in a process of its own, with the twins."""
    folders = [str(Path(pw.__file__).parents[1]), str(Path(__file__).parent)]
    code = "from test_runtime_formats import stray_formats; print(*stray_formats(), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PATHWEAVE_ISA": isa, "PYTHONPATH": os.pathsep.join(folders)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def model_of(nodes, shape, weights, out) -> bytes:
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("accuracy", ["strict", "f32", "reduced", "quantised"])
@pytest.mark.parametrize("calibrated", [False, True])
def test_nets_whose_ranks_change(accuracy, calibrated):
    """Images that meet values of rank 5: a tune in every class, against ONNX Runtime."""
    rng = np.random.default_rng(0)
    k, w = (rng.standard_normal(s).astype(np.float32) for s in ((2, 1, 1, 1, 1), (4, 4, 3, 3)))
    nets = [(model_of([helper.make_node("Add", ["x", "k"], ["y"])], [1, 4, 3, 3], {"k": k}, "y"), (1, 4, 3, 3)),
            (model_of([helper.make_node("ReduceMean", ["x", "a"], ["m"], keepdims=0),
                       helper.make_node("Conv", ["m", "w"], ["y"])],
                      [1, 2, 4, 3, 3], {"a": np.array([1], np.int64), "w": w}, "y"), (1, 2, 4, 3, 3))]
    for data, shape in nets:
        x = rng.standard_normal(shape).astype(np.float32)
        model = pw.load(data, threads=1)
        if calibrated:
            model.calibrate([x])
        tuned = pw.tune(model, accuracy=accuracy, budget_s=0, threads=1, store=Store.memory(), progress=False)
        (wanted,) = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(["y"], {"x": x})
        error = np.sqrt(np.mean((tuned(x) - wanted) ** 2) / np.mean(wanted ** 2))
        assert error <= {"strict": 2e-6, "f32": 2e-5, "reduced": 2e-2, "quantised": 0.1}[accuracy]


def test_what_names_a_stray_format_is_refused(monkeypatch, classifier):
    """A routine with a port to which nothing converts is told about, not offered; by name neither."""
    asked = catalogue._asked
    stray = {"id": "relu/stray:bf16:nchw:cpu", "version": 1, "ok": True, "reason": "", "order": -1, "accuracy": "reduced",
             "reference": False, "takes_epilogue": True, "axis_scales": False,
             "ins": ["bf16:nchw:cpu"], "outs": ["f32:nchw:cpu"], "share": [],
             "reuse": [], "variants": ["", "other"]}
    monkeypatch.setattr(catalogue, "_asked", lambda p: [stray, *asked(p)] if p.kind == "relu" else asked(p))
    catalogue.forget()
    try:
        problem = next(c for c in cases() if c.kind == "relu" and c.inputs[0].rank == 4).problem(1)
        found, refusals = catalogue.candidates(problem, accuracy="reduced")
        assert found and not any(c.routine == stray["id"] for c in found)
        assert [r.reason for r in refusals if r.routine == stray["id"]] == [
            f"no conversion leads to bf16:nchw:cpu for a value {problem.inputs[0]}"]
        assert isinstance(catalogue.find(problem, stray["id"], "other"), Refusal)
    finally:
        catalogue.forget()

"""Chains of layers that stay in bf16 or bf16x2, on an emulated unit, against ONNX Runtime."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from runtime_nets import convolutions

#: conv2 routine -> accuracy class asked for, largest relative RMS error of the output.
ROUTINES = {"conv2/direct:bf16x2:nhwc:cpu": ("f32", 1e-5), "conv2/direct_in_f32:bf16x2:nhwc:cpu": ("f32", 1e-5),
            "conv2/direct_in_f32:bf16x3:nhwc:cpu": ("strict", 1e-6), "conv2/direct:bf16:nhwc:cpu": ("reduced", 1e-2)}
PROGRAM = """if True:
    import json, sys, numpy as np, pathweave as pw
    from pathweave.runtime.defaults import default_route
    folder, routine, accuracy = sys.argv[1:]
    model = pw.load(folder + "/net.onnx")
    bound = model.bind({"N": 2})
    route = default_route(bound, 2, accuracy, lambda i, l, c: l.kind != "conv2" or c.routine == routine)
    plan = model.plan(route, {"N": 2}, 2)
    np.save(folder + "/y.npy", plan.session()(np.load(folder + "/x.npy")))
    conv = next(p for p in bound.problems(2) if p.kind == "conv2")
    listed = {a: [c.routine for c in pw.runtime.catalogue.candidates(conv, accuracy=a)[0]]
              for a in ("strict", "f32", "reduced")}
    print(json.dumps({"steps": [[s.layer, s.routine, list(map(str, s.ins)), list(map(str, s.outs))]
                                for s in plan.steps], "listed": listed}))"""


@pytest.fixture(scope="module", params=ROUTINES)
def run(request, tmp_path_factory):
    from pathweave.runtime.devices import cpu_info
    if "amx-emulated" not in set(cpu_info()["found"]) & set(cpu_info()["compiled"]):
        pytest.skip("this machine or build cannot emulate the unit")
    folder, (accuracy, limit) = tmp_path_factory.mktemp("bfloat"), ROUTINES[request.param]
    x = np.random.default_rng(5).standard_normal((2, 3, 16, 16)).astype(np.float32)
    np.save(folder / "x.npy", x)
    (folder / "net.onnx").write_bytes(convolutions())
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder), request.param, accuracy], capture_output=True,
                          text=True, timeout=120, env={**os.environ, "PATHWEAVE_ISA": "amx-emulated",
                                                       "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)})
    assert done.returncode == 0, done.stderr
    return request.param, limit, x, np.load(folder / "y.npy"), json.loads(done.stdout)


def test_the_result(run, ort):
    _, limit, x, y, _ = run
    wanted = ort(convolutions(), {"x": x})["y"].astype(np.float64)
    error = np.sqrt(((y - wanted) ** 2).mean() / (wanted**2).mean())
    assert 1e-8 < error <= limit


def test_the_chain_stays_in_its_format(run):
    routine, _, _, _, said = run
    steps = said["steps"]
    convolutions_ = [s for s in steps if s[1] == routine]
    adapts = [(s[2][0], s[3][0]) for s in steps if s[0] == "adapt"]
    form = routine.split(":")[1] + ":nhwc:cpu"
    assert len(convolutions_) == 3
    if "in_f32" in routine:
        assert not any("bf16" in f for s in steps for f in (*s[2], *s[3]))
    else:
        # in at the net's input, nothing between, the residual included; split values out before the depthwise convolution,
        # bf16 before softmax
        out = ("bf16:plain:cpu", "f32:plain:cpu") if ":bf16:" in routine else (form, "f32:nhwc:cpu")
        assert [a for a in adapts if "bf16" in "".join(a)] == [("f32:nchw:cpu", form), out]
        assert convolutions_[2][2] == [form, form] or convolutions_[1][2] == [form, form]


def test_no_class_is_broken(run):
    listed = run[4]["listed"]
    assert {r.split(":")[1] for r in listed["strict"]} == {"f32", "bf16x3"}
    assert {r.split(":")[1] for r in listed["f32"]} == {"f32", "bf16x2", "bf16x3"}
    assert any(":bf16:" in r for r in listed["reduced"])

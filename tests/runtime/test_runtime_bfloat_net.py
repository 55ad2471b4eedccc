"""A whole net that stays in bf16 or f16, on every tier that this machine can run, against ONNX Runtime."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from runtime_nets import mobile

TIERS = ("generic", "avx2", "avx512-emulated", "bf16-emulated", "fp16-emulated", "amx-emulated")
#: Forms, and the least and largest relative RMS error: rounding must be seen, and f16 has three more bits.
FORMS = {"bf16": (3e-4, 1e-2), "f16": (1e-5, 1.25e-3)}
#: Tiers with products in a form; others compute convolutions of many pixels in f32.
UNITS = {"bf16": ("bf16-emulated", "fp16-emulated", "amx-emulated"), "f16": ("fp16-emulated", "amx-emulated")}
PROGRAM = """if True:
    import json, sys, numpy as np, pathweave as pw
    from pathweave.layers import compute
    from pathweave.runtime.defaults import default_route
    folder, form = sys.argv[1:]
    model = pw.load(folder + "/net.onnx")
    bound = model.bind({"N": 2})
    narrow = lambda c: f":{form}:" in c.routine and "f32" not in c.routine
    has = {i: any(map(narrow, bound.candidates(i, 2, accuracy="reduced")[0])) for i in range(len(bound.layers))}
    route = default_route(bound, 2, "reduced", lambda i, l, c: narrow(c) or not has[i])
    plan = model.plan(route, {"N": 2}, 2)
    np.save(folder + "/y.npy", plan.session()(np.load(folder + "/x.npy")))
    print(json.dumps({"steps": [[s.layer, s.routine, list(map(str, s.ins)), list(map(str, s.outs))] for s in plan.steps],
                      "kinds": [[bound.layers[i].kind, has[i]] for i in has]}))"""


@pytest.fixture(scope="module", params=[(t, f) for t in TIERS for f in FORMS], ids="-".join)
def run(request, tmp_path_factory):
    from pathweave.runtime.devices import cpu_info
    tier, form = request.param
    if tier not in set(cpu_info()["found"]) & set(cpu_info()["compiled"]):
        pytest.skip(f"this machine or build has no {tier}")
    folder = tmp_path_factory.mktemp("bfloat_net")
    x = np.random.default_rng(3).standard_normal((2, 3, 16, 16)).astype(np.float32)
    np.save(folder / "x.npy", x)
    (folder / "net.onnx").write_bytes(mobile())
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder), form], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PATHWEAVE_ISA": tier,
                               "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)})
    assert done.returncode == 0, done.stderr
    return tier, form, x, np.load(folder / "y.npy"), json.loads(done.stdout)


def test_the_result(run, ort):
    _, form, x, y, _ = run
    wanted = ort(mobile(), {"x": x})["y"].astype(np.float64)
    error = np.sqrt(((y - wanted) ** 2).mean() / (wanted**2).mean())
    least, largest = FORMS[form]
    assert least < error <= largest


def test_it_stays_in_the_form(run):
    tier, form, _, _, said = run
    missing = [kind for kind, has in said["kinds"] if not has]
    adapts = [(s[2][0], s[3][0]) for s in said["steps"] if s[0] == "adapt"]
    if tier in UNITS[form]:
        # in at the net's input, out at its output
        assert not missing
        assert len(adapts) == 2 and adapts[0][0] == "f32:nchw:cpu" and adapts[1] == (f"{form}:plain:cpu", "f32:plain:cpu")
    else:
        assert set(missing) == {"conv2"}  # those of many pixels; they need the unit
    for layer, routine, ins, outs in said["steps"]:
        if layer != "adapt" and f":{form}:" in routine:
            assert all(f.startswith(form + ":") for f in (*ins, *outs))
    kinds = {s[1].split("/")[0] for s in said["steps"] if f":{form}:" in s[1]}
    assert kinds >= {"depthwise_conv2", "conv2", "global_average_pool", "mul", "max_pool2", "average_pool2", "concat", "dense"}

"""Routes over a device: transfers are measured adapts, and decide. The clock of the null device is scripted."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from scripted import run_python

CODE = """
import json, sys
import pathweave as pw
from pathweave.profiling.store import Store
devices = pw.open_plugin(sys.argv[1] if len(sys.argv) > 1 else "{library}")
assert all(d["available"] for d in devices), devices
model = pw.load("net.onnx")
profile = pw.profile(model, threads=2, store=Store.memory(), budget_s=20)
route = pw.solve(model, profile)
plan = model.plan(route)
y = plan.session()(__import__("numpy").zeros((1, 3, 12, 12), "float32"))
print(json.dumps({{"route": route.to_json(), "shape": y.shape,
                  "times": [[m.problem, m.routine, m.median] for m in profile if "null0" in m.routine],
                  "steps": [[s.routine, s.layer] for s in plan.steps]}}))
"""


def solved(folder: Path, library: str, net: bytes, times: str, monkeypatch) -> dict:
    (folder / "net.onnx").write_bytes(net)
    (folder / "times").write_text(times)
    monkeypatch.setenv("PW_NULL_TIMES", str(folder / "times"))
    done = run_python(CODE.format(library=library), folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> str:
    """The null device's library."""
    path = Path(__file__).parents[1] / "native" / "native_helpers.py"
    spec = importlib.util.spec_from_file_location("native_helpers_of_tune", path)
    helpers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(helpers)
    return helpers.build_null_device(tmp_path_factory.mktemp("null"))


def test_a_fast_device_takes_the_work(library, net_bytes, tmp_path, monkeypatch):
    """One nanosecond per step (a layer has up to two more for its epilogue): what the device can do is done there."""
    kinds = ("conv2", "max_pool2", "global_average_pool", "dense", "reshape", "add", "relu")
    lines = [f"1 {k}/null:f32:{layout}:null0" for k in kinds for layout in ("nchw", "nhwc")]
    lines += ["2 adapt/upload:f32:null0", "3 adapt/download:f32:null0", "1 adapt/relayout:f32:null0"]
    found = solved(tmp_path, library, net_bytes, "\n".join(lines) + "\n", monkeypatch)
    layers, conversions = found["route"]["layers"].values(), found["route"]["conversions"]
    convolutions = [c for c in layers if c["routine"].startswith("conv2/")]
    assert convolutions and all(c["routine"].endswith(":null0") and 1 <= c["predicted_ns"] <= 3 for c in convolutions)
    ups = [c for c in conversions if c["routine"] == "adapt/upload:f32:null0"]
    downs = [c for c in conversions if c["routine"] == "adapt/download:f32:null0"]
    assert len(ups) == 1 and ups[0]["predicted_ns"] == 2 and all(c["predicted_ns"] == 3 for c in downs)
    assert {"adapt/upload:f32:null0"} <= {routine for routine, _ in found["steps"]}
    assert {m for _, r, m in found["times"] if r == "adapt/upload:f32:null0"} == {2}
    assert found["shape"] == [1, 10]


def test_a_slow_transfer_keeps_the_work_here(library, net_bytes, tmp_path, monkeypatch):
    """A second per transfer: not even free computing on the device is worth it."""
    lines = ["1000000000 adapt/upload:f32:null0", "1000000000 adapt/download:f32:null0"]
    found = solved(tmp_path, library, net_bytes, "\n".join(lines) + "\n", monkeypatch)
    assert not any("null0" in c["routine"] for c in found["route"]["layers"].values())
    assert not any("null0" in c["routine"] for c in found["route"]["conversions"])

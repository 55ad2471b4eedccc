"""Routes over a device: transfers are measured adapts, and decide. The clock of the null device is scripted."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from scripted import run_python

import pathweave as pw
from pathweave.profiling.spent import spent_key

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
    lines += ["2 adapt/upload:any:null0", "3 adapt/download:any:null0", "1 adapt/relayout:f32:null0"]
    found = solved(tmp_path, library, net_bytes, "\n".join(lines) + "\n", monkeypatch)
    layers, conversions = found["route"]["layers"].values(), found["route"]["conversions"]
    convolutions = [c for c in layers if c["routine"].startswith("conv2/")]
    assert convolutions and all(c["routine"].endswith(":null0") and 1 <= c["predicted_ns"] <= 3 for c in convolutions)
    ups = [c for c in conversions if c["routine"] == "adapt/upload:any:null0"]
    downs = [c for c in conversions if c["routine"] == "adapt/download:any:null0"]
    assert len(ups) == 1 and ups[0]["predicted_ns"] == 2 and all(c["predicted_ns"] == 3 for c in downs)
    assert {"adapt/upload:any:null0"} <= {routine for routine, _ in found["steps"]}
    assert {m for _, r, m in found["times"] if r == "adapt/upload:any:null0"} == {2}
    assert found["shape"] == [1, 10]


PROFILES = """
import json, sys
import pathweave as pw
from pathweave.profiling.protocol import this_host
from pathweave.profiling.store import Store
assert all(d["available"] for d in pw.open_plugin("{library}"))
model = pw.load("net.onnx")
with Store.open("store.sqlite") as store:
    before = store.hosts()
    profile = pw.profile(model, threads={threads}, store=store, budget_s=4)
    print(json.dumps({{"host": this_host().id, "before": before, "after": store.hosts(),
                      "null": sorted([m.problem, m.routine, m.host, m.count] for m in profile if "null0" in m.routine),
                      "problems": sorted({{m.problem for h in store.hosts() for m in store.lookup(h).values()
                                          if "null0" in m.routine}})}}))
"""


def profiled(folder: Path, library: str, monkeypatch, driver: str, threads: int = 2) -> dict:
    monkeypatch.setenv("PW_NULL_DRIVER", driver)
    done = run_python(PROFILES.format(library=library, threads=threads), folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_another_driver_is_another_key(library, net_bytes, tmp_path, monkeypatch):
    """What the CPU measured keeps its key; what touches the device is measured anew, and found again with the old driver."""
    (tmp_path / "net.onnx").write_bytes(net_bytes)
    first = profiled(tmp_path, library, monkeypatch, "1.0")
    host = first["host"]
    (device,) = set(first["after"]) - {host}
    assert host in first["after"] and device.startswith(f"{host}+null0=") and first["before"] == {}
    assert first["after"][device]["facts"] == {"devices": {"null0": "null model 0, driver 1.0"}}
    assert first["null"] and all(where == device for _, _, where, _ in first["null"])
    second = profiled(tmp_path, library, monkeypatch, "2.0")
    (other,) = set(second["after"]) - {host, device}
    assert other.startswith(f"{host}+null0=") and other != device
    assert second["null"] and all(where == other for _, _, where, _ in second["null"])
    assert second["after"][device] == first["after"][device]
    third = profiled(tmp_path, library, monkeypatch, "1.0")
    assert set(third["after"]) == {host, device, other} and third["after"][other] == second["after"][other]
    assert {(p, r) for p, r, *_ in third["null"]} >= {(p, r) for p, r, *_ in first["null"]}
    assert all(where == device for _, _, where, _ in third["null"])


def test_a_budget_is_of_the_drivers_that_it_was_spent_with(net_bytes, tmp_path):
    (tmp_path / "net.onnx").write_bytes(net_bytes)
    bound = pw.load(str(tmp_path / "net.onnx")).bind()

    def key(tags, device="null0"):
        entry = SimpleNamespace(candidate=SimpleNamespace(key=("conv2/a:f32:nchw:null0", 1, ""), device=device))
        return spent_key(bound, 1, "f32", [SimpleNamespace(text="conv2", entries=[entry])], tags)
    first = key({"null0": "null0=1"})
    assert first == key({"null0": "null0=1", "other": "other=1"}) != key({"null0": "null0=2"})
    assert key({"null0": "null0=1"}, "cpu") == key({"null0": "null0=2"}, "cpu") == key({}, "cpu")


def test_a_device_to_which_threads_do_not_matter_is_measured_for_all_of_them(library, net_bytes, tmp_path, monkeypatch):
    (tmp_path / "net.onnx").write_bytes(net_bytes)
    first = profiled(tmp_path, library, monkeypatch, "1.0", threads=2)
    assert first["problems"] and all(text.endswith(" threads=1") for text in first["problems"])
    assert all(text.endswith(" threads=2") for text, *_ in first["null"])
    second = profiled(tmp_path, library, monkeypatch, "1.0", threads=1)
    counts = {(text.replace("threads=2", "threads=1"), routine): n for text, routine, _, n in first["null"]}
    found = {(text, routine): n for text, routine, _, n in second["null"]}
    assert set(counts) <= set(found) and all(found[key] >= n for key, n in counts.items())


TUNES = """
import json
import numpy as np
import pathweave as pw
from pathweave.profiling.store import Store
from pathweave.report.routes import route_json, route_table
assert all(d["available"] for d in pw.open_plugin("{library}"))
tuned = pw.tune("net.onnx", threads=2, store=Store.memory(), budget_s=3, restrict="{restrict}", progress=False)
route = tuned.route()
plan = tuned.plan(route)
print(json.dumps({{"overlap": route.notes.get("overlap"), "json": route_json(plan)["notes"].get("overlap"),
                  "notes": route_table(plan).notes, "race": route.notes["race"]}}))
"""


@pytest.mark.parametrize("restrict, crosses", [("null0", True), ("cpu", False)])
def test_the_race_times_whole_calls_and_the_route_says_what_overlapped(library, net_bytes, tmp_path, monkeypatch, restrict,
                                                                       crosses):
    (tmp_path / "net.onnx").write_bytes(net_bytes)
    done = run_python(TUNES.format(library=library, restrict=restrict), tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["overlap"] == found["json"] and (found["overlap"] is not None) == crosses
    lines = [n for n in found["notes"] if n.startswith("at work: ")]
    assert len(lines) == crosses
    if crosses:
        assert found["overlap"]["busy_ns"]["null0"] >= 1000 and "null0" in lines[0]
        assert found["overlap"]["overlapped_ns"] >= 0


MEMORY = """
import json, os, sys
import pathweave as pw
from pathweave.profiling.store import Store
assert all(d["available"] for d in pw.open_plugin("{library}"))
model = pw.load("net.onnx")
profile = pw.profile(model, threads=2, store=Store.memory(), budget_s=2)
told = []
try:
    plan = model.plan(pw.solve(model, profile, restrict={restrict!r}))
    kept = [plan.session() for _ in range({sessions})]
    told.append("made")
except pw.errors.OutOfMemoryError as e:
    told.append(str(e))
child = os.fork()
if child == 0:
    try:
        plan.session()
        os._exit(1)
    except pw.errors.DeviceError as e:
        os._exit(0 if "forked" in str(e) else 2)
print(json.dumps({{"told": told, "forked": os.waitpid(child, 0)[1],
                  "devices": sorted({{s.routine.rsplit(":", 1)[-1] for s in plan.steps}})}}))
"""


@pytest.mark.parametrize("sessions", [1, 40])
def test_memory_that_a_device_lacks_is_an_error_that_names_it(library, net_bytes, tmp_path, monkeypatch, sessions):
    (tmp_path / "net.onnx").write_bytes(net_bytes)
    monkeypatch.setenv("PW_NULL_MEMORY", "500000")
    done = run_python(MEMORY.format(library=library, restrict="null0", sessions=sessions), tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "null0" in found["devices"] and found["forked"] == 0
    if sessions == 1:
        assert found["told"] == ["made"]
    else:
        assert found["told"][0].startswith("session: no memory for ")
        assert "device null0 has no " in found["told"][0] and "of 500000 bytes are free" in found["told"][0]


def test_a_device_that_is_too_small_is_left_out(library, net_bytes, tmp_path, monkeypatch):
    (tmp_path / "net.onnx").write_bytes(net_bytes)
    monkeypatch.setenv("PW_NULL_MEMORY", "100")
    done = run_python(MEMORY.format(library=library, restrict=None, sessions=1), tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["told"] == ["made"] and found["devices"] == ["cpu"]
    assert found["forked"] == 1 << 8  # a child makes sessions on the CPU


def test_a_slow_transfer_keeps_the_work_here(library, net_bytes, tmp_path, monkeypatch):
    """A second per transfer: not even free computing on the device is worth it."""
    lines = ["1000000000 adapt/upload:any:null0", "1000000000 adapt/download:any:null0"]
    found = solved(tmp_path, library, net_bytes, "\n".join(lines) + "\n", monkeypatch)
    assert not any("null0" in c["routine"] for c in found["route"]["layers"].values())
    assert not any("null0" in c["routine"] for c in found["route"]["conversions"])


ROUNDS = """
import json
import numpy as np
import pathweave as pw
from onnx import TensorProto as T, helper as h
from pathweave.profiling.store import Store
assert all(d["available"] for d in pw.open_plugin("{library}"))
info = h.make_tensor_value_info
nodes = [h.make_node("Abs", ["a"], ["b"]), h.make_node("Relu", ["b"], ["c"]), h.make_node("Identity", ["on"], ["go"])]
body = h.make_graph(nodes, "body", [info("i", T.INT64, []), info("on", T.BOOL, []), info("a", T.FLOAT, [64, 64])],
                    [info("go", T.BOOL, []), info("c", T.FLOAT, [64, 64])])
graph = h.make_graph([h.make_node("Loop", ["n", "", "x"], ["y"], body=body)], "net",
                     [info("n", T.INT64, []), info("x", T.FLOAT, [64, 64])], [info("y", T.FLOAT, [64, 64])])
data = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8).SerializeToString()
model, inputs = pw.load(data, threads=2), {{"n": np.array(5), "x": -np.ones((64, 64), np.float32)}}
profile = pw.profile(model, threads=2, store=Store.memory(), budget_s=2)
tuned = pw.tune(model, threads=2, store=Store.memory(), budget_s=2, progress=False)
print(json.dumps({{"null": [[m.routine, m.median] for m in profile if m.routine.endswith(":null0")],
                  "right": bool((tuned(inputs) == 1).all())}}))
"""


def test_a_loop_across_a_device_is_profiled_per_run_and_tuned(library, tmp_path, monkeypatch):
    (tmp_path / "times").write_text("500 relu/null:f32:nchw:null0\n")
    monkeypatch.setenv("PW_NULL_TIMES", str(tmp_path / "times"))
    done = run_python(ROUNDS.format(library=library), tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["right"] and ["relu/null:f32:nchw:null0", 500] in found["null"], found

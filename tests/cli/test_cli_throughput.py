"""Commands tune, show, explain, run, profile and bench tell of throughput what was asked for."""

from __future__ import annotations

import pytest

import pathweave


@pytest.fixture
def tuned(pw, digits, tmp_path):
    """The shipped network, tuned for three sessions."""
    path = tmp_path / "many.pw"
    done = pw("tune", digits, "-o", path, "--budget", 0, "--threads", 2, "--objective", "throughput", "--sessions", 3)
    assert done.code == 0, done.err
    assert "3 sessions of 1 thread" in done.out and "1 session of 2 threads" in done.out and "to compare with" in done.out
    return path


def test_what_was_tuned_for_is_told(pw, tuned):
    route = next(iter(pathweave.load(tuned).routes.values()))
    assert (route.objective, route.sessions, route.threads) == ("throughput", 3, 1)
    assert "for throughput of 3 sessions at the same time" in pw("show", tuned).out
    (shown,) = pw("show", tuned, "--json").json["routes"].values()
    assert (shown["objective"], shown["sessions"]) == ("throughput", 3)
    (ran,) = pw("run", tuned, "--random", "--json").json
    assert (ran["objective"], ran["sessions"]) == ("throughput", 3)
    found = pw("explain", tuned, 1, "--json")
    assert found.code == 0, found.err
    assert (found.json["objective"], found.json["sessions"], found.json["threads"]) == ("throughput", 3, 1)
    assert all("sessions:" in r["source"] for r in found.json["candidates"] if r["cost_ns"] is not None) or \
        pathweave.load(tuned).aim("throughput", 3).at_once == 1


def test_profile_and_bench(pw, digits, tuned):
    done = pw("profile", digits, "--budget", 0, "--objective", "throughput", "--sessions", 2, "--json")
    assert done.code == 0 and (done.json["objective"], done.json["sessions"], done.json["threads"]) == ("throughput", 2, 1)
    pytest.importorskip("onnxruntime")
    done = pw("bench", tuned, "--onnx", digits, "--objective", "throughput", "--sessions", 3, "--rounds", 1, "--against",
              "onnxruntime", "--json")
    assert done.code == 0, done.err
    engines = {e["engine"]: e for e in done.json["engines"]}
    assert set(engines) == {"pathweave", "pathweave, one session", "onnxruntime"}
    assert engines["pathweave"]["version"] == "tuned route" and engines["pathweave, one session"]["callers"] == 1
    assert all(e["calls_per_second"] > 0 and e["difference"] < 1e-3 for e in engines.values())
    assert engines["pathweave"]["ratio"] == 1 and engines["onnxruntime"]["callers"] == 3


@pytest.mark.parametrize("command, options, text", [
    ("tune", ["--sessions", 2, "--no-save"], "--sessions"), ("tune", ["--objective", "speed", "--no-save"], "--objective"),
    ("profile", ["--sessions", 2], "--sessions"), ("bench", ["--objective", "throughput", "--roof"], "--roof")])
def test_wrong_use(pw, digits, command, options, text):
    done = pw(command, digits, *options)
    assert done.code == 2 and text in done.err

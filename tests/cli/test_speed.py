"""The speed report: ratios from scripted results, calibration samples, classes of `bench`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pathweave.net.accuracy import COMMON
from pathweave.report import bench, speed
from pathweave.report.peers import SAMPLES, Task, peers, samples

ROOT = Path(__file__).resolve().parents[2]
HOST = {"cpu": "a processor", "usable_processors": 2, "tiers": ["generic", "x"], "cap": "", "fingerprint": "0123",
        "system": "Linux", "kernel": "6"}


def engine(name: str, minimum: float | None, median: float | None = None, accuracy: str = "f32", reason: str = "") -> dict:
    times = {} if minimum is None else {"minimum_ns": minimum, "median_ns": median, "spread": 0.1, "difference": 1e-6}
    return {"engine": name, "accuracy": accuracy, "version": "1", "reason": reason, **times}


def result(*engines: dict, net: str = "n", accuracy: str = "f32", batch: int = 1, threads: int = 2) -> dict:
    return {"net": net, "batch": batch, "run": {"accuracy": accuracy, "threads": threads}, "host": HOST,
            "engines": list(engines)}


def test_ratio_is_of_the_best_peer_by_minimum():
    row = speed.row_of(result(engine("a", 9e6, 10e6), engine("pathweave", 4e6, 5e6), engine("b", 6e6, 20e6),
                              engine("pathweave-default", 1e6, 1e6)))
    assert (row["best"], row["peers"]) == ("b", 2)
    assert row["ratio_minimum"] == pytest.approx(1.5) and row["ratio_median"] == pytest.approx(4)


def test_other_classes_are_no_peers():
    row = speed.row_of(result(engine("pathweave", 4e6, 4e6, "quantised"), engine("a", 8e6, 8e6, "quantised"),
                              engine("fast", 1e6, 1e6, "f32"), accuracy="quantised"))
    assert row["best"] == "a" and row["ratio_minimum"] == 2


@pytest.mark.parametrize("engines, reason", [
    ([engine("pathweave", None, reason="no routine"), engine("a", 3e6, 3e6)], "pathweave: no routine"),
    ([engine("pathweave", 3e6, 3e6), engine("a", None, reason="absent")], "no peer of this class runs here"),
    ([engine("pathweave", 3e6, 3e6), engine("pathweave-f32-only", 4e6, 4e6)], "no peer was asked"),
    ([engine("a", 3e6, 3e6)], "pathweave: it was not asked")])
def test_rows_without_a_ratio_say_why(engines, reason):
    row = speed.row_of(result(*engines))
    assert row["reason"] == reason and row["ratio_minimum"] is None and row["ratio_median"] is None


def test_markdown():
    text = speed.markdown([
        result(engine("pathweave", 2e6, 2e6), engine("a", 5e6, 4e6), engine("b", None, reason="not installed"), net="one"),
        result(engine("pathweave", 2e6, 2e6), engine("b", None, reason="not installed"), net="two", batch=8),
        result(engine("pathweave", None, reason="no routine", accuracy="reduced"), engine("c", 1e6, 1e6, "reduced"),
               net="one", accuracy="reduced")], HOST)
    lines = text.splitlines()
    assert "| class | one | two |" in lines
    assert "| f32, batch 1, 2 threads | 2.50 (2.00) a |  |" in lines
    assert "| f32, batch 8, 2 threads |  | none: no peer of this class runs here |" in lines
    assert "| reduced, batch 1, 2 threads | none: pathweave: no routine; best peer c 1.00 ms |  |" in lines
    assert "- f32, b: not installed (one, two batch 8)" in lines and "host 0123" in text
    assert "| a | 1 | 5.00 (4.00) | 10 % | 1.0e-06 |" in lines


# ---- calibration and classes ----------------------------------------------------------------------------------------

def test_samples_are_the_same_for_all():
    first, second = samples({"x": (1, 2, 3)}), samples({"x": (1, 2, 3)})
    assert len(first) == SAMPLES and all(np.array_equal(a["x"], b["x"]) for a, b in zip(first, second))
    assert not np.array_equal(first[0]["x"], first[1]["x"]) and first[0]["x"].dtype == np.float32
    assert [len(samples({"x": (batch, 4)})) for batch in (2, 3, 8, 32)] == [4, 3, 1, 1]
    task = Task("", {"x": np.zeros((1, 2, 3), np.float32)}, (), 1)
    assert np.array_equal(task.samples()[0]["x"], first[0]["x"])


def test_all_means_those_of_the_class():
    by_class = {c: {p.name for p in bench.select(["all"], c)} for c in COMMON}
    assert {"onnxruntime", "openvino", "pytorch-compile", "ncnn", "mnn", "litert"} <= by_class["f32"]
    assert {"openvino-bf16", "pytorch-compile-bf16"} <= by_class["reduced"]
    assert {"onnxruntime-int8", "openvino-int8", "litert-int8"} <= by_class["quantised"]
    assert sum(map(len, by_class.values())) == len(peers())


def test_check_against_a_reference():
    entries = [bench.Entry("a", lambda: [np.full(3, 1.5)], accuracy="quantised"), bench.Entry("b", lambda: [np.full(3, 1.0)])]
    assert bench.reference(entries) is entries[1]  # the first in f32
    bench.check(entries)
    assert [e.agreement.largest for e in entries] == [0.5, 0.0]


def test_a_class_that_this_build_lacks_is_a_reason_and_no_failure(pw, digits, monkeypatch):
    from pathweave.report import ours
    monkeypatch.setattr(ours, "missing_class", lambda accuracy: f"no routine of class {accuracy}")
    done = pw("bench", digits, "--accuracy", "reduced", "--tune", "--rounds", "1", "--json")
    (engine,) = done.json["engines"]
    assert done.code == 0 and engine["reason"] == "no routine of class reduced" and "minimum_ns" not in engine
    assert done.json["run"]["accuracy"] == "reduced"


def test_the_build_is_asked_for_the_class(monkeypatch):
    from pathweave.report import ours
    cards = [{"accuracy": "strict", "unavailable": ""}, {"accuracy": "reduced", "unavailable": "no bf16 here"}]
    monkeypatch.setattr(ours, "native", lambda: SimpleNamespace(routines=lambda: cards))
    assert ours.missing_class("f32") == "" and "class reduced" in ours.missing_class("reduced")
    cards += [{"accuracy": "reduced", "unavailable": ""}, {"accuracy": "quantised", "unavailable": ""}]
    assert ours.missing_class("reduced") == "" == ours.missing_class("quantised")


def test_onnxruntime_int8_computes_the_same_network(digits, heldout, tmp_path, monkeypatch):
    """A real quantised peer on the shipped network: its classes, not its digits, agree."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    if importlib.util.find_spec("onnxruntime.quantization") is None:
        pytest.skip("onnxruntime comes without its quantisation package")
    monkeypatch.setenv("PATHWEAVE_PEERS_CACHE", str(tmp_path))
    x = np.load(heldout)["images"][:8].astype(np.float32)
    task = Task(str(digits), {"x": x}, ("logits",), 1)
    (exact,) = peers()["onnxruntime"].load(task)()
    (found,) = peers()["onnxruntime-int8"].load(task)()
    assert found.shape == exact.shape and not np.array_equal(found, exact)
    assert np.mean(found.argmax(1) == exact.argmax(1)) >= 0.75


# ---- scripts --------------------------------------------------------------------------------------------------------

def test_networks_of_the_report_are_those_that_can_be_made():
    tomllib = pytest.importorskip("tomllib", reason="Python below 3.11 has no tomllib")
    spec = importlib.util.spec_from_file_location("models", ROOT / "bench" / "models.py")
    models = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(models)
    listed = tomllib.loads((ROOT / "bench" / "nets.toml").read_text())
    assert tuple(listed) == models.NAMES
    assert all(net["file"] == f"{name}.onnx" and net["shape"] == [3, 224, 224] for name, net in listed.items())


# ---- bench/peers/run.py --missing -----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def run_py():
    spec = importlib.util.spec_from_file_location("peers_run", ROOT / "bench" / "peers" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_names_of_files(run_py, tmp_path):
    assert speed.slug("Intel(R) Xeon(R) Processor @ 2.60GHz") == ["intel", "xeon"]
    assert speed.slug("AMD EPYC 9R14 96-Core Processor") == ["amd", "epyc", "9r14"] and speed.slug("") == ["cpu"]
    stems = [run_py.write([result(engine("pathweave", 2e6, 2e6))], "f32", tmp_path)[1].name for _ in range(2)]
    assert stems[0].endswith("-a-x-f32") and stems[1] == stems[0] + "-2" and len(list(tmp_path.iterdir())) == 4


def test_what_is_missing(run_py, tmp_path):
    tiers, nets = HOST["tiers"], ["n", "m"]
    assert run_py.lacking(tmp_path, tiers, COMMON, nets) == {c: nets for c in COMMON}
    run_py.write([result(engine("pathweave", 2e6, 2e6), net=n) for n in nets], "f32", tmp_path)
    run_py.write([result(engine("pathweave", 2e6, 2e6), accuracy="reduced")], "reduced", tmp_path)
    run_py.write([result(engine("pathweave", 2e6, 2e6), net=n, accuracy="quantised", batch=8) for n in nets], "quantised",
                 tmp_path)
    assert run_py.lacking(tmp_path, tiers, COMMON, nets) == {"reduced": ["m"], "quantised": nets}
    assert run_py.lacking(tmp_path, [*tiers, "y"], COMMON, nets) == {c: nets for c in COMMON}
    capped = result(engine("pathweave", 2e6, 2e6), net="m", accuracy="reduced")
    run_py.write([{**capped, "host": {**HOST, "cap": "x"}}], "reduced", tmp_path)
    assert run_py.lacking(tmp_path, tiers, ["reduced"], nets) == {"reduced": ["m"]}


def test_roofs_in_the_report():
    step = {"layer": "conv1", "kind": "conv2", "routine": "conv2/x", "variant": "v", "minimum_ns": 3e6, "roof_ns": 1e6,
            "share": 1 / 3, "own_share": None, "lost_ns": 2e6}
    roof = {"minimum_ns": 4e6, "roof_ns": 1.5e6, "share": 0.375, "own_share": None, "low": 1, "judged": 2, "low_time": 0.75,
            "worst": [step]}
    lines = speed.markdown([{**result(engine("pathweave", 4e6, 4e6)), "roof": roof}], HOST).splitlines()
    assert "| n, f32 | 4.00 ms | 1.50 ms | 0.38 |  | 1 of 2 | 75 % |" in lines
    assert "| n, f32 | conv1 (conv2) | conv2/x v | 3.00 ms | 1.00 ms | 2.00 ms |" in lines
    assert "Roofs" not in speed.markdown([result(engine("pathweave", 4e6, 4e6))], HOST)

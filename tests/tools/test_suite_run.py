"""bench/suite/run.py: tables and summaries from scripted results, processes that end or hang, the file of results."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pathweave.report import bench, speed, suite
from pathweave.report.peers import samples
from pathweave.report.tables import Column, Table

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "bench" / "suite"
DIGITS = ROOT / "examples" / "digits"
HOST = {"cpu": "a processor", "usable_processors": 2, "tiers": ["generic", "x"], "cap": "", "fingerprint": "0123",
        "system": "Linux", "kernel": "6", "load_before": 0.5}


@pytest.fixture(scope="module")
def modules():
    """The scripts of the suite as modules, which import each other by their names."""
    kept, sys.path[:0] = list(sys.path), [str(FOLDER)]
    try:
        import check
        import families
        import one
        import run
        yield SimpleNamespace(run=run, one=one, check=check, families=families)
    finally:
        sys.path[:] = kept
        for name in ("run", "one", "check", "families"):
            sys.modules.pop(name, None)


def engine(name: str, minimum: float | None, reason: str = "", accuracy: str = "f32", **more) -> dict:
    times = {} if minimum is None else {"minimum_ns": minimum, "median_ns": 2 * minimum, "spread": 0.1}
    return {"engine": name, "accuracy": accuracy, "version": "1", "reason": reason, **times, **more}


def result(net: str, *engines: dict, family: str = "one", failed: str = "", accuracy: str = "f32", batch: int = 0,
           **more) -> dict:
    return {"net": net, "family": family, "failed": failed, "batch": 1, "asked_batch": batch, "host": HOST, "layers": 7,
            "run": {"accuracy": accuracy, "threads": 2}, "engines": list(engines), **more}


def three() -> list[dict]:
    """Ratios tuned 2, 0.5 and 4, by default 1, 0.25 and none; the third failed in the family `two`."""
    return [result("a", engine("pathweave", 1e6, difference=1e-6), engine("pathweave-default", 2e6, difference=3e-6),
                   engine("p", 2e6), engine("q", None, "absent"), predicted=1.1),
            result("b", engine("pathweave", 2e6), engine("pathweave-default", 4e6), engine("p", 3e6), engine("q", 1e6)),
            result("c", engine("pathweave", 1e6), engine("q", 4e6), family="two"),
            result("d", family="two", failed="outputs differ:\n by much")]


# ---- rows and families ----------------------------------------------------------------------------------------------

def test_rows():
    a, b, c, d = suite.rows_of(three())
    assert (a["tuned"], a["default"], a["best"], a["predicted"], a["difference"]) == (2, 1, "p", 1.1, 3e-6)
    assert (b["tuned"], b["default"], b["best"]) == (0.5, 0.25, "q") and b["times"]["p"] == 3e6
    assert (c["tuned"], c["default"], c["reason"]) == (4, None, "")
    assert (d["tuned"], d["reason"]) == (None, "FAILED: outputs differ: by much")


def test_rows_without_a_ratio_say_why():
    (alone,) = suite.rows_of([result("a", engine("pathweave", 1e6), engine("p", None, "absent"))])
    assert alone["tuned"] is None and alone["reason"] == "no peer of this class runs here"
    (out,) = suite.rows_of([result("a", left_out="its batch is not free")])
    assert (out["failed"], out["reason"]) == ("", "its batch is not free")


def test_only_the_default_route():
    (row,) = suite.rows_of([result("a", engine("pathweave-default", 2e6), engine("p", 3e6))])
    assert (row["tuned"], row["default"], row["reason"]) == (None, 1.5, "")
    assert "ours tuned" not in suite.net_table([result("a", engine("pathweave-default", 2e6), engine("p", 3e6))]).text()


def test_summary():
    one, two, every = suite.summary(three())
    assert (one["family"], one["nets"], one["failed"]) == ("one", 2, 0)
    assert one["tuned_mean"] == pytest.approx(1) and one["default_mean"] == pytest.approx(0.5)
    assert (one["tuned_worst"], one["tuned_worst_net"], one["tuned_below"]) == (0.5, "b", 0.5)
    assert (two["nets"], two["failed"], two["tuned_count"], two["default_mean"]) == (2, 1, 1, None)
    assert every["family"] == "all" and every["tuned_mean"] == pytest.approx(4 ** (1 / 3)) and every["failed"] == 1
    assert every["tuned_below"] == pytest.approx(1 / 3) and every["default_below"] == 0.5  # a ratio of 1 is not below


def test_geometric_mean():
    ratios = [0.2, 3.0, 1.7, 12.0]
    assert suite.geometric_mean(ratios) == pytest.approx(math.prod(ratios) ** 0.25)
    assert suite.geometric_mean([]) is None


def test_tables():
    lines = suite.net_table(three()).text().splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["b", "a", "c", "d"]  # the smallest ratio first, without one last
    assert "2.00 (2.00)" in lines[3] and "FAILED: outputs differ: by much" in lines[5] and "load average" in lines[-1]
    families = suite.family_table(three()).text().splitlines()
    assert families[2].split()[:6] == ["one", "2", "1.00", "0.50", "b", "50"]
    assert families[4].split()[0] == "all" and "33.3 %" in families[4]


def test_markdown():
    lost = [{"kind": "k", "shape": "1 -> 2", "count": 1, "minimum_ns": 3e3, "roof_ns": 1e3, "lost_ns": 2e3, "routine": "r"}]
    text = suite.markdown([*three(), result("a", engine("pathweave", 1e6), engine("p", 3e6), batch=4, lost=lost)], HOST)
    assert "## Class f32, 2 threads, inputs as the suite has them" in text and "## Class f32, 2 threads, batch 4" in text
    assert "| family | nets | failed | tuned | worst |" in text and text.count("### Steps that lose most") == 1
    assert "- q: absent (a)" in text and "host 0123" in text


def test_a_table_in_markdown():
    table = Table([Column("a", "A"), Column("b", "B", right=True)], [{"a": "x|y", "b": 1}], "title", ["a note"])
    assert table.markdown() == "| A | B |\n| --- | ---: |\n| x\\|y | 1 |\n\na note."


def test_reasons_are_grouped():
    results = [result(net, engine("p", None, reason), engine("q", None, "absent"))
               for net, reason in zip("abcdefg", ["x", "x", "y", "z", "u", "v", "x"])]
    assert suite.declined(results) == ["p: x (a, b, g)", "p: y (c)", "p: z (d)", "p: 2 other reasons (e, f)",
                                       "q: absent (a, b, c and 4 more)"]


# ---- steps that lose most -------------------------------------------------------------------------------------------

def step(kind: str, shape: str, lost: float, routine: str = "r") -> dict:
    return {"kind": kind, "shape": shape, "count": 1, "minimum_ns": lost + 1, "roof_ns": 1.0, "lost_ns": lost,
            "routine": routine}


def test_worst_steps_over_all_nets():
    results = [result("a", lost=[step("conv2", "1", 5), step("dense", "1", 7)]),
               result("b", lost=[step("conv2", "1", 9, "s"), step("conv2", "2", 1)]), result("c")]
    first, second, third = suite.worst_steps(results)
    assert (first["kind"], first["shape"], first["lost_ns"], first["count"]) == ("conv2", "1", 14, 2)
    assert (first["minimum_ns"], first["roof_ns"], first["routine"], first["nets"]) == (16, 2, "s", ["b", "a"])
    assert (second["kind"], third["shape"]) == ("dense", "2") and len(suite.worst_steps(results, most=2)) == 2
    text = suite.worst_table(results).text()
    assert "64 %" in text.splitlines()[2]  # 14 of 22


def test_steps_of_a_plan_by_shape():
    import pathweave as pw
    from pathweave.runtime.defaults import usual_route
    model = pw.load(DIGITS / "digits.onnx", threads=1)
    bound = model.bind({"x": (3, 1, 8, 8)})
    plan = model.plan(usual_route(bound, 1), bound.shapes, 1)
    rows = [{"layer": s.layer if not s.value else s.value, "kind": s.layer if s.value else bound.flat.place[s.layer].layer.kind,
             "routine": s.routine, "variant": s.variant, "minimum_ns": 10.0 * i, "roof_ns": 25.0}
            for i, s in enumerate(plan.steps)]
    found = suite.lost_by_shape(plan, rows)
    assert sum(r["lost_ns"] for r in found) == pytest.approx(sum(max(0, r["minimum_ns"] - 25) for r in rows))
    assert sum(r["count"] for r in found) == len(rows) and [r["lost_ns"] for r in found] == \
        sorted((r["lost_ns"] for r in found), reverse=True)
    shapes = [r["shape"] for r in found if r["kind"] == "conv2"]
    assert shapes and all("3x" in s and " * " in s and " -> 3x" in s for s in shapes)


# ---- families -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("file, family", [
    ("resnet18.l", "classification"), ("yolo8.d", "detection"), ("unet_bilinear", "segmentation"), ("k_lstm.t", "recurrent"),
    ("gpt2_cached.l", "decoder"), ("k_gru_before.t", "recurrent"), ("bert.l.qdq", "quantised file"), ("bert.l", "transformer"),
    ("bert.l.f16", "float16 file"), ("vit_b_32.d", "vision transformer"), ("vit.l", "vision transformer"),
    ("nobody_knows_it.l", "other")])
def test_families(modules, file, family):
    assert modules.families.family_of(file) == family


def test_a_net_has_one_family(modules):
    names = [name for found in modules.families.FAMILIES.values() for name in found if "*" not in name]
    assert len(names) == len(set(names)) and all(modules.families.is_named(name) for name in names)
    assert not modules.families.is_named("nobody_knows_it")


# ---- processes ------------------------------------------------------------------------------------------------------

SAYS = """
import json, os, signal, sys, time
pipe = int(sys.argv[-1])
def say(**what): os.write(pipe, (json.dumps(what) + "\\n").encode())
"""


def ask(modules, script: str, limit: float = 20.0) -> dict:
    return modules.run.ask(modules.run.Processes(), [sys.executable, "-c", SAYS + script], {}, limit)


def test_a_process_that_answers(modules):
    assert ask(modules, "say(stage='loading', engine='p'); say(result={'a': 'x' * 200000})")["result"] == {"a": "x" * 200000}
    assert ask(modules, "say(failed='no'); time.sleep(60)") == {"failed": "no"}  # its end is not waited for


def test_a_process_that_ends(modules):
    end = "say(stage='loading', engine='p'); print('words', flush=True); os.kill(os.getpid(), signal.SIG{})"
    assert ask(modules, end.format("SEGV")) == {"ended": "ended by SIGSEGV (loading p)", "engine": "p", "stage": "loading"}
    assert ask(modules, end.format("ABRT"))["ended"] == "ended by SIGABRT (loading p): words"
    assert ask(modules, "sys.exit(3)") == {"ended": "exit code 3 (starting)", "engine": "", "stage": ""}


@pytest.mark.parametrize("stage, engine, late", [("timing", "p", 0.1), ("tuning", "", 0.4), ("timing", "pathweave", 0.4)])
def test_a_process_that_hangs(modules, stage, engine, late):
    """A peer has a quarter of the limit for each of its turns; ours has all of it."""
    read, write = os.pipe()
    os.write(write, json.dumps({"stage": stage, "engine": engine}).encode() + b"\n")
    try:
        said = modules.run._listen(read, 0.4)
    finally:
        os.close(read)
        os.close(write)
    assert said == {"stage": stage, "engine": engine, "late": pytest.approx(late)}


def test_a_process_that_hangs_is_ended(modules):
    said = ask(modules, "time.sleep(600)", limit=0.2)
    assert said == {"ended": "took longer than 0.2 s (starting)", "engine": "", "stage": "", "late": True}


def test_what_a_process_started_ends_with_it(modules):
    processes = modules.run.Processes()
    with processes.started([sys.executable, "-c", "import subprocess, time; p = subprocess.Popen(['sleep', '60']); "
                            "print(p.pid, flush=True); time.sleep(60)"], stdout=subprocess.PIPE, text=True) as process:
        grandchild = int(process.stdout.readline())
        processes.stop()
        process.wait(10)
    end = time.monotonic() + 10
    while _alive(grandchild) and time.monotonic() < end:
        time.sleep(0.02)
    assert not _alive(grandchild)
    with pytest.raises(KeyboardInterrupt), processes.started(["true"]):
        pytest.fail("a process began after the end")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def options(**other) -> argparse.Namespace:
    return argparse.Namespace(**{"rounds": 1, "seconds": None, "budget": 1.0, "default_only": True, "roof": False, "limit": 9.0,
                                 **other})


def test_a_peer_that_ends_costs_only_itself(modules, tmp_path, monkeypatch):
    asked = []

    def scripted(processes, command, environment, limit):
        request = json.loads(command[-1])
        asked.append((request["against"], request["out"]))
        return {"ended": "ended by SIGSEGV", "engine": "bad", "stage": "loading"} if "bad" not in request["out"] else \
            {"result": result("n", engine("pathweave-default", 1e6), engine("bad", None, request["out"]["bad"]))}
    monkeypatch.setattr(modules.run, "ask", scripted)
    (tmp_path / "n.0.npz").touch()
    cell = modules.run.Cell(tmp_path / "n.l.onnx", "f32", 2, 0)
    found = modules.run.run(cell, options(), ["good", "bad"], HOST, modules.run.Processes())
    assert asked == [(["good", "bad"], {}), (["bad", "good"], {}), (["good", "bad"], {"bad": "ended by SIGSEGV"})]
    assert not found["failed"] and found["engines"][1]["reason"] == "ended by SIGSEGV"
    monkeypatch.setattr(modules.run, "ask", lambda *_: {"ended": "exit code 1 (tuning)", "engine": "", "stage": "tuning"})
    found = modules.run.run(cell, options(), ["good"], HOST, modules.run.Processes())
    assert (found["failed"], found["net"], found["engines"]) == ("exit code 1 (tuning)", "n.l", [])
    assert suite.key_of(found) == cell.key
    monkeypatch.setattr(modules.run, "ask", lambda *_: {"left_out": "its batch is not free"})
    assert modules.run.run(cell, options(), ["good"], HOST, modules.run.Processes())["failed"] == ""


def ended(stage: str, engine: str, **more) -> dict:
    return {"ended": "gone", "stage": stage, "engine": engine, **more}


def test_who_is_left_out(modules):
    def peers():
        return modules.run.Peers(["a", "b", "c"])
    once = peers()
    assert once.blame(ended("loading", "b")) and (once.order, once.out) == (["b", "a", "c"], {})  # `a` may have done it
    assert once.blame(ended("loading", "a")) and once.order == ["a", "b", "c"]
    assert once.blame(ended("loading", "b")) and (once.order, once.out) == (["a", "c"], {"b": "gone"})  # the second time
    first = peers()
    assert first.blame(ended("loading", "a")) and first.out == {"a": "gone"}  # nobody was there before
    hangs = peers()
    assert hangs.blame(ended("timing", "c", late=True)) and hangs.out == {"c": "gone"}
    assert not peers().blame({"result": {}}) and not peers().blame({"failed": "no"})


def test_an_end_in_our_turn(modules):
    peers = modules.run.Peers(["a", "b"])
    assert not peers.blame(ended("tuning", "")) and not peers.blame(ended("timing", "pathweave", late=True))
    assert peers.blame(ended("timing", "pathweave")) and peers.order == [] and "in our turn: gone" in peers.out["b"]
    assert not peers.blame(ended("timing", "pathweave"))  # without them, too: it is ours


# ---- the file of results --------------------------------------------------------------------------------------------

def test_results_are_read_again(modules, tmp_path, capsys):
    path = tmp_path / "r.jsonl"
    modules.run.Kept(path).add(result("a"))
    with path.open("a") as file:
        file.write('{"net": "cut o')
    modules.run.Kept(path).add(result("b"))
    assert [r["net"] for r in modules.run.read(path, HOST)] == ["a", "b"]
    assert "line 2: not whole" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="line 1: tiers is"):
        modules.run.read(path, {**HOST, "tiers": ["generic"]})


def test_written_results(modules, tmp_path):
    steps = [step("conv2", "1", 5)]
    files = modules.run.write([*three(), result("a", engine("p", 1e6), accuracy="reduced", lost=steps)], tmp_path)
    assert [f.name.split("-x-")[1] for f in files] == \
        [f"suite-{name}" for name in ("f32.json", "f32.md", "reduced.json", "reduced.md")]
    kept = json.loads(files[0].read_text())
    assert [r["net"] for r in kept] == ["a", "b", "c", "d"] and len(files[0].read_text().splitlines()) == 6
    assert "lost" not in json.loads(files[2].read_text())[0] and "Steps that lose most" in files[3].read_text()
    assert speed.keep(three(), "", ["suite", "f32"], tmp_path).name.endswith("-suite-f32-2")


# ---- the command ----------------------------------------------------------------------------------------------------

def test_what_is_run(modules, tmp_path):
    for name in ("a.l.onnx", "a.0.npz", "a.l.qdq.onnx", "b.d.onnx", "b.0.npz", "c.l.onnx"):
        (tmp_path / name).touch()
    given = modules.run.parsed([str(tmp_path), "a*", "b*", "c*", "--class", "f32", "quantised", "--batch", "1", "--batch", "8"])
    cells = [(c.path.stem, c.accuracy, c.threads, c.batch) for c in modules.run.cells_of(given)]
    assert cells == [(n, "f32", 2, b) for b in (1, 8) for n in ("a.l", "a.l.qdq", "b.d")] + \
        [(n, "quantised", 2, b) for b in (1, 8) for n in ("a.l", "b.d")]
    assert {c.batch for c in modules.run.cells_of(modules.run.parsed([str(tmp_path)]))} == {0}
    with pytest.raises(SystemExit, match="is named z"):
        modules.run.cells_of(modules.run.parsed([str(tmp_path), "z"]))


@pytest.mark.parametrize("words, message", [
    (["--threads", "0"], "expected a whole number from 1, got 0"), (["--seconds", "-1"], "above 0"),
    (["--resume", "/nowhere/r"], "no such file"), (["--json", __file__], "it is there already"), (["--class", "f16"], "f16")])
def test_bad_use(modules, capsys, words, message):
    with pytest.raises(SystemExit) as end:
        modules.run.parsed(["folder", *words])
    assert end.value.code == 2 and message in capsys.readouterr().err


def test_engines(modules):
    assert "onnxruntime" in {n.split(":")[0] for found in modules.run.engines_of([], "f32") for n in found}
    assert modules.run.engines_of(["onnxruntime"], "reduced") == ([], [])  # of another class
    with pytest.raises(SystemExit, match="--against nobody: unknown"):
        modules.run.engines_of(["nobody"], "f32")


def test_progress(modules):
    assert [modules.run.clock(s) for s in (5, 65, 3665)] == ["0:05", "1:05", "1:01:05"]
    line = modules.run.progress_line(three()[0], 3, 5, 8.2, 20.0, before=1)
    assert line == "[3/5] a f32: tuned 2.00, default 1.00, best peer p 2.00 ms   8 s; elapsed 0:20, remaining about 0:20"
    assert "FAILED: outputs differ: by much" in modules.run.progress_line(three()[3], 1, 1, 1.0, 1.0)


# ---- one net --------------------------------------------------------------------------------------------------------

def test_batches(modules):
    specs = {"x": SimpleNamespace(shape=("n", 3)), "m": SimpleNamespace(shape=("n",)), "w": SimpleNamespace(shape=(2,))}
    given = {"x": np.arange(6).reshape(2, 3), "m": np.array([7, 8]), "w": np.array([1, 2])}
    found = modules.one.batched(given, specs, 5)
    assert found["m"].tolist() == [7, 8, 7, 8, 7] and found["x"].shape == (5, 3) and found["w"] is given["w"]
    with pytest.raises(modules.one.LeftOut, match="not free"):
        modules.one.batched({"w": given["w"]}, specs, 5)


def test_outputs_are_compared_with_those_of_onnx_runtime(modules):
    wanted = np.array([1.0, -2.0], np.float32)
    reference = object.__new__(modules.check.Reference)
    reference.form, reference.outputs, reference.scales, reference.tolerance = "", ["y"], {}, 1e-4
    net = object.__new__(modules.one.Net)
    net.bound, net.reference, net.expected = SimpleNamespace(net=SimpleNamespace(outputs=("y",))), reference, [wanted]
    net.request = SimpleNamespace(accuracy="f32")
    near, far = wanted + np.float32(0.001), wanted + np.float32(0.01)
    assert net.difference("e", [near], ours=True) == pytest.approx(5e-4, rel=1e-3)
    for ours in (True, False):
        with pytest.raises(AssertionError, match="e: y differs by 0.005"):
            net.difference("e", [far], ours)
    with pytest.raises(AssertionError, match="2 outputs, expected 1"):
        net.difference("e", [near, near], ours=False)
    assert net.difference("e", [near.astype(np.float64)], ours=False) == pytest.approx(5e-4, rel=1e-3)
    with pytest.raises(AssertionError, match="expected float32"):
        net.difference("e", [near.astype(np.float64)], ours=True)
    net.request.accuracy = "reduced"
    assert net.difference("e", [far], ours=True) == pytest.approx(5e-3, rel=1e-3)
    assert net.difference("e", [far[:1]], ours=True) is None


def test_the_whole_way(tmp_path):
    """A real net beside ONNX Runtime, and a file that is none."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    (tmp_path / "digits.l.onnx").write_bytes((DIGITS / "digits.onnx").read_bytes())
    np.savez(tmp_path / "digits.0.npz", x=np.load(DIGITS / "heldout.npz")["images"][:2].astype(np.float32))
    out = tmp_path / "r.jsonl"
    words = [sys.executable, FOLDER / "run.py", tmp_path, "--class", "f32", "--against", "onnxruntime", "--threads", "1",
             "--default-only", "--seconds", "0.01"]
    done = subprocess.run([*words, "--json", out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = map(json.loads, out.read_text().splitlines())
    assert {e["engine"]: e["reason"] for e in found["engines"]} == {"pathweave-default": "", "onnxruntime": ""}
    assert all(0 <= e["difference"] < 1e-4 and e["count"] == 6 for e in found["engines"]) and found["batch"] == 2
    assert found["run"]["shapes"] == {"x": [2, 1, 8, 8]} and "digits.l" in done.stdout and "all" in done.stdout
    (tmp_path / "broken.l.onnx").write_bytes(b"no net")
    (tmp_path / "broken.0.npz").write_bytes((tmp_path / "digits.0.npz").read_bytes())
    done = subprocess.run([*words, "--resume", out], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "1 of 2 to run" in done.stdout and "FAILED: FileFormatError" in done.stdout
    assert [json.loads(line)["net"] for line in out.read_text().splitlines()] == ["digits.l", "broken.l"]


# ---- what it stands on ----------------------------------------------------------------------------------------------

class Clock:
    """A timer whose time goes on with every call of an engine."""

    seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def cpu(self) -> float:
        return 0.0

    def ns(self) -> int:
        return round(self.seconds * 1e9)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.mark.parametrize("seconds, rounds", [(0.1, 3), (7.0, 3), (18.5, 7)])
def test_a_measurement_that_ends_by_the_clock(seconds, rounds):
    clock, turns = Clock(), []

    def call() -> list:
        clock.seconds += 1.0  # three calls a round
        return []
    one = bench.Entry("a", call)
    assert bench.measure([one], rounds=99, seconds=seconds, timer=clock, before=lambda e: turns.append(e.name)) == rounds
    assert len(one.samples) == 2 * rounds and turns == ["a"] * rounds


def test_samples_keep_what_is_no_float():
    ids = np.array([[3, 4]], np.int64)
    shapes, given = {"x": (1, 2), "ids": (1, 2)}, {"x": np.zeros((1, 2), np.float32), "ids": ids}
    found = samples(shapes, given)
    assert all(s["ids"] is ids and s["x"].any() for s in found)
    assert all(np.array_equal(a["x"], b["x"]) for a, b in zip(found, samples(shapes, given)))

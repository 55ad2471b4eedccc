"""The fuzzer itself: what is planted is found, said and kept, and what is healthy is counted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pathweave.testing import cases
from pathweave.testing.fuzz import driver, mutate, worker
from pathweave.testing.fuzz.__main__ import main, mixed, shares
from pathweave.testing.fuzz.target import all_targets, corpus_files
from pathweave.testing.fuzz.targets import layers

PLANTED = str(Path(__file__).parent / "planted.py")


def fuzz(*arguments: str, capsys) -> tuple[int, dict]:
    """Exit code and the JSON document of a run with one worker."""
    code = main(["--plugin", PLANTED, "--jobs", "1", "--json", *map(str, arguments)])
    return code, json.loads(capsys.readouterr().out)


def of(target: str, tmp_path, capsys, cases: int = 40) -> dict:
    """The only finding of a target, with exit code 1."""
    code, told = fuzz("--target", target, "--cases", cases, "--corpus", tmp_path, capsys=capsys)
    assert code == 1 and len(told["findings"]) == 1, told
    (found,) = told["findings"]
    tally = told["targets"][target]
    assert tally["cases"] == cases and tally["findings"] == found["count"]
    assert tally["accepted"] == cases - found["count"]  # what is healthy goes on after each finding
    return found


@pytest.mark.parametrize("target, kind, error", [
    ("crash", "crash", "SIGSEGV"), ("memory", "memory", "MemoryError"), ("untyped", "exception", "KeyError"),
    ("exit", "exception", "SystemExit"), ("unequal", "wrong", "Wrong"), ("silent", "message", "ModelError")])
def test_what_is_planted_is_found_kept_and_made_smaller(target, kind, error, tmp_path, capsys):
    found = of(target, tmp_path, capsys)
    assert (found["kind"], found["error"], found["alone"]) == (kind, error, True)
    assert found["count"] > 1  # the same is told once
    (file,) = {Path(f) for f in found["files"]}
    assert file.parent == tmp_path and file.name.startswith(f"{target}-") and list(tmp_path.iterdir()) == [file]
    assert file.read_bytes() == b"!"  # all that is needed
    assert found["repeat"] == f"python -m pathweave.testing.fuzz --plugin {PLANTED} --replay {file}"


def test_a_hang_is_ended_by_its_cpu_time(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(driver, "CPU_SECONDS", 0.3)
    found = of("hang", tmp_path, capsys, 20)
    assert found["kind"] == "hang" and "planted.py" in found["text"]


def test_a_deadlock_is_ended_by_the_clock(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(driver, "WALL_SECONDS", 0.5)
    found = of("deadlock", tmp_path, capsys, 20)
    assert found["kind"] == "hang" and "planted.py" in found["text"]


def test_memory_that_no_limit_stops_is_seen(tmp_path):
    room = tmp_path / "room"
    room.mkdir()

    class Takes:
        def run(self, data, folder):
            np.ones(32 << 20, np.uint8)
    result = worker.attempt(Takes(), b"", room)
    assert result["what"] == "accepted" and 30 << 20 < result["memory"] < 64 << 20
    old, worker.MEMORY = worker.MEMORY, 64 << 20
    try:
        assert worker.attempt(Takes(), b"", room)["what"] == "accepted"
        worker.SLACK, slack = 0.25, worker.SLACK
        found = worker.attempt(Takes(), b"", room)
        worker.SLACK = slack
    finally:
        worker.MEMORY = old
    assert (found["what"], found["kind"]) == ("finding", "memory")


def test_what_is_healthy_is_counted(tmp_path, capsys):
    code, told = fuzz("--target", "healthy", "--cases", 60, "--corpus", tmp_path, capsys=capsys)
    tally = told["targets"]["healthy"]
    assert code == 0 and not told["findings"] and tally["cases"] == 60
    assert tally["refused"] == {"ModelError": 60 - tally["accepted"]} and tally["accepted"] > 40
    assert list(tmp_path.iterdir()) == []


def test_a_finding_is_repeated_by_its_command(tmp_path, capsys):
    (tmp_path / "untyped-1.txt").write_bytes(b"!")
    (tmp_path / "untyped-2.txt").write_bytes(b"a")
    code, told = fuzz("--replay", tmp_path / "untyped-1.txt", tmp_path / "untyped-2.txt", capsys=capsys)
    assert code == 1 and told["targets"]["untyped"]["accepted"] == 1
    assert told["findings"][0]["error"] == "KeyError"


def test_the_command_prints_a_table(tmp_path):
    done = subprocess.run([sys.executable, "-m", "pathweave.testing.fuzz", "--plugin", PLANTED, "--target", "untyped",
                           "--target",
                           "healthy", "--cases", "40", "--jobs", "2", "--corpus", str(tmp_path)], capture_output=True,
                           text=True,
                          timeout=60, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == 1, done.stderr
    assert "FOUND exception KeyError in" in done.stdout and "--replay" in done.stdout
    assert "40 cases, 1 finding\n" in done.stdout


@pytest.mark.parametrize("arguments", [["--target", "nonsense"], ["--replay", "absent-1.txt"]])
def test_bad_use(arguments, capsys):
    assert main(arguments) == 2
    assert "there is no" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--cases", "0"], ["--cases", "-5"], ["--jobs", "-3"], ["--jobs", "0"],
                                       ["--cases", "many"]])
def test_a_run_of_nothing_is_bad_use(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2 and arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_ends_it_leaves_nothing_behind(number, code, tmp_path):
    """Ctrl-C on a terminal reaches the workers too; what ends the command early leaves no process, folder or finding."""
    room, corpus = tmp_path / "room", tmp_path / "corpus"
    room.mkdir()
    process = subprocess.Popen([sys.executable, "-c", (
        "import sys, tempfile\nfrom pathweave.testing.fuzz import __main__, driver\n"
        f"own = tempfile.mkdtemp\ndriver.tempfile.mkdtemp = lambda **o: own(**{{**o, 'dir': {str(room)!r}}})\n"
        "sys.exit(__main__.main(sys.argv[1:]))"), "--plugin", PLANTED, "--target", "healthy", "--cases", "1000000",
        "--jobs", "2", "--corpus", str(corpus)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    end = time.monotonic() + 60
    while len(list(room.glob("*/worker2/*"))) == 0 and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(1.0)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "0 findings" in out and "interrupted" in err and "Traceback" not in err
    assert list(room.iterdir()) == [] and not corpus.exists()
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # one that has just ended
            assert str(room).encode() not in words.read_bytes()


def test_the_same_seed_gives_the_same_cases(tmp_path):
    for name, target in all_targets().items():
        folder = tmp_path / name
        folder.mkdir()
        target.prepare(folder)
        cases = [target.case(7, i) for i in range(12)]
        assert cases == [target.case(7, i) for i in range(12)], name
        assert cases != [target.case(8, i) for i in range(12)], name
        assert len(set(cases)) > 6, name


def test_every_operator_of_the_importer_is_drawn(tmp_path):
    from pathweave.importers.onnx import operators
    from pathweave.testing.fuzz.draw import Draw
    from pathweave.testing.fuzz.schema import by_schema, schema_of
    from pathweave.testing.fuzz.targets.onnx_cases import bases
    from pathweave.testing.fuzz.targets.operators import RECIPES
    drawn = [op for op in operators() if op not in RECIPES]
    unknown = [op for op in drawn if schema_of(op, 99) is None]
    assert not unknown, f"neither a recipe nor a schema: {unknown}"
    assert len(bases()) > 150
    for op in drawn:
        for seed in range(20):
            d = Draw(np.random.default_rng(seed))
            outputs, _ = by_schema(d, op, [2, 3], 1, d.input([2, 3], 1))
            assert outputs and d.nodes[-1].op_type == op.rpartition(":")[2]


def test_every_case_of_a_layer_can_be_written(tmp_path):
    target = layers.Layers()
    target.prepare(tmp_path)
    assert len(target.kinds) > 50 and all(layers.written(case) for kind in target.kinds for case in cases(kind))


def test_cases_are_shared_out():
    assert shares({"a": 1, "b": 3}, 100) == {"a": 25, "b": 75}
    assert sum(shares({"a": 1, "b": 1, "c": 1}, 100).values()) == 100
    order = [c["target"] for c in mixed({"a": 2, "b": 4})]
    assert sorted(order) == list("aabbbb") and set(order[:3]) == {"a", "b"}


def test_cases_start_from_the_corpus(tmp_path):
    (tmp_path / "healthy-1.txt").write_bytes(b"corpus")
    (tmp_path / "README.md").write_text("words")
    target = all_targets((PLANTED,))["healthy"]
    seeds = [p.read_bytes() for p in corpus_files(tmp_path, ["healthy"])["healthy"]]
    assert seeds == [b"corpus"]
    made = [target.case(0, i, seeds) for i in range(200)]
    assert any(b"orpu" in case for case in made) and any(b"aaaa" in case for case in made)


def test_json_is_made_smaller_to_what_matters():
    data = mutate.dump({"keep": 2**40, "drop": [1, 2, {"x": 3}]})
    smaller = list(mutate.simpler_json(data))
    assert mutate.dump({"keep": 2**40}) in smaller and mutate.dump({"keep": 1, "drop": [1, 2, {"x": 3}]}) in smaller

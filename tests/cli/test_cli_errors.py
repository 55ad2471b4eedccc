"""Bad use is exit code 2, failure 1, interruption 130: one message on stderr, nothing on stdout, no traceback."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time

import numpy as np
import pytest
from cli_process import start


def check(result, code: int, *words: str) -> None:
    """One clean message that holds all words."""
    assert result.code == code, (result.out, result.err)
    assert result.out == ""
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err, result.err


# ---- bad use --------------------------------------------------------------------------------------------------------

def test_no_command_and_unknown_command(pw):
    assert pw().code == 2
    check(pw("flatter"), 2, "flatter")
    check(pw("show"), 2, "MODEL")
    check(pw("show", "x", "--nonsense"), 2, "--nonsense")


@pytest.mark.parametrize("command", ["show", "profile", "tune", "verify", "bench", "explain", "run", "import"])
def test_missing_model(pw, command, tmp_path, batch):
    extra = {"explain": ["0"], "run": [batch], "import": ["-o", tmp_path / "x.pw"]}.get(command, [])
    check(pw(command, tmp_path / "none.onnx", *extra), 2, "none.onnx", "no such file")
    check(pw(command, tmp_path, *extra), 2, "folder")
    (tmp_path / "net.onnx").write_bytes(b"x")
    check(pw(command, tmp_path / "nett.onnx", *extra), 2, "no such file", "did you mean 'net.onnx'?")
    check(pw(command, tmp_path, *extra), 2, "folder", "give a file in it: net.onnx")


@pytest.mark.parametrize("text, words", [
    ("y=1x1x8x8", ["'y'", "x f32[N,1,8,8]", "write N=4 or x=1x1x8x8"]), ("N=x", ["one size", "such as N=4", "got 'x'"]),
    ("x=1x1x8", ["rank 4"]), ("x=1x1x8xq", ["joined by x"]),
    ("x=1x3x8x8", ["expected 1", "got 3"]), ("x=-1x1x8x8", ["joined by x"]), ("N=-1", ["one size"]), ("N=1x2", ["one size"]),
    ("x=", ["joined by x", "such as x=1x1x8x8"])])
def test_bad_shapes(pw, digits, text, words):
    check(pw("show", digits, "--shape", text), 2, *words)


def test_shape_needs_a_name_for_two_inputs(pw, two_inputs):
    check(pw("show", two_inputs, "--shape", "2x3"), 2, "say which", "a, b")


def test_bad_batch(pw, two_inputs):
    check(pw("bench", two_inputs, "--batch", 5), 2, "--batch 5", "fixed")


def test_arrays_that_are_called_otherwise(pw, digits, two_inputs, tmp_path):
    file = tmp_path / "data.npz"
    np.savez(file, images=np.zeros((1, 1, 8, 8), np.float32), labels=np.zeros(1, np.int64))
    check(pw("run", digits, file), 2, "the input x is missing", "called images, labels", f"such as x={file}:images")
    check(pw("run", digits, f"x={file}"), 2, "one array for 'x'", "images, labels", f"such as x={file}:images")
    assert pw("run", digits, f"x={file}:images").code == 0
    check(pw("run", two_inputs, f"c={file}:images"), 2, "'c' is no input; the inputs are a, b")


def test_an_image_that_is_not_there(pw, digits, tmp_path):
    check(pw("run", digits, tmp_path / "none.png"), 2, "none.png", "no such file")


@pytest.mark.parametrize("text", ["", "cpu:f99:?", "@2", "conv2/", "cpu@5..2"])
def test_bad_routine_descriptor(pw, digits, batch, text):
    check(pw("run", digits, batch, "--routine", text), 2, "--routine", "descriptor")


def test_unknown_words(pw, digits):
    check(pw("tune", digits, "--accuracy", "perfect"), 2, "perfect", "strict")
    check(pw("routines", "--layer", "convolution"), 2, "convolution", "conv2")
    check(pw("bench", digits, "--against", "abacus"), 2, "abacus", "onnxruntime")
    check(pw("verify", digits, "--against", "abacus"), 2, "abacus", "numpy")
    check(pw("tune", digits, "--threads", 0), 2, "threads")


def test_explain_names_layers(pw, digits):
    check(pw("explain", digits), 2, "--all")
    pw("profile", digits, "--budget", 0, "--threads", 1)
    check(pw("explain", digits, "nolayer", "--threads", 1), 2, "nolayer", "expected the name or the position")
    check(pw("explain", digits, 99, "--threads", 1), 2, "99")


def test_explain_without_measurements(pw, digits):
    """By estimates, as the untuned model runs, with the command that measures."""
    options = ["--threads", 1, "--shape", "N=2"]
    for words in (["0"], ["--all"]):
        result = pw("explain", digits, *words, *options)
        assert result.code == 0 and "at 1 thread, got none" in result.out and "estimates" in result.out
        assert f"pathweave profile {digits} --threads 1 --shape N=2" in result.out
    one, table = (pw("explain", digits, words, *options, "--json").json for words in ("0", "--all"))
    rows = one["candidates"]
    assert len(rows) > 3 and all(r["cost_ns"] is None and r["estimated_ns"] > 0 for r in rows)
    assert [r["estimated_ns"] for r in rows] == sorted(r["estimated_ns"] for r in rows) and one["refusals"]
    assert [(s["routine"], s["variant"]) for s in table["steps"] if s["layer"] == one["layer"]][0] == \
        (one["chosen"]["routine"], one["chosen"]["variant"])
    command = result.out.split("run: ")[1].split()
    assert pw(*command[1:], "--budget", 0).code == 0  # the command that it names is enough
    measured = pw("explain", digits, "0", *options)
    assert "got none" not in measured.out and "measured on host" in measured.out
    assert pw("explain", digits, "--all", *options).code == 0


def test_run_inputs(pw, digits, two_inputs, tmp_path, batch):
    np.save(tmp_path / "wrong.npy", np.zeros((1, 3, 8, 8), np.float32))
    np.save(tmp_path / "double.npy", np.zeros((1, 1, 8, 8)))
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY broken")
    (tmp_path / "broken.npz").write_bytes(b"PK broken")
    np.savez(tmp_path / "keys.npz", y=np.zeros(3))
    (tmp_path / "image.png").write_bytes(b"not an image")
    check(pw("run", digits, tmp_path / "none.npy"), 2, "none.npy", "no such file; expected an array file")
    check(pw("run", digits, tmp_path / "wrong.npy"), 2, "dimension 1", "expected 1", "got 3")
    check(pw("run", digits, tmp_path / "double.npy"), 2, "float32", "float64")
    check(pw("run", digits, tmp_path / "broken.npy"), 2, "broken.npy", ".npy or .npz")
    check(pw("run", digits, tmp_path / "broken.npz"), 2, "broken.npz")
    check(pw("run", digits, tmp_path / "keys.npz"), 2, "x", "missing")
    check(pw("run", digits, f"x={tmp_path / 'keys.npz'}:z"), 2, "'z'", "it has y")
    check(pw("run", digits, f"q={batch}"), 2, "'q'", "the inputs are x")
    check(pw("run", digits, batch, batch), 2, "2 arrays")
    check(pw("run", two_inputs, batch), 2, "missing")
    check(pw("run", digits, tmp_path / "image.png"), 2, "preprocess")
    check(pw("run", digits), 2)


def test_broken_image(pw, digits, pipeline, tmp_path):
    pytest.importorskip("PIL")
    out = tmp_path / "digits.pw"
    pw("import", digits, "-o", out, "--preprocess", pipeline)
    (tmp_path / "image.png").write_bytes(b"not an image")
    check(pw("run", out, tmp_path / "image.png"), 2, "image.png")


def test_target_that_cannot_be_written(pw, digits, tmp_path, batch):
    for arguments in (["import", digits, "-o", tmp_path / "no" / "x.pw"], ["tune", digits, "-o", tmp_path],
                      ["run", digits, batch, "-o", tmp_path / "no" / "x.npz"],
                      ["profile", digits, "--export", tmp_path / "no" / "x.jsonl"]):
        check(pw(*arguments), 2, "cannot be written")


# ---- failures -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("cut", [0, 1, 100, 5000])
def test_truncated_model(pw, digits, tmp_path, cut):
    path = tmp_path / "cut.onnx"
    path.write_bytes(digits.read_bytes()[:cut])
    check(pw("show", path), 1, "cut.onnx")


def test_corrupted_model_file(pw, digits, tmp_path):
    saved = tmp_path / "digits.pw"
    pw("import", digits, "-o", saved)
    data = saved.read_bytes()
    for name, content in (("half.pw", data[:len(data) // 2]), ("header.pw", data[:30] + b"!!!!" + data[34:])):
        (tmp_path / name).write_bytes(content)
        check(pw("show", tmp_path / name), 1)


@pytest.mark.parametrize("arguments", [("routines",), ("routines", "--json"), ("--help",)])
def test_output_that_nobody_reads_is_no_message(arguments):
    process = start(*arguments)
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == ("", 1)
    process.stderr.close()


def test_help_lists_the_layouts(pw):
    text = " ".join(pw("run", "--help").out.split())
    assert "LAYOUT is one of plain, nchw, nhwc, nchw16c, nlc, ndhwc" in text


@pytest.mark.parametrize("name, hint", [("Convs", "did you mean 'Conv'?"), ("Frobnicate", "lists all")])
def test_operators_refuses_names_that_nothing_has(pw, name, hint):
    check(pw("operators", "Conv", name), 2, name, hint)


def test_unknown_operators_are_all_listed(pw, unsupported):
    check(pw("show", unsupported), 1, "NoSuchThing", "'first'", "NorThis", "'second'")


def test_bad_pipeline(pw, digits, tmp_path):
    (tmp_path / "p.json").write_text('{"preprocess": [{"type": "sourc"}]}')
    check(pw("import", digits, "-o", tmp_path / "x.pw", "--preprocess", tmp_path / "p.json"), 1, "preprocess[0]")
    (tmp_path / "q.json").write_text("{")
    check(pw("import", digits, "-o", tmp_path / "x.pw", "--preprocess", tmp_path / "q.json"), 1, "q.json")
    assert not (tmp_path / "x.pw").exists()


def test_debug_shows_the_traceback(digits, tmp_path):
    process = start("show", "--debug", tmp_path / "none.onnx")
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0 and "Traceback" in err and "no such file" in err


def test_unwritable_cache_folder(pw, digits, tmp_path, monkeypatch):
    blocker = tmp_path / "file"
    blocker.write_text("a file where the folder should be")
    monkeypatch.setenv("PATHWEAVE_HOME", str(blocker))
    for command in ("tune", "profile"):
        check(pw(command, digits, "--budget", 0.1), 1, "PATHWEAVE_HOME")
    assert pw("show", digits).code == 0  # nothing else needs the store


def test_damaged_profile_import(pw, digits, tmp_path):
    (tmp_path / "p.jsonl").write_text('{"id": 1}\n')
    check(pw("profile", digits, "--import", tmp_path / "p.jsonl", "--budget", 0), 1, "p.jsonl, line 1")
    check(pw("profile", digits, "--import", tmp_path / "none.jsonl"), 2, "no such file")


# ---- interruption ---------------------------------------------------------------------------------------------------

def test_interrupted_tune_keeps_measurements(digits, tmp_path, home):
    store, out = home / "profile.sqlite", tmp_path / "tuned.pw"
    process = start("tune", digits, "--budget", 60, "--threads", 1, "--shape", "N=64", "-o", out)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None and _measurements(store) < 1:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err and re.search("interrupted.*kept|interrupted.*measurements are in", err)
    assert _measurements(store) >= 1 and not out.exists()
    with sqlite3.connect(store) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_killed_tune_leaves_a_readable_store(digits, tmp_path, home, pw):
    store = home / "profile.sqlite"
    process = start("tune", digits, "--budget", 60, "--threads", 1, "--shape", "N=64", "-o", tmp_path / "tuned.pw")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None and _measurements(store) < 1:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    kept = _measurements(store)
    assert kept >= 1 and not (tmp_path / "tuned.pw").exists()
    assert pw("profile", digits, "--threads", 1, "--budget", 0, "--shape", "N=64", "--json").code == 0
    assert _measurements(store) >= kept


def _measurements(store) -> int:
    """Rows in the store; 0 before it has its tables."""
    if not store.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=5) as db:
            return db.execute("SELECT count(*) FROM measurement").fetchone()[0]
    except sqlite3.OperationalError:
        return 0

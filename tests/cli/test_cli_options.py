"""Every option of every command that takes a value, given nonsense: exit code 2, a message that names the option."""

from __future__ import annotations

import pytest
import typer.main

from pathweave.cli import application

APPLICATION = typer.main.get_command(application())
#: What a command needs beside the option that is tried; MODEL is the shipped network.
NEEDED = {"import": ["MODEL", "-o", "OUT.pw"], "tune": ["MODEL", "--no-save", "--budget", "0"], "explain": ["MODEL", "0"],
          "profile": ["MODEL", "--budget", "0"], "run": ["MODEL", "--random"], "bench": ["MODEL", "--rounds", "1"],
          "routines": [], "operators": [], "devices": [], "show": ["MODEL"], "verify": ["MODEL", "--samples", "1"]}
#: (command, option) -> what the option needs to be looked at.
ALSO = {("bench", "--order"): ["--roof"], ("bench", "--onnx"): ["--against", "onnxruntime"]}
#: Text that no option takes: no number, no name, and a path into a folder that is not there.
NONSENSE = "no/such?=nonsense"

CASES = [(name, option.opts[0]) for name, command in APPLICATION.commands.items()
         for option in command.params if option.param_type_name == "option" and not option.is_flag]


def test_every_command_is_tried():
    assert set(NEEDED) == set(APPLICATION.commands) and len(CASES) > 50


@pytest.mark.parametrize("name, option", CASES, ids=[" ".join(case) for case in CASES])
def test_nonsense_is_bad_use(pw, digits, tmp_path, monkeypatch, name, option):
    monkeypatch.chdir(tmp_path)
    if "onnxruntime" in ALSO.get((name, option), ()):
        pytest.importorskip("onnxruntime")
    needed = [w for w in NEEDED[name] if (w, option) != ("--no-save", "--out")]
    words = [str(digits) if w == "MODEL" else w for w in [*needed, *ALSO.get((name, option), ())]]
    result = pw(name, *words, option, NONSENSE)
    assert result.code == 2, (result.out, result.err)
    assert option in result.err and "Traceback" not in result.err, result.err
    assert result.out == ""


@pytest.mark.parametrize("name", [n for n, words in NEEDED.items() if "MODEL" in words])
def test_routines_that_are_not_there(pw, digits, tmp_path, monkeypatch, name):
    """A descriptor that can be read, and matches nothing; one that leaves a layer that it names with nothing."""
    monkeypatch.chdir(tmp_path)
    if not any("--routine" in option.opts for option in APPLICATION.commands[name].params):
        return  # it chooses no routine
    words = [str(digits) if w == "MODEL" else w for w in NEEDED[name]]
    for text in ("nonsense", "winograd4@0..7", "cpu@99"):
        result = pw(name, *words, "--routine", text)
        assert result.code == 2 and result.err.startswith("pathweave: --routine: ") and text in result.err, result.err


def test_no_save_contradicts_what_is_to_be_written(pw, digits, tmp_path):
    for words in (["--out", tmp_path / "x.pw"], ["--packed"]):
        result = pw("tune", digits, "--no-save", *words)
        assert result.code == 2 and "--no-save" in result.err and words[0] in result.err


def test_nonsense_for_the_whole_program(pw):
    result = pw("--plugin", NONSENSE, "devices")
    assert result.code == 2 and "--plugin" in result.err and result.out == ""

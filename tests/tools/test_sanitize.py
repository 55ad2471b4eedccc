"""tools/sanitize.py: what counts as a report, and what is left out by name."""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import sanitize  # noqa: E402

ADDRESS = """=================================================================
==123==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x602000000094 at pc 0x55 bp 0x7f sp 0x7e
READ of size 4 at 0x602000000094 thread T0
    #0 0x7f in memcpy ../../../../src/libsanitizer/asan/asan_interceptors.cpp:1
    #1 0x7f in pw::reads(float*) /home/me/pathweave/native/products/strassen.cpp:60
SUMMARY: AddressSanitizer: heap-buffer-overflow native/products/strassen.cpp:60 in reads
"""
UNDEFINED = """/home/me/native/types/shape.h:12:9: runtime error: signed integer overflow: 9223372036854775807 + 1
    #0 0x7f in pw::count /home/me/native/types/shape.h:12
/home/me/native/types/shape.h:12:9: runtime error: signed integer overflow: 9223372036854775807 + 1
"""
THREAD = """==================
WARNING: ThreadSanitizer: data race (pid=77)
  Write of size 8 at 0x7b by main thread:
    #0 pw::write /home/me/native/base/threads.cpp:7
SUMMARY: ThreadSanitizer: data race native/base/threads.cpp:7
"""


def test_every_report_is_counted_with_its_place():
    (report, times), = sanitize.found_in(ADDRESS).items()
    assert times == 1 and "heap-buffer-overflow" in report and "native/products/strassen.cpp:60" in report
    (report, times), = sanitize.found_in(UNDEFINED).items()
    assert times == 2 and "native/types/shape.h:12" in report and "signed integer overflow" in report
    (report, times), = sanitize.found_in(THREAD).items()
    assert times == 1 and "data race" in report and "native/base/threads.cpp:7" in report
    assert not sanitize.found_in("12 passed in 3 s\n")


@pytest.mark.parametrize("sanitizer", sanitize.OPTIONS)
def test_the_sanitizers_notice(sanitizer, tmp_path, monkeypatch):
    """With the options of the tool they report faults that are there, from a library in a process of Python's; and none
    that is not."""
    monkeypatch.setattr(sanitize, "BUILDS", tmp_path)
    variables = sanitize.environment(sanitizer, tmp_path)
    words = sanitize.starter(sanitizer, variables, "pass")
    if isinstance(words, str):
        pytest.skip(f"the {sanitizer} sanitizer does not run on this system: {words}")
    assert sanitize.unproved(sanitizer, words, variables) == []
    flags, source, expected = sanitize.PROOFS[sanitizer]
    monkeypatch.setitem(sanitize.PROOFS, sanitizer, (flags, 'extern "C" int wrong(int n) { return n; }\n', expected))
    assert sanitize.unproved(sanitizer, words, variables) == expected


FAILS_ONCE = """
from pathlib import Path

import pytest

PLACE = Path(__file__).with_suffix(".seen")


@pytest.mark.parametrize("word", ["a - b", "c"])
def test_{name}(word):
    seen, always = PLACE.exists(), {always}
    PLACE.touch()
    assert seen and not always
"""


@pytest.mark.parametrize("always", [False, True])
def test_a_test_that_fails_runs_once_more_alone(always, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sanitize, "BUILDS", tmp_path)
    monkeypatch.setattr(sanitize, "ROOT", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    path = tmp_path / "test_it.py"
    path.write_text(FAILS_ONCE.format(name="it", always=always))
    stage = sanitize.Stage("address", "it", ["-m", "pytest", "-q", str(path)])
    sanitize.run(stage, [], {**sanitize.os.environ, "ASAN_OPTIONS": "", "UBSAN_OPTIONS": ""}, False, math.inf)
    printed = capsys.readouterr().out
    assert bool(stage.failed) == always and printed.count("passed alone: ") == (0 if always else 1)
    assert ("test_it[a - b]" in printed) != always


def test_what_is_left_out_exists_and_has_a_reason():
    for sanitizer, test, reason in sanitize.left_out():
        path, _, name = test.partition("::")
        assert sanitizer in sanitize.OPTIONS and len(reason) > 20
        assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text() if name else (ROOT / path).exists(), test
    for path in sanitize.LISTS.glob("*.supp"):
        lines = path.read_text().splitlines()
        assert all(line.startswith("#") or before.startswith("#") for before, line in zip(["", *lines], lines) if line), \
            f"{path}: each suppression stands below a comment with its reason"


def test_the_stages_name_what_exists():
    for stage in sanitize.stages():
        for word in stage.command:
            assert not word.startswith("tests/") or (ROOT / word).exists(), word
    assert {s.sanitizer for s in sanitize.stages() if s.part == "ci"} == {"address", "thread"}


def test_a_command_ends_with_its_children_when_the_time_is_up(tmp_path):
    code = ("import subprocess, sys, time\n"
            "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
            "print('begun', flush=True)\ntime.sleep(60)\n")
    log = tmp_path / "log"
    with open(log, "w") as file, pytest.raises(sanitize.OutOfTime):
        sanitize.carry_out([sys.executable, "-c", code], time.monotonic() + 3, stdout=file)
    assert log.read_text() == "begun\n"
    with pytest.raises(sanitize.OutOfTime):
        sanitize.carry_out([sys.executable, "-c", "open('never', 'w')"], time.monotonic(), cwd=tmp_path)
    assert not (tmp_path / "never").exists()
    assert sanitize.carry_out([sys.executable, "-c", "raise SystemExit(3)"], math.inf) == 3


def test_a_stage_that_was_cut_off_counts_what_it_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sanitize, "BUILDS", tmp_path)
    stage = sanitize.Stage("address", "slow", ["-c", "import os, re, time\n"
                                               "path = re.search('log_path=([^:]*asan)', os.environ['ASAN_OPTIONS'])[1]\n"
                                               f"open(path + '.1', 'w').write({ADDRESS!r})\ntime.sleep(60)"])
    sanitize.run(stage, [], {**os.environ, "ASAN_OPTIONS": "a=1", "UBSAN_OPTIONS": "a=1"}, True, time.monotonic() + 3)
    assert stage.cut and not stage.failed and stage.reports.total() == 1
    assert "cut off" in capsys.readouterr().out

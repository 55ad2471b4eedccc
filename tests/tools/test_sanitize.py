"""tools/sanitize.py: what counts as a report, and what is left out by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import sanitize  # noqa: E402

ADDRESS = """=================================================================
==123==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x602000000094 at pc 0x55 bp 0x7f sp 0x7e
READ of size 4 at 0x602000000094 thread T0
    #0 0x7f in memcpy ../../../../src/libsanitizer/asan/asan_interceptors.cpp:1
    #1 0x7f in pw::reads(float*) /home/me/pathweave/native/routines/strassen.cpp:60
SUMMARY: AddressSanitizer: heap-buffer-overflow native/routines/strassen.cpp:60 in reads
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
    assert times == 1 and "heap-buffer-overflow" in report and "native/routines/strassen.cpp:60" in report
    (report, times), = sanitize.found_in(UNDEFINED).items()
    assert times == 2 and "native/types/shape.h:12" in report and "signed integer overflow" in report
    (report, times), = sanitize.found_in(THREAD).items()
    assert times == 1 and "data race" in report and "native/base/threads.cpp:7" in report
    assert not sanitize.found_in("12 passed in 3 s\n")


def test_the_sanitizers_notice(tmp_path):
    """The flags and options of the build find, in a program of a few lines, what they are there for."""
    source = tmp_path / "wrong.cpp"
    source.write_text("#include <cstdlib>\nint main(int n, char**) {\n  int* a = new int[4];\n  int shift = 1 << (n + 31);\n"
                      "  int read = a[3 + n];\n  delete[] a;\n  return (shift ^ read) == 12345;\n}\n")
    flags = ["-g", "-fsanitize=address,undefined", "-static-libubsan", "-Wl,--exclude-libs,libubsan.a"]
    made = subprocess.run(["g++", *flags, "-o", tmp_path / "wrong", source], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    variables = {name: f"{value}:log_path={tmp_path / name}" for name, value in sanitize.OPTIONS["address"].items()}
    subprocess.run([tmp_path / "wrong"], env=variables, capture_output=True)
    found = sum((sanitize.found_in(path.read_text()) for path in tmp_path.glob("*SAN_OPTIONS.*")), sanitize.Counter())
    assert len(found) == 2 and any("shift exponent 32" in r for r in found) and any("heap-buffer-overflow" in r for r in found)


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

"""The thread pool alone, in an executable of its own: exact sums under several callers, nesting and oversubscription."""

from __future__ import annotations

import subprocess

import pytest
from native_helpers import ROOT, compiler

SOURCES = [str(ROOT / part) for part in ("tests/native/threads_stress.cpp", "native/base/threads.cpp",
                                         "native/base/cpu.cpp", "native/base/fork.cpp")]


def build(program, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run([compiler("c++"), "-std=c++20", "-O1", *flags, "-I", str(ROOT / "native"), "-I",
                           str(ROOT / "include"), "-o", str(program), *SOURCES, "-pthread"], capture_output=True, text=True)


@pytest.fixture(scope="module")
def stress(tmp_path_factory) -> str:
    program = tmp_path_factory.mktemp("threads") / "stress"
    done = build(program)
    assert done.returncode == 0, done.stderr
    return str(program)


#: The last three: more threads than this machine has processors, and than a loop has shares.
@pytest.mark.parametrize("callers, regions, threads, least", [(1, 400, 2, 1), (3, 150, 3, 1), (6, 60, 5, 1), (2, 20, 20, 14),
                                                              (1, 8, 64, 60), (2, 3, 128, 126)])
def test_every_item_is_done_once_and_seen_after_the_barrier(stress, callers, regions, threads, least):
    words = [stress, *map(str, (callers, regions, threads, least))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


def test_a_thread_begins_with_a_piece_of_its_own_or_with_none(stress):
    done = subprocess.run([stress, "shares"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("sanitizer", ["thread", "address"])
def test_no_race_and_no_use_of_what_is_gone(tmp_path, sanitizer):
    made = build(tmp_path / "stress", "-g", f"-fsanitize={sanitizer}")
    if made.returncode != 0:
        pytest.skip(f"the compiler has no {sanitizer} sanitizer: {made.stderr.strip().splitlines()[-1]}")
    done = subprocess.run([str(tmp_path / "stress"), "3", "30", "3"], capture_output=True, text=True, timeout=300)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip(f"the {sanitizer} sanitizer does not run on this kernel: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]

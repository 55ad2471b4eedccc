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


@pytest.mark.parametrize("callers, regions, threads", [(1, 400, 2), (3, 150, 3), (6, 60, 5)])
def test_every_item_is_done_once_and_seen_after_the_barrier(stress, callers, regions, threads):
    done = subprocess.run([stress, str(callers), str(regions), str(threads)], capture_output=True, text=True, timeout=300)
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

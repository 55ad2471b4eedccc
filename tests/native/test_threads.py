"""The thread pool alone, in an executable of its own: exact sums under several callers, nesting and oversubscription."""

from __future__ import annotations

import subprocess

import pytest
from native_helpers import ROOT, compiler


@pytest.fixture(scope="module")
def stress(tmp_path_factory) -> str:
    program = tmp_path_factory.mktemp("threads") / "stress"
    sources = [ROOT / "tests/native/threads_stress.cpp", ROOT / "native/base/threads.cpp", ROOT / "native/base/cpu.cpp"]
    subprocess.run([compiler("c++"), "-std=c++20", "-O1", "-I", str(ROOT / "native"), "-I", str(ROOT / "include"), "-o",
                    str(program), *map(str, sources), "-pthread"], check=True)
    return str(program)


@pytest.mark.parametrize("callers, regions, threads", [(1, 400, 2), (3, 150, 3), (6, 60, 5)])
def test_every_item_is_done_once_and_seen_after_the_barrier(stress, callers, regions, threads):
    done = subprocess.run([stress, str(callers), str(regions), str(threads)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout

"""tools/system.sh tells how far the build is, and why it failed: with a stand-in for the interpreter that plays pip's part."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Answers every question with yes; `pip install` writes what ninja writes, in three seconds.
STAND_IN = """#!/bin/sh
case "$*" in
  *"pip install"*)
    echo "$*" >> calls
    echo "Collecting nanobind"
    sleep 1.2
    for n in 1 2 3; do echo "  [$n/3] Building CXX object x.o"; sleep 0.6; done
    exit $EXIT_CODE ;;
esac
"""


@pytest.fixture
def install(tmp_path):
    """Runs the script on a copy of the tools in an empty tree; gives the finished process."""
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("the script asks for a C++ compiler, and there is none")
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "system.sh", tmp_path / "tools")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(STAND_IN)
    python.chmod(0o755)
    interpreter = tmp_path / "python"  # has headers and venv, whatever this machine's one has
    interpreter.write_text('#!/bin/sh\ncase "$*" in *sysconfig*) echo /dev/null ;; esac\n')
    interpreter.chmod(0o755)

    def run(code: int) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHON": str(interpreter), "PROGRESS_SECONDS": "0.4", "EXIT_CODE": str(code)}
        environment.pop("VENV", None)
        # Whoever reads the output sees its end when the script ends: nothing that it started holds it open.
        return subprocess.run(["bash", "tools/system.sh", "test"], cwd=tmp_path, env=environment, text=True,
                              capture_output=True, timeout=60)
    return run


def test_progress_is_told_while_it_builds(install, tmp_path):
    done = install(0)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("== building and installing pathweave with test") and "minutes" in lines[0]
    assert any("fetching" in line for line in lines) and any("built 2 of 3" in line for line in lines), lines
    assert lines[-1].startswith("== installed in ")
    # In an environment of pip's own, a second build would compile everything again.
    builders, package = (tmp_path / "calls").read_text().splitlines()
    assert all(f" {name}>=" in builders for name in ("scikit-build-core", "nanobind", "cmake", "ninja"))
    assert "--no-build-isolation" in package and ".[test]" in package
    assert (tmp_path / ".venv" / ".pathweave-installed").read_text().split() == ["test"]


def test_a_failure_shows_the_end_of_the_log(install, tmp_path):
    done = install(1)
    assert done.returncode == 1 and "[3/3] Building CXX object" in done.stderr
    assert ".venv/pathweave-install.log" in done.stderr and not (tmp_path / ".venv" / ".pathweave-installed").exists()

"""The public package: lazy, small, complete."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tomllib

import pathweave as pw

HEAVY = ("numpy", "onnx", "highspy", "rich", "typer", "pydantic", "sqlite3", "PIL", "safetensors", "pathweave._native")


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_nothing_heavy():
    loaded = run(f"import pathweave, sys; print(*[m for m in {HEAVY!r} if m in sys.modules])")
    assert loaded == ""


def test_looking_around_loads_nothing():
    assert run("import pathweave, sys; dir(pathweave); print('numpy' in sys.modules)") == "False"


@pytest.mark.parametrize("name", [n for n in pw.__all__ if n != "__version__"])
def test_every_public_name_is_there(name):
    assert getattr(pw, name) is not None


def test_unknown_name():
    with pytest.raises(AttributeError, match="public names"):
        _ = pw.lode


@pytest.mark.parametrize("name", ["profile", "tune"])
def test_functions_are_not_hidden_by_packages_of_the_same_name(name):
    """Whichever comes first, the name can be called and the package's modules can be had."""
    for first, second in ((f"pw.{name}", f"import pathweave.{name}"), (f"import pathweave.{name}", f"pw.{name}")):
        assert run(f"import pathweave as pw; {first}; {second}; import pathweave.profile.store; "
                   f"from pathweave.profile.store import Store; print(callable(pw.{name}))") == "True"


def test_version_is_that_of_the_package():
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())
    assert pw.__version__ == project["project"]["version"]

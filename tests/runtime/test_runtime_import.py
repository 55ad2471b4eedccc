"""The public package: lazy, small, complete."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import subprocess
import sys
import typing
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


FUNCTIONS = ("load", "plan", "profile", "solve", "tune", "devices", "open_plugin", "routines", "default_route")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_show_their_signature_and_what_they_do(name):
    """Whatever was imported before, `help` shows a function: no package has the name of a function."""
    function = getattr(pw, name)
    assert inspect.isfunction(function) and function.__name__ == name
    assert len(inspect.getdoc(function)) > 40 and "return" in inspect.get_annotations(function)
    assert importlib.util.find_spec(f"pathweave.{name}") is None


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_types_that_can_be_resolved(name):
    """Every argument has a type of its own, but what goes on to an importer."""
    function = getattr(pw, name)
    hints = typing.get_type_hints(function)
    named = [p.name for p in inspect.signature(function).parameters.values() if p.kind != p.VAR_KEYWORD]
    assert hints.keys() >= {*named, "return"}
    assert not [n for n in (*named, "return") if hints[n] is typing.Any]


@pytest.mark.parametrize("method", ["bind", "route", "plan", "session", "run", "predict", "image_inputs", "calibrate", "save"])
def test_methods_of_a_model_have_types_that_can_be_resolved(method):
    function = getattr(pw.Model, method)
    hints = typing.get_type_hints(function)
    named = [p for p in inspect.signature(function).parameters if p != "self"]
    assert hints.keys() >= {*named, "return"} and typing.Any not in [hints[n] for n in named]


def test_type_checkers_see_every_public_name():
    """What a type checker reads of the package are the same names from the same modules, and it is told to read them."""
    root = Path(pw.__file__).parent
    block = next(n for n in ast.parse((root / "__init__.py").read_text()).body if isinstance(n, ast.If))
    seen = {a.asname: (f"pathweave.{n.module}", a.name) if n.module else (f"pathweave.{a.name}", "")
            for n in block.body for a in n.names}
    assert seen == pw._PUBLIC and (root / "py.typed").exists()


def test_version_is_that_of_the_package():
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())
    assert pw.__version__ == project["project"]["version"]


@pytest.mark.parametrize("cap, said", [("avx1024", True), ("generic", False), ("amx", False), ("", False)])
def test_a_cap_that_is_no_tier_is_said_once(cap, said):
    """A misspelt `PATHWEAVE_ISA` would otherwise look as if it had been followed; a tier that is not here caps all the same."""
    done = subprocess.run([sys.executable, "-c", "import pathweave as pw; pw.devices(); pw.routines()"], capture_output=True,
                          text=True, timeout=120, env={**os.environ, "PATHWEAVE_ISA": cap})
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeWarning: PATHWEAVE_ISA=avx1024 is not a tier") == said, done.stderr

"""docs/statistics.md: every constant of measuring stands there with its value, and every test that it names exists."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/statistics.md").read_text(encoding="utf-8")
#: Numbers of these modules that are no matter of statistics are left out: what a file or a record may hold.
MODULES = ("profiling/slots", "profiling/yardstick", "profiling/reader", "profiling/protocol", "profiling/passes",
           "profiling/kernels", "profiling/samples", "profiling/assign", "profiling/prospects", "tuning/race",
           "tuning/tuner", "tuning/again",
           "tuning/findings", "profiling/load", "tuning/crowd")


def constants(module: str) -> dict[str, float]:
    """Numbers that a file of the package assigns to names in capitals."""
    tree = ast.parse((ROOT / f"src/pathweave/{module}.py").read_text(encoding="utf-8"))
    names = [n.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
             for n in (target.elts if isinstance(target, ast.Tuple) else [target]) if isinstance(n, ast.Name)]
    values = vars(importlib.import_module("pathweave." + module.replace("/", ".")))
    return {n: values[n] for n in names if n.isupper() and isinstance(values[n], (int, float))}


def sections() -> dict[str, list[list[str]]]:
    """Module -> rows of the table under its heading; a heading may name several modules of one folder."""
    found = {}
    for heading, body in re.findall(r"^### ([^\n]+)\n(.*?)(?=^### |\Z)", PAGE, re.MULTILINE | re.DOTALL):
        folder = heading.partition("/")[0]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line.startswith("| `")]
        for name in re.findall(r"(\w+)\.py", heading):
            found[f"{folder}/{name}"] = rows
    return found


@pytest.mark.parametrize("module", MODULES)
def test_every_constant_is_explained(module):
    rows = {row[0].strip("`"): row for row in sections()[module]}
    for name, value in constants(module).items():
        assert name in rows, f"{module}: {name} is not in docs/statistics.md"
        assert value == eval(rows[name][1].strip("`"), {"__builtins__": {}}), f"{module}: {name}"
        assert rows[name][2] and rows[name][3], f"{name}: no unit or no reason"


def test_no_constant_is_only_on_the_page():
    known = {name for module in MODULES for name in constants(module)}
    assert {row[0].strip("`") for rows in sections().values() for row in rows} <= known


def test_the_tests_that_are_named_exist():
    code = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"^def (test_\w+)", code, re.MULTILINE))
    named = {row[4] for rows in sections().values() for row in rows} - {"none"}
    assert {n.strip("`") for n in named} <= defined

"""`pathweave operators` and the page that it writes: operators of ONNX, told by ONNX's conformance cases."""

from __future__ import annotations

import json
import re
from pathlib import Path

import onnx
import pytest

from pathweave.importers.onnx import operators as table
from pathweave.report import onnx_operators

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operators.md"


def _run(*arguments) -> int:
    from pathweave.cli import main
    with pytest.raises(SystemExit) as end:
        main(["operators", *arguments])
    return end.value.code or 0


def test_the_page_says_what_is_so():
    text = PAGE.read_text(encoding="utf-8")
    version = re.search(r"package onnx (\S+),", text.replace("\n", " "))[1]
    if version != onnx.__version__:
        pytest.skip(f"the page was written with onnx {version}, and {onnx.__version__} is installed: its cases are others")
    found = onnx_operators.markdown(onnx_operators.operators())
    assert found == text, "docs/operators.md is stale: write it anew, pathweave operators --markdown > docs/operators.md"


def test_every_operator_is_listed():
    keys = {o.key for o in onnx_operators.operators(["no such operator"])}
    assert keys == set()
    listed = set(re.findall(r"^\| ([\w.:]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert set(table()) <= listed
    assert {s.name for s in onnx.defs.get_all_schemas() if s.domain == ""} <= listed


def test_a_row_is_what_the_cases_say(capsys):
    assert _run("Concat", "relu", "--json") == 0
    concat, relu = json.loads(capsys.readouterr().out)
    assert (concat["operator"], relu["operator"]) == ("Concat", "Relu")
    assert concat["cases"] == concat["passed"] + concat["refused"] + concat["wrong"] >= 12
    assert relu["runs"] == "native" and relu["layers"] == {"relu": "native"} and not relu["expanded"]
    assert relu["versions"]["14"] == "taken" and "float" in relu["types"]


def test_an_operator_that_is_taken_out_is_no_longer_covered(monkeypatch):
    monkeypatch.delitem(table(), "MatMul")  # ONNX defines it by no function of others
    found, = onnx_operators.operators(["MatMul"])
    assert (found.runs, found.known, found.passed) == ("no", False, 0)
    assert set(found.versions.values()) == {"refused"} and "not supported" in found.reasons


def test_an_operator_that_computes_something_else_is_wrong(monkeypatch):
    monkeypatch.setitem(table(), "Exp", table()["Neg"])
    found, = onnx_operators.operators(["Exp"])
    assert found.wrong == found.cases > 0 and found.runs == "no"


def test_an_unknown_operator_is_bad_use(capsys):
    assert _run("NoSuchOperator") == 2
    assert "no operator of ONNX" in capsys.readouterr().err
    assert _run("Relu", "--json", "--markdown") == 2


def test_a_table_is_printed(capsys):
    assert _run("Relu") == 0
    assert re.search(r"Relu +native +\d of \d", capsys.readouterr().out)

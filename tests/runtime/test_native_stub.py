"""`_native.pyi` says what the extension has: every name, every parameter, nothing more."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import pathweave as pw
from pathweave.runtime.native import native

STUB = ast.parse((Path(pw.__file__).parent / "_native.pyi").read_text(encoding="utf-8"))
SPECIAL = {"__init__"}


def functions(nodes) -> dict[str, ast.FunctionDef]:
    return {n.name: n for n in nodes if isinstance(n, ast.FunctionDef)}


def classes() -> dict[str, ast.ClassDef]:
    return {n.name: n for n in STUB.body if isinstance(n, ast.ClassDef)}


def shown(names) -> set[str]:
    return {n for n in names if not n.startswith("_") or n in SPECIAL}


def parameters(node: ast.FunctionDef) -> list[tuple[str, bool]]:
    """(name, has a default) of each."""
    names = [a.arg for a in node.args.args]
    without = len(names) - len(node.args.defaults)
    return [(name, i >= without) for i, name in enumerate(names)]


def real_parameters(function) -> list[tuple[str, bool]]:
    """The same of a function of the extension, out of the signature with which its documentation begins."""
    text = re.sub(r"\\\d+", "...", function.__nb_signature__[0][0]).partition(" -> ")[0]
    return parameters(ast.parse(text + ": ...").body[0])


def test_names_of_the_module():
    stub = set(functions(STUB.body)) | set(classes())
    assert stub == {n for n in dir(native()) if not n.startswith("_")}


@pytest.mark.parametrize("name", classes())
def test_members_of_classes(name):
    real = getattr(native(), name)
    found = functions(classes()[name].body)
    assert shown(found) - SPECIAL == {n for n in vars(real) if not n.startswith("_")}
    for member, node in found.items():
        if any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list):
            assert isinstance(vars(real)[member], property)
        else:
            assert parameters(node) == real_parameters(getattr(real, member))


@pytest.mark.parametrize("name", functions(STUB.body))
def test_parameters_of_functions(name):
    assert parameters(functions(STUB.body)[name]) == real_parameters(getattr(native(), name))

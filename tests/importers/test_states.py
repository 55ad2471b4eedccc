"""Importers state what goes from call to call: a toy format with variables, as some frameworks have them, against NumPy."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

import pathweave as pw
from pathweave import importers
from pathweave.errors import ModelError
from pathweave.importers import types
from pathweave.importers.builder import Builder, Node
from pathweave.importers.conversion import Conversion
from pathweave.net.net import Model, TensorSpec

MAGIC = b"variables 1\n"


def assign(n: Node) -> None:
    """variable = value: what a node reads of the variable is its value in the call before."""
    n.required(1)
    n.builder.state(n.text("variable"), n.outputs[0], n.builder.first.get(n.text("variable")))
    n.alias(n.input(0))


def binary(kind: str):
    def emit(n: Node) -> None:
        n.required(2)
        n.emit(kind, [n.input(0), n.input(1)], last=True)
    return emit


OPERATORS = {"assign": assign, "add": binary("add"), "mul": binary("mul")}


def read(source) -> Model:
    """JSON: inputs and variables with shapes, variables with first values, nodes, outputs."""
    data = json.loads(bytes(source)[len(MAGIC):])
    specs = {n: TensorSpec(dtype, tuple(shape)) for n, (dtype, shape) in {**data["inputs"], **data["variables"]}.items()}
    builder = Builder(specs, {v for _, ins, outs, _ in data["nodes"] for v in (*ins, *outs)}, set(data["outputs"]))
    builder.first = {n: np.array(a, np.float32) for n, a in data.get("first", {}).items()}
    types.enter(builder)
    conversion = Conversion(builder, OPERATORS)
    for i, (op, ins, outs, attributes) in enumerate(data["nodes"]):
        conversion.add(Node(op, f"{op}_{i}", ins, outs, attributes, builder))
    conversion.finish("toy")
    types.leave(builder, dict.fromkeys(data["outputs"]))
    return Model({"main": builder.to_net(data["outputs"], "toy")}, {"format": "toy"}, states=builder.states)


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """The importer, among ours."""
    ours = SimpleNamespace(recognises=lambda head, path=None: head.startswith(MAGIC), read=read)
    found = {**importers.importers(), "toy": ours}
    monkeypatch.setattr(importers, "importers", lambda: found)


def file(nodes, variables, outputs=("y",), first=None, dtype="f32") -> bytes:
    return MAGIC + json.dumps({"inputs": {"x": [dtype, [2]]}, "variables": variables, "nodes": nodes, "outputs": list(outputs),
                               "first": first or {}}).encode()


#: y = x * v + v; v becomes y in the next call.
RECURRENCE = [["mul", ["x", "v"], ["p"], {}], ["add", ["p", "v"], ["y"], {}], ["assign", ["y"], ["v_next"], {"variable": "v"}]]


@pytest.mark.parametrize("dtype, numpy_dtype", [("f32", np.float32), ("f16", np.float16)])
def test_variables_become_states(tmp_path, dtype, numpy_dtype):
    model = pw.load(file(RECURRENCE, {"v": [dtype, [2]]}, first={"v": [1, 2]}, dtype=dtype))
    assert list(model.outputs) == ["y", "v_next"] and model.states["v"].output == "v_next"
    model.save(tmp_path / "m.pw")
    xs = np.random.default_rng(1).uniform(-0.5, 0.5, (6, 2)).astype(numpy_dtype)
    for session in (model.session(), pw.load(tmp_path / "m.pw").session()):
        v = np.array([1, 2], np.float64)
        for x in xs:
            v = (x.astype(np.float64) * v + v).astype(numpy_dtype).astype(np.float64)
            got = session(x)
            assert got.dtype == numpy_dtype and np.abs(got - v).max() <= 4 * np.finfo(numpy_dtype).eps * np.abs(v).max()
            v = got.astype(np.float64)  # a difference in the last place is not to grow


def test_a_variable_without_a_first_value_begins_with_zeros():
    nodes = [["add", ["x", "v"], ["y"], {}], ["assign", ["y"], ["n"], {"variable": "v"}]]
    session = pw.load(file(nodes, {"v": ["f32", [2]]})).session()
    one = np.ones(2, np.float32)
    assert [session(one).tolist() for _ in range(3)] == [[1, 1], [2, 2], [3, 3]]


@pytest.mark.parametrize("nodes, variables, first, says", [
    ([["assign", ["x"], ["n"], {"variable": "w"}]], {}, None,
     "state 'w': expected an input of the graph, of which there are 'x'"),
    ([["assign", ["x"], ["n"], {"variable": "v"}], ["assign", ["x"], ["m"], {"variable": "v"}]], {"v": ["f32", [2]]}, None,
     "the input 'v' has the value 'n' already"),
    ([["assign", ["x"], ["n"], {"variable": "v"}]], {"v": ["f32", [3]]}, None, "toy: states: .*got 3 and 2 in dimension 0"),
    ([["assign", ["x"], ["n"], {"variable": "v"}]], {"v": ["i64", [2]]}, None, "equal element types, got i64 and f32"),
    ([["assign", ["x"], ["n"], {"variable": "v"}]], {"v": ["f32", [2]]}, {"v": [1, 2, 3]}, "expected 2 in dimension 0")])
def test_what_a_file_states_is_checked(nodes, variables, first, says):
    nodes = [*nodes, ["add", ["x", "x"], ["y"], {}]]
    with pytest.raises(ModelError, match=says):
        pw.load(file(nodes, variables, first=first))


def test_a_graph_inside_has_no_states():
    builder = Builder({"x": TensorSpec("f32", (2,))})
    builder.state("x", "x")
    with pytest.raises(ModelError, match="a graph inside keeps 'x' from call to call"):
        builder.to_block(["x"])

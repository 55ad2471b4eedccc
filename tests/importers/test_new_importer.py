"""An importer as a stranger begins it, from CONTRIBUTING alone: a file in a copy of the package, found by being there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from onnx_models import build

from pathweave.importers.foreign import Peek, identify

ROOT = Path(__file__).resolve().parents[2]
#: What the stranger writes into the file that tools/new.py begins: three operators more.
OPERATORS = '''

def scale(n: Node) -> None:
    """x * by."""
    n.required(1)
    n.emit("mul", [n.input(0), n.number(n.float("by", 1.0), n.input(0))], last=True)


def linear(n: Node) -> None:
    """x @ w.T + b with constant weights; names of activations behind it are not all covered."""
    n.required(2)
    act = n.text("act", "none")
    if act not in ("none", "relu"):
        n.unsupported(f"act={act!r}; only none and relu are")
    operands = [n.input(0), n.const_name(1, "weights"), *([n.const_name(2, "bias")] if n.input(2) else [])]
    y = n.emit("dense", operands, last=act == "none")
    if act == "relu":
        n.emit("relu", [y], last=True)


def same(n: Node) -> None:
    """x; what it is called does not matter."""
    n.ignore("label")
    n.alias(n.input(0))


OPERATORS |= {"scale": scale, "linear": linear, "same": same}
'''
#: Reads a model in the copy, and says as JSON what came of it.
READER = '''
import json, sys
import numpy as np
from pathweave import errors
from pathweave.importers import importers, load
from pathweave.meaning.evaluate import evaluate
found = {"importers": sorted(importers())}
try:
    model = load(sys.argv[1])
    x = np.arange(6, dtype=np.float32).reshape(2, 3) - 2
    found |= {"kinds": [layer.kind for layer in model.main.layers], "meta": model.meta,
              "y": {n: a.tolist() for n, a in evaluate(model.main, {"x": x}).items()}}
except errors.Error as e:
    found |= {"error": type(e).__name__, "says": str(e), "operators": getattr(e, "operators", None)}
print(json.dumps(found))
'''
X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2


def toy(nodes, outputs=("y",), inputs=None, **constants) -> bytes:
    graph = {"inputs": inputs or {"x": ["f32", ["N", 3]]}, "nodes": nodes, "outputs": list(outputs),
             "constants": {name: ["f32", np.asarray(v).tolist()] for name, v in constants.items()}}
    return b"toy 1\n" + json.dumps(graph).encode()


def node(op, inputs, outputs, name="", **attributes) -> dict:
    return {"op": op, "name": name, "inputs": inputs, "outputs": outputs, "attributes": attributes}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the package with a new importer in it; gives a function that reads a file there."""
    root = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "src/pathweave", root / "src/pathweave", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (root / "tools").mkdir()
    shutil.copy(ROOT / "tools/new.py", root / "tools/new.py")
    done = subprocess.run([sys.executable, "tools/new.py", "importer", "toy"], cwd=root, capture_output=True, text=True)
    assert done.stdout.split() == ["src/pathweave/importers/toy.py"], done.stderr

    def read(data: bytes) -> dict:
        (root / "model.bin").write_bytes(data)
        done = subprocess.run([sys.executable, "-c", READER, root / "model.bin"], cwd=root, capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(root / "src")})
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    read.file = root / "src/pathweave/importers/toy.py"
    return read


@pytest.fixture(scope="module")
def stranger(copy):
    """The same, with the stranger's operators. What is tested as it was begun is tested before."""
    copy.file.write_text(copy.file.read_text() + OPERATORS)
    return copy


def test_it_reads_its_format_as_it_was_begun(copy):
    found = copy(toy([node("relu", ["x"], ["y"])]))
    assert found["importers"] == ["onnx", "toy"] and found["meta"] == {"format": "toy"} and found["kinds"] == ["relu"]
    assert np.array_equal(found["y"]["y"], np.maximum(X, 0))


def test_a_net_of_its_own_operators(stranger):
    w, b = np.arange(12, dtype=np.float32).reshape(4, 3) - 5, np.ones(4, np.float32)
    found = stranger(toy([node("scale", ["x"], ["a"], by=0.5), node("same", ["a"], ["s"], label="here"),
                          node("scale", ["w"], ["v"], by=2), node("linear", ["s", "v", "b"], ["y"], act="relu")], w=w, b=b))
    assert np.array_equal(found["y"]["y"], np.maximum(0.5 * X @ (2 * w).T + b, 0))
    assert found["kinds"] == ["mul", "identity", "dense", "relu"]  # the weights are computed when the file is read


def test_all_that_is_not_covered_is_one_error(stranger):
    """What reads the missing values is not complained about; an unknown operator is, wherever it stands."""
    nodes = [node("fft", ["x"], ["a"], "first"), node("relu", ["a"], ["b"]), node("lstm", ["b"], ["c"], "second"),
             node("linear", ["x", "w"], ["d"], "third", act="mish"), node("same", ["c"], ["y"])]
    found = stranger(toy(nodes, w=np.ones((2, 3))))
    assert found["error"] == "UnsupportedOperatorError"
    assert found["operators"] == [["fft", "first"], ["lstm", "second"], ["linear", "third"]]
    assert "3 nodes use 3 operators" in found["says"] and "act='mish'; only none and relu are" in found["says"]


@pytest.mark.parametrize("nodes, error, says", [
    ([node("scale", ["x"], ["y"], by="2")], "ModelError", "node 'scale_0' (scale): attribute 'by' is '2'; expected a number"),
    ([node("same", ["x"], ["y"], colour=1)], "UnsupportedOperatorError", "its attributes 'colour' are unknown here"),
    ([node("relu", ["x", "x"], ["y"])], "UnsupportedOperatorError", "its inputs 1 are unknown here"),
    ([node("relu", ["z"], ["y"])], "ModelError", "input 'z' is not made before it"),
    ([node("relu", ["x"], ["y"]), node("relu", ["x"], ["y"])], "ModelError", "value 'y' is defined twice"),
    ([node("relu", [], ["y"])], "ModelError", "expected at least 1 input, got 0"),
    ([node("relu", ["x"], ["z"])], "ModelError", "graph outputs ['y'] are neither made by a node"),
    ([node("linear", ["x", "x"], ["y"])], "UnsupportedOperatorError", "weights (input 1, 'x') is not a constant"),
    ([{"op": "relu"}], "FileFormatError", "malformed toy model: KeyError: 'inputs'")])
def test_what_is_wrong_with_a_file_is_said(stranger, nodes, error, says):
    found = stranger(toy(nodes))
    assert found["error"] == error and says in found["says"], found


@pytest.mark.parametrize("data", [b"toy 1\n", b"toy 1\n{", toy([])[:-9], toy([], inputs={"x": ["f99", [1]]}),
                                  toy([], inputs={"x": ["f32", [-1]]})])
def test_a_damaged_file_is_refused(stranger, data):
    assert stranger(data)["error"] == "FileFormatError"


def test_float16_is_computed_in_float32_and_comes_back(stranger):
    found = stranger(toy([node("scale", ["x"], ["y"], by=0.1)], inputs={"x": ["f16", ["N", 3]]}))
    assert found["kinds"] == ["cast", "mul", "cast"]
    assert np.array_equal(found["y"]["y"], (X.astype(np.float16).astype(np.float32) * np.float32(0.1)).astype(np.float16))


def test_other_formats_are_read_as_before(stranger):
    found = stranger(build([helper.make_node("Relu", ["x"], ["y"])], {"x": X}))
    assert found["meta"]["format"] == "onnx" and found["kinds"] == ["relu"]
    found = stranger(b"hello")
    assert found["error"] == "FileFormatError" and "an ONNX model (protobuf, *.onnx); a toy model (*.toy)" in found["says"]


def test_advice_for_a_format_is_not_given_any_more_once_an_importer_has_its_name():
    peek = Peek(b"\x1c\0\0\0TFL3" + bytes(40), None, 48)
    assert "TFLite" in identify(peek).what and "TFLite" in identify(peek, {"onnx"}).what
    assert identify(peek, {"onnx", "tflite"}) is None

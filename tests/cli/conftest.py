"""Small networks in files, a profile store of the test's own, and the command line called in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


@dataclass
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one JSON document on stdout; fails when there is anything else."""
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A profile store of its own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("PATHWEAVE_HOME", str(folder))
    monkeypatch.delenv("PATHWEAVE_ISA", raising=False)
    return folder


@pytest.fixture
def pw(capfd):
    """Calls `pathweave` in this process: pw("show", path) -> Result."""
    from pathweave.cli import main

    def call(*arguments) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main(list(map(str, arguments)))
        out, err = capfd.readouterr()
        code = end.value.code
        return Result(0 if code is None else code, out, err)
    return call


@pytest.fixture
def digits() -> Path:
    """The shipped network: input x [N,1,8,8], output logits [N,10]."""
    return DIGITS / "digits.onnx"


@pytest.fixture
def heldout() -> Path:
    return DIGITS / "heldout.npz"


@pytest.fixture
def two_inputs(tmp_path) -> Path:
    """sum = relu(a) + b, and product = a * b, for a and b [2,3]."""
    from onnx import TensorProto, helper, save
    nodes = [helper.make_node("Relu", ["a"], ["r"], "relu"), helper.make_node("Add", ["r", "b"], ["sum"], "add"),
             helper.make_node("Mul", ["a", "b"], ["product"], "mul")]
    specs = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in ("a", "b", "sum", "product")}
    graph = helper.make_graph(nodes, "g", [specs["a"], specs["b"]], [specs["sum"], specs["product"]])
    path = tmp_path / "two.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def unsupported(tmp_path) -> Path:
    """A file with two operators that no importer line covers."""
    from onnx import TensorProto, helper, save
    nodes = [helper.make_node("NoSuchThing", ["x"], ["y"], "first"), helper.make_node("NorThis", ["y"], ["z"], "second")]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
                              [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)])
    path = tmp_path / "unsupported.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def pipeline(tmp_path) -> Path:
    """Pre- and postprocess nets for the digits network, both in one file, with a label file beside it."""
    (tmp_path / "labels.txt").write_text("\n".join(f"digit {d}" for d in range(10)))
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps({
        "preprocess": [{"type": "source", "shape": [1, 1, 8, 8], "format": "gray", "resize_mode": "nearest"},
                       {"type": "madd", "scale": 1 / 255, "shift": 0.0}, {"type": "sink", "name": "x"}],
        "postprocess": [{"type": "softmax", "axis": -1}, {"type": "topk", "k": 3, "labels": "labels.txt"}]}))
    return path


@pytest.fixture
def batch(tmp_path, heldout) -> Path:
    """Four held-out images as one .npy file."""
    path = tmp_path / "batch.npy"
    np.save(path, np.load(heldout)["images"][:4])
    return path

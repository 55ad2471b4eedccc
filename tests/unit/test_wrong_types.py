"""What is of a wrong type is a typed error of functions that read texts and of constructors, never an AttributeError."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

import pathweave as pw
from pathweave.net.format import Format, dtype_of, itemsize, numpy_dtype
from pathweave.net.net import Epilogue
from pathweave.net.problem import adapt_problem
from pathweave.runtime.descriptor import Restriction

NETWORK = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits.onnx"
SPEC = pw.TensorSpec("f32", (1, 2))
CALLS = {
    "Format.parse": Format.parse, "dtype_of": dtype_of, "numpy_dtype": numpy_dtype, "itemsize": itemsize,
    "Epilogue.parse": Epilogue.parse,
    "TensorSpec shape": partial(pw.TensorSpec, "f32"), "TensorSpec dtype": lambda x: pw.TensorSpec(x, (1, 2)),
    "Layer inputs": lambda x: pw.Layer("a", "relu", x, ("y",)), "Layer outputs": lambda x: pw.Layer("a", "relu", ("x",), x),
    "Layer attrs": lambda x: pw.Layer("a", "relu", ("x",), ("y",), x),
    "Layer epilogue": lambda x: pw.Layer("a", "relu", ("x",), ("y",), {}, x),
    "Net inputs": lambda x: pw.Net(x, [], [], {}), "Net outputs": lambda x: pw.Net({}, x, [], {}),
    "Net layers": lambda x: pw.Net({}, [], x, {}), "Net constants": lambda x: pw.Net({}, [], [], x),
    "Problem kind": lambda x: pw.Problem.make(x, [SPEC], [False], [SPEC], {}),
    "Problem inputs": lambda x: pw.Problem.make("relu", x, [False], [SPEC], {}),
    "Problem constant": lambda x: pw.Problem.make("relu", [SPEC], x, [SPEC], {}),
    "Problem outputs": lambda x: pw.Problem.make("relu", [SPEC], [False], x, {}),
    "Problem attrs": lambda x: pw.Problem.make("relu", [SPEC], [False], [SPEC], x),
    "Problem epilogue": lambda x: pw.Problem.make("relu", [SPEC], [False], [SPEC], {}, x),
    "Problem threads": lambda x: pw.Problem.make("relu", [SPEC], [False], [SPEC], {}, threads=x),
    "adapt_problem": lambda x: adapt_problem(x, "f32:plain:cpu", "bf16:plain:cpu", 1),
    "Route.from_json": pw.Route.from_json, "Restriction": Restriction, "load": pw.load, "Model": pw.Model,
    "Session": pw.Session, "Profile": pw.Profile, "Profile.load": pw.Profile.load,
    "Profile.save": pw.Profile("host").save, "plan": pw.plan, "solve": lambda x: pw.solve(pw.load(NETWORK), x),
}


@pytest.mark.parametrize("wrong", [5, 2.5, object(), 1j], ids=["int", "float", "object", "complex"])
@pytest.mark.parametrize("name", CALLS)
def test_a_value_of_a_wrong_type(name, wrong):
    if (name, wrong) == ("Problem threads", 5):
        return  # that one is right
    with pytest.raises(pw.Error, match="expected"):
        CALLS[name](wrong)


def test_texts_that_cannot_be_read():
    for text in ("", "f32", "f99:plain:cpu", "f32:plain:", "f32:plain:cpu:0"):
        with pytest.raises(pw.Error, match="DTYPE:LAYOUT:DEVICE"):
            Format.parse(text)
    for text in ("leaky_relu:x", "relu+relu"):
        with pytest.raises(pw.Error, match="epilogue"):
            Epilogue.parse(text)
    for dtype in ("f99", None, [1]):
        with pytest.raises(pw.Error, match="expected one of f32"):
            numpy_dtype(dtype)


def test_what_is_right_is_taken():
    assert Format.parse("f32:nhwc:cpu") == Format("f32", "nhwc") and itemsize("bf16") == 2
    assert Format.parse("f32:nhwc:cpu") is Format.parse("f32:nhwc:cpu")  # interned
    assert str(Epilogue.parse("add+leaky_relu:0.1")) == "add+leaky_relu:0.1"

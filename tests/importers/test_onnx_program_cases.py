"""ONNX's own node tests of conditions, loops, types, picking, comparison and logic: each passes, or its reason is counted.

A case runs twice: through a plan, and through the NumPy meanings of the imported net.
"""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import onnx
import pytest
from onnx_node_cases import array_of, operators_of

import pathweave
from pathweave.importers import load
from pathweave.meaning.evaluate import evaluate

#: The operators that a case must be about: its one node, or nodes that stand for it.
OPERATORS = {"NonZero", "Compress", "Loop", "Scan", "If", "Cast", "CastLike", "Where", "Gather", "GatherElements", "GatherND",
             "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "And", "Or", "Xor", "Not", "IsNaN", "IsInf"}
#: Element types of ONNX without an array of ours: why a case is left out.
LEFT_OUT_TYPES = {8: "strings", 14: "complex numbers", 15: "complex numbers", 17: "floats of 8 bits", 18: "floats of 8 bits",
                  19: "floats of 8 bits", 20: "floats of 8 bits", 21: "integers of 4 bits", 22: "integers of 4 bits",
                  23: "floats of 4 bits", 24: "floats of 8 bits", 25: "integers of 2 bits", 26: "integers of 2 bits"}
#: How many cases are left out, by reason: a case that goes there unnoticed fails the test.
COUNTS = {"branches of different ranks": 4, "floats of 4 bits": 12, "floats of 8 bits": 76, "integers of 2 bits": 30,
          "integers of 4 bits": 30, "sequences and optionals": 10, "strings": 2}


@cache
def cases() -> dict[str, object]:
    """All cases of ONNX about these operators, by name."""
    from onnx.backend.test.case.node import collect_testcases
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        np.random.seed(0)  # noqa: NPY002  ONNX's cases draw from the global generator
        found = collect_testcases(None)
    return {case.name: case for case in found
            if {n.op_type for n in case.model.graph.node} <= OPERATORS
            or {"Loop", "Scan", "If"} & operators_of(case.model.graph)}


def left_out(case) -> str:
    """Why a case is left out, "" for one that must pass."""
    if case.name.startswith("test_affine_grid"):
        return "branches of different ranks"
    graph = case.model.graph
    kinds = {v.type.WhichOneof("value") for v in (*graph.input, *graph.output)}
    if kinds != {"tensor_type"}:
        return "sequences and optionals"
    types = {v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)}
    types |= {a.i for n in graph.node if n.op_type == "Cast" for a in n.attribute if a.name == "to"}
    reasons = {LEFT_OUT_TYPES[t] for t in types if t in LEFT_OUT_TYPES}
    return min(reasons) if reasons else ""


def run(data: bytes, feeds: dict, by: str) -> dict:
    """Outputs by name."""
    if by == "meaning":
        net = load(data).main
        return evaluate(net, {n: feeds[n] for n in net.inputs})
    model = pathweave.load(data)
    found = model({n: feeds[n] for n in model.main.inputs})
    return found if isinstance(found, dict) else dict(zip(model.main.outputs, [found]))


@pytest.mark.parametrize("by", ["plan", "meaning"])
@pytest.mark.parametrize("name", sorted(n for n, c in cases().items() if not left_out(c)))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_case(name, by):
    case = cases()[name]
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    for opset in model.opset_import:  # operators of before opset 7 among these have not changed since
        opset.version = max(opset.version, 7) if opset.domain in ("", "ai.onnx") else opset.version
    for inputs, outputs in case.data_sets:
        inputs, outputs = array_of(inputs), array_of(outputs)
        feeds = dict(zip((v.name for v in model.graph.input), map(np.asarray, inputs)))
        found = run(model.SerializeToString(), feeds, by)
        for value, wanted in zip(model.graph.output, map(np.asarray, outputs)):
            got = np.asarray(found[value.name])
            assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
            if wanted.dtype.name == "bfloat16":
                got, wanted = got.astype(np.float32), wanted.astype(np.float32)
            if wanted.dtype.kind == "f":
                np.testing.assert_allclose(got, wanted, max(case.rtol, 2**-6 if "bfloat" in name else 0), case.atol)
            else:
                np.testing.assert_array_equal(got, wanted)


def test_what_is_left_out_is_counted():
    found: dict[str, int] = {}
    for case in cases().values():
        reason = left_out(case)
        if reason:
            found[reason] = found.get(reason, 0) + 1
    assert found == COUNTS
    assert len(cases()) - sum(found.values()) >= 90

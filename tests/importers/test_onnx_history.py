"""Every operator that ONNX ever had, in every version: it is taken or on a list, and examples compute what ONNX says."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from onnx_history import EXAMPLES, NOT_TAKEN, OUT_OF_SCOPE, SHOWN, history, model_of, taken, types_of

import pathweave

#: ONNX's function of these adds a constant of float32, and is wrong for the element type.
WRONG = {("MeanVarianceNormalization", "float64")}
#: Element types that are refused: nothing says what a mean of them would be.
REFUSED = {("Col2Im", "bool"), *(("GridSample", t) for t in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16",
                                                             "uint32", "uint64"))}
VERSIONS = [(name, version) for name, versions in history().items() for version in versions
            if name not in OUT_OF_SCOPE | NOT_TAKEN | SHOWN]


def test_no_operator_is_forgotten():
    """A new operator of a newer onnx is on no list: this fails until somebody decides about it."""
    refused = {name for name, versions in history().items() if not all(taken(name, v) for v in versions)}
    assert refused - OUT_OF_SCOPE == NOT_TAKEN
    assert set(history()) - OUT_OF_SCOPE - NOT_TAKEN - SHOWN == set(EXAMPLES)


def _expected(model, feeds, example):
    """Results by ONNX Runtime, else by onnx.reference, else None."""
    if example.expected is not None:
        return example.expected
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"]).run(None, feeds)
    except Exception:  # no kernel for the version or the element type
        pass
    try:
        return [np.asarray(y) for y in ReferenceEvaluator(model).run(None, feeds)]
    except Exception:  # onnx.reference has not all versions
        return None


def _check(name, version, dtype):
    example = EXAMPLES[name](version, dtype)
    model = model_of(name, version, example)
    context = onnx.checker.C.CheckerContext()
    context.ir_version, context.opset_imports = model.ir_version, {"": version}
    onnx.checker.check_node(model.graph.node[0], context)
    feeds = {f"x{i}": a for i, a in enumerate(example.inputs) if a is not None and i not in example.constant}
    results = pathweave.load(model.SerializeToString()).run(feeds)
    expected = _expected(model, feeds, example)
    declared = [onnx.helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type) for v in model.graph.output]
    assert [y.dtype for y in results.values()] == declared
    for y, wanted in zip(results.values(), expected or ()):
        precise = 2e-3 if np.float16 in (y.dtype, dtype) else 1e-5
        assert y.shape == wanted.shape
        np.testing.assert_allclose(y.astype(np.float64), wanted.astype(np.float64), rtol=precise, atol=precise)


@pytest.mark.parametrize("name, version", VERSIONS, ids=lambda v: str(v))
@pytest.mark.filterwarnings("ignore")
def test_a_node_of_every_version(name, version):
    _check(name, version, next(types_of(name, version)))


@pytest.mark.parametrize("name", sorted(EXAMPLES))
@pytest.mark.filterwarnings("ignore")
def test_every_element_type(name):
    newest = history()[name][-1]
    for dtype in types_of(name, newest):
        if (name, str(dtype)) in WRONG | REFUSED:
            continue
        try:
            _check(name, newest, dtype)
        except Exception as e:
            raise AssertionError(f"{name} of {dtype}: {type(e).__name__}: {e}") from e

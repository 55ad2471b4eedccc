"""ONNX's own conformance cases (`onnx.backend.test`): which are in scope, and how one is run on a backend."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
#: Domains of training and of preview operators, and operators that are about no tensors, that draw random numbers, or that
#: only training has.
DOMAINS = ("", "ai.onnx")
OTHER_OPERATORS = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli",
                   "StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch", "TfIdfVectorizer", "LabelEncoder",
                   "ImageDecoder"}
#: Element types that a net has.
TYPES = {TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16, TensorProto.INT32,
         TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT32, TensorProto.UINT64,
         TensorProto.BFLOAT16}


@dataclass(frozen=True)
class Case:
    """One case: a model, and sets of (inputs, outputs), in memory or in the folder `path`."""

    name: str
    model: Any
    data: Any
    path: str
    rtol: float
    atol: float

    def load(self) -> onnx.ModelProto:
        """The model."""
        return self.model if self.model is not None else onnx.load(os.path.join(self.path, "model.onnx"))

    def sets(self) -> Iterator[tuple[list, list]]:
        """Every set of (inputs, outputs)."""
        if self.data is not None:
            for inputs, outputs in self.data:
                yield [_array(a) for a in inputs], [_array(a) for a in outputs]
            return
        for folder in sorted(glob.glob(os.path.join(self.path, "test_data_set*"))):
            yield _stored(folder, "input"), _stored(folder, "output")


def _stored(folder: str, what: str) -> list:
    return [_array(_read(os.path.join(folder, f"{what}_{i}.pb")))
            for i in range(len(glob.glob(os.path.join(folder, f"{what}_*.pb"))))]


def _read(path: str) -> TensorProto:
    with open(path, "rb") as f:
        return TensorProto.FromString(f.read())


def _array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value) \
        if isinstance(value, np.generic) else value


@cache
def all_cases() -> dict[str, Case]:
    """Every case of the installed `onnx` that needs no download, by name. Their making draws random numbers from NumPy."""
    from onnx.backend.test.loader import load_model_tests
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        np.random.seed(0)  # noqa: NPY002  ONNX's cases draw from the global generator
        found = [case for kind in KINDS for case in load_model_tests(kind=kind)]
    return {case.name: Case(case.name, case.model, case.data_sets if case.model is not None else None, case.model_dir or "",
                            case.rtol, case.atol) for case in found}


def out_of_scope(model: onnx.ModelProto) -> str:
    """Why a case is none of ours; "" for one in scope."""
    for value in (*model.graph.input, *model.graph.output):
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            return (kind or "untyped").replace("_type", "")
        if value.type.tensor_type.elem_type not in TYPES:
            return TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
    for node in _nodes(model.graph):
        if node.domain not in DOMAINS:
            return node.domain
        if node.op_type in OTHER_OPERATORS:
            return node.op_type
        if node.op_type.startswith(("Sequence", "Optional", "SplitToSequence", "ConcatFromSequence")):
            return "sequence"
        for attribute in node.attribute:
            if attribute.name == "training_mode" and attribute.i or attribute.HasField("t") \
                    and attribute.t.data_type not in TYPES:
                return "training" if attribute.name == "training_mode" else "element type"
            if attribute.name == "to" and attribute.i not in TYPES:
                return "element type"
    return ""


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def check(case: Case, outputs: Any, expected: list) -> None:
    """Raise AssertionError where outputs differ from those of a case, by ONNX's own comparison."""
    from onnx.backend.test.runner import Runner
    Runner.assert_similar_outputs(expected, list(outputs), case.rtol, case.atol, case.name)

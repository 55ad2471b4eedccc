"""The independent oracle of layer meanings: a case as an ONNX model, run by ONNX Runtime or onnx.reference.

A file of this folder with `OPERATORS`, layer kind -> how it is written in ONNX, adds them by being there: the name of the
operator whose inputs and attributes are the kind's own, or a function of (graph, case, complete attributes, names of the
inputs) that appends nodes and gives the names of the outputs. `OPSETS`, layer kind -> operator set, is for operators that are
newer than OPSET. `ELSEWHERE`, layer kind -> the test file that compares it with something else, is for kinds that ONNX does
not have.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import onnxruntime.capi.onnxruntime_pybind11_state as ort_errors
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from pathweave.folder import modules
from pathweave.layers import kind_of
from pathweave.net.net import Epilogue

OPSET = 21
ELEMENT = {"f32": TensorProto.FLOAT, "f64": TensorProto.DOUBLE, "f16": TensorProto.FLOAT16, "i64": TensorProto.INT64,
           "i32": TensorProto.INT32, "i8": TensorProto.INT8, "u8": TensorProto.UINT8, "bool": TensorProto.BOOL,
           "i16": TensorProto.INT16, "u16": TensorProto.UINT16, "u32": TensorProto.UINT32, "u64": TensorProto.UINT64,
           "bf16": TensorProto.BFLOAT16}


class Graph:
    """Nodes and initialisers under construction."""

    def __init__(self):
        self.nodes, self.initialisers = [], []

    def node(self, operator, inputs, count=1, **attrs):
        """Append a node; returns the names of its outputs."""
        outputs = [f"t{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(operator, inputs, outputs, **attrs))
        return outputs

    def array(self, values, dtype=np.int64):
        """Append an initialiser; returns its name."""
        name = f"c{len(self.initialisers)}"
        self.initialisers.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name


@cache
def operators() -> dict[str, str | Callable]:
    """How every layer kind is written in ONNX, collected from the files of this folder."""
    found: dict[str, str | Callable] = {}
    for module in modules(__name__):
        assert not found.keys() & module.OPERATORS.keys(), f"{module.__name__}: a kind that another file has"
        found |= module.OPERATORS
    return found


def elsewhere() -> dict[str, str]:
    """Layer kinds that ONNX does not have, and the files that test them."""
    return {kind: file for module in modules(__name__) for kind, file in getattr(module, "ELSEWHERE", {}).items()}


@cache
def opsets() -> dict[str, int]:
    """Operator sets of kinds whose operators are newer than the others."""
    return {kind: opset for module in modules(__name__) for kind, opset in getattr(module, "OPSETS", {}).items()}


@cache
def by_reference() -> set[str]:
    """Layer kinds that are compared with onnx.reference, since ONNX Runtime loses digits or has other results."""
    return {kind for module in modules(__name__) for kind in getattr(module, "BY_REFERENCE", ())}


def layer(g: Graph, kind: str, case, attrs, names) -> list[str]:
    """Append a layer without its epilogue; returns the names of its outputs."""
    how = operators()[kind]
    return g.node(how, names, **attrs) if isinstance(how, str) else how(g, case, attrs, names)


def activated(g: Graph, case, epilogue: Epilogue, name: str) -> str:
    """Append the activation of an epilogue, if it has one; returns the name of the output."""
    if not epilogue.act:
        return name
    kind = kind_of(epilogue.act)
    attrs = kind.complete(dict(zip(kind.attributes, epilogue.params, strict=False)))
    return layer(g, epilogue.act, case, attrs, [name])[0]


def covers(case) -> bool:
    """Whether the case's kind has an ONNX counterpart."""
    return case.kind in operators()


def model_of(case, specs) -> onnx.ModelProto:
    """The case, epilogue included, as an ONNX model with inputs in0, in1, ... of the given specs."""
    g = Graph()
    names = [f"in{i}" if s is not None else "" for i, s in enumerate(specs)]
    body = names[:-1] if case.epilogue.add else names
    results = layer(g, case.kind, case, kind_of(case.kind).complete(case.attrs), body)
    if case.epilogue.add:
        results[:1] = g.node("Add", [results[0], names[-1]])
    results[:1] = [activated(g, case, case.epilogue, results[0])]
    inputs = [helper.make_tensor_value_info(n, ELEMENT[s.dtype], s.shape)
              for n, s in zip(names, specs, strict=True) if s is not None]
    outputs = [helper.make_tensor_value_info(n, ELEMENT[s.dtype], None)
               for n, s in zip(results, case.outputs(), strict=True)]
    graph = helper.make_graph(g.nodes, "case", inputs, outputs, g.initialisers)
    opsets_ = [helper.make_opsetid("", opsets().get(case.kind, OPSET)), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets_, ir_version=10)


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A quiet ONNX Runtime session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")  # whole sums of products of bytes on every processor
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def oracle(case, arrays) -> list[np.ndarray]:
    """Outputs by ONNX Runtime, or by onnx.reference for what ONNX Runtime has no kernel for."""
    model = model_of(case, case.inputs)
    feeds = {f"in{i}": a for i, a in enumerate(arrays) if a is not None}
    if "bf16" in {s.dtype for s in (*case.inputs, *case.outputs()) if s is not None}:
        # ONNX Runtime has no NumPy arrays of bfloat16; onnx.reference takes those of ml_dtypes.
        feeds = {n: a.view(ml_dtypes.bfloat16) if s.dtype == "bf16" else a
                 for (n, a), s in zip(feeds.items(), (s for s in case.inputs if s is not None), strict=True)}
        results = [np.asarray(y) for y in ReferenceEvaluator(model).run(None, feeds)]
        return [y.view(np.uint16) if y.dtype == ml_dtypes.bfloat16 else y for y in results]
    if case.kind in by_reference():
        return [np.asarray(y) for y in ReferenceEvaluator(model).run(None, feeds)]
    try:
        return session_of(model).run(None, feeds)
    except (ort_errors.NotImplemented, ort_errors.Fail, ort_errors.InvalidGraph, ort_errors.RuntimeException):
        # No kernel for the element type, no such type in ONNX, or no kernel for these attributes (LRN of an even size:
        # onnx.reference computes it for the first N channels only, so the case has as many images as channels).
        return [np.asarray(y) for y in ReferenceEvaluator(model).run(None, feeds)]

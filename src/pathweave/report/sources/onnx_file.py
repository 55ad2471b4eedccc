"""ONNX models, run by ONNX Runtime, or by the reference evaluator of the package onnx where that is not installed."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import InputError
from . import Arrays, Node

ENGINES = ("onnxruntime", "onnx.reference")
#: TensorProto.DataType -> precision, of values that the file declares.
_PRECISIONS = {10: "f16", 16: "bf16"}
_ORDER = ("u8", "bf16", "f16", "f32")
#: Operators that add up products of integers.
_PRODUCTS = ("MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul",
             "MatMulIntegerToFloat", "QAttention", "QGemm")
#: Characters of an error of the evaluator that are shown; some of them print the whole model.
_REASON = 200


def opened(path: str, engine: str | None, options: Mapping[str, Any]) -> OnnxFile | None:
    """The model of a path; None for a file that is no ONNX model. Raises InputError for an engine that cannot be used."""
    from pathlib import Path

    from ...importers.onnx import recognises
    with open(path, "rb") as f:
        if not recognises(f.read(4096), Path(path)):
            return None
    there = [name for name in ENGINES if importlib.util.find_spec(name.partition(".")[0])]
    if engine is not None and engine not in there:
        raise InputError(f"check: engine {engine!r}: expected {' or '.join(there)}"
                         + ("; pip install onnxruntime" if engine == ENGINES[0] else ""))
    return OnnxFile(path, engine or there[0], options)


class OnnxFile:
    """A model whose outputs can be chosen among the values of its graph. Weights beside the file stay there."""

    def __init__(self, path: str, engine: str, options: Mapping[str, Any]):
        import onnx
        self._proto = onnx.load(path, load_external_data=False)
        self._folder = os.path.dirname(os.path.abspath(path))
        self._engine, self._options = engine, options
        self.advice = "" if engine == ENGINES[0] else \
            f"ONNX Runtime is a better reference than the evaluator of the package onnx: {_use_onnxruntime()}"
        self.engine = f"{engine} {importlib.import_module(engine.partition('.')[0]).__version__}"
        self.second = ENGINES[1] if engine == ENGINES[0] else None
        self._declared = {v.name: v for v in self._proto.graph.output}
        taken = {n.name for n in self._proto.graph.node}
        self.nodes = [Node(n.name or _name(n.op_type, i, taken), f"{n.domain}:{n.op_type}" if n.domain else n.op_type,
                           tuple(n.input), tuple(v for v in n.output if v)) for i, n in enumerate(self._proto.graph.node)]
        self.precision = min(_precisions(self._proto), key=_ORDER.index)

    def _with_outputs(self, outputs: Sequence[str]) -> bytes:
        import onnx
        graph = self._proto.graph
        del graph.output[:]
        graph.output.extend(self._declared.get(v) or onnx.ValueInfoProto(name=v) for v in outputs)
        return self._proto.SerializeToString()

    def reference(self, outputs: Sequence[str], engine: str | None = None) -> Callable[[Arrays], dict[str, np.ndarray]]:
        """What the engine computes for some values. Raises InputError where it refuses the model, or the inputs."""
        try:
            load = _onnxruntime if (engine or self._engine) == ENGINES[0] else self._evaluator
            run = load(self._with_outputs(outputs), self._folder)
        except Exception as e:  # whatever another package raises
            raise self._refused("load the model", e) from e

        def guarded(inputs: Arrays) -> dict[str, np.ndarray]:
            try:
                with np.errstate(all="ignore"):  # the evaluator is NumPy
                    return dict(zip(outputs, run(list(outputs), {n: np.asarray(a, order="C") for n, a in inputs.items()})))
            except Exception as e:  # whatever another package raises
                raise self._refused("run the model on these inputs", e) from e
        return guarded

    def _refused(self, what: str, e: Exception) -> InputError:
        """An engine's own error; that of the evaluator, which lacks operators, says nothing of the model."""
        if self._engine == ENGINES[0]:
            return InputError(f"check: {self.engine} cannot {what}: {e}")
        reason = " ".join(f"{type(e).__name__}: {e}".split())
        reason = reason if len(reason) <= _REASON else f"{reason[:_REASON]}..."
        return InputError(f"check: {self.engine}, the evaluator of the package onnx, cannot {what} ({reason}), so that nothing "
                          f"was compared; check with ONNX Runtime: {_use_onnxruntime()}")

    def _evaluator(self, model: bytes, folder: str) -> Callable[..., Any]:
        import onnx
        from onnx.external_data_helper import load_external_data_for_model

        from ._onnx_evaluator import evaluator
        proto = onnx.load_from_string(model)
        load_external_data_for_model(proto, folder)
        return evaluator(proto)

    def load(self, outputs: Sequence[str]) -> Any:
        """The model with these values as outputs."""
        from ...runtime.model import load
        return load(self._with_outputs(outputs), **{"folder": self._folder, **self._options})

    def constant(self, value: str) -> np.ndarray | None:
        """An initializer of the graph."""
        from onnx.numpy_helper import to_array
        found = next((t for t in self._proto.graph.initializer if t.name == value), None)
        return None if found is None else to_array(found, self._folder)


def _onnxruntime(model: bytes, folder: str) -> Callable[..., Any]:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_DISABLE_ALL  # what the file says
    if _multiplies_signed_bytes(model):
        # On processors without VNNI sums of two products are cut to 16 bits, but for a rewriting of this level.
        options.graph_optimization_level = level.ORT_ENABLE_EXTENDED
        options.add_session_config_entry("session.x64quantprecision", "1")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run


def _multiplies_signed_bytes(model: bytes) -> bool:
    """True for a file with products of integers one side of which are signed weights."""
    import onnx
    graph = onnx.load_from_string(model).graph
    signed = {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.INT8}
    return any(n.op_type in _PRODUCTS and signed.intersection(n.input) for n in graph.node)


def _use_onnxruntime() -> str:
    """What to do for a check with ONNX Runtime."""
    return "--against onnxruntime" if importlib.util.find_spec("onnxruntime") else "pip install onnxruntime"


def _name(operator: str, index: int, taken: set[str]) -> str:
    """What the importer calls a node without a name."""
    name = f"{operator}_{index}"
    while name in taken:
        name += "_"
    return name


def _precisions(proto: Any) -> set[str]:
    graph = proto.graph
    types = {t.data_type for t in graph.initializer} | {
        v.type.tensor_type.elem_type for v in (*graph.input, *graph.output, *graph.value_info)} | {
        a.i for n in graph.node if n.op_type == "Cast" for a in n.attribute if a.name == "to"}
    eight = any("QuantizeLinear" in n.op_type or n.op_type.startswith("QLinear") or n.op_type.endswith("Integer")
                for n in graph.node)
    return {"f32", *(p for t, p in _PRECISIONS.items() if t in types), *(("u8",) if eight else ())}

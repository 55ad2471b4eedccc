"""ONNX's own conformance cases, which use every operator: attributes, sizes, types and constants changed, bytes flipped."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from ...edges import FACTORS
from .. import mutate, use
from ..target import Target

#: Cases with larger models or data are left out: they would not be run.
MOST_BYTES = 20_000


@cache
def bases() -> dict[str, list[tuple[bytes, tuple[TensorProto, ...]]]]:
    """Operator -> (model, a tensor per input) of the cases that have one node, or an expanded function of it."""
    from onnx.backend.test.case.node import collect_testcases
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        np.random.seed(0)  # noqa: NPY002  ONNX's cases draw from the global generator
        found = collect_testcases(None)
    made: dict[str, list[tuple[bytes, tuple[TensorProto, ...]]]] = {}
    for case in found:
        tensors = _tensors(case)
        if tensors is None or not case.model.graph.node or case.model.ByteSize() > MOST_BYTES:
            continue
        op = case.model.graph.node[0].op_type if len(case.model.graph.node) == 1 else case.name.removesuffix("_expanded")
        made.setdefault(op, []).append((case.model.SerializeToString(deterministic=True), tensors))
    return made


def _tensors(case: Any) -> tuple[TensorProto, ...] | None:
    """The inputs of a case's first set, named as the model's; None where one is no tensor."""
    inputs = case.data_sets[0][0] if case.data_sets else ()
    found = []
    for value, array in zip(case.model.graph.input, inputs):
        if not isinstance(array, (np.ndarray, np.generic, TensorProto)) or getattr(array, "dtype", np.dtype("f4")).kind == "O":
            return None
        tensor = array if isinstance(array, TensorProto) else numpy_helper.from_array(np.asarray(array))
        if tensor.ByteSize() > MOST_BYTES:
            return None
        named = TensorProto()
        named.CopyFrom(tensor)
        named.name = value.name
        found.append(named)
    return tuple(found)


class OnnxCases(Target):
    """A case: a file."""

    name = "onnx_cases"
    weight = 10
    suffix = ".onnx"

    def prepare(self, folder: Path) -> None:
        self.bases = bases()
        self.names = sorted(self.bases)

    def make(self, rng: np.random.Generator) -> bytes:
        data, tensors = mutate.pick(rng, self.bases[mutate.pick(rng, self.names)])
        model = onnx.ModelProto.FromString(data)
        _fix_inputs(model, tensors, rng)
        for _ in range(int(mutate.pick(rng, (0, 1, 1, 2, 4)))):
            mutate.pick(rng, (_change_attribute, _change_attribute, _change_size, _change_type, _change_reads, _change_constant)
                        )(model, rng)
        changed = model.SerializeToString(deterministic=True)
        return mutate.onnx_bytes(changed, rng) if not rng.integers(5) else changed

    def run(self, data: bytes, folder: Path) -> None:
        use.exercise(data, folder, use.number_of_threads(data))

    def mutate(self, data: bytes, rng: np.random.Generator) -> bytes:
        return mutate.onnx_bytes(data, rng)

    def simpler(self, data: bytes) -> Iterator[bytes]:
        return mutate.simpler_onnx(data)


def _fix_inputs(model: onnx.ModelProto, tensors: tuple[TensorProto, ...], rng: np.random.Generator) -> None:
    """Some inputs become constants, as weights, axes and sizes are in files: all, all but the first, none, or any."""
    which = int(rng.integers(4))
    for i, tensor in enumerate(tensors):
        if (i > 0, False, True, bool(rng.integers(2)))[which]:
            model.graph.initializer.append(tensor)
            for value in [v for v in model.graph.input if v.name == tensor.name]:
                model.graph.input.remove(value)


def _node(model: onnx.ModelProto, rng: np.random.Generator) -> Any:
    return model.graph.node[int(rng.integers(len(model.graph.node)))]


def _change_attribute(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    node = _node(model, rng)
    if not node.attribute:
        return
    attribute = node.attribute[int(rng.integers(len(node.attribute)))]
    number = max(-2**63, min(2**63 - 1, int(mutate.pick(rng, (0, 1, 2, 3, -1, -2, mutate.edge(rng))))))
    if not rng.integers(6):
        node.attribute.remove(attribute)
    elif attribute.ints:
        at = int(rng.integers(len(attribute.ints)))
        if rng.integers(4):
            attribute.ints[at] = number
        else:
            attribute.ints.append(number)
    elif attribute.type == attribute.FLOAT:
        attribute.f = float(np.float32(mutate.pick(rng, FACTORS)))
    elif attribute.type == attribute.STRING:
        attribute.s = mutate.pick(rng, (b"", b"nonsense", b"linear", attribute.s[::-1], attribute.s * 3))
    else:
        attribute.i = number


def _change_size(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    if not model.graph.input:
        return
    value = model.graph.input[int(rng.integers(len(model.graph.input)))]
    dims = value.type.tensor_type.shape.dim
    if not dims or not rng.integers(8):
        dims.add().dim_value = 2
        return
    dim = dims[int(rng.integers(len(dims)))]
    if rng.integers(3):
        dim.dim_value = max(-2**63, min(2**63 - 1, int(mutate.pick(rng, (0, 1, 2, 3, 5, 17, mutate.edge(rng))))))
    else:
        dim.dim_param = mutate.pick(rng, ("N", "N", "M", "", "?"))


def _change_type(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    values = [*model.graph.input, *model.graph.output]
    values[int(rng.integers(len(values)))].type.tensor_type.elem_type = int(rng.integers(0, 25))


def _change_reads(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    node = _node(model, rng)
    if node.input:
        at = int(rng.integers(len(node.input)))
        node.input[at] = mutate.pick(rng, ("", node.input[0], *node.output[:1], *(v.name for v in model.graph.input)))


def _change_constant(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Numbers of a constant; or its sizes, so that there are too few of them or too many."""
    if not model.graph.initializer:
        return
    tensor = model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
    if not rng.integers(4):
        if tensor.dims:
            tensor.dims[int(rng.integers(len(tensor.dims)))] = int(mutate.pick(rng, (0, 1, 2, 3, 2**31, 2**62)))
        return
    try:
        array = np.array(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError):
        return
    if array.size and array.dtype.kind in "iuf":
        at = int(rng.integers(array.size))
        with np.errstate(all="ignore"):
            edge = mutate.edge(rng) if array.dtype.kind in "iu" else mutate.pick(rng, FACTORS)
            array.reshape(-1)[at] = np.array(edge % 2**63 if array.dtype.kind in "iu" else edge).astype(array.dtype)
        changed = numpy_helper.from_array(array, tensor.name)
        tensor.CopyFrom(changed)

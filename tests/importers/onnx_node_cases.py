"""ONNX's own node tests (`onnx.backend.test`), as cases for this importer: what is skipped says why."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
from onnx import numpy_helper

from pathweave.errors import ShapeError, UnsupportedOperatorError
from pathweave.importers import load
from pathweave.importers.onnx import operators
from pathweave.importers.onnx.tensors import ELEMENT_TYPES
from pathweave.meaning.evaluate import evaluate
from pathweave.passes import bind, optimise

DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class NodeCase:
    """One test of ONNX: a model, and sets of (inputs, outputs)."""

    name: str
    model: onnx.ModelProto
    data: tuple
    rtol: float
    atol: float


@cache
def node_cases() -> dict[str, NodeCase]:
    """The tests of those operators that the importer claims, by name. Their making draws random numbers from NumPy."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        np.random.seed(0)  # noqa: NPY002  ONNX's cases draw from the global generator
        found = collect_testcases(None)
    cases = {}
    for case in found:
        functions = {f.name for f in case.model.functions}
        if operators_of(case.model.graph) - functions <= set(operators()):
            cases[case.name] = NodeCase(case.name, case.model, tuple(case.data_sets or ()), case.rtol, case.atol)
    return cases


def operators_of(graph) -> set[str]:
    """Operators of a graph and of the graphs inside it, as `operators()` names them."""
    found = set()
    for node in graph.node:
        found.add(node.op_type if node.domain in DOMAINS else f"{node.domain}:{node.op_type}")
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= operators_of(attribute.g)
    return found


def with_constants(case: NodeCase, inputs: list, kept: int) -> onnx.ModelProto:
    """The model with all inputs but the first `kept` as initializers: weights, scales and shapes as files have them."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for value, array in list(zip(case.model.graph.input, inputs))[kept:]:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), value.name))
    del model.graph.input[kept:]
    return model


def with_symbols(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every dimension of every input free, each under a name of its own."""
    free = onnx.ModelProto()
    free.CopyFrom(model)
    for value in free.graph.input:
        for i, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.dim_param = f"{value.name}_{i}"
    del free.graph.value_info[:]
    return free


def run(model: onnx.ModelProto, feeds: dict, case: NodeCase, expected: list) -> None:
    """Import, evaluate by meanings, bind, evaluate again; both must be what ONNX says."""
    net = load(model.SerializeToString()).main
    feeds = {name: feeds[name] for name in net.inputs}
    shapes = {name: array.shape for name, array in feeds.items()}
    for what, candidate in (("imported", net), ("bound", bind(optimise(net), shapes))):
        found = evaluate(candidate, feeds)
        for value, wanted in zip(case.model.graph.output, expected):
            got = found[value.name]
            if wanted.dtype.name == "bfloat16" and got.dtype == np.uint16:  # moved as it is
                got = got.view(wanted.dtype)
            assert got.dtype == wanted.dtype, f"{what} {value.name}: {got.dtype}, expected {wanted.dtype}"
            assert got.shape == wanted.shape, f"{what} {value.name}: {got.shape}, expected {wanted.shape}"
            if wanted.dtype.name == "bfloat16":  # the cases round after every node, we at the end: two units
                got, wanted = got.astype(np.float32), wanted.astype(np.float32)
                np.testing.assert_allclose(got, wanted, 2**-6, case.atol, err_msg=f"{what} {value.name}")
            elif wanted.dtype.kind == "f":
                np.testing.assert_allclose(got, wanted, case.rtol, case.atol, err_msg=f"{what} {value.name}")
            else:
                np.testing.assert_array_equal(got, wanted, err_msg=f"{what} {value.name}")


def array_of(values: list) -> list:
    """Values of a case, of which some are tensors of ONNX; one of an element type that the importer lacks stays as it is."""
    return [numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) and v.data_type in ELEMENT_TYPES else v
            for v in values]


def attempt(case: NodeCase) -> str:
    """"" where the case passes as constants and, where it is not refused, with values; else why it is refused."""
    reasons = []
    for inputs, outputs in case.data:
        inputs, outputs = array_of(inputs), array_of(outputs)
        if not all(isinstance(a, (np.ndarray, np.generic)) for a in (*inputs, *outputs)):
            return "sequences, optionals or maps"
        feeds = dict(zip((v.name for v in case.model.graph.input), map(np.asarray, inputs)))
        variants = [case.model, with_symbols(case.model)]
        if len(inputs) > 1:
            constants = with_constants(case, inputs, 1)
            variants += [constants, with_symbols(constants)]
        variants.append(with_constants(case, inputs, 0))
        passed = 0
        for model in variants:
            try:
                run(model, feeds, case, [np.asarray(a) for a in outputs])
                passed += 1
            except UnsupportedOperatorError as e:
                reasons.append(str(e))
            except ShapeError as e:
                if "expected one rank" not in str(e):
                    raise
                reasons.append("branches of different ranks")
        if not passed:
            return reasons[-1]
    return ""

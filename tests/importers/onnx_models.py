"""Build small ONNX models, and compare their import with ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from pathweave.importers import load
from pathweave.meaning.evaluate import evaluate
from pathweave.net.dim import highest, lowest
from pathweave.passes import bind, optimise

TYPES = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
}


def build(
    nodes,
    inputs: dict,
    constants: dict | None = None,
    outputs=("y",),
    opset: int = 17,
    symbols: bool = False,
    value_info=(),
    domains=(),
) -> bytes:
    """A serialised model. `inputs`: name -> example array, or (array, declared shape); `symbols`: free all sizes."""
    declared = []
    for name, array in inputs.items():
        array, shape = array if isinstance(array, tuple) else (array, None)
        if shape is None:
            shape = [f"{name}_{i}" for i in range(array.ndim)] if symbols else array.shape
        declared.append(helper.make_tensor_value_info(name, TYPES[str(array.dtype)], shape))
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()]
    graph = helper.make_graph(
        nodes, "test", declared, [onnx.ValueInfoProto(name=v) for v in outputs], tensors, value_info=value_info
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def arrays(inputs: dict) -> dict:
    """The example arrays of `inputs` as `build` takes them."""
    return {n: a[0] if isinstance(a, tuple) else a for n, a in inputs.items()}


def run_reference(model: bytes, feeds: dict) -> list[np.ndarray]:
    """Outputs of ONNX Runtime with its optimisations off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, feeds)


def assert_same(found, expected, tolerance: float, what: str) -> None:
    """Equal type and shape, and equal numbers to a tolerance relative to the largest one."""
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, expected {expected.shape}"
    assert found.dtype == expected.dtype, f"{what}: {found.dtype}, expected {expected.dtype}"
    if expected.dtype.kind == "f":
        finite = expected[np.isfinite(expected)]
        scale = float(np.abs(finite).max()) if finite.size else 1.0
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * max(scale, 1e-3), err_msg=what)
    else:
        np.testing.assert_array_equal(found, expected, err_msg=what)


def within(spec, shape) -> bool:
    """Whether a shape is that of a spec; a size that depends on contents is between its bounds."""
    return spec.rank == len(shape) and all(lowest(d) <= n <= highest(d) for d, n in zip(spec.dims, shape))


def check(
    nodes,
    inputs: dict,
    constants: dict | None = None,
    outputs=("y",),
    opset: int = 17,
    symbols: bool = False,
    tolerance: float = 1e-5,
    reference=None,
    domains=(),
):
    """Import, optimise and bind; each must agree with ONNX Runtime (or `reference`). Returns the bound net."""
    model = build(nodes, inputs, constants, outputs, opset, symbols, domains=domains)
    feeds = arrays(inputs)
    expected = run_reference(model, feeds) if reference is None else reference
    net = load(model).main
    bound = bind(net, {n: a.shape for n, a in feeds.items()})
    for what, candidate in (
        ("imported", net),
        ("optimised", optimise(net)),
        ("bound", bound),
        ("bound again", bind(optimise(net), {n: a.shape for n, a in feeds.items()})),
    ):
        found = evaluate(candidate, feeds)
        assert list(found) == list(outputs)
        for name, array in zip(outputs, expected):
            assert_same(found[name], array, tolerance, f"{what}, output {name}")
    for name, array in zip(outputs, expected):
        assert within(bound.specs[name], array.shape)
    return bound

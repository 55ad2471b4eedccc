"""Every operator with free dimensions, bound to 0, 1, 2 and 5: what is decided at import must hold at every size."""

from __future__ import annotations

import re

import numpy as np
import onnxruntime
import pytest
from onnx import helper
from onnx_models import assert_same, build
from test_onnx_ops import CASES, K, f

from pathweave.errors import ShapeError
from pathweave.importers import load
from pathweave.meaning.evaluate import evaluate
from pathweave.passes import bind, optimise

SIZES = (0, 1, 2, 5)
#: What we refuse although ONNX Runtime gives something: windows that do not fit, results without elements because of it,
#: a slope that is larger than what it is to be broadcast to, and parts without elements whose other sizes differ.
REFUSED = ("does not fit into|the output would be empty|cut off more than there is|does not broadcast to x|"
           "differ in more than axis")


def _resized(operand: np.ndarray, old: int, new: int) -> np.ndarray:
    """The operand with every dimension of size `old` as one of size `new`, its elements repeated or cut."""
    for axis in range(operand.ndim):
        if operand.shape[axis] == old:
            operand = np.take(operand, np.arange(new) % old, axis)
    return operand


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("case", [c for c in CASES if not c.fixed_only or c.op in ("Squeeze", "Split", "Resize")],
                         ids=lambda c: f"{c.op}-{','.join(f'{k}={v}' for k, v in c.attrs.items() if not hasattr(v, 'dims'))}")
def test_operator_at_other_sizes(case):
    feeds = {f"in{i}": o for i, o in enumerate(case.operands) if isinstance(o, np.ndarray)}
    constants = {f"in{i}": o.array for i, o in enumerate(case.operands) if isinstance(o, K)}
    names = ["" if o is None else f"in{i}" for i, o in enumerate(case.operands)]
    outputs = ["y"] if case.outputs == 1 else [f"y{i}" for i in range(case.outputs)]
    node = helper.make_node(case.op, names, outputs, domain=case.domain, **case.attrs)
    if not feeds:
        feeds = {"unused": f(1)}
    data = build([node], feeds, constants, outputs, case.opsets[-1], symbols=True,
                 domains=[case.domain] if case.domain else [])
    reference, net = _session(data), load(data).main
    optimised = optimise(net)
    for old in sorted({d for a in feeds.values() for d in a.shape}):
        for new in SIZES:
            given = {n: _resized(a, old, new) for n, a in feeds.items()}
            if case.op == "ReduceMean" and new == 0:  # of nothing: NaN, as onnx.reference says; ONNX Runtime gives 0
                continue
            if case.op == "Unique" and new == 0:  # ONNX Runtime ends the process
                continue
            try:
                expected = reference.run(None, given)
            except Exception:  # noqa: S112, BLE001  sizes that do not fit: ONNX Runtime's own exceptions
                continue
            try:
                bound = bind(optimised, {n: a.shape for n, a in given.items()})
            except ShapeError as e:
                assert re.search(REFUSED, str(e)), f"{old} as {new}: {e}"
                continue
            for what, candidate in (("imported", net), ("bound", bound)):
                found = evaluate(candidate, given)
                for name, array in zip(outputs, expected):
                    assert_same(found[name], array, 10 * case.tolerance, f"{what}, {old} as {new}, output {name}")

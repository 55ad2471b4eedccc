"""The evaluator of the package onnx, with inference where it takes an old batch normalisation for training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

#: From this opset on a node says whether it trains (training_mode). Before, the number of its outputs does.
_SAYS_TRAINING = 14


def evaluator(proto: Any) -> Callable[..., list[np.ndarray]]:
    """`run(outputs, inputs)` of the evaluator for a ModelProto with all its weights. Raises whatever the package raises.

    Before opset 14 a BatchNormalization with one output is inference, and `momentum` means nothing there. The evaluator trains
    at opsets 9 to 13 whenever momentum has a value, its default included, and at 7 and 8 unless is_test is given, which these
    opsets do not have. Source: https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
    """
    from onnx.reference import ReferenceEvaluator
    opset = max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=1)
    if opset >= _SAYS_TRAINING:
        return ReferenceEvaluator(proto).run
    if any(n.op_type == "BatchNormalization" for f in proto.functions for n in f.node):
        from onnx.inliner import inline_local_functions
        proto = inline_local_functions(proto)  # replaced operators do not reach functions
    return ReferenceEvaluator(proto, new_ops=[_inference()]).run


def _inference() -> type:
    from onnx.reference.op_run import OpRun

    class BatchNormalization(OpRun):  # the evaluator finds it by this name
        op_domain = ""

        def _run(self, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, epsilon: float = 1e-5, spatial: int = 1,
                 **_: Any) -> tuple[np.ndarray]:
            if spatial != 0:  # before opset 9 there may be a parameter for each element instead
                scale, bias, mean, variance = (a.reshape(-1, *[1] * (x.ndim - 2)) for a in (scale, bias, mean, variance))
            return (np.asarray(scale * (x - mean) / np.sqrt(variance + epsilon) + bias).astype(x.dtype),)
    return BatchNormalization

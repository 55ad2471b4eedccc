"""ONNX's own node tests of every operator that the importer claims."""

from __future__ import annotations

import re

import numpy as np
import pytest
from onnx_node_cases import attempt, node_cases

from pathweave.errors import DTypeError, ModelError

#: Why a case may be refused; any other reason is a failure.
REFUSALS = {
    "values that are no arrays": "^sequences, optionals or maps$",
    "element types": "ONNX element type",
}
#: Cases in which ONNX's text and ONNX Runtime agree, and the expected numbers, which onnx.reference made, do not: the text
#: says length_resized, an integer; onnx.reference takes length * scale. MaxUnpool is the inverse of MaxPool, so that indices
#: count in the output that output_shape names; onnx.reference counts in the output that there would be without it.
DISAGREE = ("test_resize_downsample_scales_linear_align_corners", "test_resize_downsample_scales_cubic_align_corners",
            "test_maxunpool_export_with_output_shape", "test_dft_inverse", "test_dft_inverse_opset19")


@pytest.mark.parametrize("name", sorted(node_cases()))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_node_case(name):
    if name in DISAGREE:
        pytest.skip("onnx.reference differs from ONNX's text")
    case = node_cases()[name]
    try:
        reason = attempt(case)
    except DTypeError as e:
        if any("float16" in str(np.asarray(a).dtype) for inputs, _ in case.data for a in inputs):
            pytest.skip(f"half precision at the border: {e}")
        raise
    except ModelError as e:
        if "training_mode is true, and the ratio is not 0" in str(e):
            pytest.skip("dropout of a model that is trained draws random numbers")
        raise
    if reason:
        kind = next((kind for kind, pattern in REFUSALS.items() if re.search(pattern, reason)), None)
        assert kind is not None, reason
        pytest.skip(f"refused: {kind}")

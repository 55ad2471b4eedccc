"""ONNX's own conformance cases; they are part of the package, since `pathweave operators` runs them."""

from pathweave.report.onnx_cases import *  # noqa: F403

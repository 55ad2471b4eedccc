"""What applications import from this module of ONNX Runtime: the same as `onnxruntime_pybind11_state`."""

from __future__ import annotations

from .onnxruntime_pybind11_state import *  # noqa: F403

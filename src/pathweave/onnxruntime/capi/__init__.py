"""Modules whose names applications know from ONNX Runtime: `onnxruntime_pybind11_state` has the exceptions."""

"""A module with the interface of ONNX Runtime, so that an application written for that runs on pathweave.

    import pathweave.onnxruntime as ort
    session = ort.InferenceSession("resnet50.onnx")
    y, = session.run(None, {"x": x})

docs/onnxruntime.md says what is covered, and how a tuned route is used.
"""

from __future__ import annotations

from typing import Any

from . import capi  # noqa: F401  (applications take exceptions from onnxruntime.capi)
from .absent import ABSENT
from .binding import IOBinding
from .described import ModelMetadata, NodeArg
from .options import ExecutionMode, ExecutionOrder, GraphOptimizationLevel, RunOptions, SessionOptions
from .process import (
    __version__,
    disable_telemetry_events,
    enable_telemetry_events,
    get_all_providers,
    get_available_providers,
    get_build_info,
    get_device,
    get_ep_devices,
    get_version_string,
    has_collective_ops,
    install,
    preload_dlls,
    print_debug_info,
    set_default_logger_severity,
    set_default_logger_verbosity,
    set_global_thread_pool_sizes,
    set_seed,
)
from .session import InferenceSession
from .values import OrtDevice, OrtValue

__all__ = [
    "ExecutionMode", "ExecutionOrder", "GraphOptimizationLevel", "IOBinding", "InferenceSession", "ModelMetadata", "NodeArg",
    "OrtDevice", "OrtValue", "RunOptions", "SessionOptions", "__version__", "disable_telemetry_events",
    "enable_telemetry_events", "get_all_providers", "get_available_providers", "get_build_info", "get_device",
    "get_ep_devices", "get_version_string", "has_collective_ops", "install", "preload_dlls", "print_debug_info",
    "set_default_logger_severity", "set_default_logger_verbosity", "set_global_thread_pool_sizes", "set_seed",
]


def __getattr__(name: str) -> Any:
    if name in ABSENT:
        raise AttributeError(f"pathweave.onnxruntime has no {name}: {ABSENT[name]}")
    raise AttributeError(f"module 'pathweave.onnxruntime' has no attribute {name!r}")

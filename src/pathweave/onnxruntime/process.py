"""Functions of the module: what there is in this process, and settings of it."""

from __future__ import annotations

import operator
import sys
from typing import Any

from ..errors import InputError
from .statuses import RuntimeException

#: Version of ONNX Runtime whose interface this package follows.
__version__ = "1.32.0"
PROVIDERS = ("CPUExecutionProvider",)
_SEVERITIES = "0:Verbose, 1:Info, 2:Warning, 3:Error, 4:Fatal"


def get_available_providers() -> list[str]:
    """`["CPUExecutionProvider"]`."""
    return list(PROVIDERS)


def get_all_providers() -> list[str]:
    """`["CPUExecutionProvider"]`."""
    return list(PROVIDERS)


def get_device() -> str:
    """`CPU`."""
    return "CPU"


def get_version_string() -> str:
    """Version of ONNX Runtime whose interface this package follows."""
    return __version__


def get_build_info() -> str:
    """What runs the models."""
    from .. import __version__ as own
    return f"pathweave {own}, with the interface of ONNX Runtime {__version__}"


def print_debug_info() -> None:
    """Print versions, for reports of errors."""
    import platform

    import numpy
    print(f"{get_build_info()}; Python {platform.python_version()}, NumPy {numpy.__version__}, {platform.platform()}")


def set_default_logger_severity(severity: int) -> None:
    """Check a level of messages, 0 to 4; nothing is logged here."""
    if operator.index(severity) not in range(5):
        raise RuntimeException(f"Invalid logging severity {severity}: expected {_SEVERITIES}")


def set_default_logger_verbosity(verbosity: int) -> None:
    """No effect: nothing is logged here."""
    operator.index(verbosity)


def set_seed(seed: int) -> None:
    """No effect: nothing is random."""
    operator.index(seed)


def set_global_thread_pool_sizes(intra_op_num_threads: int, inter_op_num_threads: int) -> None:
    """No effect: all sessions share one pool, and `SessionOptions.intra_op_num_threads` says how many threads a call takes."""
    operator.index(intra_op_num_threads)
    operator.index(inter_op_num_threads)


def disable_telemetry_events() -> None:
    """No effect: there is no telemetry."""


def enable_telemetry_events() -> None:
    """No effect: there is no telemetry."""


def has_collective_ops() -> bool:
    """False."""
    return False


def get_ep_devices() -> list[Any]:
    """No devices of plugin providers."""
    return []


def preload_dlls(cuda: bool = True, cudnn: bool = True, msvc: bool = True, directory: str | None = None) -> None:
    """No effect: no libraries of other devices are needed."""


def install() -> None:
    """Make `import onnxruntime` mean this package in this process, for applications whose source stays as it is.

    Call it before the first of their imports. Raises InputError where another package of that name was imported already.
    """
    import pathweave.onnxruntime as own
    from pathweave.onnxruntime import capi
    from pathweave.onnxruntime.capi import _pybind_state, onnxruntime_inference_collection, onnxruntime_pybind11_state
    found = sys.modules.get("onnxruntime", own)
    if found is not own:
        raise InputError(f"install: onnxruntime was imported already, from {getattr(found, '__file__', 'elsewhere')}; call "
                         "pathweave.onnxruntime.install() before everything that imports it")
    sys.modules.update({"onnxruntime": own, "onnxruntime.capi": capi, "onnxruntime.capi._pybind_state": _pybind_state,
                        "onnxruntime.capi.onnxruntime_inference_collection": onnxruntime_inference_collection,
                        "onnxruntime.capi.onnxruntime_pybind11_state": onnxruntime_pybind11_state})

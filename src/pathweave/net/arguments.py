"""Arguments of a call: one array or arrays by name, of NumPy or what offers DLPack and lies in memory of the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputDeviceError, InputError
from .floats import scalar
from .net import TensorSpec

#: Names of DLPack's device types. Source: https://dmlc.github.io/dlpack/latest/c_api.html (DLDeviceType).
_DEVICES = {1: "cpu", 2: "cuda", 3: "cuda_host", 4: "opencl", 7: "vulkan", 8: "metal", 9: "vpi", 10: "rocm", 11: "rocm_host",
            12: "ext_dev", 13: "cuda_managed", 14: "oneapi", 15: "webgpu", 16: "hexagon", 17: "maia"}
#: Those whose memory the CPU reads.
_HOST = ("cpu", "cuda_host", "rocm_host", "cuda_managed")


def of_call(where: str, inputs: Any, more: tuple, named: Mapping[str, Any]) -> Any:
    """The inputs of a call: its one argument, or its arrays by keyword. Raises InputError for both, and for
    several arguments."""
    if more:
        raise InputError(f"{where}: expected one array or dict, or arrays by keyword, got {1 + len(more)} arguments; say by "
                         f"name which input each is")
    if named and inputs is not None:
        raise InputError(f"{where}: expected one array or dict, or arrays by keyword, got both")
    return named or inputs


def by_name(where: str, specs: Mapping[str, TensorSpec], inputs: Any) -> Mapping[str, Any]:
    """Inputs of a call in the order of the net's; one array stands for the input of a net that has one. Raises InputError."""
    if not isinstance(inputs, (dict, Mapping)):  # dict first: to ask the abstract class takes a microsecond
        if len(specs) == 1 and inputs is not None:
            return {name: inputs for name in specs}
        problem = "no input was given" if inputs is None else f"expected a dict, got {type(inputs).__name__}"
    elif inputs.keys() == specs.keys():
        return {name: inputs[name] for name in specs}
    else:
        named = {"missing": [n for n in specs if n not in inputs], "unknown": [n for n in inputs if n not in specs]}
        problem = " and ".join(f"{', '.join(map(repr, names))} {word}" for word, names in named.items() if names)
    listed = ", ".join(f"{name!r} {spec}" for name, spec in specs.items())
    raise InputError(f"{where}: {problem}; expected exactly the inputs {listed}")


def device_of(value: Any) -> str:
    """Device on which an object with an array lies, such as `cuda:0`; `cpu` for memory of the CPU and where nothing is said.

    It is asked through DLPack, else through `__cuda_array_interface__`.
    """
    if isinstance(value, np.ndarray):
        return "cpu"
    told = getattr(value, "__dlpack_device__", None)
    if callable(told):
        try:
            kind, number = told()
            name = _DEVICES.get(int(kind), f"device type {int(kind)}")
        except Exception:  # whatever somebody else's method raises: reading the array says more
            return "cpu"
        return "cpu" if name in _HOST else f"{name}:{int(number)}"
    return "cuda" if getattr(value, "__cuda_array_interface__", None) is not None else "cpu"


def check_on_host(where: str, value: Any) -> None:
    """Raise InputDeviceError for an array on another device than the CPU."""
    device = device_of(value)
    if device != "cpu":
        kind = f"{type(value).__module__}.{type(value).__name__}"
        raise InputDeviceError(f"{where}: the {kind} lies on {device}; expected memory of the CPU, where inputs and outputs "
                               f"lie whatever devices the route uses: copy it there first, such "
                               f"as x.cpu() in PyTorch, x.get() in CuPy, jax.device_get(x) in JAX")


def check_unmasked(where: str, value: Any) -> None:
    """Raise InputError for a masked array: nothing that is computed knows of a mask."""
    if isinstance(value, np.ma.MaskedArray):
        raise InputError(f"{where}: expected an array without a mask, got a {type(value).__name__}; put numbers where it is "
                         f"masked, such as x.filled(0), or take x.data")


def as_array(name: str, value: Any, spec: TensorSpec | None = None) -> np.ndarray:
    """The array behind an argument of a call, without copying.

    `spec`: of an input; one of rank 0 may be a Python number. Raises InputError for what is no array and for a masked one,
    InputDeviceError for one on another device, DTypeError for a number that the input does not hold.
    """
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ndarray):
        check_unmasked(f"input {name!r}", value)
        return value.view(np.ndarray)
    if isinstance(value, np.generic):
        return np.asarray(value)
    if spec is not None and not spec.shape and isinstance(value, (bool, int, float)):
        return scalar(f"input {name!r}", spec, value)
    check_on_host(f"input {name!r}", value)
    if hasattr(value, "__dlpack__"):
        try:
            return np.from_dlpack(value)
        except Exception as e:  # whatever somebody else's __dlpack__ raises
            kind = f"{type(value).__module__}.{type(value).__name__}"
            raise InputError(f"input {name!r}: the {kind} cannot be read through DLPack: {e}; bring it to "
                             f"the CPU, detached, as a dense tensor of a NumPy type") from e
    raise InputError(f"input {name!r}: expected a NumPy array or a DLPack tensor, got {type(value).__name__}; "
                     f"pass a NumPy array: numpy.asarray(value, dtype=...)")

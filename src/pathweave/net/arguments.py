"""Arguments of a call: one array or arrays by name, of NumPy or what offers DLPack, for the inputs of a net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from .net import TensorSpec


def by_name(where: str, specs: Mapping[str, TensorSpec], inputs: Any) -> Mapping[str, Any]:
    """Inputs of a call in the order of the net's; one array stands for the input of a net that has one. Raises InputError."""
    if not isinstance(inputs, (dict, Mapping)):  # dict first: to ask the abstract class takes a microsecond
        if len(specs) == 1:
            return {name: inputs for name in specs}
        problem = f"expected a dict, got {'nothing' if inputs is None else type(inputs).__name__}"
    elif inputs.keys() == specs.keys():
        return {name: inputs[name] for name in specs}
    else:
        named = {"missing": [n for n in specs if n not in inputs], "unknown": [n for n in inputs if n not in specs]}
        problem = " and ".join(f"{', '.join(map(repr, names))} {word}" for word, names in named.items() if names)
    listed = ", ".join(f"{name!r} {spec}" for name, spec in specs.items())
    raise InputError(f"{where}: {problem}; expected exactly the inputs {listed}")


def as_array(name: str, value: Any) -> np.ndarray:
    """The array behind an argument of a call, without copying. Raises InputError for what is no array on the CPU."""
    if isinstance(value, np.ndarray):
        return value.view(np.ndarray)
    if hasattr(value, "__dlpack__"):
        try:
            return np.from_dlpack(value)
        except Exception as e:  # whatever somebody else's __dlpack__ raises
            kind = f"{type(value).__module__}.{type(value).__name__}"
            raise InputError(f"input {name!r}: the {kind} cannot be read through DLPack: {e}; bring it to "
                             f"the CPU, detached, as a dense tensor of a NumPy type") from e
    raise InputError(f"input {name!r}: expected a NumPy array or a DLPack tensor, got {type(value).__name__}; "
                     f"pass a NumPy array: numpy.asarray(value, dtype=...)")

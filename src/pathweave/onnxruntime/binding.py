"""IOBinding: inputs and outputs of a session that stay bound from run to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from .statuses import NotImplemented as NotCovered
from .statuses import RuntimeException, Status
from .values import OrtValue, at_address, check_cpu, element


class IOBinding:
    """Names of inputs and outputs with the memory that they are read from and written to; `InferenceSession.io_binding`."""

    def __init__(self, session: Any):
        self._session = session
        self._known = {a.name for a in (*session.get_inputs(), *session.get_overridable_initializers())}
        self._inputs: dict[str, OrtValue] = {}
        self._outputs: dict[str, OrtValue | None] = {}
        self._results: list[OrtValue] = []

    # ---- inputs ----

    def bind_cpu_input(self, name: str, arr_on_cpu: np.ndarray) -> None:
        """Bind an array; it is read when the session runs. Raises RuntimeException for an unknown name."""
        self.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(arr_on_cpu))

    def bind_input(self, name: str, device_type: str, device_id: int, element_type: Any, shape: Sequence[int],
                   buffer_ptr: int) -> None:
        """Bind memory of the caller's: contiguous elements at an address."""
        check_cpu(device_type)
        number, _ = element(element_type)
        self.bind_ortvalue_input(name, OrtValue(at_address(buffer_ptr, number, shape), number))

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        """Bind a value."""
        if name not in self._known:
            raise RuntimeException(f"Failed to find NodeArg with name: {name} in the def list; expected one of "
                                   f"{', '.join(sorted(self._known))}")
        self._inputs[name] = _value(ortvalue)

    def clear_binding_inputs(self) -> None:
        """Forget the inputs."""
        self._inputs.clear()

    def synchronize_inputs(self) -> None:
        """Nothing to wait for: memory of the CPU."""

    # ---- outputs ----

    def bind_output(self, name: str, device_type: str = "cpu", device_id: int = 0, element_type: Any = None,
                    shape: Sequence[int] | None = None, buffer_ptr: int | None = None) -> None:
        """Ask for an output: in memory of the caller's at an address, or without one in memory that the run takes."""
        check_cpu(device_type)
        if buffer_ptr is None:
            self._outputs[name] = None
            return
        if element_type is None or shape is None:
            raise RuntimeException(f"bind_output {name!r}: expected element_type and shape beside buffer_ptr")
        number, _ = element(element_type)
        self._outputs[name] = OrtValue(at_address(buffer_ptr, number, shape), number)

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        """Ask for an output in a value's memory."""
        self._outputs[name] = _value(ortvalue)

    def clear_binding_outputs(self) -> None:
        """Forget the outputs, and the results."""
        self._outputs.clear()
        self._results = []

    def synchronize_outputs(self) -> None:
        """Nothing to wait for: memory of the CPU."""

    def get_outputs(self) -> list[OrtValue]:
        """Results of the last run, in the order in which outputs were bound."""
        return list(self._results)

    def copy_outputs_to_cpu(self) -> list[np.ndarray]:
        """Arrays of these results, of memory of their own where the caller bound memory."""
        return [v.numpy().copy() if self._outputs.get(n) is not None else v.numpy()
                for n, v in zip(self._outputs, self._results)]

    def get_outputs_as_ortvaluevector(self) -> NoReturn:
        """Raises NotImplemented."""
        raise NotCovered("IOBinding.get_outputs_as_ortvaluevector: there are no vectors of values; take get_outputs()")

    def run(self, run_options: Any = None) -> None:
        """Run the session on what is bound. Raises RuntimeException for all that is wrong."""
        if not self._outputs:
            raise RuntimeException("Error in execution: At least one output should be requested.")
        try:
            results = self._session._results("run_with_iobinding", list(self._outputs), self._inputs, run_options)
        except Status as e:  # ONNX Runtime knows no other class here
            raise RuntimeException(f"Error in execution: {e.words}") from e.__cause__ or e
        self._results = [_written(name, value, array) for (name, value), array in zip(self._outputs.items(), results)]


def _value(value: Any) -> OrtValue:
    if not isinstance(value, OrtValue):
        raise TypeError(f"expected an OrtValue, got {type(value).__name__}")
    return value


def _written(name: str, value: OrtValue | None, result: np.ndarray) -> OrtValue:
    """The result where the caller wants it."""
    if value is None:
        return OrtValue(result)
    place = value.numpy()
    if place.dtype != result.dtype or place.shape != result.shape:
        raise RuntimeException(f"Error in execution: output {name!r}: expected memory for {result.dtype} {result.shape}, got "
                               f"that of {place.dtype} {place.shape}")
    np.copyto(place, result)
    return value

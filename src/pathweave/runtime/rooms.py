"""Rooms: memory in which the states of a session grow where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .open_plans import rounded_up


class Grown(NamedTuple):
    """A state in one call: its memory, and the output that has `size` positions of it along an axis afterwards."""

    memory: np.ndarray
    output: str
    axis: int
    size: int


class Rooms:
    """Memory with room behind the states of one session. Not for several threads at the same time.

    `outputs`: of each state, the output that it takes. A state with room is a view of the first positions of its memory. What
    a call writes lies behind these, so that the view is what it was when the call fails.
    """

    def __init__(self, outputs: Mapping[str, str]):
        self._outputs = dict(outputs)
        self._memory: dict[str, np.ndarray] = {}

    def follows(self, state: str, output: str) -> bool:
        """Whether an input is a state that takes this output."""
        return self._outputs.get(state) == output

    def memory(self, state: str, array: np.ndarray, axis: int, size: int) -> np.ndarray | None:
        """What holds a state `array`, with room for `size` positions along an axis; None where there is no memory for that.

        It is the state's own memory, or a larger one, for the next power of two, into which the array is copied.
        """
        memory = self._memory.get(state)
        if memory is not None and array.base is memory and _fits(memory, array, axis, size):
            return memory
        shape = list(array.shape)
        shape[axis] = rounded_up(size)
        try:
            memory = np.empty(shape, array.dtype)
        except MemoryError:
            return None
        part(memory, axis, array.shape[axis])[...] = array
        self._memory[state] = memory
        return memory

    def forget(self) -> None:
        """Give all memory back."""
        self._memory.clear()


def _fits(memory: np.ndarray, array: np.ndarray, axis: int, size: int) -> bool:
    apart = [a == b for i, (a, b) in enumerate(zip(memory.shape, array.shape)) if i != axis]
    return all(apart) and memory.ndim == array.ndim and memory.shape[axis] >= size and memory.strides == array.strides


def part(memory: np.ndarray, axis: int, size: int) -> np.ndarray:
    """The first positions along an axis: a view."""
    return memory[(slice(None),) * axis + (slice(size),)]

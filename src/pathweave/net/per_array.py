"""Values that belong to an array: made once, forgotten with it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from ..locks import lock

T = TypeVar("T")


class PerArray(Generic[T]):
    """`make(array)` of every array that was asked for, as long as that array lives. Thread safe.

    An array is itself, not its contents: nets bound to several shapes hold the same arrays.
    """

    def __init__(self, make: Callable[[Any], T]):
        self._make, self._lock = make, lock()
        self._known: dict[int, tuple[weakref.ref[Any], T]] = {}

    def __call__(self, array: Any) -> T:
        """The array's value."""
        with self._lock:
            entry = self._known.get(id(array))
            if entry is not None and entry[0]() is array:
                return entry[1]
            value, key = self._make(array), id(array)
            if type(array).__weakrefoffset__ == 0:  # a NumPy scalar: it is nobody's for long
                return value
            # The callback may run at any moment, this one included: it takes no lock, and pops only its own entry.
            self._known[key] = (weakref.ref(array, partial(self._forget, key)), value)
            return value

    def _forget(self, key: int, dead: weakref.ref[Any]) -> None:
        entry = self._known.get(key)
        if entry is not None and entry[0] is dead:
            del self._known[key]

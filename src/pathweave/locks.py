"""Locks that a forked child finds open, and attributes that need none."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")

_made: weakref.WeakSet[Any] = weakref.WeakSet()


def lock(make: Callable[[], Any] = threading.Lock) -> Any:
    """A `threading.Lock` (or `threading.RLock`) that is open in a forked child, where its holder does not go on.

    What it guards may be half done in such a child: every step under it leaves whole what others read.
    """
    made = make()
    _made.add(made)
    return made


def _open_all() -> None:
    for made in list(_made):
        made._at_fork_reinit()  # as the standard library does with its own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_all)


class cached_property(Generic[T]):
    """An attribute that is computed when it is first asked for. Threads that ask at the same time may all compute it and
    are given one value. (Up to Python 3.11 `functools.cached_property` computes it under a lock that all objects of a class
    share: they wait for each other, and a child that is forked meanwhile waits for ever.)"""

    def __init__(self, compute: Callable[[Any], T]):
        self.compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> cached_property[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self
        known = instance.__dict__
        return known[self.name] if self.name in known else known.setdefault(self.name, self.compute(instance))

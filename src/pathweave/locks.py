"""Locks that a forked child finds open."""

from __future__ import annotations

import os
import threading
import weakref

_made: weakref.WeakSet = weakref.WeakSet()


def lock(make=threading.Lock):
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

"""Printing: tables on stdout (rich on terminals, plain text else), one JSON document with `--json`, progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from ..words import printable
from ._errors import is_wide


def print_json(document: Any) -> None:
    """One JSON document; numbers that JSON lacks become null, NumPy numbers plain ones."""
    json.dump(plain(document), sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


def plain(x: Any) -> Any:
    """Plain JSON data: tuples as lists, keys as words, NumPy scalars and arrays as numbers, NaN and infinity as null."""
    if isinstance(x, dict):
        return {str(k): plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple, set, frozenset)):
        return [plain(v) for v in x]
    if isinstance(x, float):
        return x if x == x and abs(x) != float("inf") else None
    if x is None or isinstance(x, (bool, int, str)):
        return x
    if hasattr(x, "tolist"):
        return plain(x.tolist())
    return str(x)


def print_tables(*parts: Any) -> None:
    """Tables and lines of text, in order: fitted to a terminal, unless `--wide` is given; elsewhere as wide as they are."""
    parts = tuple(printable(part, "\n") if isinstance(part, str) else part for part in parts)
    if sys.stdout.isatty():
        from rich.console import Console
        console = Console(highlight=False)
        width = None if is_wide() else console.width
        for part in parts:
            console.print(part if isinstance(part, str) else part.rich(width), markup=False,
                          soft_wrap=isinstance(part, str) or width is None)
        return
    for part in parts:
        print(part if isinstance(part, str) else part.text())


def progress(title: str) -> AbstractContextManager[Callable[[float, str], None]]:
    """A progress bar on stderr while the block runs, where stderr is a terminal; gives a callback (0..1, what it does)."""
    from ..progress import progress_bar
    return progress_bar(True, title)

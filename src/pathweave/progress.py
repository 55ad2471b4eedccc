"""A progress bar on a terminal; silent elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from .words import printable

Progress = Callable[[float, str], None]


@contextlib.contextmanager
def progress_bar(show: bool | Progress = True, title: str = "tuning") -> Iterator[Progress]:
    """A callback (0..1, text) that draws a bar on the terminal's standard error while the block runs.

    `show`: False, or no terminal: nothing is drawn; a callback is given back as it is.
    """
    if callable(show):
        yield show
        return
    if not show or not sys.stderr.isatty():
        yield _silent
        return
    from rich import progress as rich_progress
    from rich.console import Console
    text = rich_progress.TextColumn
    columns = (text("{task.description}"), rich_progress.BarColumn(), text("{task.percentage:>3.0f} %"),
               rich_progress.TimeElapsedColumn(), text("{task.fields[text]}", markup=False))
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0, text="")
        yield lambda fraction, text: bar.update(task, completed=fraction, text=printable(text))


def part(progress: Progress, start: float, end: float) -> Progress:
    """A callback for one phase: its 0..1 becomes `start`..`end` of the whole."""
    return lambda fraction, text: progress(start + (end - start) * fraction, text)


def _silent(fraction: float, text: str) -> None:
    pass

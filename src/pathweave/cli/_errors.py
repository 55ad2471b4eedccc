"""What a command may raise, and the exit code and message that it becomes."""

from __future__ import annotations

import functools
import sys
import warnings
from typing import Any, Callable

from ..errors import Error, InputError, InterruptedTuning

FAILED, BAD_USE, INTERRUPTED = 1, 2, 130

_debug = False


class BadUse(Error):
    """The command line asks for something that cannot be; exit code 2."""


def take_debug(arguments: list[str]) -> list[str]:
    """The arguments without `--debug`, which may stand anywhere before `--` and shows tracebacks."""
    global _debug
    end = arguments.index("--") if "--" in arguments else len(arguments)
    _debug = "--debug" in arguments[:end]
    return [a for a in arguments[:end] if a != "--debug"] + arguments[end:]


def say(message: str) -> None:
    """One message on stderr."""
    print(message, file=sys.stderr, flush=True)


def exit_code(error: BaseException) -> int:
    """Bad use: an argument that cannot be meant. Anything else that pathweave raises on purpose: failed."""
    return BAD_USE if isinstance(error, (BadUse, InputError)) else FAILED


def guarded(function: Callable[..., Any]) -> Callable[..., None]:
    """The command with typed errors as one message on stderr and an exit code; tracebacks only with `--debug`."""
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        import typer
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = _attempt(function, *args, **kwargs)
        if code:
            raise typer.Exit(code)
    return run


def _attempt(function: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
    """The command's exit code."""
    try:
        return int(function(*args, **kwargs) or 0)
    except KeyboardInterrupt as e:  # InterruptedTuning is one, and says what was kept
        if _debug:
            raise
        say(f"pathweave: interrupted{': ' + str(e) if isinstance(e, InterruptedTuning) and str(e) else ''}")
        return INTERRUPTED
    except Error as e:
        if _debug:
            raise
        say(f"pathweave: {e}")
        return exit_code(e)
    except MemoryError as e:
        if _debug:
            raise
        say(f"pathweave: out of memory{': ' + str(e) if str(e) else ''}; ask for a smaller batch, or use a machine with "
            f"more memory")
        return FAILED


def _show_warning(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
    say(f"pathweave: {'warning' if issubclass(category, UserWarning) else category.__name__}: {message}")

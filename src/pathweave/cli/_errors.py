"""What a command may raise, and the exit code and message that it becomes."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable

from ..errors import Error, InputError, InterruptedTuning, RestrictionError
from ..words import printable

FAILED, BAD_USE, INTERRUPTED = 1, 2, 130

#: Options that may stand anywhere on the line: name -> whether they were given.
_anywhere = {"--debug": False, "--wide": False}
_json = False


class BadUse(Error):
    """The command line asks for something that cannot be; exit code 2."""


def take_flags(arguments: list[str]) -> list[str]:
    """The arguments without `--debug` (show tracebacks) and `--wide` (whole tables), which may stand anywhere before `--`.
    `--json` stays there; it also makes an error a JSON document."""
    global _json
    end = arguments.index("--") if "--" in arguments else len(arguments)
    for flag in _anywhere:
        _anywhere[flag] = flag in arguments[:end]
    _json = "--json" in arguments[:end]
    return [a for a in arguments[:end] if a not in _anywhere] + arguments[end:]


def is_wide() -> bool:
    """Whether tables are shown whole, however narrow the terminal."""
    return _anywhere["--wide"]


def say(message: str) -> None:
    """One message on stderr."""
    print(printable(message, "\n"), file=sys.stderr, flush=True)


def exit_code(error: BaseException) -> int:
    """Bad use: an argument that cannot be meant. Anything else that pathweave raises on purpose: failed."""
    return BAD_USE if isinstance(error, (BadUse, InputError)) else FAILED


def guarded(function: Callable[..., Any]) -> Callable[..., None]:
    """The command with typed errors as one message on stderr and an exit code; tracebacks only with `--debug`."""
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        import typer
        with told_warnings():
            code = _attempt(function, *args, **kwargs)
        if code:
            raise typer.Exit(code)
    return run


@contextmanager
def told_warnings() -> Iterator[None]:
    """While the block runs, warnings are messages on stderr."""
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        yield


def _attempt(function: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
    """The command's exit code."""
    try:
        return int(function(*args, **kwargs) or 0)
    except (KeyboardInterrupt, Error, MemoryError, OSError) as e:
        if _anywhere["--debug"]:
            raise
        code, message = _told(e)
        if _json:
            from ._output import print_json
            print_json({"error": {"type": type(e).__name__, "message": message, "exit_code": code}})
        if message:
            say(f"pathweave: {message}")
        return code


def misused(error: Any) -> int:
    """Show what the parser of the command line refuses, with `--json` as a document too; its exit code."""
    if _json:
        from ._output import print_json
        message = error.format_message() or "expected a command"
        print_json({"error": {"type": BadUse.__name__, "message": message, "exit_code": error.exit_code}})
    error.show()
    return error.exit_code


def _told(e: BaseException) -> tuple[int, str]:
    """Exit code and message of what a command raised."""
    if isinstance(e, KeyboardInterrupt):  # InterruptedTuning is one, and says what was kept
        return INTERRUPTED, f"interrupted{': ' + str(e) if isinstance(e, InterruptedTuning) and str(e) else ''}"
    if isinstance(e, RestrictionError) and not str(e).startswith("--"):
        return exit_code(e), f"--routine: {e}"
    if isinstance(e, Error):
        return exit_code(e), str(e)
    if isinstance(e, MemoryError):
        return FAILED, (f"out of memory{': ' + str(e) if str(e) else ''}; ask for a smaller batch, or use a machine with "
                        "more memory")
    if isinstance(e, BrokenPipeError):  # who reads our output has gone, as `head` does
        import os
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED, ""  # as other tools do, without a word
    return FAILED, f"{getattr(e, 'filename', None) or 'the system'}: {getattr(e, 'strerror', None) or e}"


def _show_warning(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
    say(f"pathweave: {'warning' if issubclass(category, UserWarning) else category.__name__}: {message}")

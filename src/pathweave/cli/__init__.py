"""The command line: `pathweave COMMAND`. One file per sub-command, found by being in this folder.

A file whose name does not start with an underscore and that defines a function `command` is a sub-command; the function's
signature declares its arguments (typer), its docstring is the help, `ORDER` is its place in the list. Heavy modules are
imported inside the function, so that `pathweave --help` stays quick.

Exit codes: 0 fine, 1 failed, 2 bad use, 130 interrupted.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def commands() -> dict[str, ModuleType]:
    """Every sub-command's module by the name of the command, in the order in which help lists them."""
    from ..plugins import collect
    found = collect(__name__, "commands", _command_in, "command")
    return dict(sorted(found.items(), key=lambda named: (named[1].ORDER, named[1].__name__)))


def _command_in(module: ModuleType) -> dict[str, ModuleType]:
    """A module that is a sub-command, by the command's name. Raises AttributeError for one without ORDER."""
    if not hasattr(module, "command"):
        return {}
    float(module.ORDER)
    return {module.__name__.rpartition(".")[2].rstrip("_"): module}


def application() -> Any:
    """The typer application with all sub-commands."""
    import typer

    from ._errors import guarded, told_warnings
    from ._options import common
    app = typer.Typer(name="pathweave", no_args_is_help=True, add_completion=False, rich_markup_mode=None,
                      pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})
    app.callback()(guarded(common))
    with told_warnings():  # of plugins that cannot be used
        found = commands()
    for name, module in found.items():
        app.command(name)(guarded(module.command))
    return app


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the `pathweave` program; always ends in SystemExit."""
    import typer

    from ._errors import misused, take_flags
    usage_error = typer.BadParameter.__mro__[1]  # what the parser raises: of click, or of typer's own copy of it
    taken = take_flags(list(sys.argv[1:] if arguments is None else arguments))
    try:
        code = application()(taken, prog_name="pathweave", standalone_mode=False)
    except usage_error as e:
        code = misused(e)
    except typer.Abort:
        code = 1
    raise SystemExit(code or 0)

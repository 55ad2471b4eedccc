"""Options of the public functions by name: an unknown one is an error that names the one that was meant."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from .errors import OptionError
from .words import meant

#: What other interfaces call an option, and what it is called here.
OTHER_NAMES = {"batch": "shapes", "batch_size": "shapes", "budget": "budget_s", "layout": "layouts", "num_threads": "threads",
               "routine": "restrict", "routines": "restrict", "shape": "shapes", "state": "states",
               "time_limit": "time_limit_s"}

P = ParamSpec("P")
T = TypeVar("T")


def check_options(function: str, options: Iterable[str], known: Iterable[str], also: Iterable[str] = (), of: str = "") -> None:
    """Raise OptionError for the first option of a function that is not among the known ones, with the one that was meant.

    `also`: options that are taken elsewhere, and may be the one that was meant. `of`: for what the known ones are.
    """
    known = list(known)
    for option in options:
        if option not in known:
            other = OTHER_NAMES.get(option)
            hint = f"; did you mean {other!r}?" if other in (*known, *also) else meant(option, [*known, *also])
            expected = f"some of {', '.join(known)}" if known else "none"
            raise OptionError(f"{function}: unknown option {option!r}" + (hint or f"{of}; expected {expected}"))


def options_checked(function: Callable[P, T]) -> Callable[P, T]:
    """The function, which raises OptionError for an option that it does not have."""
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL
    known = [name for name, p in inspect.signature(function).parameters.items() if p.kind not in kinds]

    @functools.wraps(function)
    def checked(*args: P.args, **options: P.kwargs) -> T:
        if not options.keys() <= set(known):
            check_options(function.__name__, options, known)
        return function(*args, **options)
    return checked

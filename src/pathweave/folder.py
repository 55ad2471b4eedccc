"""Folders that are registries: what lies in one belongs to it by being there. And packages that are functions, too."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from types import ModuleType
from typing import TypeVar

from .errors import ModelError

_Item = TypeVar("_Item")


def modules(package: str) -> list[ModuleType]:
    """The modules and packages in a package's folder, by name; names that start with an underscore are left out."""
    folder = importlib.import_module(package)
    names = sorted(info.name for info in pkgutil.iter_modules(folder.__path__) if not info.name.startswith("_"))
    return [importlib.import_module(f"{package}.{name}") for name in names]


def instances(package: str, base: type[_Item], what: str) -> dict[str, _Item]:
    """One instance of every subclass of `base` that the modules in a folder define, by its `name`; "" is left out.

    Raises ModelError where two share a name.
    """
    found: dict[str, _Item] = {}
    for module in modules(package):
        for item in vars(module).values():
            if isinstance(item, type) and issubclass(item, base) and item.name and item.__module__ == module.__name__:
                if item.name in found:
                    raise ModelError(f"{what} {item.name} is defined twice")
                found[item.name] = item()
    return found


def make_callable(package: str, module: str) -> None:
    """Let a package stand for the function of its own name, which one of its modules defines.

    Importing a submodule binds a package to its name in its parent, where users expect the function of that name.
    """
    class Callable(ModuleType):
        def __call__(self, *args, **options):
            function = getattr(importlib.import_module(f"{package}.{module}"), package.rpartition(".")[2])
            return function(*args, **options)

    sys.modules[package].__class__ = Callable

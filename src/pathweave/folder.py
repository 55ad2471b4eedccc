"""Folders that are registries: what lies in one belongs to it by being there."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Protocol, TypeVar

from .errors import ModelError


class Named(Protocol):
    """What a folder can register: it has a name of its own."""

    name: str


_Item = TypeVar("_Item", bound=Named)


def modules(package: str) -> list[ModuleType]:
    """The modules and packages in a package's folder, by name; names that start with an underscore are left out."""
    folder = importlib.import_module(package)
    names = sorted(info.name for info in pkgutil.iter_modules(folder.__path__) if not info.name.startswith("_"))
    return [importlib.import_module(f"{package}.{name}") for name in names]


def instances_in(module: ModuleType, base: type[_Item]) -> dict[str, _Item]:
    """One instance of every subclass of `base` that a module defines, by its `name`; "" is left out. Raises ModelError where
    two share a name."""
    found: dict[str, _Item] = {}
    for item in vars(module).values():
        if isinstance(item, type) and issubclass(item, base) and item.name and item.__module__ == module.__name__:
            if item.name in found:
                raise ModelError(f"{item.name} is defined twice in {module.__name__}")
            found[item.name] = item()
    return found


def instances(package: str, base: type[_Item], what: str) -> dict[str, _Item]:
    """One instance of every subclass of `base` that the modules in a folder define, by its `name`; "" is left out.

    Raises ModelError where two share a name.
    """
    found: dict[str, _Item] = {}
    for module in modules(package):
        for name, item in instances_in(module, base).items():
            if name in found:
                raise ModelError(f"{what} {name} is defined twice")
            found[name] = item
    return found

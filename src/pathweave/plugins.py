"""Plugins: installed packages that add devices, layer kinds, importers and more, by an entry point (docs/plugins.md).

An entry point of the group `pathweave.plugins` names a module, or an object in one: the plugin's root. Its attributes, or the
modules in its folder, of the names in PARTS are what folders of this package are: a package whose modules are collected, one
module, or a list of modules. `devices` are paths of libraries, or a function that gives some. A root is imported when the first
part is asked for, a part when its kind of thing is. A part that cannot be used is left out, with one PluginWarning.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from .errors import ModelError, PluginError
from .folder import modules
from .locks import lock

#: The group of entry points.
GROUP = "pathweave.plugins"
#: The environment variable that turns plugins off, with any value but nothing and 0.
SWITCH = "PATHWEAVE_NO_PLUGINS"
#: What a plugin may have, and how a message calls it.
PARTS = {"devices": "devices", "layers": "layer kinds", "importers": "importers", "onnx_operators": "operators of ONNX",
         "regions": "regions", "passes": "passes", "cases": "conformance cases", "commands": "commands"}

_Item = TypeVar("_Item")


class PluginWarning(UserWarning):
    """A plugin, or a part of one, is left out."""


class Plugin:
    """One entry point of an installed package.

    `name`: of the entry point. `package`, `version`: of the distribution that has it. `target`: what it names.
    `added`: part -> names of what was taken from it so far. `faults`: part, or "" for the whole plugin -> why it is left out.
    """

    def __init__(self, name: str, package: str, version: str, target: str, load: Callable[[], Any]):
        self.name, self.package, self.version, self.target = name, package, version, target
        self.added: dict[str, tuple[str, ...]] = {}
        self.faults: dict[str, PluginError] = {}
        self._load = load

    def __str__(self) -> str:
        return f"plugin {self.name!r} of the package {self.package} {self.version}"

    def modules(self, part: str) -> list[ModuleType]:
        """The modules of a part; none where the plugin has no such part. What imports raise is not caught, but that of the root
        leaves the plugin out."""
        found = self._part(part)
        if found is None:
            return []
        listed = found if isinstance(found, (list, tuple)) else [found]
        return [m for item in listed for m in _modules_of(item, part)]

    def libraries(self) -> list[str]:
        """Absolute paths of the device libraries. Raises PluginError for what is none, and what the plugin raises."""
        found = self._part("devices")
        paths = [] if found is None else [os.fspath(p) for p in _paths_of(found)]
        whole = [os.path.join(self._folder(), p) for p in paths]  # which leaves absolute paths as they are
        for path in whole:
            if not os.path.isfile(path):
                raise PluginError(f"{path} is no file; expected a device library: build or install the package again")
        return whole

    def leave_out(self, part: str, reason: BaseException) -> None:
        """Keep why a part, or with "" the whole plugin, is left out; warn the first time."""
        why = str(reason) if isinstance(reason, PluginError) else f"{type(reason).__name__}: {reason}"
        what = f"its {PARTS.get(part, part)} are left out" if part else "it is left out"
        fault = PluginError(f"{self}: {what}: {why}. What to do: correct, update or uninstall {self.package}; {SWITCH}=1 turns "
                            f"plugins off")
        fault.__cause__ = reason
        if self.faults.setdefault(part, fault) is fault:
            warnings.warn(str(fault), PluginWarning, stacklevel=3)

    def _part(self, part: str) -> Any:
        """The root's attribute, or the module in its folder; None where there is neither."""
        if "" in self.faults:
            return None
        try:
            root = self._load()
        except (Exception, SystemExit) as e:  # whatever a stranger's module does
            self.leave_out("", e)
            return None
        found = getattr(root, part, None)
        if found is None and isinstance(root, ModuleType) and hasattr(root, "__path__"):
            name = f"{root.__name__}.{part}"
            return importlib.import_module(name) if importlib.util.find_spec(name) else None
        return found

    def _folder(self) -> str:
        """The folder of the root's module, which relative paths start from."""
        module = sys.modules[self.target.partition(":")[0].strip()]
        return os.path.dirname(os.path.abspath(module.__file__ or ""))


def _modules_of(item: Any, part: str) -> list[ModuleType]:
    """A module, or what lies in a package's folder; both by name, too."""
    if isinstance(item, str):
        item = importlib.import_module(item)
    if not isinstance(item, ModuleType):
        raise PluginError(f"expected a package, a module or a list of modules as {part}, got {type(item).__name__}")
    if item.__name__.partition(".")[0] == __package__:
        raise PluginError(f"{part} is {item.__name__}, which pathweave has already; expected modules of the plugin's own")
    return modules(item.__name__) if hasattr(item, "__path__") else [item]


def _paths_of(found: Any) -> Iterator[str | os.PathLike[str]]:
    """What `devices` says: a path, several, a function that gives some, or a module with such a function `libraries`."""
    if isinstance(found, ModuleType):
        found = found.libraries
    if callable(found):
        found = found()
    for path in [found] if isinstance(found, (str, os.PathLike)) else found:
        if not isinstance(path, (str, os.PathLike)):
            raise PluginError(f"expected paths of libraries as devices, got {type(path).__name__}")
        yield path


# ---- which there are ------------------------------------------------------------------------------------------------

_lock = lock()
_known: list[tuple[Plugin, ...]] = []


def installed() -> tuple[Plugin, ...]:
    """The plugins of this process, by name and package; none where PATHWEAVE_NO_PLUGINS is set. Imports none of them."""
    with _lock:
        if not _known:
            _known.append(tuple(_found()) if are_on() else ())
        return _known[0]


def are_on() -> bool:
    """False where PATHWEAVE_NO_PLUGINS turns plugins off."""
    return os.environ.get(SWITCH, "") in ("", "0")


def _found() -> Iterable[Plugin]:
    if "importlib.metadata" not in sys.modules and not _is_mentioned():
        return []
    from importlib.metadata import entry_points
    found = {}
    for entry in entry_points(group=GROUP):
        package, version = (entry.dist.name, entry.dist.version) if entry.dist else ("", "")
        found[entry.name, package] = Plugin(entry.name, package, version, entry.value, entry.load)
    return [found[key] for key in sorted(found)]


def _is_mentioned() -> bool:
    """True where an installed package may have an entry point of the group. This looks at files, since importing
    importlib.metadata takes a third of the time that `pathweave --help` takes."""
    for place in sys.path:
        try:
            with os.scandir(place or ".") as entries:
                folders = [e.path for e in entries if e.name.endswith((".dist-info", ".egg-info"))]
        except NotADirectoryError:  # an archive
            return True
        except OSError:
            continue
        for folder in folders:
            try:
                if GROUP.encode() in Path(folder, "entry_points.txt").read_bytes():
                    return True
            except OSError:  # most packages have no entry points
                continue
    return False


# ---- what they add --------------------------------------------------------------------------------------------------

def collect(package: str, part: str, items: Callable[[ModuleType], dict[str, _Item]], what: str) -> dict[str, _Item]:
    """What `items` finds in the modules of a package's folder, and then in those of a part of each plugin, by name.

    A plugin's part is left out where it cannot be imported, or where a name is taken. Raises ModelError where two modules of
    the package itself share a name.
    """
    found: dict[str, _Item] = {}
    owners: dict[str, str] = {}
    for module in modules(package):
        for name, item in items(module).items():
            if name in found:
                raise ModelError(f"{what} {name} is defined twice")
            found[name], owners[name] = item, "pathweave itself"
    for plugin in installed():
        try:
            new: dict[str, _Item] = {}
            for module in plugin.modules(part):
                for name, item in items(module).items():
                    if name in found or name in new:
                        raise PluginError(f"{what} {name!r} is defined by {owners.get(name, 'another module of it')} already; "
                                          f"expected a name that nobody else has")
                    new[name] = item
        except (Exception, SystemExit) as e:  # whatever a stranger's module does
            plugin.leave_out(part, e)
            continue
        found.update(new)
        owners.update(dict.fromkeys(new, str(plugin)))
        if new:
            plugin.added[part] = tuple(new)
    return found


def by_module(*required: str) -> Callable[[ModuleType], dict[str, ModuleType]]:
    """For `collect`: a module by the last word of its name, where it has all attributes that are required."""
    def items(module: ModuleType) -> dict[str, ModuleType]:
        name = module.__name__.rpartition(".")[2]
        return {name: module} if all(hasattr(module, a) for a in required) else {}
    return items


def open_devices(open_library: Callable[[str], list[dict[str, Any]]]) -> None:
    """Open the device libraries of all plugins. `open_library` gives the devices of one as `pathweave.devices` lists them.

    A library that is none is a fault of its plugin; a device that is absent here is listed with its reason.
    """
    for plugin in installed():
        try:
            opened = [(path, device) for path in plugin.libraries() for device in open_library(path)]
            faulty = [f"{path}: {d['reason']}" for path, d in opened if not d["name"]]
            if any(d["name"] for _, d in opened):
                plugin.added["devices"] = tuple(d["name"] for _, d in opened if d["name"])
            if faulty:
                raise PluginError("; ".join(faulty))
        except (Exception, SystemExit) as e:  # whatever a stranger's function does
            plugin.leave_out("devices", e)


def owner(part: str, name: str) -> Plugin | None:
    """The plugin that added a thing of a part that has been collected; None for what is pathweave's own."""
    return next((p for p in installed() if name in p.added.get(part, ())), None)


def left_out(part: str) -> str:
    """Sentences on what plugins lack of a part, to end a message about a thing that is not there; "" where nothing does."""
    return "".join(f"; {fault}" for p in installed() for key, fault in p.faults.items() if key in ("", part)) \
        or (f"; {SWITCH} turns plugins off" if not are_on() else "")


def include_folder() -> str:
    """The folder to give to a C compiler with -I, so that `#include "pathweave/plugin.h"` finds the contract of a device."""
    own = Path(__file__).resolve().parent
    return str(next(f for f in (own / "include", own.parents[1] / "include") if (f / "pathweave" / "plugin.h").is_file()))

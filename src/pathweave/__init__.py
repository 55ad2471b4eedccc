"""pathweave: makes a trained network as fast as this machine allows, and proves how it chose.

    import pathweave as pw
    model = pw.load("resnet50.onnx")
    y = model(x)                               # runs at once, with a default route
    tuned = pw.tune(model)                     # measures, solves, races
    tuned.save("resnet50.pw")

Every public name is imported when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what type checkers and editors see; `_PUBLIC` has the same names
    from . import errors as errors
    from .errors import Error as Error
    from .net.format import Format as Format
    from .net.net import Layer as Layer
    from .net.net import Net as Net
    from .net.net import TensorSpec as TensorSpec
    from .net.problem import Problem as Problem
    from .net.route import Route as Route
    from .net.state import State as State
    from .plugins import include_folder as include_folder
    from .profiling.profile import Profile as Profile
    from .profiling.protocol import profile as profile
    from .runtime.calibrate import CalibrationWarning as CalibrationWarning
    from .runtime.devices import devices as devices
    from .runtime.devices import open_plugin as open_plugin
    from .runtime.devices import routines as routines
    from .runtime.model import LoadedModel as Model  # noqa: F401  (the name differs)
    from .runtime.model import default_route as default_route
    from .runtime.model import load as load
    from .runtime.model import plan as plan
    from .runtime.plan import Plan as Plan
    from .runtime.pool import Pool as Pool
    from .runtime.routes import RouteWarning as RouteWarning
    from .runtime.session import Session as Session
    from .runtime.state import StatefulSession as StatefulSession
    from .tuning.api import solve as solve
    from .tuning.api import tune as tune

__version__ = "0.1.0"

#: Public name -> (module, attribute).
_PUBLIC = {
    "load": ("pathweave.runtime.model", "load"),
    "plan": ("pathweave.runtime.model", "plan"),
    "profile": ("pathweave.profiling.protocol", "profile"),
    "solve": ("pathweave.tuning.api", "solve"),
    "tune": ("pathweave.tuning.api", "tune"),
    "devices": ("pathweave.runtime.devices", "devices"),
    "open_plugin": ("pathweave.runtime.devices", "open_plugin"),
    "include_folder": ("pathweave.plugins", "include_folder"),
    "routines": ("pathweave.runtime.devices", "routines"),
    "default_route": ("pathweave.runtime.model", "default_route"),
    "Model": ("pathweave.runtime.model", "LoadedModel"),
    "Net": ("pathweave.net.net", "Net"),
    "Layer": ("pathweave.net.net", "Layer"),
    "TensorSpec": ("pathweave.net.net", "TensorSpec"),
    "Format": ("pathweave.net.format", "Format"),
    "Problem": ("pathweave.net.problem", "Problem"),
    "Profile": ("pathweave.profiling.profile", "Profile"),
    "Route": ("pathweave.net.route", "Route"),
    "State": ("pathweave.net.state", "State"),
    "Plan": ("pathweave.runtime.plan", "Plan"),
    "Pool": ("pathweave.runtime.pool", "Pool"),
    "Session": ("pathweave.runtime.session", "Session"),
    "StatefulSession": ("pathweave.runtime.state", "StatefulSession"),
    "RouteWarning": ("pathweave.runtime.routes", "RouteWarning"),
    "CalibrationWarning": ("pathweave.runtime.calibrate", "CalibrationWarning"),
    "Error": ("pathweave.errors", "Error"),
    "errors": ("pathweave.errors", ""),
}

__all__ = [*_PUBLIC, "__version__"]


class _Package(ModuleType):
    """The package itself, with public names that come to be when they are first used."""

    def __getattr__(self, name: str) -> Any:
        if name not in _PUBLIC:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}; "
                                 f"its public names are {', '.join(_PUBLIC)}")
        module, attribute = _PUBLIC[name]
        value = importlib.import_module(module)
        if attribute:
            value = getattr(value, attribute)
        self.__dict__[name] = value
        return value

    def __dir__(self) -> list[str]:
        return sorted(__all__)


sys.modules[__name__].__class__ = _Package

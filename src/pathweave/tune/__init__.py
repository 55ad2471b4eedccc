"""Candidates and costs, solvers, the race, and the tuner that puts them together.

The package is also the function `pathweave.tune`: see `api.tune`.
"""

import sys
from types import ModuleType


class _Callable(ModuleType):
    """Importing a submodule binds this package to the name `tune` of its parent, where users expect the function of
    that name; so the package can be called as well."""

    def __call__(self, *args, **options):
        from .api import tune
        return tune(*args, **options)


sys.modules[__name__].__class__ = _Callable

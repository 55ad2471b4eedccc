"""What was measured on which machine: measurements, the store that keeps them, profiles, host fingerprints.

The package is also the function `pathweave.profile`: see `protocol.profile`.
"""

import sys
from types import ModuleType


class _Callable(ModuleType):
    """Importing a submodule binds this package to the name `profile` of its parent, where users expect the function of
    that name; so the package can be called as well."""

    def __call__(self, *args, **options):
        from .protocol import profile
        return profile(*args, **options)


sys.modules[__name__].__class__ = _Callable

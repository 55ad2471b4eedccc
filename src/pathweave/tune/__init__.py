"""Candidates and costs, solvers, the race, and the tuner that puts them together.

The package is also the function `pathweave.tune`: see `api.tune`.
"""

from ..folder import make_callable

make_callable(__name__, "api")

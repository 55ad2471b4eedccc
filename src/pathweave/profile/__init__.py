"""What was measured on which machine: measurements, the store that keeps them, profiles, host fingerprints.

The package is also the function `pathweave.profile`: see `protocol.profile`.
"""

from ..folder import make_callable

make_callable(__name__, "protocol")

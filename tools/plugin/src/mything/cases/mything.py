"""Cases of mything."""

from __future__ import annotations

from pathweave.testing import case

CASES = [case("mything", shape) for shape in ((1,), (3, 17), (2, 3, 5, 7))]

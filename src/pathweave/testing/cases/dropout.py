"""Cases of dropout that is told whether the model is trained."""

from __future__ import annotations

from ...net.net import TensorSpec
from .. import case

_TRUTH = TensorSpec("bool", ())

CASES = [case("dropout", x, (), _TRUTH, values=("", "ends:0.0", "")) for x in ((3, 17), (1, 2, 3, 4))]

"""What quantised routines of a layer kind must give, to the bit, where that is neither an integer sum nor a meaning.

One file per family; a file is found by being there. It defines `KIND`, and `values(case, arrays, scales)`: the outputs in u8
from inputs in u8 (other inputs as they are) and the scales of inputs and outputs; None where the kind has no rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from ...folder import modules

if TYPE_CHECKING:
    import numpy as np

    from ...net.scales import Scale
    from .. import Case


#: `values` of a file.
Rule: TypeAlias = "Callable[[Case, Sequence[np.ndarray | None], Sequence[Scale]], list[np.ndarray] | None]"


@lru_cache(maxsize=1)
def rules() -> dict[str, Rule]:
    """Layer kind -> `values`."""
    return {module.KIND: module.values for module in modules(__name__)}

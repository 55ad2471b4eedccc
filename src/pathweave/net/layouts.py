"""The table of layouts: how values lie in memory. It stands here alone.

The build runs cmake/layouts.py, which writes the same rows for the core (`types/layouts.inc`). The table is Python, since this
package reads it without the core, and a source tree without a build must do so too. This file imports nothing of the package,
so that the build can run it by itself.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple


class Layout(NamedTuple):
    """How the values of a layout lie in memory, one number after the other and nothing padded.

    `rank`: of the values that it is for; None: of every rank that no other row-major layout is for. `order`: the logical axis
    of every dimension in memory, outermost first; () for the logical order itself. `block`: 0, or the channels (axis 1), whose
    number it divides, are cut into blocks of so many, which are one more dimension, the innermost.
    """

    rank: int | None
    order: tuple[int, ...] = ()
    block: int = 0

    @property
    def row_major(self) -> bool:
        """True where memory has the logical order."""
        return not self.block and self.order == tuple(sorted(self.order))

    @property
    def channels(self) -> str:
        """Where the channels lie: "first" in the row-major order, "last", or "in blocks"."""
        return "in blocks" if self.block else "first" if self.row_major else "last"

    @property
    def back(self) -> tuple[int, ...]:
        """The dimension in memory, blocks apart, of every logical axis."""
        return tuple(self.order.index(axis) for axis in range(len(self.order)))


#: Everything that is known of a layout. The logical axes are N, C and then those of space: L of rank 3, H, W of rank 4 and
#: D, H, W of rank 5. A form that packs rows (`bf16x2`) packs those of the innermost dimension. The order is that of the codes
#: in the core; new layouts go to the end. Routes and problem texts name layouts, so that no name changes.
LAYOUTS = {
    "plain": Layout(None),
    "nchw": Layout(4, (0, 1, 2, 3)),
    "nhwc": Layout(4, (0, 2, 3, 1)),
    "nchw16c": Layout(4, (0, 1, 2, 3), block=16),
    "nlc": Layout(3, (0, 2, 1)),
    "ndhwc": Layout(5, (0, 2, 3, 4, 1)),
}
#: The row-major layout of a rank; that of None is for all others.
ROW_MAJOR = {facts.rank: name for name, facts in LAYOUTS.items() if facts.row_major}
#: The layouts among which a whole net chooses; an earlier one wins a tie. Values of another rank lie as `alike` says.
UNIFORM_LAYOUTS = ("nhwc", "nchw16c", "nchw")
#: Layouts in which routines compute, so that chains of conversions may lead through them.
PASSED_LAYOUTS = (*ROW_MAJOR.values(), *(layout for layout in UNIFORM_LAYOUTS if layout not in ROW_MAJOR.values()))


@cache
def alike(layout: str) -> tuple[str, ...]:
    """Where the channels of every rank lie as in this layout, the layout itself first; `plain` is one of them, since values
    without channels lie in it."""
    own = LAYOUTS[layout]
    others = (x for x, facts in LAYOUTS.items() if facts.channels == own.channels and facts.rank != own.rank)
    return tuple(dict.fromkeys((layout, *others, "plain")))

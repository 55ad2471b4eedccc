"""Rows of layers in blocks: indented below the layer that has the block, behind a row for the block itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..runtime.builder import CONTROL
from .tables import Column

if TYPE_CHECKING:
    from ..runtime.flat import Flat
    from ..runtime.plan import Step


def show_runs(count: Any) -> str:
    """How often a block runs in a call: `4`, `0.1`; "" for None."""
    return "" if count is None else f"{count:g}"


#: How often what a row is about runs in a call; only in tables of nets with blocks.
RUNS = Column("runs", "runs", show_runs, True)


class Blocks:
    """Where the steps of a plan of `flat` stand in a table. `counts`: how often blocks run in a call, as far as it is known."""

    def __init__(self, flat: Flat, counts: Mapping[str, float] | None = None):
        self.flat, self.counts = flat, counts or {}
        self._headed: set[str] = set()

    def block(self, step: Step) -> str:
        """The block in which a step runs, "" for the net itself."""
        if not step.value:
            return self.flat.place[step.layer].block
        value = self.flat.origin(step.value)
        return self.flat.block_of(value) if self.flat.knows(value) else ""

    def runs(self, block: str) -> float | None:
        """How often a block runs in a call, 1 for the net itself; None where nobody knows."""
        return self.counts.get(block) if block else 1.0

    def depth(self, block: str) -> int:
        """How many layers with blocks stand around what is in a block."""
        return 0 if not block else 1 + self.depth(self.flat.owner(block).block)

    def shown(self, name: str, block: str) -> str:
        """A name without that of the block, indented."""
        return "    " * self.depth(block) + (name.removeprefix(f"{block}/") if block else name)

    def heading(self, block: str) -> dict[str, Any] | None:
        """The row of a block, the first time that it is asked for; None for the net itself."""
        if not block or block in self._headed:
            return None
        self._headed.add(block)
        owner = self.flat.owner(block)
        word = block.removeprefix(f"{owner.layer.name}/")
        return {"name": block, "layer": "    " * self.depth(owner.block) + f"  {word}:", "runs": self.runs(block)}


def is_control(step: Step) -> bool:
    """True for a step that a layer with blocks has beside those of its blocks."""
    return step.routine == CONTROL

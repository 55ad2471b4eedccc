"""The text of a variant: what the routine calls it, and what the runtime and the solver put behind."""

from __future__ import annotations

from typing import NamedTuple

_ALONE = "+1thread"
_REGION = " for "


class Variant(NamedTuple):
    """`own`, `own+1thread`, each with ` for REGION` behind it.

    `own`: as the routine itself calls it. `alone`: one thread runs it while the others of the plan go on to the next step.
    `region`: name of the region that it stands for in the solver and in `explain`, "" for a layer's own.
    """

    own: str
    alone: bool = False
    region: str = ""

    @classmethod
    def parse(cls, text: str) -> Variant:
        """The parts of a text, whatever it is; `str` gives the text back."""
        rest, _, region = text.partition(_REGION)
        if not region:
            rest = text
        return cls(rest.removesuffix(_ALONE), rest.endswith(_ALONE), region)

    def for_region(self, name: str) -> Variant:
        """The same, standing for a region."""
        return self._replace(region=name)

    @property
    def level(self) -> int | None:
        """How many levels of halving a routine makes that calls its variants `levelN/...`; None for others."""
        word = self.own.partition("/")[0]
        number = word.removeprefix("level")
        return int(number) if number != word and number.isascii() and number.isdigit() else None

    def __str__(self) -> str:
        return self.own + _ALONE * self.alone + (_REGION + self.region if self.region else "")


#: As a restriction names what one thread runs.
ALONE_WORD = _ALONE[1:]

"""What a measurement says of its routine beyond its name, so that a solver needs no catalogue: ports, class, memory."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ..errors import ModelError, ProfileError
from ..net.format import Format


class About(NamedTuple):
    """`ins`, `outs`: formats of the dynamic inputs and of the outputs. `accuracy`: class. `memory`: bytes of packed
    constants and workspace. `reference`: a slow and simple routine. `emulated`: its times are no wall time. `threads`: its
    times depend on the number of threads."""

    ins: tuple[Format, ...]
    outs: tuple[Format, ...]
    accuracy: str = "strict"
    memory: int = 0
    reference: bool = False
    emulated: bool = False
    threads: bool = True

    def text(self) -> str:
        """One line of JSON; equal facts give equal texts."""
        data: dict[str, Any] = {"ins": list(map(str, self.ins)), "outs": list(map(str, self.outs)),
                                "accuracy": self.accuracy, "memory": self.memory}
        data |= {name: True for name in ("reference", "emulated") if getattr(self, name)}
        data |= {} if self.threads else {"threads": False}
        return json.dumps(data, separators=(",", ":"))

    @staticmethod
    def goes_by_threads(text: str) -> bool:
        """Whether the times of a measurement with this text depend on the number of threads; they do where it is none."""
        return '"threads":false' not in text

    @staticmethod
    def parse(text: str) -> About:
        """Read what `text` wrote. Raises ProfileError on anything else."""
        try:
            data = json.loads(text)
            ins, outs = (tuple(Format.parse(f) for f in data[k]) for k in ("ins", "outs"))
            accuracy, memory = str(data["accuracy"]), int(data["memory"])
            return About(ins, outs, accuracy, memory, bool(data.get("reference")), bool(data.get("emulated")),
                         bool(data.get("threads", True)))
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError, ModelError) as e:
            shown = text if len(text) <= 80 else text[:77] + "..."
            raise ProfileError(f"profile: expected a description of a routine's ports, got {shown!r} ({e}); "
                               f"the record is damaged or of another version: measure again") from None

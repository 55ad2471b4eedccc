"""Files of our own that were good: bits flipped, parts cut, doubled or moved; plain, packed, quantised and tuned ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ....files.model import damage
from .. import models, mutate, use
from ..target import Target


class PwBytes(Target):
    """A case: a file."""

    name = "pw_bytes"
    weight = 8.8  # 20,000 of 120,000
    suffix = ".pw"

    def prepare(self, folder: Path) -> None:
        self.bases = list(models.pw_models(folder).values())

    def make(self, rng: np.random.Generator) -> bytes:
        base, part = mutate.pick(rng, self.bases), int(rng.integers(3))
        end = 8 + int.from_bytes(base[:8], "little")
        if part == 0:
            return mutate.flip(base, rng)
        if part == 1:  # weights
            return base[:end] + mutate.flip(base[end:], rng)[:len(base) - end].ljust(len(base) - end, b"\x7f")
        head = mutate.flip(base[8:end], rng)
        return len(head).to_bytes(8, "little") + head + base[end:]

    def run(self, data: bytes, folder: Path) -> None:
        open_file(data, folder)


def open_file(data: bytes, folder: Path) -> None:
    """What users do with a file: look for damage, load it mapped and as a copy, use it."""
    path = folder / "case.pw"
    path.write_bytes(data)
    damage(path)
    options: dict[str, Any] = {} if len(data) % 2 else {"mapped": False}
    use.exercise(path, folder, use.number_of_threads(data), **options)

"""ONNX files that were good: bits flipped, parts cut or doubled, lengths and numbers blown up, names exchanged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .. import models, mutate, use
from ..target import Target


class OnnxBytes(Target):
    """A case: a file."""

    name = "onnx_bytes"
    weight = 4
    suffix = ".onnx"

    def prepare(self, folder: Path) -> None:
        self.bases = list(models.onnx_models().values())

    def make(self, rng: np.random.Generator) -> bytes:
        base = mutate.pick(rng, self.bases)
        return mutate.onnx_bytes(base, rng)

    def run(self, data: bytes, folder: Path) -> None:
        path = folder / "case.onnx"
        path.write_bytes(data)
        use.exercise(data if len(data) % 2 else path, folder, use.number_of_threads(data))

    def mutate(self, data: bytes, rng: np.random.Generator) -> bytes:
        return mutate.onnx_bytes(data, rng)

    def simpler(self, data: bytes) -> Iterator[bytes]:
        return mutate.simpler_onnx(data)

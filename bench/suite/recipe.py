"""What a net of the suite is: a module, inputs at several sizes, and which axes are free in the exported file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SEED = 0


@dataclass(frozen=True)
class Recipe:
    """How one net is made.

    `build`: gives the module, with weights from torch's global generator. `inputs`: sizes by keyword -> arrays by name, in
    the order of the module's arguments. `sizes`: sets of sizes; the first is exported, all are checked. `axes`: input ->
    axis -> the size that it has, for axes that are free in the file. `exporters`: those of exporters.py that write it.
    """

    build: Callable[[], Any]
    inputs: Callable[..., dict[str, np.ndarray]]
    sizes: Sequence[Mapping[str, int]]
    axes: Mapping[str, Mapping[int, str]]
    exporters: Sequence[str] = ("l", "d")


def normal(*shape: int, seed: int = SEED) -> np.ndarray:
    """Normal numbers, float32."""
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape, np.float32)


def tokens(*shape: int, least: int = 3, most: int = 99, seed: int = SEED) -> np.ndarray:
    """Ids from `least` to below `most`, int64."""
    return np.random.default_rng(seed + sum(shape)).integers(least, most, shape, np.int64)


def mask(batch: int, length: int) -> np.ndarray:
    """Ones, with the last quarter of the second half of the batch masked, int64."""
    ones = np.ones((batch, length), np.int64)
    ones[batch // 2 if batch > 1 else batch:, length - length // 4:] = 0
    return ones


def image(build: Callable[[], Any], size: int = 224, batches: Sequence[int] = (1, 2, 3), free: bool = False, channels: int = 3,
          exporters: Sequence[str] = ("l", "d"), step: int = 32) -> Recipe:
    """A net of images [N, channels, size, size] with a free batch; with `free` height and width are free, too."""
    sizes = [{"n": n, "h": size + (step * i if free else 0), "w": size + (2 * step * i if free else 0)}
             for i, n in enumerate(batches)]
    axes = {0: "n", 2: "h", 3: "w"} if free else {0: "n"}
    return Recipe(build, lambda n, h, w: {"x": normal(n, channels, h, w)}, sizes, {"x": axes}, exporters)


def sequence(build: Callable[[], Any], lengths: Sequence[int] = (16, 7, 33), most: int = 99, with_mask: bool = False,
             exporters: Sequence[str] = ("l", "d")) -> Recipe:
    """A net of token ids [N, length], both free; with `with_mask` an attention mask of the same shape comes second."""
    def inputs(n: int, length: int) -> dict[str, np.ndarray]:
        found = {"input_ids": tokens(n, length, most=most)}
        return {**found, "attention_mask": mask(n, length)} if with_mask else found
    sizes = [{"n": n, "length": length} for n, length in zip((2, 1, 3), lengths)]
    axes = {0: "n", 1: "length"}
    return Recipe(build, inputs, sizes, {"input_ids": axes, **({"attention_mask": axes} if with_mask else {})}, exporters)


def signal(build: Callable[[], Any], channels: int = 1, lengths: Sequence[int] = (1024, 1536, 2048),
           exporters: Sequence[str] = ("l", "d")) -> Recipe:
    """A net of signals [N, channels, length], or [N, length] where `channels` is 0, with N and the length free."""
    def inputs(n: int, length: int) -> dict[str, np.ndarray]:
        return {"x": normal(n, channels, length) if channels else normal(n, length)}
    sizes = [{"n": n, "length": length} for n, length in zip((1, 2, 1), lengths)]
    return Recipe(build, inputs, sizes, {"x": {0: "n", (2 if channels else 1): "length"}}, exporters)

"""Models as other frameworks know them, so that an import can be checked: one format per file, found by being in this folder.

A file whose name does not start with an underscore and that defines `opened(path, engine, options) -> Source | None` adds a
format; None stands for a file of another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...errors import InputError
from ...folder import modules

Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class Node:
    """One node of the graph as the file has it. `label`: name and operator, as messages say them."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"node {self.name!r} ({self.operator})"


class Source(Protocol):
    """A model file with an engine that runs it independently of pathweave.

    `engine`: its name and version. `advice`: a better engine, as a sentence; empty where there is none. `nodes`: those of the
    outermost graph, in an order in which they can run. `precision`: the least precise floating point that the file computes
    in: `f32`, `f16`, `bf16`, `u8`. `second`: another engine, to ask where outputs differ a little; None where there is none.
    """

    engine: str
    advice: str
    nodes: Sequence[Node]
    precision: str
    second: str | None

    def reference(self, outputs: Sequence[str], engine: str | None = None) -> Callable[[Arrays], dict[str, np.ndarray]]:
        """What the engine, or `second`, computes for some values of the graph, from the model's inputs by name."""

    def load(self, outputs: Sequence[str]) -> Any:
        """The model with these values as its outputs, as pathweave imports it."""

    def constant(self, value: str) -> np.ndarray | None:
        """A constant of the graph, None for another value."""


def source_of(path: str, engine: str | None = None, options: Mapping[str, Any] | None = None) -> Source:
    """The source in a file. `engine`: None for the best that is installed. `options`: of the importer. Raises InputError where
    there is none that reads it."""
    for module in modules(__name__):
        found = module.opened(path, engine, dict(options or {}))
        if found is not None:
            return found
    raise InputError(f"check: {path}: nothing here runs models of this format, so there is nothing to compare with; an ONNX "
                     "model can be checked")

"""Problem: one layer with concrete shapes, epilogue and thread count; its text is the key of the profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ModelError
from .net import Epilogue, TensorSpec
from .size import check_number_of_threads


def tensor_text(spec: TensorSpec) -> str:
    """`f32:1x3x224x224`; a rank-0 tensor is `f32:`."""
    return f"{spec.dtype}:{'x'.join(map(str, spec.shape))}"


def attr_text(value: Any) -> str:
    """Canonical text of an attribute: numbers joined by commas, a bare word, or `@DIGEST` for a block."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (tuple, list)):
        return ",".join(attr_text(v) for v in value)
    if isinstance(value, float):
        return repr(value)
    return str(value)


@dataclass(frozen=True)
class Problem:
    """One layer to be computed, without its constants' contents; only how many zeros its weights hold is told.

    Text: `KIND in=T,T,... out=T,... ATTR=VALUE ... [epilogue=E] [zeros=Z] threads=N`, attributes sorted by name,
    defaults filled in. A T is `DTYPE:DxDx...`, `const:` before it for a constant, `-` for an absent optional input.
    `zeros`: see `zeros.zeros_of`, "" for dense weights.
    """

    text: str
    kind: str
    inputs: tuple[TensorSpec | None, ...]
    constant: tuple[bool, ...]
    outputs: tuple[TensorSpec, ...]
    attrs: tuple[tuple[str, Any], ...]
    epilogue: Epilogue
    threads: int
    zeros: str = ""

    def __str__(self) -> str:
        return self.text

    @staticmethod
    def make(kind: str, inputs: Sequence[TensorSpec | None], constant: Sequence[bool], outputs: Sequence[TensorSpec],
             attrs: Mapping[str, Any], epilogue: Epilogue = Epilogue(), threads: int = 1, zeros: str = "") -> "Problem":
        """Build a problem and its canonical text. `attrs` must hold every attribute of the kind. Raises InputError for a
        number of threads that no team has, ModelError for what is of another type."""
        check_number_of_threads(threads)
        _check(kind, inputs, constant, outputs, attrs, epilogue)
        ins = ["-" if s is None else ("const:" if c else "") + tensor_text(s) for s, c in zip(inputs, constant)]
        parts = [kind, "in=" + ",".join(ins), "out=" + ",".join(tensor_text(s) for s in outputs)]
        parts += [f"{k}={attr_text(v)}" for k, v in sorted(attrs.items())]
        if epilogue:
            parts.append(f"epilogue={epilogue}")
        if zeros:
            parts.append(f"zeros={zeros}")
        parts.append(f"threads={threads}")
        return Problem(" ".join(parts), kind, tuple(inputs), tuple(constant), tuple(outputs),
                       tuple(sorted(attrs.items())), epilogue, threads, zeros)

    def with_threads(self, threads: int) -> "Problem":
        """The same problem for another number of threads."""
        return Problem.make(self.kind, self.inputs, self.constant, self.outputs, dict(self.attrs), self.epilogue, threads,
                            self.zeros)


def _check(kind: Any, inputs: Any, constant: Any, outputs: Any, attrs: Any, epilogue: Any) -> None:
    """Raise ModelError for an argument of a problem that is of another type."""
    for what, good, wanted, got in (
            ("kind", isinstance(kind, str), "text", kind),
            ("inputs", isinstance(inputs, (list, tuple)) and all(s is None or isinstance(s, TensorSpec) for s in inputs),
             "a list of TensorSpec, None where one is absent", inputs),
            ("constant", isinstance(constant, (list, tuple)), "a list of bool", constant),
            ("outputs", isinstance(outputs, (list, tuple)) and all(isinstance(s, TensorSpec) for s in outputs),
             "a list of TensorSpec", outputs),
            ("attrs", isinstance(attrs, Mapping), "a mapping", attrs),
            ("epilogue", isinstance(epilogue, Epilogue), "an Epilogue", epilogue)):
        if not good:
            raise ModelError(f"problem: {what}: expected {wanted}, got {got!r}")


def adapt_problem(spec: TensorSpec, source: object, target: object, threads: int) -> Problem:
    """The problem of turning one value from format `source` to format `target`."""
    return Problem.make("adapt", [spec], [False], [spec], {"source": str(source), "target": str(target)},
                        threads=threads)

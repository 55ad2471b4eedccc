"""Cases of the conformance suite: small problems of every layer kind, shipped so that a plugin can run them.

One file of `cases/` per family; a file is found by being there. It defines `CASES`, a list of `Case`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from ..errors import ModelError
from ..layers import compute, infer_layer, kind_of
from ..layers.dense import Product
from ..locks import cached_property
from ..net.accuracy import largest_error
from ..net.format import numpy_dtype
from ..net.net import Epilogue, Layer, TensorSpec
from ..net.problem import Problem
from ..net.zeros import zeros_of
from ..plugins import collect
from . import cases as _folder  # imported before the function of the same name takes its place in this module

#: A shape of an image, and shapes of all ranks; and what stands for an input of a case: its shape, of f32, or its spec.
Image: TypeAlias = "tuple[int, int, int, int]"
Shape: TypeAlias = "tuple[int, ...]"
Given: TypeAlias = "Shape | TensorSpec"
#: Attributes of a layer by name, and arguments of `case`.
Attrs: TypeAlias = "dict[str, Any]"


#: A bound of elements that depend on contents is taken for no bound beyond this.
MOST_FOUND = 1 << 20


@dataclass(frozen=True)
class Case:
    """One layer on concrete shapes, with a way to make its inputs.

    `inputs` has one spec per layer input (None = absent), the epilogue's residual last. `constant`: which of them are
    constants of the net. `values`: per input a word that says what to fill it with, see `fill`.
    """

    name: str
    kind: str
    attrs: Mapping[str, Any]
    inputs: tuple[TensorSpec | None, ...]
    constant: tuple[bool, ...]
    epilogue: Epilogue = Epilogue()
    values: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return self.name

    def layer(self) -> Layer:
        """The layer: inputs `in0`, `in1`, ... ("" where absent), outputs `out0`, ..."""
        names = tuple(f"in{i}" if s is not None else "" for i, s in enumerate(self.inputs))
        layer = Layer(self.name, self.kind, names, (), self.attrs, self.epilogue)
        return layer.with_(outputs=tuple(f"out{i}" for i in range(len(infer_layer(layer, list(self.inputs))))))

    def outputs(self) -> list[TensorSpec]:
        """Specs of the outputs by the shape rule."""
        return infer_layer(self.layer(), list(self.inputs))

    def problem(self, threads: int = 1) -> Problem:
        """The problem that routines are asked about; an output whose size depends on contents has its upper bound, or the size
        that it has where there is none."""
        return Problem.make(self.kind, self.inputs, self.constant, self._largest,
                            kind_of(self.kind).complete(self.attrs), self.epilogue, threads, self._zeros)

    @cached_property
    def _largest(self) -> list[TensorSpec]:
        specs = [s.upper for s in self.outputs()]
        if all(s.elements <= MOST_FOUND for s in specs):
            return specs
        return [TensorSpec(s.dtype, y.shape) for s, y in zip(specs, self.reference(self.arrays()))]

    @cached_property
    def _zeros(self) -> str:
        index = kind_of(self.kind).weights
        return zeros_of(self.arrays()[index]) if index is not None and self.constant[index] else ""

    def rng(self) -> np.random.Generator:
        """A generator seeded by the name, so that a failure repeats."""
        return np.random.default_rng(zlib.crc32(self.name.encode()))

    def arrays(self, rng: np.random.Generator | None = None) -> list[np.ndarray | None]:
        """One array per input (None = absent), scaled so that outputs are of order 1; by default from `self.rng()`."""
        rng = self.rng() if rng is None else rng
        words = (*self.values, *[""] * len(self.inputs))
        return [None if s is None else fill(s, words[i] or self._word(i), rng) for i, s in enumerate(self.inputs)]

    def _word(self, index: int) -> str:
        if index == 1 and isinstance(kind_of(self.kind), Product):
            return f"scaled:{self.reduction_length()}"
        return "normal"

    def reduction_length(self) -> int:
        """How many terms the longest sum of one output element has (1 where nothing is summed)."""
        kind = kind_of(self.kind)
        inputs = list(self.inputs[:-1] if self.epilogue.add else self.inputs)
        return max(1, kind.terms(kind.complete(self.attrs), inputs))

    def reference(self, arrays: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        """Outputs by the layer's meaning, epilogue included, computed in float64 (integers stay integers)."""
        wide = [a.astype(np.float64) if a is not None and a.dtype.kind == "f" else a for a in arrays]
        with np.errstate(all="ignore"):
            return [np.asarray(y) for y in compute(self.layer(), wide)]


def fill(spec: TensorSpec, word: str, rng: np.random.Generator) -> np.ndarray:
    """An array for a spec.

    `normal` (mean 0, deviation 1), `scaled:K` (deviation 1 / sqrt(K)), `positive` (0.5 to 2), `unit` (-1 to 1),
    `wide` (deviation 4), `integral` (small integers), `nonzero` (integers without 0), `ties` (few different values),
    `special` (NaN and infinities among numbers), `ends:A,B` (A or B), `index:K` (-K to K - 1), `count:K` (0 to K),
    `small` (around 0.005), `middle` (integers around 128), `numbers:A,B,...` (these, again and again), `places:K` (0 to K - 1,
    each once along the last axis), and for weights
    [outputs, inputs, ...] `sparse:P` (P % zeros), `2of4` (two zeros in any four consecutive inputs), `blocks:P` (P % of
    the blocks of 16 outputs at one input and tap are zero), scaled like `scaled`. Integers are small; bool is even odds.
    """
    word, _, parameter = word.partition(":")
    shape, kind = spec.sizes, np.dtype(numpy_dtype(spec.dtype))
    y: np.ndarray
    if kind.kind == "b":
        y = rng.integers(0, 2, shape)
    elif word == "numbers":
        y = np.resize(np.array([float(v) if "." in v else int(v) for v in parameter.split(",") if v]), shape)
    elif word == "places":
        y = rng.permuted(np.broadcast_to(np.arange(int(parameter)), (*shape[:-1], int(parameter))), axis=-1)[..., :shape[-1]]
    elif word == "index":
        y = rng.integers(-int(parameter), int(parameter), shape)
    elif word == "count":
        y = rng.integers(0, int(parameter) + 1, shape)
    elif word == "middle":
        y = rng.integers(120, 137, shape)
    elif word == "small":
        y = rng.uniform(0.004, 0.006, shape)
    elif word == "nonzero":
        y = rng.integers(1, 10, shape) * (1 if kind.kind == "u" else rng.choice([-1, 1], shape))
    elif word == "ties":
        y = rng.integers(0, 4, shape)
    elif kind.kind in "iu" or word == "integral":
        y = rng.integers(0, 256, shape) if kind.kind == "u" else rng.integers(-100, 100, shape)
    elif word in ("positive", "unit"):
        y = rng.uniform(*((0.5, 2.0) if word == "positive" else (-1.0, 1.0)), shape)
    elif word == "special":
        y = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.5], shape)
    elif word == "ends":
        y = rng.choice([float(v) for v in parameter.split(",")], shape)
    elif word in ("sparse", "2of4", "blocks"):
        kept = _kept(shape, word, float(parameter or 0), rng)
        y = rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:])) * kept
    else:
        deviation = {"normal": 1.0, "wide": 4.0, "scaled": 1 / math.sqrt(float(parameter or 1))}[word]
        y = rng.standard_normal(shape) * deviation
    return np.asarray(y).astype(kind)


def _kept(shape: tuple[int, ...], word: str, percent: float, rng: np.random.Generator) -> np.ndarray:
    """Which weights are not zero; exactly as many as the word says, where that is a whole number."""
    if word == "2of4":
        ranks = rng.random((shape[0], -(-shape[1] // 4), 4, *shape[2:])).argsort(axis=2)
        return (ranks < 2).reshape(shape[0], -1, *shape[2:])[:, :shape[1]]
    outputs = -(-shape[0] // 16) if word == "blocks" else shape[0]
    count = outputs * math.prod(shape[1:])
    kept = (rng.permutation(count) >= round(count * percent / 100)).reshape(outputs, *shape[1:])
    return np.repeat(kept, 16, axis=0)[:shape[0]] if word == "blocks" else kept


def case(kind: str, *inputs: Given | None, name: str = "", constant: Sequence[int] = (), epilogue: str = "",
         values: Sequence[str] = (), **attrs: Any) -> Case:
    """Short form for case files.

    An input is a shape (f32), a TensorSpec, or None; `constant` lists the indices of constants; `epilogue` is the text
    of one (`add+relu`), its residual is appended. Raises ShapeError when the layer does not fit.
    """
    specs = [s if s is None or isinstance(s, TensorSpec) else TensorSpec("f32", tuple(s)) for s in inputs]
    tail, words = Epilogue.parse(epilogue), list(values)
    flags = [i in constant for i in range(len(specs))]
    outputs = infer_layer(Layer("case", kind, tuple(f"in{i}" for i in range(len(specs))), (), attrs), specs)
    if tail.add:
        words += [""] * (len(specs) - len(words)) + ["normal"]
        specs.append(outputs[0])
        flags.append(False)
    if not name:
        shapes = ",".join("-" if s is None else ("" if s.dtype == "f32" else s.dtype + ":") + "x".join(map(str,
            s.shape))
                          for s in specs)
        name = " ".join([kind, shapes, *(f"{k}={_text(v)}" for k, v in attrs.items()), *filter(None, [epilogue])])
        if words and any(words):
            name += " " + "/".join(w for w in words if w)
        if constant and not kind.startswith(("conv", "depthwise", "dense")):
            name += " const=" + ",".join(map(str, constant))
    return Case(name, kind, attrs, tuple(specs), tuple(flags), tail, tuple(words))


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def tolerance(case: Case, accuracy_class: str, dtype: str = "") -> float:
    """Largest allowed relative RMS error of a routine of an accuracy class, with that element type in its id, on a case.

    Grows with the square root of the reduction length above 1,024; 0 for kinds that round nothing, class strict.
    """
    if accuracy_class == "strict" and kind_of(case.kind).exact and not case.epilogue:
        return 0.0
    rounding = 2.0**-11 if any(s.dtype == "f16" for s in case.outputs()) else 0.0  # what a value of f16 is off by itself
    return largest_error(accuracy_class, case.reduction_length(), dtype) + rounding


@lru_cache(maxsize=1)
def _collected() -> tuple[Case, ...]:
    return tuple(collect(_folder.__name__, "cases", _cases_in, "case").values())


def _cases_in(module: ModuleType) -> dict[str, Case]:
    found: dict[str, Case] = {}
    for item in module.CASES:
        if item.name in found:
            raise ModelError(f"two cases of {module.__name__} are named {item.name!r}")
        found[item.name] = item
    return found


def cases(kind: str | None = None) -> list[Case]:
    """Every case, or those of one layer kind; names are unique."""
    return [c for c in _collected() if kind is None or c.kind == kind]

"""Partial evaluation: follow a net layer by layer with concrete input shapes, and fold what depends on shapes alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import Error, ShapeError
from ..layers.contents import FOLLOWED_ELEMENTS, resolve
from ..net.format import dtype_of, numpy_dtype
from ..net.net import Layer, TensorSpec
from ..net.size import check_value, size_bytes, surely_fits
from .evaluate import MEANING_ERRORS, run_layer

#: A folded constant may have this many bytes whatever it is made from, in a net that may be saved ...
FREE_BYTES = 1 << 20
#: ... and in one that is bound, where it takes the memory that the value itself would take ...
FREE_BYTES_BOUND = 16 << 20
#: ... and larger ones may have this many times the bytes of the constants that they are made from.
GROWTH = 2
#: All that is folded in one go may have this many bytes, and GROWTH times those of the net's constants, and take this much
#: effort (`LayerKind.effort`): a second or two.
TOTAL_BYTES = 256 << 20
TOTAL_EFFORT = 2_000_000_000
#: The contents of small values that are followed with open sizes take this much at most: a net is followed again and again.
FOLLOWED_EFFORT = TOTAL_EFFORT // 10


@dataclass
class Folding:
    """What may still be folded: bytes of one result, bytes of all, effort of all."""

    free: int = FREE_BYTES
    total: int = TOTAL_BYTES
    effort: int = TOTAL_EFFORT

    def constant(self, array: np.ndarray) -> None:
        """A constant of the net: more may be made from it."""
        self.total += GROWTH * array.nbytes


class Known:
    """Specs of layers' outputs that have been found before, for concrete inputs.

    `evaluated`: specs by value, from `OpenShapes.shapes_at`, for the layers of the net that it has followed.
    """

    def __init__(self, evaluated: Mapping[str, TensorSpec] | None = None):
        self._folding = Folding()
        self._evaluated = evaluated or {}
        self._found: dict[str, tuple[Layer, list[TensorSpec | None], list[TensorSpec]]] = {}

    def get(self, layer: Layer, specs: list[TensorSpec | None]) -> list[TensorSpec] | None:
        """Outputs of this very layer on these inputs. Raises SizeError for one that is too large."""
        found = self._found.get(layer.name)
        if found is not None and found[0] is layer and found[1] == specs:
            return found[2]
        outputs = [s for v in layer.outputs if (s := self._evaluated.get(v)) is not None] if self._evaluated else []
        if not self._evaluated or len(outputs) < len(layer.outputs):
            return None
        for value, spec in zip(layer.outputs, outputs):
            if not surely_fits(spec):
                check_value(f"layer {layer.name!r} ({layer.kind}): value {value!r}", spec)
        self.add(layer, specs, outputs)
        return outputs

    def add(self, layer: Layer, specs: list[TensorSpec | None], outputs: list[TensorSpec]) -> None:
        """Remember what was inferred."""
        self._found[layer.name] = (layer, specs, outputs)

    def folding(self) -> Folding:
        """What may be folded by the next one who follows the net: bytes are given back with it, effort is spent for all."""
        self._folding.total = TOTAL_BYTES
        return self._folding

    def forget_evaluated(self) -> None:
        """From now on layers may be others than those of the net that was followed with open sizes."""
        self._evaluated = {}


class Follower:
    """Specs of all values, and contents of the small ones that depend on constants and shapes alone.

    `known`: specs that need not be inferred again. `specs` and `contents` may be read at any time. A `lenient` follower
    leaves out what it cannot infer, and limits no size, since those of its inputs may only stand for unknown ones; a strict
    one raises the ShapeError.
    """

    def __init__(self, inputs: Mapping[str, TensorSpec], lenient: bool = False, known: Known | None = None):
        self.folding = Folding() if known is None else known.folding()
        self.specs: dict[str, TensorSpec] = dict(inputs)
        self.contents: dict[str, np.ndarray] = {}
        self.lenient = lenient
        self.limited = not lenient
        self.known = known
        self._follow_empty(inputs.items())

    def constant(self, name: str, array: np.ndarray) -> None:
        """Make a constant known."""
        self.specs[name] = TensorSpec(dtype_of(array.dtype), tuple(array.shape))
        self.contents[name] = array

    def step(self, layer: Layer) -> Layer:
        """Follow one layer; returns it with known shape inputs moved into attributes."""
        from ..layers import infer_layer, kind_of
        try:
            layer = resolve(layer, self.contents)
            if any(v and v not in self.specs for v in layer.inputs):
                return layer
            specs = [self.specs[v] if v else None for v in layer.inputs]
            settled = kind_of(layer.kind).settle(layer, specs)
            if settled.inputs != layer.inputs:
                specs = [self.specs[v] if v else None for v in settled.inputs]
            layer = settled
            outputs = self.known.get(layer, specs) if self.known else None
            if outputs is None:
                outputs = infer_layer(layer, specs, self.limited)
                if self.known:
                    self.known.add(layer, specs, outputs)
            self.specs.update(zip(layer.outputs, outputs))
            self._follow_contents(layer, outputs)
        except Error:
            if not self.lenient:
                raise
        except MEANING_ERRORS as e:
            if not self.lenient:
                raise ShapeError(f"layer {layer.name!r} ({layer.kind}): malformed: {type(e).__name__}: {e}") from e
        return layer

    def _follow_empty(self, specs: Iterable[tuple[str, TensorSpec]]) -> None:
        """A value without elements is known without being computed."""
        self.contents.update((v, np.empty(s.sizes, numpy_dtype(s.dtype))) for v, s in specs
                             if s.bound and s.elements == 0 and s.dtype != "bf16")

    def _follow_contents(self, layer: Layer, outputs: list[TensorSpec]) -> None:
        from ..layers import kind_of
        kind = kind_of(layer.kind)
        self._follow_empty(zip(layer.outputs, outputs))
        if kind.of_shapes and all(self.specs[v].bound for v in layer.inputs if v) and \
                all(s.elements <= FOLLOWED_ELEMENTS for s in outputs):
            specs = [self.specs[v] if v else None for v in layer.inputs]
            self.contents.update(zip(layer.outputs, kind.meaning(kind.complete(layer.attrs), specs)))
        elif all(not v or v in self.contents for v in layer.inputs) and \
                all(s.elements <= FOLLOWED_ELEMENTS if s.bound else sum(self.contents[v].size for v in layer.inputs if v)
                    <= FOLLOWED_ELEMENTS for s in outputs):
            folded = fold(layer, outputs, self.contents, self.folding)
            if folded is not None:
                self.contents.update(folded)
                self.specs.update((v, TensorSpec(s.dtype, tuple(folded[v].shape))) for v, s in zip(layer.outputs, outputs))


def fold(layer: Layer, outputs: list[TensorSpec], contents: Mapping[str, np.ndarray],
         folding: Folding) -> dict[str, np.ndarray] | None:
    """Contents of a layer's outputs from the contents of all its inputs; None where folding does not pay.

    Bounded by the bytes of the result and by what computing it takes; `folding` is charged with both.
    """
    from ..layers import kind_of
    arguments = [contents[v] if v else None for v in layer.inputs]
    made_from = sum(a.nbytes for a in arguments if a is not None)
    size = sum(size_bytes(s) if s.bound else made_from for s in outputs)
    if size > max(folding.free, GROWTH * made_from) or size > folding.total:
        return None
    try:
        kind = kind_of(layer.kind)
        specs = [None if a is None else TensorSpec(dtype_of(a.dtype), tuple(a.shape)) for a in arguments]
        effort = kind.effort(kind.complete(layer.attrs), specs, outputs)
        if effort > folding.effort:
            return None
        arrays = run_layer(layer, arguments)
    except (Error, *MEANING_ERRORS):
        return None
    if any(s.bound and tuple(a.shape) != s.shape or s.dtype == "bf16" for a, s in zip(arrays, outputs)):
        return None  # a constant of bf16 would be taken for one of u16
    if not all(s.bound for s in outputs):
        size = sum(a.nbytes for a in arrays)
        if size > max(folding.free, GROWTH * made_from) or size > folding.total:
            return None
    folding.total -= size
    folding.effort -= effort
    return {name: np.asarray(a) for name, a in zip(layer.outputs, arrays)}

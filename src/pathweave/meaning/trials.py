"""What holds for a net at every size of its symbols: several followers walk along, with one set of sizes each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import Error
from ..net.net import Layer, TensorSpec
from ..net.size import MOST_RANK
from .evaluate import MEANING_ERRORS
from .partial import FOLLOWED_ELEMENTS, Follower, resolve

#: (size of the first symbol, distance to the next one's): large, that of images, and small
GENERAL_SIZES = ((4096, 64), (320, 32), (3, 2))
#: Symbols that get a follower of their own in which they alone are 1; with more of them, only one in which all are.
MOST_SINGLES = 6


class Trials:
    """Shapes, contents and element types of values, as far as they are the same whatever the symbols' sizes are.

    Followers take very different sizes; those of GENERAL_SIZES and the one in which all are 1 have no size in common, and
    two of these must know a value and agree. More of them take 1 for one symbol each, because broadcasting, squeezing and
    slicing treat 1 (and what is shorter than a slice) in their own way. Where sizes do not fit together, such as in a net
    that only takes some sizes, the rank and the sizes that each layer's kind knows remain.
    """

    def __init__(self, inputs: Mapping[str, TensorSpec]):
        symbols = list(dict.fromkeys(d for s in inputs.values() for d in s.shape if isinstance(d, str)))
        general = [{d: base + step * i for i, d in enumerate(symbols)} for base, step in GENERAL_SIZES]
        singles = [{**general[0], d: 1} for d in symbols] if 1 < len(symbols) <= MOST_SINGLES else []
        self.sizes = [*general, dict.fromkeys(symbols, 1), *singles] if symbols else [{}]
        self.followers = [Follower({n: TensorSpec(s.dtype, tuple(sizes[d] if isinstance(d, str) else d for d in s.shape))
                                    for n, s in inputs.items()}, lenient=True) for sizes in self.sizes]
        self._apart = self.followers[:len(GENERAL_SIZES) + 1]
        self._enough = min(2, len(self._apart))
        self._outlines = {n: tuple(None if isinstance(d, str) else d for d in s.shape) for n, s in inputs.items()}

    def constant(self, name: str, array: np.ndarray) -> None:
        """Make a constant known."""
        for follower in self.followers:
            follower.constant(name, array)

    def rename(self, value: str, name: str) -> None:
        """Know a value by another name from now on."""
        tables: list[dict[str, Any]] = [self._outlines, *(t for f in self.followers for t in (f.specs, f.contents))]
        for table in tables:
            if value in table:
                table[name] = table.pop(value)

    def step(self, layer: Layer) -> None:
        """Follow one layer at all sizes."""
        for follower in self.followers:
            follower.step(layer)
        if not all(self._followed(v) for v in layer.outputs):
            outline = self._outline(layer)
            if outline is not None:
                self._outlines.update(dict.fromkeys(layer.outputs, outline))

    def _followed(self, value: str) -> bool:
        return sum(value in f.specs for f in self._apart) >= self._enough

    def shape(self, value: str) -> tuple[int | None, ...] | None:
        """Shape of a value with None for sizes that depend on symbols; None when not even the rank is known."""
        known = [f.specs[value].shape for f in self.followers if value in f.specs]
        ranks = {len(s) for s in known}
        if not self._followed(value):
            outline = self._outlines.get(value)
            return (None,) * ranks.pop() if outline is None and len(ranks) == 1 else outline
        if len(ranks) > 1:
            return None
        return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*known))

    def named_shape(self, value: str) -> tuple[int | str, ...] | None:
        """Shape of a value with symbols: that of the inputs which a size equals, or one of the value's own."""
        shape = self.shape(value)
        if shape is None:
            return None
        named: list[Any] = list(shape)
        for axis, size in enumerate(shape):
            at = [(sizes, f.specs[value].shape[axis]) for sizes, f in zip(self.sizes, self.followers) if value in f.specs]
            if size is None:
                equal = (d for d in self.sizes[0] if self._followed(value) and all(s[d] == found for s, found in at))
                named[axis] = next(equal, f"{value}.{axis}")
        return tuple(named)

    def content(self, value: str) -> np.ndarray | None:
        """Content of a value that is the same at all sizes."""
        if sum(value in f.contents for f in self._apart) < self._enough:
            return None
        arrays = [f.contents[value] for f in self.followers if value in f.contents]
        return arrays[0] if all(np.array_equal(a, arrays[0]) for a in arrays[1:]) else None

    def dtype(self, value: str) -> str | None:
        """Element type of a value, where it is known."""
        return next((f.specs[value].dtype for f in self.followers if value in f.specs), None)

    def _outline(self, layer: Layer) -> tuple[int | None, ...] | None:
        from ..layers import kind_of
        kind = kind_of(layer.kind)
        try:
            common = {v: c for v in layer.inputs if v and (c := self.content(v)) is not None}
            attrs = kind.complete(resolve(layer, common).attrs)
            for i, name in getattr(kind, "value_inputs", {}).items():
                if i < len(layer.inputs) and layer.inputs[i] and layer.inputs[i] not in common:
                    attrs[name] = self._numbers(layer.inputs[i])
            outline = kind.outline(attrs, [self.shape(v) if v else None for v in layer.inputs])
            return None if outline is not None and len(outline) > MOST_RANK else outline
        except (Error, *MEANING_ERRORS):
            return None

    def _numbers(self, value: str) -> tuple[int | None, ...] | None:
        """Elements of a value that holds sizes, None for those that differ; None where not even their number is known."""
        found = [f.contents[value].reshape(-1) for f in self.followers if value in f.contents]
        if sum(value in f.contents for f in self._apart) >= self._enough and len({a.size for a in found}) == 1:
            return tuple(int(a[0]) if np.all(a == a[0]) else None for a in np.stack(found, axis=1))
        shape = self.shape(value)
        if shape is None or len(shape) != 1 or shape[0] is None or shape[0] > FOLLOWED_ELEMENTS:
            return None
        return (None,) * shape[0]

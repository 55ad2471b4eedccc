"""Shapes of a net with open sizes: one pass gives the spec of every value as expressions of the inputs' symbols."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import Error, OpenSizesError, ShapeError, SizeError
from ..layers.contents import FOLLOWED_ELEMENTS, resolve, resolve_open, sizes_made
from ..net.conditions import Condition, recording
from ..net.dim import Expr, as_dim, evaluate, is_unknown, lowest, symbol, symbols_of
from ..net.dim_compare import found_bound
from ..net.format import dtype_of, numpy_dtype
from ..net.net import Layer, Net, TensorSpec
from ..net.roles import space_axes, usual_roles
from ..net.size import MOST_RANK, MOST_SIZE
from .evaluate import MEANING_ERRORS
from .partial import FOLLOWED_EFFORT, Folding, fold

#: Sizes that stand for open ones: the first is tried for images, the second for all else, then one after the other for all.
REPRESENTATIVE = (224, 16, 256, 64, 32, 8, 4, 2, 1)
#: Squares of the numbers of parts of all sizes that were inferred, up to where sizes may be complicated: what a net of ten
#: thousand layers has, and some seconds of a hostile one.
MOST_EFFORT = 2_000_000
FEW_NODES = 8


class OpenShapes:
    """Shapes, element types and small contents of values, followed layer by layer, as far as they are the same at all sizes.

    A size is an integer or an expression (net/dim.py). `contents`: arrays of values that depend on constants and on shapes
    alone; one that holds open sizes has dtype object. `conditions`: what must hold for a set of sizes, or else the shapes are
    other ones, or none, each with the values of the layers that ask for it. A size that no expression says, such as one that
    depends on contents, is a symbol of its own, named after the value and the axis: `y.2`. So is one with more than FEW_NODES
    parts after MOST_EFFORT, or where what is made of it would be too large. A value of which not even the rank is known has no
    shape. `refusals`: layer -> why it fits no sizes, if what is assumed of them holds. `impossible`: those of them where
    nothing is assumed, so that no sizes at all fit.
    """

    def __init__(self, inputs: Mapping[str, TensorSpec]):
        self.specs = {n: TensorSpec(s.dtype, tuple(as_dim(d) for d in s.shape)) for n, s in inputs.items()}
        self.contents: dict[str, np.ndarray] = {}
        self.conditions: dict[Condition, list[str]] = {}
        self.refusals: dict[str, ShapeError] = {}
        self.impossible: dict[str, ShapeError] = {}
        self.folding = Folding(effort=FOLLOWED_EFFORT)
        self._effort = 0
        self._outlines: dict[str, tuple[int | Expr, ...]] = {}
        self._names = frozenset(s.name for spec in self.specs.values() for d in spec.dims for s in symbols_of(d))
        for name in inputs:
            self._follow_empty(name)

    def constant(self, name: str, array: np.ndarray) -> None:
        """Make a constant known."""
        self.specs[name] = TensorSpec(dtype_of(array.dtype), tuple(array.shape))
        self.contents[name] = array

    def rename(self, value: str, name: str) -> None:
        """Know a value by another name from now on."""
        tables: list[dict[str, Any]] = [self.specs, self.contents, self._outlines]
        for table in tables:
            if value in table:
                table[name] = table.pop(value)

    def step(self, layer: Layer) -> None:
        """Follow one layer. What does not fit together is left out: binding says what is wrong."""
        conditions: list[Condition] = []
        try:
            try:
                found = self._followed(layer, conditions)
            except SizeError:
                self._simplify(layer)
                conditions.clear()
                found = self._followed(layer, conditions)
        except (Error, *MEANING_ERRORS) as e:
            found = None
            if isinstance(e, ShapeError):
                self.refusals[layer.name] = e
                if not self.conditions and not conditions and self._fits_no_sizes(layer):
                    self.impossible[layer.name] = e
        if found is None:
            outline = self._outline(layer)
            if outline is not None:
                self._outlines.update((v, self._own(v, outline)) for v in layer.outputs)
        else:
            self._ask(conditions, found)

    def _ask(self, conditions: Iterable[Condition], outputs: Iterable[str]) -> None:
        """Note that the layer of these outputs asks for conditions."""
        for condition in conditions:
            self.conditions.setdefault(condition, []).extend(outputs)

    def dims(self, value: str) -> tuple[int | Expr, ...] | None:
        """Shape of a value; None when not even the rank is known."""
        return self.specs[value].dims if value in self.specs else self._outlines.get(value)

    def shape(self, value: str) -> tuple[int | None, ...] | None:
        """Shape of a value with None for sizes that are open; None when not even the rank is known."""
        dims = self.dims(value)
        return None if dims is None else tuple(None if isinstance(d, Expr) else d for d in dims)

    def named_shape(self, value: str) -> tuple[int | str, ...] | None:
        """Shape of a value as an input may declare it: with a symbol of the net's inputs where a size equals one, else one of
        its own for what is open."""
        dims = self.dims(value)
        return None if dims is None else named(value, dims, self._names)

    def content(self, value: str) -> np.ndarray | None:
        """Content of a value that is the same at all sizes."""
        array = self.contents.get(value)
        return None if array is None or array.dtype == object else array

    def dtype(self, value: str) -> str | None:
        """Element type of a value, where it is known."""
        return self.specs[value].dtype if value in self.specs else None

    def shapes_at(self, sizes: Mapping[str, int]) -> dict[str, TensorSpec]:
        """Specs of the values at these sizes of the symbols, as far as they depend on nothing else.

        Empty where a size is beyond its bounds, or a condition does not hold: then shape inference says what is wrong, or
        that these sizes have shapes of their own.
        """
        if any(not 1 <= sizes.get(name, 0) <= MOST_SIZE for name in self._names):
            return {}
        unsure: set[str] = set()
        for condition, values in self.conditions.items():
            try:
                if not condition.holds(sizes):
                    return {}
            except (OpenSizesError, ArithmeticError):
                unsure.update(values)
        found, known = {}, {}
        for value, spec in self.specs.items():
            if value in unsure:
                continue
            try:
                for d in spec.shape:
                    if isinstance(d, Expr) and d not in known:
                        known[d] = evaluate(d, sizes)
            except (OpenSizesError, ArithmeticError):
                continue
            found[value] = TensorSpec(spec.dtype, tuple(known[d] if isinstance(d, Expr) else d for d in spec.shape))
        return found

    def representative(self, inputs: Mapping[str, TensorSpec]) -> dict[str, int] | None:
        """Sizes of the inputs' symbols that stand for all others where one has to be named; None where none is found to fit."""
        alike = [(str(c[0].left), str(c[0].right)) for c in self.conditions if len(c) == 1 and c[0].word == "==" and
                 {str(c[0].left), str(c[0].right)} <= self._names]
        for sizes in trials(inputs):
            for a, b in alike:  # symbols that must be equal, such as the batches of several inputs
                sizes[a] = sizes[b] = min(sizes[a], sizes[b])
            if self.shapes_at(sizes):
                return sizes
        return None

    def _resolve(self, layer: Layer) -> Layer:
        """The layer with inputs that hold sizes in its attributes; what is not known of them are unknown numbers."""
        return resolve_open(layer, self.specs, self.contents, {v: self.shape(v) for v in layer.inputs if v})

    def _infer(self, layer: Layer) -> dict[str, TensorSpec] | None:
        from ..layers import infer_layer
        if any(v and v not in self.specs for v in layer.inputs):
            return None
        outputs = infer_layer(layer, [self.specs[v] if v else None for v in layer.inputs], limited=False)
        if any(s.rank > MOST_RANK for s in outputs):
            return None
        found = {v: TensorSpec(s.dtype, self._own(v, s.dims)) for v, s in zip(layer.outputs, outputs)}
        self.specs.update(found)
        return found

    def _followed(self, layer: Layer, conditions: list[Condition]) -> dict[str, TensorSpec] | None:
        with recording(conditions):
            resolved = self._resolve(layer)
            found = self._infer(resolved)
            if found is not None:
                self._follow_contents(resolved, found)
        return found

    def _fits_no_sizes(self, layer: Layer) -> bool:
        """Whether a layer is refused at sizes of every kind, so that it is not their being open that it does not take. Of
        branches one may fit."""
        from ..layers import infer_layer
        attributes = (v for a in layer.attrs.values() for v in (a if isinstance(a, tuple) else (a,)))
        if layer.blocks or any(v and v not in self.specs for v in layer.inputs) or any(isinstance(v, Expr) for v in attributes):
            return False
        for size in (0, *REPRESENTATIVE):
            try:
                sizes = dict.fromkeys(self._names, size)
                inputs = [_spec_at(self.specs[v], sizes) if v else None for v in layer.inputs]
                infer_layer(resolve(layer, self.contents), inputs, limited=False)
                return False
            except ShapeError:
                continue
            except (Error, ArithmeticError, *MEANING_ERRORS):
                return False
        return True

    def _simplify(self, layer: Layer) -> None:
        """Forget what the larger expressions among a layer's inputs say: what is made of them is too large."""
        for value in layer.inputs:
            if value in self.specs and not self.specs[value].bound:
                dims = tuple(None if isinstance(d, Expr) and d.nodes > FEW_NODES else d for d in self.specs[value].dims)
                self.specs[value] = TensorSpec(self.specs[value].dtype, self._own(value, dims))

    def _own(self, value: str, dims: tuple[int | Expr | None, ...]) -> tuple[int | Expr, ...]:
        """Dimensions with a symbol of the value's own for each that is not known."""
        shape: list[Any] = list(dims)
        for axis, d in enumerate(dims):
            nodes = d.nodes if isinstance(d, Expr) else 0
            self._effort += nodes * nodes
            if d is None or is_unknown(d) or nodes > FEW_NODES and self._effort > MOST_EFFORT:
                name = f"{value}.{axis}"
                while name in self._names:
                    name += "_"
                shape[axis] = symbol(name, 0 if d is None else max(0, lowest(d)), MOST_SIZE if d is None else found_bound(d))
        return tuple(shape)

    def _follow_empty(self, value: str) -> None:
        """A value without elements is known without being computed."""
        spec = self.specs[value]
        if spec.bound and spec.elements == 0 and spec.dtype != "bf16":
            self.contents[value] = np.empty(spec.sizes, numpy_dtype(spec.dtype))

    def _follow_contents(self, layer: Layer, outputs: Mapping[str, TensorSpec]) -> None:
        from ..layers import kind_of
        kind = kind_of(layer.kind)
        for value in outputs:
            self._follow_empty(value)
        if not all(s.bound and s.elements <= FOLLOWED_ELEMENTS for s in outputs.values()):
            return
        arrays = [self.contents.get(v) if v else None for v in layer.inputs]
        if kind.of_shapes or any(a is not None and a.dtype == object for a in arrays):
            specs = [self.specs[v] if v else None for v in layer.inputs]
            self.contents.update(sizes_made(layer, arrays, specs, outputs))
        elif all(a is not None for a, v in zip(arrays, layer.inputs) if v):
            self.contents.update(fold(layer, list(outputs.values()), self.contents, self.folding) or {})

    def _outline(self, layer: Layer) -> tuple[int | None, ...] | None:
        from ..layers import kind_of
        try:
            kind = kind_of(layer.kind)
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
        """Elements of a value that holds sizes, None for those that are open; None where not even their number is known."""
        if value in self.contents:
            return tuple(None if isinstance(n, Expr) else n for n in self.contents[value].reshape(-1).tolist())
        shape = self.shape(value)
        if shape is None or len(shape) != 1 or shape[0] is None or shape[0] > FOLLOWED_ELEMENTS:
            return None
        return (None,) * shape[0]


def _spec_at(spec: TensorSpec, sizes: Mapping[str, int]) -> TensorSpec:
    return TensorSpec(spec.dtype, tuple(evaluate(d, sizes) if isinstance(d, Expr) else d for d in spec.dims))


def trials(inputs: Mapping[str, TensorSpec]) -> Iterator[dict[str, int]]:
    """Sizes of the inputs' symbols to try: 1 for the first dimension of an input, the batch; for the others, one size of
    REPRESENTATIVE at a time."""
    batch = {s.shape[0] for s in inputs.values() if s.shape}
    image = {s.shape[axis] for s in inputs.values() for axis in space_axes(usual_roles(s.rank))}
    rest = [d for d in dict.fromkeys(d for s in inputs.values() for d in s.shape) if isinstance(d, str) and d not in batch]
    ones = {d: 1 for d in batch if isinstance(d, str)}
    yield {**ones, **{d: REPRESENTATIVE[0] if d in image else REPRESENTATIVE[1] for d in rest}}
    yield from ({**ones, **dict.fromkeys(rest, size)} for size in REPRESENTATIVE)


def infer(net: Net) -> OpenShapes:
    """Fill `net.specs` for a net with open sizes, as far as ranks are known; returns all that was found out.

    Nothing is raised for a net that fits no sizes: binding does that.
    """
    shapes = OpenShapes(net.inputs)
    for name, array in net.constants.items():
        shapes.constant(name, array)
    for layer in net.layers:
        shapes.step(layer)
    net.specs = dict(shapes.specs)
    return shapes


def of_bound_again(net: Net) -> OpenShapes | None:
    """The open shapes of a net, None when it is asked for the first time: inferring them takes longer than binding once."""
    parts = (*net.inputs.values(), *net.layers, *net.constants.values())
    known, shapes = net.opened or ((), None)
    if len(parts) != len(known) or any(a is not b for a, b in zip(parts, known)):
        net.opened = (parts, None)
        return None
    if shapes is None:
        shapes = infer(net)
        net.opened = (parts, shapes)
    return shapes


def named(value: str, dims: tuple[int | Expr, ...], names: frozenset[str] | set[str]) -> tuple[int | str, ...]:
    """Dimensions as an input may declare them: integers, some symbols by name, and symbols of the value's own for all else."""
    plain = {str(symbol(n)): n for n in names}
    return tuple(d if not isinstance(d, Expr) else plain.get(str(d), f"{value}.{axis}") for axis, d in enumerate(dims))

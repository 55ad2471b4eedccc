"""What layers with blocks share: specs of a block's values from those of its inputs, its outputs by NumPy, its work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..errors import Error, ShapeError
from ..net import memory
from ..net.block import Block
from ..net.conditions import equal
from ..net.dim import Expr, highest, lowest, unknown
from ..net.format import dtype_of, numpy_dtype
from ..net.net import Layer, Net, TensorSpec
from . import MEANING_ERRORS, compute, infer_layer, kind_of
from .contents import FOLLOWED_ELEMENTS, resolve_open, sizes_made

#: The contents of a block's value are followed where its layer takes no more than this effort.
FOLLOWED_EFFORT = 1 << 20

_PRECISION: ContextVar[str | None] = ContextVar("precision", default=None)


# ---- specs ----------------------------------------------------------------------------------------------------------

def infer_block(block: Block, specs: Sequence[TensorSpec | None]) -> list[TensorSpec]:
    """Specs of a block's outputs from those of its inputs, whose sizes may be expressions. Raises ShapeError, SizeError."""
    found = follow_block(block, specs)
    return [found[v] for v in block.net.outputs]


def follow_block(block: Block, specs: Sequence[TensorSpec | None],
                 contents: dict[str, np.ndarray] | None = None) -> dict[str, TensorSpec]:
    """Specs of all values of a block, constants included. What is known of their contents is added to `contents`.

    A size that depends on contents which are not known is an unknown symbol. Raises ShapeError, SizeError.
    """
    net = block.net
    check_block_inputs(block, specs)
    contents = {} if contents is None else contents
    found: dict[str, TensorSpec] = {v: s for v, s in zip(net.inputs, specs) if s is not None}
    for name, array in net.constants.items():
        found[name] = TensorSpec(dtype_of(array.dtype), tuple(array.shape))
        contents[name] = array
    for layer in net.layers:
        resolved = resolve_open(layer, found, contents)
        inputs = [found[v] if v else None for v in resolved.inputs]
        outputs = dict(zip(resolved.outputs, infer_layer(resolved, inputs)))
        found.update(outputs)
        contents.update(_contents(resolved, inputs, outputs, contents))
    return found


def check_block_inputs(block: Block, specs: Sequence[TensorSpec | None]) -> None:
    """Raise ShapeError where what a block is given has another number, element type or rank than its inputs, or another
    size where that is a number."""
    declared = block.net.inputs
    if len(specs) != len(declared):
        raise ShapeError(f"a block with the inputs {', '.join(map(repr, declared)) or 'none'} is given {len(specs)} values; "
                         f"expected {len(declared)}")
    for (name, wanted), got in zip(declared.items(), specs):
        if got is None or got.dtype != wanted.dtype or got.rank != wanted.rank or \
                not all(equal(d, e) for d, e in zip(got.dims, wanted.shape) if isinstance(e, int)):
            raise ShapeError(f"input {name!r} of a block: expected {wanted}, got {got or 'nothing'}")


def _contents(layer: Layer, inputs: list[TensorSpec | None], outputs: Mapping[str, TensorSpec],
              contents: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Contents of a layer's outputs, as far as they are few and known."""
    kind = kind_of(layer.kind)
    found = {v: np.empty(s.sizes, numpy_dtype(s.dtype)) for v, s in outputs.items()
             if s.bound and s.elements == 0 and s.dtype != "bf16"}
    if not all(s.bound and s.elements <= FOLLOWED_ELEMENTS and s.dtype != "bf16" for s in outputs.values()) or kind.nested:
        return found
    arrays = [contents.get(v) if v else None for v in layer.inputs]
    try:
        if kind.of_shapes or any(a is not None and a.dtype == object for a in arrays):
            found.update(sizes_made(layer, arrays, inputs, outputs))
        elif all(a is not None for a, v in zip(arrays, layer.inputs) if v) and \
                kind.effort(kind.complete(layer.attrs), inputs, list(outputs.values())) <= FOLLOWED_EFFORT:
            with np.errstate(all="ignore"):
                made = [np.asarray(a) for a in compute(layer, arrays)]
            if all(a.shape == s.shape for a, s in zip(made, outputs.values())):
                found.update(zip(outputs, made))
    except (Error, *MEANING_ERRORS):
        pass  # contents are not needed: what is wrong shows when the layer runs
    return found


def joined(what: str, a: TensorSpec, b: TensorSpec) -> TensorSpec:
    """The spec of a value that is one of two: sizes that differ are unknown. Raises ShapeError for another rank or type."""
    if a.dtype != b.dtype:
        raise ShapeError(f"{what} is {a} or {b}: expected one element type; insert a cast")
    if a.rank != b.rank:
        raise ShapeError(f"{what} is {a} or {b}: expected one rank; a rank that depends on contents is not supported, reshape "
                         f"one of them")
    return TensorSpec(a.dtype, tuple(
        d if d == e else unknown(max(0, min(lowest(d), lowest(e))), max(highest(d), highest(e)))
        for d, e in zip(a.dims, b.dims)))


# ---- contents -------------------------------------------------------------------------------------------------------

@contextmanager
def in_precision(precision: str | None) -> Iterator[None]:
    """Compute floating-point constants and results inside blocks in this precision ("f32", "f64"); None: in their own."""
    token = _PRECISION.set(precision)
    try:
        yield
    finally:
        _PRECISION.reset(token)


def run_block(block: Block, arrays: Sequence[Any]) -> list[Any]:
    """Outputs of a block by the NumPy meanings of its layers; a value is freed after its last use.

    Raises ShapeError that names the layer which cannot be computed.
    """
    net, precision = block.net, _PRECISION.get()
    if len(arrays) != len(net.inputs):
        raise ShapeError(f"a block with {len(net.inputs)} inputs is given {len(arrays)} values")
    values: dict[str, Any] = dict(zip(net.inputs, arrays))
    constants = {v: in_type(a, precision) for v, a in net.constants.items()}
    for layer, last in zip(net.layers, _last_uses(block)):
        try:
            made = compute(layer, [None if not v else values[v] if v in values else constants[v] for v in layer.inputs])
        except Error:
            raise
        except MEANING_ERRORS as e:
            raise ShapeError(f"layer {layer.name!r} ({layer.kind}) inside cannot be computed: {e}") from e
        values.update((v, in_type(a, precision)) for v, a in zip(layer.outputs, made))
        for v in last:
            values.pop(v, None)
    return [np.asarray(values[v] if v in values else constants[v]) for v in net.outputs]


def in_type(array: Any, precision: str | None) -> np.ndarray:
    """An array in this precision ("f32", "f64") where it holds floating-point numbers; None: as it is."""
    array = np.asarray(array)
    return array if precision is None or array.dtype.kind != "f" else array.astype(numpy_dtype(precision), copy=False)


def _last_uses(block: Block) -> list[tuple[str, ...]]:
    """Per layer the values that nobody needs after it."""
    if "last uses" not in block.remembered:
        net = block.net
        last = {v: i for i, layer in enumerate(net.layers) for v in (*layer.outputs, *layer.inputs) if v}
        gone: list[list[str]] = [[] for _ in net.layers]
        for v, i in last.items():
            if v not in net.outputs and v not in net.constants:
                gone[i].append(v)
        block.remembered["last uses"] = [tuple(g) for g in gone]
    return block.remembered["last uses"]


class Stack:
    """Results of the trips of a loop that become one array, with a new axis; asks for memory before it takes much."""

    def __init__(self, what: str):
        self._what, self._bytes, self._asked = what, 0, 0
        self._parts: list[np.ndarray] = []

    def add(self, array: np.ndarray) -> None:
        """One more. Raises ShapeError for another shape than the first one's, OutOfMemoryError."""
        if self._parts and array.shape != self._parts[0].shape:
            raise ShapeError(f"{self._what} is {list(self._parts[0].shape)} in the first trip and {list(array.shape)} in trip "
                             f"{len(self._parts) + 1}: expected one shape")
        self._parts.append(array)
        self._bytes += array.nbytes
        if self._bytes > 2 * self._asked:
            self._asked = self._bytes
            memory.require(2 * self._bytes, self._what, "let the loop end earlier, or give smaller inputs")

    @property
    def rank(self) -> int:
        """Rank of one part, of which there must be one."""
        return self._parts[0].ndim

    def array(self, axis: int, backwards: bool = False) -> np.ndarray:
        """All, of which there is one at least, along a new axis."""
        return np.stack(self._parts[::-1] if backwards else self._parts, axis)


# ---- work -----------------------------------------------------------------------------------------------------------

def block_work(block: Block, specs: Sequence[TensorSpec | None], of: str) -> int:
    """Operations (`of` "operations") or effort ("effort") of all layers of a block; an open size counts as the least it may
    be, at least 1."""
    found = {v: closed(s) for v, s in follow_block(block, specs).items()}
    total = 0
    for layer in block.net.layers:
        kind = kind_of(layer.kind)
        inputs = [found[v] if v else None for v in layer.inputs]
        resolved = resolve_open(layer, found, block.net.constants)
        attrs = {k: _closed_attribute(v) for k, v in kind.complete(resolved.attrs).items()}
        try:
            total += getattr(kind, of)(attrs, inputs, [found[v] for v in layer.outputs])
        except (Error, *MEANING_ERRORS):
            pass  # sizes that only stand for others need not fit together
    return total


def closed(spec: TensorSpec) -> TensorSpec:
    """A spec with numbers in place of open sizes: the least that each may be, at least 1."""
    if spec.bound:
        return spec
    return TensorSpec(spec.dtype, tuple(max(1, lowest(d)) if isinstance(d, Expr) else d for d in spec.dims))


def _closed_attribute(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_closed_attribute(v) for v in value)
    return max(1, lowest(value)) if isinstance(value, Expr) else value


# ---- rewriting ------------------------------------------------------------------------------------------------------

def with_constants(block: Block, known: Mapping[int, np.ndarray]) -> Block:
    """The block with arrays in place of some inputs, by position: they become constants of it."""
    net, names = block.net, list(block.net.inputs)
    constants = {**net.constants, **{names[i]: a for i, a in known.items()}}
    inputs = {v: s for i, (v, s) in enumerate(net.inputs.items()) if i not in known}
    return Block(Net(inputs, net.outputs, net.layers, constants))

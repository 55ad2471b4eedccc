"""What layers with blocks share: specs of a block's values from those of its inputs, its outputs by NumPy, its work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..errors import Error, ShapeError, SizeError
from ..net import memory
from ..net.block import Block
from ..net.conditions import equal
from ..net.dim import Expr, highest, lowest, unknown
from ..net.format import dtype_of, numpy_dtype
from ..net.net import Layer, Net, TensorSpec
from ..net.size import MOST_RANK, size_bytes
from . import MEANING_ERRORS, compute, infer_layer, kind_of
from ._common import STEP_EFFORT
from .contents import FOLLOWED_ELEMENTS, resolve, resolve_open, sizes_made

#: The contents of a block's value are followed where its layer takes no more than this effort.
FOLLOWED_EFFORT = 1 << 20
#: Effort of what cannot be told: no folding bears it.
ENDLESS = 2**62
#: A value inside a block that has more bytes is not made while a model loads.
MOST_BYTES_INSIDE = 256 << 20
#: Memory for this many bytes is asked for once, and not in each trip of a loop.
FEW_BYTES = 1 << 20

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

    Raises ShapeError that names the layer which cannot be computed, SizeError, OutOfMemoryError.
    """
    net, precision = block.net, _PRECISION.get()
    if len(arrays) != len(net.inputs):
        raise ShapeError(f"a block with {len(net.inputs)} inputs is given {len(arrays)} values")
    values: dict[str, Any] = dict(zip(net.inputs, arrays))
    constants = {v: in_type(a, precision) for v, a in net.constants.items()}
    asked = block.remembered.setdefault("asked", [None] * len(net.layers))
    for i, (layer, last) in enumerate(zip(net.layers, _last_uses(block))):
        arguments = [None if not v else values[v] if v in values else constants[v] for v in layer.inputs]
        given = _sizes_of(layer, arguments)
        if given is None or given != asked[i]:
            asked[i] = given if check_room(layer, arguments) <= FEW_BYTES else None
        try:
            made = compute(layer, arguments)
        except Error:
            raise
        except MEANING_ERRORS as e:
            raise ShapeError(f"layer {layer.name!r} ({layer.kind}) inside cannot be computed: {e}") from e
        values.update((v, in_type(a, precision)) for v, a in zip(layer.outputs, made))
        for v in last:
            values.pop(v, None)
    return [np.asarray(values[v] if v in values else constants[v]) for v in net.outputs]


def _sizes_of(layer: Layer, arguments: Sequence[Any]) -> tuple[Any, ...] | None:
    """What the sizes of a layer's outputs depend on; None where that is much."""
    contents = getattr(kind_of(layer.kind), "value_inputs", ())
    arrays = [np.asarray(a) if a is not None else None for a in arguments]
    if any(i < len(arrays) and arrays[i] is not None and arrays[i].size > MOST_RANK for i in contents):
        return None
    return tuple(None if a is None else (a.shape, a.tobytes() if i in contents else b"") for i, a in enumerate(arrays))


def check_room(layer: Layer, arguments: Sequence[Any]) -> int:
    """Bytes of a layer's outputs, 0 where they are not known. Raises SizeError, OutOfMemoryError where these are beyond the
    limit, or beyond the memory left."""
    contents = {v: np.asarray(a) for v, a in zip(layer.inputs, arguments) if v}
    try:
        resolved = resolve(layer, contents)
        outputs = infer_layer(resolved, [TensorSpec(dtype_of(contents[v].dtype), contents[v].shape) if v else None
                                         for v in resolved.inputs])
    except SizeError:
        raise
    except (Error, *MEANING_ERRORS):
        return 0  # its meaning says what is wrong
    size = sum(size_bytes(s) for s in outputs if s.bound)
    memory.require(size, f"layer {layer.name!r} ({layer.kind})", "give smaller inputs")
    return size


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

def block_operations(block: Block, specs: Sequence[TensorSpec | None]) -> int:
    """Operations of all layers of a block; an open size counts as the least it may be, at least 1."""
    found = {v: closed(s) for v, s in follow_block(block, specs).items()}
    total = 0
    for layer in block.net.layers:
        kind = kind_of(layer.kind)
        inputs = [found[v] if v else None for v in layer.inputs]
        resolved = resolve_open(layer, found, block.net.constants)
        attrs = {k: _closed_attribute(v) for k, v in kind.complete(resolved.attrs).items()}
        try:
            total += kind.operations(attrs, inputs, [found[v] for v in layer.outputs])
        except (Error, *MEANING_ERRORS):
            pass  # sizes that only stand for others need not fit together
    return total


def block_effort(block: Block, specs: Sequence[TensorSpec | None]) -> int:
    """Effort of one run of a block by `run_block` at most; ENDLESS where a size in it is open, a value is very large, or
    nothing is known."""
    try:
        contents: dict[str, np.ndarray] = {}
        found = follow_block(block, specs, contents)
        if not all(s.bound for s in found.values()):
            return ENDLESS
        total = STEP_EFFORT
        for layer in block.net.layers:
            outputs = [found[v] for v in layer.outputs]
            resolved = resolve_open(layer, found, contents)
            kind = kind_of(layer.kind)
            inputs = [found[v] if v else None for v in resolved.inputs]
            body = inputs[:-1] if layer.epilogue.add else inputs
            total += STEP_EFFORT + kind.effort(kind.complete(resolved.attrs), body, outputs)
            total += sum(STEP_EFFORT + 2 * outputs[0].elements for part in (layer.epilogue.add, layer.epilogue.act) if part)
            if total >= ENDLESS or any(size_bytes(s) > MOST_BYTES_INSIDE for s in outputs):
                return ENDLESS
        return int(total)
    except (Error, *MEANING_ERRORS):
        return ENDLESS


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

"""A scale behind a normalisation, and a sum behind that, become its parameters; over all axes of space it is instance_norm."""

from __future__ import annotations

import numpy as np

from ..layers import kind_of
from ..layers.normalise import normalised_axes
from ..net.net import Layer, TensorSpec
from ._algebra import seen_through
from ._graph import Graph

order = 33
needs_shapes = True

_BY_AXES = ("layer_norm", "rms_norm")
_BY_CHANNEL = ("instance_norm", "group_norm")


def apply(graph: Graph) -> bool:
    """Only where nobody else sees the value in between."""
    changed = False
    for layer in graph.layers():
        if layer.epilogue:
            continue
        if layer.kind == "layer_norm":
            changed |= _instances(graph, layer)
        elif layer.kind in ("mul", "add"):
            changed |= _absorbed(graph, layer)
        elif layer.kind == "madd":
            changed |= _absorbed_both(graph, layer)
    return changed


def _instances(graph: Graph, layer: Layer) -> bool:
    """A normalisation without parameters over all axes but the first two is instance_norm.

    Of rank 3, where the last axis may as well be that of channels, only where a scale or bias by the second axis follows.
    """
    spec = graph.specs.get(layer.inputs[0])
    if spec is None or spec.rank < 3 or any(layer.inputs[1:]):
        return False
    attrs = kind_of("layer_norm").complete(layer.attrs)
    if normalised_axes(attrs, spec.rank) != tuple(range(2, spec.rank)) or not attrs["axes"]:
        return False
    if spec.rank == 3 and not _by_second_axis(graph, layer.outputs[0]):
        return False
    graph.replace(layer, layer.with_(kind="instance_norm", inputs=layer.inputs[:1], attrs={"epsilon": attrs["epsilon"]}))
    return True


def _by_second_axis(graph: Graph, value: str) -> bool:
    user = graph.sole_consumer(value)
    if user is None or user.kind not in ("mul", "add") or user.epilogue:
        return False
    others = [graph.constant(v) for v in user.inputs if v != value]
    return len(others) == 1 and others[0] is not None and others[0].ndim > 1 and others[0].shape[-1] == 1 < others[0].shape[-2]


def _absorbed(graph: Graph, layer: Layer) -> bool:
    for i in (0, 1):
        norm = graph.made_by(seen_through(graph, layer.inputs[i]), *_BY_AXES, *_BY_CHANNEL)
        if norm is None or not _private(graph, layer.inputs[i], norm):
            continue
        spec = graph.specs.get(norm.inputs[0])
        if spec is None or spec != graph.specs.get(layer.outputs[0]):
            continue
        new = _with_parameter(graph, norm, layer.kind, layer.inputs[1 - i], spec)
        if new is not None:
            _replace(graph, layer, layer.inputs[i], norm, new)
            return True
    return False


def _absorbed_both(graph: Graph, layer: Layer) -> bool:
    """A madd by constants behind a normalisation without parameters, of a value whose channels are known."""
    norm = graph.made_by(seen_through(graph, layer.inputs[0]), *_BY_AXES, *_BY_CHANNEL)
    spec = graph.specs.get(layer.outputs[0])
    arrays = [graph.constant(v) for v in layer.inputs[1:]]
    if norm is None or spec is None or any(norm.inputs[1:]) or not _private(graph, layer.inputs[0], norm):
        return False
    names = []
    for array in arrays:
        if array is None or array.ndim and (spec.rank < 2 or array.shape != spec.dims[1:2]):
            return False
        dims = (-1,) + (1,) * (spec.rank - 2) if array.ndim else ()
        if norm.kind in _BY_AXES and array.size > 1 and normalised_axes(
                kind_of(norm.kind).complete(norm.attrs), spec.rank) != (1,):
            return False
        if norm.kind in _BY_AXES:
            shaped = array.reshape(dims)
        elif isinstance(channels := spec.dims[1], int):
            shaped = np.broadcast_to(array, (channels,))
        else:
            return False
        names.append(graph.add_constant(np.ascontiguousarray(shaped), f"{layer.outputs[0]}:parameter"))
    _replace(graph, layer, layer.inputs[0], norm, (norm.inputs[0], *names))
    return True


def _private(graph: Graph, value: str, norm: Layer) -> bool:
    """Whether nobody else sees the normalised value, nor what casts make of it."""
    while graph.private(value):
        if value == norm.outputs[0]:
            return True
        maker = graph.producer(value)
        if maker is None:
            return False
        value = maker.inputs[0]
    return False


def _replace(graph: Graph, layer: Layer, value: str, norm: Layer, inputs: tuple[str, ...]) -> None:
    graph.replace(layer, norm.with_(name=layer.name, inputs=inputs, outputs=layer.outputs))
    while value != norm.outputs[0]:
        cast = graph.producer(value)
        if cast is None:
            return
        value = cast.inputs[0]
        graph.remove(cast)
    graph.remove(norm)


def _with_parameter(graph: Graph, norm: Layer, kind: str, value: str, spec: TensorSpec) -> tuple[str, ...] | None:
    """The inputs of the normalisation with one more scale or bias; None where it cannot have that."""
    x, scale, bias = (*norm.inputs, "", "")[:3]
    if kind == "mul" and bias or norm.inputs[0] == value:
        return None
    had = scale if kind == "mul" else bias
    found = _parameter(graph, norm, value, spec)
    if found is None:
        return None
    if had:
        old, new = graph.constant(had), found if isinstance(found, np.ndarray) else graph.constant(value)
        if old is None or new is None:
            return None
        found = old * new if kind == "mul" else old + new
        if found.size < max(old.size, new.size) or not np.all(np.isfinite(found)):
            return None
    base = f"{norm.outputs[0]}:{'scale' if kind == 'mul' else 'bias'}"
    name = found if isinstance(found, str) else graph.add_constant(found, base)
    inputs = (x, name, bias) if kind == "mul" else (x, scale, name)
    return inputs if inputs[2] else inputs[:2]


def _parameter(graph: Graph, norm: Layer, value: str, spec: TensorSpec) -> str | np.ndarray | None:
    """A value as a parameter of a normalisation: its name, or the array that it becomes; None where it is none."""
    own, array = graph.specs.get(value), graph.constant(value)
    if own is None or own.dtype != spec.dtype or own.rank > spec.rank:
        return None
    dims = (1,) * (spec.rank - own.rank) + tuple(own.dims)
    if norm.kind in _BY_AXES:
        axes = normalised_axes(kind_of(norm.kind).complete(norm.attrs), spec.rank)
        along = all(d == 1 or i in axes for i, d in enumerate(dims))
        full = own.rank == len(axes) and own.dims == tuple(spec.dims[a] for a in axes)
        return value if along and (array is not None or full) else None
    if array is None or any(d != 1 for i, d in enumerate(dims) if i != 1):
        return None
    channels = spec.dims[1]
    return np.ascontiguousarray(np.broadcast_to(array.reshape(-1), (channels,))) if isinstance(channels, int) else None

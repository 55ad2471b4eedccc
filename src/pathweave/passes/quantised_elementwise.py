"""What a model computes on real numbers between dequantize_linear and quantize_linear is done on the bytes, to the same bit.

Layers that only move elements change places with the quantize_linear behind them: their scale is that of all elements. A
function of one byte is a table of its 256 results, and that of two is one layer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..layers import kind_of
from ..layers.quantised_elementwise import FUNCTIONS
from ..net.format import numpy_dtype
from ..net.net import Layer
from ._graph import Graph

order = 1.5  # behind integer_products, and before activations become epilogues
needs_shapes = False

_BYTES = (np.uint8, np.int8)
_DEEPEST = 12  # layers of a function of one value


class _Linear(NamedTuple):
    scale: np.ndarray  # f32 []
    zero: np.ndarray   # u8 or i8 []

    def same(self, other: _Linear) -> bool:
        return self.scale == other.scale and self.zero == other.zero and self.zero.dtype == other.zero.dtype


def apply(graph: Graph) -> bool:
    """Results are those of the layers that it replaces, to the bit."""
    changed = False
    for layer in graph.layers():
        if layer.kind != "quantize_linear" or not graph.alive(layer) or graph.layer(layer.name) is not layer:
            continue
        end = _quantised(graph, layer)
        if end is not None:
            changed |= _moved(graph, layer, end) or _one_value(graph, layer, end) or _two_values(graph, layer, end)
    return changed


def _linear(graph: Graph, layer: Layer, without: np.dtype | None) -> _Linear | None:
    """Scale and zero point of a layer that has one of each, and an ordinary scale; `without`: the type where none is given."""
    scale = graph.constant(layer.inputs[1])
    zero = graph.constant(layer.inputs[2]) if len(layer.inputs) > 2 and layer.inputs[2] else \
        None if without is None else np.zeros((), without)
    if scale is None or zero is None or scale.size != 1 or zero.size != 1 or zero.dtype not in _BYTES or \
            scale.dtype != np.float32 or layer.attrs.get("block") or layer.epilogue:
        return None
    scale, zero = scale.reshape(()), zero.reshape(())
    return _Linear(scale, zero) if 1e-30 < scale < 1e30 else None


def _quantised(graph: Graph, layer: Layer) -> _Linear | None:
    dtype = layer.attrs.get("dtype", "u8")
    if dtype not in ("u8", "i8") or layer.attrs.get("bits") or layer.attrs.get("through"):
        return None
    return _linear(graph, layer, np.dtype(numpy_dtype(dtype)))


def _real(graph: Graph, value: str) -> tuple[str, _Linear] | None:
    """(bytes, how they are read) of a value that dequantize_linear makes."""
    layer = graph.made_by(value, "dequantize_linear")
    if layer is None or not graph.is_dynamic(layer.inputs[0]):
        return None
    given = len(layer.inputs) > 2 and layer.inputs[2]
    linear = _linear(graph, layer, None if given else _type_of(graph, layer.inputs[0]))
    return None if linear is None else (layer.inputs[0], linear)


def _type_of(graph: Graph, value: str) -> np.dtype | None:
    """The element type of bytes, as far as what makes them says it."""
    maker = graph.producer(value)
    while maker is not None and _moves(maker):
        value = maker.inputs[0]
        maker = graph.producer(value)
    if maker is None:
        dtype = graph.inputs[value].dtype if value in graph.inputs else ""
    elif maker.kind in ("lookup_table", "quantised_binary"):
        content = graph.constant(maker.inputs[-1])  # the table, or the result's zero point
        return None if content is None else content.dtype
    else:
        dtype = maker.attrs.get("dtype", kind_of(maker.kind).attributes.get("dtype"))
    return np.dtype(numpy_dtype(dtype)) if dtype in ("u8", "i8") else None


def _moved(graph: Graph, layer: Layer, end: _Linear) -> bool:
    """Quantise before a layer that only moves elements, where what comes there was bytes."""
    value = layer.inputs[0]
    mover = graph.producer(value)
    if mover is None or not _moves(mover) or not _from_bytes(graph, value, _DEEPEST):
        return False
    moved = _moves(mover)
    before, names = [], []
    for v in moved:
        array = graph.constant(v)
        if array is not None:
            names.append(graph.add_constant(_to_bytes(array, end), f"{v}:integers"))
            continue
        found = _real(graph, v)
        if found is not None and found[1].same(end):
            names.append(found[0])  # from integers to the same ones
            continue
        names.append(graph.fresh(f"{v}:integers"))
        before.append(layer.with_(name=graph.fresh_layer_name(f"{layer.name}:{v}"), inputs=(v, *layer.inputs[1:]),
                                  outputs=(names[-1],)))
    graph.remove(layer)
    graph.replace(mover, *before, mover.with_(inputs=(*names, *mover.inputs[len(moved):]), outputs=layer.outputs))
    return True


def _from_bytes(graph: Graph, value: str, depth: int) -> bool:
    """Whether a value holds real numbers that were bytes, in another order."""
    if _real(graph, value) is not None:
        return True
    mover = graph.producer(value)
    inputs = () if mover is None or not graph.private(value) or not depth else _moves(mover)
    return any(graph.is_dynamic(v) for v in inputs) and \
        all(_from_bytes(graph, v, depth - 1) if graph.is_dynamic(v) else _of_f32(graph, v) for v in inputs)


def _moves(layer: Layer) -> tuple[str, ...]:
    """The inputs of which a layer's only output holds elements as they are, or the largest of some; () where it does else."""
    kind = kind_of(layer.kind)
    if layer.epilogue or len(layer.outputs) != 1 or not kind.keeps_order({**kind.attributes, **layer.attrs}):
        return ()
    moves = slice(1) if kind.moves == slice(0) else kind.moves
    return () if moves.start else layer.inputs[moves]


def _of_f32(graph: Graph, value: str) -> bool:
    array = graph.constant(value)
    return array is not None and array.dtype == np.float32


def _to_bytes(array: np.ndarray, end: _Linear) -> np.ndarray:
    dtype = "u8" if end.zero.dtype == np.uint8 else "i8"
    attrs = kind_of("quantize_linear").complete({"dtype": dtype})
    return kind_of("quantize_linear").meaning(attrs, [array, end.scale, end.zero])[0]


def _one_value(graph: Graph, layer: Layer, end: _Linear) -> bool:
    """A table in the place of a function of one byte; nothing at all where that is the byte itself."""
    found = _real(graph, layer.inputs[0])
    if found is not None and found[1].same(end):
        return graph.bypass(layer, found[0])
    sources: dict[str, np.dtype] = {}
    results = _follow(graph, layer.inputs[0], sources, _DEEPEST)
    if results is None or len(sources) != 1:
        return False
    (source, dtype), = sources.items()
    table = _to_bytes(results, end)
    if dtype == np.int8:  # by value, and not by bits
        table = np.roll(table, 128)
    content = graph.add_constant(table, f"{layer.name}:table")
    graph.replace(layer, layer.with_(kind="lookup_table", inputs=(source, content), attrs={}))
    return True


def _follow(graph: Graph, value: str, sources: dict[str, np.dtype], depth: int) -> np.ndarray | None:
    """A value for all 256 bytes (by their bits) of the one that it is a function of, which joins `sources`; None where it is
    none. A constant number is an array without axes."""
    array = graph.constant(value)
    if array is not None:
        return array if array.ndim == 0 and array.dtype == np.float32 else None
    found = _real(graph, value)
    if found is not None:
        source, linear = found
        numbers = np.arange(256, dtype=np.uint8).view(linear.zero.dtype)
        table = graph.made_by(source, "lookup_table")
        if table is not None and graph.constant(table.inputs[1]) is not None:
            own = _type_of(graph, table.inputs[0])
            if own is not None:
                source, content = table.inputs[0], graph.constants[table.inputs[1]]
                numbers = np.roll(content, -128) if own == np.int8 else content
                return _noted(sources, source, own, numbers, linear)
        return _noted(sources, source, linear.zero.dtype, numbers, linear)
    layer = graph.bare_producer(value)
    if layer is None or not depth or len(layer.outputs) != 1 or layer.kind in ("dropout", "cast") or \
            not kind_of(layer.kind).elementwise or not all(layer.inputs):
        return None
    arrays = []
    for v in layer.inputs:
        array = _follow(graph, v, sources, depth - 1)
        if array is None or len(sources) > 1:
            return None
        arrays.append(array)
    kind = kind_of(layer.kind)
    with np.errstate(all="ignore"):
        (y,) = kind.meaning(kind.complete(layer.attrs), [a.astype(np.float64) for a in arrays])
    return y.astype(np.float32) if y.dtype == np.float64 else None


def _noted(sources: dict[str, np.dtype], source: str, dtype: np.dtype, numbers: np.ndarray, linear: _Linear) -> np.ndarray:
    sources[source] = np.dtype(dtype)
    return (numbers.astype(np.int64) - int(linear.zero)).astype(np.float32) * linear.scale


def _two_values(graph: Graph, layer: Layer, end: _Linear) -> bool:
    """One layer for a function of two bytes."""
    value = layer.inputs[0]
    function = graph.made_by(value, *FUNCTIONS)
    if function is None or len(function.inputs) != 2 or not graph.private(value):
        return False
    operands = [o for o in (_real(graph, v) for v in function.inputs) if o is not None]
    if len(operands) != 2:
        return False
    names = [name for name, _ in operands]
    for i, linear in enumerate([*(linear for _, linear in operands), end]):
        names.append(graph.add_constant(linear.scale, f"{layer.name}:{'aby'[i]}_scale"))
        names.append(graph.add_constant(linear.zero, f"{layer.name}:{'aby'[i]}_zero"))
    graph.replace(layer, layer.with_(kind="quantised_binary", inputs=tuple(names), attrs={"function": function.kind}))
    graph.remove(function)
    return True

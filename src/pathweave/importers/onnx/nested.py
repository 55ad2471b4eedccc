"""Graphs inside a node (branches of If, bodies of Loop and Scan) become blocks; what they read from outside is captured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ...errors import ModelError
from ...net.block import Block
from ...net.net import TensorSpec
from .node import Builder, Node
from .nodes import convert_inside, graphs_of, names_of
from .tensors import element_type

#: Graphs inside graphs that are looked at; fewer are allowed, see net/block.py.
MOST_LEVELS = 40


class Given(NamedTuple):
    """An input of a graph inside that is not captured. `spec`: of the block's input; `dtype`: in the file."""

    spec: TensorSpec
    dtype: str


class Captures:
    """What the graphs of a node read from outside: constants, and values that become inputs of the layer.

    `broken`: names of values that are missing because their nodes are not covered.
    """

    def __init__(self, node: Node, graphs: Iterable):
        self.names = list(dict.fromkeys(v for graph in graphs for v in free_names(graph)))
        self.constants: dict[str, tuple[np.ndarray, str | None]] = {}
        self.specs: dict[str, TensorSpec] = {}
        self.types: dict[str, str | None] = {}
        self.broken: set[str] = set()
        self.inputs: list[str] = []
        builder, poisoned = node.builder, node.conversion.poisoned
        for name in self.names:
            outer = node.scope.get(name, name)
            outer = builder.types.inner.get(outer, outer)
            if outer in poisoned:
                self.broken.add(name)
                continue
            if outer not in builder.values and outer not in builder.constants:
                raise ModelError(f"a graph inside reads {name!r}, which is not made before the node; the nodes must be in "
                                 f"topological order and free of cycles")
            dtype = builder.types.of(outer, builder.dtype(outer))
            known = builder.known(outer)
            if known is not None:
                self.constants[name] = known, dtype
                continue
            spec = builder.spec(outer) or builder.stand_in(outer)
            if spec is None:
                node.unsupported(f"the rank or the element type of {name!r}, which a graph inside reads, is not known; export "
                                 f"the model with fixed sizes")
            self.specs[name], self.types[name] = spec, dtype
            self.inputs.append(outer)


def free_names(graph, level: int = 0) -> list[str]:
    """Names that a graph reads and does not make, in the order of their first use."""
    if level > MOST_LEVELS:
        raise ModelError(f"graphs are nested more than {MOST_LEVELS} deep; flatten the model")
    made = _initial(graph) | {v.name for v in graph.input}
    free: dict[str, None] = {}
    for node in graph.node:
        inner = [v for g in graphs_of(node) for v in free_names(g, level + 1)]
        free.update((v, None) for v in (*node.input, *inner) if v and v not in made)
        made.update(node.output)
    free.update((v.name, None) for v in graph.output if v.name not in made)
    return list(free)


def _initial(graph) -> set[str]:
    return {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}


def _check_shadows(graph, captured: Sequence[str]) -> None:
    """Raise ModelError where a graph makes and uses a value whose name it, or another graph of the node, reads from outside.

    The text of ONNX forbids it; ONNX Runtime and the reference evaluator then compute with the value from outside.
    """
    read = {v for n in graph.node for v in (*n.input, *(v for g in graphs_of(n) for v in free_names(g)))}
    read.update(v.name for v in graph.output)
    made = {v for n in graph.node for v in n.output} | {v.name for v in graph.input} | _initial(graph) & read
    clash = next((v for v in captured if v in made), None)
    if clash is not None:
        raise ModelError(f"the graph {graph.name!r} inside has a value {clash!r} of its own, and {clash!r} is also read from "
                         f"the graph around the node: expected different names; rename {clash!r} in the graph {graph.name!r}")


def block(node: Node, graph, given: Sequence[Given], captures: Captures) -> tuple[Block | None, list[str | None]]:
    """A graph inside a node as a block, and the types of its outputs in the file; None where a node inside is not covered.

    `given`: its own inputs, in order; the captured ones come behind them.
    """
    if len(graph.input) != len(given):
        raise ModelError(f"a graph inside has {len(graph.input)} inputs, expected {len(given)}")
    names, read = names_of(graph)
    own = [v.name for v in graph.input]
    if len(set(own)) != len(own) or "" in own:
        raise ModelError("a graph inside has inputs without a name, or two of one name")
    _check_shadows(graph, captures.names)
    inputs, ranks = {}, {}
    for value, (spec, _) in zip(graph.input, given):
        declared = value.type.tensor_type
        one = spec.rank == 0 and declared.HasField("shape") and len(declared.shape.dim) == 1
        if one:
            ranks[value.name] = f"{value.name}:scalar"
        inputs[ranks.get(value.name, value.name)] = spec
    inputs |= captures.specs
    declared_ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in (*graph.value_info, *graph.output)
                      if v.type.HasField("tensor_type") and v.type.tensor_type.HasField("shape")}
    builder = node.builder.inside(inputs, {*names, *captures.names}, read, declared_ranks)
    for name, dtype in (*((v.name, g.dtype) for v, g in zip(graph.input, given)), *captures.types.items()):
        if dtype is not None:
            builder.types.declare(name, dtype)
    for name, inner in ranks.items():
        builder.add_layer(inner, "reshape", [inner], [name], {"shape": (1,)})
    _constants(node, graph, builder, captures)
    state = node.conversion.inside(builder, {n.name for n in graph.node})
    state.poisoned |= captures.broken
    convert_inside(graph, state)
    outputs = [v.name for v in graph.output]
    if state.poisoned.intersection(outputs) or any(v in state.poisoned for n in graph.node for v in n.output):
        return None, []
    types = [builder.types.of(v, builder.dtype(v)) for v in outputs]
    return builder.to_block(outputs), types


def _constants(node: Node, graph, builder: Builder, captures: Captures) -> None:
    own = _initial(graph) | {v.name for v in graph.input} | {v for n in graph.node for v in n.output}
    reads = set(free_names(graph))
    for name, (array, dtype) in captures.constants.items():
        if name in reads and name not in own:
            builder.add_constant(name, array)
            if dtype is not None:
                builder.types.declare(name, dtype)
    for tensor in graph.initializer:
        if tensor.name in captures.specs:
            continue  # nobody here reads it, see _check_shadows
        builder.add_tensor(tensor.name, tensor, f"initializer {tensor.name!r} in node {node.name!r}")
    for sparse in graph.sparse_initializer:
        if sparse.values.name in captures.specs:
            continue
        builder.add_sparse(sparse.values.name, sparse, f"sparse initializer {sparse.values.name!r} in node {node.name!r}")


def given_of(node: Node, value, outer: str, exact: Sequence[int] | None = None) -> Given:
    """A graph's own input from the value that it is first given: sizes are fixed only where the graph declares them so.

    `value`: its ValueInfoProto. `exact`: axes of `outer` that it has, by default all.
    """
    dtype = node.builder.dtype(outer)
    declared = value.type.tensor_type
    sizes = [d.dim_value if d.HasField("dim_value") else None for d in declared.shape.dim] \
        if declared.HasField("shape") else None
    shape = node.builder.shape(outer)
    if shape is not None and exact is not None:
        shape = tuple(shape[i] for i in exact)
    if shape is None and sizes is not None:
        shape = (None,) * len(sizes)
    if dtype is None and declared.elem_type:
        dtype = node.builder.types.net_type(element_type(declared.elem_type, f"input {value.name!r} of a graph inside"))
    if dtype is None or shape is None:
        node.unsupported(f"the rank or the element type of {outer!r} is not known; export the model with fixed sizes")
    fixed = sizes if sizes is not None and len(sizes) == len(shape) else [None] * len(shape)
    dims = tuple(d if d is not None and f == d else f"{value.name}.{i}" for i, (d, f) in enumerate(zip(shape, fixed)))
    return Given(TensorSpec(dtype, dims), node.builder.types.of(outer, dtype) or dtype)

"""Nodes of a graph become layers, in order; the branch of an If that is taken becomes part of the net around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from functools import partial
from heapq import heappop, heappush
from typing import Any

from ...errors import ModelError
from ...words import counted, meant
from .. import conversion as common
from ..refusals import UNKNOWN
from .advice import ADVICE
from .bodies import body_of, has_body, with_attributes
from .node import Builder, Node

DEFAULT_DOMAINS = ("", "ai.onnx")
#: Ifs within Ifs
MOST_NESTED = 32


class Conversion(common.Conversion):
    """The state of one conversion. `opsets`: domain -> version."""

    builder: Builder

    def __init__(self, builder: Builder, table: Mapping[str, Callable[[Node], None]], opsets: Mapping[str, int],
                 names: Iterable[str]):
        super().__init__(builder, table, names)
        self.opsets = opsets

    def inside(self, builder: Builder, names: Iterable[str]) -> "Conversion":
        """The state of the conversion of a graph inside: what is not covered there is listed with all else."""
        inner = Conversion(builder, self.table, self.opsets, names)
        inner.refused = self.refused
        return inner

    def _unknown(self, key: str) -> str:
        import onnx
        if ":" in key or onnx.defs.has(key):
            return UNKNOWN
        names = {s.name for s in onnx.defs.get_all_schemas() if not s.domain}
        return f"{UNKNOWN}: ONNX has no operator {key}{meant(key, names)}"

    def at(self, opsets: Mapping[str, int]) -> "Conversion":
        """The same state for nodes of other opsets; domains that are not among them keep theirs."""
        other = copy(self)
        other.opsets = {**self.opsets, **opsets}
        return other


def names_of(graph) -> tuple[set[str], set[str]]:
    """(all names of values, those that are read) of a graph and of the graphs inside it."""
    names = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    names |= {v.name for v in graph.input}
    read = {v.name for v in graph.output}
    for node in graph.node:
        names.update((*node.input, *node.output))
        read.update(node.input)
        for inner in graphs_of(node):
            more, also = names_of(inner)
            names |= more
            read |= also
    return names, read


def convert_nodes(graph, opsets: Mapping[str, int], table: Mapping[str, Callable[[Node], None]], builder: Builder,
                  where: str) -> dict[str, dict[str, int]]:
    """Turn every node into layers; all that is not covered is raised as one error at the end. Gives what operators became:
    see `Conversion.became`."""
    state = Conversion(builder, table, opsets, {n.name for n in graph.node})
    _nodes(graph.node, state, {}, 0)
    state.finish(where, ADVICE)
    return {key: dict(kinds) for key, kinds in sorted(state.became.items())}


def in_order(nodes: Iterable) -> list[tuple[int, Any]]:
    """(position, node) in an order in which every value is made before it is read, the given one where it is such.

    ONNX wants that of a file, but ONNX Runtime does not, so that converters write others. Nodes of a cycle keep their places.
    """
    given = list(enumerate(nodes))
    maker = {v: i for i, node in given for v in node.output if v}
    needs = [{maker[v] for v in (*node.input, *(v for g in graphs_of(node) for v in names_of(g)[1])) if v in maker} - {i}
             for i, node in given]
    if all(j < i for i, wanted in enumerate(needs) for j in wanted):
        return given
    users: dict[int, list[int]] = {}
    for i, wanted in enumerate(needs):
        for j in wanted:
            users.setdefault(j, []).append(i)
    left, ready, order = [len(w) for w in needs], [i for i, w in enumerate(needs) if not w], []
    while ready:
        i = heappop(ready)
        order.append(i)
        for j in users.get(i, ()):
            left[j] -= 1
            if not left[j]:
                heappush(ready, j)
    return [given[i] for i in order] if len(order) == len(given) else given


def _nodes(nodes: Iterable, state: Conversion, scope: Mapping[str, str], depth: int) -> None:
    for i, proto in in_order(nodes):
        domain = "" if proto.domain in DEFAULT_DOMAINS else proto.domain
        name = state.name(proto.name, proto.op_type, i)
        node = Node(proto, name, domain, state.opsets.get(domain, 1), state.builder, scope)
        node.conversion = state
        key = f"{domain}:{node.op}" if domain else node.op
        reads = [scope.get(v, v) for g in graphs_of(proto) for v in names_of(g)[1]]
        work = None
        if key == "If" and node.given and node.given[0] not in state.poisoned and node.const(0) is not None:
            work = partial(_if, node, proto, state, scope, depth)
        elif key not in state.table and has_body(node.op, node.version, domain):
            work = partial(_expand, node, proto, state, depth)
        state.add(node, key, work, reads)


def convert_inside(graph, state: Conversion) -> None:
    """Turn the nodes of a graph inside another one into layers of a builder of its own."""
    _nodes(graph.node, state, {}, 0)


def _if(node: Node, proto, state: Conversion, scope: Mapping[str, str], depth: int) -> None:
    """The branch that a condition known at import takes; its values get names that nothing else has."""
    condition = node.const(0)
    if condition is None or condition.size != 1:
        raise ModelError(f"node {node.name!r} (If): its condition has "
                         f"{counted(0 if condition is None else condition.size, 'element')}, expected 1")
    if depth >= MOST_NESTED:
        node.unsupported(f"more than {MOST_NESTED} of them are nested")
    wanted = "then_branch" if bool(condition.reshape(())) else "else_branch"
    graph = next((a.g for a in proto.attribute if a.name == wanted and a.HasField("g")), None)
    if graph is None or len(graph.output) < len(node.outputs):
        raise ModelError(f"node {node.name!r} (If): expected a {wanted} with {counted(len(node.outputs), 'output')}, got "
                         f"{'none' if graph is None else len(graph.output)}")
    inner = dict(scope)
    sparse = {t.values.name: t for t in graph.sparse_initializer}
    made = {t.name for t in graph.initializer} | set(sparse) | {v for n in graph.node for v in n.output if v}
    fresh = {v: state.builder.fresh(f"{node.name}/{v}") for v in sorted(made)}
    inner.update(fresh)
    state.builder.read.update(fresh[v] for v in names_of(graph)[1] & made)
    for tensor in graph.initializer:
        state.builder.add_tensor(inner[tensor.name], tensor, f"initializer {tensor.name!r} in node {node.name!r}")
    for name, tensor in sparse.items():
        state.builder.add_sparse(inner[name], tensor, f"sparse initializer {name!r} in node {node.name!r}")
    _nodes(graph.node, state, inner, depth + 1)
    for value, result in zip(node.outputs, graph.output):
        source = inner.get(result.name, result.name)
        source = state.builder.types.inner.get(source, source)
        if source in state.poisoned:
            state.poisoned.add(value)
        elif value:
            known = state.builder.constants.get(source)
            if known is not None:
                state.builder.add_constant(value, known)
            else:
                state.builder.add_layer(f"{node.name}/{value}", "identity", [source], [value], {})
            state.builder.types.follow([source], [value], state.builder.dtype)


def _expand(node: Node, proto, state: Conversion, depth: int) -> None:
    """The nodes by which ONNX defines an operator, in its place; their values get names that nothing else has."""
    import onnx
    if any(v in state.poisoned for v in node.given):
        return
    body = body_of(node, proto)
    if body is None or depth >= MOST_NESTED:
        node.unsupported(UNKNOWN)
    nodes = with_attributes(body, proto, onnx.defs.get_schema(node.op, node.version, node.domain))
    inner = {v: state.builder.fresh(f"{node.name}/{v}") for n in nodes for v in n.output if v}
    inner.update(zip(body.input, [*node.given, *[""] * len(body.input)]))
    inner.update((formal, value) for formal, value in zip(body.output, node.outputs) if value)
    state.builder.read.update(inner.get(v, v) for n in nodes for v in n.input)
    state.builder.read.update(inner.get(v, v) for n in nodes for g in graphs_of(n) for v in names_of(g)[1])
    opsets = {("" if o.domain in DEFAULT_DOMAINS else o.domain): int(o.version) for o in body.opset_import}
    for i, n in enumerate(nodes):
        n.name = f"{node.name}/{n.name or f'{n.op_type}_{i}'}"
    _nodes(nodes, state.at(opsets), inner, depth + 1)


def graphs_of(proto) -> list:
    """The graphs that are attributes of a node."""
    return [g for a in proto.attribute for g in ([a.g] if a.HasField("g") else []) + list(a.graphs)]

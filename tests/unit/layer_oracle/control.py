"""Layers with blocks, written as graphs inside nodes, and those whose shape depends on contents."""

from __future__ import annotations

from onnx import ValueInfoProto, helper

from pathweave.layers import kind_of
from pathweave.net.net import Layer

from . import ELEMENT, Graph, layer


class _Inner:
    """What a case is asked for, of a layer within a block."""

    def __init__(self, one: Layer):
        self.kind, self.attrs = one.kind, one.attrs


def _graph(block, name, fixed):
    """The block as a graph: its first `fixed` inputs are the graph's own, the others are captured under their names."""
    g, net = Graph(), block.net
    names = {v: f"{name}_{v}" for v in net.inputs}
    renamed = {}
    for one in net.layers:
        given = [renamed.get(v, names.get(v, v)) for v in one.inputs]
        made = layer(g, one.kind, _Inner(one), kind_of(one.kind).complete(one.attrs), given)
        renamed.update(zip(one.outputs, made, strict=True))
    outputs = []
    for i, v in enumerate(net.outputs):
        g.nodes.append(helper.make_node("Identity", [renamed.get(v, names.get(v, v))], [f"{name}_out{i}"]))
        outputs.append(ValueInfoProto(name=f"{name}_out{i}"))
    for node in g.nodes:  # names within two graphs of one node must differ from each other
        for field in (node.input, node.output):
            field[:] = [f"{name}_{v}" if v and v[0] in "tc" and v[1:2].isdigit() else v for v in field]
    for tensor in g.initialisers:
        tensor.name = f"{name}_{tensor.name}"
    own = [helper.make_tensor_value_info(names[v], ELEMENT[s.dtype], [d if isinstance(d, int) else None for d in s.shape])
           for v, s in list(net.inputs.items())[:fixed]]
    return helper.make_graph(g.nodes, name, own, outputs, g.initialisers), [names[v] for v in net.inputs][fixed:]


def _captured(g, names, inner):
    for given, within in zip(names, inner, strict=True):
        g.nodes.append(helper.make_node("Identity", [given], [within]))


def _if(g, case, a, names):
    graphs = []
    for word in ("then_branch", "else_branch"):
        graph, inner = _graph(a[word], word, 0)
        _captured(g, names[1:], inner)
        graphs.append(graph)
    return g.node("If", names[:1], len(a["then_branch"].net.outputs), then_branch=graphs[0], else_branch=graphs[1])


def _loop(g, case, a, names):
    count = a["carried"]
    graph, inner = _graph(a["body"], "body", 2 + count)
    _captured(g, names[2 + count:], inner)
    trips = g.array(a["trips"]) if a["trips"] >= 0 else names[0]
    return g.node("Loop", [trips, names[1], *names[2:2 + count]], len(a["body"].net.outputs) - 1, body=graph)


def _scan(g, case, a, names):
    fixed = a["carried"] + a["scanned"]
    graph, inner = _graph(a["body"], "body", fixed)
    _captured(g, names[fixed:], inner)
    given = {f"scan_{k}": a[k] for k in ("input_axes", "output_axes", "input_directions", "output_directions") if a[k]}
    return g.node("Scan", names[:fixed], len(a["body"].net.outputs), body=graph, num_scan_inputs=a["scanned"], **given)


def _compress(g, case, a, names):
    return g.node("Compress", names, **({"axis": a["axis"][0]} if a["axis"] else {}))


OPERATORS = {"compress": _compress, "if": _if, "loop": _loop, "scan": _scan, "nonzero": "NonZero"}

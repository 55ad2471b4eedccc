"""Operators with graphs inside, and those whose shape depends on contents."""

from __future__ import annotations

import numpy as np

from ....net.block import Block
from ....net.net import TensorSpec
from ..nested import Captures, Given, block, given_of
from ..node import Node
from ..squeezed import squeezed

_ITERATION, _CONDITION = Given(TensorSpec("i64", ()), "i64"), Given(TensorSpec("bool", ()), "bool")


def if_(n: Node) -> None:
    """One of two graphs, by a condition that is known at run time alone."""
    n.required(1)
    if squeezed(n):
        return
    condition = n.input(0)
    graphs = [n.graph(name) for name in ("then_branch", "else_branch")]
    captures = Captures(n, graphs)
    found = [block(n, graph, [], captures) for graph in graphs]
    for graph in graphs:
        if len(graph.output) < len(n.outputs):
            raise ValueError(f"a branch has {len(graph.output)} outputs, the node {len(n.outputs)}")
    (then, types), (other, _) = found
    _emit(n, "if", [condition, *captures.inputs], {"then_branch": then, "else_branch": other}, types)


def loop(n: Node) -> None:
    """A graph as long as a condition holds."""
    limit, condition, *initial = (n.inputs + ["", ""])[:max(2, len(n.inputs))]
    body = n.graph("body")
    if len(body.input) != 2 + len(initial) or len(body.output) < 1 + len(initial):
        raise ValueError(f"its body has {len(body.input)} inputs and {len(body.output)} outputs for {len(initial)} carried "
                         f"values")
    captures = Captures(n, [body])
    carried = [given_of(n, value, v) for value, v in zip(body.input[2:], initial)] if not _broken(n, initial) else None
    if carried is None:
        return
    found, types = block(n, body, [_ITERATION, _CONDITION, *carried], captures)
    inputs = [limit, condition, *initial, *captures.inputs]
    _emit(n, "loop", inputs, {"body": found, "carried": len(initial)}, types[1:])


def scan(n: Node) -> None:
    """A graph for each slice of some inputs."""
    body, scanned = n.graph("body"), n.int("num_scan_inputs", 1)
    if n.version < 9:
        return _scan_of_batches(n, body, scanned)
    states = len(n.inputs) - scanned
    if scanned < 1 or states < 0 or len(body.input) != len(n.inputs) or len(body.output) < states:
        raise ValueError(f"num_scan_inputs is {scanned}; its body has {len(body.input)} inputs and {len(body.output)} outputs "
                         f"for {len(n.inputs)} inputs of the node")
    attrs = {name: n.ints(f"scan_{name}", ()) for name in ("input_axes", "output_axes", "input_directions",
                                                           "output_directions")}
    _scan(n, body, n.inputs, scanned, attrs)


def _scan(n: Node, body, inputs: list[str], scanned: int, attrs: dict) -> None:
    states = len(inputs) - scanned
    captures = Captures(n, [body])
    if _broken(n, inputs):
        return
    given = [given_of(n, value, v) for value, v in zip(body.input, inputs[:states])]
    for i, (value, v) in enumerate(zip(body.input[states:], inputs[states:])):
        rank = n.rank(v)
        axis = n.axis(attrs["input_axes"][i] if attrs["input_axes"] else 0, rank)
        given.append(given_of(n, value, v, [a for a in range(rank) if a != axis]))
    found, types = block(n, body, given, captures)
    _emit(n, "scan", [*inputs, *captures.inputs], {"body": found, "carried": states, "scanned": scanned,
                                                   **{k: v for k, v in attrs.items() if v}}, types)


def _scan_of_batches(n: Node, body, scanned: int) -> None:
    """Opset 8: every input has a batch in front; covered where that is 1 and all sequences have one length."""
    if n.input(0):
        n.unsupported("sequence_lens is given; convert the model to opset 9 or later with onnx.version_converter")
    inputs = n.inputs[1:]
    shapes = [n.shape(v) for v in inputs]
    if any(s is None or not s or s[0] != 1 for s in shapes):
        n.unsupported("its batch is not known to be 1; convert the model to opset 9 or later with onnx.version_converter")
    directions = n.ints("directions", ())
    squeezed = [n.emit("squeeze", [v], {"axes": (0,)}) for v in inputs]
    outputs = n.outputs
    n.outputs = [n.builder.fresh(f"{v}:unbatched") for v in outputs]
    _scan(n, body, squeezed, scanned, {"input_axes": (), "input_directions": directions})
    made, n.outputs = n.outputs, outputs
    if outputs[0] in n.conversion.poisoned or made[0] in n.conversion.poisoned:
        n.conversion.poisoned.update(v for v in outputs if v)
        return
    for v, name in zip(made, outputs):
        n.builder.add_layer(f"{n.name}/{name}", "unsqueeze", [v], [name], {"axes": (0,)})


def _broken(n: Node, inputs: list[str]) -> bool:
    """True, and the outputs are missing, where an input is."""
    if any(v in n.conversion.poisoned for v in inputs):
        n.conversion.poisoned.update(v for v in n.outputs if v)
        return True
    return False


def _emit(n: Node, kind: str, inputs: list[str], attrs: dict, types: list) -> None:
    """The layer; without one of its blocks its outputs are missing."""
    if any(v is None for v in attrs.values()):
        n.conversion.poisoned.update(v for v in n.outputs if v)
        return
    blocks = [v for v in attrs.values() if isinstance(v, Block)]
    count = len(blocks[0].net.outputs) - (kind == "loop")
    if count < len(n.outputs):
        raise ValueError(f"it has {len(n.outputs)} outputs, the graph inside makes {count}")
    for value, dtype in zip(n.outputs, types):
        if value and dtype is not None:
            n.builder.types.declare(value, dtype)
    n.emit(kind, inputs, attrs, last=True, count=count)


def nonzero(n: Node) -> None:
    """Indices of elements that are not 0."""
    n.required(1)
    n.emit("nonzero", [n.input(0)], last=True)


def compress(n: Node) -> None:
    """Slices where a condition holds; of a constant one it is known which."""
    n.required(2)
    condition = n.const(1)
    if condition is not None and condition.ndim == 1:
        x = n.input(0) if n.has("axis") else n.emit("reshape", [n.input(0)], {"shape": (-1,)})
        kept = n.constant(np.flatnonzero(condition).astype(np.int64))
        return n.emit("gather", [x, kept], {"axis": n.int("axis")}, last=True)
    n.emit("compress", [n.input(0), n.input(1)], {"axis": (n.int("axis"),)} if n.has("axis") else {}, last=True)


OPERATORS = {"If": if_, "Loop": loop, "Scan": scan, "NonZero": nonzero, "Compress": compress}

"""ONNX files whose parts hang together in odd ways: functions, branches, external and sparse weights, long chains."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .. import mutate, use
from ..target import Target

F32 = TensorProto.FLOAT
#: Locations that external weights name; `weights` and `pipe` are there, the latter is no file that may be read.
_LOCATIONS = ("weights", "weights", "weights", "pipe", "link", "../weights", "/dev/zero", "", ".", "absent", "weights\0",
              "a" * 5000,
              "weights/x", "folder")


class OnnxStructure(Target):
    """A case: a file; it is put beside a file of weights, a pipe, a link out of its folder and a folder."""

    name = "onnx_structure"
    weight = 4
    suffix = ".onnx"

    def make(self, rng: np.random.Generator) -> bytes:
        model = mutate.pick(rng, (_functions, _branches, _external, _sparse, _shapes, _names, _initialisers))(rng)
        data = model.SerializeToString()
        return mutate.onnx_bytes(data, rng) if not rng.integers(4) else data

    def run(self, data: bytes, folder: Path) -> None:
        (folder / "case.onnx").write_bytes(data)
        (folder / "weights").write_bytes(np.arange(64, dtype=np.float32).tobytes())
        (folder / "folder").mkdir()
        os.mkfifo(folder / "pipe")
        os.symlink("/etc/passwd", folder / "link")
        use.exercise(folder / "case.onnx", folder, use.number_of_threads(data))

    def mutate(self, data: bytes, rng: np.random.Generator) -> bytes:
        return mutate.onnx_bytes(data, rng)

    def simpler(self, data: bytes) -> Iterator[bytes]:
        return mutate.simpler_onnx(data)


def _model(nodes: list, shape: tuple = (2, 3), tensors: Any = (), output: str = "y", **more: Any) -> Any:
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", F32, shape)],
                              [helper.make_empty_tensor_value_info(output)], list(tensors))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


def _functions(rng: np.random.Generator) -> Any:
    """Functions that call each other: as a tower, twice each, in a ring, or one that is not there."""
    count, width = int(mutate.pick(rng, (1, 2, 5, 19, 40, 250))), int(rng.integers(1, 4))
    ring = not rng.integers(4)
    functions = []
    for i in range(count):
        callee = f"f{i + 1}" if i + 1 < count else "f0" if ring else ""
        names = ["a", *(f"a{k}" for k in range(width - 1)), "b"]
        nodes = [helper.make_node(callee or "Relu", [names[k]], [names[k + 1]], domain="own" if callee else "")
                 for k in range(width)]
        functions.append(helper.make_function("own", f"f{i}", ["a"], ["b"], nodes,
                                              [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
                                              ["alpha"] if not rng.integers(5) else []))
    if not rng.integers(5):
        functions.append(functions[0])
    called = f"f{int(rng.integers(0, count + 1))}" if not rng.integers(5) else "f0"
    return _model([helper.make_node(called, ["x"], ["y"], domain="own")], functions=functions)


def _branches(rng: np.random.Generator) -> Any:
    """Ifs within Ifs, whose conditions are constants, values, or of another type. Protobuf allows 33 levels."""
    depth = int(mutate.pick(rng, (1, 2, 5, 20, 30)))
    condition = numpy_helper.from_array(mutate.pick(rng, (np.array(True), np.array([False]), np.array([True, True]),
                                                          np.array(1.0, np.float32), np.array([], bool))), "c")
    inner = [helper.make_node("Relu", ["x"], ["r"])]
    output = "r"
    for i in range(depth):
        branches = {}
        for which in ("then_branch", "else_branch"):
            result = mutate.pick(rng, (output, output, output, output, "x", "nothing"))
            branches[which] = helper.make_graph(inner, which, [], [helper.make_empty_tensor_value_info(result)])
        output = f"v{i}" if rng.integers(8) else "x"
        inner = [helper.make_node("If", ["c" if rng.integers(8) else "x"], [output], **branches)]
        if i > 3:  # both branches hold all that is inside: twice as much with every level
            del inner[0].attribute[int(rng.integers(2))]
    return _model([*inner, helper.make_node("Neg", [output], ["y"])], tensors=[condition])


def _external(rng: np.random.Generator) -> Any:
    tensor = TensorProto(name="w", data_type=int(mutate.pick(rng, (F32, F32, TensorProto.FLOAT16, TensorProto.STRING, 99))))
    tensor.dims.extend(mutate.pick(rng, ([3], [2, 3], [0], [64], [65], [2**40], [2**62, 4], [2**31, 2**31])))
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": mutate.pick(rng, _LOCATIONS)}
    for key in ("offset", "length"):
        if rng.integers(2):
            entries[key] = str(mutate.pick(rng, (0, 4, 12, 24, -4, 1, 2**63, 2**200, "x", "", " 12 ", "1e3", "0x10", "٣",
                                                 "1_2")))
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return _model([helper.make_node("Add", ["x", "w"], ["y"])], tensors=[tensor])


def _sparse(rng: np.random.Generator) -> Any:
    dims = mutate.pick(rng, ([2, 3], [3], [2**40], [2**31, 2**31], [0, 3], [-1, 3], []))
    count = int(rng.integers(0, 4))
    indices = mutate.pick(rng, ([mutate.edge(rng) for _ in range(count)], list(range(count)), [0] * count,
                                list(range(count))[::-1]))
    indices = [max(-2**63, min(2**63 - 1, i)) for i in indices]
    pairs = bool(rng.integers(2)) and len(dims) == 2
    stored = np.array([[i // 3, i % 3] for i in indices] if pairs else indices, np.int64).reshape(count, -1 if count else 2)
    values = numpy_helper.from_array(np.ones(count + int(not rng.integers(6)), np.float32), "w")
    sparse = onnx.SparseTensorProto(values=values, indices=numpy_helper.from_array(stored if pairs else stored.reshape(-1), ""))
    sparse.dims.extend(dims)
    model = _model([helper.make_node("Add", ["x", "w"], ["y"])])
    model.graph.sparse_initializer.append(sparse)
    return model


def _shapes(rng: np.random.Generator) -> Any:
    """Long chains, wide fans, and shapes that are computed."""
    kind, count = int(rng.integers(4)), int(mutate.pick(rng, (1, 10, 100, 1000)))
    if kind == 0:
        op = mutate.pick(rng, ("Relu", "Neg", "Identity", "Transpose", "Softmax"))
        names = ["x", *(f"v{i}" for i in range(count)), "y"]
        return _model([helper.make_node(op, [names[i]], [names[i + 1]]) for i in range(count + 1)])
    if kind == 1:
        op = mutate.pick(rng, ("Concat", "Sum", "Max"))
        return _model([helper.make_node(op, ["x"] * count, ["y"], **({"axis": 0} if op == "Concat" else {}))])
    if kind == 2:  # each doubles what is before it
        names = ["x", *(f"v{i}" for i in range(min(count, 100))), "y"]
        op = mutate.pick(rng, ("Concat", "Add", "Mul"))
        return _model([helper.make_node(op, [names[i]] * 2, [names[i + 1]], **({"axis": 0} if op == "Concat" else {}))
                       for i in range(len(names) - 1)])
    nodes = [helper.make_node("Shape", ["x"], ["s"])]
    for i in range(min(count, 70)):
        op = mutate.pick(rng, ("Mul", "Add", "Concat"))
        nodes.append(helper.make_node(op, [nodes[-1].output[0]] * 2, [f"s{i}"], **({"axis": 0} if op == "Concat" else {})))
    op = mutate.pick(rng, ("Expand", "Reshape", "Tile", "ConstantOfShape"))
    last = nodes[-1].output[0]
    nodes.append(helper.make_node(op, [last] if op == "ConstantOfShape" else ["x", last], ["y"]))
    return _model(nodes, mutate.pick(rng, ((2, 3), ("N", 3), ("N", "N"), ())))


def _names(rng: np.random.Generator) -> Any:
    """Names that are odd, or the same for different things."""
    names = [mutate.pick(rng, ("x", "y", "a", "", " ", "é", "main/x", "preprocess", "packed", "../x", "a" * 3000, "\n",
                               "0", "n"))
             for _ in range(4)]
    nodes = [helper.make_node("Relu", ["x"], [names[0]], name=names[1]),
             helper.make_node("Add", [names[0], mutate.pick(rng, ["x", *names])], [mutate.pick(rng, ["y", *names])],
                              name=names[2])]
    output = mutate.pick(rng, ["y", *names, "x"])
    return _model(nodes, tuple(mutate.pick(rng, ("N", "?", "", 2, "x", "a" * 3000, "-1", " ")) for _ in range(2)),
                  output=output,
                  tensors=[numpy_helper.from_array(np.ones(1, np.float32), names[3])] if rng.integers(2) else [])


def _initialisers(rng: np.random.Generator) -> Any:
    """Constants of odd makes: numbers in the wrong field, several at once, strings, segments."""
    kinds = (1, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 21, 22, 0, 99)
    tensor = TensorProto(name="w", data_type=mutate.pick(rng, kinds))
    tensor.dims.extend(mutate.pick(rng, ([3], [1], [], [2, 3], [0], [1] * 70, [2**62])))
    count = 1
    for d in tensor.dims:
        count = min(count * d, 16)
    for field in {mutate.pick(rng, ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data",
                                    "string_data")) for _ in range(int(rng.integers(1, 3)))}:
        if field == "raw_data":
            tensor.raw_data = rng.bytes(count * int(mutate.pick(rng, (1, 2, 4, 8))))
        elif field == "string_data":
            tensor.string_data.extend([b"\xff", b"a"][:count])
        else:
            edges = [0, 1, 255, 256, 65535, 65536, 2**31 - 1]
            getattr(tensor, field).extend([mutate.pick(rng, edges) for _ in range(count)])
    if not rng.integers(6):
        tensor.segment.begin, tensor.segment.end = 0, 1
    op = mutate.pick(rng, ("Add", "Expand", "Gather", "Where"))
    inputs = {"Where": ["w", "x", "x"], "Gather": ["w", "w"]}.get(op, ["x", "w"])
    return _model([helper.make_node(op, inputs, ["y"])], tensors=[tensor] * int(mutate.pick(rng, (1, 1, 1, 2))))

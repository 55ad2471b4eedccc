"""Random ONNX networks with If, Loop and Scan, and with sizes that depend on contents, nested; all sums in them are exact.

Every number is a small integer, so that no rounding decides on a branch, and what two engines compute is equal.
"""

from __future__ import annotations

import random

import numpy as np
from onnx import TensorProto, helper, numpy_helper

#: Columns of what the nets call rows, [R,4] of any R, 0 included; and the shape of their images.
COLUMNS = 4
IMAGE = (1, 16, 6, 6)
#: Rows that a value has at most before it grows again, so that loops in loops stay small.
MOST_ROWS = 12


class Program:
    """One network: `data` its bytes, `inputs(seed)` arrays for a call. `depth`: blocks within blocks, at most."""

    def __init__(self, seed: int, depth: int = 3, steps: int = 5):
        self.random = random.Random(seed)
        self.rng = np.random.default_rng(seed)
        self.weights, self.number = [], 0
        rows, images = ["x", "z"], ["image"]
        nodes: list = []
        self._steps(nodes, rows, images, depth, steps)
        outputs = []
        for i, name in enumerate((rows[-1], rows[-2], images[-1])):
            nodes.append(helper.make_node("Identity", [name], [f"out{i}"]))
            shape = IMAGE if name is images[-1] else (None, COLUMNS)
            outputs.append(helper.make_tensor_value_info(f"out{i}", TensorProto.FLOAT, shape))
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, COLUMNS]),
                  helper.make_tensor_value_info("z", TensorProto.FLOAT, [5, COLUMNS]),
                  helper.make_tensor_value_info("image", TensorProto.FLOAT, IMAGE),
                  helper.make_tensor_value_info("trips", TensorProto.INT64, [])]
        graph = helper.make_graph(nodes, "net", inputs, outputs, self.weights)
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        self.data = self.model.SerializeToString()

    @staticmethod
    def inputs(seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)

        def integers(*shape: int) -> np.ndarray:
            return rng.integers(-3, 4, shape).astype(np.float32)
        return {"x": integers(3, COLUMNS), "z": integers(5, COLUMNS), "image": integers(*IMAGE),
                "trips": np.array(rng.integers(0, 4), np.int64)}

    # ---- parts of a graph

    def _name(self, word: str) -> str:
        self.number += 1
        return f"{word}{self.number}"

    def _constant(self, array: np.ndarray) -> str:
        name = self._name("c")
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _ints(self, *numbers: int) -> str:
        return self._constant(np.array(numbers, np.int64))

    def _node(self, nodes: list, op: str, *inputs: str, outputs: int = 1, **attributes) -> str:
        names = [self._name(op.lower()) for _ in range(outputs)]
        nodes.append(helper.make_node(op, list(inputs), names, self._name("n"), **attributes))
        return names[0]

    def _clipped(self, nodes: list, x: str) -> str:
        low, high = (self._constant(np.array(v, np.float32)) for v in (-4, 4))
        return self._node(nodes, "Clip", x, low, high)

    def _few(self, nodes: list, x: str) -> str:
        return self._node(nodes, "Slice", x, self._ints(0), self._ints(MOST_ROWS), self._ints(0))

    def _total(self, nodes: list, x: str) -> str:
        return self._node(nodes, "ReduceSum", x, keepdims=0)

    def _truth(self, nodes: list, x: str) -> str:
        limit = self._constant(np.array(self.random.randint(-6, 6), np.float32))
        return self._node(nodes, "Greater", self._total(nodes, x), limit)

    def _one(self, nodes: list, x: str) -> str:
        return self._node(nodes, "Reshape", x, self._ints(1))  # as ONNX Runtime wants conditions

    def _steps(self, nodes: list, rows: list[str], images: list[str], depth: int, count: int) -> None:
        r = self.random
        simple = [self._unary, self._product, self._concat, self._slice, self._compress, self._nonzero, self._sum, self._add,
                  self._convolution, self._blend, self._pooled]
        blocks = [self._if, self._if, self._loop, self._loop, self._scan, self._scan_columns]
        for i in range(count):
            nested = depth > 0 and (i == count - 1 or r.random() < 0.35)
            r.choice(blocks if nested else simple)(nodes, rows, images, *((depth - 1,) if nested else ()))

    # ---- layers on rows and images

    def _unary(self, nodes: list, rows: list[str], images: list[str]) -> None:
        rows.append(self._node(nodes, self.random.choice(("Relu", "Neg", "Abs")), self.random.choice(rows)))

    def _product(self, nodes: list, rows: list[str], images: list[str]) -> None:
        w = self._constant(self.rng.integers(-1, 2, (COLUMNS, COLUMNS)).astype(np.float32))
        rows.append(self._clipped(nodes, self._node(nodes, "MatMul", self.random.choice(rows), w)))

    def _concat(self, nodes: list, rows: list[str], images: list[str]) -> None:
        both = self._node(nodes, "Concat", self.random.choice(rows), self.random.choice(rows), axis=0)
        rows.append(self._few(nodes, both) if self.random.random() < 0.7 else both)

    def _slice(self, nodes: list, rows: list[str], images: list[str]) -> None:
        first, last = self.random.randint(-4, 2), self.random.choice((-2, -1, 2, 3, 2**40))
        rows.append(self._node(nodes, "Slice", self.random.choice(rows), self._ints(first), self._ints(last), self._ints(0)))

    def _column(self, nodes: list, x: str) -> str:
        column = self.random.randrange(COLUMNS)
        one = self._node(nodes, "Slice", x, self._ints(column), self._ints(column + 1), self._ints(1))
        return self._node(nodes, "Squeeze", one, self._ints(1))

    def _compress(self, nodes: list, rows: list[str], images: list[str]) -> None:
        x = self.random.choice(rows)
        limit = self._constant(np.array(self.random.randint(-2, 2), np.float32))
        kept = self._node(nodes, "Greater", self._column(nodes, x), limit)
        rows.append(self._node(nodes, "Compress", x, kept, axis=0))

    def _nonzero(self, nodes: list, rows: list[str], images: list[str]) -> None:
        found = self._node(nodes, "NonZero", self.random.choice(rows))
        places = self._node(nodes, "Transpose", self._node(nodes, "Cast", found, to=TensorProto.FLOAT), perm=[1, 0])
        w = self._constant(self.rng.integers(-1, 2, (2, COLUMNS)).astype(np.float32))
        rows.append(self._few(nodes, self._clipped(nodes, self._node(nodes, "MatMul", places, w))))

    def _sum(self, nodes: list, rows: list[str], images: list[str]) -> None:
        total = self._node(nodes, "ReduceSum", self.random.choice(rows), self._ints(0), keepdims=1)
        rows.append(self._clipped(nodes, total))

    def _add(self, nodes: list, rows: list[str], images: list[str]) -> None:
        x, y = self.random.choice(rows), self.random.choice(rows)
        total = self._clipped(nodes, self._node(nodes, "ReduceSum", y, self._ints(0), keepdims=1))
        rows.append(self._clipped(nodes, self._node(nodes, self.random.choice(("Add", "Mul", "Sub")), x, total)))

    def _convolution(self, nodes: list, rows: list[str], images: list[str]) -> None:
        channels, size = IMAGE[1], self.random.choice((1, 3))
        w = self._constant((self.rng.random((channels, channels, size, size)) < 0.1).astype(np.float32))
        y = self._node(nodes, "Conv", self.random.choice(images), w, pads=[size // 2] * 4)
        images.append(self._clipped(nodes, self._node(nodes, "Round", y)))

    def _blend(self, nodes: list, rows: list[str], images: list[str]) -> None:
        weight = self._clipped(nodes, self._total(nodes, self.random.choice(rows)))
        images.append(self._clipped(nodes, self._node(nodes, "Mul", self.random.choice(images), weight)))

    def _pooled(self, nodes: list, rows: list[str], images: list[str]) -> None:
        total = self._node(nodes, "ReduceSum", self.random.choice(images), self._ints(2, 3), keepdims=0)
        rows.append(self._clipped(nodes, self._node(nodes, "Reshape", total, self._ints(-1, COLUMNS))))

    # ---- layers with blocks

    def _graph(self, nodes: list, inputs: list[tuple], outputs: list[tuple]):
        """A block; `outputs` that are no results of its own nodes, but inputs, constants or captured, are handed on by one."""
        made = {v for node in nodes for v in node.output}
        found = []
        for name, dtype, shape in outputs:
            inner = name
            if name not in made or name in {n for n, _, _ in found}:
                inner = self._name("out")
                nodes.append(helper.make_node("Identity", [name], [inner]))
            found.append((inner, dtype, shape))
        infos = [[helper.make_tensor_value_info(*entry) for entry in entries] for entries in (inputs, found)]
        return helper.make_graph(nodes, self._name("block"), *infos)

    def _if(self, nodes: list, rows: list[str], images: list[str], depth: int) -> None:
        branches = []
        for _ in range(2):
            inner: list = []
            own, pictures = list(rows), list(images)
            self._steps(inner, own, pictures, depth, self.random.randint(0, 3))
            name = own[-1] if self.random.random() < 0.8 else \
                self._constant(self.rng.integers(-2, 3, (2, COLUMNS)).astype(np.float32))
            branches.append(self._graph(inner, [], [(name, TensorProto.FLOAT, (None, COLUMNS)),
                                                    (pictures[-1], TensorProto.FLOAT, IMAGE)]))
        condition = self._truth(nodes, self.random.choice(rows))
        made = self._name("rows"), self._name("image")
        nodes.append(helper.make_node("If", [condition], made, self._name("n"), then_branch=branches[0],
                                      else_branch=branches[1]))
        rows.append(made[0])
        images.append(made[1])

    def _loop(self, nodes: list, rows: list[str], images: list[str], depth: int) -> None:
        r = self.random
        at, going, a, b, picture = (self._name(n) for n in ("at", "going", "a", "b", "picture"))
        inner: list = []
        own, pictures = [*rows, a, b], [*images, picture]
        self._steps(inner, own, pictures, depth, r.randint(1, 4))
        grown = self._few(inner, self._node(inner, "Concat", a, b, axis=0))
        after = {"swap": (b, a), "grow": (grown, own[-1]), "made": (own[-1], own[-2]),
                 "stay": (a, own[-1]), "turn": (own[-1], a), "captured": (rows[-1], a)}[
                     r.choice(("swap", "grow", "made", "stay", "turn", "captured"))]
        part = self._clipped(inner, self._node(inner, "ReduceSum", own[-1], self._ints(0), keepdims=1))
        ends = r.random() < 0.4
        if ends:
            more = self._truth(inner, own[-1])
            few = self._node(inner, "Less", at, self._constant(np.array(3, np.int64)))
            going_on = self._one(inner, self._node(inner, "And", more, few))
        else:
            going_on = going
        rest = (None, COLUMNS)
        body = self._graph(inner, [(at, TensorProto.INT64, ()), (going, TensorProto.BOOL, (1,)), (a, TensorProto.FLOAT, rest),
                                   (b, TensorProto.FLOAT, rest), (picture, TensorProto.FLOAT, IMAGE)],
                           [(going_on, TensorProto.BOOL, (1,)), *((v, TensorProto.FLOAT, rest) for v in after),
                            (pictures[-1], TensorProto.FLOAT, IMAGE), (part, TensorProto.FLOAT, (1, COLUMNS)),
                            (at, TensorProto.INT64, ())])
        count = "" if ends and r.random() < 0.5 else \
            r.choice(("trips", "trips", self._constant(np.array(r.randint(0, 3), np.int64))))
        condition = r.choice(("", self._one(nodes, self._truth(nodes, rows[-1]))))
        made = [self._name("looped") for _ in range(5)]
        nodes.append(helper.make_node("Loop", [count, condition, r.choice(rows), r.choice(rows), r.choice(images)], made,
                                      self._name("n"), body=body))
        stacked = self._node(nodes, "Reshape", made[3], self._ints(-1, COLUMNS))
        turns = self._node(nodes, "Cast", self._node(nodes, "Unsqueeze", made[4], self._ints(1)), to=TensorProto.FLOAT)
        rows += [made[0], made[1], stacked, self._node(nodes, "Mul", turns, self._constant(np.ones((1, COLUMNS), np.float32)))]
        images.append(made[2])

    def _some(self, nodes: list, x: str) -> str:
        """With a row more: ONNX Runtime divides by zero where it scans nothing."""
        row = self._constant(self.rng.integers(-2, 3, (1, COLUMNS)).astype(np.float32))
        return self._node(nodes, "Concat", self._few(nodes, x), row, axis=0)

    def _scan(self, nodes: list, rows: list[str], images: list[str], depth: int) -> None:
        """Row by row of one or two values, forwards or backwards."""
        r = self.random
        x, count = self._some(nodes, r.choice(rows)), r.randint(1, 2)
        scanned = [x, self._node(nodes, "Neg", x)][:count]
        self._scanned(nodes, rows, images, depth, scanned, (COLUMNS,), 0)

    def _scan_columns(self, nodes: list, rows: list[str], images: list[str], depth: int) -> None:
        self._scanned(nodes, rows, images, depth, [self._some(nodes, self.random.choice(rows))], (None,), 1)

    def _scanned(self, nodes: list, rows: list[str], images: list[str], depth: int, scanned: list[str], shape: tuple,
                 axis: int) -> None:
        r = self.random
        state, parts = self._name("state"), [self._name("part") for _ in scanned]
        inner: list = []
        total = self._node(inner, "ReduceSum", parts[0], self._ints(0), keepdims=1)
        row = self._node(inner, "Mul", total, self._constant(np.ones((1, COLUMNS), np.float32)))
        own, pictures = [*rows, state, row], list(images)
        self._steps(inner, own, pictures, depth, r.randint(0, 2))
        part = parts[-1] if r.random() < 0.3 else \
            self._node(inner, "Add", parts[0], self._clipped(inner, self._total(inner, own[-1])))
        after = self._clipped(inner, self._node(inner, "ReduceSum", own[-1], self._ints(0), keepdims=1))
        first = self._clipped(nodes, self._node(nodes, "ReduceSum", r.choice(rows), self._ints(0), keepdims=1))
        body = self._graph(inner, [(state, TensorProto.FLOAT, (1, COLUMNS)), *((p, TensorProto.FLOAT, shape) for p in parts)],
                           [(after, TensorProto.FLOAT, (1, COLUMNS)), (part, TensorProto.FLOAT, shape)])
        made = self._name("scanned"), self._name("stacked")
        nodes.append(helper.make_node(
            "Scan", [first, *scanned], made, self._name("n"), body=body, num_scan_inputs=len(scanned),
            scan_input_axes=[axis] * len(scanned), scan_output_axes=[axis], scan_output_directions=[r.randint(0, 1)],
            scan_input_directions=[r.randint(0, 1) for _ in scanned]))
        rows += [made[0], self._clipped(nodes, made[1])]

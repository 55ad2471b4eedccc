"""What loops and scans carry from round to round: handed on as it is, by views and parts, in other places; against NumPy."""

from __future__ import annotations

import random

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import pathweave as pw

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
FEW, MANY = range(40), range(40, 600)
LIMIT = 1000.0


class Body:
    """The body of a loop or scan over vectors of equal length: nodes of ONNX, and the same in NumPy. All sums are exact."""

    def __init__(self, seed: int):
        self.random = r = random.Random(seed)
        self.nodes: list = []
        self.limit = r.randint(1, 5)
        constants = {"low": np.float32(-LIMIT), "high": np.float32(LIMIT), "all": np.array([-1]), "zero": np.array([0]),
                     "one": np.array([1]), "end": np.array([2**31 - 1]), "limit": np.array(self.limit), "true": np.array(True)}
        self.weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
        self.scan, self.open = r.random() < 0.4, r.random() < 0.5
        self.carried = [f"a{i}" for i in range(r.randint(1, 4))]
        self.steps: list = []
        self.pool = [*self.carried, "row" if self.scan else "w"]
        for _ in range(r.randint(1, 6)):
            self.pool.append(self._step())
        self.next = [self._handed_on(r.choice(self.carried if r.random() < 0.5 else self.pool)) for _ in self.carried]
        self.parts = [self._handed_on(r.choice(self.pool)) for _ in range(r.randint(0, 2))]
        #: Where the condition of the next round comes from: nowhere, from this round, or from what the last one carried.
        self.going = "" if self.scan else r.choice(("", "now", "carried", "view"))

    def _node(self, op: str, *inputs: str, **attributes) -> str:
        self.nodes.append(helper.make_node(op, inputs, [f"v{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def _step(self) -> str:
        op, a, b = self.random.choice(("Add", "Sub", "Max", "Neg", "view", "rotate")), *self.random.choices(self.pool, k=2)
        if op == "view":
            return self._handed_on(a)
        if op == "rotate":
            made = self._node("Concat", self._node("Slice", a, "one", "end"), self._node("Slice", a, "zero", "one"), axis=0)
        else:
            made = self._node(op, a, *([] if op == "Neg" else [b]))
            made = self._node("Clip", made, "low", "high")
        self.steps.append((op, a, b, made))
        return made

    def _handed_on(self, value: str) -> str:
        """The same value by another name."""
        how = self.random.choice(("Identity", "Reshape", "Squeeze", "Concat"))
        if how == "Squeeze":
            made = self._node("Squeeze", self._node("Unsqueeze", value, "zero"), "zero")
        elif how == "Concat":
            parts = self._node("Slice", value, "zero", "one"), self._node("Slice", value, "one", "end")
            made = self._node("Concat", *parts, axis=0)
        else:
            made = self._node(how, value, *(["all"] if how == "Reshape" else []))
        self.steps.append(("view", value, value, made))
        return made

    def model(self, length: int) -> bytes:
        """A network of one loop or scan."""
        size = "N" if self.open else length

        def value(name: str, dtype: int = FLOAT, shape: tuple = (size,)):
            return helper.make_tensor_value_info(name, dtype, shape)
        firsts, made = [f"{c}_0" for c in self.carried], [f"r{i}" for i in range(len(self.next) + len(self.parts))]
        results = [value(n, shape=(size,) if i < len(self.next) else (None, size)) for i, n in enumerate(made)]
        inputs, outputs = [value(c) for c in self.carried], [value(v) for v in (*self.next, *self.parts)]
        given = [value(n) for n in firsts]
        if self.scan:
            body = helper.make_graph(self.nodes, "body", [*inputs, value("row")], outputs)
            node = helper.make_node("Scan", [*firsts, "rows"], made, body=body, num_scan_inputs=1)
            given.append(value("rows", shape=(None, size)))
        else:
            node = self._loop(firsts, made, inputs, outputs, value)
            given += [value("w"), value("trips", INT64, ())]
        graph = helper.make_graph([node], "net", given, results, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()

    def _loop(self, firsts: list, made: list, inputs: list, outputs: list, value):
        """The node of a loop; `made` gets the name of one more output where the condition is carried."""
        nodes, states, count = list(self.nodes), [], len(self.next)
        if self.going:
            nodes.append(helper.make_node("Less", ["i", "limit"], ["now"]))
        if self.going in ("carried", "view"):
            inputs, states = [*inputs, value("before", BOOL, ())], ["true"]
            outputs = [*outputs[:count], value("now", BOOL, ()), *outputs[count:]]
            made.insert(count, "stopped")
        source = {"": "condition", "now": "now"}.get(self.going, "before")
        if self.going == "view":
            nodes += [helper.make_node("Unsqueeze", [source, "zero"], ["wide"]),
                      helper.make_node("Squeeze", ["wide"], ["going"])]
        else:
            nodes.append(helper.make_node("Identity", [source], ["going"]))
        body = helper.make_graph(nodes, "body", [value("i", INT64, ()), value("condition", BOOL, ()), *inputs],
                                 [value("going", BOOL, ()), *outputs])
        return helper.make_node("Loop", ["trips", "true", *firsts, *states], made, body=body)

    def inputs(self, length: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        def numbers(*shape: int) -> np.ndarray:
            return rng.integers(-5, 6, shape).astype(np.float32)
        given = {f"{c}_0": numbers(length) for c in self.carried}
        rounds = int(rng.integers(0, 7))
        return {**given, "rows": numbers(rounds + 1, length)} if self.scan else \
            {**given, "w": numbers(length), "trips": np.array(rounds)}

    def expected(self, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        carried = [given[f"{c}_0"] for c in self.carried]
        parts: list[list[np.ndarray]] = [[] for _ in self.parts]
        before, going, i = True, True, 0
        while going and i < (len(given["rows"]) if self.scan else given["trips"]):
            values = dict(zip(self.carried, carried))
            values.update({"row": given["rows"][i]} if self.scan else {"w": given["w"]})
            for op, a, b, made in self.steps:
                x, y = values[a], values[b]
                values[made] = {"view": lambda x, y: x, "rotate": lambda x, y: np.roll(x, -1), "Neg": lambda x, y: -x,
                                "Add": np.add, "Sub": np.subtract, "Max": np.maximum}[op](x, y).clip(-LIMIT, LIMIT)
            for part, value in zip(parts, self.parts):
                part.append(values[value])
            carried = [values[v] for v in self.next]
            now = i < self.limit
            going = {"": True, "now": now}.get(self.going, before)
            before, i = now, i + 1
        width = len(carried[0])
        return carried + [np.array(p, np.float32).reshape(-1, width) for p in parts]


def compare(seed: int, threads: tuple[int, ...]) -> None:
    body, rng = Body(seed), np.random.default_rng(seed)
    data = body.model(4)
    for number in threads:
        model = pw.load(data, threads=number)
        for length in (4, 4, 3, 9, 1, 40) if body.open else (4, 4, 4):
            given = body.inputs(length, rng)
            got, wanted = list(model.run(given).values()), body.expected(given)
            for i, (value, want) in enumerate(zip(got, wanted, strict=True)):
                assert want.size == 0 and value.size == 0 or np.array_equal(value, want), (number, length, i, value, want)


@pytest.mark.parametrize("seed", FEW)
def test_random_bodies(seed):
    compare(seed, (2,))


@pytest.mark.long
@pytest.mark.parametrize("seed", MANY)
def test_many_random_bodies(seed):
    compare(seed, (1, 5))


@pytest.mark.parametrize("shape", [(4,), (2, 2)])
def test_a_carried_value_and_what_it_was_before(shape):
    """(a, b) -> (a + b, a): numbers of Fibonacci."""
    body = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Reshape", ["a", "shape"], ["before"]),
         helper.make_node("Identity", ["c"], ["going"])], "body",
        [helper.make_tensor_value_info("i", INT64, ()), helper.make_tensor_value_info("c", BOOL, ()),
         *(helper.make_tensor_value_info(n, FLOAT, shape) for n in "ab")],
        [helper.make_tensor_value_info("going", BOOL, ()), *(helper.make_tensor_value_info(n, FLOAT, shape)
                                                             for n in ("sum", "before"))])
    graph = helper.make_graph([helper.make_node("Loop", ["n", "", "x", "y"], ["p", "q"], body=body)], "net",
                              [helper.make_tensor_value_info("n", INT64, ()),
                               *(helper.make_tensor_value_info(n, FLOAT, shape) for n in "xy")],
                              [helper.make_tensor_value_info(n, FLOAT, shape) for n in "pq"],
                              [numpy_helper.from_array(np.array(shape), "shape")])
    model = pw.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    got = model.run({"n": np.array(10), "x": np.ones(shape, np.float32), "y": np.zeros(shape, np.float32)})
    assert np.array_equal(got["p"], np.full(shape, 89)) and np.array_equal(got["q"], np.full(shape, 55))

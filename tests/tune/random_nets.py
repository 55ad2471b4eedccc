"""Random nets of every kind of layer, with what they compute in float64.

`RandomNet(seed)` makes an ONNX model node by node. Every value is computed as it is made, in float64, by onnx.reference or by
a NumPy line of this file; nothing of pathweave takes part. Beside the exact values it carries some that an accuracy class may
give instead: after each node noise of the class's size is added. How far they end up from the exact ones says how much a net
may enlarge the errors of its layers, and is the bound for outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from pathweave.net.accuracy import LIMITS

#: Noisy copies of every value per accuracy class, and how many times their error outputs may have.
COPIES, SLACK = 3, 4.0
#: Elements of a value at most, and its root mean square.
LARGEST, LEVELS = 6000, (1e-2, 1e2)
#: A decision (a comparison, a rounding) is taken at least this far from where it would be another one, relatively.
MARGIN = 1e-3
#: Noise that changes no decision.
_STEADY = LIMITS["f32"]
_NOISE = [0.0, *(limit for limit in LIMITS.values() for _ in range(COPIES))]


class Unfit(Exception):
    """A node that cannot be used here: it is not defined, too large, or no longer a fair test."""


@dataclass
class Value:
    """`arrays`: the exact value, then the noisy ones. `decided`: it depends on a decision that noise may change."""

    name: str
    arrays: list[np.ndarray]
    decided: bool = False

    @property
    def exact(self) -> np.ndarray:
        return self.arrays[0]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.exact.shape

    @property
    def rank(self) -> int:
        return self.exact.ndim


def rms(x: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(x)))) if x.size else 0.0


def error(got: np.ndarray, exact: np.ndarray) -> float:
    """Relative RMS error."""
    return rms(np.asarray(got, np.float64) - exact) / max(rms(exact), 1e-30)


# ---- what onnx.reference lacks, or computes in float32 ----------------------------------------------------------------

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _group_norm(x, scale, bias, num_groups, epsilon):
    groups = x.reshape(x.shape[0], num_groups, -1)
    groups = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + epsilon)
    along = (1, -1) + (1,) * (x.ndim - 2)
    return groups.reshape(x.shape) * scale.reshape(along) + bias.reshape(along)


def _lrn(x, size, alpha, beta, bias):
    before = (size - 1) // 2
    padded = np.pad(x * x, [(0, 0), (before, size - 1 - before), (0, 0), (0, 0)])
    total = sum(padded[:, i:i + x.shape[1]] for i in range(size))
    return x / (bias + alpha / size * total) ** beta


_OWN = {
    "Erf": lambda x: _erf(x),
    "Gelu": lambda x, approximate="none": 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "GroupNormalization": _group_norm,
    "LRN": _lrn,
    "Softplus": lambda x: np.logaddexp(0, x),
}


def _compute(op: str, arrays: list, attributes: dict, outputs: int) -> list[np.ndarray]:
    if op in _OWN:
        return [_OWN[op](*arrays, **attributes)]
    names = ["" if a is None else f"x{i}" for i, a in enumerate(arrays)]
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], **attributes)
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(node).run(None, {n: a for n, a in zip(names, arrays) if n})


class RandomNet:
    """A net from a seed. `model`: its bytes. `inputs`: arrays by name. `values`: of its outputs, by name; a name twice or
    that of an input among them. `ops`: the kinds of nodes in it."""

    def __init__(self, seed: int, nodes: int = 9):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights, self.pool = [], [], []
        self.inputs: dict[str, np.ndarray] = {}
        self.read: set[str] = set()
        for _ in range(int(self.rng.choice([1, 1, 2, 3]))):
            self._input()
        while len(self.nodes) < nodes:
            self._grow()
        self.values = self._outputs()
        self.ops = {n.op_type for n in self.nodes}
        self.model = self._model()

    # ---- making -----------------------------------------------------------------------------------------------------

    def one(self, *options):
        """One of some options."""
        return options[int(self.rng.integers(len(options)))]

    def whole(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def numbers(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        """Normal numbers that are float32."""
        return (scale * self.rng.standard_normal(shape)).astype(np.float32)

    def _input(self) -> None:
        rank = self.one(1, 2, 3, 4, 4, 4, 4, 5, 6)
        shape = [self.whole(1, 5) for _ in range(rank)]
        if rank == 4:
            shape = [self.one(1, 1, 2), self.one(1, 3, 4, 8, 16, 32), self.whole(1, 9), self.whole(1, 9)]
        elif rank < 4:
            shape[-1] = self.one(1, 3, 8, 16, 33)
        name = f"in{len(self.inputs)}"
        self.inputs[name] = self.numbers(*shape)
        self.pool.append(Value(name, [self.inputs[name].astype(np.float64)] * len(_NOISE)))

    def constant(self, array) -> Value:
        """A constant of the net; floats are float32."""
        array = np.asarray(array)
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array.astype(np.float32) if array.dtype.kind == "f" else array, name))
        exact = array.astype(np.float32).astype(np.float64) if array.dtype.kind == "f" else array
        return Value(name, [exact] * len(_NOISE))

    def node(self, op: str, *inputs: Value | None, outputs: int = 1, decides: bool = False, **attributes) -> list[Value]:
        """A node; Unfit where its results are no fair test."""
        found = [_compute(op, [None if v is None else v.arrays[i] for v in inputs], attributes, outputs)
                 for i in range(len(_NOISE))]
        decided = decides or any(v is not None and v.decided for v in inputs)
        made = [Value(f"v{len(self.nodes)}_{k}", [np.asarray(row[k]) for row in found], decided) for k in range(outputs)]
        for v in made:
            self._judge(v)
        self.nodes.append(helper.make_node(op, [v.name if v else "" for v in inputs], [v.name for v in made],
                                           f"n{len(self.nodes)}_{op}", **attributes))
        self.read |= {v.name for v in inputs if v is not None}
        return made

    def _judge(self, v: Value) -> None:
        if not 0 < v.exact.size <= LARGEST or v.rank > 6:
            raise Unfit("its size")
        if v.exact.dtype.kind != "f":
            return
        if not all(np.isfinite(a).all() for a in v.arrays) or not LEVELS[0] <= rms(v.exact) <= LEVELS[1]:
            raise Unfit("its numbers")
        for i, size in enumerate(_NOISE):
            if v.decided and size > _STEADY:
                v.arrays[i] = v.exact
            elif size:
                noise = 0.7 * self.rng.standard_normal(v.shape) + 0.7 * self.rng.standard_normal()
                v.arrays[i] = v.arrays[i] + size * rms(v.exact) * noise

    def add(self, op: str, *inputs, **attributes) -> Value:
        """The only result of a node."""
        return self.node(op, *inputs, **attributes)[0]

    def _grow(self) -> None:
        """One more node, or a few that belong together; what does not fit is taken back."""
        x = self.pool[-1] if self.rng.random() < 0.6 else self.one(*self.pool)
        move = self.one(*MOVES[min(x.rank, 5) if self.rng.random() < 0.5 else None])
        before = len(self.nodes), len(self.weights), set(self.read)
        try:
            made = move(self, x)
        except (Unfit, ValueError, IndexError, TypeError, RuntimeError, ArithmeticError, AssertionError):
            del self.nodes[before[0]:], self.weights[before[1]:]
            self.read = before[2]
            return
        self.pool += [v for v in (made if isinstance(made, list) else [made]) if v.exact.dtype.kind == "f"]

    def _outputs(self) -> dict[str, Value]:
        made = [v for v in self.pool if v.name not in self.inputs]
        chosen = [v for v in made if v.name not in self.read or self.rng.random() < 0.15]
        if self.rng.random() < 0.05:
            chosen.append(self.pool[0])  # an input
        return {v.name: v for v in chosen}

    def _model(self) -> bytes:
        ins = [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(a.shape)) for n, a in self.inputs.items()]
        outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(v.shape)) for n, v in self.values.items()]
        graph = helper.make_graph(self.nodes, "random", ins, outs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()

    # ---- checking ---------------------------------------------------------------------------------------------------

    def allowed(self, name: str, accuracy: str) -> float:
        """Largest relative RMS error of an output in a class; infinite where it hangs on a decision that the class may take
        otherwise."""
        v = self.values[name]
        if v.decided and accuracy in ("reduced", "quantised"):
            return float("inf")
        first = 1 + COPIES * list(LIMITS).index(accuracy)
        return SLACK * max(error(a, v.exact) for a in v.arrays[first:first + COPIES]) + LIMITS[accuracy]

    def wrong(self, got: dict[str, np.ndarray], accuracy: str) -> list[str]:
        """What is wrong with outputs, a line each."""
        lines = [] if list(got) == list(self.values) else [f"outputs {list(got)}, expected {list(self.values)}"]
        for name, v in self.values.items():
            found = np.asarray(got[name])
            if found.shape != v.shape or not np.isfinite(found).all():
                lines.append(f"{name}: {found.shape}, expected finite numbers of {v.shape}")
            elif not error(found, v.exact) <= self.allowed(name, accuracy):
                lines.append(f"{name}: error {error(found, v.exact):.3g}, allowed {self.allowed(name, accuracy):.3g}")
        return lines


# ---- what may follow a value --------------------------------------------------------------------------------------------

def _unary(n: RandomNet, x: Value) -> Value:
    op, attributes = n.one(
        ("Relu", {}), ("Sigmoid", {}), ("Tanh", {}), ("HardSwish", {}), ("HardSigmoid", {}), ("Abs", {}), ("Neg", {}),
        ("Exp", {}),
        ("Sin", {}), ("Cos", {}), ("Erf", {}), ("Gelu", {}), ("Softplus", {}), ("Softsign", {}), ("Mish", {}), ("Identity", {}),
        ("Elu", {"alpha": 0.7}), ("Selu", {}), ("Celu", {"alpha": 1.5}), ("LeakyRelu", {"alpha": 0.1}),
        ("Shrink", {"lambd": 0.0}))
    return n.add(op, x, **attributes)


def _positive(n: RandomNet, x: Value) -> Value:
    y = n.add("Add", n.add("Abs", x), n.constant(np.float32(0.5)))
    return n.add(n.one("Sqrt", "Log", "Reciprocal"), y)


def _silu(n: RandomNet, x: Value) -> Value:
    return n.add("Mul", x, n.add("Sigmoid", x))


def _clip(n: RandomNet, x: Value) -> Value:
    return n.add("Clip", x, n.constant(np.float32(-0.8)), n.constant(np.float32(1.1)))


def _beside(n: RandomNet, x: Value) -> np.ndarray:
    """A constant that broadcasts with x, sometimes of a higher rank."""
    shape = [d if n.rng.random() < 0.5 else 1 for d in x.shape]
    if n.rng.random() < 0.3:
        shape = shape[n.whole(0, len(shape)):]
    elif n.rng.random() < 0.25:
        shape = [n.one(1, 2), *([1] * (len(shape) - x.rank)), *shape]
    return n.numbers(*shape)


def _with_constant(n: RandomNet, x: Value) -> Value:
    op, c = n.one("Add", "Sub", "Mul", "Div", "Max", "Min"), _beside(n, x)
    other = n.constant(np.sign(c) * (np.abs(c) + 0.5) if op == "Div" else c)
    return n.add(op, *((x, other) if op == "Div" or n.rng.random() < 0.7 else (other, x)))


def _with_value(n: RandomNet, x: Value) -> Value:
    fitting = [v for v in n.pool if v is not x and _broadcasts(v.shape, x.shape)] or [x]
    other = n.one(*fitting)
    op = n.one("Add", "Add", "Sub", "Mul", "Max", "Min", "Mean", "Sum")
    return n.add(op, *((x, other) if n.rng.random() < 0.5 else (other, x)))


def _broadcasts(a, b) -> bool:
    return all(p == q or 1 in (p, q) for p, q in zip(a[::-1], b[::-1]))


def _square(n: RandomNet, x: Value) -> Value:
    return n.add("Pow", x, n.constant(np.float32(2)))


def _decide(n: RandomNet, x: Value) -> Value:
    """Rounding, comparing, choosing: only where no value is near the edge."""
    kind = n.one("Round", "Floor", "Ceil", "Sign", "Cast", "Where", "IsNaN", "Mod", "ThresholdedRelu")
    level = rms(x.exact)
    if kind == "IsNaN":
        return n.add("Cast", n.add("Not", n.add("IsNaN", x)), to=TensorProto.FLOAT)
    edges = {"Round": np.floor(x.exact) + 0.5, "Sign": 0.0, "Where": 0.3, "ThresholdedRelu": 0.4}
    near = np.abs(x.exact - edges.get(kind, np.round(x.exact)))
    if near.min() < MARGIN * max(1.0, level):
        raise Unfit("near the edge")
    if kind == "Cast":
        return n.add("Cast", n.add("Cast", x, to=TensorProto.INT64, decides=True), to=TensorProto.FLOAT, decides=True)
    if kind == "ThresholdedRelu":
        return n.add(kind, x, alpha=0.4, decides=True)
    if kind == "Mod":
        return n.add("Mod", x, n.constant(np.float32(1.0)), fmod=1, decides=True)
    if kind == "Where":
        condition = n.add(n.one("Less", "Greater", "LessOrEqual", "GreaterOrEqual"), x, n.constant(np.float32(0.3)),
                          decides=True)
        if n.rng.random() < 0.5:
            same = n.add("Equal", n.constant(n.rng.integers(0, 2, x.shape)), n.constant(np.int64(1)))
            condition = n.add(n.one("And", "Or", "Xor"), condition, same, decides=True)
        return n.add("Where", condition, x, n.constant(_beside(n, x)), decides=True)
    return n.add(kind, x, decides=True)


def _reduce(n: RandomNet, x: Value) -> Value:
    axes = sorted(n.rng.choice(x.rank, n.whole(1, x.rank), replace=False).tolist())
    axes = [a - x.rank if n.rng.random() < 0.3 else a for a in axes]
    op = n.one("ReduceMean", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare",
               "ReduceLogSumExp", "ReduceProd")
    return n.add(op, x, n.constant(np.array(axes, np.int64)), keepdims=n.one(0, 1))


def _softmax(n: RandomNet, x: Value) -> Value:
    return n.add(n.one("Softmax", "Softmax", "LogSoftmax"), x, axis=n.whole(-x.rank, x.rank - 1))


def _extreme(n: RandomNet, x: Value) -> Value | list[Value]:
    axis = n.whole(0, x.rank - 1)
    ordered = np.sort(x.exact, axis)
    if x.shape[axis] > 1 and np.diff(ordered, axis=axis).min() < MARGIN * rms(x.exact):
        raise Unfit("near the edge")
    kind = n.one("ArgMax", "ArgMin", "TopK", "Hardmax")
    if kind == "Hardmax":
        return n.add("Hardmax", x, axis=axis, decides=True)
    if kind == "TopK":
        k = n.whole(1, x.shape[axis])
        values, places = n.node("TopK", x, n.constant(np.array([k], np.int64)), axis=axis, outputs=2, decides=True)
        return [values, n.add("Cast", places, to=TensorProto.FLOAT, decides=True)] if n.rng.random() < 0.5 else values
    return n.add("Cast", n.add(kind, x, axis=axis, keepdims=n.one(0, 1), decides=True), to=TensorProto.FLOAT, decides=True)


def _layer_norm(n: RandomNet, x: Value) -> Value:
    axis = n.whole(-min(2, x.rank), -1)
    shape = x.shape[axis:]
    if math.prod(shape) < 4:
        raise Unfit("too few numbers")
    scale, bias = n.constant(1 + n.numbers(*shape, scale=0.2)), n.constant(n.numbers(*shape))
    return n.add("LayerNormalization", x, scale, bias, axis=axis, epsilon=1e-3)


def _dense(n: RandomNet, x: Value) -> Value:
    depth, out = x.shape[-1], n.one(1, 5, 8, 16, 33)
    y = n.add("MatMul", x, n.constant(n.numbers(depth, out, scale=depth ** -0.5)))
    return n.add("Add", y, n.constant(n.numbers(out))) if n.rng.random() < 0.6 else y


def _gemm(n: RandomNet, x: Value) -> Value:
    depth, out = x.shape[1], n.one(1, 4, 10, 16, 32)
    y = n.add("Gemm", x, n.constant(n.numbers(out, depth, scale=depth ** -0.5)), n.constant(n.numbers(out)), transB=1)
    return n.add("Relu", y) if n.rng.random() < 0.5 else y


def _attention(n: RandomNet, x: Value) -> Value:
    swap = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
    scores = n.add("MatMul", x, n.add("Transpose", x, perm=swap))
    scores = n.add("Mul", scores, n.constant(np.float32(x.shape[-1] ** -0.5)))
    return n.add("MatMul", n.add("Softmax", scores, axis=-1), x)


def _transpose(n: RandomNet, x: Value) -> Value:
    return n.add("Transpose", x, perm=[int(p) for p in n.rng.permutation(x.rank)])


def _reshape(n: RandomNet, x: Value) -> Value:
    rank = n.whole(1, 6)
    shape, left = [1] * rank, x.exact.size
    while left > 1:
        prime = next(p for p in range(2, left + 1) if left % p == 0)
        shape[n.whole(0, rank - 1)] *= prime
        left //= prime
    if n.rng.random() < 0.5:
        shape[n.whole(0, rank - 1)] = -1
    return n.add("Reshape", x, n.constant(np.array(shape, np.int64)))


def _ranks(n: RandomNet, x: Value) -> Value:
    kind = n.one("Flatten", "Squeeze", "Unsqueeze")
    if kind == "Flatten":
        return n.add("Flatten", x, axis=n.whole(0, x.rank))
    ones = [i for i, d in enumerate(x.shape) if d == 1]
    if kind == "Squeeze" and ones:
        return n.add("Squeeze", x, n.constant(np.array([n.one(*ones)], np.int64)))
    return n.add("Unsqueeze", x, n.constant(np.array([n.whole(0, x.rank)], np.int64)))


def _enlarge(n: RandomNet, x: Value) -> Value:
    if n.rng.random() < 0.5:
        return n.add("Tile", x, n.constant(np.array([n.one(1, 1, 2) for _ in x.shape], np.int64)))
    shape = [n.one(2, 3) if d == 1 else d for d in x.shape]
    shape = n.one(shape, [2, *shape], [1] * x.rank)
    return n.add("Expand", x, n.constant(np.array(shape, np.int64)))


def _concat(n: RandomNet, x: Value) -> Value:
    axis = n.whole(0, x.rank - 1)
    fitting = [v for v in n.pool if v.rank == x.rank and all(
        p == q or i == axis for i, (p, q) in enumerate(zip(v.shape, x.shape)))] or [x]
    parts = [x, *(n.one(*fitting) for _ in range(n.whole(1, 2)))]
    if n.rng.random() < 0.25:
        parts.insert(n.whole(0, len(parts)), n.constant(n.numbers(*x.shape)))
    return n.add("Concat", *parts, axis=axis - x.rank if n.rng.random() < 0.3 else axis)


def _split(n: RandomNet, x: Value) -> list[Value]:
    axis = n.whole(0, x.rank - 1)
    if x.shape[axis] < 2:
        raise Unfit("too short")
    first = n.whole(1, x.shape[axis] - 1)
    return n.node("Split", x, n.constant(np.array([first, x.shape[axis] - first], np.int64)), axis=axis, outputs=2)


def _slice(n: RandomNet, x: Value) -> Value:
    axes = sorted(n.rng.choice(x.rank, n.whole(1, min(2, x.rank)), replace=False).tolist())
    ends, starts, steps = [], [], []
    for a in axes:
        start, step = n.whole(0, x.shape[a] - 1), n.one(1, 1, 2)
        starts.append(start), ends.append(n.whole(start + 1, x.shape[a] + 2)), steps.append(step)
    return n.add("Slice", x, *(n.constant(np.array(a, np.int64)) for a in (starts, ends, axes, steps)))


def _pad(n: RandomNet, x: Value) -> Value:
    mode = n.one("constant", "constant", "reflect", "edge")
    most = [min(2, d - 1) if mode == "reflect" else 2 for d in x.shape]
    pads = [n.whole(0, m) if n.rng.random() < 0.5 else 0 for m in most * 2]
    rest = (n.constant(np.float32(0.25)),) if mode == "constant" and n.rng.random() < 0.5 else ()
    return n.add("Pad", x, n.constant(np.array(pads, np.int64)), *rest, mode=mode)


def _gather(n: RandomNet, x: Value) -> Value:
    axis = n.whole(0, x.rank - 1)
    places = n.rng.integers(-x.shape[axis], x.shape[axis], n.one((), (3,), (2, 2)))
    return n.add("Gather", x, n.constant(np.asarray(places, np.int64)), axis=axis)


def _of_shape(n: RandomNet, x: Value) -> Value:
    """Nodes that only look at shapes."""
    shape = n.add("Shape", x)
    if n.rng.random() < 0.5:
        ones = n.add("ConstantOfShape", shape, value=numpy_helper.from_array(np.array([0.5], np.float32)))
    else:
        last = n.add("Gather", shape, n.constant(np.int64(-1)))
        ones = n.add("Cast", n.add("Range", n.constant(np.int64(0)), last, n.constant(np.int64(1))), to=TensorProto.FLOAT)
    return n.add("Mul", x, Value(ones.name, [np.asarray(a, np.float64) for a in ones.arrays]))


def _conv(n: RandomNet, x: Value) -> Value:
    channels = x.shape[1]
    groups = n.one(1, 1, 1, channels, *(g for g in (2, 4) if channels % g == 0))
    per = channels // groups
    out = groups * n.one(1, 1, 2) if groups == channels else groups * n.one(1, 4, 8, 16)
    kernel = [n.one(1, 1, 3, 3, 3, 5, 2), n.one(1, 1, 3, 3, 3, 5, 2)]
    kernel = n.one(kernel, [kernel[0]] * 2)
    weights = n.constant(n.numbers(out, per, *kernel, scale=(per * kernel[0] * kernel[1]) ** -0.5))
    bias = (n.constant(n.numbers(out)),) if n.rng.random() < 0.7 else ()
    dilation = n.one(1, 1, 1, 2)
    pads = [n.whole(0, k // 2 + dilation - 1) for k in kernel * 2]
    y = n.add("Conv", x, weights, *bias, group=groups, strides=[n.one(1, 1, 2), n.one(1, 1, 2)], dilations=[dilation] * 2,
              pads=n.one(pads, [k // 2 for k in kernel * 2]))
    follow = n.one(None, "Relu", "HardSwish", "Clip", "Add")
    if follow == "Clip":
        return n.add("Clip", y, n.constant(np.float32(0)), n.constant(np.float32(6)))
    if follow == "Add":
        same = [v for v in n.pool if v.shape == y.shape]
        return n.add("Relu", n.add("Add", y, n.one(*same))) if same else y
    return n.add(follow, y) if follow else y


def _conv1(n: RandomNet, x: Value) -> Value:
    channels, out, kernel = x.shape[1], n.one(1, 4, 8), n.one(1, 2, 3)
    weights = n.constant(n.numbers(out, channels, kernel, scale=(channels * kernel) ** -0.5))
    if n.rng.random() < 0.3:
        return n.add("MaxPool", x, kernel_shape=[kernel], strides=[n.one(1, 2)])
    return n.add("Conv", x, weights, strides=[n.one(1, 2)], pads=[kernel // 2] * 2)


def _conv_transpose(n: RandomNet, x: Value) -> Value:
    channels, kernel, stride = x.shape[1], n.one(1, 2, 3, 4), n.one(1, 2, 2, 3)
    out = n.one(1, 4, 8)
    weights = n.constant(n.numbers(channels, out, kernel, kernel, scale=(channels * kernel) ** -0.5))
    return n.add("ConvTranspose", x, weights, n.constant(n.numbers(out)), strides=[stride] * 2,
                 pads=[n.whole(0, kernel // 2)] * 4)


def _pool(n: RandomNet, x: Value) -> Value:
    kernel = [n.one(1, 2, 3), n.one(1, 2, 3)]
    attributes = {"kernel_shape": kernel, "strides": [n.one(1, 2), n.one(1, 2)],
                  "pads": [n.whole(0, k // 2) for k in kernel * 2]}
    op = n.one("MaxPool", "AveragePool", "LpPool")
    if op == "AveragePool":
        attributes["count_include_pad"] = n.one(0, 1)
    return n.add(op, x, **attributes)


def _global_pool(n: RandomNet, x: Value) -> Value:
    return n.add(n.one("GlobalAveragePool", "GlobalAveragePool", "GlobalMaxPool"), x)


def _norm(n: RandomNet, x: Value) -> Value:
    channels = x.shape[1]
    scale, bias = n.constant(1 + n.numbers(channels, scale=0.2)), n.constant(n.numbers(channels))
    kind = n.one("BatchNormalization", "BatchNormalization", "InstanceNormalization", "LRN", "GroupNormalization")
    if kind == "BatchNormalization":
        return n.add(kind, x, scale, bias, n.constant(n.numbers(channels)), n.constant(0.5 + np.abs(n.numbers(channels))))
    if kind == "LRN":
        return n.add(kind, x, size=n.one(1, 3, 5), alpha=0.1, beta=0.75, bias=1.0)
    if math.prod(x.shape[2:]) < 4:
        raise Unfit("too few numbers")
    if kind == "GroupNormalization":
        groups = n.one(*(g for g in (1, 2, 4) if channels % g == 0))
        # in opset 20 scale and bias are one per group
        return n.add("InstanceNormalization", x, scale, bias, epsilon=1e-3) if groups != 1 else \
            n.add(kind, x, n.constant(np.float32([1.2])), n.constant(np.float32([0.3])), num_groups=1, epsilon=1e-3)
    return n.add(kind, x, scale, bias, epsilon=1e-3)


def _prelu(n: RandomNet, x: Value) -> Value:
    return n.add("PRelu", x, n.constant(n.numbers(x.shape[1], *[1] * (x.rank - 2), scale=0.3)))


def _blocks(n: RandomNet, x: Value) -> Value:
    if n.rng.random() < 0.5 and x.shape[1] % 4 == 0:
        return n.add("DepthToSpace", x, blocksize=2, mode=n.one("DCR", "CRD"))
    return n.add("SpaceToDepth", x, blocksize=2)


def _resize(n: RandomNet, x: Value) -> Value:
    nearest = n.rng.random() < 0.5
    rest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"} if nearest else \
        {"mode": "linear", "coordinate_transformation_mode": n.one("half_pixel", "align_corners", "asymmetric")}
    sizes = [*x.shape[:2], x.shape[2] * n.one(1, 2, 3), x.shape[3] * n.one(1, 2)]
    return n.add("Resize", x, None, None, n.constant(np.array(sizes, np.int64)), **rest)


def _squeeze_excite(n: RandomNet, x: Value) -> Value:
    channels = x.shape[1]
    small = max(1, channels // 4)
    y = n.add("GlobalAveragePool", x)
    weights = n.constant(n.numbers(small, channels, 1, 1, scale=channels ** -0.5))
    y = n.add("Relu", n.add("Conv", y, weights, n.constant(n.numbers(small))))
    weights = n.constant(n.numbers(channels, small, 1, 1, scale=small ** -0.5))
    y = n.add("Conv", y, weights, n.constant(n.numbers(channels)))
    return n.add("Mul", x, n.add(n.one("Sigmoid", "HardSigmoid"), y))


def _inverted_residual(n: RandomNet, x: Value) -> Value:
    channels = x.shape[1]
    wide, act = 2 * channels, n.one("Relu", "HardSwish")

    def conv(y, out, per, kernel, **rest):
        weights = n.numbers(out, per, kernel, kernel, scale=(per * kernel * kernel) ** -0.5)
        return n.add("Conv", y, n.constant(weights), n.constant(n.numbers(out)), pads=[kernel // 2] * 4, **rest)
    y = n.add(act, conv(x, wide, channels, 1))
    y = n.add(act, conv(y, wide, 1, 3, group=wide))
    y = conv(y, channels, wide, 1)
    return n.add("Add", y, x) if n.rng.random() < 0.7 else y


#: By rank, 5 for all above 4; None: of every rank.
MOVES = {
    None: [_unary, _unary, _silu, _positive, _clip, _with_constant, _with_constant, _with_value, _with_value, _square, _decide,
           _reduce, _transpose, _reshape, _ranks, _enlarge, _concat, _concat, _split, _slice, _pad, _gather, _of_shape,
           _softmax, _extreme, _layer_norm],
    0: [_ranks], 1: [_dense, _ranks],
    2: [_dense, _gemm, _gemm, _gemm, _prelu], 3: [_dense, _dense, _attention, _attention, _prelu, _conv1],
    4: [*[_conv] * 8, _pool, _pool, _global_pool, _norm, _norm, _prelu, _blocks, _resize, _resize, _conv_transpose,
        _conv_transpose, _squeeze_excite, _squeeze_excite, _inverted_residual, _inverted_residual, _attention, _dense],
    5: [_attention, _dense, _reduce, _reduce, _ranks, _ranks],
}

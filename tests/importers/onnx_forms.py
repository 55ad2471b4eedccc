"""Constructs of models in the forms that exporters and simplifiers write them in, as graphs of ONNX."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import helper
from onnx_models import build

#: construct -> {form: function that adds nodes to a graph and returns its output}
FORMS: dict[str, dict[str, Callable]] = {}


class Form:
    """A graph with one input `x`; weights by name are the same in all forms of a construct."""

    def __init__(self, *shape: int, opset: int = 20):
        self.x = np.random.default_rng(7).standard_normal(shape).astype(np.float32)
        self.opset, self.nodes, self.constants = opset, [], {}

    def const(self, value, dtype=np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype)
        return name

    def ints(self, *values: int) -> str:
        return self.const(values, np.int64)

    def array(self, name: str, *shape: int, low: float = -1.0) -> np.ndarray:
        """Numbers that depend on the name and shape alone."""
        seed = sum(map(ord, name)) + 1000 * int(np.prod(shape))
        return np.random.default_rng(seed).uniform(low, 1.0, shape)

    def weights(self, name: str, *shape: int, low: float = -1.0) -> str:
        return self.const(self.array(name, *shape, low=low))

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attrs) -> str | list[str]:
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"/{kind}_{len(self.nodes)}", **attrs))
        return names[0] if outputs == 1 else names

    def number(self, kind: str, x: str, value: float, left: bool = False) -> str:
        c = self.const(value)
        return self.op(kind, *((c, x) if left else (x, c)))

    def conv(self, x: str, cin: int, cout: int, k: int = 1, name: str = "w", norm: str = "", groups: int = 1, stride: int = 1):
        """A convolution; `norm`: how a batch norm behind it is written, "folded", "layer" or "arithmetic"."""
        w, b = self.array(name, cout, cin // groups, k, k), self.array(name + "b", cout)
        attrs = {"kernel_shape": [k, k], "pads": [k // 2] * 4, "strides": [stride] * 2, "group": groups}
        if not norm:
            return self.op("Conv", x, self.const(w), self.const(b), **attrs)
        scale, mean, variance = (self.array(name + part, cout, low=0.5) for part in ("s", "m", "v"))
        factor = scale / np.sqrt(variance + 1e-3)
        shift = b - mean * factor
        if norm == "folded":
            return self.op("Conv", x, self.const(w * factor[:, None, None, None]), self.const(shift), **attrs)
        y = self.op("Conv", x, self.const(w), **attrs)
        if norm == "layer":
            return self.op("BatchNormalization", y, *map(self.const, (scale, b, mean, variance)), epsilon=1e-3)
        y = self.op("Mul", y, self.const(factor[:, None, None]))
        return self.op("Add", y, self.const(shift[:, None, None]))

    def model(self, y: str) -> bytes:
        self.nodes[[y in n.output for n in self.nodes].index(True)].output[0] = "y"
        for node in self.nodes:
            node.input[:] = ["y" if v == y else v for v in node.input]
        return build(self.nodes, {"x": self.x}, self.constants, opset=self.opset)


def form(construct: str, name: str, *shape: int, opset: int = 20):
    """Add a form to a construct. The function gets the graph and the name of its input."""
    def add(function: Callable[[Form, str], str]) -> Callable[[Form, str], str]:
        def made() -> Form:
            f = Form(*shape, opset=opset)
            f.output = function(f, "x")
            return f
        FORMS.setdefault(construct, {})[name] = made
        return function
    return add


IMAGE = (2, 8, 6, 5)
for written in ("folded", "layer", "arithmetic"):
    form("conv and batch norm", written, *IMAGE)(lambda f, x, w=written: f.op("Relu", f.conv(x, 8, 12, 3, norm=w)))


def _behind_a_conv(construct: str, **forms: Callable[[Form, str], str]) -> None:
    for name, gate in forms.items():
        form(construct, name, *IMAGE)(lambda f, x, gate=gate: gate(f, f.conv(x, 8, 12, 3)))


def _relu6(f: Form, x: str) -> str:
    return f.op("Clip", x, f.const(0.0), f.const(6.0))


_behind_a_conv(
    "hard-swish",
    operator=lambda f, x: f.op("HardSwish", x),
    gate=lambda f, x: f.op("Mul", x, f.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)),
    quotient=lambda f, x: f.number("Div", f.op("Mul", x, _relu6(f, f.number("Add", x, 3.0))), 6.0),
    factor=lambda f, x: f.op("Mul", f.number("Mul", _relu6(f, f.number("Add", x, 3.0)), 1 / 6), x))
_behind_a_conv(
    "hard-sigmoid",
    operator=lambda f, x: f.op("HardSigmoid", x, alpha=1 / 6, beta=0.5),
    quotient=lambda f, x: f.number("Div", _relu6(f, f.number("Add", x, 3.0)), 6.0),
    factor=lambda f, x: f.number("Mul", _relu6(f, f.number("Add", x, 3.0, left=True)), 1 / 6))
_behind_a_conv(
    "silu",
    gate=lambda f, x: f.op("Mul", x, f.op("Sigmoid", x)),
    swapped=lambda f, x: f.op("Mul", f.op("Sigmoid", x), x))

ROWS = (2, 7, 16)


def _projected(f: Form, x: str, way: str = "matmul", name: str = "p", cin: int = 16, cout: int = 16) -> str:
    """A linear layer of rank 3: a product and its bias, or the product of a matrix between two reshapes."""
    w, b = f.weights(name, cin, cout), f.weights(name + "b", cout)
    if way == "matmul":
        return f.op("Add", b, f.op("MatMul", x, w))
    rows = f.op("Reshape", x, f.ints(-1, cin))
    return f.op("Reshape", f.op("Gemm", rows, w, b), f.ints(2, 7, cout))


def _erf(f: Form, x: str, inner: str) -> str:
    return f.number("Add", f.op("Erf", inner), 1.0)


def _cubic(f: Form, x: str, cube: str) -> str:
    inner = f.number("Mul", f.op("Add", x, f.number("Mul", cube, 0.044715)), float(np.sqrt(2 / np.pi)))
    return f.op("Mul", f.number("Mul", x, 0.5), f.number("Add", f.op("Tanh", inner), 1.0))


for construct, gelus in {
    "gelu by erf": {
        "operator": lambda f, x: f.op("Gelu", x),
        "torch": lambda f, x: f.number("Mul", f.op("Mul", x, _erf(f, x, f.number("Div", x, 2 ** 0.5))), 0.5),
        "half first": lambda f, x: f.op("Mul", f.number("Mul", x, 0.5), _erf(f, x, f.number("Mul", x, 0.5 ** 0.5))),
        "half of the gate": lambda f, x: f.op("Mul", x, f.number("Mul", _erf(f, x, f.number("Div", x, 2 ** 0.5)), 0.5))},
    "gelu by tanh": {
        "operator": lambda f, x: f.op("Gelu", x, approximate="tanh"),
        "power": lambda f, x: _cubic(f, x, f.number("Pow", x, 3.0)),
        "products": lambda f, x: _cubic(f, x, f.op("Mul", f.op("Mul", x, x), x))},
}.items():
    for name, gelu in gelus.items():
        for way in ("matmul", "rows"):
            form(construct, f"{name}, {way}", *ROWS)(lambda f, x, g=gelu, w=way: _projected(
                f, g(f, _projected(f, x, w, "up", 16, 24)), w, "down", 24, 16))


def _mean(f: Form, x: str, axis: int = -1) -> str:
    return f.op("ReduceMean", x, f.ints(axis), keepdims=1)


def _layer_norm(f: Form, x: str, way: str) -> str:
    scale, bias = f.weights("scale", 16, low=0.5), f.weights("bias", 16)
    if way == "operator":
        return f.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-5)
    centred = f.op("Sub", x, _mean(f, x))
    if way == "torch":
        root = f.op("Sqrt", f.number("Add", _mean(f, f.number("Pow", centred, 2.0)), 1e-5))
        return f.op("Add", f.op("Mul", f.op("Div", centred, root), scale), bias)
    root = f.op("Reciprocal", f.op("Sqrt", f.number("Add", _mean(f, f.op("Mul", centred, centred)), 1e-5)))
    factor = f.op("Mul", root, scale)
    return f.op("Add", f.op("Mul", x, factor), f.op("Sub", bias, f.op("Mul", _mean(f, x), factor)))


for way in ("operator", "torch", "distributed"):
    form("layer norm", way, *ROWS)(lambda f, x, w=way: _layer_norm(f, x, w))
    for product in ("matmul", "rows"):
        form("residual and layer norm", f"{way}, {product}", *ROWS)(
            lambda f, x, w=way, p=product: _projected(f, _layer_norm(f, f.op("Add", _projected(f, x, p), x), w), p, "q"))


def _rms_norm(f: Form, x: str, way: str) -> str:
    root = f.op("Sqrt", f.number("Add", _mean(f, f.number("Pow", x, 2.0)), 1e-6))
    scale = f.weights("scale", 16, low=0.5)
    if way == "quotient":
        return f.op("Mul", f.op("Div", x, root), scale)
    inverse = f.op("Reciprocal", root) if way == "reciprocal" else f.number("Div", root, 1.0, left=True)
    return f.op("Mul", scale, f.op("Mul", x, inverse))


for way in ("quotient", "reciprocal", "one by"):
    form("rms norm", way, *ROWS)(lambda f, x, w=way: _rms_norm(f, x, w))


def _group_norm(f: Form, x: str, way: str) -> str:
    scale, bias = f.array("scale", 8, low=0.5), f.array("bias", 8)
    if way == "operator":
        return f.op("GroupNormalization", x, f.const(scale), f.const(bias), num_groups=4, epsilon=1e-5)
    folded = f.op("Reshape", x, f.ints(0, 4, -1))
    y = f.op("InstanceNormalization", folded, f.const(np.ones(4)), f.const(np.zeros(4)), epsilon=1e-5)
    y = f.op("Reshape", y, f.ints(*IMAGE))
    return f.op("Add", f.op("Mul", y, f.const(scale[:, None, None])), f.const(bias[:, None, None]))


form("group norm", "operator", *IMAGE, opset=21)(lambda f, x: _group_norm(f, x, "operator"))
form("group norm", "instances", *IMAGE)(lambda f, x: _group_norm(f, x, "instances"))


def _attention(f: Form, x: str, way: str, masked: bool, product: str = "matmul") -> str:
    """Four heads of size 4. `way`: "quotient" divides scores, "roots" scales queries and keys and transposes keys of rank 3."""
    q, k, v = (f.op("Transpose", f.op("Reshape", _projected(f, x, product, name), f.ints(2, -1, 4, 4)), perm=[0, 2, 1, 3])
               for name in "qkv")
    if way == "quotient":
        scores = f.number("Div", f.op("MatMul", q, f.op("Transpose", k, perm=[0, 1, 3, 2])), 2.0)
    elif way == "factor":
        scores = f.op("MatMul", f.number("Mul", q, 0.5), f.op("Transpose", k, perm=[0, 1, 3, 2]))
    else:
        flat = f.op("Transpose", f.op("Reshape", k, f.ints(-1, 7, 4)), perm=[0, 2, 1])
        keys = f.op("Reshape", flat, f.ints(2, 4, 4, 7))
        scores = f.op("MatMul", f.number("Mul", q, 0.5 ** 0.5), f.number("Mul", keys, 0.5 ** 0.5))
    if masked:
        scores = f.op("Add", scores, f.const(np.where(np.arange(7) > 4, -np.inf, 0)[None, None, None]))
    y = f.op("MatMul", f.op("Softmax", scores, axis=-1), v)
    joined = f.op("Reshape", f.op("Transpose", y, perm=[0, 2, 1, 3]), f.ints(2, 7, 16))
    return f.op("Add", x, _projected(f, joined, product, "out"))


for masked in (False, True):
    for way in ("quotient", "factor", "roots"):
        for product in ("matmul", "rows"):
            form("attention with a mask" if masked else "attention", f"{way}, {product}", *ROWS)(
                lambda f, x, w=way, m=masked, p=product: _attention(f, x, w, m, p))


def _squeeze_excite(f: Form, x: str, way: str) -> str:
    y = f.conv(x, 8, 8, 3, groups=8)
    y = f.op("Mul", y, f.op("Sigmoid", y))
    mean = f.op("GlobalAveragePool", y) if way != "reduction" else f.op("ReduceMean", y, f.ints(2, 3), keepdims=1)
    if way == "gemm":
        rows = f.op("Flatten", mean)
        small = f.op("Gemm", rows, f.const(f.array("d", 4, 8, 1, 1)[:, :, 0, 0]), f.weights("db", 4), transB=1)
        gate = f.op("Gemm", f.op("Mul", small, f.op("Sigmoid", small)), f.const(f.array("e", 8, 4, 1, 1)[:, :, 0, 0]),
                    f.weights("eb", 8), transB=1)
        gate = f.op("Reshape", f.op("Sigmoid", gate), f.ints(-1, 8, 1, 1))
    else:
        small = f.conv(mean, 8, 4, name="d")
        gate = f.op("Sigmoid", f.conv(f.op("Mul", small, f.op("Sigmoid", small)), 4, 8, name="e"))
    return f.op("Mul", gate, y) if way == "pool" else f.op("Mul", y, gate)


for way in ("pool", "reduction", "gemm"):
    form("squeeze and excite", way, *IMAGE)(lambda f, x, w=way: _squeeze_excite(f, x, w))


def _parts(f: Form, x: str, way: str, axis: int, *sizes: int) -> list[str]:
    if way == "split":
        return f.op("Split", x, f.ints(*sizes), axis=axis, outputs=len(sizes))
    ends = np.cumsum(sizes)
    return [f.op("Slice", x, f.ints(end - size), f.ints(end if i + 1 < len(sizes) else 2 ** 63 - 1), f.ints(axis))
            for i, (end, size) in enumerate(zip(ends, sizes))]


def _yolo8(f: Form, x: str, way: str) -> str:
    """Boxes as distributions over 4 distances for each side, and scores of 3 classes, over 30 places."""
    y = f.op("Reshape", f.conv(x, 8, 19), f.ints(2, 19, -1))
    boxes, classes = _parts(f, y, way, 1, 16, 3)
    sides = f.op("Transpose", f.op("Reshape", boxes, f.ints(2, 4, 4, 30)), perm=[0, 2, 1, 3])
    distances = f.op("Conv", f.op("Softmax", sides, axis=1), f.const(np.arange(4.0).reshape(1, 4, 1, 1)), kernel_shape=[1, 1])
    first, second = _parts(f, f.op("Reshape", distances, f.ints(2, 4, 30)), way, 1, 2, 2)
    places = f.weights("places", 1, 2, 30)
    corners = [f.op("Sub", places, first), f.op("Add", second, places)]
    middle = f.number("Div", f.op("Add", *corners), 2.0)
    box = f.op("Concat", middle, f.op("Sub", corners[1], corners[0]), axis=1)
    return f.op("Concat", f.number("Mul", box, 8.0), f.op("Sigmoid", classes), axis=1)


def _yolo5(f: Form, x: str, way: str) -> str:
    y = f.op("Transpose", f.op("Reshape", f.conv(x, 8, 21), f.ints(2, 3, 7, 6, 5)), perm=[0, 1, 3, 4, 2])
    xy, wh, rest = _parts(f, f.op("Sigmoid", y), way, 4, 2, 2, 3)
    xy = f.number("Mul", f.op("Add", f.number("Mul", xy, 2.0), f.weights("grid", 1, 3, 6, 5, 2)), 8.0)
    wh = f.op("Mul", f.number("Pow", f.number("Mul", wh, 2.0), 2.0), f.weights("anchors", 1, 3, 6, 5, 2))
    return f.op("Reshape", f.op("Concat", xy, wh, rest, axis=4), f.ints(2, -1, 7))


def _rotary(f: Form, x: str, way: str) -> str:
    first, second = _parts(f, x, way, 2, 8, 8)
    turned = f.op("Concat", f.op("Neg", second), first, axis=-1)
    return f.op("Add", f.op("Mul", x, f.weights("cos", 7, 16)), f.op("Mul", turned, f.weights("sin", 7, 16)))


for way in ("split", "slices"):
    form("head of YOLOv8", way, *IMAGE)(lambda f, x, w=way: _yolo8(f, x, w))
    form("head of YOLOv5", way, *IMAGE)(lambda f, x, w=way: _yolo5(f, x, w))
    form("rotary embedding", way, *ROWS)(lambda f, x, w=way: _rotary(f, x, w))


def _inverted_residual(f: Form, x: str, norm: str, clip: Callable[[Form, str], str]) -> str:
    y = clip(f, f.conv(x, 8, 16, 1, "expand", norm))
    y = clip(f, f.conv(y, 16, 16, 3, "filter", norm, groups=16))
    return f.op("Add", x, f.conv(y, 16, 8, 1, "project", norm))


for written in ("folded", "layer", "arithmetic"):
    form("inverted residual", f"{written}, clip", *IMAGE)(lambda f, x, w=written: _inverted_residual(f, x, w, _relu6))
    form("inverted residual", f"{written}, relu and minimum", *IMAGE)(lambda f, x, w=written: _inverted_residual(
        f, x, w, lambda f, v: f.number("Min", f.op("Relu", v), 6.0)))


def _patches(f: Form, x: str, flat: tuple[int, ...]) -> str:
    y = f.op("Conv", x, f.weights("w", 16, 8, 2, 2), f.weights("b", 16), kernel_shape=[2, 2], strides=[2, 2])
    y = f.op("Reshape", y, f.ints(*flat)) if flat else f.op("Reshape", y, f.op("Concat", f.op(
        "Slice", f.op("Shape", y), f.ints(0), f.ints(2)), f.ints(-1), axis=0))
    return f.op("Add", f.op("Transpose", y, perm=[0, 2, 1]), f.weights("places", 1, 6, 16))


for name, flat in {"kept sizes": (0, 0, -1), "sizes": (2, 16, 6), "shape of the value": ()}.items():
    form("patch embedding", name, *IMAGE)(lambda f, x, flat=flat: _patches(f, x, flat))


def _lstm(f: Form, x: str, zeros: bool, squeeze: bool) -> str:
    state = [f.const(np.zeros((1, 7, 8)))] * 2 if zeros else ["", ""]
    outputs = f.op("LSTM", x, f.weights("w", 1, 32, 16), f.weights("r", 1, 32, 8), f.weights("b", 1, 64), "", *state,
                   hidden_size=8, outputs=3)
    return f.op("Squeeze", outputs[0], f.ints(1)) if squeeze else f.op("Reshape", outputs[0], f.ints(2, 7, 8))


for zeros in (False, True):
    for squeeze in (False, True):
        name = ("zeros" if zeros else "no state") + (", squeeze" if squeeze else ", reshape")
        form("LSTM", name, *ROWS)(lambda f, x, z=zeros, s=squeeze: _lstm(f, x, z, s))

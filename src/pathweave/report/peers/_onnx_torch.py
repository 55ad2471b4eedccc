"""The ONNX operators of image classifiers as a PyTorch module, so that PyTorch can run and compile the same file."""

from __future__ import annotations

from typing import Any

from . import Declined


def convert(path: str) -> Any:
    """A torch.nn.Module whose forward takes the graph's inputs and gives a tuple of its outputs.

    Raises Declined listing the operators that are not covered.
    """
    import onnx
    import torch
    from onnx import numpy_helper
    proto = onnx.load(path)
    table = _table()
    unknown = sorted({n.op_type for n in proto.graph.node} - set(table) - {"Constant"})
    if unknown:
        raise Declined(f"its operators {', '.join(unknown)} have no counterpart in the converter")
    arrays = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    arrays.update((n.output[0], _constant(n)) for n in proto.graph.node if n.op_type == "Constant")
    inputs = [v.name for v in proto.graph.input if v.name not in arrays]
    outputs = [v.name for v in proto.graph.output]
    # Shapes, axes and limits become plain numbers: a compiler must know them.
    plain = {n: a.tolist() for n, a in arrays.items() if a.dtype.kind in "iu"}
    limits = {v for n in proto.graph.node if n.op_type == "Clip" for v in n.input[1:] if v in arrays}
    plain.update((v, float(arrays[v])) for v in limits)
    constants = {n: torch.from_numpy(a.copy()) for n, a in arrays.items() if n not in plain}
    nodes = [(table[n.op_type], list(n.input), list(n.output), {a.name: onnx.helper.get_attribute_value(a)
                                                                for a in n.attribute})
             for n in proto.graph.node if n.op_type != "Constant"]

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.names = {}
            for i, (name, tensor) in enumerate(constants.items()):
                self.names[name] = f"c{i}"
                if tensor.is_floating_point():
                    self.register_parameter(f"c{i}", torch.nn.Parameter(tensor, requires_grad=False))
                else:
                    self.register_buffer(f"c{i}", tensor)

        def forward(self, *arguments: Any) -> tuple[Any, ...]:
            values = {**plain, **dict(zip(inputs, arguments))}
            values.update((name, getattr(self, own)) for name, own in self.names.items())
            for function, ins, outs, attributes in nodes:
                results = function([values[v] if v else None for v in ins], attributes)
                values.update(zip(outs, results if isinstance(results, (tuple, list)) else (results,)))
            return tuple(values[v] for v in outputs)
    return Graph().eval()


def _constant(node: Any) -> Any:
    """Value of a Constant node as an array."""
    import numpy as np
    from onnx import helper, numpy_helper
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    return numpy_helper.to_array(value) if attribute.name == "value" else np.asarray(value)


def _pads(attributes: dict, rank: int = 2) -> list[int]:
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise Declined("auto_pad has no counterpart in the converter")
    return list(attributes.get("pads", [0] * 2 * rank))


def _padded(x: Any, attributes: dict[str, Any], value: float = 0.0) -> tuple[Any, tuple[int, int]]:
    """The input with explicit padding where it is not symmetric, and the symmetric rest."""
    from torch.nn import functional
    top, left, bottom, right = _pads(attributes)
    if (top, left) == (bottom, right):
        return x, (top, left)
    return functional.pad(x, (left, right, top, bottom), value=value), (0, 0)


def _conv(ins: list[Any], a: dict[str, Any]) -> Any:
    from torch.nn import functional
    x, pad = _padded(ins[0], a)
    bias = ins[2] if len(ins) > 2 else None
    return functional.conv2d(x, ins[1], bias, a.get("strides", (1, 1)), pad, a.get("dilations", (1, 1)), a.get("group", 1))


def _max_pool(ins: list[Any], a: dict[str, Any]) -> Any:
    from torch.nn import functional
    x, pad = _padded(ins[0], a, float("-inf"))
    return functional.max_pool2d(x, a["kernel_shape"], a.get("strides", (1, 1)), pad, a.get("dilations", (1, 1)),
                                 bool(a.get("ceil_mode", 0)))


def _average_pool(ins: list[Any], a: dict[str, Any]) -> Any:
    from torch.nn import functional
    top, left, bottom, right = _pads(a)
    if (top, left) != (bottom, right):
        raise Declined("asymmetric average pooling has no counterpart in the converter")
    return functional.avg_pool2d(ins[0], a["kernel_shape"], a.get("strides", (1, 1)), (top, left),
                                 bool(a.get("ceil_mode", 0)), bool(a.get("count_include_pad", 0)))


def _gemm(ins: list[Any], a: dict[str, Any]) -> Any:
    x = ins[0].t() if a.get("transA", 0) else ins[0]
    w = ins[1] if a.get("transB", 0) else ins[1].t()
    from torch.nn import functional
    if a.get("alpha", 1.0) == 1.0 and a.get("beta", 1.0) == 1.0:
        return functional.linear(x, w, ins[2] if len(ins) > 2 else None)
    y = functional.linear(x, w) * a.get("alpha", 1.0)
    return y + ins[2] * a.get("beta", 1.0) if len(ins) > 2 else y


def _batch_norm(ins: list[Any], a: dict[str, Any]) -> Any:
    from torch.nn import functional
    x, scale, bias, mean, variance = ins[:5]
    return functional.batch_norm(x, mean, variance, scale, bias, False, 0.0, a.get("epsilon", 1e-5))


def _clip(ins: list[Any], a: dict[str, Any]) -> Any:
    import torch
    low = ins[1] if len(ins) > 1 and ins[1] is not None else a.get("min")
    high = ins[2] if len(ins) > 2 and ins[2] is not None else a.get("max")
    return torch.clamp(ins[0], low, high)


def _axes(ins: list, a: dict) -> list[int]:
    return list(ins[1] if len(ins) > 1 and ins[1] is not None else a.get("axes", []))


def _mean(ins: list[Any], a: dict[str, Any]) -> Any:
    axes = _axes(ins, a) or list(range(ins[0].dim()))
    return ins[0].mean(axes, keepdim=bool(a.get("keepdims", 1)))


def _table() -> dict[str, Any]:
    import torch
    from torch.nn import functional as f
    return {
        "Conv": _conv, "MaxPool": _max_pool, "AveragePool": _average_pool, "Gemm": _gemm, "Clip": _clip,
        "BatchNormalization": _batch_norm, "ReduceMean": _mean,
        "GlobalAveragePool": lambda i, a: f.adaptive_avg_pool2d(i[0], 1),
        "Relu": lambda i, a: torch.relu(i[0]), "Sigmoid": lambda i, a: torch.sigmoid(i[0]),
        "HardSwish": lambda i, a: f.hardswish(i[0]),
        "HardSigmoid": lambda i, a: torch.clamp(i[0] * a.get("alpha", 0.2) + a.get("beta", 0.5), 0.0, 1.0),
        "Add": lambda i, a: i[0] + i[1], "Sub": lambda i, a: i[0] - i[1], "Mul": lambda i, a: i[0] * i[1],
        "Div": lambda i, a: i[0] / i[1], "MatMul": lambda i, a: i[0] @ i[1],
        "Flatten": lambda i, a: torch.flatten(i[0], a.get("axis", 1)) if a.get("axis", 1) == 1 else _flatten(i[0], a),
        "Softmax": lambda i, a: torch.softmax(i[0], a.get("axis", -1)),
        "Concat": lambda i, a: torch.cat(i, a["axis"]), "Identity": lambda i, a: i[0], "Dropout": lambda i, a: i[0],
        "Transpose": lambda i, a: i[0].permute(a["perm"]),
        "Reshape": lambda i, a: i[0].reshape([d or i[0].shape[k] for k, d in enumerate(i[1])]),
        "Squeeze": lambda i, a: torch.squeeze(i[0], tuple(_axes(i, a))),
    }


def _flatten(x: Any, a: dict[str, Any]) -> Any:
    axis = a.get("axis", 1)
    rows = 1
    for d in x.shape[:axis]:
        rows *= d
    return x.reshape(rows, -1)

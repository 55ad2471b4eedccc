"""Conv and ConvTranspose. One spatial axis runs as two, with a height of 1; three are not supported."""

from __future__ import annotations

from ..node import Node
from ._window import Window, explicit_pads


def _weights(n: Node, spatial: int) -> str:
    """Name of the weights, with a height of 1 put in where there is one spatial axis."""
    name = n.const_name(1, "weights")
    if spatial == 2:
        return name
    w = n.builder.constants[name]
    return n.constant(w.reshape(*w.shape[:2], 1, w.shape[2]))


def _window(n: Node) -> Window:
    n.required(2)
    w = n.builder.constants[n.const_name(1, "weights")]
    if w.ndim not in (3, 4):
        n.unsupported(f"its weights have {w.ndim - 2} spatial axes; only one and two are supported")
    kernel = n.ints("kernel_shape", None) or w.shape[2:]
    if tuple(kernel) != tuple(w.shape[2:]):
        raise ValueError(f"kernel_shape is {tuple(kernel)}, but the weights are {list(w.shape)}")
    return Window(n, w.shape[2:])


def conv(n: Node) -> None:
    """Convolution with groups, dilation and automatic padding."""
    window = _window(n)
    x, pad = window.input_and_pad()
    inputs = [x, _weights(n, window.spatial)]
    if n.input(2):
        inputs.append(n.const_name(2, "bias"))
    attrs = {"stride": window.stride, "pad": pad, "dilation": window.dilation, "groups": n.int("group", 1)}
    window.output("conv2", inputs, attrs)


def conv_transpose(n: Node) -> None:
    """Transposed convolution; `output_shape` and automatic padding become plain padding.

    Source: ONNX ConvTranspose: total = stride (in - 1) + output_padding + (k - 1) dilation + 1 - out.
    """
    window = _window(n)
    spatial = window.spatial
    x = window.widened(n.input(0))
    inputs = [x, _weights(n, spatial)]
    if n.input(2):
        inputs.append(n.const_name(2, "bias"))
    output_pad = n.ints("output_padding", (0,) * spatial) or (0,) * spatial
    target = n.ints("output_shape", None)
    auto = n.text("auto_pad", "NOTSET")
    n.ignore("pads")  # read below, except where output_shape or auto_pad take its place
    attrs = {"stride": window.stride, "dilation": window.dilation, "groups": n.int("group", 1),
             "output_pad": window.two(output_pad, 0)}
    if target:
        return _with_output_shape(n, window, inputs, attrs, target[-spatial:], output_pad, auto)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [o + e - s for o, e, s in zip(output_pad, window.extent, window.own_stride)]
        # A kernel smaller than the stride leaves less than in * stride: the rest is output padding, as zeros.
        attrs["output_pad"] = window.two([o + max(0, -t) for o, t in zip(output_pad, total)], 0)
        half = [max(0, t) // 2 if auto == "SAME_UPPER" else (max(0, t) + 1) // 2 for t in total]
        attrs["pad"] = window.four([*half, *(max(0, t) - h for t, h in zip(total, half))])
    else:
        attrs["pad"] = window.four(explicit_pads(n, spatial) if auto == "NOTSET" else (0,) * 2 * spatial)
    window.output("conv_transpose2", inputs, attrs)


def _with_output_shape(n: Node, window: Window, inputs, attrs, target, output_pad, auto) -> None:
    """Pads that give the output shape, or, for an input of unknown size, the full result, cut or filled up with zeros.

    Where the kernel does not reach as far as the output shape, zeros follow behind it, as in ONNX's own tests.
    """
    if min(target) < 1:
        raise ValueError(f"output_shape is {tuple(target)}, expected sizes of at least 1")
    shape = (n.shape(n.input(0)) or ())[2:]
    sizes = [d for d in shape if d is not None]
    if len(sizes) == len(shape) == window.spatial:
        total = [s * (i - 1) + o + e - t
                 for s, i, o, e, t in zip(window.own_stride, sizes, output_pad, window.extent, target)]
        if min(total) >= 0:
            half = [t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in total]
            attrs["pad"] = window.four([*half, *(t - h for t, h in zip(total, half))])
            return window.output("conv_transpose2", inputs, attrs)
    full = n.emit("conv_transpose2", inputs, attrs)
    wanted = n.constant(list(window.two(target, 1)))
    zero, two = n.constant([0, 0]), n.constant(2)
    total = n.emit("sub", [n.emit("shape", [full], {"start": 2, "end": 4}), wanted])
    missing = n.emit("concat", [zero, zero, zero, n.emit("maximum", [n.emit("neg", [total]), zero])], {"axis": 0})
    full = n.emit("pad", [full, missing], {"mode": "constant", "value": 0.0})
    total = n.emit("maximum", [total, zero])
    half = n.emit("div", [total, two])
    start = half if auto == "SAME_UPPER" else n.emit("sub", [total, half])
    window.output("slice", [full, start, n.emit("add", [start, wanted]), n.constant([2, 3])], {})


OPERATORS = {"Conv": conv, "ConvTranspose": conv_transpose}

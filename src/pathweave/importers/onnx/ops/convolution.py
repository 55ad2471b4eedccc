"""Conv, ConvTranspose and DeformConv. One spatial axis runs as two, with a height of 1.

Weights and bias may be values that the model computes: they become constants where they can.
"""

from __future__ import annotations

from ..node import Node
from ._window import Window, explicit_pads


def _weights(n: Node) -> str:
    """Name of the weights: a constant where they depend on no input, which refuses those that are too large."""
    return n.const_name(1, "weights") if n.builder.is_constant(n.input(1)) else n.computed(1) or n.input(1)


def _operands(n: Node, window: Window, x: str) -> list[str]:
    """Names of x, the weights, with a height of 1 put in where there is one spatial axis, and the bias."""
    name = _weights(n)
    if window.spatial == 1:
        w = n.builder.constants.get(name)
        name = n.emit("unsqueeze", [name], {"axes": (2,)}) if w is None else \
            n.constant(w.reshape(*w.shape[:2], 1, w.shape[2]))
    return [x, name, *([n.computed(2) or n.input(2)] if n.input(2) else [])]


def _window(n: Node) -> Window:
    n.required(2)
    shape = n.shape(_weights(n))
    kernel = n.ints("kernel_shape", None) or None
    if shape is None:
        if kernel is None:
            n.unsupported("neither kernel_shape nor the rank of the weights (input 1) is known")
        return Window(n, kernel)
    if len(shape) not in (3, 4, 5):
        n.unsupported(f"its weights have {len(shape) - 2} spatial axes; only one, two and three are supported")
    own = shape[2:]
    if kernel is not None and (len(kernel) != len(own) or any(d not in (None, k) for d, k in zip(own, kernel))):
        raise ValueError(f"kernel_shape is {tuple(kernel)}, but the weights are {list(shape)}")
    if kernel is None and None in own:
        if n.text("auto_pad", "NOTSET") not in ("", "NOTSET", "VALID") or n.ints("output_shape", None):
            n.unsupported("automatic padding for weights (input 1) whose sizes are not known before the run")
        return Window(n, [1 if d is None else d for d in own])
    return Window(n, kernel or [d for d in own if d is not None])


def conv(n: Node) -> None:
    """Convolution with groups, dilation and automatic padding."""
    window = _window(n)
    x, pad = window.input_and_pad()
    attrs = {"stride": window.stride, "pad": pad, "dilation": window.dilation, "groups": n.int("group", 1)}
    window.output(window.kind("conv"), _operands(n, window, x), attrs)


def conv_transpose(n: Node) -> None:
    """Transposed convolution; `output_shape` and automatic padding become plain padding.

    Source: ONNX ConvTranspose: total = stride (in - 1) + output_padding + (k - 1) dilation + 1 - out.
    """
    window = _window(n)
    spatial = window.spatial
    inputs = _operands(n, window, window.widened(n.input(0)))
    output_pad = n.ints("output_padding", (0,) * spatial) or (0,) * spatial
    target = n.ints("output_shape", None)
    auto = n.text("auto_pad", "NOTSET")
    n.ignore("pads")  # read below, except where output_shape or auto_pad take its place
    attrs = {"stride": window.stride, "dilation": window.dilation, "groups": n.int("group", 1),
             "output_pad": window.each(output_pad, 0)}
    if target:
        return _with_output_shape(n, window, inputs, attrs, target[-spatial:], output_pad, auto)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [o + e - s for o, e, s in zip(output_pad, window.extent, window.own_stride)]
        # A kernel smaller than the stride leaves less than in * stride: the rest is output padding, as zeros.
        attrs["output_pad"] = window.each([o + max(0, -t) for o, t in zip(output_pad, total)], 0)
        half = [max(0, t) // 2 if auto == "SAME_UPPER" else (max(0, t) + 1) // 2 for t in total]
        attrs["pad"] = window.ends([*half, *(max(0, t) - h for t, h in zip(total, half))])
    else:
        attrs["pad"] = window.ends(explicit_pads(n, spatial) if auto == "NOTSET" else (0,) * 2 * spatial)
    window.output(window.kind("conv_transpose"), inputs, attrs)


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
            attrs["pad"] = window.ends([*half, *(t - h for t, h in zip(total, half))])
            return window.output(window.kind("conv_transpose"), inputs, attrs)
    full = n.emit(window.kind("conv_transpose"), inputs, attrs)
    wanted = n.constant(list(window.each(target, 1)))
    zero, two = n.constant(0), n.constant(2)
    none = n.constant([0] * (4 + window.axes))
    total = n.emit("sub", [n.emit("shape", [full], {"start": 2, "end": 2 + window.axes}), wanted])
    missing = n.emit("concat", [none, n.emit("maximum", [n.emit("neg", [total]), zero])], {"axis": 0})
    full = n.emit("pad", [full, missing], {"mode": "constant", "value": 0.0})
    total = n.emit("maximum", [total, zero])
    half = n.emit("div", [total, two])
    start = half if auto == "SAME_UPPER" else n.emit("sub", [total, half])
    window.output("slice", [full, start, n.emit("add", [start, wanted]), n.constant(list(range(2, 2 + window.axes)))], {})


def deform_conv(n: Node) -> None:
    """Convolution with taps that are moved."""
    n.required(3)
    x, w = n.input(0), _weights(n)
    if n.rank(x) != 4:
        n.unsupported(f"it has {n.rank(x) - 2} spatial axes; only two are supported")
    kernel, own = n.ints("kernel_shape", None), (n.shape(w) or (None,) * 4)[2:]
    if kernel and (len(kernel) != len(own) or any(d not in (None, k) for d, k in zip(own, kernel))):
        raise ValueError(f"kernel_shape is {tuple(kernel)}, but the weights are {list(n.shape(w) or ())}")
    attrs = {"stride": n.ints("strides", None) or (1, 1), "pad": explicit_pads(n, 2),
             "dilation": n.ints("dilations", None) or (1, 1), "groups": n.int("group", 1),
             "offset_groups": n.int("offset_group", 1)}
    bias = (n.computed(3) or n.input(3)) if n.input(3) else ""
    n.emit("deform_conv2", [x, w, n.input(2), bias, n.input(4)], attrs, last=True)


OPERATORS = {"Conv": conv, "ConvTranspose": conv_transpose, "DeformConv": deform_conv}

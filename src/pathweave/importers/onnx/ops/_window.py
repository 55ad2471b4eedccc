"""What convolutions and pools share: kernel, stride, dilation and padding of one to three spatial axes."""

from __future__ import annotations

from collections.abc import Sequence

from ..node import Node

AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def explicit_pads(n: Node, spatial: int) -> tuple[int, ...]:
    """Attribute `pads` (all begins, then all ends). Raises ValueError unless it fits the number of axes."""
    pads = n.ints("pads", (0,) * 2 * spatial) or (0,) * 2 * spatial
    if len(pads) != 2 * spatial or min(pads) < 0:
        raise ValueError(f"pads are {pads}, expected {2 * spatial} numbers of 0 or more")
    return pads


class Window:
    """Geometry of a window operator. Layers have two or three spatial axes: a single one becomes the width, of height 1.

    `axes`: how many the layer has, which `kind` puts behind its name.
    """

    def __init__(self, n: Node, kernel: Sequence[int]):
        self.node = n
        self.spatial = len(kernel)
        if self.spatial not in (1, 2, 3):
            n.unsupported(f"it has {self.spatial} spatial axes; only one, two and three are supported")
        self.axes = max(2, self.spatial)
        self.own_kernel = tuple(int(k) for k in kernel)
        self.own_stride = self._checked("strides")
        self.own_dilation = self._checked("dilations")
        if min(self.own_kernel) < 1:
            raise ValueError(f"the kernel is {self.own_kernel}, expected sizes of at least 1")
        self.extent = [(k - 1) * d + 1 for k, d in zip(self.own_kernel, self.own_dilation)]
        self.kernel = self.each(self.own_kernel, 1)
        self.stride = self.each(self.own_stride, 1)
        self.dilation = self.each(self.own_dilation, 1)
        self.auto = n.text("auto_pad", "NOTSET") or "NOTSET"
        if self.auto not in AUTO_PADS:
            raise ValueError(f"auto_pad is {self.auto!r}, expected one of {', '.join(AUTO_PADS)}")
        if self.auto != "NOTSET":
            n.ignore("pads")

    def _checked(self, name: str) -> tuple[int, ...]:
        values = self.node.ints(name, None) or (1,) * self.spatial
        if len(values) != self.spatial or min(values) < 1:
            raise ValueError(f"{name} are {values}, expected {self.spatial} numbers of at least 1")
        return values

    def kind(self, family: str) -> str:
        """The layer kind of a family: `conv2` or `conv3`."""
        return f"{family}{self.axes}"

    def each(self, values: Sequence[int], height: int) -> tuple[int, ...]:
        """Numbers per axis of the layer; `height` for one that is put in."""
        return (height, int(values[0])) if self.spatial == 1 else tuple(int(v) for v in values)

    def ends(self, pads: Sequence[int]) -> tuple[int, ...]:
        """Pads (begins, then ends) as the layer has them: top, left, bottom, right of two axes."""
        return (0, int(pads[0]), 0, int(pads[1])) if self.spatial == 1 else tuple(int(p) for p in pads)

    def widened(self, x: str) -> str:
        """The input with a height of 1 put in where there is one spatial axis."""
        return self.node.emit("unsqueeze", [x], {"axes": (2,)}) if self.spatial == 1 else x

    def output(self, kind: str, inputs, attrs: dict) -> None:
        """Emit the node's last layer, and take the height out again where it was put in."""
        if self.spatial > 1:
            self.node.emit(kind, inputs, attrs, last=True)
        else:
            self.node.emit("squeeze", [self.node.emit(kind, inputs, attrs)], {"axes": (2,)}, last=True)

    def pad(self) -> tuple[int, ...] | None:
        """The layer's pad; None where it depends on a size that is not known."""
        own = self.own_pad()
        return None if own is None else self.ends(own)

    def own_pad(self) -> tuple[int, ...] | None:
        """Pads of the operator's own axes; None where they depend on a size that is not known."""
        if self.auto == "NOTSET":
            return explicit_pads(self.node, self.spatial)
        if self.auto == "VALID":
            return (0,) * 2 * self.spatial
        sizes = (self.node.shape(self.node.input(0)) or ())[2:]
        if len(sizes) != self.spatial:
            sizes = (None,) * self.spatial
        begins, ends = [], []
        for size, stride, extent in zip(sizes, self.own_stride, self.extent):
            if stride == 1:
                total = extent - 1
            elif size is None:
                return None
            else:
                total = max(0, (-(-size // stride) - 1) * stride + extent - size)
            begins.append(total // 2 if self.auto == "SAME_UPPER" else (total + 1) // 2)
            ends.append(total - begins[-1])
        return (*begins, *ends)

    def input_and_pad(self, value: float = 0.0) -> tuple[str, tuple[int, ...]]:
        """The input and the layer's pad; SAME padding of an unknown size is computed by layers and put in front."""
        pad = self.pad()
        x = self.widened(self.node.input(0))
        if pad is not None:
            return x, pad
        return self.node.emit("pad", [x, self.dynamic_pads(x)], {"mode": "constant", "value": value}), (0,) * 2 * self.axes

    def dynamic_pads(self, x: str) -> str:
        """A value with the pads of SAME padding of all axes of a value, computed from its shape."""
        n = self.node
        extent = self.each(self.extent, 1)
        one, two, zero = n.constant(1), n.constant(2), n.constant(0)
        stride = n.constant(list(self.stride))
        size = n.emit("shape", [x], {"start": 2, "end": 2 + self.axes})
        steps = n.emit("div", [n.emit("sub", [size, one]), stride])
        reach = n.emit("add", [n.emit("mul", [steps, stride]), n.constant(list(extent))])
        total = n.emit("maximum", [n.emit("sub", [reach, size]), zero])
        half = n.emit("div", [total, two])
        rest = n.emit("sub", [total, half])
        begin, end = (half, rest) if self.auto == "SAME_UPPER" else (rest, half)
        zeros = n.constant([0, 0])
        return n.emit("concat", [zeros, begin, zeros, end], {"axis": 0})

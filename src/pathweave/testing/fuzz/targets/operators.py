"""Every ONNX operator that the importer takes, alone and in short chains: sensible and hostile attributes and constants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from onnx import TensorProto, helper

from ....importers.onnx import operators
from ....plugins import owner
from .. import mutate, use
from ..draw import Draw
from ..schema import by_schema
from ..target import Target

#: The outputs of an operator, and the shape of the first, None where that is not followed.
Made: TypeAlias = "tuple[list[str], list[int] | None]"
#: An operator: from a draw, its name, the shape and the type of what it is given and that value's name, to what it makes.
Recipe: TypeAlias = "Callable[[Draw, str, list[int], int, str], Made]"
I64, F32 = TensorProto.INT64, TensorProto.FLOAT


def _unary(**attrs: Callable[[Draw, int], Any]) -> Recipe:
    """One input, one output of its shape; attributes that may be there."""
    def recipe(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
        given: dict[str, Any] = {k: make(d, len(shape)) if d.chance(0.7) else None for k, make in attrs.items()}
        domain, _, name = op.rpartition(":")
        return d.node(name, [x], domain=domain, **given), shape
    return recipe


def _float(low: float = -2.0, high: float = 2.0) -> Callable[[Draw, int], float]:
    return lambda d, rank: d.f(low, high)


def _axis(d: Draw, rank: int) -> int:
    return d.axis(rank)


def _binary(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    other = [s if d.chance(0.7) else 1 for s in shape][int(d.rng.integers(0, len(shape) + 1)) if d.chance(0.3) else 0:]
    pair = [x, d.value(other, dtype)]
    if d.chance(0.3):
        pair.reverse()
    if op in ("Max", "Min", "Sum", "Mean") and d.chance(0.3):
        pair = pair[:1] if d.chance() else [*pair, d.value(other, dtype)]
    return d.node(op, pair, fmod=d.maybe(d.n(0, 1)) if op == "Mod" else None,
                  direction=d.pick("LEFT", "RIGHT") if op == "BitShift" else None), shape


def _clip(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    if d.opset < 11:
        return d.node(op, [x], min=d.maybe(d.f()), max=d.maybe(d.f())), shape
    return d.node(op, [x, *(d.scalar(d.f(), dtype) if d.chance(0.7) else "" for _ in range(2))]), shape


def _cast(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    if op == "CastLike":
        return d.node(op, [x, d.value([1], d.dtype())]), None
    return d.node(op, [x], to=d.dtype(int(d.pick(1, 6, 7, 9, 10, 11, 2, 3, 16))), saturate=d.maybe(d.n(0, 1), 0.1)), None


def _window(d: Draw, spatial: int, kernel: list[int], dilations: bool = True) -> dict[str, Any]:
    """Attributes of what slides over an image."""
    attrs: dict[str, Any] = {"kernel_shape": d.maybe(kernel, 0.8), "strides": d.maybe(d.ints(spatial, 1, 3))}
    if dilations:
        attrs["dilations"] = d.maybe(d.ints(spatial, 1, 2), 0.3)
    if d.chance(0.3):
        attrs["auto_pad"] = d.pick("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "VALID" if not d.is_hostile() else "MIDDLE")
    if d.chance(0.6) or d.is_hostile():
        attrs["pads"] = d.ints(2 * spatial, 0, 2)
    return attrs


def _conv(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    spatial = max(1, len(shape) - 2)
    channels = shape[1] if len(shape) > 1 else 1
    group = d.n(1, 2) if d.chance(0.2) else channels if d.chance(0.2) else 1
    outputs, kernel = d.n(1, 6), d.ints(spatial, 1, 3)
    share = channels // group if group and channels % group == 0 else channels
    weights = [channels, outputs, *kernel] if op == "ConvTranspose" else \
        [outputs * group if outputs * group < 64 else outputs, share, *kernel]
    inputs = [x, d.value(weights, dtype, 0.95)]
    if d.chance(0.4):
        inputs.append(d.value([outputs * group if op == "ConvTranspose" else weights[0]], dtype, 0.95))
    attrs = _window(d, spatial, kernel)
    if op == "ConvTranspose":
        attrs |= {"output_padding": d.maybe(d.ints(spatial, 0, 1), 0.2), "output_shape": d.maybe(d.ints(spatial, 3, 12), 0.2)}
    return d.node(op, inputs, group=group if group != 1 or d.chance() else None, **attrs), None


def _pool(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    spatial = max(1, len(shape) - 2)
    attrs = _window(d, spatial, d.ints(spatial, 1, 3), op == "MaxPool" or d.opset >= 18)
    attrs |= {"ceil_mode": d.maybe(d.n(0, 1), 0.3)}
    if op == "AveragePool":
        attrs |= {"count_include_pad": d.maybe(d.n(0, 1))}
    if op == "LpPool":
        attrs |= {"p": d.maybe(d.n(1, 3))}
    outputs = 2 if op == "MaxPool" and d.chance(0.2) else 1
    return d.node(op, [x], outputs, storage_order=d.maybe(d.n(0, 1), 0.1) if op == "MaxPool" else None, **attrs), None


def _unpool(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    spatial = max(1, len(shape) - 2)
    kernel, strides = d.ints(spatial, 1, 3), d.ints(spatial, 1, 3)
    target = [d.numbers([*shape[:2], *d.ints(spatial, 3, 9)])] if d.chance(0.3) else []
    return d.node(op, [x, d.constant(shape, I64), *target], kernel_shape=kernel, strides=d.maybe(strides),
                  pads=d.maybe(d.ints(2 * spatial, 0, 1), 0.3)), None


def _grid(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    space = max(1, len(shape) - 2)
    if op == "AffineGrid":
        space = d.pick(2, 3)
        size = d.numbers([d.n(1, 3), d.n(1, 3), *d.ints(space, 1, 5)])
        return d.node(op, [d.value([d.n(1, 3), space, space + 1], dtype), size], align_corners=d.maybe(d.n(0, 1))), None
    grid = d.value([shape[0] if shape else 1, *d.ints(space, 1, 4), space], dtype)
    modes = ("linear", "nearest", "cubic") if d.opset >= 20 else ("bilinear", "nearest", "bicubic")
    return d.node(op, [x, grid], mode=d.maybe(d.pick(*modes)), padding_mode=d.maybe(d.pick("zeros", "border", "reflection")),
                  align_corners=d.maybe(d.n(0, 1))), None


def _regions(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    count, scale = d.n(0, 3), d.maybe(d.f(0.2, 4.0))
    if op == "MaxRoiPool":
        return d.node(op, [x, d.value([count, 5], dtype)], pooled_shape=d.ints(2, 1, 4), spatial_scale=scale), None
    indices = d.constant([count], I64, [d.n(0, 1) for _ in range(count)] if 0 <= count <= 3 else None)
    mode = d.maybe(d.pick("half_pixel", "output_half_pixel")) if d.opset >= 16 else None
    return d.node(op, [x, d.value([count, 4], dtype), indices], output_height=d.maybe(d.n(1, 3)),
                  output_width=d.maybe(d.n(1, 3)), sampling_ratio=d.maybe(d.n(0, 3)), spatial_scale=scale,
                  mode=d.maybe(d.pick("avg", "max")),
                  coordinate_transformation_mode=mode), None


def _deformed(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    if len(shape) != 4:
        return _conv(d, "Conv", shape, dtype, x)
    kernel, parts, outputs = d.ints(2, 1, 3), d.n(1, 2) if d.chance(0.2) else 1, d.n(1, 4)
    pads = d.ints(4, 0, 1)
    out = [max(1, shape[2 + i] + sum(pads[i::2]) - kernel[i] + 1) if len(kernel) > i else 1 for i in (0, 1)]
    taps = kernel[0] * kernel[1] * parts if len(kernel) == 2 else 1
    inputs = [x, d.value([outputs, shape[1], *kernel], dtype, 0.9), d.value([shape[0], 2 * taps, *out], dtype),
              d.value([outputs], dtype) if d.chance() else "",
              *([d.value([shape[0], taps, *out], dtype)] if d.chance() else [])]
    return d.node(op, inputs, pads=pads, offset_group=d.maybe(parts, 0.9)), None


def _col2im(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    image, block = d.ints(2, 2, 5), d.ints(2, 1, 2)
    places = (image[0] - block[0] + 1) * (image[1] - block[1] + 1) if len(image) == len(block) == 2 else 1
    blocks = d.value([d.n(1, 2), d.n(1, 3) * (block[0] * block[1] if len(block) == 2 else 1), places], dtype)
    strides = d.maybe(d.ints(2, 1, 1), 0.2)
    return d.node(op, [blocks, d.numbers(image), d.numbers(block)], strides=strides, pads=d.maybe(d.ints(4, 0, 0), 0.2)), None


def _einsum(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    letters = "abcdefghij"[:len(shape)]
    chosen = [i for i in range(len(letters)) if d.chance()]
    other = "".join(letters[i] for i in chosen) + ("y" if d.chance() else "")
    sizes = [shape[i] for i in chosen] + ([d.n(1, 4)] if other.endswith("y") else [])
    used = letters + other[len(chosen):]
    output = "".join(v for v in used if d.chance(0.6))
    if d.chance(0.2):
        alone = d.pick(f"{letters}->{letters[::-1]}", "...->...", f"{letters}->", "aa->a", letters)
        return d.node(op, [x], equation=alone), None
    equation = d.pick(f"{letters},{other}->{output}", f"{letters},{other}", f"...{letters[-1:]},{other}->...{letters[-1:]}")
    return d.node(op, [x, d.value(sizes, dtype, 0.5)], equation=equation), None


def _global(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    return d.node(op, [x], p=d.maybe(d.n(1, 3)) if op == "GlobalLpPool" else None), [*shape[:2], *[1] * (len(shape) - 2)]


def _per_channel(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    """Normalisations."""
    channels = [shape[1] if len(shape) > 1 else 1]
    epsilon = d.maybe(d.f(0.0, 0.01))
    if op == "BatchNormalization":
        inputs = [x, *(d.constant(channels, dtype) for _ in range(4))]
        return d.node(op, inputs, d.pick(1, 1, 1, 3, 5) if d.opset < 14 else 1, epsilon=epsilon, momentum=d.maybe(d.f(), 0.2),
                      training_mode=d.maybe(d.n(0, 0), 0.2), spatial=d.maybe(d.n(0, 1), 0.05)), shape
    if op == "InstanceNormalization":
        return d.node(op, [x, d.constant(channels, dtype), d.constant(channels, dtype)], epsilon=epsilon), shape
    if op == "GroupNormalization":
        groups = d.n(1, 3)
        counts = channels if d.opset >= 21 else [groups]
        return d.node(op, [x, d.constant(counts, dtype), d.constant(counts, dtype)], epsilon=epsilon, num_groups=groups), shape
    if op == "LRN":
        return d.node(op, [x], size=d.n(1, 5), alpha=d.maybe(d.f()), beta=d.maybe(d.f()), bias=d.maybe(d.f(0.5, 2))), shape
    axis = d.axis(len(shape))
    tail = shape[axis if axis >= 0 else len(shape) + axis:] if -len(shape) <= axis < len(shape) else shape[-1:]
    inputs = [x, d.value(tail, dtype, 0.9), *([d.value(tail, dtype, 0.9)] if d.chance() else [])]
    return d.node(op, inputs, d.pick(1, 1, 1, 1, 3), axis=axis if d.chance(0.8) else None, epsilon=epsilon,
                  stash_type=d.maybe(d.n(0, 1), 0.1)), shape


def _gemm(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    inner, outputs = shape[-1] if shape else 1, d.n(1, 6)
    if op == "MatMul":
        batch = [s if d.chance() else 1 for s in shape[:-2]] if d.chance(0.4) else []
        weights = d.value([*batch, inner, outputs] if d.chance(0.9) else [inner], dtype, 0.7)
        return d.node(op, [x, weights] if d.chance(0.9) else [weights, x]), [*shape[:-1], outputs]
    across, transposed = d.n(0, 1), d.n(0, 1) if d.chance(0.2) else 0
    if transposed and len(shape) == 2:
        inner = shape[0]
    weights = d.value([outputs, inner] if across else [inner, outputs], dtype, 0.9)
    bias = d.pick([outputs], [1, outputs], [1], [], [shape[0] if shape else 1, outputs])
    extra = [d.value(bias, dtype, 0.8)] if d.chance() else []
    return d.node(op, [x, weights, *extra], transB=across, transA=transposed, alpha=d.maybe(d.f()), beta=d.maybe(d.f())), None


def _axes_or_input(d: Draw, op: str, x: str, values: list[int], since: int, name: str = "axes", **attrs: Any) -> list[str]:
    """Numbers that are an attribute before an opset, and an input from then on; at times the other way round."""
    if (d.opset >= since) != d.is_hostile(0.2):
        return d.node(op, [x, d.numbers(values)], **attrs)
    numbers: dict[str, Any] = {name: values}
    return d.node(op, [x], **numbers, **attrs)


def _reduce(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    keep = d.maybe(d.n(0, 1))
    if op in ("ArgMax", "ArgMin"):
        return d.node(op, [x], axis=d.maybe(d.axis(len(shape)), 0.8), keepdims=keep,
                      select_last_index=d.maybe(d.n(0, 1), 0.1) if d.opset >= 12 else None), None
    if d.chance(0.2):
        return d.node(op, [x], keepdims=keep, noop_with_empty_axes=d.maybe(d.n(0, 1), 0.2) if d.opset >= 13 else None), None
    return _axes_or_input(d, op, x, d.axes(len(shape)), 13 if op == "ReduceSum" else 18, keepdims=keep), None


def _squeeze(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    if op == "Squeeze" and d.chance(0.2):
        return d.node(op, [x]), None
    axes = [i for i, s in enumerate(shape) if s == 1] if op == "Squeeze" and not d.is_hostile() else d.axes(len(shape) + 1)
    return _axes_or_input(d, op, x, axes, 13), None


def _reshape(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    if op == "Flatten":
        return d.node(op, [x], axis=d.maybe(d.axis(len(shape) + 1))), None
    count = int(np.prod([float(s) for s in shape])) if all(0 <= s < 100 for s in shape) else 4
    new = d.pick([-1], [count], [1, -1], [0, -1], [-1, 1, 1], shape[::-1], [*shape, 1], d.ints(3, 0, 4))
    new = [d.n(v, v) for v in new]
    return d.node(op, [x, d.numbers(new)], allowzero=d.maybe(d.n(0, 1), 0.2) if d.opset >= 14 else None), new


def _transpose(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    perm = [int(p) for p in d.rng.permutation(len(shape))]
    if d.is_hostile():
        perm = d.ints(len(shape), 0, len(shape))
    return d.node(op, [x], perm=d.maybe(perm, 0.9)), None


def _expand(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    if op == "Tile":
        return d.node(op, [x, d.numbers(d.ints(len(shape), 0 if d.chance(0.1) else 1, 3))]), None
    new = [s if s != 1 else d.n(1, 4) for s in shape]
    return d.node(op, [x, d.numbers([*([d.n(1, 3)] if d.chance(0.3) else []), *(d.n(s, s) for s in new)])]), None


def _pad(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    mode = d.maybe(d.pick("constant", "edge", "reflect", "wrap", "nonsense" if d.is_hostile() else "constant"))
    pads = d.ints(2 * len(shape), -1 if d.chance(0.1) else 0, 2)
    if d.opset < 11:
        return d.node(op, [x], pads=pads, value=d.maybe(d.f()), mode=mode), None
    inputs = [x, d.numbers(pads), d.scalar(d.f(), dtype) if d.chance() else ""]
    if d.opset >= 18 and d.chance(0.2):
        axes = d.axes(len(shape))
        inputs = [x, d.numbers(d.ints(2 * len(axes), 0, 2)), inputs[2], d.numbers(axes)]
    return d.node(op, inputs, mode=mode), None


def _slice(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    axes = d.axes(len(shape)) or [0]
    starts, ends = d.ints(len(axes), -3, 3), d.ints(len(axes), -2, 5)
    ends = [d.pick(e, 2**63 - 1, 2**31 - 1, -2**63) if d.chance(0.2) else e for e in ends]
    if d.opset < 10:
        return d.node(op, [x], starts=starts, ends=ends, axes=d.maybe(axes, 0.9)), None
    inputs = [x, d.numbers(starts), d.numbers(ends)]
    if d.chance(0.9):
        inputs.append(d.numbers(axes))
        if d.chance(0.4):
            steps = d.ints(len(axes), -2, 2)
            inputs.append(d.numbers(steps if d.is_hostile() else [v or 1 for v in steps]))
    return d.node(op, inputs), None


def _split(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    axis = d.axis(len(shape))
    size = shape[axis] if -len(shape) <= axis < len(shape) else 4
    outputs = int(d.rng.integers(1, 4))
    if d.chance() or not 0 <= size < 100:
        return d.node(op, [x], outputs, axis=axis, num_outputs=d.n(outputs, outputs) if d.opset >= 18 else None), None
    parts = [size // outputs] * (outputs - 1)
    parts = [d.n(p, p) for p in [*parts, size - sum(parts)]]
    if d.opset >= 13:
        return d.node(op, [x, d.numbers(parts)], outputs, axis=axis), None
    return d.node(op, [x], outputs, axis=axis, split=parts), None


def _concat(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    axis = d.axis(len(shape))
    others = []
    for _ in range(int(d.rng.integers(0, 3))):
        other = list(shape)
        if -len(shape) <= axis < len(shape) and shape:
            other[axis] = d.n(1, 4)
        others.append(d.value(other, dtype, 0.3))
    return d.node(op, [x, *others, *([x] if d.chance(0.2) else [])], axis=axis if d.chance(0.95) else None), None


def _gather(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    indices = d.ints(int(d.rng.integers(1, 4)), 0, 1)
    if d.chance(0.7):
        table = d.numbers(indices)
    else:
        table = d.constant([], I64, indices[:1]) if indices and d.chance() else d.input([2], I64)
    return d.node(op, [x, table], axis=d.maybe(d.axis(len(shape)), 0.8)), None


def _gather_each(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    def indices(sizes: list[int]) -> str:
        within = d.rng.integers(0, max(1, min([abs(s) for s in shape], default=1)), min(4096, abs(int(np.prod(sizes)))))
        return d.constant(sizes, I64, within) if d.chance(0.8) else d.input(sizes, I64)

    if op == "GatherElements":
        sizes = [d.n(1, max(1, s)) if d.chance(0.4) else s for s in shape]
        return d.node(op, [x, indices(sizes)], axis=d.maybe(d.axis(len(shape)), 0.8)), None
    depth = int(d.rng.integers(1, max(2, len(shape) + 1)))
    batch = d.maybe(d.n(0, 1), 0.3) if d.opset >= 12 else None
    around = shape[:1] if batch == 1 else []
    return d.node(op, [x, indices([*around, d.n(1, 3), depth])], batch_dims=batch), None


def _found(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    if op == "NonZero":
        return d.node(op, [x]), None
    axis = d.maybe(d.axis(len(shape)), 0.7)
    size = shape[axis] if axis is not None and -len(shape) <= axis < len(shape) else 3
    return d.node(op, [x, d.value([d.n(1, max(1, size))], TensorProto.BOOL)], axis=axis), None


def _inside(d: Draw, shape: list[int], dtype: int, x: str, keeps: bool) -> tuple[str, list[int] | None]:
    """Some operators in a block: `keeps` chooses from those that give the shape that they are given."""
    names = KEEPS if keeps else (*KEEPS, "Transpose", "Concat", "Slice", "NonZero", "If", "Loop")
    for _ in range(int(d.rng.integers(1, 3))):
        op = str(d.pick(*names))
        outputs, after = RECIPES.get(op, by_schema)(d, op, shape, dtype, x)
        x = outputs[0]
        if after is None:
            return x, None
    return x, shape


def _if(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    condition = d.value([] if d.chance(0.8) else [1], TensorProto.BOOL, 0.2)
    graphs, count = [], int(d.rng.integers(1, 3))
    same = d.chance(0.7)
    for _ in range(2):
        inner = d.block()
        outputs = [_inside(inner, shape, dtype, x, same)[0] for _ in range(count)]
        if d.is_hostile(0.3):
            outputs = outputs[1:]
        graphs.append(inner.graph(outputs))
    return d.node(op, [condition], count, then_branch=graphs[0], else_branch=graphs[1]), shape if same else None


def _rounds(d: Draw) -> str:
    """How often a loop goes round at most: a constant or an input, of few rounds in any case."""
    if d.chance():
        return d.constant([], I64, [int(d.rng.integers(0, 5))])
    dtype, limit = (I64, 4) if d.opset >= 12 else (F32, 4)
    least = d.node("Min", [d.input([], dtype), d.constant([], dtype, [limit])])[0]
    return least if dtype == I64 else d.node("Cast", [least], to=I64)[0]


def _loop(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    inner = d.block()
    number, go = inner.formal([], I64), inner.formal([] if d.chance(0.9) else [1], TensorProto.BOOL)
    carried = inner.formal(shape, dtype)
    value, _ = _inside(inner, shape, dtype, carried, d.chance(0.85))
    if d.chance():
        last = inner.node("Identity", [go])[0]
    else:
        last = inner.node("Not", inner.node("Equal", [number, inner.constant([], I64, [int(d.rng.integers(0, 6))])]))[0]
    stacked = [_inside(inner, shape, dtype, d.pick(carried, x), d.chance(0.8))[0] for _ in range(int(d.rng.integers(0, 3)))]
    condition = d.scalar(1, TensorProto.BOOL) if d.chance(0.7) else "" if d.chance() else d.input([], TensorProto.BOOL)
    return d.node(op, [_rounds(d), condition, x], 1 + len(stacked), body=inner.graph([last, value, *stacked])), None


def _scan(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    inner, rest = d.block(), list(shape)
    axis = d.maybe(d.axis(len(shape)), 0.5)
    at = 0 if axis is None else axis
    if -len(shape) <= at < len(shape) and shape:
        del rest[at]
    state, part = inner.formal(rest, dtype), inner.formal(rest, dtype)
    after = inner.node("Add", [state, part])[0]
    given = _inside(inner, rest, dtype, inner.node("Mul", [after, part])[0], d.chance(0.9))[0]
    attrs = {"scan_input_axes": None if axis is None else [axis], "scan_input_directions": d.maybe([d.n(0, 1)], 0.3),
             "scan_output_axes": d.maybe([d.n(0, len(rest))], 0.3), "scan_output_directions": d.maybe([d.n(0, 1)], 0.3)}
    return d.node(op, [d.value(rest, dtype), x], 2, body=inner.graph([after, given]), num_scan_inputs=d.n(1, 1),
                  **(attrs if d.opset >= 9 else {})), None


def _where(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    other = [s if d.chance(0.8) else 1 for s in shape]
    return d.node(op, [d.value(other, TensorProto.BOOL), x, d.value(other, dtype)]), shape


def _topk(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    attrs = {"axis": d.maybe(d.axis(len(shape)), 0.8)}
    if d.opset >= 11:
        attrs |= {"largest": d.maybe(d.n(0, 1), 0.3), "sorted": d.maybe(d.n(0, 1), 0.3)}
    if d.opset < 10:
        return d.node(op, [x], 2, k=d.n(1, 3), **attrs), None
    return d.node(op, [x, d.numbers([d.n(1, 3)])], 2, **attrs), None


def _resize(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    factors = [d.f(0.3, 3.0) if i > 1 or d.chance(0.05) else 1.0 for i in range(len(shape))]
    mode = d.maybe(d.pick("nearest", "linear", "cubic", "nonsense" if d.is_hostile() else "nearest"), 0.9)
    if op == "Upsample":
        factors = [max(1.0, f) if f == f else f for f in factors]
        if d.opset < 9:
            return d.node(op, [x], scales=factors, mode=mode), None
        return d.node(op, [x, d.floats(factors)], mode=mode), None
    if d.opset < 11:
        return d.node(op, [x, d.floats(factors)], mode=mode), None
    region = d.floats([d.f(0, 1) for _ in range(2 * len(shape))]) if d.chance(0.1) else ""
    sizes = [d.n(s, s) if i < 2 else d.n(1, 9) for i, s in enumerate(shape)]
    inputs = [x, region, d.floats(factors)] if d.chance(0.6) else [x, region, "", d.numbers(sizes)]
    modes = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric", "tf_crop_and_resize")
    attrs = {"mode": mode, "coordinate_transformation_mode": d.maybe(d.pick(*modes)), "cubic_coeff_a": d.maybe(d.f(), 0.1),
             "nearest_mode": d.maybe(d.pick("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"), 0.4),
             "exclude_outside": d.maybe(d.n(0, 1), 0.1), "extrapolation_value": d.maybe(d.f(), 0.1)}
    if d.opset >= 18:
        attrs |= {"antialias": d.maybe(d.n(0, 1), 0.1), "axes": d.maybe(d.axes(len(shape)), 0.1),
                  "keep_aspect_ratio_policy": d.maybe(d.pick("stretch", "not_larger", "not_smaller"), 0.1)}
    return d.node(op, inputs, **attrs), None


def _blocks(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    return d.node(op, [x], blocksize=d.n(1, 2), mode=d.maybe(d.pick("DCR", "CRD")) if op == "DepthToSpace" else None), None


def _constant(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    """Operators without x: their result is added to it, or reshapes it."""
    if op == "Range":
        kind = d.pick(I64, F32, I64)
        names = d.node(op, [d.constant([], kind, [v]) for v in (d.n(0, 2), d.n(2, 9), d.n(1, 2))])
    elif op == "ConstantOfShape":
        dims = d.pick([1], [1], [], [2])
        value = helper.make_tensor("value", d.pick(F32, I64), dims, [d.pick(1, 2, 0)] * max([1, *dims]))
        names = d.node(op, [d.numbers(d.ints(len(shape), 1, 3))], value=d.maybe(value))
    else:
        given = d.pick({"value_float": d.f()}, {"value_int": d.n()}, {"value_ints": d.ints(3)},
                       {"value_floats": [d.f(), d.f()]}, {"value": helper.make_tensor("t", F32, [2], [1.0, 2.0])},
                       {"value_string": "a"})
        names = d.node(op, [], **given)
    return d.node("Add" if d.chance(0.8) else "Expand", [x, *names]), None


def _shape(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    part = {"start": d.maybe(d.n(-2, 2)), "end": d.maybe(d.n(-2, 4))} if op == "Shape" and d.opset >= 15 else {}
    names = d.node(op, [x], **part)
    if d.chance() and op == "Shape":
        return d.node("Reshape", [x, *names]), None
    return names, None


def _dropout(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    if d.opset < 12:
        return d.node(op, [x], ratio=d.maybe(d.f(0, 1))), shape
    return d.node(op, [x, *([d.scalar(d.f(0, 1))] if d.chance(0.3) else [])], d.pick(1, 1, 2)), shape


def _prelu(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> Made:
    slope = d.pick([1], shape[1:2] + [1] * max(0, len(shape) - 2), shape)
    return d.node(op, [x, d.value(list(slope), dtype, 0.9)]), shape


def _each(names: str, value: Any) -> dict[str, Any]:
    """The same for several operators."""
    return dict.fromkeys(names.split(), value)


#: Operators whose nodes are drawn with care; the others are drawn as their schemas have them.
RECIPES: dict[str, Recipe] = {
    **_each("Abs Ceil Cos Erf Exp Floor HardSwish Identity IsNaN Log Mish Neg Not Reciprocal Relu Round Sigmoid Sign Sin "
                    "Softplus Softsign Sqrt Tanh com.microsoft:Gelu Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh BitwiseNot "
                    "Det", _unary()),
    **_each("Celu Elu LeakyRelu ThresholdedRelu Swish", _unary(alpha=_float())),
    "Gelu": _unary(approximate=lambda d, r: d.pick("none", "tanh", "none")),
    "HardSigmoid": _unary(alpha=_float(), beta=_float()), "Selu": _unary(alpha=_float(), gamma=_float()),
    "Shrink": _unary(bias=_float(), lambd=_float()),
    "IsInf": _unary(detect_negative=lambda d, r: d.n(0, 1), detect_positive=lambda d, r: d.n(0, 1)),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _unary(axis=_axis)),
    "BitCast": _unary(to=lambda d, r: d.dtype()), "BitShift": _binary,
    **_each("BitwiseAnd BitwiseOr BitwiseXor", _binary),
    **_each("Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or Pow Sub Sum Xor", _binary),
    "Clip": _clip, "Cast": _cast, "CastLike": _cast, "Conv": _conv, "ConvTranspose": _conv,
    **dict.fromkeys(("AveragePool", "MaxPool", "LpPool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), _global),
    **_each("BatchNormalization GroupNormalization InstanceNormalization LRN LayerNormalization", _per_channel),
    "Gemm": _gemm, "MatMul": _gemm, "Einsum": _einsum, "DeformConv": _deformed, "Col2Im": _col2im, "MaxUnpool": _unpool,
    "GridSample": _grid, "AffineGrid": _grid, "RoiAlign": _regions, "MaxRoiPool": _regions,
    **_each("ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
                    "ReduceSumSquare ArgMax ArgMin", _reduce),
    "Squeeze": _squeeze, "Unsqueeze": _squeeze, "Reshape": _reshape, "Flatten": _reshape, "Transpose": _transpose,
    "Expand": _expand, "Tile": _expand, "Pad": _pad, "Slice": _slice, "Split": _split, "Concat": _concat, "Gather": _gather,
    "Where": _where, "TopK": _topk, "Resize": _resize, "Upsample": _resize, "DepthToSpace": _blocks, "SpaceToDepth": _blocks,
    "Constant": _constant, "ConstantOfShape": _constant, "Range": _constant, "Shape": _shape, "Size": _shape,
    "Dropout": _dropout, "PRelu": _prelu, "GatherElements": _gather_each, "GatherND": _gather_each,
    "NonZero": _found, "Compress": _found, "If": _if, "Loop": _loop, "Scan": _scan,
}
#: Operators that mostly give the shape of their input.
KEEPS = ("Relu", "Identity", "Add", "Mul", "Clip", "Softmax", "LeakyRelu", "Where")
#: Ranks that operators are mostly given.
RANKS = {**_each("Conv ConvTranspose AveragePool MaxPool LpPool MaxUnpool GridSample GlobalAveragePool GlobalMaxPool "
                         "GlobalLpPool LRN BatchNormalization GroupNormalization InstanceNormalization", (4, 4, 4, 3, 5)),
         **dict.fromkeys(("Resize", "Upsample", "DepthToSpace", "SpaceToDepth"), (4, 4, 4, 4, 3)), "Gemm": (2,),
         "MatMul": (2, 3, 4), "DeformConv": (4,), "RoiAlign": (4,), "MaxRoiPool": (4,), "Det": (2, 3)}
INTEGERS = ("Mod", "Equal", "Gather", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "BitShift")
BOOLEANS = ("And", "Not", "Or", "Xor")


class Operators(Target):
    """A case: an ONNX file."""

    name = "operators"
    weight = 10
    suffix = ".onnx"

    def prepare(self, folder: Path) -> None:
        self.names = sorted(op for op in operators() if owner("onnx_operators", op) is None)

    def make(self, rng: np.random.Generator) -> bytes:
        d = Draw(rng)
        op = mutate.pick(rng, self.names)
        rank = int(d.pick(*RANKS[op])) if op in RANKS else None
        shape = d.shape(rank, 8 if rank == 4 else 5)
        dtype = d.dtype(TensorProto.BOOL if op in BOOLEANS else I64 if op in INTEGERS and d.chance() else F32)
        value = d.input(shape, dtype)
        outputs: list[str] = []
        length = int(mutate.pick(rng, (1, 1, 2, 3, 5)))
        for _ in range(length):
            outputs, after = RECIPES.get(op, by_schema)(d, op, shape, dtype, value)
            if after is None or not all(isinstance(s, int) for s in after):
                after = shape
            value, shape = outputs[0], after
            op = mutate.pick(rng, self.names)
        return self._model(d, outputs, rng)

    def _model(self, d: Draw, outputs: list[str], rng: np.random.Generator) -> bytes:
        graph = d.graph([*outputs, *([d.nodes[0].output[0]] if not rng.integers(8) else [])])
        opsets = [helper.make_opsetid("", d.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()

    def run(self, data: bytes, folder: Path) -> None:
        use.exercise(data, folder, use.number_of_threads(data))

    def mutate(self, data: bytes, rng: np.random.Generator) -> bytes:
        return mutate.onnx_bytes(data, rng)

    def simpler(self, data: bytes) -> Iterator[bytes]:
        return mutate.simpler_onnx(data)

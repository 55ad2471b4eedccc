"""What the families share: checks of specs, the precision of the arithmetic, attributes that may come from inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, cast

import numpy as np

from ..errors import ModelError, ShapeError
from ..net.conditions import assumed, at_least, equal
from ..net.dim import MOST_SIZE, Expr, ceiling, largest, lowest, smallest, symbols_of, unknown
from ..net.dim_compare import found_bound
from ..net.net import Epilogue, TensorSpec
from ..net.size import MOST_RANK, check_value
from ..words import counted
from . import MEANING_ERRORS, LayerKind, Outline, apply_epilogue, kind_of

FLOATS = frozenset(("f16", "f32", "f64"))
SIGNED = frozenset(("i8", "i16", "i32", "i64"))
INTEGERS = SIGNED | {"u8", "u16", "u32", "u64"}
NUMBERS = FLOATS | INTEGERS

#: Effort (`LayerKind.effort`) of a step in Python, such as a layer in one trip of a loop, beside that of its elements: 4 to 8
#: microseconds.
STEP_EFFORT = 5000


def take(inputs: Sequence, least: int, most: int | None = None) -> list:
    """`inputs` padded with None up to `most`. Raises ShapeError for a wrong count or an absent one among the first."""
    most = least if most is None else most
    if len(inputs) > most or any(x is None for x in (*inputs, *[None] * least)[:least]):
        count = least if least == most else f"{least} to {most}"
        raise ShapeError(f"expected {counted(count, 'input')}, got {len(inputs)}"
                         f"{' with a required one absent' if None in list(inputs)[:least] else ''}")
    return [*inputs, *[None] * (most - len(inputs))]


def check_dtype(what: str, spec: TensorSpec, allowed: frozenset[str]) -> None:
    """Raise ModelError unless the spec's element type is one of `allowed`."""
    if spec.dtype not in allowed:
        raise ModelError(f"{what} is {spec}: expected an element type among {', '.join(sorted(allowed))}")


def check_same_dtype(*specs: TensorSpec | None) -> None:
    """Raise ModelError unless all specs (None is skipped) have one element type."""
    present = [s for s in specs if s is not None]
    if len({s.dtype for s in present}) > 1:
        raise ModelError(f"element types differ: {', '.join(map(str, present))}; insert a cast")


def check_rank(what: str, spec: TensorSpec, rank: int) -> None:
    """Raise ShapeError unless the spec has this rank."""
    if spec.rank != rank:
        raise ShapeError(f"{what} is {spec}: expected rank {rank}")


def check_shape(what: str, spec: TensorSpec | None, shape: Sequence[int | Expr]) -> None:
    """Raise ShapeError unless the spec is absent or has exactly this shape."""
    if spec is not None and not same_shape(spec.dims, shape):
        raise ShapeError(f"{what} is {spec}: expected shape {list(shape)}")


def check_one(what: str, spec: TensorSpec) -> None:
    """Raise ShapeError unless the spec has one element."""
    if not all(equal(d, 1) for d in spec.dims):
        raise ShapeError(f"{what} is {spec}: expected one number")


def same_shape(a: Sequence[int | Expr], b: Sequence[int | Expr]) -> bool:
    """Whether two shapes are equal; sizes that are open are assumed to be."""
    return tuple(a) == tuple(b) or len(a) == len(b) and all(map(equal, a, b))


def is_empty(shape: Sequence[int | Expr]) -> bool:
    """Whether a size is 0 or less; one that is open is assumed not to be."""
    try:
        return min(cast("Sequence[int]", shape), default=1) < 1
    except TypeError:  # expressions have no order
        return not all(at_least(d, 1) for d in shape)


def broadcasts_to(shape: Sequence[int | Expr], target: Sequence[int | Expr]) -> bool:
    """Whether NumPy's broadcast of both is the target; sizes that are open are assumed to fit."""
    return len(shape) <= len(target) and all(
        d == t or d == 1 or not (type(d) is int and type(t) is int) and assumed((d, "==", t), (d, "==", 1))
        for d, t in zip(reversed(shape), reversed(target)))


def integers(name: str, value: Any, count: int | None = None, least: int | None = None) -> tuple[int, ...]:
    """An attribute as a tuple of `count` integers not below `least`; a size may be open. Raises ModelError."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    try:
        found: tuple[Any, ...] | None = tuple(v if type(v) is Expr else int(v) for v in values)
    except (TypeError, ValueError, OverflowError):
        found = None
    wrong = found is None or found != values or (least is not None and any(
        not at_least(v, least) if type(v) is Expr else v < least for v in found))
    if found is None or wrong or (count is not None and len(values) != count):
        shown = repr(value)
        raise ModelError(f"attribute {name}={shown if len(shown) <= 200 else shown[:197] + '...'}: expected "
                         f"{'' if count is None else f'{count} '}integers"
                         f"{'' if least is None else f' of at least {least}'}")
    return found


def numbers(attrs: Mapping[str, Any], *names: str) -> tuple[float, ...]:
    """Some attributes as floats. Raises ModelError for one that is no number."""
    for name in names:
        if isinstance(attrs[name], (str, tuple)):
            raise ModelError(f"attribute {name}={attrs[name]!r}: expected a number")
    return tuple(float(attrs[name]) for name in names)


def word(name: str, value: Any, allowed: Sequence[str]) -> str:
    """An attribute that is one of some words. Raises ModelError."""
    if value not in allowed:
        raise ModelError(f"attribute {name}={value!r}: expected one of {', '.join(allowed)}")
    return value


def axis_of(axis: int, rank: int) -> int:
    """The axis counted from the front. Raises ShapeError when the rank has no such axis."""
    if isinstance(axis, (str, tuple)) or not -rank <= axis < rank or int(axis) != axis:
        expected = f"one of {-rank} to {rank - 1} for rank {rank}" if rank else "a tensor that has axes, got a scalar"
        raise ShapeError(f"axis {axis!r}: expected {expected}")
    return int(axis) % rank


def axes_of(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front, in the given order. Raises ShapeError for one that is absent or repeated."""
    found = tuple(axis_of(a, rank) for a in axes)
    if len(set(found)) != len(found):
        raise ShapeError(f"axes {tuple(axes)}: one is repeated")
    return found


def broadcast_shapes(*shapes: Sequence[int | Expr]) -> tuple[int | Expr, ...]:
    """NumPy's broadcast of shapes, of any size. Raises ShapeError when they do not fit.

    Where it is open which size is 1: a number other than 1 is the result, else the largest.
    """
    out: list[int | Expr] = []
    for dims in zip_longest(*(reversed(s) for s in shapes), fillvalue=1):
        lengths = {d for d in dims if d != 1}
        if len(lengths) > 1:
            numbers = {d for d in lengths if type(d) is int}
            size = numbers.pop() if numbers else largest(*lengths)
            if numbers or not all(d == size or assumed((d, "==", 1), (d, "==", size)) for d in lengths):
                raise ShapeError(f"shapes do not broadcast: {', '.join(listed(s) for s in shapes)}")
            out.append(size)
        else:
            out.append(lengths.pop() if lengths else 1)
    return tuple(reversed(out))


def listed(shape: Sequence[int | Expr]) -> str:
    """A shape as an error shows it."""
    return f"[{', '.join(map(str, shape))}]"


def broadcast(*specs: TensorSpec) -> tuple[int | Expr, ...]:
    """NumPy's broadcast of the shapes of specs. Raises ShapeError when they do not fit."""
    return broadcast_shapes(*(s.dims for s in specs))


def same_outline(self: LayerKind, attrs: Mapping[str, Any], shapes: list[Outline]) -> Outline:
    """`LayerKind.outline` of a kind whose outputs have the shape of the first input."""
    return shapes[0] if shapes else None


def broadcast_outline(self: LayerKind, attrs: Mapping[str, Any], shapes: list[Outline]) -> Outline:
    """`LayerKind.outline` of a kind whose inputs broadcast as in NumPy."""
    return broadcast_known(shapes)


def broadcast_known(shapes: Sequence[Outline]) -> Outline:
    """Broadcast of shapes that are known in part; None where the rank of one is not."""
    known = [s for s in shapes if s is not None]
    if len(known) < len(shapes):
        return None
    out: list[int | None] = []
    for dims in zip_longest(*(reversed(s) for s in known), fillvalue=1):
        given = [d for d in dims if d not in (1, None)]
        out.append(given[0] if given else None if None in dims else 1)
    return tuple(reversed(out))


def windows(length: Any, kernel: Any, stride: int, pads: tuple[int, int], dilation: int, ceil: bool = False) -> Any:
    """How many windows fit along one axis. Raises ShapeError when none does.

    `length` and `kernel` are integers, or expressions where they are open; so is the result.
    Source: ONNX MaxPool; with `ceil` a window that would start in the padding behind the end is dropped
    (onnx/onnx pull request 5741, as PyTorch does).
    """
    room = length + pads[0] + pads[1] - ((kernel - 1) * dilation + 1)
    count = (-(-room // stride) if ceil else room // stride) + 1
    if type(count) is not int:
        count = smallest(count, ceiling(length + pads[0], stride)) if ceil else count
        fits = at_least(room, 0) and (not ceil or at_least(count, 1))
    else:
        if ceil and (count - 1) * stride >= length + pads[0]:
            count -= 1
        fits = room >= 0 and count >= 1
    if not fits:
        raise ShapeError(f"a window of {(kernel - 1) * dilation + 1} does not fit into {length} + padding {sum(pads)}")
    return count


def padded_elements(x: TensorSpec, pad: Sequence[int]) -> int:
    """Elements of an image [N,C,H,W] with `pad` (top, left, bottom, right) around it; of other ranks alike."""
    space = len(x.sizes) - 2
    return math.prod(x.sizes[:2]) * math.prod(d + pad[i] + pad[i + space] for i, d in enumerate(x.sizes[2:]))


def widen(*arrays: Any) -> Any:
    """The arrays in the precision of the arithmetic: float16 as float32, everything else (None too) as it is."""
    out = [a.astype(np.float32) if a is not None and a.dtype == np.float16 else a for a in arrays]
    return out[0] if len(arrays) == 1 else out


def cut(y: np.ndarray, dtype: Any) -> np.ndarray:
    """Floats as integers of this dtype: cut towards zero, beyond its range its ends, NaN 0."""
    limits = np.iinfo(dtype)
    beyond = float(limits.max) + 1
    whole = np.trunc(np.where(np.isnan(y), 0, y))
    inside = np.clip(whole, float(limits.min), np.nextafter(beyond, 0)).astype(dtype)
    return np.where(whole >= beyond, limits.max, inside).astype(dtype)


def as_type(y: np.ndarray, dtype: Any) -> np.ndarray:
    """An array (0-d stays one) of this dtype, not copied where it is already."""
    return np.asarray(y).astype(dtype, copy=False)


def with_unknown_sizes(kind: Any, attrs: Mapping[str, Any],
                       inputs: list[TensorSpec | None]) -> tuple[dict[str, Any], list[TensorSpec | None]]:
    """(attributes, inputs) of a kind with `value_inputs`, with unknown numbers for integer inputs whose contents are not
    known; the very same inputs where there are none."""
    arrays: list[Any] = [None] * len(inputs)
    full = dict(attrs)
    for i in kind.value_inputs:
        spec = inputs[i] if i < len(inputs) else None
        if spec is not None and full.get("dtype") == "" == kind.attributes.get("dtype"):
            full["dtype"] = spec.dtype
        if spec is not None and spec.dtype in INTEGERS and spec.rank <= 1 and spec.bound and spec.elements <= MOST_RANK:
            arrays[i] = np.empty(spec.elements, object)
            arrays[i][:] = [unknown(-MOST_SIZE, MOST_SIZE) for _ in range(spec.elements)]
            arrays[i] = arrays[i].reshape(spec.sizes)
    if all(a is None for a in arrays):
        return full, inputs
    full, gone = kind.absorb(full, arrays)
    return full, [None if i in gone else s for i, s in enumerate(inputs)]


def own_symbols(outputs: Sequence[TensorSpec], inputs: Sequence[TensorSpec | None]) -> list[TensorSpec]:
    """Specs as they leave a layer: a size that depends on more than the sizes of its inputs is an unknown one."""
    known = {s for spec in inputs if spec is not None for d in spec.dims for s in symbols_of(d)}

    def own(d: Expr) -> int | Expr:
        return unknown(max(0, lowest(d)), max(0, found_bound(d)))
    return [TensorSpec(spec.dtype, tuple(own(d) if isinstance(d, Expr) and not known.issuperset(symbols_of(d)) else d
                                         for d in spec.dims)) for spec in outputs]


def one_number(name: str, array: Any) -> Any:
    """The number that an array of one element holds, or the expression. Raises ShapeError for any other array."""
    found = np.asarray(array)
    if found.size != 1:
        raise ShapeError(f"{name} has {counted(found.size, 'element')}: expected one number")
    return found.reshape(()).item()


def whole_number(name: str, array: Any) -> Any:
    """The same as an integer, cut towards 0. Raises ShapeError also for infinity and for what is no number."""
    found = one_number(name, array)
    if isinstance(found, Expr):
        return found
    if isinstance(found, float) and not math.isfinite(found):
        raise ShapeError(f"{name} is {found}: expected a whole number")
    return int(found)


class ValueKind(LayerKind):
    """A kind whose attributes may come from inputs instead: shapes and sizes that a model computes.

    `value_inputs`: input index -> attribute. An input that is present wins over its attribute. `absorb` moves known
    inputs into attributes at bind time; the shape rule of a layer that keeps one has unknown numbers in its place.
    """

    value_inputs: Mapping[int, str] = {}

    def infer_open(self, attrs: Mapping[str, Any], inputs: list[TensorSpec | None]) -> list[TensorSpec]:
        given = any(i < len(inputs) and inputs[i] is not None for i in self.value_inputs)
        if not given or self.reads_values:  # whose sizes depend on no values: what does not fit is refused here
            return self.infer(attrs, inputs)
        open_, body = with_unknown_sizes(self, attrs, inputs)
        try:
            return own_symbols(self.infer(open_, body), body)
        except (ModelError, *MEANING_ERRORS):  # its shape rule takes no unknown numbers: the rank may be known all the same
            for i, name in self.value_inputs.items():
                spec = inputs[i] if i < len(inputs) else None
                if spec is not None and spec.bound and spec.elements > 2 * MOST_RANK:
                    raise ShapeError(f"input {i} ({name}): {spec.elements} numbers; expected at most {2 * MOST_RANK}") from None
                if spec is not None:
                    open_[name] = (None,) * spec.elements if spec.bound else None
            outline = self.outline(open_, [None if s is None else tuple(None if isinstance(d, Expr) else d for d in s.dims)
                                           for s in inputs])
            dtype = open_.get("dtype") or (body[0].dtype if body and body[0] is not None else "")
            if outline is None or len(outline) > MOST_RANK or not dtype:
                return self.infer(attrs, inputs)  # says what it depends on
            return [TensorSpec(dtype, tuple(unknown() if d is None else d for d in outline))]

    def attribute(self, name: str, array: np.ndarray) -> Any:
        """The attribute that says what an input's array says; override where it is not a tuple of its elements."""
        return tuple(np.asarray(array).ravel().tolist())

    def absorb(self, attrs: Mapping[str, Any], arrays: Sequence) -> tuple[dict[str, Any], set[int]]:
        """Move known inputs into attributes: (new attributes, indices of the inputs that are not needed any more).

        `arrays`: per input its array where it is constant, else None. Source: DESIGN section 4, step 2.
        """
        out, gone = dict(attrs), set()
        for index, name in self.value_inputs.items():
            if index < len(arrays) and arrays[index] is not None:
                out[name] = self.attribute(name, arrays[index])
                gone.add(index)
        return out, gone

    def plain(self, inputs: Sequence) -> list:
        """The inputs that are data. Raises ShapeError when an attribute's input is still there."""
        for index, name in self.value_inputs.items():
            if index < len(inputs) and inputs[index] is not None:
                raise ShapeError(f"the output's shape depends on the contents of input {index} ({name}); "
                                 f"bind the net so that it becomes a constant, or give the attribute {name}")
        return [x for i, x in enumerate(inputs) if i not in self.value_inputs]

    def resolve(self, attrs: Mapping[str, Any], inputs: Sequence) -> tuple[dict[str, Any], list]:
        """For a meaning: (attributes with the inputs' contents in them, the inputs that are data)."""
        full, _ = self.absorb(attrs, [x if i in self.value_inputs else None for i, x in enumerate(inputs)])
        return full, [x for i, x in enumerate(inputs) if i not in self.value_inputs]


class Mover(LayerKind):
    """A kind whose outputs hold elements of its first input, and constants. Comes before ValueKind among the bases."""

    moves = slice(1)
    exact = True
    per_element = 0

    def keeps_order(self, attrs: Mapping[str, Any]) -> bool:
        return True

    def on_sizes(self, attrs: Mapping[str, Any], arrays: list[Any], inputs: list[Any]) -> list[Any] | None:
        return self.meaning(attrs, arrays)


def per_element(function: Callable[..., Any], *arrays: Any) -> np.ndarray | None:
    """A function of sizes, element by element, with broadcasting; None where it gives None for one of them.

    Floats that are no whole numbers are no sizes: the result is not known.
    """
    wide = [np.asarray(a).astype(object) for a in arrays]
    if any(isinstance(v, float) and not v.is_integer() for a in wide for v in a.flat):
        return None
    wide = [np.frompyfunc(lambda v: int(v) if isinstance(v, float) else v, 1, 1)(a) for a in wide]
    result = np.asarray(np.frompyfunc(function, len(wide), 1)(*wide), object)
    return None if any(v is None for v in result.flat) else result


#: Attributes of a 1x1 convolution that is a stage of a region's layer.
POINTWISE = {"stride": (1, 1), "pad": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}


def geometry(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Those attributes that say how a depthwise stage lies over its input."""
    return {name: attrs[name] for name in ("stride", "pad", "dilation")}


class Staged(LayerKind):
    """A region's layer: layers of other kinds, one after another.

    `activations`: attributes that are the activation after a stage, as the text of an epilogue. A subclass says in
    `stages` how one stage leads to the next; shape rule, meaning and operations follow.
    """

    activations: tuple[str, ...] = ()

    def stages(self, attrs: Mapping[str, Any], inputs: list, stage: Callable[..., Any]) -> Any:
        """The output, of specs or of arrays: `stage(kind, attributes, inputs, activation="")` gives what a stage makes.

        Raises ShapeError where the stages do not fit together.
        """
        raise NotImplementedError

    def _activation(self, attrs: Mapping[str, Any], name: str) -> Epilogue:
        epilogue = Epilogue.parse(attrs[name]) if name else Epilogue()
        if epilogue.add:
            raise ShapeError(f"{name}={attrs[name]!r}: expected an activation, got a residual")
        if epilogue.act:
            kind_of(epilogue.act)
        return epilogue

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        for name in self.activations:
            self._activation(attrs, name)

        def stage(kind: str, options: Mapping[str, Any], specs: list[Any], activation: str = "") -> Any:
            (y,) = kind_of(kind).infer(options, specs)
            check_value(f"the output of its stage {kind}", y)
            return y
        return [self.stages(attrs, inputs, stage)]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        def stage(kind: str, options: Mapping[str, Any], arrays: list[Any], activation: str = "") -> Any:
            (y,) = kind_of(kind).meaning(options, arrays)
            return apply_epilogue(y, self._activation(attrs, activation))
        return [self.stages(attrs, inputs, stage)]

    def _sizes(self, attrs: Mapping[str, Any], inputs: list) -> list[tuple[int, int]]:
        """(terms, operations) of every stage, its activation included."""
        found = []

        def stage(kind: str, options: Mapping[str, Any], specs: list[Any], activation: str = "") -> Any:
            (y,) = kind_of(kind).infer(options, specs)
            extra = y.elements if self._activation(attrs, activation) else 0
            found.append((kind_of(kind).terms(options, specs), kind_of(kind).operations(options, specs, [y]) + extra))
            return y
        self.stages(attrs, inputs, stage)
        return found

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return max(terms for terms, _ in self._sizes(attrs, inputs))

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return sum(operations for _, operations in self._sizes(attrs, inputs))

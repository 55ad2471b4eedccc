"""Kernels at smaller sizes than those of their problem: every axis that a kernel calls open is run with fewer.

What must come out is the layer's meaning on inputs of the smaller sizes; what sizes fit together is said by its shape rule.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import Error, ModelError
from ..layers import infer_layer, kind_of
from ..net.compare import relative_error
from ..net.format import Format, numpy_dtype
from ..net.net import TensorSpec
from . import Case
from .guard import Guarded, guarded
from .layouts import decode, encode, lay_out, logical

#: Trials per kernel at most.
_MOST = 12


def smaller(case: Case) -> Iterator[Case]:
    """The case with smaller inputs: sizes that are equal stay equal, or one axis of one input alone. Constants stay."""
    values = _values(case)
    sizes = sorted({d for shape in values.values() for d in shape if d > 1}, reverse=True)
    changes: tuple[Callable[[int], int], ...] = (lambda d: (d + 1) // 2, lambda d: 1, lambda d: d - 1, lambda d: 0)
    for change in changes:
        for chosen in (*((d,) for d in sizes), tuple(sizes)):
            yield from _changed(case, {i: tuple(change(d) if d in chosen else d for d in shape) for i, shape in values.items()})
        for i, shape in values.items():
            for axis, d in enumerate(shape):
                if d > 1:
                    yield from _changed(case, {i: (*shape[:axis], change(d), *shape[axis + 1:])})


def _values(case: Case) -> dict[int, tuple[int, ...]]:
    """Shapes of the inputs that are there and no constants, by their positions."""
    return {i: s.sizes for i, (s, c) in enumerate(zip(case.inputs, case.constant)) if s is not None and not c}


def _changed(case: Case, shapes: dict[int, tuple[int, ...]]) -> Iterator[Case]:
    """The case with inputs of these shapes, nothing where the layer does not fit them."""
    inputs = tuple(TensorSpec(s.dtype, shapes[i]) if s is not None and i in shapes else s for i, s in enumerate(case.inputs))
    # What is added up is positive, for a sum of few numbers may lie near zero by chance.
    usual = "positive" if case.reduction_length() > 1 else ""
    given = [usual if word in ("", "normal") else word for word in (*case.values, *[""] * (len(inputs) - len(case.values)))]
    words = tuple(_indices(case, inputs, i, word) for i, word in enumerate(given))
    name = f"{case.name} at {', '.join(map(str, (inputs[i] for i in shapes)))}"
    found = replace(case, inputs=inputs, values=words, name=name)
    try:
        layer = found.layer()
        fits = len(infer_layer(layer, list(inputs))) == len(case.outputs())
    except Error:
        return
    if fits:
        yield found


def _indices(case: Case, inputs: Sequence[TensorSpec | None], position: int, word: str) -> str:
    """The word for an input of indices, which count along an axis that may have become shorter."""
    kind = kind_of(case.kind)
    ends = kind.sensible(kind.complete(case.attrs), position, list(inputs), [None] * len(inputs))
    return f"index:{max(1, ends[1] + 1)}" if word.startswith("index:") and ends else word


def trials(kernel: Any, case: Case) -> Iterator[tuple[Case, list[tuple[int, ...]]]]:
    """Cases at sizes that a kernel takes, with the sizes of its ports; each set of axes that change once."""
    bound = [*_values(case).values(), *(s.sizes for s in case.outputs())]
    seen: set[Any] = set()
    for found in smaller(case):
        sizes = [*_values(found).values(), *(s.sizes for s in found.outputs())]
        if all(0 in s for s in sizes[-len(found.outputs()):]):
            continue  # a session passes over a step whose outputs are empty
        if any(len(a) != len(b) for a, b in zip(sizes, bound)):
            continue
        axes = frozenset((port, axis) for port, (a, b) in enumerate(zip(sizes, bound)) for axis in range(len(a))
                         if a[axis] != b[axis])
        key = axes, tuple(0 in s for s in sizes)
        if key in seen or not axes or any(a > b for s, t in zip(sizes, bound) for a, b in zip(s, t)) or \
                not all(kernel.open(port, axis) for port, axis in axes):
            continue
        seen.add(key)
        yield found, sizes
        if len(seen) == _MOST:
            return


def is_open(kernel: Any, case: Case) -> bool:
    """Whether a run of the kernel may have fewer along some axis."""
    values = [s for s, c in zip(case.inputs, case.constant) if s is not None and not c]
    return any(kernel.open(port, axis) for port, s in enumerate((*values, *case.outputs())) for axis in range(s.rank))


def fault(kernel: Any, case: Case, arrays: Sequence[np.ndarray | None], ins: Sequence[Format], outs: Sequence[Format],
          allowed: float, threads: int) -> str:
    """What is wrong at smaller sizes; "" where nothing is. `arrays`: of the case, whose constants the kernel holds."""
    for found, sizes in trials(kernel, case):
        made = [a if c else b for a, b, c in zip(arrays, found.arrays(), case.constant)]
        wrong = _fault_at(kernel, found, made, sizes, ins, outs, allowed, threads)
        if wrong:
            return f"{found.name}: {wrong}"
    return ""


def _fault_at(kernel: Any, case: Case, arrays: Sequence[np.ndarray | None], sizes: Sequence[tuple[int, ...]],
              ins: Sequence[Format], outs: Sequence[Format], allowed: float, threads: int) -> str:
    """What is wrong in one run; "" where nothing is. Values are first rounded as their format does: of few numbers none may
    make up for the others."""
    values = [a for a, c in zip(arrays, case.constant) if a is not None and not c]
    given = [guarded(encode(lay_out(v, f.layout), f.dtype), True) for v, f in zip(values, ins)]
    rounded = iter(_read(g.array, v, f) for g, v, f in zip(given, values, ins))
    arrays = [a if a is None or c else next(rounded) for a, c in zip(arrays, case.constant)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing is NaN
            expected: list[np.ndarray] | None = case.reference(arrays)
    except ModelError:  # an index lies outside of an axis that has become too short for it
        expected = None
    empty = [lay_out(np.empty(s.sizes, numpy_dtype(f.dtype)), f.layout) for s, f in zip(case.outputs(), outs)]
    written = [Guarded(e.shape, e.dtype, True) for e in empty]
    workspace = Guarded((kernel.workspace_bytes,), np.uint8, True, align=64)
    try:
        kernel.run([g.array for g in given], [g.array for g in written], workspace.array, threads,
                   apart=threads > 1 and bool(kernel.phases), sizes=sizes)
    except RuntimeError:
        return "" if expected is None else "the run fails"
    if expected is None:
        return "an index that lies outside is no error"
    if not all(g.intact() for g in (*given, *written, workspace)):
        return "writes beside its memory"
    for got, wanted, form, spec in zip(written, expected, outs, case.outputs()):
        error = relative_error(_read(got.array, np.empty(spec.sizes, numpy_dtype(spec.dtype)), form), wanted)
        if not error <= allowed:
            return f"relative error {error:.3g}, allowed {allowed:.3g}"
    return ""


def _read(memory: np.ndarray, like: np.ndarray, form: Format) -> np.ndarray:
    """The logical value that memory of a format holds; bits of a value that is bf16 itself stay bits."""
    return logical(memory if like.dtype == np.uint16 else decode(memory, form.dtype), form.layout, like.shape)

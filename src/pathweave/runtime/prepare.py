"""Kernels: candidates made ready to run, with constants packed. Kept while somebody compares many plans of one net."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Error, OutOfMemoryError, RouteError
from ..net import memory
from ..net.dim import Expr
from ..net.floats import bits_of
from ..net.format import Format, numpy_dtype, physical_shape
from ..net.net import Layer, TensorSpec
from ..net.problem import Problem
from ..net.scales import UNKNOWN, Scale
from ..net.size import check_value, size_bytes
from .bound import BoundNet
from .catalogue import PROGRAM, Candidate, is_python
from .layouts import store, to_logical
from .native import native

if TYPE_CHECKING:
    from .._native import Kernel

#: What a kernel of NumPy's runs: it reads the first arrays and fills the others.
Body = Callable[[list[np.ndarray], list[np.ndarray]], None]


@dataclass(frozen=True)
class Prepared:
    """One step of a candidate. `ins` and `outs` are slots: 0.. the layer's dynamic inputs, then its outputs, then
    temporaries, which have the spec and format of the first output."""

    routine: str
    kernel: Kernel
    ins: tuple[int, ...]
    outs: tuple[int, ...]
    share: tuple[tuple[int, int, int], ...] = ()
    reuse: tuple[tuple[int, int], ...] = ()


class KernelCache:
    """Prepared kernels of one bound net and the blocks in it, by layer and candidate; each is prepared once.

    Not for several threads at the same time.
    """

    def __init__(self, bound: BoundNet):
        self.bound = bound
        self._kernels: dict[tuple, tuple[Prepared, ...]] = {}

    def layer(self, layer: Layer, candidate: Candidate) -> tuple[Prepared, ...]:
        """The steps of a candidate for a layer, none for one that runs the layer's blocks. Raises RouteError, OutOfMemoryError
        when it cannot be prepared."""
        if candidate.algorithm == PROGRAM:
            return ()
        key = (layer.name, candidate.problem.text, candidate.key)
        if key not in self._kernels:
            self._kernels[key] = self._prepare(layer, candidate)
        return self._kernels[key]

    def holds(self, layer: Layer, candidate: Candidate) -> bool:
        """Whether a candidate of a layer is prepared already."""
        return candidate.algorithm == PROGRAM or (layer.name, candidate.problem.text, candidate.key) in self._kernels

    def adapt(self, candidate: Candidate, scale: Scale | None = None) -> Prepared:
        """The step of an adapt; one kernel serves every value of that shape, and of that scale where it reads one."""
        used = scale if scale and len({f.dtype for f in (*candidate.ins, *candidate.outs)}) > 1 else UNKNOWN
        key = ("", candidate.problem.text, candidate.key, used)
        if key not in self._kernels:
            kernel = kernel_of("a conversion", candidate, [(None, 0)], [used, used])
            self._kernels[key] = (Prepared(candidate.routine, kernel, (0,), (1,), candidate.share, candidate.reuse),)
        return self._kernels[key][0]

    def _prepare(self, layer: Layer, c: Candidate) -> tuple[Prepared, ...]:
        where = f"layer {layer.name!r} ({layer.kind})"
        place = self.bound.flat.place.get(layer.name)  # none for one that stands for a region
        bound = place.net if place else self.bound
        n, m, own = len(c.ins), len(c.outs), sum(1 for s, k in zip(c.base.inputs, c.base.constant) if s and not k)
        # The last step writes output 0; those before it write temporaries.
        targets = [n + m + i for i in range(len(c.steps))] + [n]
        kernel = kernel_of(where, c, bound.constants_of(layer, c.base), bound.scales_of(layer, c.base),
                           bound.finds_sizes(layer))
        steps = [Prepared(c.routine, kernel, tuple(range(own)), (targets[0], *range(n + 1, n + m)), c.share, c.reuse)]
        for i, step in enumerate(c.steps):
            constants: list[tuple[Any, int]] = [(None, 0)]
            ins: tuple[int, ...] = (targets[i],)
            if step.problem.kind == "add":
                residual = bound.constants_of(layer, c.problem)[-1]
                constants.append(residual)
                ins += () if residual[1] else (n - 1,)
            kernel = kernel_of(where, step, constants)
            steps.append(Prepared(step.routine, kernel, ins, (targets[i + 1],), (), step.reuse))
        return tuple(steps)

    @property
    def packed_bytes(self) -> int:
        """Bytes of packed constants that the kept kernels hold (copies that kernels share count once per kernel)."""
        return sum(p.kernel.packed_bytes for steps in self._kernels.values() for p in steps)

    def __len__(self) -> int:
        return len(self._kernels)

    def drop(self, layer: Layer | None = None, candidate: Candidate | None = None) -> None:
        """Forget the kernels of one candidate of a layer, of a layer, or all; plans that use them keep them alive."""
        if layer is None:
            self._kernels.clear()
            return
        for key in [k for k in self._kernels if k[0] == layer.name and (candidate is None or k[2] == candidate.key)]:
            del self._kernels[key]


def kernel_of(where: str, c: Candidate, constants: Sequence[tuple[Any, int]], scales: Sequence[Scale] = (),
              late: bool = False) -> Kernel:
    """The kernel of a candidate's own problem (`base`). `scales`: per input, then per output; none are known without. `late`:
    sizes of its outputs depend on contents."""
    try:
        if is_python(c):
            return python_kernel(c, [array for array, _ in constants], late)
        arrays = [(None if array is None else np.asarray(array, order="C"), number) for array, number in constants]
        return native().prepare(c.base.text, c.routine, c.own_variant, arrays, list(scales))
    except MemoryError as e:
        raise OutOfMemoryError(f"{where}: no memory to prepare {c}: {e}") from e
    except (Error, TimeoutError):  # the latter is a deadline's, which says nothing of the candidate
        raise
    except Exception as e:  # whatever a routine throws: others may take its place
        raise RouteError(f"{where}: {c} cannot be prepared for {c.base.text!r}: {e}") from e


def python_kernel(c: Candidate, constants: list[Any], late: bool = False) -> Kernel:
    """A kernel that runs the NumPy meaning on the memory of the plan. `late`: sizes of its outputs depend on contents."""
    problem = c.base
    specs = [s for s, k in zip(problem.inputs, problem.constant) if s is not None and not k]
    ins, outs = _ports(specs, c.ins), _ports(problem.outputs, c.outs)
    if late:
        body: Any = _late_meaning(c, problem, constants)
    else:
        body = _conversion(c) if problem.kind == "adapt" else _meaning(c, problem, constants)
    return native().python_kernel(body, ins, outs, late, [list(s.sizes) for s in (*specs, *problem.outputs)])


def _ports(specs: Sequence[TensorSpec], formats: Sequence[Format]) -> list[tuple[str, tuple[int, ...]]]:
    return [(s.dtype, physical_shape(f.layout, s.sizes)) for s, f in zip(specs, formats)]


def _conversion(c: Candidate) -> Body:
    source, target = c.ins[0].layout, c.outs[0].layout

    def run(ins: list[np.ndarray], outs: list[np.ndarray]) -> None:
        store(to_logical(ins[0], source), target, outs[0])
    return run


def _meaning(c: Candidate, problem: Problem, constants: list[Any]) -> Body:
    results = _results(c, problem, constants)
    layouts = [f.layout for f in c.outs]

    def run(ins: list[np.ndarray], outs: list[np.ndarray]) -> None:
        for result, out, layout in zip(results(ins), outs, layouts):
            store(np.asarray(result), layout, out)
    return run


def _late_meaning(c: Candidate, problem: Problem, constants: list[Any]) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    results = _results(c, problem, constants, late=True)
    dtypes = [np.dtype(numpy_dtype(s.dtype)) for s in problem.outputs]

    def run(ins: list[np.ndarray]) -> list[np.ndarray]:
        return [np.asarray(bits_of(np.asarray(y)), t, order="C") for y, t in zip(results(ins), dtypes)]
    return run


def _results(c: Candidate, problem: Problem, constants: list[Any],
             late: bool = False) -> Callable[[list[np.ndarray]], list[Any]]:
    from ..layers import kind_of
    from ..meaning.evaluate import run_layer
    names = tuple("" if s is None else f"x{i}" for i, s in enumerate(problem.inputs))
    layer = Layer(c.routine, problem.kind, names, tuple(f"y{i}" for i in range(len(problem.outputs))),
                  dict(problem.attrs), problem.epilogue)
    fixed = [array if k else None for array, k in zip(constants, problem.constant)]
    dynamic = [i for i, (s, k) in enumerate(zip(problem.inputs, problem.constant)) if s is not None and not k]
    layouts = [f.layout for f in c.ins]
    nested = kind_of(problem.kind).nested

    def results(ins: list[np.ndarray]) -> list[Any]:
        arguments = list(fixed)
        for i, array, layout in zip(dynamic, ins, layouts):
            arguments[i] = to_logical(array, layout)
        if late and not nested:
            _require_fit(layer, problem, arguments)
        return run_layer(layer, arguments)
    return results


def _require_fit(layer: Layer, problem: Problem, arguments: list[Any]) -> None:
    """Hold a layer to its shape rule with what its inputs hold, before anything is computed.

    Raises ShapeError, SizeError, OutOfMemoryError.
    """
    from ..layers import infer_layer
    from ..layers.contents import resolve
    contents = {v: a for v, a in zip(layer.inputs, arguments) if a is not None}
    specs = {v: TensorSpec(s.dtype, contents[v].shape) for v, s in zip(layer.inputs, problem.inputs) if s is not None}
    resolved = resolve(layer, contents)
    found = infer_layer(resolved, [specs[v] if v else None for v in resolved.inputs])
    for i, spec in enumerate(found):
        check_value(f"output {i}", spec)
    known = [s for s in found if not any(isinstance(d, Expr) for d in s.dims)]
    memory.require(sum(map(size_bytes, known)), "results", "give inputs that ask for smaller ones")

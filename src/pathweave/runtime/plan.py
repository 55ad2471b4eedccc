"""Plan: a bound net with a chosen candidate per layer, made ready to run on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from ..errors import InputError, OutOfMemoryError, RouteError, SizeError
from ..net import memory
from ..net.dim import Expr, highest_at
from ..net.format import itemsize
from ..net.net import TensorSpec
from ..net.route import Conversion, Route
from ..net.size import advice, max_bytes, size_bytes
from ..words import counted
from .bound import BoundNet
from .builder import Builder, Step
from .catalogue import Candidate
from .native import native
from .prepare import KernelCache

if TYPE_CHECKING:
    from .. import _native
    from .session import Session  # it stands on plans

#: The device on whose memory NumPy's arrays lie.
HOST = "cpu"
_MACHINE = "ask for a smaller batch, or a machine with more memory"


class Plan:
    """A net bound to this machine: kernels prepared, memory placed. Immutable; any number of threads may share it.

    `inputs`, `outputs`: TensorSpec by name, in the model's order. `steps`: what runs, in order. `peak_bytes`: memory of
    one session's arena; `unshared_bytes`: the same without re-use; `packed_bytes`: packed constants. `route`: what it
    was made from, None for one built from candidates. `kernels`: (routine, native kernel), each kernel once. `late`: outputs
    whose sizes are known after a run, and not before. `symbols`: names of the sizes that are open, in the order of the native
    plan. `most`: up to which size of each open symbol memory is planned. Where sizes are open (`bound.opened`), those of
    `inputs` and `outputs` are examples.
    """

    def __init__(self, bound: BoundNet, handle: _native.Plan, steps: tuple[Step, ...], choices: Mapping[str, Candidate],
                 conversions: list[Conversion], threads: int, kernels: tuple[tuple[str, Any], ...] = (),
                 route: Route | None = None, late: tuple[str, ...] = (), symbols: tuple[str, ...] = ()):
        self.bound = bound
        self.inputs: dict[str, TensorSpec] = bound.inputs
        self.outputs: dict[str, TensorSpec] = bound.outputs
        self.steps = steps
        self.choices = dict(choices)
        self.conversions = list(conversions)
        self.threads = threads
        self.route = route
        self.kernels = kernels
        self.late = late
        self.symbols = symbols
        self.most = {n: bound.sizes[n] for n in bound.opened.given} if bound.opened else {}
        self._handle = handle

    @property
    def signature(self) -> str:
        """Signature of the bound net."""
        return self.bound.signature

    @property
    def packed_bytes(self) -> int:
        """Bytes of packed constants (copies that kernels share count once per kernel)."""
        return sum(kernel.packed_bytes for _, kernel in self.kernels)

    @property
    def peak_bytes(self) -> int:
        """Bytes of the arena in which all values of one session lie."""
        return self._handle.peak_bytes

    @property
    def unshared_bytes(self) -> int:
        """Bytes that the values would take without sharing memory."""
        return self._handle.unshared_bytes

    @property
    def workspace_bytes(self) -> int:
        """Bytes of scratch memory of one session."""
        return self._handle.workspace_bytes

    @property
    def native(self) -> _native.Plan:
        """The plan of the native core."""
        return self._handle

    def __reduce__(self) -> Any:
        raise InputError("a plan holds memory of this process and is not pickled or copied: any number of threads may share "
                         "it; for another process pickle the model, and make a plan of it there")

    def resized(self, most: Mapping[str, int]) -> Plan:
        """The same plan with memory for other sizes of the open symbols: kernels and route stay.

        Raises InputError for a symbol without a size, or with one that it cannot have, SizeError, OutOfMemoryError.
        """
        assert self.bound.opened is not None
        for name, (low, high) in self.bound.opened.given.items():
            if not isinstance(most.get(name), int) or not low <= most[name] <= high:
                raise InputError(f"plan: the size of {name!r} is {most.get(name)}; expected a number from {low} to {high}")
        try:
            handle = self._handle.resized([most[n] for n in self.bound.opened.given])
        except MemoryError as e:
            raise OutOfMemoryError(f"plan: no memory ({e}); {_MACHINE}") from e
        except ValueError as e:
            listed = ", ".join(f"{n} = {size}" for n, size in most.items())
            raise SizeError(f"plan: at {listed}: {e}; give smaller shapes") from e
        known = {n: largest_at(s.dims, most) for n, s in self.bound.opened.net.specs.items()
                 if n in self.inputs or n in self.outputs and n not in self.late}
        for name, elements in known.items():
            spec = self.bound.spec(name)
            limit = max_bytes()
            if elements * itemsize(spec.dtype) > limit:
                raise SizeError(f"plan: {name!r} would take {elements * itemsize(spec.dtype)} bytes: expected at most {limit}; "
                                f"{advice(limit)}")
        results = sum(known[n] * itemsize(self.bound.spec(n).dtype) for n in self.outputs if n in known)
        _check_arena(handle.peak_bytes, handle.workspace_bytes, results, handle.elsewhere_bytes)
        other = object.__new__(Plan)
        other.__dict__.update(self.__dict__)
        other._handle, other.most = handle, dict(most)
        return other

    def session(self) -> Session:
        """A new session: one caller's state over this plan. Raises OutOfMemoryError."""
        from .session import Session
        return Session(self)

    def describe(self) -> str:
        """The steps as text, one line each, and the memory."""
        lines = [f"{i:4d}  {s.label:40s} {s.routine} {s.variant}  "
                 f"{','.join(map(str, s.ins))} -> {','.join(map(str, s.outs))}" for i, s in enumerate(self.steps)]
        lines.append(f"{counted(len(self.steps), 'step')}, {counted(self.threads, 'thread')}; "
                     f"values {self.peak_bytes / 1e6:.2f} MB "
                     f"(without re-use {self.unshared_bytes / 1e6:.2f} MB), "
                     f"scratch {self.workspace_bytes / 1e6:.2f} MB, packed constants {self.packed_bytes / 1e6:.2f} MB")
        return "\n".join(lines)

    def __repr__(self) -> str:
        ins = ", ".join(f"{n}={s}" for n, s in self.inputs.items())
        return (f"<Plan {ins}: {counted(len(self.steps), 'step')}, {counted(self.threads, 'thread')}, "
                f"{self.peak_bytes / 1e6:.1f} MB>")


def build_plan(bound: BoundNet, choices: Mapping[str, Candidate], conversions: Iterable[Conversion], threads: int,
               cache: KernelCache | None = None, route: Route | None = None) -> Plan:
    """Prepare and wire everything.

    `choices`: a candidate per layer name. `conversions`: adapts by value and target format; one that is missing is
    the shortest chain. `cache`: where prepared kernels are kept for the next plan. Raises RouteError for a choice or a
    conversion that does not fit, OutOfMemoryError.
    """
    missing = [layer.name for layer in bound.all_layers() if layer.name not in choices]
    if missing:
        raise RouteError(f"plan: no candidate is chosen for the layers {', '.join(map(repr, missing[:10]))}")
    _check_memory(bound)
    builder = Builder(bound, choices, conversions, threads, KernelCache(bound) if cache is None else cache)
    builder.wire()
    try:
        handle = native().Plan(builder.values, builder.native_steps, builder.inputs, builder.outputs, threads,
                               **builder.program())
    except MemoryError as e:
        raise OutOfMemoryError(f"plan: no memory ({e}); {_MACHINE}") from e
    except (RuntimeError, ValueError) as e:
        raise RouteError(f"plan: the native core refuses it: {e}") from e
    results = sum(map(size_bytes, bound.outputs.values()))
    _check_arena(handle.peak_bytes, handle.workspace_bytes, results, handle.elsewhere_bytes)
    return Plan(bound, handle, tuple(builder.steps), choices, builder.used, threads, tuple(builder.kernels.values()),
                route, tuple(builder.late), tuple(builder.opened.table.symbols))


def largest_at(dims: Sequence[int | Expr], sizes: Mapping[str, int]) -> int:
    """Elements of a value at sizes of the symbols that are given."""
    return prod(highest_at(d, sizes) for d in dims)


def _check_memory(bound: BoundNet) -> None:
    """Raise OutOfMemoryError where no plan of a net can run, however it places the values: before kernels are prepared."""
    results = sum(map(size_bytes, bound.outputs.values()))
    inside = {v: size_bytes(bound.spec(v)) for layer in bound.layers for v in layer.outputs}
    largest = max(inside, key=inside.__getitem__, default="")
    memory.require(results, "plan: the results of the model", _MACHINE)
    memory.require(inside.get(largest, 0), f"plan: value {largest!r}, {bound.net.specs.get(largest)}", _MACHINE)


def _check_arena(peak: int, scratch: int, results: int, elsewhere: int) -> None:
    """Raise SizeError, OutOfMemoryError where one session of a plan takes more than the limit, or than there is.

    `elsewhere`: bytes of values and scratch in memory of devices, which are asked when a session is made.
    """
    limit, needed = max_bytes(), peak + scratch + results
    if needed > limit:
        raise SizeError(f"plan: one session takes {needed} bytes ({peak} of values, {scratch} of scratch, {results} of "
                        f"results): expected at most {limit}; {advice(limit)}")
    memory.require(needed - elsewhere, "plan: values, scratch and results of one session", _MACHINE)

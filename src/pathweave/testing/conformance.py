"""The conformance suite: every native routine in every variant on every case that it accepts.

Each check compares with the layer's meaning in float64 at the tolerance of the routine's accuracy class, with poisoned
outputs, forbidden pages around inputs, outputs, constants and all that the kernel holds, a second run that must be equal
to the bit, as must a run in a session, and, for routines that may work in place or without a copy, a run in which they do.
Kernels that go by the sizes of a run are run at smaller ones (`open.py`).
Routines that hold values as integers are compared with an integer reference too (`quantised.py`), as are those that round f32
values to integers by scales that they find (`dynamic.py`). With more threads, more
than there are pieces or processors, the kernel is prepared anew, and a session must give the same to the bit.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..locks import cached_property
from ..net.accuracy import LIMITS
from ..net.compare import relative_error
from ..net.format import LAYOUTS, Format, fits, itemsize, numpy_dtype
from ..net.net import TensorSpec
from ..net.problem import Problem, adapt_problem
from ..net.scales import UNKNOWN, Scale, needs_scale
from ..net.size import size_bytes
from ..runtime.native import native
from . import Case, cases, quantised, tolerance
from . import dynamic as scaled_by_row
from .found import check as check_found
from .found import finds_sizes
from .guard import Guarded, fence, guarded
from .layouts import decode, encode, lay_out, logical
from .open import fault as at_smaller_sizes

if TYPE_CHECKING:
    from .._native import Kernel, Plan

#: Numbers of threads with which a kernel is compared with its meaning; with the others it is compared with itself.
FULL = (1, 2)
THREADS = (*FULL, 3, 5, 16)

#: Sizes of teams whose threads are asked what they read first: all up to twice the shares that a loop is divided into, for
#: with fewer pieces than shares some are empty, and some of which several threads begin in the same share.
TEAMS = (*range(1, 41), 64, 100, 128)

#: Forms other than its own in which an f32 value may lie.
STORED_FORMS = ("bf16", "bf16x2", "f16")

#: Products of floats split into parts: infinity times a part of 0 is NaN (docs/accuracy.md).
SPLIT_PRODUCTS = ("bf16x2", "bf16x3")


@dataclass(frozen=True)
class Check:
    """One routine in one variant on one case. `case` is a case's name, or an adapt's problem without its threads."""

    case: str
    routine: str
    variant: str
    threads: int

    def repeat(self, isa: str) -> str:
        """The command that repeats it."""
        words = ["python", "-m", "pathweave.testing", "--case", self.case, "--routine", self.routine, "--variant",
                 self.variant, "--threads", str(self.threads), *(["--isa", isa] if isa else [])]
        return shlex.join(words)


@dataclass
class Result:
    """What became of a check: `failure` "" when it passed; `error`: relative RMS error (largest of the outputs).
    `left_out`: it was prepared, but does not run on a micro-kernel of the tier asked for."""

    check: Check
    error: float
    allowed: float
    failure: str
    left_out: bool = False

    def to_json(self, isa: str) -> str:
        """One line."""
        return json.dumps({**asdict(self.check), "error": self.error, "allowed": self.allowed, "failure": self.failure,
                           "left_out": self.left_out, "repeat": self.check.repeat(isa)})


class Subject:
    """What a routine is tested on: a problem per number of threads, its inputs and what must come out.

    `wanted` is asked when a result is there. `scales`: of inputs and outputs, for formats of integers.
    """

    def __init__(self, name: str, arrays: Sequence[np.ndarray | None], wanted: Callable[[], Sequence[np.ndarray]],
                 case: Case | None, make: Callable[[int], Problem], scales: Sequence[Scale] = ()):
        self.name, self.arrays, self.case, self.make = name, list(arrays), case, make
        self._wanted = wanted
        self.first: dict[tuple[str, str], list[np.ndarray]] = {}  # results with the first number of threads
        self.left_out: set[tuple[str, str, str]] = set()  # units, routines and variants
        self._constants: dict[bool, list[Guarded | None]] = {}
        self._scales = list(scales)
        self._expected: dict[tuple, quantised.Expected] = {}

    @cached_property
    def wanted(self) -> list[np.ndarray]:
        """What must come out."""
        return list(self._wanted())

    @cached_property
    def beyond_f16(self) -> bool:
        """Whether finite inputs have results that f16 cannot hold."""
        finite = all(np.isfinite(a).all() for a in self.arrays if a is not None and a.dtype.kind == "f")
        return self.case is not None and finite and \
            any(np.abs(w).max(initial=0.0) > np.finfo(np.float16).max for w in self.wanted if w.dtype.kind == "f")

    @property
    def scales(self) -> list[Scale]:
        """One per input and output, unknown for what is no f32 value."""
        if not self._scales and self.case:
            self._scales = quantised.scales_of(self.case, self.arrays, self.wanted)
        return self._scales

    def constants(self, at_end: bool) -> list[Guarded | None]:
        """One per input, None for values: constants that touch a forbidden page."""
        if at_end not in self._constants:
            self._constants[at_end] = [
                guarded(a, at_end) if c and a is not None else None for a, c in zip(self.arrays, self.problem(1).constant)]
        return self._constants[at_end]

    def expected(self, ins: Sequence[Format], outs: Sequence[Format]) -> quantised.Expected:
        """What a routine with ports of integers must give."""
        assert self.case is not None
        key = *ins, *outs
        if key not in self._expected:
            self._expected[key] = quantised.Expected(self.case, self.arrays, self.scales, ins, outs)
        return self._expected[key]

    def problem(self, threads: int) -> Problem:
        """The problem for a number of threads."""
        return self.make(threads)

    def allowed(self, routine: str, accuracy: str) -> float:
        """Largest relative RMS error that a routine of an accuracy class may have."""
        return tolerance(self.case, accuracy, routine.split(":")[1]) if self.case else 0.0


def subjects(wanted: str | None = None) -> Iterator[Subject]:
    """Every case, then every change of layout."""
    for case in cases():
        if wanted is None or wanted == case.name:
            arrays = case.arrays()
            yield Subject(case.name, arrays, partial(case.reference, arrays), case, case.problem)
    for spec, source, target in adapts():
        if wanted is None or wanted == _adapt_name(spec, source, target):
            yield adapt_subject(spec, source, target)


def _adapt_name(spec: TensorSpec, source: Format, target: Format) -> str:
    return adapt_problem(spec, source, target, 1).text.rsplit(" ", 1)[0]


def adapt_subject(spec: TensorSpec, source: Format, target: Format) -> Subject:
    """A conversion."""
    array, after, scale = _adapted(spec, source, target)
    return Subject(_adapt_name(spec, source, target), [array], lambda: [after], None,
                   lambda threads: adapt_problem(spec, source, target, threads), [scale, scale])


def _adapted(spec: TensorSpec, source: Format, target: Format) -> tuple[np.ndarray, np.ndarray, Scale]:
    """A value before and after a conversion, in the formats' element types, and its scale."""
    if spec.dtype != "f32":  # moved as it is
        most = {"bool": 2, "u8": 256, "i8": 128}.get(spec.dtype, 2000)
        array = np.random.default_rng(spec.elements).integers(0, most, spec.sizes).astype(numpy_dtype(spec.dtype))
        return array, array, UNKNOWN
    if {source.dtype, target.dtype} & set(STORED_FORMS):
        array = _values_of(spec, source, target)
        return array, decode(encode(array, target.dtype), target.dtype), UNKNOWN
    size = spec.elements
    array = np.arange(1, 1 + size).astype(numpy_dtype(spec.dtype)).reshape(spec.sizes)
    if source.dtype == target.dtype == "f32":
        return array, array, UNKNOWN
    rng = np.random.default_rng(size)
    scale = Scale(float(np.float32(rng.uniform(0.001, 0.3))), int(rng.integers(0, 256)))
    if source.dtype == "u8":
        array = rng.integers(0, 256, spec.sizes).astype(np.uint8)
        return array, (array if target.dtype == "u8" else quantised.dequantise(array, scale)), scale
    # Beyond both ends, halfway between two integers, and what is no number.
    array = (rng.uniform(-300, 300, spec.sizes) * scale.scale).astype(np.float32)
    halves = (rng.integers(-256, 256, spec.sizes) + 0.5) * scale.scale
    array = np.where(rng.integers(0, 4, spec.sizes) == 0, halves, array).astype(np.float32)
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 3e38, -1e-45], np.float32)
    array = np.where(rng.integers(0, 8, spec.sizes) == 0, rng.choice(special, spec.sizes), array)
    return array, quantised.quantise(array, scale), scale


#: What a change of form may get wrong: ties, what rounds up to infinity, denormals, NaN.
_EDGES = np.array([1.00390625, 1.01171875, -1.00390625, 3.4e38, -3.4028235e38, 1e-40, -1e-45, 1.17e-38, 0.0, -0.0,
                   np.inf, -np.inf, np.nan, 65535.0, 1 / 3, 1e-30, 65504.0, 65519.996, 65520.0, -65536.0, 6.1e-5, 5.96e-8,
                   2.0**-25, 2.99e-8, 1.00048828125], np.float32)

#: Elements that hold all numbers of 16 bits, or what lies between any two.
_EVERY = 3 << 15


def _values_of(spec: TensorSpec, source: Format, target: Format) -> np.ndarray:
    """Different values that a format can hold exactly. A vector of _EVERY: all of a format of 16 bits; to one, from
    every number that is halfway between two of its own, and that number's neighbours."""
    n = spec.elements
    rng = np.random.default_rng(n)
    half = target if source.dtype == "f32" else source
    if n == _EVERY and itemsize(half.dtype) == 2:
        every = decode(np.arange(1 << 16).astype(np.uint16).view(numpy_dtype(half.dtype)), half.dtype)
        if half == source:
            return np.resize(every, n)
        low = every[np.isfinite(every) & ~np.signbit(every)].astype(np.float64)
        high = np.append(low[1:], 2 * low[-1] - low[-2])  # where infinity would lie
        middle = ((low + high) / 2).astype(np.float32)
        near = np.concatenate([middle, np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf))])
        return np.resize(near * rng.choice(np.array([-1, 1], np.float32), near.size), n)
    array = rng.standard_normal(n).astype(np.float32)
    at = rng.permutation(n)[:len(_EDGES)]
    array[at] = _EDGES[:len(at)]
    return decode(encode(array.reshape(spec.sizes), source.dtype), source.dtype)


def adapts() -> list[tuple[TensorSpec, Format, Format]]:
    """Changes of layout and element type on sizes that fill, and that do not fill, the blocks that kernels work in."""
    shapes = [(1, 1, 1, 1), (1, 3, 7, 5), (2, 16, 1, 1), (1, 16, 7, 9), (2, 32, 5, 4), (1, 48, 17, 19), (3, 20, 6, 6),
              (1, 1000, 1, 1), (1, 64, 33, 31)]
    found = []
    for shape in shapes:
        layouts = ["nchw", "nhwc", *(["nchw16c"] if shape[1] % 16 == 0 else [])]
        formats = [Format(dtype, a) for dtype in ("f32", "u8") for a in layouts]
        found += [(TensorSpec("f32", shape), a, b) for a in formats for b in formats if a != b]
        for dtype in STORED_FORMS:
            for layout in ("nchw", "nhwc"):
                ends = Format("f32", layout), Format(dtype, "nhwc")
                found += [(TensorSpec("f32", shape), a, b) for a, b in (ends, ends[::-1])]
    for dtype in (d for d in STORED_FORMS if itemsize(d) == 2):
        ends = Format("f32", "plain"), Format(dtype, "plain")
        found += [(TensorSpec("f32", (_EVERY,)), a, b) for a, b in (ends, ends[::-1])]
    found += _moved_as_they_are()
    plain: list[tuple[int, ...]] = [(), (1,), (17,), (1000,), (3, 17), (3, 64), (2, 5, 31), (2, 5, 64), (1, 1000),
                                    (2, 3, 1, 2, 33)]
    for sizes in plain:
        for dtype in ("u8", *STORED_FORMS):
            ends = Format("f32", "plain"), Format(dtype, "plain")
            found += [(TensorSpec("f32", sizes), a, b) for a, b in (ends, ends[::-1])]
    return found


def _moved_as_they_are() -> list[tuple[TensorSpec, Format, Format]]:
    """Changes of layout of elements of every size, and of values of rank 3 and 5."""
    shapes = [(1, 1, 1), (2, 3, 17), (3, 20, 1), (1, 67, 33), (1, 3, 5000), (2, 3, 2, 5, 7), (1, 33, 3, 4, 5), (1, 1, 2, 3, 4),
              (1, 1, 1, 1), (2, 3, 7, 5), (1, 32, 9, 7), (1, 70, 20, 21)]
    found = []
    for shape in shapes:
        layouts = [x for x in LAYOUTS if fits(x, shape)]
        for dtype in ("f32", "u8", "f16", "i32", "f64", "bool", "bf16"):
            if len(shape) != 4 or dtype != "f32":
                found += [(TensorSpec(dtype, shape), Format(dtype, a), Format(dtype, b))
                          for a in layouts for b in layouts if a != b]
    return found


def checks_of(subject: Subject, routine: str | None = None, variant: str | None = None,
              threads: Sequence[int] = THREADS) -> Iterator[tuple[Check, dict]]:
    """The checks that native routines owe on a subject, with what the catalogue says of each routine. Routines in f16 owe
    none where its range ends."""
    for n in threads:
        for card in native().candidates(subject.problem(n).text):
            if card["ok"] and (routine is None or card["id"] == routine) and \
                    not (":f16:" in card["id"] and subject.beyond_f16):
                for v in card["variants"]:
                    if variant is None or v == variant:
                        yield Check(subject.name, card["id"], v, n), card


def unit_of(isa: str) -> str:
    """The tier whose own micro-kernels are all that is new where the machine is capped at `isa`, "" when everything is.

    A unit above avx512, or its twin, brings micro-kernels for a few kinds; all else runs on those of avx512 as it does
    under that cap.
    """
    tier = isa.removesuffix("-emulated")
    return "" if tier in ("", "generic", "avx2", "avx512") else tier


def perform(subject: Subject, check: Check, card: dict, unit: str = "") -> Result:
    """Carry out one check; with `unit` only where the kernel runs on a micro-kernel of that tier. Raises nothing: what
    goes wrong is the failure."""
    allowed = subject.allowed(check.routine, card["accuracy"]) if card["accuracy"] in LIMITS else 0.0
    try:
        with fence():
            found = _perform(subject, check, card, allowed, unit)
        if found is None:
            return Result(check, 0.0, allowed, "", left_out=True)
        error, failure = found
    except Exception as e:  # whatever a routine does to us is its failure
        error, failure = float("inf"), f"{type(e).__name__}: {e}"
    return Result(check, error, allowed, failure)


def _perform(subject: Subject, check: Check, card: dict, allowed: float, unit: str) -> tuple[float, str] | None:
    if (unit, check.routine, check.variant) in subject.left_out:  # whatever the number of threads
        return None
    if subject.case and finds_sizes(subject.case):
        return check_found(subject.case, subject.arrays, subject.wanted, check.routine, check.variant, check.threads)
    problem = subject.problem(check.threads)
    ins, outs = ([Format.parse(f) for f in card[k]] for k in ("ins", "outs"))
    dynamic = {i: s for i, (s, c) in enumerate(zip(problem.inputs, problem.constant)) if s is not None and not c}
    if len(ins) != len(dynamic) or len(outs) != len(problem.outputs):
        return float("inf"), f"names {len(ins)} and {len(outs)} ports, the problem has {len(dynamic)} and " \
                             f"{len(problem.outputs)}"
    integers = any(needs_scale(s.dtype, f.dtype) for s, f in zip((*dynamic.values(), *problem.outputs), (*ins, *outs)))
    scales = subject.scales if integers else []
    # With one number of threads what lies behind the constants is forbidden, with another what lies before them.
    constants = subject.constants(at_end=check.threads % 2 == 1)
    kernel = native().prepare(problem.text, check.routine, check.variant,
                              [(g.array, _fresh_id()) if g else (None, 0) for g in constants], scales)
    if unit and not any(name.endswith(f"__{unit}") for name in kernel.ukernels):
        subject.left_out.add((unit, check.routine, check.variant))
        return None
    if kernel.device == "cpu" and \
            (astray := kernel.reads_astray(TEAMS, [g.array for g in constants if g])):
        return float("inf"), astray
    expected = subject.expected(ins, outs) if integers and subject.case else None
    arrays = expected.arrays if expected else subject.arrays
    physical = [encode(lay_out(a, f.layout), f.dtype) for i, f in zip(dynamic, ins) if (a := arrays[i]) is not None]
    wiring = _Wiring(problem, list(dynamic.values()), ins, outs, kernel, card, check.threads)
    earlier = _earlier(subject, check)
    if earlier and check.threads not in FULL:
        return 0.0, _teams(wiring, physical, earlier)
    results, failure = _runs(wiring, physical)
    if not failure and not all(g.intact() and g.array.tobytes() == a.tobytes() for g, a in zip(constants, subject.arrays)
                               if g is not None and a is not None):
        failure = "writes to a constant"
    if failure:
        return float("inf"), failure
    # A value of bf16 is compared as its bits, an f32 value that lies as bf16 as numbers.
    values = [logical(r if s.dtype == "bf16" else decode(r, f.dtype), f.layout, s.sizes)
              for r, f, s in zip(results, outs, problem.outputs)]
    if expected:
        error, allowed, failure = _against_integers(expected, subject, values, outs)
    elif subject.case and card["accuracy"] == "quantised" and subject.case.kind in scaled_by_row.KINDS:
        error, allowed, failure = _by_rows(subject.case, subject, values[0])
    else:
        if check.routine.split(":")[1] in SPLIT_PRODUCTS:
            values = [_infinities(v, w) for v, w in zip(values, subject.wanted)]
        error = max((relative_error(v, w) for v, w in zip(values, subject.wanted)), default=0.0)
    if failure:
        return error, failure
    if not error <= allowed:
        return error, (f"relative error {error:.3g}, allowed {allowed:.3g} (class {card['accuracy']}); "
                       f"{_where(values, subject)}")
    if earlier and not _equal(earlier, results):
        return error, "the result depends on the number of threads"
    subject.first.setdefault((check.routine, check.variant), results)
    failure = _teams(wiring, physical, results)
    if not failure and subject.case and not integers and kernel.host_memory:
        most = subject.allowed(check.routine, card["accuracy"])
        failure = at_smaller_sizes(kernel, subject.case, subject.arrays, ins, outs, most, check.threads)
    return error, failure


def _earlier(subject: Subject, check: Check) -> list[np.ndarray] | None:
    """Results of the routine with one thread, None where it has none or this is that check."""
    key = check.routine, check.variant
    if key not in subject.first and check.threads != 1:  # a check of its own, or behind one that failed
        for alone, card in checks_of(subject, *key, threads=(1,)):
            _perform(subject, alone, card, math.inf, "")
    return subject.first.get(key)


def _against_integers(expected: quantised.Expected, subject: Subject, values: list[np.ndarray],
                      outs: list[Format]) -> tuple[float, float, str]:
    """Relative RMS error against float64, what is allowed, and what differs from the integer reference."""
    allowed = expected.allowed(subject.arrays, subject.wanted)
    scales = subject.scales[len(subject.arrays):]
    reals = [quantised.read(v, f, s, spec.dtype) for v, f, s, spec in zip(values, outs, scales, expected.case.outputs())]
    error = 0.0 if allowed == math.inf else max(map(relative_error, reals, subject.wanted), default=0.0)
    return error, allowed, expected.fault(values)


def _by_rows(case: Case, subject: Subject, got: np.ndarray) -> tuple[float, float, str]:
    """`_against_integers` for a routine that finds its scales."""
    allowed = scaled_by_row.allowed(case, subject.arrays, subject.wanted[0])
    error = 0.0 if allowed == math.inf else relative_error(got, subject.wanted[0])
    return error, allowed, scaled_by_row.fault(case, subject.arrays, got)


def _infinities(got: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """NaN that may stand for an infinity, as that infinity."""
    return np.where(np.isnan(got) & np.isinf(wanted), wanted, got) if got.shape == wanted.shape else got


def _where(values: list[np.ndarray], subject: Subject) -> str:
    """The element that is off by most."""
    worst = ""
    most = -1.0
    for k, (v, w) in enumerate(zip(values, subject.wanted)):
        if v.shape != w.shape or not v.size:
            continue
        with np.errstate(all="ignore"):
            off = np.abs(v.astype(np.float64) - w.astype(np.float64))
        off = np.where(np.isnan(off), np.where(np.isnan(v.astype(float)) & np.isnan(w.astype(float)), 0, np.inf), off)
        at = np.unravel_index(int(off.argmax()), off.shape)
        if off[at] > most:
            most = float(off[at])
            worst = f"output {k} at {tuple(map(int, at))}: got {v[at]}, expected {w[at]}"
    return worst


def _runs(wiring: _Wiring, physical: list[np.ndarray]) -> tuple[list[np.ndarray], str]:
    """Results of the first run, and what differed in the others."""
    results: list[list[np.ndarray]] = []
    for at_end in (True, False):
        ins = [guarded(p, at_end) for p in physical]
        outs = [Guarded(p.shape, p.dtype, at_end) for p in wiring.empty_outputs()]
        workspace = Guarded((wiring.kernel.workspace_bytes,), np.uint8, at_end, align=64)
        wiring.run([g.array for g in ins], [g.array for g in outs], workspace.array)
        if not workspace.intact():
            return [], f"writes beside its workspace of {workspace.array.size} bytes"
        if not all(g.intact() for g in outs):
            return [], f"writes {'before' if at_end else 'after'} an output"
        if not all(g.intact() and g.array.tobytes() == p.tobytes()
                   for g, p in zip(ins, physical)):
            return [], "writes to an input"
        results.append([g.array.copy() for g in outs])
    if not _equal(*results):
        return [], "a second run gave another result"
    if wiring.card["share"] or wiring.card["reuse"]:
        shared = wiring.empty_outputs()
        wiring.plan(inner=True).session().run(physical, shared)
        if not _equal(results[0], shared):
            return [], "the result differs where memory is shared between inputs and outputs"
    return results[0], ""


def _teams(wiring: _Wiring, physical: list[np.ndarray], wanted: list[np.ndarray]) -> str:
    """What differs where the kernel is run by a team: in a session, and where each thread does its own share, however
    quick the others are."""
    outs = wiring.empty_outputs()
    wiring.plan().session().run(physical, outs)
    if not _equal(wanted, outs):
        return "the result in a session is another"
    kernel = wiring.kernel
    if kernel.serial or not kernel.phases:
        return ""
    outs, workspace = wiring.empty_outputs(), Guarded((kernel.workspace_bytes,), np.uint8, True, align=64)
    wiring.run(physical, outs, workspace.array, apart=True)
    if not workspace.intact():
        return f"a thread writes beside its workspace of {workspace.array.size} bytes"
    return "" if _equal(wanted, outs) else "the result differs where each thread does its own share"


def _equal(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    """Equal to the bit, NaN included."""
    return all(x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in zip(a, b))


class _Wiring:
    """The smallest plans around one kernel."""

    def __init__(self, problem: Problem, in_specs: list[TensorSpec], ins: list[Format], outs: list[Format], kernel: Kernel,
                 card: dict, threads: int):
        self.ins, self.outs = ins, outs
        # Values as they lie in memory: of the formats' element types.
        self.in_specs = [TensorSpec(f.dtype, s.sizes) for s, f in zip(in_specs, ins)]
        self.out_specs = [TensorSpec(f.dtype, s.sizes) for s, f in zip(problem.outputs, outs)]
        self.kernel, self.card, self.threads = kernel, card, threads

    def empty_outputs(self) -> list[np.ndarray]:
        """Poisoned arrays of the outputs' physical shapes."""
        arrays = [np.empty(lay_out(np.empty(s.sizes, numpy_dtype(s.dtype)), f.layout).shape, numpy_dtype(s.dtype))
                  for s, f in zip(self.out_specs, self.outs)]
        for a in arrays:
            a.reshape(-1).view(np.uint8)[:] = 0xFF
        return arrays

    def run(self, ins: list[np.ndarray], outs: list[np.ndarray], workspace: np.ndarray, apart: bool = False) -> None:
        """Run the kernel once, on this workspace where its memory is the host's. `apart`: each thread does its own share."""
        if self.kernel.host_memory:
            self.kernel.run(ins, outs, workspace, self.threads, apart)
        else:
            self.plan().session().run(ins, outs)

    def plan(self, inner: bool = False) -> Plan:
        """The kernel between the caller's arrays; `inner`: between values of the arena, copied in and out, so that the
        plan may place them over each other. Values of other devices are transferred."""
        values: list[tuple[int, str]] = []
        steps: list[tuple] = []

        def value(spec: TensorSpec, form: Format, device: str) -> int:
            values.append((size_bytes(spec, form.dtype), device))
            return len(values) - 1

        def carry(spec: TensorSpec, source: Format, target: Format, at: int, to: int) -> None:
            kernel = _copy(spec, source.dtype) if source == target else _transfer(spec, source, target, self.threads)
            steps.append((f"carry {len(steps)}", kernel, [at], [to], [], []))

        outer_ins, inner_ins = [], []
        for spec, form in zip(self.in_specs, self.ins):
            outer_ins.append(value(spec, form, "cpu"))
            if inner or form.device != "cpu":
                inner_ins.append(value(spec, form, form.device))
                carry(spec, form._replace(device="cpu"), form, outer_ins[-1], inner_ins[-1])
            else:
                inner_ins.append(outer_ins[-1])
        inner_outs = [value(s, f, f.device) for s, f in zip(self.out_specs, self.outs)]
        share = [tuple(s) for s in self.card["share"]]
        reuse = [tuple(r) for r in self.card["reuse"]]
        steps.append(("subject", self.kernel, inner_ins, inner_outs, share, reuse))
        outer_outs = []
        for spec, form, at in zip(self.out_specs, self.outs, inner_outs):
            if inner or form.device != "cpu":
                outer_outs.append(value(spec, form, "cpu"))
                carry(spec, form, form._replace(device="cpu"), at, outer_outs[-1])
            else:
                outer_outs.append(at)
        return native().Plan(values, steps, outer_ins, outer_outs, self.threads)


def _copy(spec: TensorSpec, dtype: str) -> Kernel:
    port = [("u8", (spec.elements * itemsize(dtype),))]

    def run(ins: list[np.ndarray], outs: list[np.ndarray]) -> None:
        outs[0][...] = ins[0]
    return native().python_kernel(run, port, port)


def _transfer(spec: TensorSpec, source: Format, target: Format, threads: int) -> Kernel:
    problem = adapt_problem(spec, source, target, threads)
    for card in native().candidates(problem.text):
        if card["ok"]:
            return native().prepare(problem.text, card["id"], card["variants"][0], [(None, 0)])
    raise LookupError(f"no adapt from {source} to {target}")


_used_ids = 1 << 40


def _fresh_id() -> int:
    """Constants of every check are their own: nothing packed is taken over from another."""
    global _used_ids
    _used_ids += 1
    return _used_ids

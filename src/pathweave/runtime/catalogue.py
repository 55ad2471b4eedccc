"""The catalogue: every way to compute a problem, native routines and the NumPy meaning, with the formats of each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..errors import ModelError
from ..locks import lock
from ..net.accuracy import accuracy_rank, least_accurate
from ..net.format import LAYOUTS, Format, fits, of_rank, plain_layout
from ..net.net import Epilogue, Layer, TensorSpec
from ..net.problem import Problem
from ..net.scales import HELD_AS
from ..net.size import size_bytes
from ..net.variant import Variant
from .native import native

#: Candidates of one thread are listed for problems of at most so many bytes, constants included: moving more than that
#: through a core's caches takes longer than the meeting of all threads that is saved.
ALONE_BYTES = 256 << 10

#: Version of the routine that runs the NumPy meaning.
NUMPY_VERSION = 1
_KEPT = 4096


class Refusal(NamedTuple):
    """A routine that declines a problem, and the condition that failed, as a sentence."""

    routine: str
    reason: str


@dataclass(frozen=True)
class Candidate:
    """One routine in one variant for one problem.

    `problem`: what is asked, the key of the profile. `base`: what the routine itself is handed: the same, or the
    problem without its epilogue when `steps` (candidates of element-wise problems, run in place after it) do the rest,
    for one thread where the variant is `alone`.
    `ins`, `outs`: formats of the dynamic inputs of `problem`, the residual among them, and of the outputs.
    `axis_scales`: it takes values with a scale per position of an axis.
    `share`: (input, output, byte): no copy is made where that input lies at that byte of that output; a negative byte
    means that the output lies inside the input.
    `reuse`: (input, output): the output may overwrite the input. Both count dynamic inputs of `base`.
    `estimate`: what the routine says that it does, as `estimates.Estimate` names it; () where it says nothing.
    """

    routine: str
    version: int
    variant: str
    problem: Problem
    base: Problem
    ins: tuple[Format, ...]
    outs: tuple[Format, ...]
    accuracy: str = "strict"
    reference: bool = False
    takes_epilogue: bool = False
    axis_scales: bool = False
    share: tuple[tuple[int, int, int], ...] = ()
    reuse: tuple[tuple[int, int], ...] = ()
    steps: tuple[Candidate, ...] = ()
    estimate: tuple = field(default=(), compare=False)

    @property
    def device(self) -> str:
        """Device of the routine: the last word of its id."""
        return self.routine.rsplit(":", 1)[-1]

    @property
    def algorithm(self) -> str:
        """`winograd4` of conv2/winograd4:f32:nhwc:cpu."""
        return self.routine.partition("/")[2].partition(":")[0]

    @property
    def alone(self) -> bool:
        """True when one thread runs it, although the problem is for several."""
        return Variant.parse(self.variant).alone

    @property
    def finds_scales(self) -> bool:
        """True for a routine on integers between f32 values, which finds their scales when it runs."""
        return self.accuracy == "quantised" and not any(f.dtype in HELD_AS for f in (*self.ins, *self.outs))

    @property
    def own_variant(self) -> str:
        """The variant as the routine itself calls it."""
        return Variant.parse(self.variant).own

    @property
    def key(self) -> tuple[str, int, str]:
        """(routine, version, variant): unique among the candidates of a problem."""
        return self.routine, self.version, self.variant

    def __str__(self) -> str:
        return f"{self.routine} {self.variant}".rstrip()


#: What `restrict` arguments are turned into: restrict(layer index, layer, candidate) says whether a candidate is allowed.
Restrict = Callable[[int, Layer, Candidate], bool]

_memo: OrderedDict[str, tuple[list[Candidate], list[Refusal]]] = OrderedDict()
#: Why candidates with these ports have no place in a net, by problem, inputs and outputs.
_places: OrderedDict[tuple, str] = OrderedDict()
_lock = lock()


def forget() -> None:
    """Drop memoised answers; needed after a device was opened."""
    with _lock:
        _memo.clear()
        _places.clear()


def candidates(problem: Problem, *, accuracy: str = "f32", restrict: Callable[[Candidate], bool] | None = None,
               include_reference: bool = False) -> tuple[list[Candidate], list[Refusal]]:
    """All ways to compute a problem, in the catalogue's order, and the refusals with their reasons.

    `accuracy`: nothing less accurate is listed. `restrict`: keeps candidates for which it is true. What has ports in
    formats that no conversion reaches is refused. Reference routines (slow and simple; the NumPy meaning is the last of
    them) are listed only where nothing else is left, or with `include_reference`. Raises ModelError for an unknown
    accuracy class.
    """
    limit = accuracy_rank(accuracy)
    everything, refusals = _all(problem)
    found = [c for c in everything if accuracy_rank(c.accuracy) <= limit and (restrict is None or restrict(c))]
    displaced = {c.routine: reason for c in found if (reason := _displaced(problem, c))}
    if displaced:
        found = [c for c in found if c.routine not in displaced]
        refusals = refusals + [Refusal(*entry) for entry in displaced.items()]
    if not include_reference:
        found = [c for c in found if not c.reference] or found
    less = {c.routine: c.accuracy for c in everything if accuracy_rank(c.accuracy) > limit}
    return found, refusals + [Refusal(r, f"its accuracy class {a} is below {accuracy}") for r, a in less.items()]


def find(problem: Problem, routine: str, variant: str | None = None) -> Candidate | Refusal:
    """One routine (its first variant, unless one is named) for a problem, or why there is none."""
    if variant is not None and problem.threads == 1:
        variant = str(Variant.parse(variant)._replace(alone=False))
    everything, refusals = _all(problem)
    same = [c for c in everything if c.routine == routine] or _numpy_elsewhere(problem, routine)
    for c in same:
        if variant is None or c.variant == variant:
            reason = _displaced(problem, c)
            return Refusal(routine, reason) if reason else c
    if same:
        return Refusal(routine, f"variant {variant!r} is not offered here; it has "
                                f"{', '.join(repr(c.variant) for c in same)}")
    return next((r for r in refusals if r.routine == routine), Refusal(routine, _absence(routine)))


def _numpy_elsewhere(problem: Problem, routine: str) -> list[Candidate]:
    """The meaning in NumPy in the layout that its id names, which is not the row-major one: no search lists it."""
    parts = routine.split(":")
    if problem.kind == "adapt" or len(parts) != 4 or parts[2] not in LAYOUTS or parts[3] != PYTHON:
        return []
    values = [s for s, c in zip(problem.inputs, problem.constant) if s is not None and not c]
    if not all(fits(parts[2], s.sizes) for s in (*values, *problem.outputs) if of_rank(parts[2], s.rank)):
        return []
    found = numpy_candidate(problem, parts[2])
    return [found] if found.routine == routine else []


def _displaced(problem: Problem, candidate: Candidate) -> str:
    """See `conversions.unreachable`; memoised by ports."""
    if problem.kind == "adapt":
        return ""
    key = problem.text, candidate.ins, candidate.outs
    with _lock:
        if key in _places:
            _places.move_to_end(key)
            return _places[key]
    from .conversions import unreachable
    reason = unreachable(problem, candidate)
    with _lock:
        _places[key] = reason
        while len(_places) > _KEPT:
            _places.popitem(last=False)
    return reason


def _absence(routine: str) -> str:
    for card in native().routines():
        if card["id"] == routine:
            return card["unavailable"] or "it is for another kind of layer"
    return "no routine of this build or of an opened device has this id"


def _all(problem: Problem) -> tuple[list[Candidate], list[Refusal]]:
    """Everything that accepts, references included, and everything that does not. Memoised."""
    key = problem.text
    with _lock:
        if key in _memo:
            _memo.move_to_end(key)
            return _memo[key]
    answer = _of_team(problem)
    answer[0].extend(_of_one_thread(problem))
    if problem.kind != "adapt":
        if _is_nested(problem.kind):
            answer[0].extend(program_candidates(problem))
        answer[0].append(numpy_candidate(problem))
    else:
        answer[0].extend(_numpy_adapt(problem))
    with _lock:
        _memo[key] = answer
        while len(_memo) > _KEPT:
            _memo.popitem(last=False)
    return answer


def _of_team(problem: Problem) -> tuple[list[Candidate], list[Refusal]]:
    return _with_epilogue(problem) if problem.epilogue else _native(problem)


def _of_one_thread(problem: Problem) -> list[Candidate]:
    """The candidates of a small problem at one thread, as variants of their own."""
    specs = [s for s in (*problem.inputs, *problem.outputs) if s is not None]
    if problem.threads == 1 or sum(map(size_bytes, specs)) > ALONE_BYTES:
        return []
    found, _ = _of_team(problem.with_threads(1))
    return [replace(c, problem=problem, variant=str(Variant(c.variant, alone=True)))
            for c in found if c.device == "cpu" and not c.reference]


def _asked(problem: Problem) -> list[dict]:
    """What every routine answers, those first that call themselves fast."""
    try:
        answers = native().candidates(problem.text)
    except ValueError as e:
        raise ModelError(f"{e}; correct the layer's shapes or attributes") from e
    return sorted(answers, key=lambda d: d["order"] if d["ok"] else 0)


def _native(problem: Problem) -> tuple[list[Candidate], list[Refusal]]:
    found, refusals = [], []
    for d in _asked(problem):
        if d["ok"]:
            found += _expand(d, problem, problem)
        else:
            refusals.append(Refusal(d["id"], d["reason"]))
    return found, refusals


def _expand(d: dict, problem: Problem, base: Problem) -> list[Candidate]:
    """The candidates of one accepting native routine: one per variant."""
    ins, outs = (tuple(Format.parse(f) for f in d[k]) for k in ("ins", "outs"))
    share = tuple((int(i), int(o), int(byte)) for i, o, byte in d["share"])
    reuse = tuple((int(i), int(o)) for i, o in d["reuse"])
    estimates = d.get("estimates") or ((),) * len(d["variants"])
    return [Candidate(d["id"], int(d["version"]), variant, problem, base, ins, outs, d["accuracy"], d["reference"],
                      d["takes_epilogue"], d["axis_scales"], share, reuse, (), estimate)
            for variant, estimate in zip(d["variants"], estimates)]


# ---- epilogues ------------------------------------------------------------------------------------------------------

def without_epilogue(problem: Problem) -> Problem:
    """The same layer without its epilogue, and without the residual."""
    cut = len(problem.inputs) - (1 if problem.epilogue.add else 0)
    return Problem.make(problem.kind, problem.inputs[:cut], problem.constant[:cut], problem.outputs,
                        dict(problem.attrs), threads=problem.threads, zeros=problem.zeros)


def _with_epilogue(problem: Problem) -> tuple[list[Candidate], list[Refusal]]:
    """Routines that take the whole problem, and the others on the bare problem with steps of their own after it."""
    bare = without_epilogue(problem)
    whole = {d["id"]: d for d in _asked(problem)}
    found, refusals = [], []
    for d in _asked(bare):
        full = whole.get(d["id"])
        if full and full["ok"] and full["takes_epilogue"]:
            found += _expand(full, problem, problem)
        elif not d["ok"]:
            refusals.append(Refusal(d["id"], d["reason"]))
        else:
            for c in _expand(d, problem, bare):
                completed = _append_steps(c)
                if completed is None:
                    refusals.append(Refusal(d["id"], f"it takes no epilogue {problem.epilogue}, and no routine "
                                                     f"computes that in place in {c.outs[0]}"))
                    break
                found.append(completed)
    return found, refusals


def _append_steps(c: Candidate) -> Candidate | None:
    """The candidate of a bare problem with its epilogue as in-place steps; None when no routine computes those."""
    problem, form = c.problem, c.outs[0]
    if form.dtype != problem.outputs[0].dtype:
        return None  # what lies between the layer and its epilogue is no value of the net, and has no scale
    residual = (form,) if problem.epilogue.add and not problem.constant[-1] else ()
    for parts in _splits(problem):
        steps = [step for p in parts if (step := _in_place(p, form)) is not None]
        if len(steps) == len(parts):
            return Candidate(c.routine, c.version, c.variant, problem, c.base, c.ins + residual, c.outs,
                             least_accurate(x.accuracy for x in (c, *steps)), c.reference, c.takes_epilogue, c.axis_scales,
                             c.share, c.reuse, tuple(steps), c.estimate)
    return None


def _splits(problem: Problem) -> list[list[Problem]]:
    """The epilogue as element-wise problems: the addition with the activation as its epilogue, or one after another."""
    from ..layers import kind_of
    y, epilogue, threads = problem.outputs[0], problem.epilogue, problem.threads
    act = []
    if epilogue.act:
        kind = kind_of(epilogue.act)
        attrs = kind.complete(dict(zip(kind.attributes, epilogue.params)))
        act = [Problem.make(epilogue.act, [y], [False], [y], attrs, threads=threads)]
    if not epilogue.add:
        return [act]

    def addition(then: Epilogue) -> Problem:
        return Problem.make("add", [y, problem.inputs[-1]], [False, problem.constant[-1]], [y],
                            kind_of("add").complete({}), then, threads)
    joined = [[addition(Epilogue(False, epilogue.act, epilogue.params))]] if act else []
    return [*joined, [addition(Epilogue()), *act]]


def _in_place(problem: Problem, form: Format) -> Candidate | None:
    """The first native routine that computes an element-wise problem in one format, else NumPy in that format."""
    found = [c for c in _native(problem)[0] if {*c.ins, *c.outs} == {form}]
    best = [c for c in found if not c.reference] or found
    if best:
        return best[0]
    if (form.device, form.dtype) == ("cpu", problem.outputs[0].dtype) and not problem.epilogue \
            and not any(problem.constant):
        return numpy_candidate(problem, form.layout)
    return None


def _is_nested(kind: str) -> bool:
    from ..layers import kind_of
    return bool(kind_of(kind).program)


#: The algorithm of layers with blocks, whose layers are steps of the same plan.
PROGRAM = "program"


def program_candidates(problem: Problem) -> list[Candidate]:
    """A layer with blocks as steps of the plan around it. Values go in and out row-major; those that branches give may lie in
    another layout, in which each branch then has to give them. What blocks capture is read as it lies."""
    from ..layers import kind_of
    plain = replace(numpy_candidate(problem), routine=f"{problem.kind}/{PROGRAM}:any:plain:cpu", version=1, reference=False,
                    takes_epilogue=False)
    found = [plain]
    for layout in LAYOUTS if kind_of(problem.kind).program == "branches" else ():
        fit = [s.dtype == "f32" and of_rank(layout, s.rank) and fits(layout, s.sizes) for s in problem.outputs]
        outs = tuple(form._replace(layout=layout) if ok else form for ok, form in zip(fit, plain.outs))
        if outs != plain.outs and all(outs != c.outs for c in found):
            found.append(replace(plain, routine=f"{problem.kind}/{PROGRAM}:any:{layout}:cpu", outs=outs))
    return found


#: The device of routines that are NumPy code.
PYTHON = "python"


# ---- routines that run in Python ------------------------------------------------------------------------------------

def numpy_candidate(problem: Problem, layout: str | None = None) -> Candidate:
    """The meaning of the layer in NumPy: slow, always there.

    `layout`: of the values whose rank it is for; others, and all where it is None, lie row-major.
    """
    def port(spec: TensorSpec) -> Format:
        return Format(spec.dtype, layout if layout and of_rank(layout, spec.rank) else plain_layout(spec.rank), "cpu")
    ins = tuple(port(s) for s, c in zip(problem.inputs, problem.constant) if s is not None and not c)
    outs = tuple(port(s) for s in problem.outputs)
    word = outs[0] if outs else Format("f32", "plain")
    return Candidate(f"{problem.kind}/numpy:{word.dtype}:{word.layout}:python", NUMPY_VERSION, "", problem, problem,
                     ins, outs, "strict", True, True)


def _numpy_adapt(problem: Problem) -> list[Candidate]:
    """A change of layout in NumPy, where both ends are layouts of the value on the host, in its own element type."""
    attrs, (spec,) = dict(problem.attrs), problem.outputs
    source, target = (Format.parse(attrs[k]) for k in ("source", "target"))
    if any((f.dtype, f.device) != (spec.dtype, "cpu") or not fits(f.layout, spec.sizes) for f in (source, target)):
        return []
    return [Candidate(f"adapt/numpy:{spec.dtype}:{target.layout}:python", NUMPY_VERSION, "", problem, problem,
                      (source,), (target,), "strict", True)]


def is_python(candidate: Candidate) -> bool:
    """True when the routine runs NumPy code and holds the interpreter while it does."""
    return candidate.device == PYTHON

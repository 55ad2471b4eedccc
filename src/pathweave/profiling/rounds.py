"""How often the blocks of a net run in a call, and the sizes that its layers find out, on the inputs of the profile.

A time is of one run of a step. A layer in a block is worth as much as its block runs in a call: its *count*. Counts and sizes
are kept with the measurements, so that a solver on another machine finds them there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import Error, ProfileError
from ..layers import kind_of
from ..net.net import Layer, Net
from ..runtime.bound import BoundNet
from ..runtime.builder import CONTROL
from ..runtime.catalogue import Restrict
from ..runtime.conversions import conversions_for
from ..runtime.defaults import default_choices
from ..runtime.flat import Elsewhere
from ..runtime.inputs import arrays_for_outputs, random_inputs
from ..runtime.plan import Plan, build_plan
from .about import About
from .measurement import Key, Measurement
from .profile import Profile
from .timed import RunTimer

if TYPE_CHECKING:
    from .passes import Run

#: Routines under which the counts of blocks, and the sizes that layers find out, are kept; the samples are numbers.
ROUNDS, SIZE = "runtime/rounds", "runtime/size"
#: The count of a block, per run of the layer that has it, where it never ran in the profile: of a branch, of a body.
UNTAKEN, UNENTERED = 0.1, 1.0
#: Seconds that the first run may take.
LONGEST_S = 60
#: Controls that run once when a layer with blocks runs.
_FIRST = ("branch", "loop")


def layer_runs(plan: Plan, counts: Sequence[int]) -> dict[str, int]:
    """How often each layer with blocks ran. `counts`: per step of the plan."""
    found: dict[str, int] = {}
    for step, n in zip(plan.steps, counts):
        if step.routine == CONTROL and (step.variant in _FIRST or step.variant == "jump" and step.layer not in found):
            found[step.layer] = n
    return found


def block_runs(plan: Plan, counts: Sequence[int]) -> dict[str, int]:
    """How often each block ran, by LAYER/ATTRIBUTE. `counts`: per step of the plan."""
    words: dict[str, dict[str, int]] = {}
    for step, n in zip(plan.steps, counts):
        if step.routine == CONTROL:
            words.setdefault(step.layer, {}).setdefault(step.variant, n)
    found = {}
    for layer, of in words.items():
        if "branch" in of:
            found[f"{layer}/then_branch"], found[f"{layer}/else_branch"] = of["jump"], of["branch"] - of["jump"]
        elif "again" in of:
            found[f"{layer}/body"] = of["again"]
        elif "jump" in of:
            found[f"{layer}/then_branch"] = of["jump"]
    return found


@dataclass
class Counts:
    """`runs`: of the blocks in a call, by LAYER/ATTRIBUTE, as they were measured. `sizes`: of symbols that layers find out."""

    runs: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def expected(self, bound: BoundNet) -> dict[str, float]:
        """The count of every block in a call, and 1 for "", the net itself."""
        found = {"": 1.0}
        for name, (layer, around) in _blocks(bound):
            inner = self.runs.get(name, 0.0)
            weight = UNTAKEN if kind_of(layer.kind).program == "branches" else UNENTERED
            found[name] = inner if inner > 0 else weight * found[around]
        return found

    def ran(self, block: str) -> bool:
        """True for a block that ran in the profile, and for the net itself."""
        return not block or self.runs.get(block, 0.0) > 0

    def notes(self, bound: BoundNet) -> dict[str, Any]:
        """Plain data: `counts` of blocks, the `unrun` ones among them, `sizes` with where they come from."""
        unrun = [name for name in bound.flat.blocks if not self.ran(name)]
        return {"counts": {n: c for n, c in self.expected(bound).items() if n}, "unrun": unrun, "sizes": sizes_of(bound, self)}

    def measurements(self, bound: BoundNet, threads: int, host: str, date: float) -> list[Measurement]:
        """What a store keeps of them."""
        numbers: dict[str, Mapping[str, float]] = {ROUNDS: {n: c for n, c in self.runs.items() if c > 0}, SIZE: self.sizes}
        return [Measurement(host, *_key(bound, threads, routine, name), (float(n),), date, about=About((), ()).text(),
                            id=f"{routine} {bound.signature[:32]} {threads} {host} {name}")
                for routine, found in numbers.items() for name, n in found.items()]

    @staticmethod
    def of(bound: BoundNet, profile: Profile, threads: int) -> Counts:
        """What a profile says about a net."""
        def known(routine: str, names: Sequence[str]) -> dict[str, float]:
            found = {name: profile.get(*_key(bound, threads, routine, name)) for name in names}
            return {name: m.median for name, m in found.items() if m is not None}
        if bound.opened is None:
            return Counts()
        sizes = {n: round(size) for n, size in known(SIZE, late_symbols(bound)).items()}
        return Counts(known(ROUNDS, list(bound.flat.blocks)), sizes)


def probe(bound: BoundNet, threads: int, accuracy: str, restrict: Restrict | None, timer: RunTimer) -> Counts:
    """Counts and sizes of one run of the default route on the inputs of the profile; none for a net of fixed shapes.

    Raises ProfileError where the run does not end.
    """
    if bound.opened is None:
        return Counts()
    choices = default_choices(bound, threads, accuracy, restrict)
    plan = build_plan(bound, choices, conversions_for(bound, choices, threads), threads)
    session = plan.session()
    try:
        with timer.limit(LONGEST_S):
            timer.steps(session, random_inputs(bound), arrays_for_outputs(bound))
    except TimeoutError:
        raise ProfileError(f"profile: the default route did not end within {LONGEST_S} s on random inputs; expected a net "
                           "whose loops end on them: give a loop a limit, or bound what it is told by its inputs") from None
    late = set(late_symbols(bound))
    sizes = {name: size for name, size in session.sizes().items() if name in late and size > 0}
    found = Counts({n: float(c) for n, c in block_runs(plan, session.counts() or ()).items()}, sizes)
    try:
        bound.at_sizes(sizes).flat.problems(threads)
    except Error:  # sizes of several rounds do not fit each other
        found.sizes = {}
    return found


def idle_blocks(bound: BoundNet, threads: int, accuracy: str, restrict: Restrict | None, counts: Counts,
                timer: RunTimer) -> list[tuple[BoundNet, Restrict | None, Counts]]:
    """The blocks that never ran although the net around them did, as nets of their own, and those in them that still do not."""
    found: list[tuple[BoundNet, Restrict | None, Counts]] = []
    for name, (layer, around) in _blocks(bound):
        block = bound.flat.blocks[name]
        if counts.ran(around) and not counts.ran(name) and block.layers:
            inside = None if restrict is None else Elsewhere(restrict, bound.flat.place[layer.name].position)
            try:
                own = probe(block, threads, accuracy, inside, timer)
            except (Error, RuntimeError):
                continue  # random inputs are none for it; its layers are measured one by one
            found.append((block, inside, own))
            found += idle_blocks(block, threads, accuracy, inside, own, timer)
    return found


def lazily(nets: list[tuple[BoundNet, Restrict | None, Counts]], runs: Sequence[Run],
           restrict: Restrict | None) -> Iterator[tuple[BoundNet, Restrict | None, Counts]]:
    """The nets to measure; then, each as a net of its own, the layers that ran in none of them. `runs`: those of the nets."""
    yield from nets
    flat, threads = nets[0][0].flat, runs[0].threads
    measured = {s.text for run in runs for s in run.distinct if s.measured}
    for place, problem in zip(flat.places, flat.problems(threads)):
        if problem.text not in measured and not flat.has_blocks(place.layer):
            measured.add(problem.text)
            yield single(place.net, place.layer), restrict and Elsewhere(restrict, place.position), Counts()


def single(bound: BoundNet, layer: Layer) -> BoundNet:
    """A net of one layer of a bound net alone, at its sizes there."""
    inputs = {v: bound.spec(v) for v in bound.dynamic(layer)}
    constants = {v: bound.net.constants[v] for v in layer.inputs if v in bound.net.constants}
    net = Net(inputs, list(layer.outputs), [layer], constants)
    if bound.finds_sizes(layer) or layer.blocks:
        return BoundNet.bind(net).with_scales(bound.scales).at_sizes(bound.sizes)
    return BoundNet(net, bound.scales)


def late_symbols(bound: BoundNet) -> list[str]:
    """The symbols that layers find out, those in blocks too."""
    return [name for net in bound.everything() if net.opened for name in net.opened.late]


def sizes_of(bound: BoundNet, counts: Counts | None = None) -> dict[str, dict[str, Any]]:
    """Per open size: the size that stands for it, and the `source`: given, measured, largest, or example."""
    found: dict[str, dict[str, Any]] = {}
    for net in bound.everything():
        for name in (*net.opened.given, *net.opened.late) if net.opened else ():
            size = net.sizes.get(name)
            if name in found or size is None:
                continue
            found[name] = {"size": size, "source": _source(net, name, size, counts)}
    return found


def _source(net: BoundNet, name: str, size: int, counts: Counts | None) -> str:
    assert net.opened is not None
    if counts and counts.sizes.get(name) == size:
        return "measured"
    if name in net.opened.given:
        return "largest" if size == net.opened.given[name][1] else "given"
    value, axis = net.opened.late[name]
    from ..net.dim import highest
    return "largest" if size == highest(net.opened.net.specs[value].dims[axis]) else "example"


def sizes_text(sizes: Mapping[str, Mapping[str, Any]]) -> str:
    """`sizes: N=64 (largest), count=16 (example)`; "" where there are none."""
    return "sizes: " + ", ".join(f"{n}={s['size']} ({s['source']})" for n, s in sizes.items()) if sizes else ""


def keys_of(bound: BoundNet, threads: int) -> list[Key]:
    """Where counts and sizes of a net are kept."""
    if bound.opened is None:
        return []
    return [*(_key(bound, threads, ROUNDS, name) for name in bound.flat.blocks),
            *(_key(bound, threads, SIZE, name) for name in late_symbols(bound))]


def _key(bound: BoundNet, threads: int, routine: str, name: str) -> Key:
    return net_text(bound, threads), routine, 1, name


def net_text(bound: BoundNet, threads: int) -> str:
    """What stands for a net as a whole, whatever sizes its layers find out, where a problem is expected."""
    return f"net signature={bound.signature[:32]} threads={threads}"


def _blocks(bound: BoundNet) -> Iterator[tuple[str, tuple[Layer, str]]]:
    """(block, (the layer that has it, the block around that)), outer ones first."""
    for name in sorted(bound.flat.blocks, key=len):
        owner = bound.flat.owner(name)
        yield name, (owner.layer, owner.block)

"""The route of least estimated time: what a net runs on where nothing was measured.

Every candidate and every conversion has an estimate (`estimates.py`), and the exact solver chooses among them as it does among
measured times, routines for whole regions included; coordinate descent does where a graph is too wide for it. Candidates with
equal ports compete by price alone, so that the graph that is solved has a few formats per value and is done in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import SolverError
from ..net.format import Format
from ..net.net import TensorSpec
from ..net.route import Conversion
from ..net.size import check_number_of_threads, size_bytes
from ..solvers import contract
from ..solvers.elimination import Elimination
from ..solvers.local import descended
from .bound import BoundNet
from .catalogue import Candidate, Restrict
from .conversions import adapt_candidates
from .estimates import Estimator
from .fusion import MEMBER, Fusion
from .layouts import host_formats
from .rates import rates

#: Whatever the number of threads, routines are chosen by what they take with so many: results must be the same to the bit.
NOMINAL = 2
#: Entries of the largest table that the exact solver may use: a wider graph is left to coordinate descent.
MOST_TABLE = 1 << 17


@dataclass(frozen=True)
class Priced:
    """A candidate and its estimate, ns."""

    candidate: Candidate
    cost: float

    def to_solver(self) -> contract.Candidate:
        """What a solver sees of it."""
        c = self.candidate
        return contract.Candidate(c.routine, c.variant, tuple(map(str, c.ins)), tuple(map(str, c.outs)), self.cost)


@dataclass
class Estimated:
    """A choice by estimates. `choices`: of every layer, those of blocks too, and of the regions that are taken. `regions`:
    those, with their members. `ns`: of the whole."""

    choices: dict[str, Candidate]
    regions: dict[str, tuple[str, ...]]
    conversions: list[Conversion]
    ns: float


def estimator_of(bound: BoundNet, threads: int) -> Estimator:
    """What prices the candidates of a bound net on this machine."""
    constants = sum(size_bytes(net.net.specs[v]) for net in bound.everything() for v in net.net.constants if v in net.net.specs)
    return Estimator(rates(threads), threads, float(constants))


class Estimates:
    """Estimates of all candidates of a bound net, and of the conversions of its values.

    `fixed`: candidates by layer that are not up for choice. `regions`: whether routines for several layers compete. Raises
    NoRoutineError where a layer has no routine.
    """

    def __init__(self, bound: BoundNet, threads: int, accuracy: str = "f32", restrict: Restrict | None = None,
                 fixed: Mapping[str, Candidate] | None = None, regions: bool = True):
        check_number_of_threads(threads)
        self.bound, self.accuracy, self.restrict = bound, accuracy, restrict
        self.wanted, self.threads, self.fixed = threads, NOMINAL, dict(fixed or {})
        threads = NOMINAL
        self.estimator = estimator_of(bound, threads)
        fixed = fixed or {}
        flat = bound.flat
        self.layers: dict[str, list[Priced]] = {}
        for i, layer in enumerate(flat.layers):
            found = [fixed[layer.name]] if layer.name in fixed else \
                flat.candidates(i, threads, accuracy=accuracy, restrict=restrict)[0]
            self.layers[layer.name] = self._cheapest(found)
        of_regions = {name: self._cheapest(bound.region_candidates(region, threads, accuracy))
                      for name, region in bound.regions.items()
                      if fixed.keys().isdisjoint(region.layers)} if regions and restrict is None else {}
        self.fusion: Fusion[Priced] = Fusion(bound, of_regions)
        self.adapts = self._adapts()

    def price(self, c: Candidate) -> float:
        """The estimate of a candidate, ns."""
        return self.estimator.price(c)

    def _cheapest(self, found: list[Candidate]) -> list[Priced]:
        """Of candidates with equal ports the one of the least estimate; of equal ones the first."""
        best: dict[tuple, Priced] = {}
        for c in found:
            cost, other = self.price(c), best.get((c.ins, c.outs))
            if other is None or cost < other.cost:
                best[c.ins, c.outs] = Priced(c, cost)
        return list(best.values())

    def _adapts(self) -> dict[str, dict[tuple[Format, Format], Priced]]:
        """Value -> the cheapest adapt between every two formats that it may pass through."""
        flat = self.bound.flat
        formats: dict[str, dict[Format, None]] = {name: {form: None} for name, form in flat.given.items()}
        for name in self.bound.outputs:
            formats.setdefault(name, {})[self.bound.output_format(name)] = None
        for layer in flat.layers:
            reads = flat.reads(layer)
            for p in self.layers[layer.name]:
                ins, outs = flat.ports(layer, p.candidate)
                for value, form in (*zip(reads, ins), *zip(layer.outputs, outs)):
                    formats.setdefault(value, {})[form] = None
        for value, form in self.fusion.formats():
            formats.setdefault(value, {})[form] = None
        memo: dict[tuple[TensorSpec, frozenset[Format]], dict[tuple[Format, Format], Priced]] = {}
        tables = {}
        for value, known in formats.items():
            if len(known) > 1:
                key = flat.spec(value), frozenset(known)
                if key not in memo:
                    memo[key] = self._table(*key)
                tables[value] = memo[key]
        return tables

    def _table(self, spec: TensorSpec, known: frozenset[Format]) -> dict[tuple[Format, Format], Priced]:
        """Between formats that are known; by way of the host's others where some are not adapted to each other directly.
        From one element type to another adapts go by way of the value's own."""
        table: dict[tuple[Format, Format], Priced] = {}
        for through in (sorted(known), sorted(known | set(host_formats(spec)))):
            pairs = [(a, b) for a in through for b in through
                     if a != b and (a.dtype == b.dtype or spec.dtype in (a.dtype, b.dtype))]
            for source, target in pairs:
                found = adapt_candidates(spec, source, target, self.threads) if (source, target) not in table else []
                if found:
                    table[source, target] = self._cheapest(found)[0]
            if len(table) == len(pairs):
                break
        return table

    def instance(self) -> contract.Instance:
        """What a solver is handed."""
        flat, added = self.bound.flat, self.fusion.candidates(lambda p: True)
        layers = []
        for layer in flat.layers:
            own = []
            for p in self.layers[layer.name]:
                c, (ins, _) = p.to_solver(), flat.ports(layer, p.candidate)
                own.append(c if ins == p.candidate.ins else c._replace(ins=tuple(map(str, ins))))
            layers.append(contract.LayerChoices(layer.name, flat.reads(layer), tuple(layer.outputs),
                                                [*own, *added.get(layer.name, ())]))
        made = {v for layer in self.bound.layers for v in layer.outputs} | set(self.bound.inputs)
        adapts = {v: {(str(a), str(b)): p.cost for (a, b), p in table.items()} for v, table in self.adapts.items()}
        return contract.Instance(layers, {v: str(form) for v, form in flat.given.items()},
                                 {v: str(self.bound.output_format(v)) for v in self.bound.outputs if v in made}, adapts)

    def solve(self) -> Estimated | None:
        """The choice of least estimated time; None where none is found: the net has no route, or too many formats."""
        instance = self.instance()
        contract.check(instance)
        try:
            solution = Elimination().solve(instance, 0.0, MOST_TABLE) or descended(instance)
        except SolverError:
            return None
        if solution is None:
            return None
        choices: dict[str, Candidate] = {}
        regions: dict[str, tuple[str, ...]] = {}
        for layer, choice in solution.choice.items():
            if choice.routine == MEMBER:
                continue
            behind = self.fusion.behind(layer, choice)
            if behind is not None:
                choices[behind[0]] = behind[1].candidate
                regions[behind[0]] = self.fusion.regions[behind[0]].layers
            else:
                choices[layer] = next(p.candidate for p in self.layers[layer] if
                                      (p.candidate.routine, p.candidate.variant) == (choice.routine, choice.variant))
        return self._for_threads(choices, regions, [(v, Format.parse(a), Format.parse(b)) for v, a, b in solution.conversions])

    def _for_threads(self, choices: dict[str, Candidate], regions: dict[str, tuple[str, ...]],
                     converted: list[tuple[str, Format, Format]]) -> Estimated | None:
        """The same routines for the number of threads that is wanted; None where one of them does not offer itself."""
        flat, threads = self.bound.flat, self.wanted
        if threads == self.threads:
            adapts = [(place, self.adapts[place[0]][place[1:]]) for place in converted]
            ns = sum(map(self.price, choices.values())) + sum(p.cost for _, p in adapts)
            conversions = [Conversion(*place, c.routine, c.version, c.variant) for place, c in
                           ((place, p.candidate) for place, p in adapts)]
            return Estimated(choices, regions, conversions, ns)
        estimator = self.estimator if threads == NOMINAL else estimator_of(self.bound, threads)
        index = {layer.name: i for i, layer in enumerate(flat.layers)}
        ns, found = 0.0, {}
        for name, chosen in choices.items():
            if name in self.fixed:
                offered = [chosen]
            elif name in regions:
                offered = self.bound.region_candidates(self.bound.regions[name], threads, self.accuracy)
            else:
                offered = flat.candidates(index[name], threads, accuracy=self.accuracy, restrict=self.restrict)[0]
            same = _same(chosen, offered, estimator)
            if same is None:
                return None
            found[name] = same
            ns += estimator.price(same)
        conversions = []
        for value, source, target in converted:
            offered = adapt_candidates(flat.spec(value), source, target, threads)
            c = _same(self.adapts[value][source, target].candidate, offered, estimator)
            if c is None:
                return None
            conversions.append(Conversion(value, source, target, c.routine, c.version, c.variant))
            ns += estimator.price(c)
        return Estimated(found, regions, conversions, ns)


def _same(chosen: Candidate, offered: list[Candidate], estimator: Estimator) -> Candidate | None:
    """The cheapest candidate of the same routine and ports, in the same variant where there is one; on one thread or on all."""
    same = [c for c in offered if (c.routine, c.ins, c.outs) == (chosen.routine, chosen.ins, chosen.outs)]
    own = [c for c in same if c.own_variant == chosen.own_variant]
    return min(own or same, key=estimator.price, default=None)


def estimated(bound: BoundNet, threads: int, accuracy: str = "f32", restrict: Restrict | None = None,
              fixed: Mapping[str, Candidate] | None = None, regions: bool = True) -> Estimated | None:
    """The choice of least estimated time for a bound net; see `Estimates` and `Estimates.solve`."""
    return Estimates(bound, threads, accuracy, restrict, fixed, regions).solve()

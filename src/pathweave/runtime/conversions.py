"""Conversions between the formats of one value: which adapts exist, and the shortest chain of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import RouteError
from ..net.format import Format, plain_format
from ..net.net import TensorSpec
from ..net.problem import Problem, adapt_problem
from ..net.route import Conversion
from . import catalogue
from .bound import BoundNet
from .catalogue import Candidate
from .layouts import host_formats


def adapt_candidates(spec: TensorSpec, source: Format, target: Format, threads: int, *,
                     include_reference: bool = False) -> list[Candidate]:
    """Every adapt that turns a value directly from one format into another; empty when none does."""
    problem = adapt_problem(spec, source, target, threads)
    return catalogue.candidates(problem, accuracy="quantised", include_reference=include_reference)[0]


def formats_of(spec: TensorSpec, more: Iterable[Format] = ()) -> list[Format]:
    """Formats that a chain may pass through: `more`, and the value as it is in every layout on the host and their devices."""
    more = list(more)
    devices = dict.fromkeys(f.device for f in more)
    plain = host_formats(spec)
    return list(dict.fromkeys([*plain, *(f._replace(device=d) for d in devices for f in plain), *more]))


def unreachable(problem: Problem, candidate: Candidate) -> str:
    """Why a candidate has no place in a net, "" where it has one: from the row-major format conversions lead to what it
    reads, and back from what it makes. They lead from there to every layout of a caller and back, so that any two candidates
    that have a place can be neighbours, and stand at the border."""
    values = [s for s, constant in zip(problem.inputs, problem.constant) if s is not None and not constant]
    for spec, form in zip(values, candidate.ins):
        if not leads(spec, plain_format(spec.dtype, spec.rank), form, problem.threads):
            return f"no conversion leads to {form} for a value {spec}"
    for spec, form in zip(problem.outputs, candidate.outs):
        if not leads(spec, form, plain_format(spec.dtype, spec.rank), problem.threads):
            return f"no conversion leads from {form} for a value {spec}"
    return ""


def leads(spec: TensorSpec, source: Format, target: Format, threads: int) -> bool:
    """True where a chain of adapts turns a value from one format into another."""
    if source == target or adapt_candidates(spec, source, target, threads):
        return True
    return bool(chain(spec, [source], target, threads))


def shortest(value: str, spec: TensorSpec, sources: Iterable[Format], target: Format, threads: int,
             through: Iterable[Format] = ()) -> list[Conversion]:
    """The shortest chain of adapts to `target` from any of `sources`, native ones first.

    `through`: formats, beyond those of the host, that it may pass. Raises RouteError when there is none.
    """
    sources = list(dict.fromkeys(sources))
    if target in sources:
        return []
    found = chain(spec, sources, target, threads, through)
    if not found:
        raise RouteError(f"value {value!r} ({spec}): no chain of adapts leads from {' or '.join(map(str, sources))} to "
                         f"{target}; `pathweave routines adapt` lists the adapts")
    return [Conversion(value, source, to, c.routine, c.version, c.variant) for source, to, c in found]


def chain(spec: TensorSpec, sources: Iterable[Format], target: Format, threads: int,
          through: Iterable[Format] = ()) -> list[tuple[Format, Format, Candidate]]:
    """(from, to, adapt) of the shortest chain, native ones first; empty where there is none."""
    sources = list(sources)
    nodes = formats_of(spec, [*sources, *through, target])
    # A reference adapt costs as much as several others: breadth first over 1 and 8.
    cost: dict[Format, int] = dict.fromkeys(sources, 0)
    back: dict[Format, tuple[Format, Candidate]] = {}
    done: set[Format] = set()
    while (open_ := [f for f in nodes if f in cost and f not in done]):
        at = min(open_, key=cost.__getitem__)
        if at == target:
            break
        done.add(at)
        for to in nodes:
            if to in done:
                continue
            adapts = adapt_candidates(spec, at, to, threads)
            if adapts and cost[at] + (8 if adapts[0].reference else 1) < cost.get(to, 1 << 30):
                cost[to] = cost[at] + (8 if adapts[0].reference else 1)
                back[to] = at, adapts[0]
    found = []
    while target in back:
        source, c = back[target]
        found.append((source, target, c))
        target = source
    return found[::-1]


def conversions_for(bound: BoundNet, choices: Mapping[str, Candidate], threads: int,
                    listed: Iterable[Conversion] = ()) -> list[Conversion]:
    """All conversions that a choice of candidates needs, in topological order of their values; those of `listed` that lead to a
    wanted format are kept, the rest are shortest chains. Raises RouteError when a value cannot be converted.
    """
    produced, wanted = ports(bound, choices)
    ways = {(c.value, c.target): c for c in listed}
    found: dict[tuple[str, Format], Conversion] = {}
    for value, targets in wanted.items():
        have = [produced[value]]
        for target in targets:
            for c in _listed_chain(value, target, have, ways) or \
                    shortest(value, bound.flat.spec(value), have, target, threads, targets):
                if (value, c.target) not in found and c.target not in have:
                    found[value, c.target] = c
                    have.append(c.target)
    return list(found.values())


def _listed_chain(value: str, target: Format, have: list[Format], ways: Mapping) -> list[Conversion]:
    chain, at = [], target
    while at not in have:
        c = ways.get((value, at))
        if c is None or c in chain:
            return []
        chain.append(c)
        at = c.source
    return chain[::-1]


def ports(bound: BoundNet, choices: Mapping[str, Candidate]) -> tuple[dict[str, Format], dict[str, list[Format]]]:
    """Format in which each value is made, and the formats in which it is wanted, each once, in order of need.

    Inputs come, and outputs must end, in the caller's format. Values of blocks are among them.
    """
    flat = bound.flat
    produced = dict(flat.given)
    wanted: dict[str, list[Format]] = {n: [] for n in produced}
    for layer in flat.layers:
        c = choices[layer.name]
        for value, form in flat.uses(layer, c):
            if form not in wanted[value]:
                wanted[value].append(form)
        for value, form in zip(layer.outputs, c.outs):
            produced[value] = form
            wanted[value] = []
    for value in bound.net.outputs:
        form = bound.output_format(value)
        if value in produced and form not in wanted[value]:
            wanted[value].append(form)
    return produced, wanted

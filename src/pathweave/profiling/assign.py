"""Which candidate every layer runs in one pass, and the conversions between them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from ..net.format import Format
from ..net.net import Layer, TensorSpec
from ..net.problem import adapt_problem
from ..net.route import Conversion
from ..net.size import size_bytes
from ..runtime.bound import BoundNet
from ..runtime.conversions import adapt_candidates, chain, ports
from .measurement import Key, Measurement
from .slots import SETTLED, Entry, Slot

Pair = tuple[str, Format, Format]
Ports = tuple[tuple[Format, ...], tuple[Format, ...]]

#: Bytes per nanosecond at which a conversion is guessed to run until it was measured.
GUESSED_SPEED = 4.0


class Adapts:
    """The slot of every conversion that came up, by problem. `known`: what earlier runs measured, by its key."""

    def __init__(self, threads: int, known: Mapping[Key, Measurement]):
        self.threads, self.known = threads, known
        self.slots: dict[str, Slot] = {}
        self._memo: dict[tuple[TensorSpec, Format, Format], Slot] = {}
        self._links: dict[tuple[TensorSpec, Format, Format], tuple[tuple[Format, Format], ...]] = {}

    def slot(self, spec: TensorSpec, source: Format, target: Format) -> Slot:
        """The slot of a direct conversion; it has no entries where no adapt does it."""
        key = spec, source, target
        if key not in self._memo:
            text = adapt_problem(spec, source, target, self.threads).text
            if text not in self.slots:
                slot = self.slots[text] = Slot(text, [], adapt_candidates(spec, source, target, self.threads))
                remember(slot, self.known)
            self._memo[key] = self.slots[text]
        return self._memo[key]

    def links(self, spec: TensorSpec, source: Format, target: Format) -> tuple[tuple[Format, Format], ...]:
        """The direct conversions that lead from one format to another: one, or a chain where no adapt does it alone."""
        key = spec, source, target
        if key not in self._links:
            direct = bool(self.slot(spec, source, target).entries)
            self._links[key] = ((source, target),) if direct else tuple(
                (a, b) for a, b, _ in chain(spec, [source], target, self.threads))
        return self._links[key]

    def price(self, spec: TensorSpec, source: Format, target: Format) -> float:
        """Nanoseconds, guessed where nothing was measured; infinite where no conversion leads there."""
        links = self.links(spec, source, target)
        if not links:
            return float("inf")
        found = [self.slot(spec, a, b).best for a, b in links]
        return sum(best if best < float("inf") else 2 * size_bytes(spec) / GUESSED_SPEED for best in found)


def remember(slot: Slot, known: Mapping[Key, Measurement]) -> None:
    """Give the entries of a slot what earlier runs measured."""
    for e in slot.entries:
        m = known.get((slot.text, *e.candidate.key))
        if m is not None:
            e.known = m.samples


class Assigner:
    """Completes passes over one bound net. `slots`: one per layer, in the order of `bound.flat.layers`.

    `idle`: layers that do not run on the inputs of this profile run.
    """

    def __init__(self, bound: BoundNet, slots: list[Slot], adapts: Adapts, idle: Collection[str] = ()):
        self.bound, self.flat, self.slots, self.adapts, self.idle = bound, bound.flat, slots, adapts, idle

    def complete(self, wanted: Mapping[str, Entry]) -> dict[str, Entry]:
        """An entry per layer name: the wanted ones; elsewhere the cheapest measured one where its inputs lie."""
        have = self._given()
        chosen = {}
        for layer, slot in zip(self.flat.layers, self.slots):
            names = self.flat.reads(layer)
            entry = wanted.get(layer.name)
            if entry is None:
                options = slot.surviving() or [e for e in slot.entries if e.usable]
                entry = min(options, key=lambda e: (e.median if e.count else 0.0) + self._conversions(layer, e, names, have))
            chosen[layer.name] = entry
            self._use(layer, entry, names, have)
        return chosen

    def _given(self) -> dict[str, set[Format]]:
        return {n: {form} for n, form in self.flat.given.items()}

    def _use(self, layer: Layer, entry: Entry, names: Sequence[str], have: dict[str, set[Format]]) -> None:
        for value, form in zip(names, self.flat.ports(layer, entry.candidate)[0]):
            have[value].add(form)
        for value, form in zip(layer.outputs, entry.candidate.outs):
            have[value] = {form}

    def _conversions(self, layer: Layer, e: Entry, names: Sequence[str], have: Mapping[str, set[Format]]) -> float:
        return sum(min(self.adapts.price(self.flat.spec(v), f, form) for f in have[v])
                   for v, form in zip(names, self.flat.ports(layer, e.candidate)[0]) if form not in have[v])

    def exchange(self, slot: Slot, ports: Ports, other: Ports) -> float:
        """Nanoseconds of the conversions that are needed where a candidate of a layer with some ports gives way to one with
        other ports, and nothing else changes; infinite where that is not known."""
        if ports == other:
            return 0.0
        layer = slot.layers[0] if slot.layers else None
        if layer is None or self.flat.has_blocks(layer):
            return float("inf")
        pairs = [*((v, a, b) for v, a, b in zip(self.flat.reads(layer), ports[0], other[0])),
                 *((v, b, a) for v, a, b in zip(layer.outputs, ports[1], other[1]))]
        return sum(self.adapts.price(self.flat.spec(v), a, b) for v, a, b in pairs if a != b)

    # ---- conversions ------------------------------------------------------------------------------------------------

    def conversions(self, chosen: Mapping[str, Entry]) -> list[Conversion]:
        """The conversions to every format in which a value is wanted, each with the least measured adapt that still counts."""
        produced, wanted = ports(self.bound, {n: e.candidate for n, e in chosen.items()})
        found: dict[tuple[str, Format], Conversion] = {}
        for value, targets in wanted.items():
            spec, source = self.flat.spec(value), produced[value]
            for target in targets:
                for a, b in self.adapts.links(spec, source, target) if target != source else ():
                    slot = self.adapts.slot(spec, a, b)
                    options = [e for e in slot.entries if e.state == "open"] or slot.measured
                    if options and (value, b) not in found:
                        c = min(options, key=lambda e: e.count).candidate
                        found[value, b] = Conversion(value, a, b, c.routine, c.version, c.variant)
        return list(found.values())

    def missing_adapts(self) -> dict[Pair, Slot]:
        """(value, from, to) that a solver may ask for and that was not measured often enough."""
        return {pair: slot for pair, slot in self._adapts_between(Slot.surviving)
                if any(e.state == "open" and e.count < SETTLED for e in slot.entries)}

    def known_adapts(self) -> list[Slot]:
        """Conversions between the formats of all candidates that were ever measured, also of those that lost."""
        return [slot for _, slot in self._adapts_between(lambda slot: slot.measured)]

    def _adapts_between(self, chosen: Callable[[Slot], list[Entry]]) -> Iterator[tuple[Pair, Slot]]:
        """((value, from, to), conversion) between the formats of the chosen candidates of every layer; every link of a
        chain."""
        makers = self._given()
        users: dict[str, set[Format]] = {n: set() for n in makers}
        for layer, slot in zip(self.flat.layers, self.slots):
            entries = chosen(slot) if layer.name not in self.idle else []
            ports = [self.flat.ports(layer, e.candidate)[0] for e in entries]
            for i, value in enumerate(self.flat.reads(layer)):
                users[value] |= {ins[i] for ins in ports}
            for i, value in enumerate(layer.outputs):
                makers[value], users[value] = {e.candidate.outs[i] for e in entries}, set()
        for value in self.bound.outputs:
            if value in users:
                users[value].add(self.bound.output_format(value))
        for value, sources in makers.items():
            for source in sorted(sources):
                for target in sorted(users[value] - {source}):
                    for link in self.adapts.links(self.flat.spec(value), source, target):
                        yield (value, source, target), self.adapts.slot(self.flat.spec(value), *link)

    def covering(self, missing: Mapping[Pair, Slot]) -> tuple[dict[str, Entry], int]:
        """Entries that make one pass run as many different missing conversions as it can, and how many."""
        covered: set[str] = set()
        made = dict(self.flat.given)
        open_sources: dict[tuple[str, Format], int] = {}
        for value, source, _ in missing:
            open_sources[value, source] = open_sources.get((value, source), 0) + 1
        chosen = {}
        for layer, slot in zip(self.flat.layers, self.slots):
            names = self.flat.reads(layer)

            def gain(e: Entry, names: tuple[str, ...] = names, layer: Layer = layer,
                     covered: frozenset[str] = frozenset(covered)) -> tuple[float, float]:
                new = {missing[key].text for key in self._pairs(layer, names, e, made) if key in missing} - covered
                later = sum((v, f) in open_sources for v, f in zip(layer.outputs, e.candidate.outs))
                return -(len(new) + 0.6 * later), e.median
            entry = min(slot.surviving() or slot.entries, key=gain)
            chosen[layer.name] = entry
            covered |= {missing[key].text for key in self._pairs(layer, names, entry, made) if key in missing}
            made.update(zip(layer.outputs, entry.candidate.outs))
        for value in self.bound.outputs:
            if value in made and (key := (value, made[value], self.bound.output_format(value))) in missing:
                covered.add(missing[key].text)
        return chosen, len(covered)

    def _pairs(self, layer: Layer, names: Sequence[str], e: Entry, made: Mapping[str, Format]) -> Iterator[Pair]:
        return ((v, made[v], f) for v, f in zip(names, self.flat.ports(layer, e.candidate)[0]) if made[v] != f)

"""Packed weights of a model: collected from its plans to be saved, and offered to the kernels after a load."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from ..files.packed import Packed, Packing, digest_of
from ..net.net import Net
from .bound import constant_id
from .native import native
from .plan import Plan


def here() -> tuple[str, tuple[str, ...]]:
    """Version of pathweave, and the instruction sets in use: what packings depend on beside the routines."""
    from .. import __version__
    return __version__, tuple(native().cpu_info()["used"])


def collect(nets: Mapping[str, Net], plans: Iterable[Plan]) -> Packed:
    """The packings that some plans use, of the constants of these nets; each once."""
    names = {constant_id(array): (net, name) for net, n in nets.items() for name, array in n.constants.items()}
    versions = {card["id"]: card["version"] for card in native().routines()}
    found: dict[tuple[str, str, str], tuple[set[str], Any]] = {}
    for plan in plans:
        for routine, kernel in plan.kernels:
            for number, signature, data, _ in kernel.packings:
                if number in names:
                    users, _ = found.setdefault((*names[number], signature), (set(), data))
                    users.add(f"{routine}@{versions[routine]}")
    packings = [Packing(net, name, signature, tuple(sorted(users)), data.size, digest_of(data), data)
                for (net, name, signature), (users, data) in sorted(found.items(), key=lambda item: item[0])]
    return Packed(*here(), packings)


def summary(packed: Packed, plans: Iterable[Plan]) -> str:
    """How many packings of these plans' kernels `collect` took, and which routines keep theirs to themselves; a sentence."""
    alone: dict[str, int] = {}
    for plan in plans:
        for routine, kernel in plan.kernels:
            if kernel.packed_bytes and not kernel.packings:
                alone[routine] = alone.get(routine, 0) + 1
    text = f"packed weights: {len(packed.packings)} written ({sum(p.bytes for p in packed.packings) / 1e6:.2f} MB)"
    if not alone:
        return text
    listed = ", ".join(f"{count} of {routine}" for routine, count in sorted(alone.items()))
    return (f"{text}, {sum(alone.values())} left out ({listed}): what these routines pack depends on more than the weights "
            f"(scales of values, places of zeros), or is small, and is made at every start")


class Offer:
    """Packings that came with a model, offered to the kernels that will be prepared as long as `owner` lives.

    What another version, instruction set or version of a routine packed is left alone, and `notes` says so.
    """

    def __init__(self, owner: Any, nets: Mapping[str, Net], packed: Packed):
        self.total = len(packed.packings)
        self._notes: list[str] = []
        self._offered: dict[int, str] = {}
        seen: set[tuple[int, str]] = set()
        version, tiers = here()
        if (packed.version, packed.tiers) != (version, tiers):
            self._notes.append(f"the packed weights of the file are for pathweave {packed.version} on "
                               f"{' '.join(packed.tiers)}, this is {version} on {' '.join(tiers)}: packed anew here")
            return
        current = {f"{card['id']}@{card['version']}" for card in native().routines()}
        for p in packed.packings:
            changed = [r for r in p.routines if r not in current]
            array = nets[p.net].constants.get(p.constant) if p.net in nets else None
            if changed or array is None:
                self._notes.append(f"packed {p.constant!r}: " + (f"made for {', '.join(changed)}, which this build does not "
                                   f"have: packed anew" if changed else "the model has no such constant: not used"))
                continue
            number = constant_id(array)
            wrong = "it is empty" if p.bytes == 0 else "the file has it twice" if (number, p.signature) in seen else ""
            if wrong:
                self._notes.append(f"packed {p.constant!r}: {wrong}: packed anew")
                continue
            seen.add((number, p.signature))
            try:
                native().offer_packing(number, p.signature, p.data, p.bytes)
            except ValueError as e:
                self._notes.append(f"packed {p.constant!r}: {e}: packed anew")
                continue
            self._offered[number] = p.constant
        weakref.finalize(owner, _withdraw, list(self._offered))

    @property
    def notes(self) -> list[str]:
        """What was not used so far, and how much was."""
        states = [(name, state) for number, name in self._offered.items()
                  for _, state in native().offered_packings(number)]
        refused = sorted({name for name, state in states if state == "refused"})
        taken = sum(state == "taken" for _, state in states)
        return [*self._notes, *(f"packed {name!r}: the file has another number of bytes than the kernel reads, or what no file "
                                f"may hold: packed anew" for name in refused),
                f"{taken} of {self.total} packed weights of the file are in use"]


def _withdraw(numbers: list[int]) -> None:
    for number in numbers:
        native().withdraw_packings(number)

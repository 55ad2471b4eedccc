"""The memory of a profile run: which prepared kernels are kept, and which are dropped so that their constants fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..net.net import Layer
from ..runtime.bound import BoundNet
from ..runtime.prepare import KernelCache
from .slots import Entry, Slot

#: Weights of a layer from which its candidates are measured one after the other instead of side by side, bytes.
HEAVY = 64 << 20
#: Packed constants that the prepared kernels may hold together, bytes.
PACKED = 4 << 30


class Kernels:
    """The prepared kernels of one profile run. `slots`: one per layer, in the order of `bound.flat.layers`.

    `cache`: the kernels themselves, from which plans are built.
    """

    def __init__(self, bound: BoundNet, slots: Sequence[Slot]):
        self.cache = KernelCache(bound)
        self._slots = {layer.name: (layer, slot) for layer, slot in zip(bound.flat.layers, slots)}
        self._distinct = list({id(s): s for s in slots}.values())
        self._used: dict[tuple[str, tuple[str, int, str]], int] = {}  # (layer, candidate) -> number of the last pass

    def prepare(self, layer: Layer, entry: Entry, number: int) -> None:
        """Prepare an entry for a layer, for the pass of that number. Raises RouteError, OutOfMemoryError."""
        self._used[layer.name, entry.candidate.key] = number
        steps = self.cache.layer(layer, entry.candidate)
        entry.memory = sum(p.kernel.packed_bytes + p.kernel.workspace_bytes for p in steps)

    def holds(self, layer: Layer, entry: Entry) -> bool:
        """True where an entry is prepared for a layer already."""
        return self.cache.holds(layer, entry.candidate)

    def forget(self, slot: Slot, entry: Entry) -> None:
        """Drop the kernels of an entry, in every layer that has its problem."""
        for layer in slot.layers:
            self.cache.drop(layer, entry.candidate)

    def trim(self, chosen: Mapping[str, Entry]) -> None:
        """Drop kernels until the packed constants fit: those of heavy layers that are not the best, then those that were
        not used for longest. `chosen`: layer name -> the entry of the pass that just ran, which is kept."""
        for slot in self._distinct:
            if slot.weight_bytes >= HEAVY:
                for e in slot.entries:
                    if e.median > slot.best and not any(chosen[layer.name] is e for layer in slot.layers):
                        self.forget(slot, e)
        if self.cache.packed_bytes <= PACKED:
            return
        for (name, key), _ in sorted(self._used.items(), key=lambda item: item[1]):
            layer, slot = self._slots[name]
            entry = next(e for e in slot.entries if e.candidate.key == key)
            if chosen[name] is not entry:
                self.cache.drop(layer, entry.candidate)
                if self.cache.packed_bytes <= PACKED // 2:
                    return

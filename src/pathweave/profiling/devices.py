"""What devices other than the CPU add to the key of a measurement: their identity (model, driver, clocks), and whether the
number of threads matters to their times.

The fingerprint of the host says nothing of such a device. A measurement that touches one is kept under `HOST+NAME=ID`, where
ID is made of the identity that the device states: after an update of its driver everything is measured anew.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import Error
from ..runtime.catalogue import Candidate

_THREADS = re.compile(r" threads=\d+")


def base(host: str) -> str:
    """The fingerprint in the `host` of a measurement, without devices."""
    return host.partition("+")[0]


def tags(host: str) -> frozenset[str]:
    """`NAME=ID` of each device in the `host` of a measurement."""
    return frozenset(host.split("+")[1:])


def for_one_thread(problem: str) -> str:
    """The text of a problem for one thread: what all thread counts share on a device to which they do not matter."""
    return _THREADS.sub(" threads=1", problem)


class Devices(NamedTuple):
    """The devices of this process. `tags`: name -> `NAME=ID`, of those that state an identity. `emulated`: names of devices
    whose times are no wall time. `indifferent`: of those to which the number of threads does not matter."""

    tags: Mapping[str, str] = {}
    identities: Mapping[str, str] = {}
    emulated: Collection[str] = frozenset()
    indifferent: Collection[str] = frozenset()

    @staticmethod
    def of(described: Iterable[Mapping[str, Any]]) -> Devices:
        """From what `pathweave.devices()` gives."""
        there = [d for d in described if d["available"]]
        identities = {d["name"]: d["identity"] for d in there if d["identity"]}
        named = {name: f"{name}={hashlib.sha256(text.encode()).hexdigest()[:8]}" for name, text in identities.items()}
        return Devices(named, identities, frozenset(d["name"] for d in there if d["emulated"]),
                       frozenset(d["name"] for d in there if not d["threads_matter"]))

    @staticmethod
    def here() -> Devices:
        """Those that are open now; none where there is no native core."""
        from ..runtime.devices import devices
        try:
            return Devices.of(devices())
        except Error:
            return Devices()

    @property
    def current(self) -> frozenset[str]:
        """`NAME=ID` of each."""
        return frozenset(self.tags.values())

    def host(self, host: str, names: Iterable[str]) -> str:
        """The `host` of a measurement that touches the devices of these names."""
        return "+".join([host, *sorted(self.tags[name] for name in set(names) if name in self.tags)])

    def facts(self, hosts: Iterable[str], facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Facts of hosts with and without devices, for people to read. `facts`: of the fingerprint."""
        names = {tag: name for name, tag in self.tags.items()}
        found: dict[str, dict[str, Any]] = {}
        for host in hosts:
            own = {names[tag]: self.identities[names[tag]] for tag in sorted(tags(host)) if tag in names}
            found[host] = {"devices": own} if own else dict(facts)
        return found

    def threads_matter(self, candidate: Candidate) -> bool:
        """Whether the times of a candidate depend on the number of threads."""
        return not all(c.device in self.indifferent for c in (candidate, *candidate.steps))


def touched(candidate: Candidate) -> set[str]:
    """Names of the devices that a candidate runs on, reads from or writes to."""
    return {*(c.device for c in (candidate, *candidate.steps)), *(f.device for f in (*candidate.ins, *candidate.outs))}

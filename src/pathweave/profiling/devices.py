"""What devices other than the CPU, and sessions that run at the same time, add to the key of a measurement.

The fingerprint of the host says nothing of such a device. A measurement that touches one is kept under `HOST+NAME=ID`, where
ID is made of the identity that the device states (model, driver, clocks): after an update of its driver everything is measured
anew. One that was taken while N sessions ran the net at the same time is kept under `HOST+sessions:N`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import Error
from ..runtime.catalogue import Candidate

_THREADS = re.compile(r" threads=\d+")
#: Begins the tag of sessions; no device has such a name.
_SESSIONS = "sessions:"


def base(host: str) -> str:
    """The fingerprint in the `host` of a measurement, without devices."""
    return host.partition("+")[0]


def tags(host: str) -> frozenset[str]:
    """`NAME=ID` of each device in the `host` of a measurement."""
    return frozenset(host.split("+")[1:])


def sessions_tag(sessions: int) -> str:
    """The tag of so many sessions at the same time; "" for one alone."""
    return f"{_SESSIONS}{sessions}" if sessions > 1 else ""


def sessions_of(host: str) -> int:
    """How many sessions ran at the same time, from the `host` of a measurement; 1 where nothing is said."""
    return _sessions(tags(host))


def _sessions(found: Iterable[str]) -> int:
    numbers = [tag.removeprefix(_SESSIONS) for tag in found if tag.startswith(_SESSIONS)]
    return int(numbers[0]) if numbers and numbers[0].isdecimal() else 1


def fits(host: str, tags_here: Collection[str] | None) -> bool:
    """Whether a measurement of that `host` counts where the tags are these: its devices are among them, and as many sessions
    ran. None: any devices, and one session."""
    if sessions_of(host) != _sessions(tags_here or ()):
        return False
    return tags_here is None or tags(host) <= set(tags_here)


def for_one_thread(problem: str) -> str:
    """The text of a problem for one thread: what all thread counts share on a device to which they do not matter."""
    return _THREADS.sub(" threads=1", problem)


class Devices(NamedTuple):
    """The devices of this process. `tags`: name -> `NAME=ID`, of those that state an identity. `emulated`: names of devices
    whose times are no wall time. `indifferent`: of those to which the number of threads does not matter. `sessions`: how many
    run at the same time while something is measured."""

    tags: Mapping[str, str] = {}
    identities: Mapping[str, str] = {}
    emulated: Collection[str] = frozenset()
    indifferent: Collection[str] = frozenset()
    sessions: int = 1

    @staticmethod
    def of(described: Iterable[Mapping[str, Any]], sessions: int = 1) -> Devices:
        """From what `pathweave.devices()` gives."""
        there = [d for d in described if d["available"]]
        identities = {d["name"]: d["identity"] for d in there if d["identity"]}
        named = {name: f"{name}={hashlib.sha256(text.encode()).hexdigest()[:8]}" for name, text in identities.items()}
        return Devices(named, identities, frozenset(d["name"] for d in there if d["emulated"]),
                       frozenset(d["name"] for d in there if not d["threads_matter"]), sessions)

    @staticmethod
    def here(sessions: int = 1) -> Devices:
        """Those that are open now; none where there is no native core."""
        from ..runtime.devices import devices
        try:
            return Devices.of(devices(), sessions)
        except Error:
            return Devices(sessions=sessions)

    @property
    def current(self) -> frozenset[str]:
        """`NAME=ID` of each, and the tag of the sessions."""
        return frozenset([*self.tags.values(), *self._load()])

    def _load(self) -> list[str]:
        return [sessions_tag(self.sessions)] if self.sessions > 1 else []

    def host(self, host: str, names: Iterable[str]) -> str:
        """The `host` of a measurement that touches the devices of these names, taken while the sessions ran."""
        return "+".join([host, *sorted(self.tags[name] for name in set(names) if name in self.tags), *self._load()])

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

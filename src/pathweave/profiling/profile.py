"""Profile: what was measured on one host, in memory; JSON Lines on disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Collection, Iterable, Iterator, Mapping

from .. import html
from ..errors import Error, ProfileError
from ..words import counted
from .devices import base, sessions_of
from .measurement import Key, Measurement, merge, read_lines, write_lines

if TYPE_CHECKING:
    from .store import Store


class Profile:
    """Measurements of one host by (problem, routine, version, variant); pure data, may travel to another machine.

    `host`: the host's id; that of a measurement names the devices that it touches as well. `facts`: what is known about it,
    for people to read. `notes`: what the run that made it did (passes, seconds, candidates left out); not saved. `sessions`:
    how many ran at the same time; measurements beside another number are kept, and only `under` that number seen.
    """

    def __init__(self, host: str, measurements: Iterable[Measurement] = (), facts: Mapping[str, Any] | None = None,
                 sessions: int = 1):
        if not isinstance(host, str):
            raise ProfileError(f"profile: expected the id of a host, got {type(host).__name__}; Profile.load reads a file")
        self.host, self.facts, self.sessions = host, dict(facts or {}), sessions
        self.notes: dict[str, Any] = {}
        self._runs: dict[str, Measurement] = {}
        self._merged: dict[Key, Measurement] = {}
        self.add(measurements)

    def __repr__(self) -> str:
        cpu = f" ({self.facts['cpu']})" if self.facts.get("cpu") else ""
        load = f", {counted(self.sessions, 'session')} at the same time" if self.sessions > 1 else ""
        return f"<Profile of host {self.host}{cpu}{load}: {counted(len(self), 'variant')} measured on " \
               f"{counted(len(self.problems()), 'problem')}>"

    def _repr_html_(self) -> str:
        """A row per problem: how many variants were measured, and the fastest one, for notebooks."""
        best: dict[str, list[Measurement]] = {}
        for measured in self:
            best.setdefault(measured.problem, []).append(measured)
        rows = [(text, len(found), (first := min(found, key=lambda m: m.median)).routine, first.variant,
                 html.milliseconds(first.median)) for text, found in sorted(best.items())]
        return html.table(repr(self)[1:-1], ("problem", "variants", "fastest", "variant", "median"), rows)

    @classmethod
    def of_store(cls, store: "Store", host: str, problems: Iterable[object] | None = None,
                 devices: Collection[str] | None = None) -> "Profile":
        """What a Store knows on `host` about `problems` (None = all), `devices` as in `Store.lookup`. Raises StoreError."""
        sessions = sessions_of("+".join([host, *(devices or ())]))
        return cls(host, store.lookup(host, problems, devices).values(), store.hosts().get(host, {}).get("facts"), sessions)

    def under(self, sessions: int) -> "Profile":
        """The same measurements, of which those count that were taken beside so many sessions."""
        return self if sessions == self.sessions else Profile(self.host, self._runs.values(), self.facts, sessions)

    def add(self, measurements: Iterable[Measurement]) -> None:
        """Add measurements of this host; those whose id is there already are ignored. Raises ProfileError."""
        new = [m.check() for m in measurements]
        foreign = sorted({base(m.host) for m in new} - {self.host})
        if foreign:
            raise ProfileError(f"profile of host {self.host}: expected measurements of that host, got some of "
                               f"{', '.join(foreign[:4])}; keep one profile per machine")
        for m in new:
            self._runs.setdefault(m.id or f"merged {m.key} {m.when} {m.count}", m)
        self._merged = merge(m for m in self._runs.values() if sessions_of(m.host) == self.sessions)

    def get(self, problem: object, routine: str, version: int, variant: str) -> Measurement | None:
        """All samples of one variant of a routine on a problem (its text or a Problem), or None."""
        return self._merged.get((str(problem), routine, version, variant))

    @property
    def runs(self) -> list[Measurement]:
        """Every measurement that was added, each with its own id; `iter` gives them merged by key."""
        return list(self._runs.values())

    def __len__(self) -> int:
        return len(self._merged)

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self._merged.values())

    def problems(self) -> set[str]:
        """Texts of all problems about which something is known."""
        return {problem for problem, *_ in self._merged}

    def merge(self, other: "Profile") -> "Profile":
        """A profile with the measurements of both, which must be of one host. Raises ProfileError."""
        other.check_host(self.host)
        return Profile(self.host, [*self._runs.values(), *other._runs.values()], {**other.facts, **self.facts}, self.sessions)

    def check_host(self, host: object, allow_other: bool = False) -> None:
        """Raise ProfileError when this profile is not of `host` (an id or a HostFingerprint), unless allowed."""
        wanted = getattr(host, "id", host)
        if self.host != wanted and not allow_other:
            model = self.facts.get("cpu") or "unknown processor"
            raise ProfileError(f"profile: expected measurements of host {wanted}, got those of {self.host} ({model}); "
                               f"profile on this machine, or allow a profile of another one explicitly")

    def save(self, path: str | os.PathLike) -> None:
        """Write JSON Lines, atomically. Raises ProfileError when the file cannot be written."""
        from ..files.model import atomic_writer
        _check_path(path)
        runs = sorted(self._runs.values(), key=lambda m: (m.key, m.when, m.id))
        try:
            with atomic_writer(path) as f:
                write_lines(f, runs, {self.host: self.facts})
        except OSError as e:
            raise ProfileError(f"{path}: the profile cannot be written ({e.strerror or e}); "
                               f"choose a writable folder with free space") from e

    @staticmethod
    def load(path: str | os.PathLike, host: str | None = None) -> "Profile":
        """Read what `save` or `Store.export` wrote; `host` chooses one where the file has several.

        What counts are the measurements of one session, or of the number of sessions that all of them have. Raises
        ProfileError naming the bad line, or when the file cannot be read or holds no single host.
        """
        _check_path(path)
        facts: dict[str, dict] = {}
        runs: list[Measurement] = []
        try:
            with open(path, "rb") as f:
                for item in read_lines(f, str(path)):
                    if isinstance(item, tuple):
                        facts[item[0]] = item[1]
                    else:
                        runs.append(item)
        except Error:
            raise
        except (OSError, ValueError) as e:  # ValueError: what is no name of a file
            reason = getattr(e, "strerror", None) or e
            raise ProfileError(f"{path}: the profile cannot be read ({reason}); check the path") from e
        hosts = sorted({base(h) for h in ({m.host for m in runs} or set(facts))})
        if host is None and len(hosts) != 1:
            raise ProfileError(f"{path}: expected measurements of one host, got {', '.join(hosts) or 'none'}; "
                               f"{'say which host' if hosts else 'profile first'}")
        chosen = host or hosts[0]
        if chosen not in hosts:
            raise ProfileError(f"{path}: expected measurements of host {chosen}, got those of {', '.join(hosts)}; "
                               f"choose one of them, or profile on that machine")
        own = [m for m in runs if base(m.host) == chosen]
        numbers = {sessions_of(m.host) for m in own}
        return Profile(chosen, own, facts.get(chosen), numbers.pop() if len(numbers) == 1 else 1)


def _check_path(path: Any) -> None:
    """Raise ProfileError for what names no file; a number would be taken for a file that is open already."""
    if not isinstance(path, (str, os.PathLike)):
        raise ProfileError(f"profile: expected the path of a file, got {type(path).__name__}")

"""Measurement: the samples of one routine variant on one problem and one host; one JSON line on disk."""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import dataclass, field, replace
from typing import IO, Any, Iterable, NoReturn

from ..errors import ProfileError
from ..locks import cached_property

#: Number of the measuring protocol; samples of different protocols are never merged. 1: as the clock told them; 2: at
#: the reference speed of the machine (see `yardstick`).
PROTOCOL = 2

Key = tuple[str, str, int, str]

#: The interquartile range of a normal distribution, in standard deviations.
SIGMAS_OF_SPREAD = 1.349
MAX_SAMPLES = 1_000_000
MAX_LINE = 32 << 20  # bytes


def quantile(ordered: list[float], q: float) -> float:
    """Quantile 0..1 of ascending samples, linear between neighbours (the default of numpy.quantile)."""
    position = q * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


@dataclass(frozen=True)
class Measurement:
    """Times of one (host, problem, routine@version, variant).

    `samples`: nanoseconds at reference speed, positive, at least one. `when`: seconds since 1970 (UTC). `id`: unique to
    this record; an equal id is the same record, so that importing twice adds nothing; "" for merged ones. `about`: what a
    solver on another machine must know of the routine (see `profile.about`), or "".
    """

    host: str
    problem: str
    routine: str
    version: int
    variant: str
    samples: tuple[float, ...]
    when: float
    protocol: int = PROTOCOL
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    about: str = ""

    @property
    def key(self) -> Key:
        """(problem, routine, version, variant)."""
        return self.problem, self.routine, self.version, self.variant

    @cached_property
    def _ordered(self) -> list[float]:
        return sorted(self.samples)

    @property
    def count(self) -> int:
        return len(self.samples)

    @property
    def median(self) -> float:
        """Nanoseconds."""
        return quantile(self._ordered, 0.5)

    @property
    def p10(self) -> float:
        """Low decile, nanoseconds."""
        return quantile(self._ordered, 0.1)

    @property
    def spread(self) -> float:
        """Interquartile range, nanoseconds."""
        return quantile(self._ordered, 0.75) - quantile(self._ordered, 0.25)

    def check(self, where: str = "measurement") -> "Measurement":
        """Itself when every field is of its type and in its range. Raises ProfileError."""
        for name in ("host", "problem", "routine", "variant", "id", "about"):
            value = getattr(self, name)
            if not isinstance(value, str) or not (value or name in ("variant", "id", "about")):
                raise _bad(where, name, "a word", value)
            try:
                value.encode()
            except UnicodeEncodeError:
                raise _bad(where, name, "valid Unicode", value) from None
        for name in ("version", "protocol"):
            value = getattr(self, name)
            if not _integer(value) or not 0 <= value < 2**31:
                raise _bad(where, name, "a whole number from 0", value)
        if not _real(self.when) or not 0 <= self.when < 1e11:
            raise _bad(where, "when", "seconds since 1970", self.when)
        if not isinstance(self.samples, tuple) or not 0 < len(self.samples) <= MAX_SAMPLES:
            got = len(self.samples) if isinstance(self.samples, (tuple, list)) else self.samples
            raise _bad(where, "samples", f"1 to {MAX_SAMPLES} times", got)
        for s in self.samples:
            if not _real(s) or not 0 < s < 1e18:
                raise _bad(where, "samples", "positive, finite nanoseconds", s)
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data, the inverse of `from_json`."""
        return {"id": self.id, "host": self.host, "problem": self.problem, "routine": self.routine,
                "version": self.version, "variant": self.variant, "protocol": self.protocol,
                "when": float(self.when), "about": self.about, "samples": [_short(s) for s in self.samples]}

    @staticmethod
    def from_json(data: Any, where: str = "measurement") -> "Measurement":
        """Read what `to_json` wrote. Raises ProfileError on anything else."""
        fields = {"id", "host", "problem", "routine", "version", "variant", "protocol", "when", "about", "samples"}
        if not isinstance(data, dict) or set(data) != fields:
            got = sorted(set(data) ^ fields) if isinstance(data, dict) else type(data).__name__
            raise ProfileError(f"{where}: expected an object with {', '.join(sorted(fields))}, got a difference in "
                               f"{got}; the file is damaged or of another version: export it again")
        samples = data["samples"]
        return Measurement(**{**data, "samples": tuple(samples) if isinstance(samples, list) else samples}).check(where)


def merge(measurements: Iterable[Measurement]) -> dict[Key, Measurement]:
    """One measurement per key: all samples of its newest protocol, in order of time. All must be of one host; where devices
    changed between them, those of the devices of the newest count."""
    groups: dict[Key, list[Measurement]] = {}
    for m in measurements:
        groups.setdefault(m.key, []).append(m)
    merged = {}
    for key, group in groups.items():
        newest = max(m.protocol for m in group)
        group = sorted((m for m in group if m.protocol == newest), key=lambda m: (m.when, m.id))
        group = [m for m in group if m.host == group[-1].host]
        merged[key] = group[0] if len(group) == 1 else replace(
            group[-1], samples=tuple(s for m in group for s in m.samples), id="",
            about=next((m.about for m in reversed(group) if m.about), ""))
    return merged


# ---- JSON Lines -----------------------------------------------------------------------------------------------------

def write_lines(stream: IO[bytes], measurements: Iterable[Measurement], hosts: dict[str, dict]) -> int:
    """Write JSON Lines: one line per host description, then one per measurement. Returns how many measurements."""
    for host, facts in hosts.items():
        stream.write(_line({"host": host, "facts": facts}))
    count = 0
    for m in measurements:
        stream.write(_line(m.to_json()))
        count += 1
    return count


def read_lines(stream: IO[bytes], where: str) -> Iterable[Measurement | tuple[str, dict]]:
    """Measurements, and (host, facts) for host lines, of a binary stream. Raises ProfileError naming the line."""
    number = 0
    while line := stream.readline(MAX_LINE):
        number += 1
        here = f"{where}, line {number}"
        if len(line) == MAX_LINE:
            raise ProfileError(f"{here}: expected at most {MAX_LINE} bytes, got more; this is not a profile")
        if not line.strip():
            continue
        try:
            data = json.loads(line.decode("utf-8"), parse_constant=_refuse)
        except (ValueError, RecursionError) as e:
            raise ProfileError(f"{here}: expected one JSON object, got {_cut(repr(line))} ({_cut(str(e))}); "
                               f"the file is truncated or damaged: export it again") from None
        if isinstance(data, dict) and set(data) == {"host", "facts"}:
            if not isinstance(data["host"], str) or not data["host"] or not isinstance(data["facts"], dict):
                raise ProfileError(f"{here}: expected a host and its facts, got {_cut(repr(data))}; export it again")
            yield data["host"], data["facts"]
        else:
            yield Measurement.from_json(data, here)


def _line(data: dict) -> bytes:
    return json.dumps(data, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _short(x: float) -> float | int:
    """A whole number without its `.0`."""
    x = float(x)
    return int(x) if x.is_integer() else x


def _integer(x: Any) -> bool:
    return isinstance(x, int) and not isinstance(x, bool)


def _real(x: Any) -> bool:
    return _integer(x) or isinstance(x, float) and math.isfinite(x)


def _cut(text: str) -> str:
    return text if len(text) <= 100 else text[:97] + "..."


def _bad(where: str, name: str, expected: str, got: Any) -> ProfileError:
    return ProfileError(f"{where}, {name}: expected {expected}, got {_cut(repr(got))}; "
                        f"the record is damaged or was not written by pathweave: leave it out or measure again")

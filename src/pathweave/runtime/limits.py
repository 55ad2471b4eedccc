"""The machine's limits: peak rates of its units, read bandwidth of every level of memory, the cost of a barrier.

Measured by the native probes, once per host and number of threads, and kept beside the profile store. Every figure is the
best of many short trials: other programs can only make a trial worse. `limits` takes half a minute for what a report is
judged by; `quickly` takes a fraction of a second for what estimates go by. Source: Williams et al. 2009, "Roofline".
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from ..errors import ProfileError
from ..progress import part
from ..words import counted

#: Of the file; another one is measured anew.
VERSION = 1
LEVELS = ("L1", "L2", "L3", "memory")
#: What progress counts for one trial of memory, whose buffer is filled first, against one of anything else.
MEMORY_WEIGHT = 20
#: Trials of barriers: they are short, and a thread that is late spoils all of a trial.
BARRIER_TRIALS = 50
_PAGE = 4096


class Effort(NamedTuple):
    """How much is spent on a measurement. `trial_ns`, `trials`: a trial of arithmetic or of a cache lasts about so long, and
    so many are made. `passes`: all is measured so often, one after the other, so that another program's burst does not meet
    all trials of one figure. `memory_trials`, `memory_bytes`: trials that read memory, and the most that they read.
    `barriers`: meetings in a trial."""

    trial_ns: int
    trials: int
    passes: int
    memory_trials: int
    memory_bytes: int
    barriers: int = 400


THOROUGH = Effort(250_000, 50, 3, 3, 1 << 30)
QUICK = Effort(50_000, 5, 1, 2, 96 << 20, 50)


class Machine(Protocol):
    """The native probes; `_native` has them. Times are nanoseconds, the least of `trials`."""

    def cpu_info(self) -> dict[str, Any]:
        """Sizes of the caches, among others."""
        ...

    def limit_probes(self) -> list[dict[str, Any]]:
        """Every probe of a limit: kind, name, dtype, operations."""
        ...

    def time_peak(self, name: str, threads: int, rounds: int, trials: int) -> int:
        """Of so many rounds of arithmetic on every thread."""
        ...

    def time_read(self, name: str, bytes: int, threads: int, times: int, trials: int) -> int:
        """Of every thread reading bytes of its own so many times."""
        ...

    def time_barriers(self, threads: int, count: int, trials: int) -> int:
        """Of so many meetings of all threads."""
        ...


@dataclass(frozen=True)
class Limits:
    """What a host can do at most.

    `host`: id of its fingerprint. `caches`: bytes of L1 and L2 of one core, and of L3. `measured`: threads ->
    {"peaks": {probe: {"dtype", "per_second"}}, "reads": {level: bytes per second}, "barrier_ns"}; all threads together. Those
    that `quickly` measured say "quick": True.
    """

    host: str
    caches: Mapping[str, int]
    measured: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def peak(self, dtype: str, threads: int, tier: str = "") -> float | None:
        """Operations per second of the fastest unit for an element type; None where no probe measures one. `tier`: how the name
        of a probe ends: its rate, where there is such a probe."""
        rates = {name: p["per_second"] for name, p in self._of(threads)["peaks"].items() if p["dtype"] == dtype}
        of_tier = [rate for name, rate in rates.items() if tier and name.endswith(tier)]
        return max(of_tier or rates.values(), default=None)

    def bandwidth(self, level: str, threads: int) -> float:
        """Bytes per second read from a level of `LEVELS`."""
        return self._of(threads)["reads"][level]

    def barrier_ns(self, threads: int) -> float:
        """Nanoseconds of one meeting of all threads."""
        return self._of(threads)["barrier_ns"]

    def level(self, size: int, threads: int) -> str:
        """The nearest level that holds so many bytes, divided among the threads' own caches."""
        for level in LEVELS[:-1]:
            if size <= self.caches[level] * (1 if level == "L3" else threads):
                return level
        return LEVELS[-1]

    def _of(self, threads: int) -> Mapping[str, Any]:
        if threads not in self.measured:
            raise ProfileError(f"limits of host {self.host}: expected those of {counted(threads, 'thread')}, got "
                               f"{', '.join(map(str, self.measured)) or 'none'}; measure them: "
                               f"pathweave.runtime.limits.limits([{threads}])")
        return self.measured[threads]

    def to_json(self) -> dict[str, Any]:
        """As it is kept in its file."""
        return {"version": VERSION, "host": self.host, "caches": dict(self.caches),
                "threads": {str(n): dict(m) for n, m in sorted(self.measured.items())}}

    @staticmethod
    def from_json(data: Any) -> Limits:
        """What `to_json` wrote. Raises ProfileError for anything else."""
        try:
            if data["version"] != VERSION:
                raise ValueError(f"version {data['version']}, expected {VERSION}")
            measured = {}
            for n, m in data["threads"].items():
                peaks = {str(k): {"dtype": str(p["dtype"]), "per_second": _rate(p["per_second"])}
                         for k, p in m["peaks"].items()}
                measured[int(n)] = {"peaks": peaks, "reads": {x: _rate(m["reads"][x]) for x in LEVELS},
                                    "barrier_ns": float(m["barrier_ns"]), **({"quick": True} if m.get("quick") else {})}
            return Limits(str(data["host"]), {x: int(data["caches"][x]) for x in LEVELS[:-1]}, measured)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise ProfileError(f"limits: the file is damaged or of another version ({e}); measure again") from None


def _rate(number: Any) -> float:
    rate = float(number)
    if not 0 < rate < float("inf"):
        raise ValueError(f"a rate of {number}")
    return rate


def thread_counts(most: int) -> list[int]:
    """The numbers of threads that a table shows: powers of two below `most`, and `most`."""
    return [*(1 << i for i in range(most.bit_length()) if 1 << i < most), most]


def limits(threads: Iterable[int], *, again: bool = False, path: str | os.PathLike | None = None,
           machine: Machine | None = None,
           tell: Callable[[float, str], None] = lambda share, what: None) -> Limits:
    """The limits of this host for some numbers of threads; what is not known yet, of a unit that older versions had no
    probe for too, is measured and kept.

    `again`: measure anyway, and keep the better figure of old and new. `path`: the file (default: beside the profile
    store). `machine`: what offers the native probes. Raises ValueError when the threads are not to be had. A file that
    cannot be read is replaced, one that cannot be written is passed over: the figures then last as long as the process.
    Measuring takes about half a minute per number of threads; `tell`: called with (0..1, text).
    """
    from .fingerprint import this_host
    from .native import native
    machine = cast(Machine, native()) if machine is None else machine
    here = this_host().id
    file = default_path(here) if path is None else Path(path)
    known = _read(file, here)
    probes = {p["name"] for p in machine.limit_probes() if p["kind"] == "peak"}
    wanted = [n for n in dict.fromkeys(threads)
              if again or n not in known or known[n].get("quick") or not probes <= set(known[n]["peaks"])]
    for i, n in enumerate(wanted):
        what, share = f"limits of {counted(n, 'thread')}", part(tell, i / len(wanted), (i + 1) / len(wanted))
        known[n] = _better(known.get(n), measure(machine, n, _named(share, what)))
    result = Limits(here, _caches(machine), known)
    if wanted:
        _write(file, result)
    return result


def quickly(threads: int, *, path: str | os.PathLike | None = None, machine: Machine | None = None) -> Limits:
    """The limits of this host for a number of threads as far as estimates need them: those of the file, or else what a fraction
    of a second tells, which is kept there until `limits` measures better. Raises ValueError when the threads are not to be had.
    """
    from .fingerprint import this_host
    from .native import native
    machine = cast(Machine, native()) if machine is None else machine
    here = this_host().id
    file = default_path(here) if path is None else Path(path)
    known = _read(file, here)
    if threads in known:
        return Limits(here, _caches(machine), known)
    known[threads] = {**measure(machine, threads, effort=QUICK), "quick": True}
    result = Limits(here, _caches(machine), known)
    _write(file, result)
    return result


def assumed(cpu: Mapping[str, Any], threads: int) -> Limits:
    """Limits by the description of a processor (`cpu_info`) alone, for where nothing can be measured: two units of the widest
    vectors per core, at 2.5 GHz, and common bandwidths."""
    tiers = set(cpu["used"])
    lanes = 16 if any(t.startswith(("avx512", "vnni", "bf16", "fp16", "amx")) for t in tiers) else 8 if "avx2" in tiers else 4
    hertz, peak = 2.5e9, 2 * 2 * lanes * 2.5e9 * threads
    widths = {"L1": 6 * lanes, "L2": 2 * lanes, "L3": 8}
    reads = {level: width * hertz * threads for level, width in widths.items()} | {"memory": 12e9 * min(threads, 2)}
    peaks = {"assumed": {"dtype": "f32", "per_second": peak}}
    return Limits("assumed", {"L1": int(cpu["l1d"]), "L2": int(cpu["l2"]), "L3": int(cpu["l3"])},
                  {threads: {"peaks": peaks, "reads": reads, "barrier_ns": 500.0, "quick": True}})


def _named(tell: Callable[[float, str], None], what: str) -> Callable[[float], None]:
    """A callback that says the share that is done of one thing, by its name."""
    return lambda share: tell(share, what)


def default_path(host: str) -> Path:
    """File of a host's limits."""
    from ..files.home import home
    return home() / f"limits-{host}.json"


def _caches(machine: Machine) -> dict[str, int]:
    cpu = machine.cpu_info()
    return {"L1": int(cpu["l1d"]), "L2": int(cpu["l2"]), "L3": int(cpu["l3"])}


def _read(file: Path, host: str) -> dict[int, Mapping[str, Any]]:
    try:
        kept = Limits.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, ProfileError):
        return {}
    return dict(kept.measured) if kept.host == host else {}


def _write(file: Path, result: Limits) -> None:
    from ..files.model import atomic_writer
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_writer(file) as f:
            f.write((json.dumps(result.to_json(), indent=1) + "\n").encode())


def _better(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> Mapping[str, Any]:
    """The better of two measurements, figure by figure."""
    if old is None:
        return new
    peaks = {k: max((p, old["peaks"].get(k, p)), key=lambda x: x["per_second"]) for k, p in new["peaks"].items()}
    reads = {x: max(old["reads"][x], new["reads"][x]) for x in LEVELS}
    return {"peaks": peaks, "reads": reads, "barrier_ns": min(old["barrier_ns"], new["barrier_ns"])}


# ---- measuring ------------------------------------------------------------------------------------------------------

def measure(machine: Machine, threads: int, tell: Callable[[float], None] = lambda share: None,
            effort: Effort = THOROUGH) -> dict[str, Any]:
    """One entry of `Limits.measured`. `tell`: called with the share that is done, after each probe."""
    found: Mapping[str, Any] | None = None
    probes = machine.limit_probes()
    readers = sum(p["kind"] == "read" for p in probes)
    whole = effort.passes * (len(probes) - readers + readers * (len(LEVELS) - 1 + MEMORY_WEIGHT))
    done = 0

    def step(weight: int) -> None:
        nonlocal done
        done += weight
        tell(done / whole)
    tell(0.0)
    for _ in range(effort.passes):
        found = _better(found, _measure_once(machine, probes, threads, step, effort))
    assert found is not None
    return dict(found)


def _measure_once(machine: Machine, probes: list[dict[str, Any]], threads: int, step: Callable[[int], None],
                  effort: Effort) -> dict[str, Any]:
    """One pass over all probes; `step` is called after each with its weight."""
    peaks = {p["name"]: {"dtype": p["dtype"], "per_second": _peak(machine, p, threads, step, effort)}
             for p in probes if p["kind"] == "peak"}
    readers = [p["name"] for p in probes if p["kind"] == "read"]
    sizes = working_sets(_caches(machine), threads, effort.memory_bytes)
    reads = {level: max(_bandwidth(machine, name, level, sizes[level], threads, step, effort) for name in readers)
             for level in LEVELS}
    # A smaller cache is never slower; where a level cannot be told from the next one, noise must not say so.
    for nearer, farther in zip(LEVELS[-2::-1], LEVELS[::-1]):
        reads[nearer] = max(reads[nearer], reads[farther])
    barriers, trials = effort.barriers, max(effort.trials, BARRIER_TRIALS)
    return {"peaks": peaks, "reads": reads, "barrier_ns": machine.time_barriers(threads, barriers, trials) / barriers}


def working_sets(caches: Mapping[str, int], threads: int, most: int = THOROUGH.memory_bytes) -> dict[str, int]:
    """Bytes per thread that lie in each level: half of a core's own caches, a quarter of L3 (which is shared, with other
    machines on the same processor too), and eight times L3, but no more than `most` in all."""
    sizes = {"L1": caches["L1"] // 2, "L2": max(caches["L2"] // 2, 2 * caches["L1"]),
             "L3": max(caches["L3"] // 4 // threads, min(2 * caches["L2"], caches["L3"] // 2)),
             "memory": min(max(8 * caches["L3"], 256 << 20), most) // threads}
    return {level: max(_PAGE, size // _PAGE * _PAGE) for level, size in sizes.items()}


def _count(once: Callable[[int], int], trial_ns: int) -> int:
    """How often something is repeated so that a trial lasts so many nanoseconds; once(n): those of n times."""
    n = 1
    while (ns := once(n)) < trial_ns // 8 and n < 1 << 40:
        n *= 8
    return max(1, round(n * trial_ns / max(ns, 1)))


def _peak(machine: Machine, probe: Mapping[str, Any], threads: int, step: Callable[[int], None], effort: Effort) -> float:
    rounds = _count(lambda n: machine.time_peak(probe["name"], threads, n, 1), effort.trial_ns)
    ns = machine.time_peak(probe["name"], threads, rounds, effort.trials)
    step(1)
    return probe["operations"] * rounds * threads / ns * 1e9


def _bandwidth(machine: Machine, name: str, level: str, size: int, threads: int, step: Callable[[int], None],
               effort: Effort) -> float:
    if level == "memory":
        times, trials = 1, effort.memory_trials
    else:
        times, trials = _count(lambda n: machine.time_read(name, size, threads, n, 1), effort.trial_ns), effort.trials
    ns = machine.time_read(name, size, threads, times, trials)
    step(MEMORY_WEIGHT if level == "memory" else 1)
    return size * times * threads / ns * 1e9

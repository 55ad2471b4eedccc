"""The benchmark: engines interleaved in one process, on the same data, with outputs compared first.

A round asks every engine once, in an order drawn anew for each round from a fixed seed. A turn is: wait until the threads
of the engine before have gone to sleep (`timing.settle`), one call that does not count (it wakes the engine's own threads
and brings its weights back into the caches), then the timed calls. So no engine pays for another's spinning threads, and
all are compared in the state of repeated calls. Ratios are only formed within one run.
"""

from __future__ import annotations

import platform
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..net.accuracy import common_class
from ..runtime.overlap import sentence
from ..timer import SYSTEM, Timer
from ..words import counted
from .agreement import Agreement, compare, same_class, worst
from .peers import Declined, Peer, Task, peers, prepared
from .tables import Column, Table, show_error, show_percent, show_time, time_column
from .timing import Load, Times, load_average, settle

SEED = 20260
#: Largest difference of an f32 engine's outputs over the largest output, from which it computes something else.
EXACT = 1e-3
#: Rounds of a measurement that ends by the clock.
FEWEST_ROUNDS, MOST_ROUNDS = 3, 1000


@dataclass
class Entry:
    """One engine of a run. `call`: runs once, None where it is out (`reason`). `prepare_s`: loading, first call included.
    `top1`: rows of scores [N,C] whose best class is the reference's, and all rows. `overlap`: which of its steps ran at the
    same time, where it crosses devices. `blocks`: how often each block ran in a call."""

    name: str
    call: Callable[[], Sequence[Any]] | None = None
    reason: str = ""
    accuracy: str = "f32"
    version: str = ""
    prepare_s: float | None = None
    agreement: Agreement | None = None
    top1: tuple[int, int] | None = None
    overlap: dict[str, Any] | None = None
    blocks: dict[str, int] | None = None
    samples: list[float] = field(default_factory=list)

    @property
    def times(self) -> Times | None:
        return Times(tuple(self.samples)) if self.samples else None


def prepare_peer(peer: Peer, task: Task, timer: Timer = SYSTEM) -> Entry:
    """Load a peer; whatever goes wrong becomes its reason."""
    entry = Entry(peer.name, None, peer.missing(), peer.accuracy, peer.version())
    if entry.reason:
        return entry
    begin = timer.now()
    try:
        entry.call = prepared(peer, task)
    except Declined as e:
        entry.reason = str(e)
    entry.prepare_s = timer.now() - begin
    return entry


def select(names: Sequence[str], accuracy: str = "f32") -> list[Peer]:
    """Peers by name; `all` means every one of an accuracy class. Raises KeyError with the name of an unknown one."""
    known = peers()
    chosen: dict[str, Peer] = {}
    for name in names:
        if name == "all":
            chosen.update((n, p) for n, p in known.items() if p.accuracy == common_class(accuracy))
        else:
            chosen[name] = known[name]
    return list(chosen.values())


def reference(entries: Sequence[Entry]) -> Entry | None:
    """The engine that the others are compared with: the first one in f32 that runs, else the first that runs."""
    running = [e for e in entries if e.call is not None]
    return next((e for e in running if e.accuracy == "f32"), running[0] if running else None)


def check(entries: Sequence[Entry]) -> None:
    """Fill every engine's agreement with the reference, on the shared inputs."""
    first, wanted = reference(entries), []
    if first is not None and first.call is not None:
        wanted = [_copy(y) for y in first.call()]
    for entry in entries:
        if entry.call is None:
            continue
        outputs = [_copy(y) for y in entry.call()]
        same = len(outputs) == len(wanted)
        found = [pair for pair in map(same_class, outputs, wanted) if pair]
        entry.top1 = (sum(a for a, _ in found), sum(n for _, n in found)) if found and same else None
        entry.agreement = worst(map(compare, outputs, wanted)) if same else Agreement(float("inf"), float("inf"))


def _copy(y: Any) -> Any:
    import numpy as np
    return np.array(y)


def measure(entries: Sequence[Entry], rounds: int, calls: int = 2, seed: int = SEED,
            tell: Callable[[float, str], None] = lambda share, what: None, timer: Timer = SYSTEM, *,
            seconds: float | None = None, before: Callable[[Entry], None] = lambda entry: None) -> int:
    """Time all engines that run, interleaved; samples in nanoseconds are appended to the entries. Gives the rounds.

    `seconds`: no round begins later, in the place of `rounds`; there are three at least. `before`: called at every turn.
    """
    running = [e for e in entries if e.call is not None]
    order = random.Random(seed)
    least, most = (rounds, rounds) if seconds is None else (FEWEST_ROUNDS, MOST_ROUNDS)
    start, done = timer.now(), 0
    while done < least or (done < most and seconds is not None and timer.now() - start < seconds):
        order.shuffle(running)
        for entry in running:
            share, of = (done / rounds, f" of {rounds}") if seconds is None else ((timer.now() - start) / (seconds or 1), "")
            tell(min(1.0, share), f"round {done + 1}{of}: {entry.name}")
            before(entry)
            settle(timer=timer)
            call = entry.call
            assert call is not None
            call()
            for _ in range(calls):
                begin = timer.ns()
                call()
                entry.samples.append(float(timer.ns() - begin))
        done += 1
    settle(timer=timer)
    return done


def host_facts() -> dict[str, Any]:
    """What a reader must know about the machine."""
    from ..profiling.protocol import this_host
    from ..runtime.devices import cpu_info
    from ..runtime.native import native
    cpu = cpu_info()
    return {"cpu": cpu["model"], "fingerprint": this_host().id, "tiers": cpu["used"], "cap": cpu["cap"],
            "features": cpu["features"], "usable_processors": native().usable_processors(), "system": platform.system(),
            "kernel": platform.release(), "python": platform.python_version(), "load_before": load_average()}


def report(entries: Sequence[Entry], facts: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """The result as plain data. `ratio_minimum`, `ratio_median`: time of an engine over that of the first one."""
    first = next((e for e in entries if e.times), None)
    rows = []
    for e in entries:
        row: dict[str, Any] = {"engine": e.name, "accuracy": e.accuracy, "version": e.version, "reason": e.reason,
                               "prepare_s": e.prepare_s}
        if e.times:
            row.update(e.times.to_json())
            if first is not None and first.times:
                row["ratio_minimum"] = e.times.minimum / first.times.minimum
                row["ratio_median"] = e.times.median / first.times.median
        if e.overlap:
            row["overlap"] = e.overlap
        if e.blocks:
            row["blocks"] = e.blocks
        if e.agreement:
            row["difference"], row["difference_rms"] = e.agreement.largest, e.agreement.rms
            row["top1"] = e.top1
        rows.append(row)
    return {"host": dict(facts), "run": dict(run), "engines": rows}


def table(result: Mapping[str, Any]) -> Table:
    """The report as a table, fastest first."""
    run, host = result["run"], result["host"]
    rows = sorted(result["engines"], key=lambda r: r.get("minimum_ns", float("inf")))
    rows = [{**r, "emphasis": "dim" if r["reason"] else None} for r in rows]

    def ratio(x: Any) -> str:
        return "" if x is None else f"{x:.2f}"
    columns = [Column("engine", "engine"), Column("version", "version", fold=5), Column("accuracy", "class", fold=2),
               time_column("minimum_ns", "minimum"), time_column("median_ns", "median"),
               Column("spread", "spread", lambda x: show_percent(x).lstrip("+"), True, fold=4),
               Column("ratio_minimum", "ratio min", ratio, True), Column("ratio_median", "ratio med", ratio, True),
               Column("difference", "difference", show_error, True), Column("difference_rms", "RMS", show_error, True, fold=3),
               Column("top1", "top 1", lambda pair: "" if pair is None else f"{pair[0]} of {pair[1]}", True),
               Column("prepare_s", "load", lambda s: "" if s is None else f"{s:.2f} s", True, fold=6),
               Column("reason", "not run because")]
    shapes = ", ".join(f"{n} {'x'.join(map(str, s))}" for n, s in run["shapes"].items())
    beside = [f"{r['engine']}: {sentence(r['overlap'], show_time)}" for r in rows if r.get("overlap")]
    beside += [f"{r['engine']}: runs of blocks in a call: {', '.join(f'{name} {n}' for name, n in r['blocks'].items())}"
               for r in rows if r.get("blocks")]
    return Table(columns, rows, f"{run['model']}   {shapes}   {counted(run['threads'], 'thread')}", [
        f"{counted(run['rounds'], 'round')} of {counted(run['calls'], 'call')}, interleaved; ratio: time over that of "
        f"{run['first']}; difference: largest, over the largest output of {run.get('reference', run['first'])}; "
        "spread: interquartile range over median",
        f"{host['cpu']}, {counted(host['usable_processors'], 'processor')}, tiers {' '.join(host['tiers'])}"
        + (f" (cap {host['cap']})" if host["cap"] else "")
        + f"; {Load(host['load_before'], host['load_after'])}", *beside])

"""python -m pathweave.testing.fuzz: hostile cases by the thousand, or a corpus file once more."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...words import counted

#: Where findings are kept and cases start from, where the command is given in a checkout.
CORPUS = Path("tests/fuzz/corpus")


def _count(text: str) -> int:
    """A number of at least 1, as an option has it: a run of no case would pass without a word."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {text}")
    return number


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pathweave.testing.fuzz", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--cases", type=_count, default=3000, metavar="N", help="shared out among the targets (default 3000; "
                        "120000 has 20,000 of pw_bytes and 100,000 of the others)")
    parser.add_argument("--target", action="append", default=[], metavar="NAME", help="only this one, may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same cases (default 0)")
    parser.add_argument("--jobs", type=_count, help="worker processes (default: the processors that may be used)")
    parser.add_argument("--corpus", type=Path, metavar="FOLDER", help=f"where findings are kept, and further cases start from "
                        f"(default {CORPUS} where it exists)")
    parser.add_argument("--replay", type=Path, nargs="+", metavar="FILE", help="only these files of a corpus")
    parser.add_argument("--plugin", type=Path, action="append", default=[], metavar="FILE.py",
                        help="a file with further targets")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument("--list", action="store_true", help="the targets and their weights")
    return parser.parse_args(argv)


def shares(weights: Mapping[str, float], count: int) -> dict[str, int]:
    """How many of `count` cases each target gets."""
    total, given, so_far, before = sum(weights.values()), {}, 0.0, 0
    for name, weight in weights.items():
        so_far += weight
        given[name] = round(count * so_far / total) - before
        before += given[name]
    return given


def mixed(counts: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """The cases of all targets, evenly mixed."""
    order = sorted(((i + 0.5) / n, name, i) for name, n in counts.items() for i in range(n))
    yield from ({"target": name, "index": i} for _, name, i in order)


def main(argv: list[str] | None = None) -> int:
    """Exit code 0: no finding, 1: findings, 2: bad use, 130 and 143: interrupted."""
    from ...progress import part, progress_bar
    from .driver import Driver
    from .target import all_targets, target_of
    arguments = _arguments(argv)
    files = tuple(map(str, arguments.plugin))
    targets = all_targets(files)
    names = arguments.target or ([target_of(p) for p in arguments.replay] if arguments.replay else list(targets))
    unknown = [n for n in names if n not in targets]
    if unknown:
        print(f"fuzz: there is no target {', '.join(unknown)}; the targets are {', '.join(targets)}", file=sys.stderr)
        return 2
    if missing := [str(p) for p in arguments.replay or () if not p.is_file()]:
        print(f"fuzz: there is no file {', '.join(missing)}", file=sys.stderr)
        return 2
    weights = {n: targets[n].weight for n in dict.fromkeys(names)}
    if arguments.list:
        for name, weight in weights.items():
            print(f"{name:14s} {weight:5.1f}  {(sys.modules[type(targets[name]).__module__].__doc__ or '').splitlines()[0]}")
        return 0
    if arguments.replay:
        cases = [{"target": target_of(p), "file": str(p.absolute())} for p in arguments.replay]
    else:
        cases = list(mixed(shares(weights, arguments.cases)))
    corpus = arguments.corpus or (CORPUS if CORPUS.is_dir() else None)
    jobs = min(arguments.jobs or len(os.sched_getaffinity(0)), max(1, len(cases)))
    interrupted = 0
    with _terminated_as_interrupted(), Driver(weights, jobs, corpus, files, arguments.seed) as driver, \
            progress_bar(not arguments.json, "fuzzing") as tell:
        cased = part(tell, 0.0, 0.9)
        try:
            driver.run(cases,
                       lambda done: cased(done / len(cases), f"{done} of {len(cases)}, {len(driver.findings)} findings"))
            if not arguments.replay:
                driver.shrink(part(tell, 0.9, 1.0))
        except KeyboardInterrupt as e:
            interrupted = 143 if isinstance(e, _Terminated) else 130
    (_print_json if arguments.json else _print)(driver, arguments)
    if interrupted:
        print("fuzz: interrupted; the findings so far are those above", file=sys.stderr)
        return interrupted
    return 1 if driver.findings else 0


class _Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, as a time limit sends it, ends the command as Ctrl-C does: its folder lies in memory, and would stay there."""
    def end(*_: Any) -> None:
        raise _Terminated
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _repeat(found: Any, arguments: argparse.Namespace) -> str:
    plugins = "".join(f" --plugin {p}" for p in arguments.plugin)
    return f"python -m pathweave.testing.fuzz{plugins} --replay {found.files[0]}" if found.files else found.first


def _print_json(driver: Any, arguments: argparse.Namespace) -> None:
    print(json.dumps({"seed": arguments.seed, "targets": {n: {**vars(t), "refused": dict(t.refused)}
                                                        for n, t in driver.tallies.items()},
                      "findings": [{**vars(f), "repeat": _repeat(f, arguments)} for f in driver.findings.values()]}, indent=1))


def _print(driver: Any, arguments: argparse.Namespace) -> None:
    for found in driver.findings.values():
        said = "" if found.alone is None else ", alone too" if found.alone else ", but not alone: cases before it matter"
        print(f"\nFOUND {found.kind} {found.error} in {found.place} by {found.target}, "
              f"{found.count} times{said} ({found.first})\n    {_repeat(found, arguments)}")
        print("\n".join(f"    {line}" for line in found.text.splitlines()[-14:]))
    rows = [("target", "cases", "accepted", "findings", "cases/s", "CPU s", "MB", "refused")]
    for name, t in driver.tallies.items():
        refused = ", ".join(f"{n} {e}" for e, n in t.refused.most_common())
        rows.append((name, t.cases, t.accepted, t.findings, f"{t.cases / t.seconds:.0f}" if t.seconds else "",
                     f"{t.largest_cpu:.2f}", f"{t.largest_memory / 1e6:.0f}", refused))
    widths = [max(len(str(r[i])) for r in rows) for i in range(7)]
    print()
    for row in rows:
        print("  ".join([str(row[0]).ljust(widths[0]), *(str(c).rjust(w) for c, w in zip(row[1:7], widths[1:])), str(row[7])]))
    print(f"{counted(sum(t.cases for t in driver.tallies.values()), 'case')}, {counted(len(driver.findings), 'finding')}")


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""The speed report: time of the best peer / ours, for the networks of nets.toml and every accuracy class.

    python bench/peers/run.py [--nets FOLDER] [--net resnet50 ...] [--class f32 ...] [--batch N ...] [--threads N ...]
                              [--against ENGINE ...] [--rounds N] [--cap TIER] [--memory] [--uniform] [--roof]
    python bench/peers/run.py --missing [--minutes 30]        what results/ lacks of this machine's tiers, with roofs

FOLDER holds the ONNX files (default bench/nets; `bench/models.py` makes those that are missing, where torch is installed).
Every cell of the table is one process in which ours and all peers of the class take turns; we are tuned first, which takes
seconds where the profile store knows the problems. Writes one pair of files for each class, results/DATE-CPU-TIER-CLASS.json
and .md, prints the latter, and names the files. Exit code 1 when outputs differ or a run fails; what this machine or build
cannot run is no failure, and is printed with its reason.

--missing runs the classes for which results/ has no table of a machine with the tiers of this one, batch 1, 2 threads. It
begins no further cell after --minutes; a later call goes on with the classes that are not written yet.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = None

BENCH = Path(__file__).resolve().parents[1]


def nets() -> dict[str, dict]:
    """The entries of nets.toml."""
    if tomllib is None:
        raise SystemExit("bench/peers/run.py needs Python 3.11 or later (tomllib)")
    return tomllib.loads((BENCH / "nets.toml").read_text(encoding="utf-8"))


def complete(folder: Path, wanted: dict[str, dict]) -> dict[str, dict]:
    """The wanted networks that are in the folder, made there first where that is possible."""
    missing = [name for name, net in wanted.items() if not (folder / net["file"]).exists()]
    if missing:
        subprocess.run([sys.executable, str(BENCH / "models.py"), str(folder), *missing], check=False,
                       stdout=sys.stderr.fileno())
    for name in missing:
        if not (folder / wanted[name]["file"]).exists():
            print(f"{name}: {folder / wanted[name]['file']} is missing, and bench/models.py cannot make it here; passed "
                  "over", file=sys.stderr)
    return {name: net for name, net in wanted.items() if (folder / net["file"]).exists()}


def run(path: Path, name: str, net: dict, setting: tuple[str, int, int], arguments: argparse.Namespace) -> dict | None:
    """Result of one network in one setting (class, batch, threads); None where the run fails or outputs differ."""
    accuracy, batch, threads = setting
    shape = "x".join(map(str, [batch, *net["shape"]]))
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "result.json"
        command = [sys.executable, "-m", "pathweave.cli", "bench", str(path), "--tune", "--accuracy", accuracy,
                   "--threads", str(threads), "--shape", f"{net['input']}={shape}", "--rounds", str(arguments.rounds),
                   "--out", str(out)]
        options = [f"--{option}" for option in ("memory", "uniform") if getattr(arguments, option)]
        for peer in arguments.against:
            options += ["--against", peer]
        # OpenMP, in PyTorch and ncnn, asks the environment before any option can be set.
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        if arguments.cap:
            environment["PATHWEAVE_ISA"] = arguments.cap
        code = subprocess.run(command + options, check=False, stdout=sys.stderr.fileno(), env=environment).returncode
        result = _read(out)
        if result is None:
            print(f"{name}, {accuracy}, batch {batch}, {threads} thread{'s' * (threads > 1)}: exit code {code}",
                  file=sys.stderr)
            return None
        result["run"]["model"] = path.name  # where it lies on this machine is nobody else's business
        if arguments.roof:
            from pathweave.report.roof import summary
            done = subprocess.run([*command, "--roof"], check=False, stdout=sys.stderr.fileno(), env=environment)
            code, roof = code or done.returncode, _read(out)
            result["roof"] = None if roof is None else summary(roof)
        return {"net": name, "batch": batch, "failed": code != 0, **result}


def _read(out: Path) -> dict | None:
    """What a command wrote there, which is then gone; None where it wrote nothing."""
    if not out.exists():
        return None
    result = json.loads(out.read_text(encoding="utf-8"))
    out.unlink()
    return result


def write(results: list[dict[str, Any]], accuracy: str, folder: Path) -> tuple[str, Path]:
    """Keep the results of a class as JSON and Markdown; the Markdown, and the path without its ending."""
    from pathweave.report.speed import keep, markdown
    text = markdown(results, results[0]["host"])
    return text, keep(results, text, [accuracy], folder)


def lacking(folder: Path, tiers: list[str], classes: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Class -> the networks for which no file of a folder has results, batch 1, of a machine with exactly these tiers."""
    there = set()
    for path in folder.glob("*.json"):
        for result in json.loads(path.read_text(encoding="utf-8")):
            if result["host"]["tiers"] == tiers and not result["host"].get("cap") and result["batch"] == 1:
                there.add((result["run"]["accuracy"], result["net"]))
    found = {c: [name for name in names if (c, name) not in there] for c in classes}
    return {c: wanted for c, wanted in found.items() if wanted}


def parsed(known: Sequence[str]) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """The command line and what was given."""
    from pathweave.net.accuracy import COMMON
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=Path, default=BENCH / "nets")
    parser.add_argument("--net", action="append", default=[], choices=known)
    parser.add_argument("--class", dest="classes", action="append", default=[], choices=COMMON)
    parser.add_argument("--batch", type=int, action="append", default=[])
    parser.add_argument("--threads", type=int, action="append", default=[])
    parser.add_argument("--against", action="append", default=[], help="default: every engine of the class")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cap", help="PATHWEAVE_ISA of our runs")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--uniform", action="store_true", help="also our best routes of every single class")
    parser.add_argument("--roof", action="store_true", help="also each step against the machine's limits")
    parser.add_argument("--missing", action="store_true", help="the classes that results/ lacks for this machine's tiers")
    parser.add_argument("--minutes", type=float, default=30, help="of --missing: begin nothing new after so many minutes")
    arguments = parser.parse_args()
    arguments.against = arguments.against or ["all"]
    arguments.classes = arguments.classes or list(COMMON)
    return parser, arguments


def main() -> int:
    known = nets()
    parser, arguments = parsed(list(known))
    folder, until = BENCH / "results", float("inf")
    work = {c: arguments.net or list(known) for c in arguments.classes}
    if arguments.missing:
        if arguments.cap or arguments.batch or arguments.threads or arguments.net:
            parser.error("--missing runs every network, batch 1, 2 threads, without a cap; leave those options out")
        arguments.roof, until = True, time.monotonic() + 60 * arguments.minutes
        tiers = this_tiers()
        work = lacking(folder, tiers, list(work), list(known))
        if not work:
            print(f"{folder} has a table of every class for tiers {' '.join(tiers)}; nothing is missing")
            return 0
        print(f"missing for tiers {' '.join(tiers)}: {', '.join(work)}", file=sys.stderr)
    there = complete(arguments.nets, {name: known[name] for name in known if any(name in names for names in work.values())})
    failed, written = 0, []
    for accuracy, names in work.items():
        results = []
        cells = [(name, batch, threads) for name in names if name in there for batch in arguments.batch or [1]
                 for threads in arguments.threads or [2]]
        for name, batch, threads in cells:
            if time.monotonic() > until:
                print(f"{accuracy}, {name}: not begun, {arguments.minutes:g} minutes are over", file=sys.stderr)
                continue
            result = run(arguments.nets / there[name]["file"], name, there[name], (accuracy, batch, threads), arguments)
            failed += result is None or result["failed"]
            results += [] if result is None else [result]
        if results:
            text, stem = write(results, accuracy, folder)
            print(text)
            written += [stem.with_suffix(".json"), stem.with_suffix(".md")]
    if written:
        print("written; look at them, then: git add " + " ".join(str(p.relative_to(BENCH.parent)) for p in written))
    return 1 if failed or not written else 0


def this_tiers() -> list[str]:
    """The instruction sets of this machine that its results would name."""
    from pathweave.runtime.devices import cpu_info
    return cpu_info()["used"]


if __name__ == "__main__":
    sys.exit(main())

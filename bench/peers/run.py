#!/usr/bin/env python3
"""The speed report: time of the best peer / ours, for the networks of nets.toml and every accuracy class.

    python bench/peers/run.py [--nets FOLDER] [--net resnet50 ...] [--class f32 ...] [--batch N ...] [--threads N ...]
                              [--against ENGINE ...] [--rounds N] [--cap TIER] [--memory] [--uniform]

FOLDER holds the ONNX files (default bench/nets; `bench/models.py` makes those that are missing, where torch is installed).
Every cell of the table is one process in which ours and all peers of the class take turns; we are tuned first, which takes
seconds where the profile store knows the problems. Writes results/DATE.json and .md, and prints the latter. Exit code 1 when
outputs differ or a run fails; what this machine or build cannot run is no failure, and is printed with its reason.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
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
        command += [f"--{option}" for option in ("memory", "uniform") if getattr(arguments, option)]
        for peer in arguments.against:
            command += ["--against", peer]
        # OpenMP, in PyTorch and ncnn, asks the environment before any option can be set.
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        if arguments.cap:
            environment["PATHWEAVE_ISA"] = arguments.cap
        done = subprocess.run(command, check=False, stdout=sys.stderr.fileno(), env=environment)
        if not out.exists():
            print(f"{name}, {accuracy}, batch {batch}, {threads} threads: exit code {done.returncode}", file=sys.stderr)
            return None
        result = json.loads(out.read_text(encoding="utf-8"))
        result["run"]["model"] = path.name  # where it lies on this machine is nobody else's business
        return {"net": name, "batch": batch, "failed": done.returncode != 0, **result}


def write(results: list[dict[str, Any]]) -> str:
    """Keep the results as JSON and Markdown; the Markdown."""
    from pathweave.report.speed import markdown
    text = markdown(results, results[0]["host"])
    (BENCH / "results").mkdir(exist_ok=True)
    stem = BENCH / "results" / time.strftime("%Y-%m-%d-%H%M%S")
    stem.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    return text


def main() -> int:
    from pathweave.net.accuracy import COMMON
    known = nets()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=Path, default=BENCH / "nets")
    parser.add_argument("--net", action="append", default=[], choices=sorted(known))
    parser.add_argument("--class", dest="classes", action="append", default=[], choices=COMMON)
    parser.add_argument("--batch", type=int, action="append", default=[])
    parser.add_argument("--threads", type=int, action="append", default=[])
    parser.add_argument("--against", action="append", default=[], help="default: every engine of the class")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cap", help="PATHWEAVE_ISA of our runs")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--uniform", action="store_true", help="also our best routes of every single class")
    arguments = parser.parse_args()
    arguments.against = arguments.against or ["all"]
    wanted = {name: net for name, net in known.items() if name in (arguments.net or known)}
    results, failed = [], 0
    for name, net in complete(arguments.nets, wanted).items():
        for accuracy in arguments.classes or COMMON:
            for batch in arguments.batch or [1]:
                for threads in arguments.threads or [2]:
                    result = run(arguments.nets / net["file"], name, net, (accuracy, batch, threads), arguments)
                    failed += result is None or result["failed"]
                    results += [] if result is None else [result]
    if results:
        print(write(results))
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())

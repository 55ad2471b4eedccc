#!/usr/bin/env python3
"""The speed report: `pathweave bench` over the networks of nets.toml, one process per setting, into results/.

    python bench/run.py FOLDER [--net resnet50 ...] [--against onnxruntime ...] [--rounds N] [--batch N] [--threads N]

FOLDER holds the ONNX files. A network that is not there is named and passed over. Every setting is tuned first (which
takes seconds where the profile store knows the problems). Exit code 1 when outputs differ or a run fails.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = None

HERE = Path(__file__).resolve().parent


def nets() -> dict[str, dict]:
    """The entries of nets.toml."""
    if tomllib is None:
        raise SystemExit("bench/run.py needs Python 3.11 or later (tomllib)")
    return tomllib.loads((HERE / "nets.toml").read_text(encoding="utf-8"))


def settings(net: dict, batches: list[int], threads: list[int]):
    """(batch, threads) pairs that are asked for, or those of the entry."""
    for batch in batches or net["batches"]:
        for number in threads or net["threads"]:
            yield batch, number


def run(folder: Path, name: str, net: dict, batch: int, threads: int, arguments: argparse.Namespace) -> dict | None:
    """Result of one setting; None where the run fails or the outputs differ."""
    shape = "x".join(map(str, [batch, *net["shape"]]))
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "result.json"
        command = [sys.executable, "-m", "pathweave.cli", "bench", str(folder / net["file"]), "--tune", "--default",
                   "--memory", "--threads", str(threads), "--shape", f"{net['input']}={shape}", "--rounds",
                   str(arguments.rounds), "--out", str(out)]
        for peer in arguments.against:
            command += ["--against", peer]
        done = subprocess.run(command, check=False)
        if done.returncode or not out.exists():
            print(f"{name}: batch {batch}, {threads} threads: exit code {done.returncode}", file=sys.stderr)
            return None
        return {"net": name, "batch": batch, **json.loads(out.read_text(encoding="utf-8"))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--net", action="append", default=[], choices=sorted(nets()))
    parser.add_argument("--against", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--batch", type=int, action="append", default=[])
    parser.add_argument("--threads", type=int, action="append", default=[])
    arguments = parser.parse_args()
    results, failed = [], 0
    for name, net in nets().items():
        if arguments.net and name not in arguments.net:
            continue
        if not (arguments.folder / net["file"]).exists():
            print(f"{name}: {net['file']} is not in {arguments.folder}; passed over", file=sys.stderr)
            continue
        for batch, threads in settings(net, arguments.batch, arguments.threads):
            result = run(arguments.folder, name, net, batch, threads, arguments)
            failed += result is None
            results += [] if result is None else [result]
    if results:
        (HERE / "results").mkdir(exist_ok=True)
        path = HERE / "results" / time.strftime("%Y-%m-%d-%H%M%S.json")
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"{path.relative_to(HERE.parent)}: {len(results)} results")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())

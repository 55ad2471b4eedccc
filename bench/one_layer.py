"""What the benchmarks of single layers share: an ONNX file per shape, timed in turns, results as lines of a file."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def prepared(model: Any, path: Path, against: list[str], threads: int) -> tuple[Any, Any, dict[str, Any], list[Any]]:
    """(model as loaded, bound, inputs, an entry of `report.bench` per engine) of an ONNX model, which is written to `path`.

    Raises SystemExit where an engine does not take it.
    """
    import onnx

    import pathweave as pw
    from pathweave.profiling.protocol import random_inputs
    from pathweave.report import bench
    from pathweave.report.peers import Task
    onnx.save(model, path)
    loaded = pw.load(str(path), threads=threads)
    bound = loaded.bind()
    inputs = random_inputs(bound)
    entries = [bench.prepare_peer(peer, Task(str(path), inputs, tuple(bound.net.outputs), threads))
               for peer in bench.select(against)]
    for e in entries:
        if e.reason:
            raise SystemExit(f"{e.name}: {e.reason}")
    return loaded, bound, inputs, entries


def entry(name: str, loaded: Any, bound: Any, route: Any, inputs: dict[str, Any], threads: int, version: str = "") -> Any:
    """One route of ours."""
    from pathweave.report.bench import Entry
    session = loaded.plan(route, bound.shapes, threads).session()
    return Entry(name, lambda: list(session.run(inputs).values()), version=version)


def fastest(entries: list[Any], rounds: int = 5) -> Any:
    """The one with the least minimum; those that take three times as long as another are out after a call."""
    def seconds(e: Any) -> float:
        begin = time.perf_counter()
        e.call()
        return time.perf_counter() - begin
    least = {}
    for e in entries:
        e.call()
        least[e.name] = seconds(e)
    limit = 3 * min(least.values())
    left = [e for e in entries if least[e.name] <= limit]
    for _ in range(rounds):
        for e in left:
            e.call()
            least[e.name] = min(least[e.name], seconds(e), seconds(e))
    return min(left, key=lambda e: least[e.name])


def wanted(number: int, name: str, only: list[str]) -> bool:
    """Whether one of the words names a shape: its number, a range of numbers, or a part of its name."""
    for word in only:
        first, _, last = word.partition("-")
        if first.isdigit() and (last or first).isdigit():
            if int(first) <= number <= int(last or first):
                return True
        elif word in name:
            return True
    return not only


def read(path: Path | None) -> list[dict[str, Any]]:
    """The results in a file, none where there is none."""
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def in_parts(shapes: Iterable[Any], measure: Callable[[Any, Path], dict[str, Any]],
             said: Callable[[Any, dict[str, Any]], list[str]], path: Path | None, seconds: float, agreed: str) -> int:
    """Measure one shape after the other, and begin none after `seconds`; the exit code, 1 where something is wrong.

    `said` prints a result, and gives what is wrong with it. Results become lines of the file at `path`. `agreed`: what is
    printed in the end where nothing is wrong.
    """
    end = time.perf_counter() + seconds
    wrong: list[str] = []
    left = 0
    with tempfile.TemporaryDirectory() as folder:
        for shape in shapes:
            if time.perf_counter() > end:
                left += 1
                continue
            result = measure(shape, Path(folder) / "layer.onnx")
            wrong += said(shape, result)
            if path:
                with path.open("a", encoding="utf-8") as f:
                    f.write(json.dumps(result) + "\n")
    print("\n".join(wrong) or agreed)
    if left:
        print(f"{left} shapes left for another run")
    return 1 if wrong else 0

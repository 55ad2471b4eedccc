#!/usr/bin/env python3
"""The main job on the shipped network: import, profile, tune, race, run on held-out images of handwritten digits.

    python examples/demo.py [--threads N] [--budget SECONDS]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import pathweave as pw
from pathweave.report.bench import Entry, measure, prepare_peer
from pathweave.report.peers import Task, peers
from pathweave.report.routes import route_table
from pathweave.report.tables import Column, Table, show_time, time_column
from pathweave.report.timing import time_calls, time_steps
from pathweave.runtime.devices import cpu_info

DIGITS = Path(__file__).resolve().parent / "digits"
PIXELS = {"preprocess": [{"type": "source", "shape": [1, 1, 8, 8], "format": "gray", "resize_mode": "bilinear"},
                         {"type": "madd", "scale": 1 / 255, "shift": 0.0}, {"type": "sink", "name": "x"}],
          "postprocess": [{"type": "softmax", "axis": -1},
                          {"type": "topk", "k": 3, "labels": [f"digit {d}" for d in range(10)]}]}


def heading(text: str) -> None:
    """A section of the output."""
    if sys.stdout.isatty():
        print(f"\n\033[1;36m{text}\033[0m")
    else:
        print(f"\n{text}\n{'-' * len(text)}")


def show(table: Table) -> None:
    """A table, with rich on terminals."""
    if sys.stdout.isatty():
        from rich.console import Console
        Console(width=None if os.get_terminal_size().columns >= 150 else 180, highlight=False).print(table.rich())
    else:
        print(table.text())


def accuracy(model, images, labels) -> float:
    """Share of images whose largest output is the label."""
    return float(np.mean(np.argmax(model(images), axis=1) == labels))


def race(tuned: pw.Route, default: pw.Route, model: pw.Model, x: np.ndarray, threads: int) -> list[dict]:
    """Both routes, and ONNX Runtime when it is installed, interleaved."""
    entries = []
    for name, route in (("pathweave, tuned route", tuned), ("pathweave, default route", default)):
        session = model.plan(route, {"x": x.shape}, threads).session()
        entries.append(Entry(name, lambda session=session: list(session.run({"x": x}).values())))
    other = prepare_peer(peers()["onnxruntime"], Task(str(DIGITS / "digits.onnx"), {"x": x}, ("logits",), threads))
    other.name = f"ONNX Runtime {other.version}".strip()
    entries.append(other)
    measure(entries, rounds=40)
    first = entries[0].times
    return [{"engine": e.name, "minimum_ns": e.times and e.times.minimum, "median_ns": e.times and e.times.median,
             "ratio": e.times and first and e.times.minimum / first.minimum, "note": e.reason} for e in entries]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=None, help="default: the processors this process may use")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds for measuring (default 10)")
    arguments = parser.parse_args()

    heading("The machine")
    cpu = cpu_info()
    model = pw.load(DIGITS / "digits.onnx", threads=arguments.threads)
    print(f"{cpu['model'] or 'unknown processor'}; {model.threads} threads; instruction sets {', '.join(cpu['used'])}")

    heading("The network")
    print(f"{model!r}\nfrom examples/digits/digits.onnx, trained on handwritten digits")
    held_out = np.load(DIGITS / "heldout.npz")
    images, labels = held_out["images"], held_out["labels"]
    x = np.ascontiguousarray(images[:1])
    before = accuracy(model, images, labels)
    default = model.route({"x": x.shape})

    heading("Tuning: measure every routine in place, solve exactly, race the best routes")
    begin = time.perf_counter()
    tuned = pw.tune(DIGITS / "digits.onnx", threads=model.threads, budget_s=arguments.budget)
    seconds = time.perf_counter() - begin
    route = tuned.route({"x": x.shape})
    print(f"done in {seconds:.1f} s: {route.certificate}, predicted {show_time(route.predicted_ns)}, measured in the race "
          f"{show_time(route.measured_ns)}")

    heading("The route")
    plan = tuned.plan(route, {"x": x.shape}, model.threads)
    session = plan.session()
    end_to_end = time_calls(lambda: session.run({"x": x})).median
    show(route_table(plan, time_steps(session, {"x": x}), end_to_end))

    heading("Latency of one image, interleaved in one process")
    show(Table([Column("engine", "engine"), time_column("minimum_ns", "minimum"), time_column("median_ns", "median"),
                Column("ratio", "times ours", lambda r: "" if r is None else f"{r:.2f}", True), Column("note", "note")],
               race(route, default, tuned, x, model.threads)))

    heading("Held-out images")
    after = accuracy(tuned, images, labels)
    difference = np.abs(tuned(images) - model(images)).max() / np.abs(model(images)).max()
    print(f"accuracy on {len(labels)} images: {100 * after:.2f} % tuned, {100 * before:.2f} % with the default route; "
          f"largest difference {difference:.1e} of the largest output")
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "digits.pw"
        tuned.save(saved)
        begin = time.perf_counter()
        again = pw.load(saved, PIXELS, threads=model.threads)
        again(x)
        print(f"saved as one file of {saved.stat().st_size / 1e3:.0f} kB; loaded, first result after "
              f"{show_time(1e9 * (time.perf_counter() - begin))}")
        pictures(again)
    return 0 if after >= before - 0.005 else 1


def pictures(model: pw.Model) -> None:
    """The PNG files of the example, through preprocess, network and postprocess."""
    try:
        import PIL  # noqa: F401
    except ImportError:
        print("images: pip install 'pathweave[image]' to run the PNG files")
        return
    for path in sorted((DIGITS / "images").glob("*.png")):
        result = model.predict(path)
        scores = np.ravel(result["values"])
        words = ", ".join(f"{label} {100 * score:.1f} %" for label, score in zip(np.ravel(result["labels"]), scores))
        print(f"  {path.name:16s} {words}")


if __name__ == "__main__":
    sys.exit(main())

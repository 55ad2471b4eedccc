#!/usr/bin/env python3
"""The main job on the shipped network: import, profile, tune, race, run on held-out images of handwritten digits, first in
f32 alone, then with 8-bit integers allowed.

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
from pathweave.tuning.tuner import identity
from pathweave.words import counted

DIGITS = Path(__file__).resolve().parent / "digits"
NETWORK = DIGITS / "digits32.onnx"
#: Held-out images that calibration sees; the others measure the accuracy.
SAMPLES = 60
#: Share of the images that a tuned route may lose.
MAY_LOSE = 0.01
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


def race(models: dict[str, tuple[pw.Model, pw.Route]], x: np.ndarray, threads: int) -> list[dict]:
    """Routes of models by name, and ONNX Runtime when it is installed, interleaved."""
    entries = []
    for name, (model, route) in models.items():
        session = model.plan(route, {"x": x.shape}, threads).session()
        entries.append(Entry(name, lambda session=session: list(session.run({"x": x}).values())))
    other = prepare_peer(peers()["onnxruntime"], Task(str(NETWORK), {"x": x}, ("logits",), threads))
    other.name = f"ONNX Runtime {other.version}, f32".strip()
    entries.append(other)
    measure(entries, rounds=40)
    first = entries[0].times
    return [{"engine": e.name, "minimum_ns": e.times and e.times.minimum, "median_ns": e.times and e.times.median,
             "ratio": e.times and first and e.times.minimum / first.minimum, "note": e.reason} for e in entries]


def tuned(model: pw.Model, x: np.ndarray, **options) -> tuple[pw.Model, pw.Route]:
    """The tuned model with its route; says how long that took and what came out."""
    begin = time.perf_counter()
    found = pw.tune(model, threads=model.threads, **options)
    route = found.route({"x": x.shape})
    print(f"done in {time.perf_counter() - begin:.1f} s: {route.certificate}\npredicted {show_time(route.predicted_ns)}, "
          f"measured in the race {show_time(route.notes['measured_at_reference_ns'])} at the same speed of the machine, "
          f"{show_time(route.measured_ns)} by the clock")
    for finding in found.report["findings"]:
        print(f"note: {finding}")
    return found, route


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=None, help="default: the processors this process may use")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds for measuring, twice (default 10)")
    arguments = parser.parse_args()

    heading("The machine")
    cpu = cpu_info()
    model = pw.load(NETWORK, threads=arguments.threads)
    print(f"{cpu['model'] or 'unknown processor'}; {counted(model.threads, 'thread')}; "
          f"instruction sets {', '.join(cpu['used'])}")

    heading("The network")
    print(f"{model!r}\nfrom examples/digits/{NETWORK.name}, trained on handwritten digits")
    held_out = np.load(DIGITS / "heldout.npz")
    samples, images, labels = held_out["images"][:SAMPLES], held_out["images"][SAMPLES:], held_out["labels"][SAMPLES:]
    x = np.ascontiguousarray(images[:1])

    heading("Tuning: measure every routine in place, solve exactly, race the best routes")
    floats, route = tuned(model, x, budget_s=arguments.budget)

    heading("The route")
    plan = floats.plan(route, {"x": x.shape}, model.threads)
    session = plan.session()
    end_to_end = time_calls(lambda: session.run({"x": x})).median
    show(route_table(plan, time_steps(session, {"x": x}), end_to_end))

    heading("Tuning with 8-bit integers allowed: scales from sample images, then all routines compete")
    calibrated = pw.load(NETWORK, threads=model.threads).calibrate(samples)
    integers, mixed = tuned(calibrated, x, budget_s=arguments.budget, accuracy="quantised")
    layers = [choice.routine.split(":")[1] for choice in mixed.layers.values()]
    print(f"{layers.count('u8')} of {len(layers)} layers in 8-bit integers")

    heading("Latency of one image, interleaved in one process")
    default = model.route({"x": x.shape})
    routes = {"pathweave, tuned route, f32": (floats, route), "pathweave, 8-bit integers allowed": (integers, mixed)}
    if identity(default) == identity(route):
        print("in f32 the default route won the race")
    else:
        routes["pathweave, default route, f32"] = (model, default)
    show(Table([Column("engine", "engine"), time_column("minimum_ns", "minimum"), time_column("median_ns", "median"),
                Column("ratio", "times ours", lambda r: "" if r is None else f"{r:.2f}", True), Column("note", "note")],
               race(routes, x, model.threads)))

    heading("Held-out images")
    before, after = accuracy(model, images, labels), [accuracy(m, images, labels) for m in (floats, integers)]
    difference = np.abs(floats(images) - model(images)).max() / np.abs(model(images)).max()
    print(f"accuracy on {len(labels)} images: {100 * after[0]:.2f} % tuned, {100 * after[1]:.2f} % with 8-bit integers, "
          f"{100 * before:.2f} % with the default route\n"
          f"largest difference of the tuned route in f32: {difference:.1e} of the largest output")
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "digits.pw"
        floats.save(saved)
        begin = time.perf_counter()
        again = pw.load(saved, PIXELS, threads=model.threads)
        again(x)
        print(f"saved as one file of {saved.stat().st_size / 1e3:.0f} kB; loaded, first result after "
              f"{show_time(1e9 * (time.perf_counter() - begin))}")
        pictures(again)
    return 0 if min(after) >= before - MAY_LOSE else 1


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

#!/usr/bin/env python3
"""LSTM and GRU layers against ONNX Runtime: widths, steps, sequences and directions, interleaved in one process.

    python bench/recurrent.py [--threads 2] [--only lstm --only 256x20 ...] [--every] [--seconds 1.0] [--json FILE]
    python bench/recurrent.py --table FILE

Each shape is an ONNX file of one layer whose inputs are as wide as its hidden state; one of a single step begins from a state
that is an input, a longer one from zero. A GRU is as torch writes it (linear_before_reset = 1); `gru0` is the other. A ratio
is the time of ONNX Runtime over that of our default route, above 1 where ours is faster: of the minima, and in brackets of
the medians. `floor` is the least time that the limits of this machine allow (docs/recurrent.md): the products of the inputs
at the peak rate, or the bandwidth of their weights' level where there is one row, and in each step the larger of both for the
recurrent weights. `bound` says which of the two it is in a step, and the level.

`--every`: every candidate of ours beside the default. `--json` adds a line per shape to a file, and skips those that it holds
for this number of threads and this `--label`; `--table` prints such a file as a table. Exit code 1 where outputs differ.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from one_layer import entry, in_parts, prepared, read

GATES = {"lstm": 4, "gru": 3, "gru0": 3}
WIDTHS, STEPS = (128, 256, 512, 1024), (1, 20, 100, 500)


@dataclass(frozen=True)
class Shape:
    """One layer: what it is, and the sizes of a call."""

    kind: str
    width: int
    steps: int
    batch: int = 1
    directions: int = 1

    @property
    def name(self) -> str:
        more = f" batch {self.batch}" if self.batch > 1 else ""
        return f"{self.kind} {self.width}x{self.steps}{more}{' both ways' if self.directions > 1 else ''}"

    @property
    def recurrent_bytes(self) -> int:
        """Of the recurrent weights of all directions; those of the inputs are as many."""
        return 4 * self.directions * GATES[self.kind] * self.width * self.width

    def floor(self, limits: Any, threads: int) -> tuple[float, str]:
        """Nanoseconds, and what bounds a step."""
        peak, size = limits.peak("f32", threads) / 2, self.recurrent_bytes  # multiplications
        def level(size: int) -> str:
            return limits.level(size, threads)

        def product(rows: int, at: str) -> float:
            return max(rows * size / 4 / peak, size / limits.bandwidth(at, threads)) * 1e9
        inputs = product(self.steps * self.batch, level(2 * size if self.steps == 1 else size))
        at = level(2 * size if self.steps == 1 else size)
        step, rate = product(self.batch, at), self.batch * size / 4 / peak * 1e9
        return inputs + step * (self.steps - (self.steps > 1)), "peak" if step <= rate else at


def shapes(kinds: list[str]) -> list[Shape]:
    """The grid; both ways and several sequences are not combined with one step."""
    return [Shape(*sizes) for sizes in itertools.product(kinds, WIDTHS, STEPS, (1, 8), (1, 2))
            if sizes[2] > 1 or sizes[4] == 1]


def model_of(shape: Shape) -> Any:
    """The ONNX model of one layer with weights from a fixed seed."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    rng = np.random.default_rng(20260)
    n, d, lstm, state = shape.width, shape.directions, shape.kind == "lstm", shape.steps == 1
    gates = GATES[shape.kind]

    def constant(name: str, *sizes: int) -> Any:
        return numpy_helper.from_array((rng.uniform(-1, 1, sizes) / np.sqrt(n)).astype(np.float32), name)
    inputs, outputs = ["x", "w", "r", "b", ""], ["y", "y_h"]
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (shape.steps, shape.batch, n))]
    for name in ("h", "c")[:1 + lstm] if state else ():
        inputs.append(name)
        values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, (d, shape.batch, n)))
    outputs += ["y_c"] * lstm
    more = {} if lstm else {"linear_before_reset": int(shape.kind == "gru")}
    node = helper.make_node("LSTM" if lstm else "GRU", inputs, outputs, hidden_size=n,
                            direction="bidirectional" if d > 1 else "forward", **more)
    graph = helper.make_graph([node], "layer", values,
                              [helper.make_tensor_value_info(y, TensorProto.FLOAT, None) for y in outputs],
                              [constant("w", d, gates * n, n), constant("r", d, gates * n, n), constant("b", d, 2 * gates * n)])
    return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)],
                                                               ir_version=8))


def routes(bound: Any, threads: int, every: bool) -> dict[str, Any]:
    """Our routes by name: the default, and one for each candidate of the layer."""
    import pathweave as pw
    from pathweave.runtime.conversions import conversions_for
    from pathweave.runtime.defaults import default_choices, route_of
    found = {"default": pw.default_route(bound, threads)}
    for i, layer in enumerate(bound.layers):
        for c in bound.candidates(i, threads)[0] if every and len(bound.layers) == 1 else ():
            choices = default_choices(bound, threads, fixed={layer.name: c})
            conversions = conversions_for(bound, choices, threads)
            found[f"{c.routine} {c.variant}"] = route_of(bound, choices, conversions, threads, "f32")
    return found


def measure(shape: Shape, path: Path, arguments: argparse.Namespace, limits: Any) -> dict[str, Any]:
    """Times of ONNX Runtime and of ours, nanoseconds."""
    from pathweave.report import bench
    threads = arguments.threads
    loaded, bound, inputs, entries = prepared(model_of(shape), path, ["onnxruntime"], threads)
    for name, route in routes(bound, threads, arguments.every).items():
        entries.append(entry(name, loaded, bound, route, inputs, threads))
    bench.check(entries)
    begin = time.perf_counter()
    entries[0].call()
    calls = max(1, min(50, int(0.02 / (time.perf_counter() - begin))))  # 20 ms a turn
    bench.measure(entries, 0, calls=calls, seconds=arguments.seconds)
    theirs, (floor, bound_by) = entries[0].times, shape.floor(limits, threads)
    return {"shape": shape.name, "threads": threads, "label": arguments.label, "floor_ns": floor, "bound": bound_by,
            "onnxruntime": {"ns": theirs.minimum, "median_ns": theirs.median},
            "ours": {e.name: {"ns": e.times.minimum, "median_ns": e.times.median, "ratio": theirs.minimum / e.times.minimum,
                              "ratio_median": theirs.median / e.times.median, "difference": e.agreement.largest}
                     for e in entries[1:]}}


def table(results: list[dict[str, Any]]) -> str:
    """Results as Markdown: a row per shape and number of threads, a column per label."""
    labels = list(dict.fromkeys(r["label"] for r in results))
    heads = ["shape", "threads", "bound", "floor us", "ONNX Runtime us", *(f"{x or 'ours'} us" for x in labels),
             *(f"{x or 'ours'} ratio" for x in labels), "ours / floor"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for r in results:
        rows.setdefault((r["shape"], r["threads"]), {})[r["label"]] = r
    for (name, threads), row in rows.items():
        last = list(row.values())[-1]
        ours = {x: row[x]["ours"]["default"] if x in row else None for x in labels}
        newest = last["ours"]["default"]
        cells = [name, str(threads), last["bound"], f"{last['floor_ns'] / 1e3:.1f}", f"{last['onnxruntime']['ns'] / 1e3:.1f}",
                 *(f"{o['ns'] / 1e3:.1f}" if o else "" for o in ours.values()),
                 *(f"{o['ratio']:.2f} ({o['ratio_median']:.2f})" if o else "" for o in ours.values()),
                 f"{newest['ns'] / last['floor_ns']:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Measure and print; outputs that differ last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kind", action="append", default=[], choices=list(GATES), help="default: lstm and gru")
    parser.add_argument("--only", action="append", default=[], metavar="WORDS",
                        help="shapes whose name holds one of these; `-WORDS`: whose name does not")
    parser.add_argument("--every", action="store_true", help="our candidates one by one beside the default")
    parser.add_argument("--seconds", type=float, default=1.0, help="of measuring per shape; three rounds at least")
    parser.add_argument("--stop", type=float, default=float("inf"), help="begin no further shape after so many seconds")
    parser.add_argument("--label", default="", help="of the results in a file that holds those of several states of the code")
    parser.add_argument("--json", type=Path, help="add the results to this file, one per line, and skip what it holds")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the results in FILE and measure nothing")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(read(arguments.table)))
        return 0
    from pathweave.runtime.limits import limits
    known = limits([arguments.threads])
    yes, no = [w for w in arguments.only if w[:1] != "-"], [w[1:] for w in arguments.only if w[:1] == "-"]
    held = {(r["shape"], r["threads"], r["label"]) for r in read(arguments.json)}

    def is_chosen(shape: Shape) -> bool:
        return (not yes or any(w in shape.name for w in yes)) and not any(w in shape.name for w in no) and \
            (shape.name, arguments.threads, arguments.label) not in held

    def said(shape: Shape, result: dict[str, Any]) -> list[str]:
        print(f"{shape.name:32s} onnxruntime {result['onnxruntime']['ns'] / 1e3:10.1f} us  floor "
              f"{result['floor_ns'] / 1e3:10.1f} us ({result['bound']})", flush=True)
        for name, ours in result["ours"].items():
            print(f"   {name:38s} {ours['ns'] / 1e3:10.1f} us  x{ours['ratio']:.2f} ({ours['ratio_median']:.2f})"
                  f"  {ours['ns'] / result['floor_ns']:6.2f} of the floor", flush=True)
        return [f"{shape.name}: {name} differs by {ours['difference']:.1e}" for name, ours in result["ours"].items()
                if not ours["difference"] <= 1e-3]
    return in_parts(filter(is_chosen, shapes(arguments.kind or ["lstm", "gru"])),
                    lambda shape, path: measure(shape, path, arguments, known), said, arguments.json, arguments.stop,
                    "outputs agree")


if __name__ == "__main__":
    sys.exit(main())

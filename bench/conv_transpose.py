#!/usr/bin/env python3
"""Transposed convolutions against ONNX Runtime: 40 shapes, our default and our best route, interleaved in one process.

    python bench/conv_transpose.py [--threads 2] [--only 1-10 --only TEXT ...] [--rounds 15] [--tune SECONDS]
                                   [--every] [--json FILE]
    python bench/conv_transpose.py --table FILE

Each shape is an ONNX file of one layer, so that what a net pays for changes of layout at its ends is counted. A ratio is the
time of ONNX Runtime over ours, above 1 where ours is faster: of the minima, and in brackets of the medians. `best` is the
fastest of our candidates in a short race before; `--tune` adds the route that `pathweave.tune` picks in that time, `--every`
all candidates one by one. Exit code 1 where a ratio of minima of the default, best or tuned route is below 1, or
outputs differ.
`--json` adds a line per shape to a file, and skips the shapes that it holds for this number of threads, so that a run can be
made in parts; `--table` prints such a file as a table.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from one_layer import entry, fastest, in_parts, prepared, read, wanted


@dataclass(frozen=True)
class Shape:
    """x [N,C,W] or [N,C,H,W], output channels, kernel and the operator's attributes; numbers stand for all axes."""

    name: str
    x: tuple[int, ...]
    out: int
    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] = 1
    pads: int | tuple[int, ...] = 0
    dilation: int = 1
    group: int = 1
    output_padding: int | tuple[int, int] = 0

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        n = 2 * self.out // self.group
        for size in (*self.x, *self.axes(self.kernel)):
            n *= size
        return n

    def axes(self, value: int | tuple[int, ...], times: int = 1) -> list[int]:
        """A value per axis."""
        return [value] * ((len(self.x) - 2) * times) if isinstance(value, int) else list(value)


SHAPES = [
    # inverse transforms and decoders of signals
    Shape("inverse STFT", (1, 1026, 862), 1, 1024, 256),
    Shape("inverse STFT, batch 4", (4, 1026, 63), 1, 1024, 256, 384),
    Shape("inverse STFT, 512", (1, 514, 250), 1, 512, 128),
    Shape("inverse STFT, stereo as Hx1", (1, 514, 200, 1), 2, (512, 1), (128, 1)),
    Shape("Conv-TasNet decoder", (1, 512, 4000), 1, 16, 8),
    Shape("Demucs decoder", (1, 64, 16000), 4, 8, 4),
    Shape("Demucs, frequencies as Hx1", (1, 96, 512, 1), 48, (8, 1), (4, 1), (2, 0, 2, 0)),
    Shape("HiFi-GAN 1", (1, 512, 100), 256, 16, 8, 4),
    Shape("HiFi-GAN 2", (1, 256, 800), 128, 16, 8, 4),
    Shape("HiFi-GAN 3", (1, 128, 6400), 64, 4, 2, 1),
    Shape("HiFi-GAN 4", (1, 64, 12800), 32, 4, 2, 1),
    Shape("codec, stride 5", (1, 256, 375), 128, 10, 5, (2, 3), output_padding=0),
    Shape("resampling, one filter", (1, 1, 4000), 1, 64, 16, 24),
    Shape("resampling, stereo in groups", (4, 2, 4000), 2, 32, 2, 15, group=2),
    Shape("filter of 1024 taps", (1, 1, 2000), 1, 1024, 1, 512),
    # patches and decoders of images
    Shape("patches 16", (1, 64, 14, 14), 3, 16, 16),
    Shape("patches 16, ViT", (1, 768, 14, 14), 3, 16, 16),
    Shape("patches 4, batch 4", (4, 96, 28, 28), 16, 4, 4),
    Shape("stride 256", (1, 16, 2, 3), 1, 256, 256),
    Shape("DCGAN 1", (1, 100, 1, 1), 512, 4),
    Shape("DCGAN 2", (1, 512, 4, 4), 256, 4, 2, 1),
    Shape("DCGAN 3", (1, 256, 8, 8), 128, 4, 2, 1),
    Shape("DCGAN 4, batch 4", (4, 128, 16, 16), 64, 4, 2, 1),
    Shape("DCGAN 5", (1, 64, 32, 32), 3, 4, 2, 1),
    Shape("U-Net, 28", (1, 512, 28, 28), 256, 2, 2),
    Shape("U-Net, 112", (1, 128, 112, 112), 64, 2, 2),
    Shape("CycleGAN up", (1, 128, 64, 64), 64, 3, 2, 1, output_padding=1),
    Shape("FCN-32s", (1, 21, 7, 7), 21, 64, 32),
    Shape("FCN-8s", (1, 21, 28, 28), 21, 16, 8, 4),
    Shape("FSRCNN", (1, 56, 60, 60), 1, 9, 4, 4, output_padding=3),
    Shape("bilinear, one channel", (1, 1, 128, 128), 1, 4, 2, 1),
    # stride 1, holes, dilation, asymmetric pads
    Shape("3x3, stride 1", (1, 64, 56, 56), 64, 3, 1, 1),
    Shape("7x7, stride 1, to an image", (1, 64, 96, 96), 3, 7, 1, 3),
    Shape("1x1, stride 2", (1, 64, 28, 28), 64, 1, 2, output_padding=1),
    Shape("3x3, stride 4, batch 4", (4, 32, 14, 14), 32, 3, 4, output_padding=(3, 1)),
    Shape("5x5, stride 3, asymmetric", (1, 32, 20, 31), 40, 5, 3, (0, 1, 3, 2)),
    Shape("3x3, dilation 2", (1, 64, 28, 28), 64, 3, 1, 2, dilation=2),
    Shape("3x3, stride 2, dilation 3", (1, 32, 28, 28), 16, 3, 2, 3, dilation=3),
    # groups
    Shape("4 groups", (1, 64, 28, 28), 64, 3, 2, 1, group=4, output_padding=1),
    Shape("one filter per channel", (1, 256, 14, 14), 256, 4, 2, 1, group=256),
]


def model_of(shape: Shape) -> Any:
    """The ONNX model of one layer with weights from a fixed seed."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    rng = np.random.default_rng(20260)
    kernel = shape.axes(shape.kernel)
    w = rng.standard_normal((shape.x[1], shape.out // shape.group, *kernel)) / np.sqrt(shape.x[1])
    node = helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], strides=shape.axes(shape.stride),
                            pads=shape.axes(shape.pads, 2), dilations=shape.axes(shape.dilation), group=shape.group,
                            output_padding=shape.axes(shape.output_padding))
    constants = [numpy_helper.from_array(w.astype(np.float32), "w"),
                 numpy_helper.from_array(rng.standard_normal(shape.out).astype(np.float32), "b")]
    graph = helper.make_graph([node], "layer", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape.x)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], constants)
    return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)],
                                                               ir_version=8))


def named(route: Any) -> str:
    """The routine of the transposed convolution, or all of them where it became another layer."""
    chosen = [(c.routine, c.variant) for c in route.layers.values()]
    return ", ".join(" ".join(filter(None, pair)) for pair in chosen
                     if pair[0].startswith(("conv", "depthwise", "dense")) or len(chosen) == 1)


def candidates(bound: Any, threads: int) -> dict[str, Any]:
    """A route per candidate of the convolution, by the layer's and the candidate's number."""
    from pathweave.runtime.conversions import conversions_for
    from pathweave.runtime.defaults import default_choices, route_of
    found = {}
    for i, layer in enumerate(bound.layers):
        for number, c in enumerate(bound.candidates(i, threads)[0]):
            if len(bound.layers) == 1 or c.routine.startswith(("conv", "depthwise")):
                choices = default_choices(bound, threads, fixed={layer.name: c})
                found[f"{i}.{number}"] = route_of(bound, choices, conversions_for(bound, choices, threads), threads, "f32")
    return found


def measure(shape: Shape, path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times of ONNX Runtime and of ours, nanoseconds."""
    import pathweave as pw
    from pathweave.report import bench
    threads = arguments.threads
    loaded, bound, inputs, entries = prepared(model_of(shape), path, ["onnxruntime"], threads)

    def ours(name: str, route: Any) -> Any:
        return entry(name, loaded, bound, route, inputs, threads, named(route))
    every = [ours(name, route) for name, route in candidates(bound, threads).items()]
    if arguments.every:
        entries += every
    else:
        best = fastest(every)
        best.name = "best"
        entries.append(best)
    entries.append(ours("default", pw.default_route(bound, threads)))
    if arguments.tune:
        tuned = pw.tune(loaded, threads=threads, budget_s=arguments.tune, progress=False)
        entries.append(ours("tuned", tuned.route(bound.shapes)))
    bench.check(entries)
    bench.measure(entries, arguments.rounds, calls=4)
    theirs = entries[0].times
    return {"threads": threads, "shape": shape.name, "flops": shape.flops,
            "onnxruntime": {"ns": theirs.minimum, "median_ns": theirs.median},
            "ours": {e.name: {"ns": e.times.minimum, "median_ns": e.times.median, "ratio": theirs.minimum / e.times.minimum,
                              "ratio_median": theirs.median / e.times.median, "routine": e.version,
                              "difference": e.agreement.largest} for e in entries[1:]}}


def failures(result: dict[str, Any]) -> list[str]:
    """What is wrong with a result."""
    return [f"{result['shape']}: {name} {what}" for name, ours in result["ours"].items()
            for what, bad in (("differs", ours["difference"] > 1e-3), (f"x{ours['ratio']:.2f}", ours["ratio"] < 1))
            if bad and (what == "differs" or name in ("default", "best", "tuned"))]


def table(results: list[dict[str, Any]]) -> str:
    """Results of several runs as Markdown: a row per shape, columns per number of threads."""
    threads = sorted({r["threads"] for r in results})
    ways = [way for way in ("best", "tuned", "default") if any(way in r["ours"] for r in results)]
    heads = [f"{head}, {n} thread{'s' * (n > 1)}" for n in threads for head in ("ONNX Runtime ms", *ways)]
    lines = ["| | shape | MFLOP | " + " | ".join(heads) + " |", "|" + "---|" * (3 + len(heads))]
    for number, shape in enumerate(SHAPES, 1):
        cells = []
        for n in threads:
            r = next((r for r in results if r["shape"] == shape.name and r["threads"] == n), None)
            cells.append(f"{r['onnxruntime']['ns'] / 1e6:.3f}" if r else "")
            for way in ways:
                ours = r["ours"].get(way) if r else None
                cells.append(f"{ours['ratio']:.2f} ({ours['ratio_median']:.2f})" if ours else "")
        lines.append(f"| {number} | {shape.name} | {shape.flops / 1e6:.1f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Measure and print; what is wrong last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", action="append", default=[], metavar="WHAT", help="shapes whose name holds it; 7; 1-10")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tune", type=float, default=0.0, metavar="SECONDS", help="also tune each shape for so long")
    parser.add_argument("--every", action="store_true", help="our candidates one by one instead of the best one")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further shape after that time")
    parser.add_argument("--json", type=Path, help="add the results to this file, one per line, and skip what it holds")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the results in FILE and measure nothing")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(read(arguments.table)))
        return 0
    held = {(r["shape"], r["threads"]) for r in read(arguments.json)}
    numbers = {shape.name: number for number, shape in enumerate(SHAPES, 1)}

    def said(shape: Shape, result: dict[str, Any]) -> list[str]:
        theirs = result["onnxruntime"]["ns"] / 1e6
        print(f"{numbers[shape.name]:2d} {shape.name:30s} {shape.flops / 1e6:9.1f} MFLOP  onnxruntime {theirs:8.3f} ms",
              flush=True)
        for name, ours in result["ours"].items():
            print(f"   {name:10s} {ours['ns'] / 1e6:8.3f} ms  x{ours['ratio']:.2f} ({ours['ratio_median']:.2f})  "
                  f"{ours['routine']}", flush=True)
        return failures(result)
    chosen = [s for s in SHAPES if wanted(numbers[s.name], s.name, arguments.only) and (s.name, arguments.threads) not in held]
    return in_parts(chosen, lambda shape, path: measure(shape, path, arguments), said, arguments.json, arguments.seconds,
                    "none slower, outputs agree")


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Transposed convolutions against ONNX Runtime: 40 shapes, our default and our tuned route, interleaved in one process.

    python bench/conv_transpose.py [--threads 2] [--only TEXT ...] [--rounds 15] [--budget 4] [--every] [--json FILE]

Each shape is an ONNX file of one layer, so that what a net pays for changes of layout at its ends is counted. A ratio is the
minimum of ONNX Runtime over ours, above 1 where ours is faster. Exit code 1 where one is below 1 or outputs differ. `--every`
also times our candidates one by one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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


def entry(name: str, loaded: Any, bound: Any, route: Any, inputs: dict[str, Any], threads: int) -> Any:
    """One route of ours."""
    from pathweave.report.bench import Entry
    session = loaded.plan(route, bound.shapes, threads).session()
    return Entry(name, lambda: list(session.run(inputs).values()), version=named(route))


def named(route: Any) -> str:
    """The routine of the transposed convolution, or all of them where it became another layer."""
    chosen = [(c.routine, c.variant) for c in route.layers.values()]
    return ", ".join(" ".join(filter(None, pair)) for pair in chosen
                     if pair[0].startswith(("conv", "depthwise", "dense")) or len(chosen) == 1)


def routes(loaded: Any, bound: Any, threads: int, budget_s: float, every: bool) -> dict[str, Any]:
    """Ours, by name."""
    import pathweave as pw
    from pathweave.runtime.conversions import conversions_for
    from pathweave.runtime.defaults import default_choices, route_of
    found = {"default": pw.default_route(bound, threads)}
    if every:
        for i, layer in enumerate(bound.layers):
            for number, c in enumerate(bound.candidates(i, threads)[0]):
                if len(bound.layers) == 1 or c.routine.startswith(("conv", "depthwise")):
                    choices = default_choices(bound, threads, fixed={layer.name: c})
                    found[f"{i}.{number}"] = route_of(bound, choices, conversions_for(bound, choices, threads), threads, "f32")
        return found
    tuned = pw.tune(loaded, threads=threads, budget_s=budget_s, progress=False)
    found["tuned"] = tuned.route(bound.shapes)
    return found


def measure(shape: Shape, path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times of ONNX Runtime and of ours, nanoseconds."""
    import onnx

    import pathweave as pw
    from pathweave.profiling.protocol import random_inputs
    from pathweave.report import bench
    from pathweave.report.peers import Task
    onnx.save(model_of(shape), path)
    loaded = pw.load(str(path), threads=arguments.threads)
    bound = loaded.bind()
    inputs = random_inputs(bound)
    (peer,) = bench.select(["onnxruntime"])
    entries = [bench.prepare_peer(peer, Task(str(path), inputs, tuple(bound.net.outputs), arguments.threads))]
    if entries[0].reason:
        raise SystemExit(f"onnxruntime: {entries[0].reason}")
    entries += [entry(name, loaded, bound, route, inputs, arguments.threads) for name, route in
                routes(loaded, bound, arguments.threads, arguments.budget, arguments.every).items()]
    bench.check(entries)
    bench.measure(entries, arguments.rounds, calls=4)
    theirs = entries[0].times.minimum
    return {"shape": shape.name, "flops": shape.flops, "onnxruntime": theirs,
            "ours": {e.name: {"ns": e.times.minimum, "ratio": theirs / e.times.minimum, "routine": e.version,
                              "difference": e.agreement.largest} for e in entries[1:]}}


def main() -> int:
    """Measure and print; the worst ratio last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="shapes whose name holds it, or numbers")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--budget", type=float, default=4.0, help="seconds for tuning a shape")
    parser.add_argument("--every", action="store_true", help="our candidates one by one instead of the tuned route")
    parser.add_argument("--json", type=Path, help="also write the results, one per line, behind what the file holds")
    arguments = parser.parse_args()
    worst, failed = float("inf"), False
    with tempfile.TemporaryDirectory() as folder:
        for number, shape in enumerate(SHAPES, 1):
            if arguments.only and not any(number == int(t) if t.isdigit() else t in shape.name for t in arguments.only):
                continue
            result = measure(shape, Path(folder) / "layer.onnx", arguments)
            theirs = result["onnxruntime"] / 1e6
            print(f"{number:2d} {shape.name:30s} {shape.flops / 1e6:9.1f} MFLOP  onnxruntime {theirs:8.3f} ms", flush=True)
            for name, ours in result["ours"].items():
                print(f"   {name:10s} {ours['ns'] / 1e6:8.3f} ms  x{ours['ratio']:.2f}  {ours['routine']}", flush=True)
                failed |= ours["difference"] > 1e-3
                worst = min(worst, ours["ratio"])
            if arguments.json:
                with arguments.json.open("a", encoding="utf-8") as f:
                    f.write(json.dumps({"threads": arguments.threads, **result}) + "\n")
    print(f"worst: x{worst:.2f}{', outputs differ' if failed else ''}")
    return 1 if failed or worst < 1 else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Layers that engines find hard, beside ONNX Runtime and OpenVINO: groups, dilation, depthwise kernels, pools, axes of time.

    python bench/holes.py [--threads 2] [--only 1-10 --only TEXT ...] [--rounds 8] [--against onnxruntime ...] [--every]
                          [--seconds S] [--json FILE]
    python bench/holes.py --table FILE [--before FILE]

Each shape is an ONNX file of a few equal layers one after the other where outputs are as large as inputs, else of one. All
engines take turns in one process. `default` is the route without measuring, `best` the fastest of our candidates in a short
race before, taken in every layer of the kind; `--every` times all candidates one by one. `roof` is the least time that the
machine's limits allow the default route's steps. A ratio is the time of the fastest peer over ours, above 1 where ours is
faster: of the minima, and in brackets of the medians. `--json` adds a line per shape to a file and skips the shapes that it
holds for this number of threads. `--table` prints such a file, most time lost against the best peer first; `--before` adds the
times of an earlier file.
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
    """x [N,C,W] or [N,C,H,W], output channels, kernel and the operator's attributes; one number stands for all axes.

    `op`: conv, max, mean, or block (expand to `out`, depthwise, project to the channels of x). `times`: layers in a row.
    `squeeze`: channels of squeeze-excite in a block."""

    name: str
    x: tuple[int, ...]
    out: int = 0
    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    group: int = 1
    act: str = ""
    op: str = "conv"
    pad: int | None = None
    times: int = 1
    squeeze: int = 0


SHAPES = [
    # grouped 3x3
    Shape("RegNetX-400MF 32, 56x56", (1, 32, 56, 56), 32, group=2, act="Relu", times=4),
    Shape("RegNetX-400MF 64, 28x28", (1, 64, 28, 28), 64, group=4, act="Relu", times=4),
    Shape("RegNetX-400MF 160, 14x14", (1, 160, 14, 14), 160, group=10, act="Relu", times=4),
    Shape("RegNetX-400MF 400, 7x7", (1, 400, 7, 7), 400, group=25, act="Relu", times=4),
    Shape("RegNetY-400MF 104 by 8, 28x28", (1, 104, 28, 28), 104, group=13, act="Relu", times=4),
    Shape("RegNetX-400MF 160, stride 2", (1, 160, 28, 28), 160, stride=2, group=10, act="Relu"),
    Shape("ResNeXt50 128 by 4, 56x56", (1, 128, 56, 56), 128, group=32, act="Relu", times=4),
    Shape("ResNeXt50 256 by 8, 28x28", (1, 256, 28, 28), 256, group=32, act="Relu", times=4),
    Shape("ResNeXt50 512 by 16, 14x14", (1, 512, 14, 14), 512, group=32, act="Relu", times=4),
    Shape("ResNeXt50 1024 by 32, 7x7", (1, 1024, 7, 7), 1024, group=32, act="Relu", times=4),
    Shape("ShuffleNet 1x1 240 by 80, 28x28", (1, 240, 28, 28), 240, 1, group=3, act="Relu", times=4),
    Shape("FastViT 7x7 two outputs each, 14x14", (1, 192, 28, 28), 384, 7, stride=2, group=192),
    # dilated 3x3
    Shape("ASPP rate 6, 28x28", (1, 256, 28, 28), 256, dilation=6, act="Relu", times=2),
    Shape("ASPP rate 12, 28x28", (1, 256, 28, 28), 256, dilation=12, act="Relu", times=2),
    Shape("ASPP rate 24, 28x28", (1, 256, 28, 28), 256, dilation=24, act="Relu", times=2),
    Shape("ASPP rate 36, 28x28", (1, 256, 28, 28), 256, dilation=36, act="Relu", times=2),
    Shape("ASPP rate 12, 33x33", (1, 320, 33, 33), 256, dilation=12, act="Relu"),
    Shape("ASPP rate 24, 33x33", (1, 320, 33, 33), 256, dilation=24, act="Relu"),
    Shape("ResNet rate 2, 28x28", (1, 256, 28, 28), 256, dilation=2, act="Relu", times=2),
    # pools of planes and of pixels
    Shape("ResNet pool 3x3", (1, 64, 112, 112), kernel=3, stride=2, op="max", pad=1),
    Shape("UNet pool 2x2, 256x256", (1, 64, 256, 256), kernel=2, stride=2, op="max", pad=0),
    Shape("UNet pool 2x2, 64x64", (1, 256, 64, 64), kernel=2, stride=2, op="max", pad=0),
    Shape("Inception pool 3x3, 35x35", (1, 192, 35, 35), kernel=3, stride=2, op="max", pad=0),
    Shape("Inception mean 3x3, 17x17", (1, 768, 17, 17), kernel=3, op="mean", pad=1, times=2),
    Shape("DenseNet mean 2x2, 28x28", (1, 256, 28, 28), kernel=2, stride=2, op="mean", pad=0),
    Shape("YOLO SPPF 5x5", (1, 128, 20, 20), kernel=5, op="max", pad=2, times=3),
    # depthwise
    Shape("ConvNeXt 7x7 96, 56x56", (1, 96, 56, 56), 96, 7, group=96, times=3),
    Shape("ConvNeXt 7x7 192, 28x28", (1, 192, 28, 28), 192, 7, group=192, times=3),
    Shape("ConvNeXt 7x7 384, 14x14", (1, 384, 14, 14), 384, 7, group=384, times=3),
    Shape("ConvNeXt 7x7 768, 7x7", (1, 768, 7, 7), 768, 7, group=768, times=3),
    Shape("RepLKNet 13x13 256, 28x28", (1, 256, 28, 28), 256, 13, group=256, times=2),
    Shape("MobileNetV3 5x5 120, 28x28", (1, 120, 28, 28), 120, 5, group=120, act="HardSwish", times=4),
    Shape("MobileNetV3 5x5 672 stride 2", (1, 672, 14, 14), 672, 5, stride=2, group=672, act="HardSwish"),
    Shape("EfficientNet 3x3 SiLU 96 stride 2", (1, 96, 112, 112), 96, 3, stride=2, group=96, act="SiLU"),
    Shape("EfficientNet 5x5 SiLU 480, 14x14", (1, 480, 14, 14), 480, 5, group=480, act="SiLU", times=4),
    Shape("EdgeNeXt 9x9 GELU 160, 14x14", (1, 160, 14, 14), 160, 9, group=160, act="GELU", times=3),
    Shape("DPT 3x3 dilated 2 128, 28x28", (1, 128, 28, 28), 128, 3, dilation=2, group=128, times=4),
    # activations that are more than a few operations
    Shape("1x1 SiLU 128, 28x28", (1, 128, 28, 28), 128, 1, act="SiLU", times=4),
    Shape("1x1 GELU 96 to 384, 28x28", (1, 96, 28, 28), 384, 1, act="GELU"),
    Shape("3x3 SiLU 64, 40x40", (1, 64, 40, 40), 64, 3, act="SiLU", times=4),
    # one axis
    Shape("WaveNet rate 2", (1, 64, 16000), 64, 2, dilation=2, times=4),
    Shape("WaveNet rate 512", (1, 64, 16000), 64, 2, dilation=512, times=4),
    Shape("wav2vec2 first", (1, 1, 16000), 512, 10, stride=5, pad=0),
    Shape("wav2vec2 second, GELU", (1, 512, 3199), 512, 3, stride=2, pad=0, act="GELU"),
    Shape("wav2vec2 positions", (1, 768, 99), 768, 128, group=16, pad=64),
    Shape("Conformer depthwise 31", (1, 256, 400), 256, 31, group=256, act="SiLU", times=2),
    Shape("HiFi-GAN 7 by 3", (1, 64, 6400), 64, 7, dilation=3, act="LeakyRelu", times=4),
    # whole blocks
    Shape("EfficientNet block 5x5, 14x14", (1, 112, 14, 14), 672, 5, act="SiLU", op="block", squeeze=28),
    Shape("EfficientNet block 3x3, 28x28", (1, 40, 28, 28), 240, 3, act="SiLU", op="block", squeeze=10),
    Shape("MobileNetV3 block 5x5, 7x7", (1, 160, 7, 7), 960, 5, act="HardSwish", op="block", squeeze=240),
    Shape("block 7x7 without squeeze, 28x28", (1, 64, 28, 28), 256, 7, act="SiLU", op="block"),
]


class Graph:
    """An ONNX graph in the making; weights from a fixed seed."""

    def __init__(self) -> None:
        import numpy as np
        self.random = np.random.default_rng(20260)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        from onnx import helper
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, array: Any) -> str:
        import numpy as np
        from onnx import numpy_helper
        self.constants.append(numpy_helper.from_array(np.asarray(array, np.float32), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def conv(self, x: str, inputs: int, out: int, kernel: list[int], stride: int = 1, dilation: int = 1, group: int = 1,
             pads: list[int] | None = None) -> str:
        import numpy as np
        fan = inputs // group * int(np.prod(kernel))
        w = self.random.standard_normal((out, inputs // group, *kernel)) * np.sqrt(2 / fan)
        axes = len(kernel)
        reach = [(k - 1) * dilation for k in kernel]
        pads = pads or [r // 2 for r in reach] + [r - r // 2 for r in reach]
        return self.node("Conv", [x, self.constant(w), self.constant(self.random.standard_normal(out) / 4)],
                         strides=[stride] * axes, dilations=[dilation] * axes, group=group, pads=pads)

    def act(self, x: str, act: str) -> str:
        if act == "SiLU":
            return self.node("Mul", [x, self.node("Sigmoid", [x])])
        if act == "GELU":
            half = self.node("Add", [self.node("Erf", [self.node("Div", [x, self.constant(2 ** 0.5)])]), self.constant(1)])
            return self.node("Mul", [self.node("Mul", [x, half]), self.constant(0.5)])
        if act == "LeakyRelu":
            return self.node("LeakyRelu", [x], alpha=0.1)
        return self.node(act, [x]) if act else x


def model_of(shape: Shape) -> Any:
    """The ONNX model of a shape."""
    import onnx
    from onnx import TensorProto, helper
    g, x, axes, channels = Graph(), "x", len(shape.x) - 2, shape.x[1]
    for _ in range(shape.times):
        if shape.op == "block":
            inner = g.act(g.conv(x, channels, shape.out, [1, 1]), shape.act)
            inner = g.act(g.conv(inner, shape.out, shape.out, [shape.kernel] * 2, shape.stride, group=shape.out), shape.act)
            if shape.squeeze:
                mean = g.node("GlobalAveragePool", [inner])
                mean = g.act(g.conv(mean, shape.out, shape.squeeze, [1, 1]), "SiLU" if shape.act == "SiLU" else "Relu")
                gate = "Sigmoid" if shape.act == "SiLU" else "HardSigmoid"
                inner = g.node("Mul", [inner, g.node(gate, [g.conv(mean, shape.squeeze, shape.out, [1, 1])])])
            x = g.node("Add", [g.conv(inner, shape.out, channels, [1, 1]), x])
        elif shape.op == "conv":
            pads = None if shape.pad is None else [shape.pad] * 2 * axes
            x = g.act(g.conv(x, channels, shape.out, [shape.kernel] * axes, shape.stride, shape.dilation, shape.group, pads),
                      shape.act)
        else:
            x = g.node("MaxPool" if shape.op == "max" else "AveragePool", [x], kernel_shape=[shape.kernel] * axes,
                       strides=[shape.stride] * axes, pads=[shape.pad or 0] * 2 * axes)
    g.nodes[-1].output[0] = "y"
    graph = helper.make_graph(g.nodes, "layers", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape.x)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], g.constants)
    return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)],
                                                               ir_version=8))


def named(route: Any) -> str:
    """What computes the layers."""
    return ", ".join(dict.fromkeys(" ".join(filter(None, (c.routine, c.variant))) for c in route.layers.values()))


def candidates(bound: Any, threads: int) -> dict[str, Any]:
    """A route per candidate of the layers that matter, taken in every layer of the kind."""
    from pathweave.runtime.conversions import conversions_for
    from pathweave.runtime.defaults import default_choices, route_of
    of: dict[tuple[str, str, str], dict[str, Any]] = {}
    for i, layer in enumerate(bound.layers):
        if layer.kind.startswith(("conv", "depthwise", "max_pool", "average_pool", "inverted")):
            for c in bound.candidates(i, threads)[0]:
                of.setdefault((layer.kind, c.routine, c.variant), {})[layer.name] = c
    found = {}
    for (_, routine, variant), fixed in of.items():
        choices = default_choices(bound, threads, fixed=fixed)
        found[f"{routine} {variant}"] = route_of(bound, choices, conversions_for(bound, choices, threads), threads, "f32")
    return found


def roof_ns(plan: Any, threads: int) -> float:
    """The least time that the machine's limits allow the layers of a plan; what brings values from layout to layout is free."""
    from pathweave.report import roof
    from pathweave.runtime.limits import limits
    found = limits([threads])
    total = 0.0
    for w in roof.works(plan, found):
        if w.index is not None:
            memory = sum(size / found.bandwidth(level, threads) * 1e9 for level, size in w.bytes.items())
            total += max(roof.compute_ns(w.operations, w.dtype, found, threads), memory)
    return total


def measure(shape: Shape, path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times of the peers and of ours, nanoseconds."""
    from pathweave.report import bench
    from pathweave.runtime.defaults import usual_route
    threads = arguments.threads
    loaded, bound, inputs, entries = prepared(model_of(shape), path, arguments.against, threads)

    def ours(name: str, route: Any) -> Any:
        return entry(name, loaded, bound, route, inputs, threads, named(route))
    peers = len(entries)
    default = usual_route(bound, threads)
    plan = loaded.plan(default, bound.shapes, threads)
    entries.append(ours("default", default))
    every = [ours(name, route) for name, route in candidates(bound, threads).items()]
    if arguments.every:
        entries += every
    elif every:
        best = fastest(every)
        best.name = "best"
        entries.append(best)
    bench.check(entries)
    bench.measure(entries, arguments.rounds, calls=4)
    times = {e.name: {"ns": e.times.minimum, "median_ns": e.times.median, "routine": e.version,
                      "difference": e.agreement.largest} for e in entries}
    return {"threads": threads, "shape": shape.name, "roof_ns": roof_ns(plan, threads),
            "peers": [e.name for e in entries[:peers]], "times": times}


def ratio(result: dict[str, Any], name: str, what: str = "ns") -> float:
    """Time of the fastest peer over one of ours."""
    return min(result["times"][p][what] for p in result["peers"]) / result["times"][name][what]


def table(results: list[dict[str, Any]], before: list[dict[str, Any]]) -> str:
    """Results as Markdown, most time lost against the best peer first."""
    earlier = {(r["shape"], r["threads"]): r for r in before}

    def lost(r: dict[str, Any]) -> float:
        return min(r["times"][p]["ns"] for p in r["peers"]) - r["times"]["default"]["ns"]
    names = list(dict.fromkeys(p for r in results for p in r["peers"]))
    heads = ["shape", "threads", "roof us", *(f"{p} us" for p in names), *(["before us"] if before else []), "default us",
             "default x", "best us", "best x", "roof / best", "default", "best"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for r in sorted(results, key=lost):
        t = r["times"]
        old = earlier.get((r["shape"], r["threads"]))
        best = t.get("best", t["default"])
        cells = [r["shape"], str(r["threads"]), f"{r['roof_ns'] / 1e3:.0f}", *(f"{t[p]['ns'] / 1e3:.0f}" for p in names)]
        if before:
            cells.append(f"{old['times']['default']['ns'] / 1e3:.0f}" if old else "")
        cells += [f"{t['default']['ns'] / 1e3:.0f}", f"{ratio(r, 'default'):.2f} ({ratio(r, 'default', 'median_ns'):.2f})",
                  f"{best['ns'] / 1e3:.0f}", f"{min(t[p]['ns'] for p in r['peers']) / best['ns']:.2f}",
                  f"{r['roof_ns'] / best['ns']:.2f}", t["default"]["routine"], best["routine"]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", default=[], metavar="WHAT", help="shapes whose name holds it; 7; 1-10")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--against", action="append", default=[], metavar="ENGINE", help="by default ONNX Runtime and OpenVINO")
    parser.add_argument("--every", action="store_true", help="our candidates one by one instead of the best one")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further shape after that time")
    parser.add_argument("--json", type=Path, help="add the results to this file, one per line, and skip what it holds")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the results in FILE and measure nothing")
    parser.add_argument("--before", type=Path, metavar="FILE", help="with --table: add the default's times of an earlier file")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(read(arguments.table), read(arguments.before)))
        return 0
    arguments.against = arguments.against or ["onnxruntime", "openvino"]
    held = {(r["shape"], r["threads"]) for r in read(arguments.json)}
    numbers = {shape.name: number for number, shape in enumerate(SHAPES, 1)}

    def said(shape: Shape, result: dict[str, Any]) -> list[str]:
        print(f"{numbers[shape.name]:2d} {shape.name}  roof {result['roof_ns'] / 1e3:.0f} us", flush=True)
        for name, found in sorted(result["times"].items(), key=lambda item: item[1]["ns"]):
            print(f"   {name[:60]:60s} {found['ns'] / 1e3:9.0f} us  ({found['median_ns'] / 1e3:.0f})  "
                  f"x{ratio(result, name):.2f}  {found['routine'][:99] if name in ('default', 'best') else ''}", flush=True)
        return [f"{shape.name}: {name} differs by {found['difference']:.1e}" for name, found in result["times"].items()
                if not found["difference"] <= 1e-3]
    chosen = [s for s in SHAPES if wanted(numbers[s.name], s.name, arguments.only) and (s.name, arguments.threads) not in held]
    return in_parts(chosen, lambda shape, path: measure(shape, path, arguments), said, arguments.json, arguments.seconds,
                    "outputs agree")


if __name__ == "__main__":
    sys.exit(main())

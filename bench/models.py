#!/usr/bin/env python3
"""Write the four networks of the speed report as ONNX files with a free batch.

    python bench/models.py FOLDER [vgg16 resnet50 mobilenetv2 mobilenetv3l]

Needs `pip install torch onnx onnxscript`. Weights are random, from a fixed seed: speed does not depend on them, and no
download is needed. Batch-norm statistics are drawn as well, so that folding them into the convolutions is real work.

Sources: VGG16, Simonyan and Zisserman 2014, arXiv 1409.1556, configuration D. ResNet50, He et al. 2015, arXiv 1512.03385, with
the stride on the 3x3 convolution. MobileNetV2, Sandler et al. 2018, arXiv 1801.04381. MobileNetV3-Large, Howard et al. 2019,
arXiv 1905.02244, table 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

NAMES = ("vgg16", "resnet50", "mobilenetv2", "mobilenetv3l")
SEED = 0


def build(name: str, seed: int = SEED) -> Any:
    """A network as a torch module in evaluation mode: x [N,3,224,224] -> y [N,1000]."""
    import torch
    from torch_nets import BUILDERS
    torch.manual_seed(seed)
    net = BUILDERS[name]().eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.8, 1.2)
                module.bias.normal_(0, 0.05)
    return net


def export(net: Any, path: Path) -> None:
    """Write a module as ONNX, opset 17, input x and output y with batch N; the file appears when it is whole."""
    import torch
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        torch.onnx.export(net, (torch.randn(1, 3, 224, 224),), str(temporary), input_names=["x"], output_names=["y"],
                          opset_version=17, dynamic_axes={"x": {0: "N"}, "y": {0: "N"}}, dynamo=False)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(NAMES)}")
    arguments = parser.parse_args()
    if unknown := [n for n in arguments.names if n not in NAMES]:
        parser.error(f"unknown network {', '.join(unknown)}; expected {', '.join(NAMES)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or NAMES:
        path = arguments.folder / f"{name}.onnx"
        net = build(name)
        export(net, path)
        print(f"{path}: {sum(p.numel() for p in net.parameters()) / 1e6:.1f} M parameters")
    return 0


if __name__ == "__main__":
    sys.exit(main())

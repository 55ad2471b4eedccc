"""The nets of models.py as torch modules. A module of its own, so that `models.py --help` needs no torch."""

from __future__ import annotations

import torch
from torch import nn

CLASSES = 1000


class Residual(nn.Module):
    """act(body(x) + shortcut(x))."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None, act: nn.Module | None = None):
        super().__init__()
        self.body, self.shortcut, self.act = body, shortcut, act

    def forward(self, x):
        y = self.body(x) + (x if self.shortcut is None else self.shortcut(x))
        return y if self.act is None else self.act(y)


class SqueezeExcite(nn.Module):
    """x times a factor per channel that two 1x1 convolutions make of the means."""

    def __init__(self, channels: int):
        super().__init__()
        inner = divisible(channels // 4)
        self.factors = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, inner, 1), nn.ReLU(),
                                     nn.Conv2d(inner, channels, 1), nn.Hardsigmoid())

    def forward(self, x):
        return x * self.factors(x)


class Mean(nn.Module):
    """The mean of every channel, N x C."""

    def forward(self, x):
        return torch.mean(x, (2, 3))


def divisible(channels: int, by: int = 8) -> int:
    return max(by, (channels + by // 2) // by * by)


def unit(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, act: type | None = None, groups: int = 1) -> list:
    """Convolution without bias, batch-norm, activation."""
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
              nn.BatchNorm2d(outputs)]
    return layers if act is None else [*layers, act()]


def inverted(inputs: int, inner: int, outputs: int, kernel: int, stride: int, act: type, squeeze: bool = False):
    """Expand, filter every channel, project; a residual where the shape stays."""
    layers = [] if inner == inputs else unit(inputs, inner, act=act)
    layers += unit(inner, inner, kernel, stride, act, groups=inner)
    layers += [SqueezeExcite(inner)] if squeeze else []
    body = nn.Sequential(*layers, *unit(inner, outputs))
    return Residual(body) if stride == 1 and inputs == outputs else body


def vgg16():
    layers, inputs = [], 3
    for repeat, outputs in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(repeat):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(7 * 7 * 512, 4096), nn.ReLU(), nn.Linear(4096, 4096),
                         nn.ReLU(), nn.Linear(4096, CLASSES))


def resnet50():
    layers, inputs = [*unit(3, 64, 7, 2, nn.ReLU), nn.MaxPool2d(3, 2, 1)], 64
    for stage, (repeat, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512))):
        for i in range(repeat):
            stride, outputs = 2 if stage and i == 0 else 1, 4 * width
            body = nn.Sequential(*unit(inputs, width, act=nn.ReLU), *unit(width, width, 3, stride, nn.ReLU),
                                 *unit(width, outputs))
            shortcut = nn.Sequential(*unit(inputs, outputs, 1, stride)) if i == 0 else None
            layers.append(Residual(body, shortcut, nn.ReLU()))
            inputs = outputs
    return nn.Sequential(*layers, Mean(), nn.Linear(inputs, CLASSES))


def mobilenetv2():
    layers, inputs = unit(3, 32, 3, 2, nn.ReLU6), 32
    for expansion, outputs, repeat, first in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                                              (6, 160, 3, 2), (6, 320, 1, 1)):
        for i in range(repeat):
            layers.append(inverted(inputs, expansion * inputs, outputs, 3, first if i == 0 else 1, nn.ReLU6))
            inputs = outputs
    return nn.Sequential(*layers, *unit(inputs, 1280, act=nn.ReLU6), Mean(), nn.Linear(1280, CLASSES))


def mobilenetv3l():
    relu, swish = nn.ReLU, nn.Hardswish
    # kernel, inner channels, outputs, squeeze-excite, activation, stride: table 1 of the paper
    table = ((3, 16, 16, False, relu, 1), (3, 64, 24, False, relu, 2), (3, 72, 24, False, relu, 1),
             (5, 72, 40, True, relu, 2), (5, 120, 40, True, relu, 1), (5, 120, 40, True, relu, 1),
             (3, 240, 80, False, swish, 2), (3, 200, 80, False, swish, 1), (3, 184, 80, False, swish, 1),
             (3, 184, 80, False, swish, 1), (3, 480, 112, True, swish, 1), (3, 672, 112, True, swish, 1),
             (5, 672, 160, True, swish, 2), (5, 960, 160, True, swish, 1), (5, 960, 160, True, swish, 1))
    layers, inputs = unit(3, 16, 3, 2, swish), 16
    for kernel, inner, outputs, squeeze, act, stride in table:
        layers.append(inverted(inputs, inner, outputs, kernel, stride, act, squeeze))
        inputs = outputs
    return nn.Sequential(*layers, *unit(inputs, 960, act=swish), Mean(), nn.Linear(960, 1280), swish(),
                         nn.Linear(1280, CLASSES))


#: Name -> a function that makes the torch module.
BUILDERS = {"vgg16": vgg16, "resnet50": resnet50, "mobilenetv2": mobilenetv2, "mobilenetv3l": mobilenetv3l}

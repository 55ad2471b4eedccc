"""Nets in plain torch: detection heads, segmentation, images to images, audio, text, state-space models."""

from __future__ import annotations

import torch
from recipe import Recipe, image, normal, sequence, signal
from torch import nn
from torch.nn import functional as F


def unit(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, act: type = nn.SiLU, groups: int = 1) -> nn.Sequential:
    """Convolution, batch-norm, activation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
                         nn.BatchNorm2d(outputs), act())


class UNet(nn.Module):
    """Ronneberger et al. 2015, arXiv 1505.04597, padded, with transposed convolutions."""

    def __init__(self, width: int = 16, depth: int = 3, bilinear: bool = False):
        super().__init__()
        sizes = [width << i for i in range(depth + 1)]
        self.down = nn.ModuleList([self._double(i, o) for i, o in zip([3, *sizes], sizes)])
        self.up = nn.ModuleList([nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
                                               nn.Conv2d(o, o // 2, 1)) if bilinear else nn.ConvTranspose2d(o, o // 2, 2, 2)
                                 for o in sizes[:0:-1]])
        self.join = nn.ModuleList([self._double(o, o // 2) for o in sizes[:0:-1]])
        self.last = nn.Conv2d(width, 2, 1)

    @staticmethod
    def _double(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(unit(inputs, outputs, act=nn.ReLU), unit(outputs, outputs, act=nn.ReLU))

    def forward(self, x):
        kept = []
        for i, block in enumerate(self.down):
            x = block(x if i == 0 else F.max_pool2d(x, 2))
            kept.append(x)
        for up, join, other in zip(self.up, self.join, kept[-2::-1]):
            x = join(torch.cat([other, up(x)], 1))
        return self.last(x)


class C2f(nn.Module):
    """The split-and-concatenate block of YOLOv8."""

    def __init__(self, inputs: int, outputs: int, count: int = 1):
        super().__init__()
        self.half = outputs // 2
        self.first, self.last = unit(inputs, outputs, 1), unit((2 + count) * self.half, outputs, 1)
        self.blocks = nn.ModuleList([nn.Sequential(unit(self.half, self.half), unit(self.half, self.half))
                                     for _ in range(count)])

    def forward(self, x):
        parts = list(self.first(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(parts[-1] + block(parts[-1]))
        return self.last(torch.cat(parts, 1))


class SPPF(nn.Module):
    """Three max pools of 5x5 one after another, concatenated."""

    def __init__(self, channels: int):
        super().__init__()
        self.first, self.last = unit(channels, channels // 2, 1), unit(channels * 2, channels, 1)

    def forward(self, x):
        found = [self.first(x)]
        for _ in range(3):
            found.append(F.max_pool2d(found[-1], 5, 1, 2))
        return self.last(torch.cat(found, 1))


class Yolo(nn.Module):
    """A detector in the form of YOLOv8: three scales, distribution focal loss over 16 bins, boxes decoded within the net."""

    def __init__(self, width: int = 16, classes: int = 20):
        super().__init__()
        w = width
        self.stem = nn.Sequential(unit(3, w, 3, 2), unit(w, 2 * w, 3, 2), C2f(2 * w, 2 * w))
        self.s8 = nn.Sequential(unit(2 * w, 4 * w, 3, 2), C2f(4 * w, 4 * w, 2))
        self.s16 = nn.Sequential(unit(4 * w, 8 * w, 3, 2), C2f(8 * w, 8 * w, 2))
        self.s32 = nn.Sequential(unit(8 * w, 16 * w, 3, 2), C2f(16 * w, 16 * w), SPPF(16 * w))
        self.up16, self.up8 = C2f(24 * w, 8 * w), C2f(12 * w, 4 * w)
        self.boxes = nn.ModuleList([nn.Sequential(unit(c * w, 64), nn.Conv2d(64, 64, 1)) for c in (4, 8, 16)])
        self.scores = nn.ModuleList([nn.Sequential(unit(c * w, 32), nn.Conv2d(32, classes, 1)) for c in (4, 8, 16)])
        self.register_buffer("bins", torch.arange(16.0).reshape(1, 1, 16, 1))

    def forward(self, x):
        s8 = self.s8(self.stem(x))
        s16 = self.s16(s8)
        s32 = self.s32(s16)
        s16 = self.up16(torch.cat([F.interpolate(s32, scale_factor=2.0), s16], 1))
        s8 = self.up8(torch.cat([F.interpolate(s16, scale_factor=2.0), s8], 1))
        found = []
        for stride, y, boxes, scores in zip((8, 16, 32), (s8, s16, s32), self.boxes, self.scores):
            height, width = y.shape[2:]
            sides = (boxes(y).flatten(2).reshape(y.shape[0], 4, 16, -1).softmax(2) * self.bins).sum(2)
            rows = torch.arange(height, dtype=y.dtype).reshape(-1, 1).expand(height, width).flatten() + 0.5
            cols = torch.arange(width, dtype=y.dtype).reshape(1, -1).expand(height, width).flatten() + 0.5
            at = torch.stack([cols, rows]).unsqueeze(0)
            low, high = at - sides[:, :2], at + sides[:, 2:]
            found.append(torch.cat([(low + high) / 2 * stride, (high - low) * stride, scores(y).flatten(2).sigmoid()], 1))
        return torch.cat(found, 2)


class Yolo5Head(nn.Module):
    """The head of YOLOv5 in inference: anchors, grids and a sigmoid, [N, boxes, 5 + classes]."""

    def __init__(self, classes: int = 15):
        super().__init__()
        self.body = nn.Sequential(unit(3, 16, 6, 4), unit(16, 32, 3, 2), unit(32, 64, 3, 2))
        self.out, self.outputs = nn.Conv2d(64, 3 * (5 + classes), 1), 5 + classes
        self.register_buffer("anchors", torch.tensor([[10.0, 13], [16, 30], [33, 23]]).reshape(1, 3, 1, 1, 2))

    def forward(self, x):
        y = self.out(self.body(x))
        n, _, height, width = y.shape
        y = y.view(n, 3, self.outputs, height, width).permute(0, 1, 3, 4, 2).contiguous().sigmoid()
        ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        grid = torch.stack((xs, ys), 2).to(y.dtype).view(1, 1, height, width, 2)
        at = (y[..., :2] * 2 - 0.5 + grid) * 16
        size = (y[..., 2:4] * 2) ** 2 * self.anchors
        return torch.cat((at, size, y[..., 4:]), -1).view(n, -1, self.outputs)


class Style(nn.Module):
    """Johnson et al. 2016, arXiv 1603.08155, with instance norms."""

    def __init__(self, width: int = 16):
        super().__init__()
        w = width
        self.down = nn.Sequential(self._unit(3, w, 9), self._unit(w, 2 * w, 3, 2), self._unit(2 * w, 4 * w, 3, 2))
        self.blocks = nn.ModuleList([nn.Sequential(self._unit(4 * w, 4 * w, 3), *list(self._unit(4 * w, 4 * w, 3))[:-1])
                                     for _ in range(3)])
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), self._unit(4 * w, 2 * w, 3), nn.Upsample(scale_factor=2),
                                self._unit(2 * w, w, 3), nn.ReflectionPad2d(4), nn.Conv2d(w, 3, 9))

    @staticmethod
    def _unit(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
        return nn.Sequential(nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel, stride),
                             nn.InstanceNorm2d(outputs, affine=True), nn.ReLU())

    def forward(self, x):
        x = self.down(x)
        for block in self.blocks:
            x = x + block(x)
        return self.up(x)


class Espcn(nn.Module):
    """Shi et al. 2016, arXiv 1609.05158: three convolutions and a pixel shuffle."""

    def __init__(self, factor: int = 3):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 64, 5, padding=2), nn.Tanh(), nn.Conv2d(64, 32, 3, padding=1), nn.Tanh(),
                                 nn.Conv2d(32, factor * factor, 3, padding=1), nn.PixelShuffle(factor))

    def forward(self, x):
        return self.net(x)


class Edsr(nn.Module):
    """Lim et al. 2017, arXiv 1707.02921, with four blocks, and a bicubic picture added."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, padding=1)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1))
                                     for _ in range(4)])
        self.last = nn.Sequential(nn.Conv2d(32, 128, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(32, 3, 3, padding=1))

    def forward(self, x):
        y = self.first(x)
        for block in self.blocks:
            y = y + 0.1 * block(y)
        return self.last(y) + F.interpolate(x, scale_factor=2.0, mode="bicubic", align_corners=False)


class Generator(nn.Module):
    """Radford et al. 2015, arXiv 1511.06434 (DCGAN)."""

    def __init__(self, width: int = 16):
        super().__init__()
        layers: list[nn.Module] = []
        sizes = [64, width * 8, width * 4, width * 2, width]
        for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
            layers += [nn.ConvTranspose2d(a, b, 4, 1 if i == 0 else 2, 0 if i == 0 else 1, bias=False), nn.BatchNorm2d(b),
                       nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh())

    def forward(self, x):
        return self.net(x)


class WaveNet(nn.Module):
    """Gated dilated causal convolutions with skips. Source: van den Oord et al. 2016, arXiv 1609.03499."""

    def __init__(self, width: int = 32, blocks: int = 8):
        super().__init__()
        self.first = nn.Conv1d(1, width, 1)
        self.gates = nn.ModuleList([nn.Conv1d(width, 2 * width, 2, dilation=2 ** (i % 8)) for i in range(blocks)])
        self.outs = nn.ModuleList([nn.Conv1d(width, 2 * width, 1) for _ in range(blocks)])
        self.last = nn.Sequential(nn.ReLU(), nn.Conv1d(width, width, 1), nn.ReLU(), nn.Conv1d(width, 64, 1))

    def forward(self, x):
        x, skips = self.first(x), 0
        for gate, out in zip(self.gates, self.outs):
            a, b = gate(F.pad(x, (gate.dilation[0], 0))).chunk(2, 1)
            residual, skip = out(torch.tanh(a) * torch.sigmoid(b)).chunk(2, 1)
            x, skips = x + residual, skips + skip
        return self.last(skips)


class ConvTasNet(nn.Module):
    """Encoder, depthwise separator with global norms, mask, decoder. Source: Luo and Mesgarani 2019, arXiv 1809.07454."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.encoder, self.decoder = nn.Conv1d(1, width, 16, 8, bias=False), nn.ConvTranspose1d(width, 1, 16, 8, bias=False)
        self.blocks = nn.ModuleList([nn.Sequential(
            nn.Conv1d(width, 64, 1), nn.PReLU(), nn.GroupNorm(1, 64),
            nn.Conv1d(64, 64, 3, padding=2 ** i, dilation=2 ** i, groups=64), nn.PReLU(), nn.GroupNorm(1, 64),
            nn.Conv1d(64, width, 1)) for i in range(4)])
        self.mask = nn.Conv1d(width, 2 * width, 1)

    def forward(self, x):
        encoded = F.relu(self.encoder(x))
        y = encoded
        for block in self.blocks:
            y = y + block(y)
        masks = torch.sigmoid(self.mask(y)).reshape(x.shape[0], 2, encoded.shape[1], -1)
        parts = (encoded.unsqueeze(1) * masks).flatten(0, 1)
        return self.decoder(parts).reshape(x.shape[0], 2, -1)


class Crnn(nn.Module):
    """Convolutions, then a bidirectional LSTM over the width: text in pictures. Source: Shi et al. 2015, arXiv 1507.05717."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(unit(1, 16, act=nn.ReLU), nn.MaxPool2d(2), unit(16, 32, act=nn.ReLU), nn.MaxPool2d(2),
                                  unit(32, 64, act=nn.ReLU), nn.MaxPool2d((2, 1)))
        self.rnn, self.last = nn.LSTM(64, 48, 2, bidirectional=True, batch_first=True), nn.Linear(96, 37)

    def forward(self, x):
        y, _ = self.rnn(self.conv(x).mean(2).permute(0, 2, 1))
        return F.log_softmax(self.last(y), 2)


class Text(nn.Module):
    """Embedding, recurrent layers, a head over the mean."""

    def __init__(self, kind: str, bidirectional: bool = False, layers: int = 2):
        super().__init__()
        self.embedding = nn.Embedding(100, 48)
        options = {"nonlinearity": "relu"} if kind == "RNN" else {}
        self.rnn = getattr(nn, kind)(48, 64, layers, batch_first=True, bidirectional=bidirectional, **options)
        self.head = nn.Linear(128 if bidirectional else 64, 5)

    def forward(self, input_ids):
        y, _ = self.rnn(self.embedding(input_ids))
        return self.head(y.mean(1)), self.head(y)


class Seq2Seq(nn.Module):
    """A GRU that reads, and one that writes eight steps with additive attention."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.embedding, self.reader = nn.Embedding(100, width), nn.GRU(width, width, batch_first=True)
        self.cell, self.head = nn.GRUCell(2 * width, width), nn.Linear(width, 100)
        self.a, self.b, self.v = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 1)

    def forward(self, input_ids):
        states, last = self.reader(self.embedding(input_ids))
        h, token, found = last[0], input_ids[:, :1], []
        for _ in range(8):
            weights = torch.softmax(self.v(torch.tanh(self.a(states) + self.b(h).unsqueeze(1))), 1)
            h = self.cell(torch.cat([self.embedding(token).squeeze(1), (weights * states).sum(1)], 1), h)
            logits = self.head(h)
            token = logits.argmax(1, keepdim=True)
            found.append(logits)
        return torch.stack(found, 1)


class Mamba(nn.Module):
    """Selective state spaces, the scan in closed form by cumulative sums. Source: Gu and Dao 2023, arXiv 2312.00752."""

    def __init__(self, width: int = 32, states: int = 8):
        super().__init__()
        self.embedding, self.norm = nn.Embedding(100, width), nn.LayerNorm(width)
        self.inner, self.states = 2 * width, states
        self.first, self.last = nn.Linear(width, 4 * width, bias=False), nn.Linear(2 * width, width, bias=False)
        self.conv = nn.Conv1d(2 * width, 2 * width, 4, padding=3, groups=2 * width)
        self.project, self.step = nn.Linear(2 * width, 1 + 2 * states, bias=False), nn.Linear(1, 2 * width)
        self.a = nn.Parameter(-torch.rand(2 * width, states) * 0.1)
        self.d = nn.Parameter(torch.ones(2 * width))

    def forward(self, input_ids):
        x = self.embedding(input_ids)
        u, gate = self.first(self.norm(x)).chunk(2, -1)
        u = F.silu(self.conv(u.transpose(1, 2))[..., :input_ids.shape[1]].transpose(1, 2))
        step, b, c = self.project(u).split([1, self.states, self.states], -1)
        step = F.softplus(self.step(step))
        decay = torch.cumsum(torch.einsum("bld,dn->bldn", step, self.a), 1)
        driven = torch.einsum("bld,bln->bldn", step * u, b)
        state = torch.cumsum(driven * torch.exp(-decay), 1) * torch.exp(decay)
        y = torch.einsum("bldn,bln->bld", state, c) + u * self.d
        return x + self.last(y * F.silu(gate))


class Tcn(nn.Module):
    """Dilated convolutions with weight norm folded, over series."""

    def __init__(self, width: int = 24):
        super().__init__()
        sizes = [6, width, width, width]
        self.blocks = nn.ModuleList([nn.Conv1d(a, b, 3, padding=2 * 2 ** i, dilation=2 ** i)
                                     for i, (a, b) in enumerate(zip(sizes, sizes[1:]))])
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        for block in self.blocks:
            y = F.leaky_relu(block(x)[..., :x.shape[2]], 0.1)
            x = y + x if y.shape[1] == x.shape[1] else y
        return self.head(x[..., -1])


class PointNet(nn.Module):
    """Shared multilayer perceptrons over points, and a maximum. Source: Qi et al. 2017, arXiv 1612.00593."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(3, 64, 1), nn.BatchNorm1d(64), nn.ReLU(), nn.Conv1d(64, 128, 1), nn.BatchNorm1d(128),
                                 nn.ReLU())
        self.head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))

    def forward(self, x):
        return F.log_softmax(self.head(self.net(x).amax(2)), 1)


class Sampler(nn.Module):
    """A spatial transformer: an affine grid that the net computes, and bilinear sampling."""

    def __init__(self, size: int = 37):
        super().__init__()
        centres = (torch.arange(size) * 2 + 1) / size - 1
        rows, cols = torch.meshgrid(centres, centres, indexing="ij")
        self.register_buffer("points", torch.stack([cols, rows, torch.ones_like(rows)], -1).view(1, -1, 3))
        self.locate = nn.Sequential(nn.Conv2d(1, 8, 7, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 6))
        self.net = nn.Sequential(nn.Conv2d(1, 8, 5), nn.ELU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 10))

    def forward(self, x):
        theta = self.locate(x).view(-1, 2, 3) * 0.1 + torch.eye(2, 3)
        grid = (self.points @ theta.transpose(1, 2)).view(-1, x.shape[2], x.shape[3], 2)
        return self.net(F.grid_sample(x, grid, align_corners=False))


class Mlp(nn.Module):
    """A multilayer perceptron of activations that are rare elsewhere."""

    def __init__(self):
        super().__init__()
        acts = (nn.ReLU(), nn.GELU(), nn.SELU(), nn.Mish(), nn.Hardswish(), nn.Softplus(), nn.CELU(), nn.Softsign(),
                nn.GELU("tanh"))
        self.net = nn.Sequential(*[layer for act in acts for layer in (nn.Linear(32, 32), act)], nn.Linear(32, 4))

    def forward(self, x):
        return self.net(x)


class Vae3d(nn.Module):
    """Volumes to volumes: convolutions, pools and transposed convolutions of three dimensions."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv3d(1, 8, 3, 2, 1), nn.BatchNorm3d(8), nn.ReLU(), nn.Conv3d(8, 16, 3, padding=1),
                                  nn.InstanceNorm3d(16, affine=True), nn.LeakyReLU(0.1), nn.MaxPool3d(2))
        self.up = nn.Sequential(nn.ConvTranspose3d(16, 8, 2, 2), nn.ReLU(),
                                nn.Upsample(scale_factor=2, mode="trilinear", align_corners=False), nn.Conv3d(8, 1, 1))

    def forward(self, x):
        return torch.sigmoid(self.up(self.down(x)))


def _rows(build, width: int) -> Recipe:
    return Recipe(build, lambda n: {"x": normal(n, width)}, [{"n": 1}, {"n": 5}, {"n": 2}], {"x": {0: "n"}})


NETS = {
    "unet": image(UNet, 96, (1, 2, 1), free=True),
    "unet_bilinear": image(lambda: UNet(bilinear=True), 96, (1, 2, 1), free=True),
    "yolo8": image(Yolo, 160, (1, 2, 1), free=True), "yolo5": image(Yolo5Head, 128, (1, 2, 1), free=True),
    "style": image(Style, 96, (1, 1, 1), free=True), "espcn": image(Espcn, 64, (1, 2, 1), free=True, channels=1),
    "edsr": image(Edsr, 48, (1, 2, 1), free=True),
    "dcgan": Recipe(Generator, lambda n: {"x": normal(n, 64, 1, 1)}, [{"n": 1}, {"n": 2}, {"n": 4}], {"x": {0: "n"}}),
    "wavenet": signal(WaveNet), "conv_tasnet": signal(ConvTasNet), "tcn": signal(Tcn, 6, (50, 64, 20)),
    "pointnet": signal(PointNet, 3, (128, 60, 200)),
    "crnn": image(Crnn, 32, (1, 2, 1), free=True, channels=1, exporters=("l",)),
    "lstm_text": sequence(lambda: Text("LSTM")), "bilstm_text": sequence(lambda: Text("LSTM", True)),
    "gru_text": sequence(lambda: Text("GRU")), "bigru_text": sequence(lambda: Text("GRU", True, 1)),
    "rnn_text": sequence(lambda: Text("RNN", True), exporters=("l",)), "seq2seq": sequence(Seq2Seq, exporters=("d",)),
    "mamba_like": sequence(Mamba), "sampler": image(Sampler, 37, (1, 2, 1), channels=1),
    "mlp": _rows(Mlp, 32),
    "vae3d": Recipe(Vae3d, lambda n, d: {"x": normal(n, 1, d, 16, 24)},
                    [{"n": 1, "d": 16}, {"n": 2, "d": 16}, {"n": 1, "d": 32}], {"x": {0: "n", 2: "d"}}),
}

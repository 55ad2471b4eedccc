"""Nets of torchvision, with random weights."""

from __future__ import annotations

import re
from typing import Any

import torch
from recipe import Recipe, image, normal
from torchvision_ops import torchvision

models = torchvision.models


def _classifier(name: str) -> Any:
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else \
        {"init_weights": False} if name == "inception_v3" else {}
    return lambda: getattr(models, name)(weights=None, **options)


class _Out(torch.nn.Module):
    """A net whose result is a dict: the entry `out` alone."""

    def __init__(self, net: torch.nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)["out"]


class _Detector(torch.nn.Module):
    """A detector on one image [3,H,W], as its users call it: boxes, scores, labels."""

    def __init__(self, net: torch.nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x):
        found = self.net([x])[0]
        return found["boxes"], found["scores"], found["labels"]

    def settle(self) -> None:
        """Statistics of random images for every batch-norm, and class scores that differ: with random weights alone boxes have
        equal scores, and rounding decides which come first and which are suppressed."""
        images = [torch.from_numpy(normal(3, 320, 320, seed=seed)) for seed in (1, 2)]
        norms = [m for m in self.net.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        self.net(images)
        self.eval()
        scores = [m for name, m in self.net.named_modules()
                  if re.search(r"(cls_logits|cls_score|classification_head\.module_list\.\d+\.1)$", name)]
        found: dict[torch.nn.Module, list[torch.Tensor]] = {m: [] for m in scores}
        hooks = [m.register_forward_hook(lambda m, _, y: found[m].append(y.flatten())) for m in scores]
        self.net(images)
        for hook in hooks:
            hook.remove()
        for module, made in found.items():
            deviation, mean = torch.std_mean(torch.cat(made))
            module.weight.div_(2 * deviation)
            module.bias.sub_(mean).div_(2 * deviation)


def _detector(name: str, size: int = 320, **options: Any) -> Recipe:
    """One image of several sizes; every number of detections depends on contents."""
    def build() -> torch.nn.Module:
        return _Detector(getattr(models.detection, name)(weights=None, weights_backbone=None, num_classes=11, **options))
    sizes = [{"h": size, "w": size}, {"h": size, "w": size + 64}, {"h": size + 32, "w": size}]
    return Recipe(build, lambda h, w: {"x": normal(3, h, w)}, sizes, {"x": {1: "h", 2: "w"}}, ("l",))


def _video(name: str) -> Recipe:
    return Recipe(lambda: getattr(models.video, name)(weights=None), lambda n: {"x": normal(n, 3, 8, 64, 64)},
                  [{"n": 1}, {"n": 2}, {"n": 3}], {"x": {0: "n"}})


_CLASSIFIERS = ("alexnet", "vgg11_bn", "resnet18", "resnet50", "resnext50_32x4d", "densenet121", "squeezenet1_1", "googlenet",
                "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet1_0", "shufflenet_v2_x1_0",
                "efficientnet_b0", "efficientnet_v2_s", "regnet_y_400mf", "regnet_x_400mf", "convnext_tiny", "vit_b_32",
                "swin_t", "swin_v2_t")

NETS = {
    **{name: image(_classifier(name)) for name in _CLASSIFIERS},
    "inception_v3": image(_classifier("inception_v3"), 299),
    "maxvit_t": image(_classifier("maxvit_t"), batches=(1, 2)),
    "deeplabv3_mv3": image(lambda: _Out(models.segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None)),
                           192, (1, 2, 1), free=True),
    "fcn_resnet50": image(lambda: _Out(models.segmentation.fcn_resnet50(weights=None, weights_backbone=None)), 96, (1, 2, 1),
                          free=True),
    "lraspp_mv3": image(lambda: _Out(models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)), 192,
                        (1, 2, 1), free=True),
    "ssdlite320_mv3": _detector("ssdlite320_mobilenet_v3_large", score_thresh=0.05),
    "retinanet_r50": _detector("retinanet_resnet50_fpn", min_size=160, max_size=256),
    "fasterrcnn_mv3": _detector("fasterrcnn_mobilenet_v3_large_320_fpn", min_size=160, max_size=256),
    "r3d_18": _video("r3d_18"),
    "s3d": Recipe(lambda: models.video.s3d(weights=None), lambda n: {"x": normal(n, 3, 16, 64, 64)}, [{"n": 1}, {"n": 2}],
                  {"x": {0: "n"}}),
}

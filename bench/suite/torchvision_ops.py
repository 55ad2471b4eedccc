"""torchvision beside a torch without its compiled operators: `nms` and `roi_align` in plain torch, as its exporter needs them.

torchvision's wheels carry operators for one build of torch each. Where they do not load, importing it fails; here the two
that detectors use are defined first, by their documentation, and the others are left out.
"""

from __future__ import annotations

import torch

_OWN = ("nms", "roi_align")


def _nms(boxes, scores, iou_threshold: float):
    """Indices of the boxes that are kept, by falling score: greedy suppression of those that overlap a better one by more."""
    order = torch.argsort(scores, descending=True)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    for i in order.tolist():
        if kept:
            best = boxes[kept]
            inner = (torch.minimum(best[:, 2:], boxes[i, 2:]) - torch.maximum(best[:, :2], boxes[i, :2])).clamp(min=0)
            shared = inner[:, 0] * inner[:, 1]
            if bool((shared / (area[kept] + area[i] - shared) > iou_threshold).any()):
                continue
        kept.append(i)
    return torch.tensor(kept, dtype=torch.int64)


def _roi_align(x, rois, spatial_scale: float, height: int, width: int, sampling_ratio: int, aligned: bool):
    """Means of bilinear samples on a grid of height x width cells per box [batch index, x1, y1, x2, y2]."""
    results = []
    for roi in rois:
        left, top, right, bottom = (roi[1:] * spatial_scale - (0.5 if aligned else 0)).tolist()
        high, wide = bottom - top, right - left
        if not aligned:
            high, wide = max(high, 1.0), max(wide, 1.0)
        ny = sampling_ratio if sampling_ratio > 0 else max(1, -int(-high // height))
        nx = sampling_ratio if sampling_ratio > 0 else max(1, -int(-wide // width))
        ys = top + (torch.arange(height * ny) + 0.5) * high / (height * ny)
        xs = left + (torch.arange(width * nx) + 0.5) * wide / (width * nx)
        sampled = _bilinear(x[int(roi[0])], ys, xs)
        results.append(sampled.reshape(-1, height, ny, width, nx).mean((2, 4)))
    return torch.stack(results) if results else x.new_zeros((0, x.shape[1], height, width))


def _bilinear(plane, ys, xs):
    def weights(at, size):
        inside = (at >= -1) & (at <= size)
        at = at.clamp(0, size - 1)
        low = at.floor().long().clamp(max=size - 1)
        high = (low + 1).clamp(max=size - 1)
        return inside, low, high, at - low
    inside_y, y0, y1, dy = weights(ys, plane.shape[1])
    inside_x, x0, x1, dx = weights(xs, plane.shape[2])
    rows = plane[:, y0] * (1 - dy)[None, :, None] + plane[:, y1] * dy[None, :, None]
    value = rows[:, :, x0] * (1 - dx) + rows[:, :, x1] * dx
    return value * (inside_y[:, None] & inside_x[None]).to(value.dtype)


def _load():
    try:
        import torchvision
        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
        return torchvision
    except (ImportError, RuntimeError, AttributeError):
        pass
    import sys
    for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
                   "int sampling_ratio, bool aligned) -> Tensor")
    library.impl("nms", _nms, "CPU")
    library.impl("roi_align", _roi_align, "CPU")
    _load.library = library  # the definitions live as long as it does
    register = torch.library.register_fake

    def of_own(op, *args, **options):
        known = not (isinstance(op, str) and op.startswith("torchvision::")) or op.split("::")[1] in _OWN
        return register(op, *args, **options) if known else lambda function: function
    torch.library.register_fake = of_own
    try:
        import torchvision
    finally:
        torch.library.register_fake = register
    import torchvision.ops._register_onnx_ops
    for module in (torchvision.extension, torchvision.ops.boxes, sys.modules["torchvision.ops.roi_align"]):
        if hasattr(module, "_assert_has_ops"):
            module._assert_has_ops = _nothing_to_check
        if hasattr(module, "_has_ops"):
            module._has_ops = _has_both  # else roi_align takes a form of its own that cannot be traced
    return torchvision


def _nothing_to_check() -> None:
    """In the place of torchvision's check for its compiled operators; torch.jit compiles it."""


def _has_both() -> bool:
    """In the place of torchvision's question whether it has its operators: detectors need the two above."""
    return True


torchvision = _load()

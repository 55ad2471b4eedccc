"""Pipelines in front of and behind a net, as JSON files, and an image that goes through them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ....runtime.model import load
from .. import models, mutate, use
from ..target import JsonTarget

_KINDS = ("source", "sink", "madd", "permute", "softmax", "topk", "argmax", "relu", "clip", "cast", "transpose",
          "resize2", "reshape",
          "split", "concat", "conv2", "slice", "pad", "mul", "nonsense")


class Preprocess(JsonTarget):
    """A case: the JSON text; its length says how large the image is."""

    name = "preprocess"
    weight = 3

    def prepare(self, folder: Path) -> None:
        self.model = models.onnx_models()["classifier"]
        (folder / "labels.txt").write_text("a\nb\nc\nd\ne\n")
        self.labels = str(folder / "labels.txt")

    def make(self, rng: np.random.Generator) -> bytes:
        data = json.loads(json.dumps(models.PIPELINE))
        source = data["preprocess"][0]
        source["resize_mode"] = mutate.pick(rng, ("bilinear", "nearest", "bicubic", "area", "bilinear"))
        source["format"] = mutate.pick(rng, ("rgb", "bgr", "gray", "rgb"))
        source["keep_ar"] = bool(rng.integers(2))
        if not rng.integers(5):
            source["shape"] = [1, 3, mutate.edge(rng) if rng.integers(2) else 8, mutate.edge(rng)]
        if not rng.integers(5):
            entry = {"type": mutate.pick(rng, _KINDS), mutate.pick(rng, ("axis", "k", "perm", "shape", "min", "dtype", "axes")):
                     mutate.value_like(mutate.pick(rng, (1, [1, 2], "f32", 1.0)), rng)}
            entries = data[mutate.pick(rng, ("preprocess", "postprocess"))]
            entries.insert(int(rng.integers(len(entries) + 1)), entry)
        if rng.integers(2):
            mutate.change(data, rng, int(rng.integers(1, 3)))
        text = mutate.dump(data)
        return mutate.flip(text, rng) if not rng.integers(12) else text

    def run(self, data: bytes, folder: Path) -> None:
        path = folder / "pipeline.json"
        path.write_bytes(data)
        (folder / "labels.txt").write_text("a\nb\nc\nd\ne\n")
        model = load(self.model, preprocess=path, postprocess=path, threads=1)
        size = len(data)
        image = np.arange((1 + size % 13) * (1 + size % 7) * 3, dtype=np.uint8).reshape(1 + size % 13, 1 + size % 7, 3)
        use.look(model)
        before = model.predict(image)
        model.save(folder / "saved.pw")
        use.check_equal(before, load(folder / "saved.pw", threads=1).predict(image), "after saving and loading")

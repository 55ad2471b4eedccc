"""Routes as users hand them in: JSON data of whole routes, and the texts that restrict routines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ....errors import Error
from ....net.route import Route
from ....runtime.defaults import default_route
from ....runtime.descriptor import restriction
from ....runtime.devices import routines
from ....runtime.inputs import random_inputs
from ....runtime.model import LoadedModel
from .. import models, mutate, use
from ..target import JsonTarget

_ROUTED = ("classifier", "image", "attention", "shapes", "integers")
_WORDS = ("cpu", "python", "f32", "bf16", "i8", "qint8", "nchw", "nhwc", "nchw16c", "chf", "chl", "naive", "fast",
          "faster", "direct",
          "gemm", "conv2", "dense", "conv2/direct", "1thread", "winograd4", "conv2/direct:f32:nhwc:cpu", "", "cuda0", "é",
          "a b")
_JOINTS = (":", "/", "@", ",", "..", " ", "")


class Routes(JsonTarget):
    """A case: `model` (a name), `shapes`, `threads`, and `route` or `restrict` with `accuracy`."""

    name = "routes"
    weight = 3

    def prepare(self, folder: Path) -> None:
        self.models = {n: models.pw_model(n, "plain") for n in _ROUTED}
        self.models["quantised"] = models.pw_model("classifier", "quantised")
        self.routes = []
        for name, model in self.models.items():
            bound = model.bind()
            for accuracy in ("f32", "reduced", "quantised"):
                self.routes.append((name, default_route(bound, 1, accuracy).to_json()))
        self.ids = sorted(r["id"] for r in routines())

    def make(self, rng: np.random.Generator) -> bytes:
        if not rng.integers(4):
            words = [mutate.pick(rng, _WORDS) + mutate.pick(rng, _JOINTS) for _ in range(int(rng.integers(1, 5)))]
            if not rng.integers(3):
                words.append(f"@{mutate.edge(rng) if rng.integers(2) else int(rng.integers(9))}")
            return mutate.dump({"model": mutate.pick(rng, _ROUTED), "restrict": mutate.pick(rng, ("".join(words), words)),
                                "accuracy": mutate.pick(rng, ("f32", "strict", "reduced", "quantised", "none"))})
        name, route = mutate.pick(rng, self.routes)
        case = {"model": name, "route": json.loads(json.dumps(route)), "threads": int(rng.integers(1, 4)), "shapes": None}
        kind = int(rng.integers(4))
        if kind == 0:
            choice = mutate.pick(rng, list(case["route"]["layers"].values()))
            choice["routine"] = mutate.pick(rng, self.ids)
        elif kind == 1:  # a route of another net, or for other shapes
            case["model"] = mutate.pick(rng, list(self.models))
            case["shapes"] = {"N": int(rng.integers(0, 4))}
        elif kind == 2:
            choice = mutate.pick(rng, list(case["route"]["layers"].values()))
            formats = [f for _, r in self.routes for c in r["layers"].values() for f in (*c["ins"], *c["outs"])]
            side = choice[mutate.pick(rng, ("ins", "outs"))]
            if side:
                side[int(rng.integers(len(side)))] = mutate.pick(rng, formats)
        if kind == 3 or not rng.integers(3):
            mutate.change(case["route"], rng)
        return mutate.dump(case)

    def run(self, data: bytes, folder: Path) -> None:
        try:
            case = json.loads(data)
            base = self.models[case["model"]]
            threads = case.get("threads", 1)
        except (ValueError, LookupError, TypeError, RecursionError, AttributeError) as e:
            raise Error(f"no case: {e}") from e
        model = LoadedModel(models.plain(base), threads=threads)
        if "route" not in case:
            default_route(model.bind(), 1, case["accuracy"], restriction(case["restrict"])) if case.get("accuracy") else None
            return
        route = Route.from_json(case["route"])
        repr(route)
        route._repr_html_()
        route.to_json()
        shapes = case["shapes"]
        plan = model.plan(route, shapes)
        plan.describe()
        bound = model.bind(shapes)
        if use.is_small(bound):
            inputs = random_inputs(bound)
            before = plan.session().run(inputs)
            model.add_route(route)
            again = model.run(inputs)
            if route.signature == bound.signature:
                use.check_equal(before, again, "by the model")
            model.save(folder / "routed.pw")
            use.exercise(folder / "routed.pw", folder, 2)

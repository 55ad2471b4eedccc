"""Profiles of another machine, as files: solved for a small net, and the route that comes of it is run."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

import pathweave as pw

from ....net.format import Format
from ....net.problem import adapt_problem
from ....runtime import catalogue
from ....runtime.inputs import random_inputs
from .. import models, mutate, use
from ..target import Target

_NETS = ("classifier", "image", "attention", "integers")


class Profiles(Target):
    """A case: a text of JSON Lines. Which net it is solved for follows from its host's name."""

    name = "profiles"
    weight = 2
    suffix = ".jsonl"

    def prepare(self, folder: Path) -> None:
        self.models = {n: models.pw_model(n, "quantised" if n == "classifier" else "plain") for n in _NETS}
        self.lines = {n: _lines(n, model) for n, model in self.models.items()}

    def make(self, rng: np.random.Generator) -> bytes:
        lines = json.loads(json.dumps(self.lines[mutate.pick(rng, _NETS)]))
        for _ in range(int(rng.integers(1, 12))):
            kind, line = int(rng.integers(8)), mutate.pick(rng, lines[1:])
            if not isinstance(line, dict) or not {"about", "problem"} <= line.keys():
                continue
            if kind < 2:
                line["samples"] = [float(mutate.pick(rng, (1e-300, 1e-9, 1.0, 1e9, 9e17, 1e18, 0.0)))]
            elif kind == 2:
                line["about"] = mutate.json_text(str(line["about"]).encode(), rng).decode("latin-1")
            elif kind == 3:
                lines.remove(line)
            elif kind == 4:
                other = mutate.pick(rng, lines[1:])
                key = mutate.pick(rng, ("problem", "routine", "variant", "about", "version"))
                line[key] = other.get(key) if isinstance(other, dict) else other
            elif kind == 5:
                mutate.change(line, rng, 1)
            elif kind == 6:
                line["problem"] = str(line["problem"]).replace("threads=1", f"threads={mutate.edge(rng)}")
            else:
                line["samples"] = [float(v) for v in rng.lognormal(8, 4, 3)]
            if len(lines) < 3:
                break
        text = b"\n".join(map(mutate.dump, lines))
        return mutate.flip(text, rng) if not rng.integers(10) else text

    def run(self, data: bytes, folder: Path) -> None:
        path = folder / "case.jsonl"
        path.write_bytes(data)
        profile = pw.Profile.load(path)
        model = self.models[profile.host if profile.host in self.models else "classifier"]
        accuracy = ("f32", "reduced", "quantised", "strict")[zlib.crc32(data) % 4]
        route = pw.solve(model, profile, accuracy=accuracy)
        repr(route)
        route._repr_html_()
        plan = model.plan(route)
        plan.describe()
        inputs = random_inputs(model.bind())
        session = plan.session()
        use.check_equal(session.run(inputs), session.run(inputs), "of a second run")


def _lines(name: str, model: pw.Model) -> list[dict]:
    """A profile with two candidates of every layer and of every conversion between their formats."""
    bound = model.bind()
    found: list[dict[str, Any]] = []
    formats: dict[str, set[Format]] = {}
    rng = np.random.default_rng(zlib.crc32(name.encode()))

    def line(problem: object, c: catalogue.Candidate) -> dict:
        about = {"ins": list(map(str, c.ins)), "outs": list(map(str, c.outs)), "accuracy": c.accuracy, "memory": 0,
                 **({"reference": True} if c.reference else {})}
        return {"id": f"{len(found)}", "host": name, "problem": str(problem), "routine": c.routine, "version": c.version,
                "variant": c.variant, "protocol": 2, "when": 1e9, "about": json.dumps(about),
                "samples": [float(v) for v in rng.integers(100, 9000, 3)]}
    for i, (layer, problem) in enumerate(zip(bound.layers, bound.problems(1))):
        candidates, _ = bound.candidates(i, 1, accuracy="quantised", include_reference=True)
        chosen = [candidates[0], *(candidates[int(k)] for k in rng.integers(0, len(candidates), 3))]
        for c in {c.routine + c.variant: c for c in chosen}.values():
            found.append(line(problem.text, c))
            for value, form in (*zip(bound.dynamic(layer), c.ins), *zip(layer.outputs, c.outs)):
                formats.setdefault(value, set()).add(form)
    known = set()
    for value, forms in formats.items():
        for a in sorted(forms):
            for b in sorted(forms):
                adapt = adapt_problem(bound.spec(value), a, b, 1) if a != b else None
                if adapt is not None and adapt.text not in known:
                    known.add(adapt.text)
                    found += [line(adapt.text, c) for c in catalogue.candidates(adapt, accuracy="quantised")[0][:1]]
    return [{"host": name, "facts": {"cpu": "x", "threads": 1}}, *found]

"""How good estimates are: against the measurements of a profile store, by candidate, by choice and by route.

    python bench/estimates.py MODEL ... [--store FILE] [--threads N] [--class CLASS] [--calibrate] [--tune SECONDS] [--table]
                              [--problems N]

For every model that the store knows (with `--tune` it is profiled first): the time of the estimated route over that of the best
route, both under the measured costs, and the same of the route by rule. Then, over all problems of all models: per layer kind
and algorithm the ratio of estimate and measurement (median, tenth and ninetieth percentile), and per kind the regret: how much
longer the candidate of the least estimate takes than the fastest. `--problems N`: the N problems that lose most. `--class`: the
least accurate class of routines that may be used. `--calibrate`: values get scales from the inputs beside the net first, so
that routines on integers compete.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

import pathweave as pw
from pathweave.net.accuracy import ACCURACIES as CLASSES
from pathweave.profiling.protocol import of_store
from pathweave.profiling.store import Store
from pathweave.runtime import catalogue
from pathweave.runtime.defaults import default_route, usual_route
from pathweave.runtime.estimated import Estimates
from pathweave.tuning.costs import Costs
from pathweave.tuning.tuner import predict, solved_routes


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def geometric(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def inputs_of(path: Path) -> dict[str, np.ndarray] | None:
    """The inputs that the suite keeps beside a net, NAME.0.npz beside NAME.l.onnx; None without those."""
    kept = path.with_name(path.name.split(".")[0] + ".0.npz")
    if not kept.exists():
        return None
    with np.load(kept) as arrays:
        return dict(arrays)


class Tally:
    """What all models say together. `ratios`: (kind, algorithm) -> estimate / measured. `lost`: kind -> (time of the estimated
    choice, of the best), ns. `worst`: (lost ns, problem, chosen, its time, best, its time)."""

    def __init__(self, accuracy: str) -> None:
        self.accuracy = accuracy
        self.ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.lost: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.worst: list[tuple[float, str, str, float, str, float]] = []
        self.seen: set[str] = set()

    def add(self, costs: Costs, estimates: Estimates) -> None:
        """The problems of one model."""
        for place, problem in zip(costs.bound.flat.places, costs.bound.flat.problems(costs.threads)):
            if problem.text in self.seen:
                continue
            self.seen.add(problem.text)
            offered = {c.key: c for c in catalogue.candidates(problem, accuracy=self.accuracy)[0]}
            known = [(offered[p.candidate.key], p.cost) for p in costs.layers[place.layer.name] if p.candidate.key in offered]
            if len(known) > 0:
                self.one(problem.text, problem.kind, known, estimates)
        for table in costs.adapts.values():
            for p in table.values():
                text = p.candidate.problem.text
                if text in self.seen:
                    continue
                self.seen.add(text)
                offered = {c.key: c for c in catalogue.candidates(p.candidate.problem, accuracy=self.accuracy)[0]}
                if p.candidate.key in offered:
                    self.one(text, "adapt", [(offered[p.candidate.key], p.cost)], estimates)

    def one(self, text: str, kind: str, known: list, estimates: Estimates) -> None:
        priced = [(estimates.price(c), ns, c) for c, ns in known]
        for guess, ns, c in priced:
            layout = " " + c.ins[0].layout if c.ins else ""
            way = re.sub(r"[^a-z]", "", c.own_variant.partition("/")[2]) if c.algorithm.startswith("winograd") else ""
            form = c.routine.split(":")[1]
            name = c.algorithm + way + ("" if form == "f32" else ":" + form)
            name += (" +1" if c.alone else "") + (" +steps" if c.steps else "") + layout
            self.ratios[kind, name].append(guess / ns)
        for ports in {(c.ins, c.outs) for _, _, c in priced}:
            same = [p for p in priced if (p[2].ins, p[2].outs) == ports]
            self.lost[kind].append((min(same, key=lambda p: p[0])[1], min(p[1] for p in same)))
        chosen, best = min(priced, key=lambda p: p[0]), min(priced, key=lambda p: p[1])
        self.worst.append((chosen[1] - best[1], text, f"{chosen[2]} (estimated {chosen[0]:.0f})", chosen[1],
                           f"{best[2]} (estimated {best[0]:.0f})", best[1]))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--class", dest="accuracy", default="f32", choices=CLASSES)
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--tune", type=float, default=0.0)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--problems", type=int, default=0)
    args = parser.parse_args()
    tally, new, old = Tally(args.accuracy), [], []
    for path in args.models:
        model, inputs = pw.load(path), inputs_of(path)
        shapes = None if inputs is None else {name: a.shape for name, a in inputs.items()}
        if args.calibrate and inputs is not None:
            model.calibrate([inputs])
        if args.tune:
            pw.profile(model, budget_s=args.tune, threads=args.threads, accuracy=args.accuracy, shapes=shapes, store=args.store,
                       progress=False)
        bound = model.bind(shapes)
        with Store.open(args.store) as store:
            profile = of_store(store, bound, args.threads)
        try:
            costs = Costs.of(bound, profile, args.threads, args.accuracy)
        except pw.Error as e:
            print(f"{path.name}: not known: {str(e)[:100]}", file=sys.stderr)
            continue
        best = solved_routes(costs)[0].predicted_ns or 0.0
        usual = usual_route(costs.bound, args.threads, args.accuracy)
        plain = default_route(costs.bound, args.threads, args.accuracy)
        found, before = predict(costs, usual), predict(costs, plain)
        estimate = usual.notes.get("estimated_ns", float("nan"))
        shown = [r.predicted_ns / best if r is not None and r.predicted_ns else float("nan") for r in (found, before)]
        print(f"{path.name:24} best {best / 1e6:9.3f} ms   estimated route {shown[0]:6.3f}   by rule {shown[1]:6.3f}   "
              f"estimate / best {estimate / best:6.3f}", flush=True)
        new += [shown[0]] if shown[0] == shown[0] else []
        old += [shown[1]] if shown[1] == shown[1] else []
        tally.add(costs, Estimates(costs.bound, args.threads, args.accuracy))
    print(f"geometric mean: estimated route {geometric(new):.3f} ({len(new)}), by rule {geometric(old):.3f} ({len(old)})")
    if args.table:
        for (kind, name), ratios in sorted(tally.ratios.items()):
            print(f"{kind:20} {name:32} {len(ratios):5}   {quantile(ratios, 0.5):6.2f}   {quantile(ratios, 0.1):6.2f} to "
                  f"{quantile(ratios, 0.9):6.2f}")
        for kind, pairs in sorted(tally.lost.items()):
            print(f"{kind:20} regret {sum(a for a, _ in pairs) / sum(b for _, b in pairs):6.3f} of {len(pairs)}")
    for lost, text, chosen, ns, best_name, best_ns in sorted(tally.worst, reverse=True)[:args.problems]:
        print(f"{lost / 1e3:9.1f} us  {text}\n      {chosen}: {ns / 1e3:.1f} us\n      {best_name}: {best_ns / 1e3:.1f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())

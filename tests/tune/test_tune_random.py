"""Tuning random nets, in every accuracy class: no exception, and outputs within the class of what is right.

Every net is tuned in each class, quantised with scales and without, and run by routes of arbitrary candidates beside the
tuned one: whatever the catalogue offers for one layer must do next to whatever it offers for another. A failure names the
seed; this repeats it:

    python -m pytest tests/tune/test_tune_random.py --long -k "seed17"
"""

from __future__ import annotations

import numpy as np
import pytest
from random_nets import RandomNet

import pathweave as pw
from pathweave.net.accuracy import ACCURACIES
from pathweave.profiling.store import Store
from pathweave.runtime.conversions import conversions_for
from pathweave.runtime.plan import build_plan
from pathweave.tuning import again, race, tuner

pytestmark = pytest.mark.filterwarnings("ignore::pathweave.CalibrationWarning")
#: Nets of the normal suite; of the long one.
FEW, MANY = 20, 300
#: Routes of arbitrary candidates per class.
ROUTES = 2


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Races and measurements as short as they can be: nothing is said about times here."""
    monkeypatch.setattr(tuner, "RACE_S", 0.0)
    monkeypatch.setattr(again, "AGAIN_S", 0.0)
    monkeypatch.setattr(race, "LEAST_ROUNDS", 1)


def arbitrary(bound, threads: int, accuracy: str, rng):
    """A plan with an arbitrary candidate in every layer, reference ones and regions aside."""
    choices = {}
    for i, layer in enumerate(bound.layers):
        found = bound.candidates(i, threads, accuracy=accuracy)[0]
        choices[layer.name] = found[int(rng.integers(len(found)))]
    return build_plan(bound, choices, conversions_for(bound, choices, threads), threads)


def problems_of(seed: int) -> list[str]:
    """Everything that is wrong with one net, a line each."""
    net, lines = RandomNet(seed), []
    threads, rng = 1 + seed % 2, np.random.default_rng(seed)
    for accuracy, calibrated in (*((a, False) for a in ACCURACIES), ("quantised", True)):
        model = pw.load(net.model, threads=threads)
        if calibrated:
            model.calibrate([net.inputs])
        tuned = pw.tune(model, accuracy=accuracy, threads=threads, budget_s=0.1, store=Store.memory(), progress=False)
        found = [("tuned", tuned.plan())]
        found += [("default", model.plan(pw.default_route(model, threads, accuracy=accuracy)))]
        found += [(f"arbitrary {k}", arbitrary(model.bind(), threads, accuracy, rng)) for k in range(ROUTES)]
        for name, plan in found:
            for line in net.wrong(plan.session().run(net.inputs), accuracy):
                routines = ", ".join(str(c.routine) for c in plan.choices.values())
                lines.append(f"{accuracy}{' calibrated' if calibrated else ''}, {name}: {line}; by {routines}")
    return lines


@pytest.mark.parametrize("seed", range(FEW), ids=lambda seed: f"seed{seed}")
def test_random_nets(seed):
    assert problems_of(seed) == [], f"seed {seed}"


@pytest.mark.long
@pytest.mark.parametrize("seed", range(FEW, MANY), ids=lambda seed: f"seed{seed}")
def test_many_random_nets(seed):
    assert problems_of(seed) == [], f"seed {seed}"

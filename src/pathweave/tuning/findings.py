"""Findings: what a person should know about a tuning, as sentences. None of them changes the route."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..profiling.profile import Profile
from ..profiling.prospects import BEYOND
from ..profiling.yardstick import STEADY

#: A prediction that is further off than this share is a finding, and makes the winner's steps be measured again in place.
FINDING = 0.05


def gap(predicted: float | None, measured: float | None) -> float | None:
    """(predicted - measured) / measured; None where either is not known."""
    return None if predicted is None or not measured else (predicted - measured) / measured


def off(found: float | None) -> bool:
    """True for a gap that is a finding; an unknown one is."""
    return found is None or abs(found) > FINDING


def of_prediction(predicted_ns: float | None, measured_ns: float) -> Iterator[str]:
    """Where a prediction differs from what was measured, both at the reference speed, ns."""
    found = gap(predicted_ns, measured_ns)
    if off(found):
        shown = "nothing" if predicted_ns is None else f"{predicted_ns / 1e6:.3f} ms"
        yield (f"predicted {shown}, measured {measured_ns / 1e6:.3f} ms at the same speed of the machine"
               + ("" if found is None else f" ({100 * found:+.1f} %)"))


def of_machine(speed: Mapping[str, float], has_reference: bool) -> Iterator[str]:
    """What the machine did during the race. `speed`: see `Tuner.speed`."""
    if has_reference and 1.0 / speed["median"] > STEADY:
        yield f"the machine was busy: it ran at {speed['median']:.2f} of its reference speed during the race"
    if 1.0 / (1.0 - speed["interrupted"]) > STEADY:
        yield (f"the race was interrupted by other processes, for {100 * speed['interrupted']:.0f} % of the "
               f"time; tune again when nothing else runs")
    if speed["fastest"] > STEADY * speed["slowest"]:
        yield (f"the machine changed its speed during the race, by a factor of "
               f"{speed['fastest'] / speed['slowest']:.2f}; tune again when nothing else runs")


def of_profile(profile: Profile) -> Iterator[str]:
    """What the profile leaves open. Its notes are those of `profiling.protocol`."""
    notes: Mapping[str, Any] = profile.notes
    if not notes.get("finite", True):
        yield "some outputs were infinite or not numbers on random inputs; their times may be untypical"
    missing = notes.get("unmeasured", 0) - notes.get("hopeless", 0)
    if missing > 0:
        yield (f"the budget ended before {missing} of {notes['candidates']} candidates were measured; give a longer "
               f"one (budget_s, --budget): what is known is not measured again")


def left_out(notes: Mapping[str, Any]) -> str:
    """A sentence on candidates that were not measured because of their estimates; "" where there are none. `notes`: those of a
    profile."""
    if not notes.get("hopeless"):
        return ""
    return (f"{notes['hopeless']} of {notes['candidates']} candidates were not measured: they are estimated beyond {BEYOND:g} "
            "times the best of their layer, or cannot win after what was measured; pathweave explain MODEL LAYER names them, a "
            "longer budget (budget_s, --budget) measures them")

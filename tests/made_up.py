"""The limits of a machine that is made up."""

from __future__ import annotations

#: Operations and bytes per nanosecond and thread of the machine that is made up; it has AVX2.
PEAK, READS, BARRIER_NS = 100.0, {"L1": 150.0, "L2": 60.0, "L3": 25.0, "memory": 8.0}, 200.0


def made_up_limits():
    """Limits of 1 to 1024 threads of a machine that is made up."""
    from pathweave.runtime.limits import Limits
    measured = {n: {"peaks": {"peak_f32__x": {"dtype": "f32", "per_second": n * PEAK * 1e9}},
                    "reads": {level: (n if level != "memory" else min(n, 2)) * rate * 1e9 for level, rate in READS.items()},
                    "barrier_ns": BARRIER_NS} for n in range(1, 1025)}
    return Limits("made up", {"L1": 32 << 10, "L2": 512 << 10, "L3": 32 << 20}, measured)

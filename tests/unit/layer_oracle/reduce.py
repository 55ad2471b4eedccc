"""Reductions over axes."""

from __future__ import annotations

_NAMES = {"sum": "Sum", "mean": "Mean", "max": "Max", "min": "Min", "prod": "Prod", "l1": "L1", "l2": "L2",
          "sum_square": "SumSquare", "log_sum": "LogSum", "log_sum_exp": "LogSumExp"}


def _reduce(g, case, a, names):
    return g.node("Reduce" + _NAMES[a["op"]], [names[0], g.array(a["axes"])], keepdims=a["keepdims"])


OPERATORS = {"reduce": _reduce}

"""Large graphs are solved, and solved rightly. Times are printed, never gated."""

from __future__ import annotations

from time import perf_counter

import pytest
from solver_instances import dense, residual_chain
from test_exact import close, conversions_price

from pathweave.solvers import k_best, margins, solve


def test_residual_chain_of_1000_layers(capsys):
    instance = residual_chain(1000)
    start = perf_counter()
    solution = solve(instance)
    seconds = perf_counter() - start
    assert solution.certificate == "optimal" and close(conversions_price(instance, solution), solution.cost)
    found = margins(instance, solution)
    assert found.exact and min(extra for _, extra in found.values()) >= -1e-9
    # The whole route that a margin speaks of exists: force the runner-up of a few layers.
    for name in list(solution.choice)[::400]:
        runner_up, extra = found[name]
        layer = next(x for x in instance.layers if x.name == name)
        others = {(name, c.routine, c.variant) for c in layer.candidates if c != runner_up}
        assert close(solve(instance, exclude=others).cost, solution.cost + extra)
    with capsys.disabled():
        print(f"\n1,000-layer residual chain, 20 routines, 6 formats: {seconds:.3f} s")


def test_net_of_120_layers(capsys):
    instance = residual_chain(120, routines=15)
    start = perf_counter()
    solution = solve(instance)
    solved = perf_counter()
    routes = k_best(instance, 3)
    ranked = perf_counter()
    assert close(routes[0].cost, solution.cost) and [r.cost for r in routes] == sorted(r.cost for r in routes)
    second = solution.cost + min(extra for _, extra in margins(instance, solution).values())
    assert close(routes[1].cost, second)
    with capsys.disabled():
        print(f"\n120 layers, 15 routines: {solved - start:.3f} s, three best routes {ranked - solved:.3f} s")


@pytest.mark.parametrize("low, high", [(5.0, 30.0), (0.1, 1.0)])
def test_dense_graph_of_300_layers(low, high, capsys):
    instance = dense(300, low=low, high=high)
    start = perf_counter()
    solution = solve(instance)
    seconds = perf_counter() - start
    assert solution.method == "milp" and close(conversions_price(instance, solution), solution.cost)
    trivial = sum(min(c.cost for c in layer.candidates) for layer in instance.layers)
    assert trivial <= solution.lower_bound <= solution.cost
    assert close(solution.gap, 1 - solution.lower_bound / solution.cost)
    with capsys.disabled():
        print(f"\n300 densely connected layers, conversions {low:g}..{high:g}: {seconds:.2f} s, "
              f"{solution.certificate}, gap {100 * solution.gap:.2f} %")

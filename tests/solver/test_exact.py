"""Solvers against brute force on random graphs of every shape."""

from __future__ import annotations

from itertools import combinations
from math import inf, isclose
from random import Random
from time import monotonic

import numpy as np
import pytest
from solver_instances import SHAPES, brute, every_choice, fan_out, random_instance, tree_price

from pathweave.errors import SolverError
from pathweave.solvers import Candidate, Instance, LayerChoices, k_best, margins, solve, solvers
from pathweave.solvers.contract import Margins
from pathweave.solvers.elimination import Elimination
from pathweave.solvers.evaluate import evaluate
from pathweave.solvers.local import descended, local_margins
from pathweave.solvers.milp import Known, Milp, mixed_integer, stated

#: Of the graphs of each of the nine shapes, at least 56 have a route: more than 500 together.
SEEDS = 900


def close(a, b):
    return isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)


def conversions_price(instance, solution):
    """Price of a solution from its own lists, checking that every conversion and port can be served."""
    have = {v: {f} for v, f in instance.inputs.items()}
    cost = 0.0
    for layer in instance.layers:
        c = solution.choice[layer.name]
        assert c in layer.candidates
        cost += c.cost
        have.update({v: {f} for v, f in zip(layer.outputs, c.outs)})
    for v, f, g in solution.conversions:
        assert f in have[v] and g not in have[v]
        have[v].add(g)
        cost += instance.adapts[v][f, g]
    for layer in instance.layers:
        for v, f in zip(layer.inputs, solution.choice[layer.name].ins):
            assert f in have[v]
    assert all(f in have[v] for v, f in instance.outputs.items())
    return cost


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_to_brute_force(shape):
    feasible = 0
    for seed in range(SHAPES.index(shape), SEEDS, len(SHAPES)):
        instance = random_instance(seed)
        (cost, count, memory), _ = brute(instance)
        if cost == inf:
            with pytest.raises(SolverError):
                solve(instance)
            continue
        feasible += 1
        solution = solve(instance)
        assert solution.certificate == "optimal" and solution.gap == 0 and solution.method == "elimination", seed
        assert close(solution.cost, cost) and solution.lower_bound <= solution.cost, seed
        assert close(conversions_price(instance, solution), cost), seed
        if all(float(c.cost).is_integer() for layer in instance.layers for c in layer.candidates):   # ties exist
            assert len(solution.conversions) == count, seed
            assert sum(c.memory for c in solution.choice.values()) == memory, seed
    assert feasible >= 56


def test_margins_equal_brute_force():
    compared = 0
    for seed in range(240):
        instance = random_instance(seed, 400)
        (cost, _, _), marginals = brute(instance)
        if cost == inf:
            continue
        solution = solve(instance)
        found = margins(instance, solution)
        assert found.exact
        for layer in instance.layers:
            chosen = solution.choice[layer.name]
            others = [marginals[layer.name, c] - cost for c in layer.candidates if c is not chosen and c != chosen]
            runner_up, extra = found[layer.name]
            expected = min(others, default=inf)
            assert extra == expected == inf and runner_up is None or close(extra, expected), (seed, layer.name)
            if runner_up is not None:
                assert close(marginals[layer.name, runner_up] - cost, extra), (seed, layer.name)
                compared += 1
    assert compared > 400


def test_local_margins_are_upper_bounds():
    for seed in range(60):
        instance = random_instance(seed, 300)
        (cost, _, _), marginals = brute(instance)
        if cost == inf:
            continue
        solution = solve(instance)
        found = local_margins(instance, solution.choice)
        assert isinstance(found, Margins) and not found.exact
        for name, (runner_up, extra) in found.items():
            if runner_up is not None:
                alone = evaluate(instance, {**solution.choice, name: runner_up}).cost - cost
                assert close(alone, extra) and extra >= marginals[name, runner_up] - cost - 1e-9


def test_k_best_is_the_sorted_list_of_all_routes():
    for seed in range(90):
        instance = random_instance(seed, 120)
        routes = {tuple(picks): cost for cost, _, _, picks in every_choice(instance) if cost < inf}
        costs = sorted(routes.values())
        if not costs:
            continue
        found = k_best(instance, 6)
        assert len(found) == min(6, len(costs)), seed
        assert len({tuple(s.choice[x.name] for x in instance.layers) for s in found}) == len(found)
        assert np.allclose([s.cost for s in found], costs[:6], rtol=1e-9, atol=1e-9), seed


def test_mixed_integer_programme_equals_brute_force():
    """HiGHS alone, without a start and without a bound from elsewhere."""
    solved = 0
    for seed in range(150):
        instance = random_instance(seed, 300)
        (cost, _, _), _ = brute(instance)
        nothing = Known(inf, None, 0.0)
        if cost == inf:
            with pytest.raises(SolverError):
                mixed_integer(instance, nothing, monotonic() + 30, {})
            continue
        known = mixed_integer(instance, nothing, monotonic() + 30, {})
        assert close(known.cost, cost) and known.bound <= known.cost * (1 + 1e-12), seed
        assert stated(instance, known, "milp", {}).certificate == "optimal", seed
        solved += 1
    assert solved >= 100


def test_wide_solver_equals_brute_force_and_its_bounds_hold():
    solved = closed = 0
    for seed in range(1000, 1160):
        instance = random_instance(seed, 300)
        (cost, _, _), _ = brute(instance)
        if cost == inf:
            with pytest.raises(SolverError):
                Milp().solve(instance, 20.0, 1 << 20)
            continue
        solution = Milp().solve(instance, 20.0, 1)   # tables of one entry: nothing is left to elimination
        assert solution.lower_bound <= cost * (1 + 1e-12) and close(solution.cost, cost), seed
        assert close(conversions_price(instance, solution), solution.cost)
        assert solution.stats.get("dual_bound", 0.0) <= cost + 1e-9
        solved, closed = solved + 1, closed + (solution.certificate == "optimal")
    assert solved >= 100 and closed == solved


def test_descent_finds_routes_near_the_best_and_prices_them_right():
    ratios = []
    for seed in range(1000, 1160):
        instance = random_instance(seed, 300)
        (cost, _, _), _ = brute(instance)
        solution = descended(instance)
        if solution is None:
            ratios.append(inf if cost < inf else 1.0)
            continue
        assert solution.lower_bound <= cost * (1 + 1e-12) and solution.cost >= cost * (1 - 1e-12), seed
        assert close(conversions_price(instance, solution), solution.cost)
        ratios.append(solution.cost / cost if cost else 1.0)
    assert sorted(ratios)[len(ratios) * 8 // 10] < 1.1, ratios


def test_methods_are_found_by_folder():
    assert [s.name for s in solvers()] == ["elimination", "milp"]


@pytest.mark.parametrize("seed", range(3))
def test_fan_out_of_ten_agrees_with_the_wide_solver(seed):
    instance = fan_out(10, seed=seed)
    exact = solve(instance)
    assert exact.method == "elimination" and exact.stats["largest_table"] < 1 << 16
    wide = Milp().solve(instance, 20.0, 1)
    assert wide.certificate == "optimal" and close(wide.cost, exact.cost)


def test_conversion_trees_share_prefixes():
    """Seven formats, random prices: the trees of `evaluate` against a search over sets of available formats."""
    names = [f"f{i}" for i in range(7)]
    random = Random(1)
    for _ in range(40):
        table = {(f, g): random.choice((0.0, 1.0, 2.0, random.random())) for f in names for g in names
                 if f != g and random.random() < 0.5}
        for targets in combinations(names[1:], random.randint(1, 4)):
            readers = [LayerChoices(t, ("x",), (), [Candidate("r", "", (t,), (), 0.0)]) for t in targets]
            instance = Instance(readers, {"x": "f0"}, {}, {"x": table})
            cost, count = tree_price(table, "f0", frozenset(targets), {})
            choice = {layer.name: layer.candidates[0] for layer in readers}
            if cost == inf:
                with pytest.raises(SolverError):
                    evaluate(instance, choice)
                continue
            priced = evaluate(instance, choice)
            assert close(priced.cost, cost) and len({g for _, _, g in priced.conversions}) == len(priced.conversions)
            assert close(solve(instance).cost, cost)


def test_a_conversion_is_paid_once():
    a = LayerChoices("a", ("x",), ("p",), [Candidate("r", "", ("f",), ("f",), 1.0)])
    b = LayerChoices("b", ("x",), ("q",), [Candidate("r", "", ("g",), ("g",), 1.0)])
    c = LayerChoices("c", ("x", "x"), ("s",), [Candidate("r", "", ("g", "h"), ("g",), 1.0)])
    adapts = {"x": {("f", "g"): 5.0, ("g", "h"): 2.0, ("f", "h"): 6.0}}
    solution = solve(Instance([a, b, c], {"x": "f"}, {"x": "g"}, adapts))
    assert solution.conversions == [("x", "f", "g"), ("x", "g", "h")] and solution.cost == 10.0


def test_exclude():
    instance = random_instance(3)
    best = solve(instance)
    name = instance.layers[0].name
    chosen = best.choice[name]
    other = solve(instance, exclude={(name, chosen.routine, chosen.variant)})
    assert other.choice[name] != chosen and other.cost >= best.cost - 1e-9
    with pytest.raises(SolverError, match=name):
        solve(instance, exclude={(name, c.routine, c.variant) for c in instance.layers[0].candidates})


def test_prices_of_very_different_size():
    """One candidate costs 10**15 times the others; the small differences still decide."""
    layers = [LayerChoices(f"l{i}", (f"v{i}",), (f"v{i + 1}",), [
        Candidate("a", "", ("f",), ("f",), 1.0 + i * 1e-6), Candidate("b", "", ("f",), ("g",), 1.0),
        Candidate("c", "", ("g",), ("f",), 1e15)]) for i in range(6)]
    instance = Instance(layers, {"v0": "f"}, {"v6": "f"}, {f"v{i}": {("g", "f"): 4.1e-6} for i in range(7)})
    (cost, _, _), _ = brute(instance)
    assert close(solve(instance).cost, cost)
    assert [solve(instance).choice[f"l{i}"].routine for i in range(6)] == list("aaaaab")


def test_elimination_declines_what_is_too_wide():
    assert Elimination().solve(random_instance(1), 1.0, 1) is None
    assert Elimination().solve(random_instance(1), 1.0, 1 << 10) is not None

"""Ties, determinism, refusals."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pathweave.errors import SolverError
from pathweave.solvers import Candidate, Instance, LayerChoices, solve
from pathweave.solvers.milp import Milp


def one(*candidates, inputs=("x",), outputs=("y",), name="a"):
    return LayerChoices(name, inputs, outputs, list(candidates))


def routine(instance, name="a"):
    return solve(instance).choice[name].routine


def test_inside_the_spread_less_memory_wins_then_the_name():
    slow_small = Candidate("m", "", ("f",), ("f",), 104.0, 1.0, 10)
    fast_large = Candidate("z", "", ("f",), ("f",), 100.0, 5.0, 99)
    same = Candidate("k", "", ("f",), ("f",), 103.0, 1.0, 10)
    outside = Candidate("b", "", ("f",), ("f",), 106.0, 9.0, 0)
    for order in ([slow_small, fast_large, same, outside], [outside, same, fast_large, slow_small]):
        assert routine(Instance([one(*order)], {"x": "f"}, {"y": "f"}, {})) == "k"
    quiet = fast_large._replace(spread=0.0)
    assert routine(Instance([one(slow_small, quiet, same, outside)], {"x": "f"}, {"y": "f"}, {})) == "z"


def test_equal_routes_fewer_conversions_then_less_memory():
    adapts = {"x": {("f", "g"): 0.1, ("g", "f"): 0.1}, "y": {("f", "g"): 0.2, ("g", "f"): 0.2}}
    through_g = Candidate("a", "", ("g",), ("g",), 0.7)
    plain = Candidate("z", "", ("f",), ("f",), 1.0, memory=10**9)
    solution = solve(Instance([one(through_g, plain)], {"x": "f"}, {"y": "f"}, adapts))
    assert solution.conversions == [] and solution.choice["a"].routine == "z"
    to_g = one(Candidate("a", "", ("f",), ("g",), 1.0, memory=7), Candidate("z", "", ("f",), ("f",), 1.0, memory=6))
    readers = Candidate("a", "", ("g",), (), 1.0), Candidate("z", "", ("f",), (), 1.0)
    reader = one(*readers, inputs=("y",), outputs=(), name="b")
    assert routine(Instance([to_g, reader], {"x": "f"}, {}, {})) == "z"


def _shuffled(instance, backwards):
    step = -1 if backwards else 1
    return Instance([LayerChoices(x.name, x.inputs, x.outputs, x.candidates[::step]) for x in instance.layers],
                    dict(list(instance.inputs.items())[::step]), dict(list(instance.outputs.items())[::step]),
                    {v: dict(list(t.items())[::step]) for v, t in list(instance.adapts.items())[::step]})


def fingerprint(backwards):
    """Digest of the solutions of many instances, written down in one or the other order."""
    from solver_instances import dense, fan_out, random_instance, residual_chain
    digest = hashlib.sha256()
    for instance in [random_instance(s) for s in range(60)] + [residual_chain(60), fan_out(5)]:
        try:
            s = solve(_shuffled(instance, backwards))
        except SolverError as e:
            digest.update(str(e).encode())
            continue
        digest.update(repr((sorted(s.choice.items()), s.conversions, s.cost)).encode())
    wide = Milp().solve(_shuffled(dense(6), backwards), 60.0, 1)
    digest.update(repr((sorted(wide.choice.items()), wide.conversions, wide.cost, wide.certificate)).encode())
    return digest.hexdigest()


def test_same_answer_whatever_the_order_and_the_hash_seed():
    here = Path(__file__).parent
    source = str(Path(sys.modules["pathweave.errors"].__file__).parents[1])
    found = set()
    for seed, backwards in (("0", False), ("1", False), ("2", True), ("3", True)):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([str(here), source])}
        code = f"import test_rules; print(test_rules.fingerprint({backwards}))"
        run = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True)
        found.add(run.stdout)
    assert len(found) == 1


def fails(instance, *words):
    with pytest.raises(SolverError) as e:
        solve(instance)
    for word in words:
        assert word in str(e.value), str(e.value)


def test_a_layer_without_candidates_is_named():
    fails(Instance([one(name="stem")], {"x": "f"}, {}, {}), "stem", "no candidate")


def test_formats_that_clash_are_named():
    layer = one(Candidate("r", "", ("nhwc",), ("nhwc",), 1.0), name="pool")
    fails(Instance([layer], {"x": "nchw"}, {}, {"x": {("nhwc", "nchw"): 1.0}}), "pool", "'x'", "nchw", "nhwc")
    fails(Instance([layer], {"x": "nhwc"}, {"y": "u8"}, {"y": {("nhwc", "nchw"): 1.0}}), "'y'", "nhwc", "u8")


def test_a_clash_of_several_layers_names_the_last_of_them():
    both = one(Candidate("r", "", ("f",), ("f",), 1.0), Candidate("s", "", ("f",), ("g",), 1.0), name="one")
    f = one(Candidate("r", "", ("f",), (), 1.0), inputs=("y",), outputs=(), name="two")
    g = one(Candidate("r", "", ("g",), (), 1.0), inputs=("y",), outputs=(), name="three")
    fails(Instance([both, f, g], {"x": "f"}, {}, {}), "three", "g")
    fails(Instance([both, f], {"x": "f"}, {"y": "g"}, {}), "outputs", "y as g")


def test_an_infinite_conversion_is_a_missing_one():
    layer = one(Candidate("r", "", ("g",), ("g",), 1.0), name="pool")
    fails(Instance([layer], {"x": "f"}, {}, {"x": {("f", "g"): float("inf")}}), "pool")


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -1.0])
def test_prices_must_be_numbers(cost):
    fails(Instance([one(Candidate("odd", "", ("f",), ("f",), cost), name="stem")], {"x": "f"}, {}, {}), "stem", "odd")


def test_malformed_instances():
    good = Candidate("r", "", ("f",), ("f",), 1.0)
    fails(Instance([one(good), one(good)], {"x": "f"}, {}, {}), "two layers", "'a'")
    fails(Instance([one(good)], {}, {}, {}), "'x'", "not defined")
    fails(Instance([one(good, outputs=("x",))], {"x": "f"}, {}, {}), "'x'", "twice")
    fails(Instance([one(good._replace(ins=()))], {"x": "f"}, {}, {}), "'r'", "0 inputs")
    fails(Instance([one(good)], {"x": "f"}, {"q": "f"}, {}), "'q'")
    fails(Instance([one(good)], {"x": "f"}, {}, {"x": {("f", "g"): -1.0}}), "'x'", "-1.0")


def test_nothing_to_do():
    assert solve(Instance([], {"x": "f"}, {"x": "f"}, {})).cost == 0
    assert solve(Instance([], {"x": "f"}, {"x": "g"}, {"x": {("f", "g"): 2.0}})).conversions == [("x", "f", "g")]

"""Routine descriptors: the grammar, what they match, and what is said about wrong ones."""

from __future__ import annotations

import pytest

from pathweave.errors import NoRoutineError, RouteError
from pathweave.net.net import TensorSpec
from pathweave.net.problem import Problem
from pathweave.runtime.catalogue import Candidate
from pathweave.runtime.defaults import default_choices
from pathweave.runtime.descriptor import Restriction, parse, restriction

X = TensorSpec("f32", (1, 16, 8, 8))


def candidate(routine, variant="", accuracy="strict", reference=False) -> Candidate:
    kind = routine.split("/")[0]
    problem = Problem.make(kind, [X], [False], [X], {})
    return Candidate(routine, 1, variant, problem, problem, (), (), accuracy, reference)


ALL = {
    "direct": candidate("conv2/direct:f32:nhwc:cpu", "gemm_f32_6x16__avx2"),
    "blocked": candidate("conv2/direct:f32:nchw16c:cpu"),
    "naive": candidate("conv2/naive:f32:nchw:cpu", reference=True),
    "winograd": candidate("conv2/winograd4:f32:nhwc:cpu", accuracy="f32"),
    "int8": candidate("conv2/direct:u8:nhwc:cpu", accuracy="quantised"),
    "gpu": candidate("conv2/direct:f32:nhwc:cuda0"),
    "alone": candidate("tanh/vector:f32:nhwc:cuda0", "act__avx2+1thread"),
    "numpy": candidate("conv2/numpy:f32:nchw:python", reference=True),
    "dense": candidate("dense/gemm:f32:plain:cpu"),
    "direct pool": candidate("max_pool2/direct:f32:nhwc:cpu"),
}


@pytest.mark.parametrize("text, expected", [
    ("cpu", "direct blocked naive winograd int8 dense|direct pool"),
    ("cuda0", "gpu alone"), ("1thread", "alone"), ("act__avx2+1thread", "alone"), ("act__avx2", ""), ("python", "numpy"),
    ("cpu:qint8", "int8"), ("cpu:u8", "int8"),
    ("cpu:f32:chl", "direct winograd dense|direct pool"), ("chf", "naive numpy dense"), ("nchw16c", "blocked dense"),
    ("naive", "naive numpy"), ("cpu/naive", "naive"),
    ("cpu/fast", "direct blocked dense|direct pool"), ("faster", "winograd int8"), ("cpu:f32/faster", "winograd"),
    ("cpu/direct", "direct blocked int8|direct pool"), ("winograd4", "winograd"),
    ("cpu:nhwc/fast/direct", "direct|direct pool"),
    ("gemm_f32_6x16__avx2", "direct"),
    ("conv2/direct:f32:nhwc:cpu", "direct"), ("conv2/direct", "direct blocked int8 gpu"), ("dense", "dense"),
    ("conv2/direct:f32", "direct blocked gpu"),
])
def test_what_it_matches(text, expected):
    words = expected.replace("|direct pool", "|").replace("|", " pool ").split()
    names = {"direct pool" if w == "pool" else w for w in words}
    d = parse(text)
    assert {n for n, c in ALL.items() if d.matches(c)} == names


@pytest.mark.parametrize("text, covered", [
    ("cpu", range(10)), ("cpu@3", [3]), ("cpu@2..5", [2, 3, 4, 5]), ("cpu@1,4..6", [1, 4, 5, 6]), ("cpu@0", [0]),
    ("cpu@0..0,9", [0, 9]),
])
def test_positions(text, covered):
    assert [i for i in range(10) if parse(text).covers(i)] == list(covered)


@pytest.mark.parametrize("text", ["", "@3", "cpu@", "cpu@x", "cpu@5..2", "cpu@1..", "cpu@-1", "cpu@1;2", "cpu:",
                                  "cpu//direct", "conv2/", "cpu direct", "/", ":", "cpu@1@2", "käse"])
def test_what_is_no_descriptor(text):
    with pytest.raises(RouteError, match="expected DEVICE") as caught:
        parse(text)
    assert repr(text) in str(caught.value)


def test_none_and_nothing():
    assert restriction(None) is None and restriction([]) is None
    assert isinstance(restriction("cpu"), Restriction) and restriction(len) is len


# ---- on a net ----

@pytest.fixture
def bound(classifier):
    return classifier.bind()


def chosen(bound, *descriptors) -> dict[str, str]:
    choices = default_choices(bound, 1, restrict=Restriction(descriptors))
    return {la.kind: choices[la.name].routine for la in bound.layers}


def test_an_algorithm_where_it_exists(bound):
    for i, layer in enumerate(bound.layers):
        free = {c.routine for c in bound.candidates(i, 1)[0]}
        found = {c.routine for c in bound.candidates(i, 1, restrict=Restriction("conv2/direct"))[0]}
        if layer.kind == "conv2":
            assert found and all(r.startswith("conv2/direct") for r in found)
        else:
            assert found == free


def test_reference_routines_on_demand(bound):
    routines = chosen(bound, "naive")
    assert "naive" in routines["conv2"] or "numpy" in routines["conv2"]
    for i in range(len(bound.layers)):
        assert not any(c.reference for c in bound.candidates(i, 1, restrict=Restriction("cpu"))[0])


def test_the_union_of_several(bound):
    i = next(i for i, la in enumerate(bound.layers) if la.kind == "conv2")
    both = {c.routine for c in bound.candidates(i, 1, restrict=Restriction(["conv2/direct", "conv2/im2col"]))[0]}
    one = {c.routine for c in bound.candidates(i, 1, restrict=Restriction("conv2/direct"))[0]}
    assert one < both


def test_a_position_confines(bound):
    convolutions = [i for i, la in enumerate(bound.layers) if la.kind == "conv2"]
    r = Restriction(f"python@{convolutions[1]}")
    for i in convolutions:
        found = bound.candidates(i, 1, restrict=r)[0]
        assert (i == convolutions[1]) == all(c.device == "python" for c in found)


def test_a_position_that_can_have_nothing(bound):
    i = next(i for i, la in enumerate(bound.layers) if la.kind == "dense")
    with pytest.raises(NoRoutineError, match=rf"winograd4@{i}.*dense/gemm") as caught:
        default_choices(bound, 1, restrict=Restriction(f"winograd4@{i}"))
    assert isinstance(caught.value, ValueError)


def test_descriptors_without_any_effect(bound):
    found = [bound.candidates(i, 1, include_reference=True)[0] for i in range(len(bound.layers))]
    Restriction(["cpu", "conv2/direct", "@0".join(["cpu", ""])]).check(bound.layers, found)
    with pytest.raises(RouteError, match=f"'cpu@{len(found)}'.*{len(found)} layers"):
        Restriction(f"cpu@{len(found)}").check(bound.layers, found)
    with pytest.raises(RouteError, match="'winnograd'.*no candidate.*conv2/direct"):
        Restriction("winnograd").check(bound.layers, found)

"""Every layer kind with open sizes: one plan for all sizes against plans for just these, and against the meaning in NumPy.

Results are written into the middle of larger arrays, so that what is written beside them shows.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest

from pathweave.errors import Error, InputError
from pathweave.layers import kind_of
from pathweave.meaning.evaluate import MEANING_ERRORS
from pathweave.net.compare import relative_error
from pathweave.net.dim import symbol
from pathweave.net.net import Net, TensorSpec
from pathweave.runtime.bound import BoundNet
from pathweave.runtime.defaults import default_route
from pathweave.runtime.routes import plan_route
from pathweave.testing import cases, tolerance

THREADS = 2
MOST_ELEMENTS = 100_000
GUARD = 64


def opened(case, apart: bool):
    """(net whose inputs have symbols, size of each symbol in the case). `apart`: each axis has one of its own; else equal sizes
    have one."""
    sizes: dict[str, int] = {}
    inputs, constants = {}, {}
    arrays = case.arrays()
    for i, (spec, constant) in enumerate(zip(case.inputs, case.constant)):
        if spec is None:
            continue
        if constant:
            constants[f"in{i}"] = arrays[i]
            continue
        names = [f"s{i}_{axis}" if apart else f"s{d}" for axis, d in enumerate(spec.shape)]
        sizes.update((n, d) for n, d in zip(names, spec.shape) if d > 0)
        inputs[f"in{i}"] = TensorSpec(spec.dtype, tuple(n if d > 0 else 0 for n, d in zip(names, spec.shape)))
    layer = case.layer()
    return Net(inputs, list(layer.outputs), [layer], constants), sizes


def at(case, net: Net, sizes: dict[str, int]):
    """The case at other sizes, with arrays; None where the layer does not fit them, or they are large."""
    specs = [TensorSpec(s.dtype, tuple(sizes.get(d, d) for d in net.inputs[f"in{i}"].shape)) if f"in{i}" in net.inputs else s
             for i, s in enumerate(case.inputs)]
    found = replace(case, inputs=tuple(specs))
    arrays = [net.constants.get(f"in{i}", a) for i, a in enumerate(found.arrays())]
    try:
        outputs = found.outputs()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            expected = found.reference(arrays)
    except (Error, *MEANING_ERRORS):
        return arrays, None, None
    return arrays, expected, outputs


def written(shapes, dtypes):
    """Arrays between guards, and what tells whether these are intact."""
    wholes = [np.full(math.prod(shape) + 2 * GUARD, 77, dtype) for shape, dtype in zip(shapes, dtypes)]
    out = [w[GUARD:len(w) - GUARD].reshape(shape) for w, shape in zip(wholes, shapes)]
    return out, lambda: all((edge == edge.dtype.type(77)).all() for w in wholes for edge in (w[:GUARD], w[len(w) - GUARD:]))


def variants(sizes: dict[str, int], rng):
    """Sizes up and down, all at once, one by one and at random."""
    yield sizes
    for change in (lambda d: d + 1, lambda d: 1, lambda d: 2 * d + 1, lambda d: max(1, d - 1)):
        yield {n: change(d) for n, d in sizes.items()}
        name = rng.choice(list(sizes))
        yield {**sizes, name: change(sizes[name])}
    yield sizes


def check(case, apart: bool) -> int:
    """How many sets of sizes were run on the open plan."""
    net, sizes = opened(case, apart)
    if not sizes:
        return 0
    inputs = {n: TensorSpec(s.dtype, tuple(symbol(d) if isinstance(d, str) else d for d in s.shape))
              for n, s in net.inputs.items()}
    try:
        bound = BoundNet.bind_open(net, inputs, sizes)
        plan = plan_route(default_route(bound, THREADS), bound, THREADS)
    except Error:
        return 0  # these sizes cannot stay open
    most, session, runs = dict(sizes), plan.session(), 0
    for now in variants(sizes, np.random.default_rng(len(case.name))):
        arrays, expected, outputs = at(case, net, now)
        given = {f"in{i}": a for i, a in enumerate(arrays) if f"in{i}" in net.inputs}
        kept = {n: a.copy() for n, a in given.items()}
        if expected is None:
            with pytest.raises((Error, RuntimeError)):
                session.run(given)
            continue
        if sum(y.size for y in expected) > MOST_ELEMENTS:
            continue
        if any(d > most[n] for n, d in now.items()):
            most = {n: max(most[n], d) for n, d in now.items()}
            plan = plan.resized(most)
            session = plan.session()
        early = [k for k, n in enumerate(net.outputs) if n not in plan.late]
        out, intact = written([outputs[k].sizes for k in early], [session._outputs[k][2] for k in early])
        try:
            got = session.run(given, {net.outputs[k]: o for k, o in zip(early, out)})
        except InputError:
            continue  # other routines are needed for these sizes
        assert intact() and all(np.array_equal(given[n], kept[n], equal_nan=kept[n].dtype.kind == "f") for n in given), now
        runs += 1
        exact = BoundNet.bind(net, {n: tuple(now.get(d, d) for d in s.shape) for n, s in net.inputs.items()})
        same = {c.routine + c.variant for c in plan.choices.values()} if not exact.opened else set()
        other = plan_route(default_route(exact, THREADS), exact, THREADS)
        alone = other.session().run(given)
        # Sums of other lengths than the case's, and single numbers that nearly cancel, are off by more.
        allowed = 100 * max((tolerance(case, c.accuracy) for c in plan.choices.values()), default=0.0)
        for name, wanted in zip(net.outputs, expected):
            assert got[name].shape == wanted.shape, (now, name)
            if same == {c.routine + c.variant for c in other.choices.values()} and got[name].size:
                assert got[name].tobytes() == alone[name].tobytes(), (now, name)
            if got[name].dtype == np.float16 and (np.abs(wanted) > np.finfo(np.float16).max).any():
                continue  # a product that overflows
            if wanted.size and got[name].dtype.kind == "f":
                assert relative_error(got[name], wanted) <= allowed, (now, name)
            else:
                assert np.array_equal(got[name], wanted.astype(got[name].dtype)), (now, name)
    return runs


def one_of_each():
    """Two cases of every kind, the first and the last."""
    found: dict[str, list] = {}
    for case in cases():
        specs = [s.upper for s in (*case.inputs, *case.outputs()) if s]
        if sum(s.elements for s in specs) <= MOST_ELEMENTS and not any(s.dtype == "bf16" for s in specs):
            found.setdefault(case.kind, []).append(case)
    few = [c for of in found.values() for c in {id(c): c for c in (of[0], of[-1])}.values()]
    return few, [c for of in found.values() for c in of[1:-1]]


FEW, REST = one_of_each()


@pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"])
@pytest.mark.parametrize("case", FEW, ids=str)
def test_open_sizes(case, apart):
    check(case, apart)


@pytest.mark.long
@pytest.mark.parametrize("case", REST, ids=str)
def test_open_sizes_of_every_case(case):
    check(case, False)
    check(case, True)


def test_most_kinds_stay_open():
    """Sizes of nearly all kinds can stay open: else the tests above would look at little."""
    kinds = {c.kind for c in FEW}
    ran = {c.kind for c in FEW if check(c, False)}
    assert len(ran) >= 0.8 * len(kinds), sorted(kinds - ran)
    assert all(kind_of(kind) for kind in ran)

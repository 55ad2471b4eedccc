"""What users do with a model: look at it, plan it, run it, save it and load it again."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import Error, OpenSizesError, SizeError
from ...layers import kind_of
from ...net.dim import highest, lowest
from ...net.floats import host_dtype
from ...net.format import itemsize
from ...net.scales import LARGEST_SCALE, LEAST_SCALE, Scale
from ...net.size import product
from ...report import work
from ...runtime.bound import BoundNet
from ...runtime.inputs import random_inputs
from ...runtime.model import LoadedModel, load
from ...runtime.plan import build_plan
from ...runtime.state import StatefulSession
from ..edges import EDGES, FACTORS
from ..guard import Guarded, fence, guarded
from .target import Wrong

#: A net that is run has no more than so many bytes in all its values, and no more than so many operations.
MOST_BYTES, MOST_OPERATIONS = 32 << 20, 100_000_000
SCALES = (0.01, 0.01, 1.0, float(LEAST_SCALE), float(LARGEST_SCALE))
#: Sizes for symbols that have none.
OPEN_SIZE = 4


def number_of_threads(data: bytes) -> int:
    """One, two, three or five threads, by the contents of a case."""
    return (1, 2, 3, 5)[zlib.crc32(data) % 4]


def exercise(source: Any, folder: Path, threads: int = 1, shapes: Mapping[str, Any] | None = None, **options: Any) -> None:
    """Load, show, plan, run, save, load again and run again. Raises pathweave.Error for a refusal, Wrong."""
    quietly(lambda: use(load(source, threads=threads, **options), folder, shapes))


def quietly(do: Callable[[], Any]) -> Any:
    """What a function gives, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return do()


def use(model: LoadedModel, folder: Path, shapes: Mapping[str, Any] | None = None) -> None:
    """The same with a model that is loaded already."""
    look(model)
    bound, shapes = bind(model, shapes)
    for layer in bound.layers:
        work.parameters(bound.net, layer)
        work.operations(bound.net, layer)
    plan = model.plan(shapes=shapes)
    plan.describe()
    if not is_small(bound):
        return
    wander(bound, model.threads, np.random.default_rng(zlib.crc32(bound.signature.encode())))
    inputs = random_inputs(bound)
    before = model.runnable().run(inputs)
    check_results(before, plan)
    path = folder / "saved.pw"
    model.save(path, packed=bool(model.threads % 2))
    again = load(path, threads=model.threads)
    look(again)
    again.plan(shapes=shapes)  # as above: a plan for all sizes may have routines that round in another way
    after = again.runnable().run(inputs)
    if model.packed is None:  # packed weights of a file are used as they are, and are not saved again
        check_equal(before, after, "after saving and loading")
        if "preprocess" in model.nets:
            predict(model, again)
    if model.states:
        converse(model, again, inputs)


def predict(model: LoadedModel, after: LoadedModel) -> None:
    """Run all nets on an image."""
    image = np.arange(9 * 7 * 3, dtype=np.uint8).reshape(9, 7, 3)
    check_equal(model.predict(image), after.predict(image), "of an image, after saving and loading")


def converse(model: LoadedModel, after: LoadedModel, inputs: Mapping[str, Any]) -> None:
    """Calls of sessions, which keep states: from the beginning, from the middle, and after saving and loading."""
    free = {n: a for n, a in inputs.items() if n not in model.states}
    begins = {n: s.begins(model.main.inputs[n]) for n, s in model.states.items()}
    shapes = {**model.runnable().shapes_of(free), **{n: s.shape for n, s in begins.items() if s.bound}}
    if not is_small(bind(model, shapes)[0]):
        return
    session, other = model.session(model.runnable().shapes_of(free)), after.session(model.runnable().shapes_of(free))
    assert isinstance(session, StatefulSession) and isinstance(other, StatefulSession)  # models with states give no others
    first, kept = session.run(free), session.state()
    second = session.run(free)
    check_equal(first, other.run(free), "of a session, after saving and loading")
    other.set_state(kept)
    check_equal(second, other.run(free), "of a session that was given the states")
    check_equal(session.state(), other.state(), "as states")
    session.reset()
    check_equal(first, session.run(free), "of a session that was reset")


def look(model: LoadedModel) -> None:
    """What a notebook and `pathweave show` print."""
    try:
        repr(model)
        model._repr_html_()
        for route in model.routes.values():
            repr(route)
            route._repr_html_()
    except Error as e:
        raise Wrong(f"it cannot be shown: {e}") from e
    if not all(s.bound for s in model.main.inputs.values()):
        try:
            model.outputs  # noqa: B018  shapes with symbols
        except Error:  # it takes certain sizes only, as `show` finds too
            pass


def bind(model: LoadedModel, shapes: Mapping[str, Any] | None) -> tuple[Any, Any]:
    """The main net at some shapes, which are given back: symbols that are not given get a small size."""
    runnable = model.runnable()
    try:
        return runnable.bind(shapes), shapes
    except OpenSizesError as e:
        shapes = {**(shapes or {}), **dict.fromkeys(e.symbols, OPEN_SIZE)}
        return runnable.bind(shapes), shapes


def is_small(bound: Any) -> bool:
    """Whether a net is run: its values and its work are of modest size."""
    operations, size = 0.0, 0
    for part in bound.everything():
        specs = part.net.specs
        size += sum(product(s.shape) * itemsize(s.dtype) for s in specs.values())
        for layer in part.layers:
            kind = kind_of(layer.kind)
            inputs = [specs[v] if v else None for v in (layer.inputs[:-1] if layer.epilogue.add else layer.inputs)]
            outputs = [specs[v] for v in layer.outputs]
            try:
                effort = kind.effort(kind.complete(layer.attrs), inputs, outputs)
            except SizeError:
                return False
            operations += max(work.operations(part.net, layer), effort)
    return size <= MOST_BYTES and operations <= MOST_OPERATIONS


def wander(bound: Any, threads: int, rng: np.random.Generator) -> None:
    """Run any routines that take the layers, quantised and imprecise ones among them, twice: results must be the same.

    Constants, inputs, outputs and what the core allocates end, or begin, at a page that nobody may touch.
    """
    at_end = bool(rng.integers(4))
    scaled = bound if bound.opened else _scaled(bound, rng, at_end)
    choices = {}
    for part in scaled.everything():
        for i, layer in enumerate(part.layers):
            found, _ = part.candidates(i, threads, accuracy="quantised", include_reference=True)
            choices[layer.name] = found[int(rng.integers(len(found)))]
    inputs = random_inputs(scaled)
    if rng.integers(2):
        inputs = {n: hostile_values(a, rng) for n, a in inputs.items()}
    inputs = {n: guarded(a, at_end).array for n, a in inputs.items()}
    out = {n: Guarded(bound.array_shape(n), host_dtype(s.dtype), at_end) for n, s in bound.outputs.items()
           if n not in inputs and not is_late(bound, n)}
    with fence():
        plan = build_plan(scaled, choices, [], threads)
        session = plan.session()
        before = session.run(inputs, {n: g.array for n, g in out.items()})
        after = session.run(inputs)
    check_results(before, plan)
    if not all(g.intact() for g in out.values()):
        raise Wrong("something was written beside a result")
    check_equal(before, after, f"of a second run of {', '.join(c.routine for c in choices.values())}")


def _scaled(bound: Any, rng: np.random.Generator, at_end: bool) -> BoundNet:
    """The net with constants at the edge of a page, and any scales."""
    net = bound.net.copy()
    net.constants = {n: guarded(np.asarray(a), at_end).array for n, a in net.constants.items()}
    values = [*bound.inputs, *(v for layer in bound.layers for v in layer.outputs)]
    return BoundNet(net, {v: Scale(float(rng.choice(SCALES)), int(rng.integers(0, 256))) for v in values},
                    layouts=bound.layouts)


def hostile_values(array: Any, rng: np.random.Generator) -> Any:
    """An array with some of its numbers at the edges of its type, NaN and infinities among them."""
    array = np.array(array)
    flat, count = array.reshape(-1), array.size
    chosen = rng.integers(0, max(1, count), int(rng.integers(1, 9)))[:count]
    with np.errstate(all="ignore"):
        if array.dtype.kind in "iu":
            limits = np.iinfo(array.dtype)
            fitting = [v for v in EDGES if limits.min <= v <= limits.max]
            flat[chosen] = [fitting[i] for i in rng.integers(0, len(fitting), len(chosen))]
        elif array.dtype.kind != "b":
            flat[chosen] = np.array(rng.choice(FACTORS, len(chosen))).astype(array.dtype)
    return array


def check_results(results: Mapping[str, Any], plan: Any) -> None:
    """Raise Wrong where results have other names or shapes than the plan says."""
    if list(results) != list(plan.outputs):
        raise Wrong(f"results are {list(results)}, expected {list(plan.outputs)}")
    for name in plan.outputs:
        shape, expected = tuple(results[name].shape), plan.bound.array_shape(name)
        if is_late(plan.bound, name):
            dims = plan.bound.opened.net.specs[name].dims
            fits = len(shape) == len(dims) and all(lowest(d) <= s <= highest(d) for s, d in zip(shape, dims))
        else:
            fits = shape == expected
        if not fits:
            raise Wrong(f"result {name!r} has shape {shape}, expected {expected}")


def is_late(bound: BoundNet, name: str) -> bool:
    """Whether the sizes of an output depend on what the inputs hold."""
    return bound.opened is not None and bound.opened.is_late(bound.opened.net.specs[name].dims)


def check_equal(before: Mapping[str, Any], after: Mapping[str, Any], when: str) -> None:
    """Raise Wrong where results are not the same to the bit; any NaN is as good as another.

    Of a result without elements the rank counts: what a loop of no rounds would have stacked has sizes that nobody knows.
    """
    if list(before) != list(after):
        raise Wrong(f"results {when} are {list(after)}, before {list(before)}")
    for name, a in before.items():
        b = after[name]
        if a.size == b.size == 0 and a.dtype == b.dtype and a.ndim == b.ndim:
            continue
        if a.dtype != b.dtype or a.shape != b.shape:
            raise Wrong(f"result {name!r} {when} is {b.dtype}{list(b.shape)}, before {a.dtype}{list(a.shape)}")
        if a.dtype == object or a.tobytes() == b.tobytes():
            continue
        same = (a == b) | ((a != a) & (b != b))
        if not np.all(same):
            raise Wrong(f"result {name!r} {when} differs in {int((~same).sum())} of {a.size} numbers")

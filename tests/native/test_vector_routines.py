"""The memory-bound routines where the conformance cases do not reach: sizes that threads share, and special values.

The cases of `pathweave.testing` are small, so that most run in one piece. These are large and ragged, and go through
the same checks: float64 meaning, guard pages, equality to the bit between runs and between numbers of threads.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from pathweave.net.net import Epilogue, TensorSpec
from pathweave.testing import Case
from pathweave.testing.conformance import Subject, adapt_subject, checks_of, perform
from pathweave.testing.layouts import decode, encode, logical

TIERS = ("generic", "avx2", "avx512", "avx512-emulated")

UNARY = {
    "relu": {}, "clip": {"min": -0.5, "max": 0.75}, "leaky_relu": {"alpha": 0.1}, "sigmoid": {}, "hard_sigmoid": {},
    "hard_swish": {}, "silu": {}, "gelu": {}, "tanh": {}, "elu": {"alpha": 1.5}, "selu": {}, "celu": {"alpha": 0.5},
    "softplus": {}, "softsign": {}, "mish": {}, "thresholded_relu": {}, "exp": {}, "log": {}, "sqrt": {},
    "reciprocal": {}, "neg": {}, "abs": {}, "floor": {}, "ceil": {}, "round": {}, "sign": {}, "erf": {},
}
BINARY = ("add", "sub", "mul", "div", "minimum", "maximum", "pow", "prelu")

#: Shapes of a and b. The second of each is also tried as a constant.
BROADCASTS = [
    ((20011,), (20011,)), ((20011,), ()), ((3, 5003), (3, 1)), ((3001, 7), (7,)), ((5, 1, 33, 70), (5, 9, 33, 70)),
    ((2, 48, 19, 23), (2, 48, 1, 1)), ((1, 96, 14, 14), (1, 96, 1, 1)), ((2, 40, 21, 17), (40, 1, 1)),
    ((2, 16, 33, 31), (1, 16, 1, 1)), ((1, 3, 99, 101), (3, 1, 1)), ((2, 32, 17, 23), (1, 1, 17, 23)),
    ((2, 32, 17, 23), (1, 32, 17, 23)), ((2, 32, 17, 23), (23,)), ((2, 32, 17, 23), (2, 32, 17, 1)),
    ((2, 3, 4, 31, 37), (3, 1, 31, 37)),
]


NO_EPILOGUE = Epilogue()


def _case(kind: str, shapes, constant=(), values=(), epilogue=NO_EPILOGUE, name: str = "", **attrs) -> Case:
    shapes = list(shapes) + ([shapes[0]] if epilogue.add else [])
    flags = tuple(i in constant for i in range(len(shapes)))
    text = f"{kind} {shapes} const={constant} {attrs} {epilogue} {name}"
    return Case(text, kind, attrs, tuple(TensorSpec("f32", tuple(s)) for s in shapes), flags, epilogue, tuple(values))


def elementwise() -> list[Case]:
    found = []
    for kind, attrs in UNARY.items():
        fill = ("positive",) if kind in ("log", "sqrt", "reciprocal") else ("wide",)
        found += [_case(kind, [s], values=fill, **attrs) for s in ((40009,), (2, 32, 29, 31))]
    found.append(_case("gelu", [(2, 32, 29, 31)], values=("wide",), approximate=1))
    for kind in BINARY:
        fill = ("positive", "positive") if kind in ("div", "pow") else ("normal", "normal")
        for a, b in BROADCASTS:
            wide = np.broadcast_shapes(a, b)
            if kind == "prelu":
                found += [_case(kind, [a, b], (1,), fill)] if wide == a else []
                continue
            found += [_case(kind, [a, b], (), fill), _case(kind, [b, a], (), fill), _case(kind, [a, b], (1,), fill),
                      _case(kind, [b, a], (0,), fill)]
    for epilogue in (Epilogue(True), Epilogue(True, "relu"), Epilogue(False, "clip", (-0.5, 0.5)),
                     Epilogue(True, "hard_swish"), Epilogue(False, "silu")):
        for a, b in (((9001,), (9001,)), ((2, 32, 29, 31), (1, 32, 1, 1)), ((2, 32, 29, 31), (2, 32, 29, 31)),
                     ((1, 3, 131, 97), (3, 1, 1))):
            found += [_case("mul", [a, b], (), epilogue=epilogue), _case("sub", [a, b], (1,), epilogue=epilogue)]
        for shape in ((2, 32, 29, 31), (1, 3, 131, 97), (2, 40, 211), (300, 40)):
            c = (shape[1],)
            found.append(_case("madd", [shape, c, c], (1, 2), epilogue=epilogue))
            found.append(_case("madd", [shape, (), ()], (1, 2), epilogue=epilogue))
    return found


def windows() -> list[Case]:
    found = []
    geometries = [
        ((2, 48, 37, 41), {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1, 1, 1)}),
        ((1, 16, 40, 67), {"kernel": (2, 2), "stride": (2, 2)}),
        ((1, 21, 33, 70), {"kernel": (5, 3), "pad": (2, 1, 2, 1)}),
        ((1, 3, 60, 61), {"kernel": (3, 3), "stride": (3, 2), "pad": (0, 1, 2, 0), "ceil": 1}),
        ((1, 33, 31, 29), {"kernel": (3, 2), "dilation": (2, 3), "pad": (1, 2, 3, 0)}),
        ((1, 112, 33, 35), {"kernel": (33, 35)}), ((1, 7, 48, 48), {"kernel": (20, 20), "stride": (7, 7), "ceil": 1}),
    ]
    for shape, geometry in geometries:
        found.append(_case("max_pool2", [shape], **geometry))
        found += [_case("average_pool2", [shape], count_pad=c, **geometry) for c in (0, 1)]
    for shape in ((2, 960, 7, 7), (1, 64, 112, 112), (3, 21, 33, 31), (1, 3, 150, 151)):
        for kind in ("global_average_pool", "global_max_pool"):
            found += [_case(kind, [shape], keepdims=k) for k in (0, 1)]
    for op in ("sum", "mean", "max", "min"):
        for shape, axes in (((20011,), (0,)), ((7, 5003), (1,)), ((5003, 7), (0,)), ((211, 13, 17), (1,)),
                            ((2, 32, 37, 41), (2, 3)), ((2, 32, 37, 41), (1,)), ((2, 32, 37, 41), (3,)),
                            ((2, 32, 37, 41), (1, 2, 3)), ((1, 70, 11, 200), (2,)), ((2, 32, 37, 41), ())):
            # One sum alone has no RMS: rounding may be large beside what cancels, and a lost term small beside what
            # does not. Integers add up exactly.
            alone = len(axes) in (0, len(shape))
            fill = ("integral",) if alone and op in ("sum", "mean") else ("unit",)
            found += [_case("reduce", [shape], op=op, axes=axes, keepdims=k, values=fill) for k in (0, 1)]
    for kind in ("softmax", "log_softmax"):
        for shape, axis in (((1, 1000), -1), ((301, 37), 1), ((5001, 3), -1), ((1, 21, 65, 67), 1),
                            ((2, 3, 50, 61), 3), ((3, 1000, 1, 1), 1), ((40000,), 0)):
            found.append(_case(kind, [shape], axis=axis, values=("wide",)))
    return found


def movements() -> list[Case]:
    found = []
    for shapes, axis in (([(1, 32, 37, 41), (1, 48, 37, 41), (1, 16, 37, 41)], 1),
                         ([(2, 24, 37, 19), (2, 3, 37, 19)], 1),
                         ([(2, 16, 37, 19), (2, 16, 5, 19)], 2), ([(2, 16, 7, 190), (2, 16, 7, 3)], 3),
                         ([(9001,), (3,)], 0), ([(300, 40), (300, 7)], 1), ([(1, 16, 40, 40), (2, 16, 40, 40)], 0)):
        found += [_case("concat", shapes, axis=axis), _case("concat", shapes, (1,), axis=axis)]
    found += [_case("split", [(2, 80, 23, 19)], axis=a, sizes=s) for a, s in (
        (1, (48, 32)), (1, (3, 77)), (2, (20, 3)), (3, (1, 18)), (0, (1, 1)))]
    for starts, ends, axes in (((16,), (64,), (1,)), ((3, 1), (50, 22), (1, 2)), ((2, 5), (-1, 18), (2, 3)),
                               ((1,), (2,), (0,)), ((-32,), (1000,), (1,))):
        found.append(_case("slice", [(2, 80, 23, 19)], starts=starts, ends=ends, axes=axes, steps=(1,) * len(axes)))
    for mode in ("constant", "edge", "reflect"):
        for shape, pads in (((2, 32, 33, 31), (0, 0, 1, 2, 0, 0, 3, 4)),
                            ((1, 32, 33, 31), (0, 16, 0, 1, 0, 0, 2, 0)),
                            ((1, 3, 70, 71), (0, 1, 5, 0, 0, 0, 3, 6)), ((1, 16, 40, 40), (0, 0, -3, 2, 0, 0, 4, -5)),
                            ((101, 103), (2, 0, 0, 7)), ((10007,), (9, 100))):
            found.append(_case("pad", [shape], pads=pads, mode=mode, value=1.5))
    for shape, perm in (((101, 103), (1, 0)), ((1, 3, 100, 101), (0, 2, 3, 1)), ((1, 100, 101, 3), (0, 3, 1, 2)),
                        ((2, 32, 31, 29), (0, 1, 3, 2)), ((2, 33, 31, 29), (3, 2, 1, 0)),
                        ((2, 33, 31, 29), (1, 0, 2, 3)),
                        ((5, 7, 11, 13, 17), (0, 3, 1, 4, 2)), ((2, 2, 29, 14, 29), (0, 2, 1, 3, 4)),
                        ((4, 4999), (1, 0)),
                        ((4999, 2), (1, 0)), ((20000, 1), (1, 0)), ((7, 3001), (1, 0)), ((3001, 5), (1, 0))):
        found.append(_case("transpose", [shape], perm=perm))
    for mode in ("nearest", "bilinear"):
        for coordinates in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
            for shape, attrs in (((1, 32, 23, 29), {"size": (46, 58)}), ((2, 3, 40, 41), {"scale": (1.7, 2.3)}),
                                 ((1, 20, 60, 61), {"size": (31, 1)}), ((1, 16, 33, 31), {"scale": (2.0, 0.5)})):
                found.append(_case("resize2", [shape], mode=mode, coordinates=coordinates, **attrs))
    found += [_case("reshape", [(2, 960, 5, 1)], shape=(2, -1)), _case("reshape", [(2, 960, 1, 1)], shape=(2, 960)),
              _case("reshape", [(10, 1024)], shape=(10, 64, 4, 4)), _case("identity", [(2, 32, 29, 31)]),
              _case("squeeze", [(2, 9600, 1, 1)], axes=(2, 3)), _case("unsqueeze", [(2, 9600)], axes=(2, 3))]
    for dtype in ("i64", "i32", "u8", "bool", "f64"):
        found += [_case("cast", [s], dtype=dtype, values=("integral",)) for s in ((9001,), (2, 32, 29, 31))]
    return found


def adapts() -> list[Subject]:
    """Changes of layout and element type on images that threads share, along pixels and along channels."""
    from pathweave.net.format import Format
    found = []
    for shape in ((1, 3, 97, 101), (1, 2, 97, 101), (2, 4, 67, 71), (1, 5, 67, 71), (1, 64, 57, 55), (1, 960, 7, 7),
                  (2, 24, 39, 41), (1, 1280, 1, 1), (1, 16, 40, 40), (1, 1, 130, 131), (1, 2048, 2, 3)):
        layouts = ["nchw", "nhwc", *(["nchw16c"] if shape[1] % 16 == 0 else [])]
        formats = [Format(dtype, layout) for dtype in ("f32", "u8") for layout in layouts]
        found += [adapt_subject(TensorSpec("f32", shape), a, b) for a in formats for b in formats if a != b]
    for shape in ((20011,), (300, 40), (3, 7, 5003)):
        formats = [Format(dtype, "plain") for dtype in ("f32", "u8")]
        found += [adapt_subject(TensorSpec("f32", shape), a, b) for a in formats for b in formats if a != b]
    return found


def _rounded(case: Case, arrays: list[np.ndarray]) -> Subject:
    """A subject whose reference is rounded to float32, so that what overflows there is infinite."""
    with np.errstate(over="ignore"):
        wanted = [w.astype(np.float32) for w in case.reference(arrays)]
    return Subject(case.name, arrays, lambda: wanted, case, case.problem)


HALVES = ("bf16", "f16")


def _rounded_to(form: str, x: np.ndarray) -> np.ndarray:
    """Rounded to a form of 16 bits, as float32."""
    return decode(encode(x, form), form)


def special_values() -> list[Subject]:
    """NaN, infinities, zeros, subnormals and the edges of the range; the outputs must be NaN where the meaning is."""
    edge = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-41, -1e-41, 3e38, -3e38, 88.7, -87.3, 0.625, -0.95, 1.0],
                    np.float32)
    found = []
    for values, length in ((values, n) for values in (edge, *(_rounded_to(h, edge) for h in HALVES)) for n in (14, 37, 9001)):
        x = np.resize(values, length)
        for kind, attrs in UNARY.items():
            case = _case(kind, [(length,)], name="special", **attrs)
            found.append(_rounded(case, [x]))
        for kind in ("add", "mul", "minimum", "maximum"):
            y = np.resize(values, length)[::-1].copy()
            case = _case(kind, [(length,), (length,)], name="special")
            found.append(_rounded(case, [x, y]))
    image = np.random.default_rng(5).standard_normal((1, 32, 17, 19)).astype(np.float32)
    for form in HALVES:
        image = _rounded_to(form, image)
    image[0, ::3, 5, 7], image[0, 1::3, 0, 0], image[0, 2::3, 16, 18] = np.nan, -np.inf, np.inf
    for kind, attrs in (("max_pool2", {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1, 1, 1)}),
                        ("global_max_pool", {}), ("reduce", {"op": "max", "axes": (2, 3)}),
                        ("reduce", {"op": "min", "axes": (1,)})):
        case = _case(kind, [image.shape], name="special", **attrs)
        found.append(_rounded(case, [image]))
    return found


GROUPS = {"elementwise": elementwise, "windows": windows, "movements": movements, "adapts": adapts,
          "special_values": special_values}


def _each_element(item: Subject, check, card: dict) -> str:
    """What is wrong with single elements: beside 3e38 an RMS error says nothing about the others."""
    outputs = item.first[check.routine, check.variant]
    for k, (raw, port, wanted) in enumerate(zip(outputs, card["outs"], item.wanted)):
        dtype, layout = port.split(":")[:2]
        got = logical(decode(raw, dtype), layout, wanted.shape)
        rounding, least = {"f32": (2e-6, 1e-44), "bf16": (2.0**-7, 1e-40), "f16": (2.0**-10, 2.0**-24)}[dtype]
        with np.errstate(invalid="ignore"):
            wrong = ~(np.isclose(got, wanted, rtol=rounding, atol=least, equal_nan=True))
        if wrong.any():
            at = tuple(map(int, np.argwhere(wrong)[0]))
            return f"output {k} at {at}: got {got[at]}, expected {wanted[at]}; {int(wrong.sum())} are wrong"
    return ""


def run_group(name: str, every: int = 1) -> tuple[int, list[str], set[str]]:
    """(number of checks, failures, routines seen) on the tier of this process."""
    count, failures, routines = 0, [], set()
    for item in GROUPS[name]()[::every]:
        if isinstance(item, Case):
            arrays = item.arrays()
            item = Subject(item.name, arrays, partial(item.reference, arrays), item, item.problem)
        before = count
        exact = {h: all(np.array_equal(a, _rounded_to(h, a), equal_nan=True) for a in item.arrays if a is not None)
                 for h in HALVES}
        for check, card in checks_of(item, threads=(1, 2, 3)):
            if name == "special_values" and not exact.get(card["ins"][0].split(":")[0], True):
                continue  # rounding the edge of a range moves the result anywhere
            result = perform(item, check, card)
            count += 1
            routines.add(check.routine)
            failure = result.failure
            # Integers hold no special values; what they hold was compared with the integer reference, one by one.
            if not failure and name == "special_values" and "u8" not in "".join(card["outs"]):
                failure = _each_element(item, check, card)
            if failure:
                failures.append(f"{check.routine} {check.variant} threads={check.threads} on {item.name}: {failure}")
        if count == before:
            failures.append(f"no native routine accepts {item.name}")
    return count, failures, routines


def process_of(tier: str, group: str, long: bool) -> subprocess.CompletedProcess | None:
    """The tier is chosen when a process starts, so each has its own; one that is not the machine's best takes every third case
    unless `long`. None where machine or build lack it."""
    from pathweave.runtime.devices import cpu_info
    found = [t for t in cpu_info()["found"] if t in TIERS and t in cpu_info()["compiled"]]
    if tier not in found:
        return None
    best = [t for t in found if not t.endswith("-emulated")][-1]
    every = 1 if long or tier == best or group == "special_values" else 3
    environment = {**os.environ, "PATHWEAVE_ISA": tier, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.run([sys.executable, __file__, group, str(every)], env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def run_of(request):
    from native_helpers import side_by_side  # not where this file runs as a program
    yield from side_by_side(request, partial(process_of, long=request.config.getoption("--long")))


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("tier", TIERS)
def test_group(tier: str, group: str, run_of) -> None:
    done = run_of(tier=tier, group=group)
    if done is None:
        pytest.skip(f"this machine or build has no {tier}")
    repeat = f"PATHWEAVE_ISA={tier} python {__file__} {group}"
    assert done.returncode == 0, f"{repeat}\n{done.stdout[-6000:]}{done.stderr[-2000:]}"


if __name__ == "__main__":
    total, failed, seen = run_group(sys.argv[1], *map(int, sys.argv[2:]))
    for line in failed:
        print(line)
    print(f"{sys.argv[1]}: {total} checks of {len(seen)} routines, {len(failed)} failed")
    sys.exit(1 if failed or not total else 0)

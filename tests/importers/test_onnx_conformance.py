"""ONNX's own conformance cases through `pathweave.importers.onnx.backend`: all in scope pass but those that are excluded with a
reason in onnx_excluded.txt, and ONNX Runtime passes no more of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_cases import Case, all_cases, check, out_of_scope

import pathweave.importers.onnx.backend as backend

pytestmark = pytest.mark.filterwarnings("ignore")
EXCLUDED = Path(__file__).with_name("onnx_excluded.txt")
#: Of those in scope.
LEAST_SHARE = 0.99


@cache
def in_scope() -> dict[str, Case]:
    return {name: case for name, case in all_cases().items() if not out_of_scope(case.load())}


def excluded() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in EXCLUDED.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, reason = line.split(maxsplit=1)
            found[name] = list(found.values())[-1] if reason == "the same" else reason
    return found


def attempt(case: Case) -> None:
    prepared = backend.prepare(case.load())
    for inputs, expected in case.sets():
        check(case, prepared.run(inputs), expected)


@pytest.mark.parametrize("name", sorted(in_scope()))
def test_case(name):
    reason = excluded().get(name)
    with np.errstate(all="ignore"):
        if reason is None:
            return attempt(in_scope()[name])
        try:
            attempt(in_scope()[name])
        except Exception:  # whatever it is that makes the case fail
            return None
    pytest.fail(f"{name} passes: take it out of {EXCLUDED.name} ({reason})")


def test_what_is_excluded_is_in_scope_and_little():
    listed = excluded()
    assert set(listed) <= set(in_scope())
    assert all(len(reason) > 20 for reason in listed.values()), "every exclusion states its reason"
    assert len(listed) <= (1 - LEAST_SHARE) * len(in_scope())


def test_onnx_runtime_passes_no_more():
    import onnxruntime
    onnxruntime.set_default_logger_severity(4)
    passed = 0
    for case in in_scope().values():
        try:
            session = onnxruntime.InferenceSession(case.load().SerializeToString(), providers=["CPUExecutionProvider"])
            for inputs, expected in case.sets():
                check(case, session.run(None, dict(zip((i.name for i in session.get_inputs()), inputs))), expected)
            passed += 1
        except Exception:  # noqa: S112  its exceptions, and those of the comparison, are of many types
            continue
    ours = len(in_scope()) - len(excluded())
    print(f"\n{ours} of {len(in_scope())} cases pass here, {passed} on ONNX Runtime {onnxruntime.__version__}, "
          f"onnx {onnx.__version__}")
    assert passed <= ours

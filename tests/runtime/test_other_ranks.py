"""Every kind of layer on inputs of other ranks than it expects, all of them values of the run: a result or an Error.

Run in a process of its own: what reads beside its memory ends it, and the last line that it wrote names the layer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator

import numpy as np
import pytest

from pathweave.errors import Error
from pathweave.layers import kind_of, kinds
from pathweave.net.format import numpy_dtype
from pathweave.net.net import Layer, Model, Net, TensorSpec
from pathweave.runtime.model import LoadedModel
from pathweave.testing import Case, cases

SHAPES = ((), (1,), (3,), (2, 0, 3), (1, 1, 1, 1, 1))
#: Cases of one kind that are tried, spread over all.
MOST_CASES = 8
#: Parts in which all kinds are tried.
PARTS = 4


def tried(kind: str) -> Iterator[tuple[Case, int, tuple[int, ...]]]:
    """(case, position of an input, the shape that it gets)."""
    found = [case for case in cases(kind) if not case.epilogue]
    for case in found[::max(1, len(found) // MOST_CASES)]:
        yield from ((case, i, shape) for i, s in enumerate(case.inputs) if s is not None for shape in SHAPES)


def run(case: Case, position: int, shape: tuple[int, ...]) -> None:
    specs = {f"x{i}": TensorSpec(s.dtype, shape if i == position else s.shape)
             for i, s in enumerate(case.inputs) if s is not None}
    names = tuple("" if s is None else f"x{i}" for i, s in enumerate(case.inputs))
    outputs = tuple(f"y{i}" for i in range(len(case.outputs())))
    net = Net(specs, list(outputs), [Layer("it", case.kind, names, outputs, dict(case.attrs))], {})
    feeds = {}
    for i, array in enumerate(case.arrays()):
        if array is not None:
            spec = specs[f"x{i}"]
            numbers = array if i != position else np.resize(np.ravel(array) if array.size else np.zeros(1, array.dtype), shape)
            feeds[f"x{i}"] = np.ascontiguousarray(numbers, numpy_dtype(spec.dtype)).reshape(spec.sizes)
    LoadedModel(Model({"main": net}, {}), 2).run(feeds)


def main(part: int) -> None:
    warnings.simplefilter("ignore")
    ran = 0
    for kind in [k for k in sorted(kinds()) if not kind_of(k).nested][part::PARTS]:
        for case, position, shape in tried(kind):
            print(f"{case.name}, input {position} of shape {shape}", flush=True)
            try:
                run(case, position, shape)
                ran += 1
            except Error:
                pass
    print(f"{ran} ran", flush=True)


@pytest.mark.parametrize("part", range(PARTS))
def test_other_ranks_end_in_a_result_or_an_error(part):
    environment = {**os.environ, "MALLOC_PERTURB_": "1"}  # memory that nobody wrote holds huge numbers
    done = subprocess.run([sys.executable, __file__, str(part)], capture_output=True, text=True, env=environment)
    last = (done.stdout.splitlines() or ["nothing"])[-1]
    assert done.returncode == 0, f"{last}: the process ended with {done.returncode}: {done.stderr[-2000:]}"
    assert int(last.split()[0]) > 100


if __name__ == "__main__":
    main(int(sys.argv[1]))

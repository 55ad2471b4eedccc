#!/usr/bin/env python3
"""Import every net of the suite and compare with ONNX Runtime at all sizes.

    python bench/suite/check.py FOLDER [NAME ...] [--json FILE] [--jobs N]

FOLDER is what make.py wrote. A file passes where every output at every size has ONNX Runtime's shape and element type, floats
within TOLERANCE of the largest value, integers equal; FORMS and STEPS say what quantised and float16 forms may differ by.
Sizes that ONNX Runtime refuses are left out: exporters fix some that they are told to leave free. Each file is checked in a
process of its own. The table also says how long the import took, and which layers run through NumPy. Exits with 1 where a
file fails.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

TOLERANCE = 1e-4
#: Forms that forms.py makes. A float16 form is compared with the net in float32, of which it is a rounding (ONNX Runtime
#: computes it in float32 or float16, with other roundings than ours). Quantised forms are compared with ONNX Runtime without
#: its rewrites, which round elsewhere than the file says. ONNX leaves open how sums are rounded before they become integers:
#: outputs may be STEPS of their scale off, and outputs without a scale as much as a step inside comes to.
FORMS = {"qdq": 1e-2, "qop": 1e-2, "dyn": 1e-2, "f16": 5e-3}
STEPS = 2.01
LIMIT_S = 600


def inputs_of(path: Path) -> list[Path]:
    """The files of inputs that belong to a net, by the sizes' order."""
    return sorted(path.parent.glob(f"{path.name.split('.')[0]}.*.npz"))


class Reference:
    """ONNX Runtime on a file of the suite. `form`: the one that forms.py made, "" for a net as it was exported."""

    def __init__(self, path: Path):
        import onnxruntime
        onnxruntime.set_default_logger_severity(4)
        self.form = form_of(path)
        file = path.with_name(path.name.replace(".f16.", ".")) if self.form == "f16" else path
        options = onnxruntime.SessionOptions()
        if self.form in ("qdq", "qop", "dyn"):
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.outputs = [value.name for value in self._session.get_outputs()]
        self.scales = output_scales(path) if self.form else {}
        self.tolerance = FORMS.get(self.form, TOLERANCE)

    def inputs(self, file: Path) -> dict[str, Any]:
        """The arrays of a file of inputs, as ONNX Runtime takes them, by name."""
        import numpy as np
        with np.load(file) as arrays:
            return dict(zip((i.name for i in self._session.get_inputs()), arrays.values()))

    def given(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The same as a call of the file takes them."""
        import numpy as np
        return {n: a.astype(np.float16) if self.form == "f16" and a.dtype == np.float32 else a for n, a in inputs.items()}

    def run(self, inputs: dict[str, Any]) -> list[Any]:
        """What the outputs must be."""
        import numpy as np
        return [y.astype(np.float16) if self.form == "f16" and y.dtype == np.float32 else y
                for y in self._session.run(None, inputs)]

    def error(self, values: list[Any], expected: list[Any], where: str, tolerance: float | None = None) -> float:
        """The largest difference of the outputs, over the largest number of each. Raises AssertionError for another shape
        or element type, and for more than the file's tolerance, or the one given."""
        import numpy as np
        rows, worst = order_of_rows(values, expected, tolerance or self.tolerance), 0.0
        for name, got, wanted in zip(self.outputs, values, expected):
            got, allowed = got if rows is None else got[rows], tolerance or self.tolerance
            if name in self.scales and tolerance is None:
                allowed = STEPS * self.scales[name] / max(float(np.abs(wanted).max(initial=0)), 1e-30)
            if got.shape != wanted.shape or got.dtype != wanted.dtype:
                raise AssertionError(f"{where}: {name} is {got.dtype}{list(got.shape)}, expected {wanted.dtype}"
                                     f"{list(wanted.shape)}")
            error = difference(got, wanted)
            worst = max(worst, error)
            if not error <= allowed:
                raise AssertionError(f"{where}: {name} differs by {error:.2g} of its largest value")
        return worst


def form_of(path: Path) -> str:
    """The form in the name of a file, "" for a net as it was exported."""
    word = path.name.split(".")[-2]
    return word if word in FORMS else ""


def check(path: Path) -> dict[str, Any]:
    """Import, run at all sizes, compare. Raises what the import raises."""
    import pathweave as pw
    begin = time.perf_counter()
    model = pw.load(path)
    seconds = time.perf_counter() - begin
    reference = Reference(path)
    worst, refused = 0.0, 0
    files = inputs_of(path)
    for file in files:
        inputs = reference.inputs(file)
        try:
            expected = reference.run(inputs)
        except Exception:  # the exporter has fixed a size that it was told to leave free
            refused += 1
            continue
        found = model.run(reference.given(inputs))
        worst = max(worst, reference.error([found[name] for name in reference.outputs], expected, file.name))
    if refused == len(files):
        raise AssertionError("ONNX Runtime refuses all sizes")
    return {"layers": len(model.main.layers), "import_s": round(seconds, 3), "error": worst,
            "sizes": len(files) - refused, "numpy": through_numpy(model)}


def order_of_rows(got: list[Any], wanted: list[Any], tolerance: float) -> Any:
    """Which row of `got` answers each of `wanted`, where the outputs are rows of detections, labels among them; else None.

    Detections lie by falling score. Rounding decides the order of scores that are nearly equal, so that rows are compared
    that agree within the tolerance. None, too, where a row has no counterpart.
    """
    import numpy as np
    count = len(wanted[0]) if wanted[0].ndim else 0
    if count < 2 or not {"f", "i"} <= {w.dtype.kind for w in wanted} or any(
            w.ndim == 0 or len(w) != count or g.shape != w.shape for g, w in zip(got, wanted)):
        return None
    alike = np.ones((count, count), bool)
    for g, w in zip(got, wanted):
        apart = np.abs(w.reshape(count, 1, -1).astype(np.float64) - g.reshape(1, count, -1)).max(2)
        alike &= apart <= (tolerance * np.abs(w).max() if w.dtype.kind == "f" else 0)
    order, free = np.empty(count, int), np.ones(count, bool)
    for i in range(count):
        places = np.flatnonzero(alike[i] & free)
        if not len(places):
            return None
        order[i] = places[0]
        free[order[i]] = False
    return order


def output_scales(path: Path) -> dict[str, float]:
    """The scale of each output that a DequantizeLinear with one constant scale makes."""
    import onnx
    from onnx import numpy_helper
    graph = onnx.load(path).graph
    constants = {t.name: t for t in graph.initializer}
    outputs = {o.name for o in graph.output}
    return {n.output[0]: float(numpy_helper.to_array(constants[n.input[1]]).max()) for n in graph.node
            if n.op_type == "DequantizeLinear" and n.output[0] in outputs and n.input[1] in constants}


def difference(got: Any, wanted: Any) -> float:
    """The largest difference, by the largest finite number; infinite where integers or what is not finite differ."""
    import numpy as np
    if wanted.dtype.kind != "f":
        return 0.0 if np.array_equal(got, wanted) else float("inf")
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(np.isfinite(a), finite) or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    return float(np.abs(a - b)[finite].max(initial=0) / max(np.abs(b[finite]).max(initial=0), 1e-30))


def through_numpy(model: Any) -> dict[str, int]:
    """Kinds of the layers that ran through their NumPy meaning in the plans that the calls made, with the most of one plan."""
    from pathweave.runtime.interpreted import of_plan
    found: Counter = Counter()
    for plan in model.runnable().kept_plans():
        found |= Counter(kind for _, kind in of_plan(plan).layers)
    return dict(found)


def _in_a_child(path: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, str(path.parent), "--one", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {LIMIT_S} s"}
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (json.JSONDecodeError, IndexError):
        return {"failed": f"exit code {done.returncode}: {done.stderr.strip()[-300:]}"}


def _text(row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"FAILED {row['failed']}"
    through = ", ".join(f"{n} {kind}" for kind, n in row["numpy"].items())
    return f"{row['layers']:5d} layers  import {row['import_s']:6.2f} s  {row['sizes']} sizes  error {row['error']:.1e}" + \
        (f"  NumPy: {through}" if through else "")


def _one(path: Path) -> int:
    try:
        print(json.dumps(check(path)))
    except Exception as e:  # whatever a file does wrong is its row of the table
        print(json.dumps({"failed": f"{type(e).__name__}: {' '.join(str(e).split())[:600]}"}))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Import every net of the suite and compare with ONNX Runtime.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=["*"], help="names of files without .onnx, with * and ?")
    parser.add_argument("--json", type=Path, help="write the rows to this file, too")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return _one(options.one)
    files = [f for f in sorted(options.folder.glob("*.onnx")) if any(fnmatch.fnmatch(f.stem, p) for p in options.names)]
    rows: dict[str, dict[str, Any]] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for path, row in zip(files, pool.map(_in_a_child, files)):
            rows[path.stem] = row
            print(f"{path.stem:32s} {_text(row)}", flush=True)
    good = [r for r in rows.values() if "failed" not in r]
    through = Counter()
    for row in good:
        through.update(row["numpy"].keys())
    print(f"{len(good)} of {len(rows)} files import and agree; layers through NumPy, by files: {dict(through) or 'none'}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if len(good) == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())

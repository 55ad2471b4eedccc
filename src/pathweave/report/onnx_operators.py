"""What of ONNX is covered, told by ONNX's own conformance cases: each is imported, bound, run and compared.

Nothing is kept in a list that could be wrong: an operator counts as covered where its cases pass, and its layers are those that
the cases become.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from ..errors import Error, UnsupportedOperatorError
from . import onnx_cases
from .onnx_cases import Case, all_cases, check, out_of_scope

#: Names of the numbers of element types, as ONNX writes them. Source: onnx.proto, TensorProto.DataType.
_TYPES = {1: "float", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
          11: "double", 12: "uint32", 13: "uint64", 16: "bfloat16"}
#: Domains of training and of experiments, which are not listed.
_OTHER_DOMAINS = ("ai.onnx.preview.training", "ai.onnx.training")


#: Characters of a reason that are kept.
MOST_REASON = 160


@dataclass
class Operator:
    """One operator. `versions`: opset in which its definition changed -> `taken`, `refused`, or `no case` where none is valid
    in that opset. `types`: element types of the inputs of cases that pass. `layers`: kind that cases become -> `native`,
    `NumPy`, or `both`. `expanded`: it becomes several layers. `reasons`: why cases are refused or wrong, with how many."""

    domain: str
    name: str
    known: bool
    versions: dict[int, str] = field(default_factory=dict)
    types: list[str] = field(default_factory=list)
    cases: int = 0
    passed: int = 0
    refused: int = 0
    wrong: int = 0
    layers: dict[str, str] = field(default_factory=dict)
    expanded: bool = False
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.domain}:{self.name}" if self.domain else self.name

    @property
    def runs(self) -> str:
        """How it runs, in a word or two."""
        if not self.passed:
            return "listed, no case" if self.known and not self.cases else "no" if self.known or self.cases else "out of scope"
        ways = set(self.layers.values())
        if not ways:
            return "when the model is read"
        return "native" if ways == {"native"} else "NumPy" if ways == {"NumPy"} else "native and NumPy"

    def to_json(self) -> dict[str, Any]:
        return {"domain": self.domain or "ai.onnx", "operator": self.name, "runs": self.runs, "known": self.known,
                "versions": self.versions, "types": self.types, "cases": self.cases, "passed": self.passed,
                "refused": self.refused, "wrong": self.wrong, "layers": self.layers, "expanded": self.expanded,
                "reasons": self.reasons}


def operators(names: Iterable[str] = (), tell: Callable[[float, str], None] = lambda share, what: None) -> list[Operator]:
    """Every operator of the installed `onnx` and of the importer, by domain and name; `names`: those alone. `tell`: progress.

    Cases of one node in scope are run, a minute for all of them.
    """
    from ..importers.onnx import operators as table
    wanted = {n.lower() for n in names}
    known = table()
    found = {key: Operator(domain, name, key in known, dict.fromkeys(versions, "no case"))
             for (domain, name), versions in _schemas().items() for key in (f"{domain}:{name}" if domain else name,)}
    for key in known:
        domain, _, name = key.rpartition(":")
        found.setdefault(key, Operator(domain, name, True))
    chosen = {k: o for k, o in found.items() if not wanted or o.name.lower() in wanted or k.lower() in wanted}
    cases = [(key, case) for key, case in _single_cases() if key in chosen]
    for i, (key, case) in enumerate(cases):
        tell(i / len(cases), case.name)
        _take(chosen[key], case)
    return sorted(chosen.values(), key=lambda o: (o.domain, o.name))


def names() -> set[str]:
    """What `operators` can be asked for: names of operators, alone and with their domain."""
    from ..importers.onnx import operators as table
    found = {f"{domain}:{name}" for domain, name in _schemas() if domain} | {*table()} | {name for _, name in _schemas()}
    return found | {key.rpartition(":")[2] for key in found}


@cache
def _schemas() -> dict[tuple[str, str], list[int]]:
    """Operators of the installed `onnx`, with the opsets in which their definitions changed."""
    import onnx
    found: dict[tuple[str, str], list[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain not in _OTHER_DOMAINS:
            found.setdefault((schema.domain, schema.name), []).append(schema.since_version)
    return {key: sorted(versions) for key, versions in found.items()}


@cache
def _single_cases() -> list[tuple[str, Case]]:
    """Cases in scope with one node, by their operator."""
    found = []
    for case in all_cases().values():
        model = case.load()
        if len(model.graph.node) == 1 and not out_of_scope(model):
            node = model.graph.node[0]
            found.append((f"{node.domain}:{node.op_type}" if node.domain not in onnx_cases.DOMAINS else node.op_type, case))
    return found


def _take(operator: Operator, case: Case) -> None:
    """Run a case, and note what comes of it."""
    from ..runtime.model import load
    model = case.load()
    operator.cases += 1
    _probe(operator, model)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            loaded = load(model.SerializeToString(), threads=1)
            layers = dict(_ways(loaded))
            for inputs, expected in case.sets():
                results = loaded.run(dict(zip(loaded.inputs, inputs)))
                check(case, list(results.values()), expected)
    except UnsupportedOperatorError as e:
        operator.refused += 1
        _reason(operator, e)
        return
    except (Error, AssertionError) as e:
        operator.wrong += 1
        _reason(operator, e)
        return
    operator.passed += 1
    for kind, way in layers.items():
        operator.layers[kind] = way if operator.layers.get(kind, way) == way else "both"
    imported = sum(n for kind, n in loaded.imported["main"].items() if kind != "cast")
    operator.expanded |= imported > 1
    types = {_TYPES[v.type.tensor_type.elem_type] for v in model.graph.input}
    operator.types = [t for t in _TYPES.values() if t in types or t in operator.types]


def _ways(loaded: Any) -> Iterator[tuple[str, str]]:
    """(kind, `native` or `NumPy`) of the layers that run."""
    plan = loaded.plan()
    ways: dict[str, set[str]] = {}
    for layer in plan.bound.flat.layers:
        choice = plan.choices.get(layer.name)
        if choice is not None:
            ways.setdefault(layer.kind, set()).add("NumPy" if choice.device == "python" else "native")
    return ((kind, next(iter(found)) if len(found) == 1 else "both") for kind, found in ways.items())


def _reason(operator: Operator, error: BaseException) -> None:
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if isinstance(error, AssertionError):  # NumPy's report of several lines
        lines = ["results differ: " + next((line for line in lines if "ismatch" in line), lines[0])]
    text = lines[0].removeprefix("the given bytes: ").partition(";")[0]
    if isinstance(error, UnsupportedOperatorError) and len(lines) > 1:  # the second line says why, behind the node's name
        text = lines[1].partition("': ")[2] or lines[1]
    text = text[:MOST_REASON]
    operator.reasons[text] = operator.reasons.get(text, 0) + 1


def _probe(operator: Operator, model: Any) -> None:
    """Note for every version of the operator's definition in which a case is valid whether it is taken."""
    import onnx

    from ..importers import load
    domain = operator.domain
    probe = onnx.ModelProto.FromString(model.SerializeToString())
    for version, state in operator.versions.items():
        if state == "taken":
            continue
        del probe.opset_import[:]
        probe.opset_import.append(onnx.helper.make_opsetid(domain, version))
        if domain:
            probe.opset_import.append(onnx.helper.make_opsetid("", onnx.defs.onnx_opset_version()))
        try:
            onnx.checker.check_model(probe, full_check=True)
        except Exception:  # of another package: the case is not valid there
            continue
        try:
            load(probe.SerializeToString())
            operator.versions[version] = "taken"
        except Error:
            operator.versions[version] = "refused"


def versions_text(operator: Operator) -> str:
    """The opsets of an operator: those taken, then those that are not."""
    def of(state: str) -> str:
        return ", ".join(str(v) for v, s in operator.versions.items() if s == state)
    words = {"taken": "", "refused": "refused: ", "no case": "no case: "}
    return "; ".join(f"{word}{of(state)}" for state, word in words.items() if of(state))


def layers_text(operator: Operator) -> str:
    """Kinds of layers, with those that run through NumPy marked."""
    marks = {"native": "", "NumPy": " (NumPy)", "both": " (native and NumPy)"}
    return ", ".join(f"{kind}{marks[way]}" for kind, way in sorted(operator.layers.items()))


_HEAD = """# Operators of ONNX

`pathweave operators --markdown` writes this page. Nothing in it is written by hand: ONNX's own conformance cases (those of the
package onnx {version}, of one node each) were imported, run and compared.

- **runs**: `native`: every layer of every case that passes has a compiled routine. `NumPy`: the layers run through their
  NumPy meaning. `when the model is read`: nothing of it is left to run. `no`: no case passes. `listed, no case`: the importer
  knows it, and ONNX has no case of it. `out of scope`: sequences, maps, strings, random numbers and training, or no case that
  is in scope.
- **cases**: those that pass, of those in scope.
- **opsets**: in which its definition changed: those in which a case is taken; *refused*: a case is valid there and refused;
  *no case*: none of the cases is valid there.
- **types**: element types of inputs of cases that pass.
- **layers**: what the cases become; *several*: more than one layer for one node.

{summary}
"""


def totals(found: list[Operator]) -> str:
    """How many cases pass, and how many operators."""
    covered = [o for o in found if o.passed]
    cases, passed = sum(o.cases for o in found), sum(o.passed for o in found)
    return (f"{passed} of {cases} cases of one node pass. {len(covered)} operators have cases that pass; "
            f"{sum(o.passed == o.cases for o in covered)} of them pass all.")


def markdown(found: list[Operator]) -> str:
    """The page: a table of all operators, and a section on those that ONNX's cases find wanting."""
    import onnx
    lines = [_HEAD.format(version=onnx.__version__, summary=totals(found)),
             "| operator | runs | cases | opsets | types | layers |", "|---|---|---|---|---|---|"]
    lines += [f"| {o.key} | {o.runs} | {f'{o.passed} of {o.cases}' if o.cases else ''} | {versions_text(o)} | "
              f"{', '.join(o.types)} | {layers_text(o)}{' (several)' if o.expanded else ''} |" for o in found]
    wanting = [o for o in found if o.reasons]
    if wanting:
        lines += ["", "## Cases that do not pass", "", "`tests/importers/onnx_excluded.txt` says of each why.", "",
                  "| operator | cases | reason |", "|---|---|---|"]
        lines += [f"| {o.key} | {n} | {_cell(reason)} |" for o in wanting for reason, n in o.reasons.items()]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")

"""pathweave operators: what of ONNX is covered, told by ONNX's own conformance cases."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

import typer

from ._errors import BadUse
from ._options import Json, cut
from ._output import print_json, print_tables, progress

ORDER = 85


def command(
    names: Annotated[list[str] | None, typer.Argument(
        metavar="[OPERATOR]...", show_default=False, help="Only these, such as Conv or com.microsoft:FusedConv.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Write the page docs/operators.md to the output.")] = False,
    json: Json = False,
) -> None:
    """List the operators of ONNX: how they run, which opsets and element types are taken, what layers they become.

    ONNX's conformance cases are imported, run and compared for it, which takes a minute for all of them.
    """
    from ..report import onnx_operators
    if markdown and json:
        raise BadUse("--markdown and --json: expected one of them")
    known = {n.lower(): n for n in onnx_operators.names()}
    for name in names or ():
        if name.lower() not in known:
            near = get_close_matches(name.lower(), known, 1, 0.75)
            raise BadUse(f"{cut(name)!r} is no operator of ONNX, and the importer knows none of that name; "
                         + (f"did you mean {known[near[0]]!r}?" if near else "pathweave operators lists all"))
    with progress("operators") as tell:
        found = onnx_operators.operators(names or (), tell)
    if json:
        print_json([o.to_json() for o in found])
    elif markdown:
        print(onnx_operators.markdown(found), end="")
    else:
        refused = [f"{o.key}: {n} cases do not pass: {reason}" if n > 1 else f"{o.key}: a case does not pass: {reason}"
                   for o in found for reason, n in o.reasons.items()]
        print_tables(_table(found), "\n".join(["", onnx_operators.totals(found), *refused]))


def _table(found: list) -> object:
    from ..report.onnx_operators import layers_text, versions_text
    from ..report.tables import Column, Table
    rows = [{"operator": o.key, "runs": o.runs, "cases": f"{o.passed} of {o.cases}" if o.cases else "",
             "opsets": versions_text(o), "types": ", ".join(o.types), "layers": layers_text(o),
             "emphasis": None if o.passed else "dim"} for o in found]
    columns = [Column("operator", "operator", whole=True), Column("runs", "runs"), Column("cases", "cases pass", right=True),
               Column("opsets", "opsets", fold=3), Column("types", "element types", fold=2), Column("layers", "layers", fold=1)]
    return Table(columns, rows, "operators of ONNX, by its conformance cases")

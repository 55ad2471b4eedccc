"""pathweave routines: the catalogue: every routine of this build and of opened devices."""

from __future__ import annotations

from typing import Annotated

import typer

from ..words import counted, meant
from ._errors import BadUse
from ._options import Json, cut
from ._output import print_json, print_tables

ORDER = 80


def command(
    layer: Annotated[str | None, typer.Argument(metavar="[KIND]", help="Only routines of this layer kind; `adapt` for "
                                                "conversions.", show_default=False)] = None,
    layer_option: Annotated[str | None, typer.Option("--layer", "-l", metavar="KIND", help="The same.",
                                                     show_default=False)] = None,
    available: Annotated[bool, typer.Option("--available", help="Only those that can run on this machine.")] = False,
    json: Json = False,
) -> None:
    """List routines. Every layer also has its NumPy meaning (device `python`) as a last resort."""
    from ..layers import kinds_of_nets
    from ..report.tables import Column, Table
    from ..runtime.devices import routines
    kind = layer_option or layer
    known = {*kinds_of_nets(), *(card["layer"] for card in routines())}
    if kind is not None and kind not in known:
        option = "--layer " if layer_option else ""
        raise BadUse(f"{option}{cut(kind)!r} is no layer kind{meant(kind, known)}; expected one of {', '.join(sorted(known))}")
    cards = [c for c in routines(kind) if not (available and c["unavailable"])]
    if json:
        print_json(cards)
        return
    rows = [{**c, "role": "reference" if c["reference"] else "",
             "epilogue": "yes" if c["takes_epilogue"] else "",
             "emphasis": "dim" if c["unavailable"] else None} for c in cards]
    print_tables(Table([Column("id", "routine", whole=True), Column("version", "version", right=True, fold=3),
                        Column("accuracy", "accuracy"), Column("epilogue", "epilogue", fold=2),
                        Column("role", "role", fold=1), Column("requires", "requires", fold=4),
                        Column("unavailable", "not available because")], rows,
                       notes=[f"{counted(len(rows), 'routine')}" + (f" of {kind}" if kind else "")]))

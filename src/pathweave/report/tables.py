"""Tables: one set of rows, rendered as plain text, with rich, or as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


def show_time(ns: Any) -> str:
    """Nanoseconds with three digits and a unit that fits: `812 ns`, `14.2 us`, `3.05 ms`, `1.20 s`; "" for None."""
    if ns is None:
        return ""
    sign, value = ("-", -float(ns)) if ns < 0 else ("", float(ns))
    if value == 0:
        return "0 ns"
    for unit, scale in (("ns", 1.0), ("us", 1e3), ("ms", 1e6)):
        if value < 999.5 * scale:
            return f"{sign}{_digits(value / scale)} {unit}"
    return f"{sign}{_digits(value / 1e9)} s"


def show_count(number: Any) -> str:
    """A count with three digits and k, M, G: `46.1 k`; "" for None."""
    if number is None:
        return ""
    value = float(number)
    for unit, scale in (("", 1.0), (" k", 1e3), (" M", 1e6)):
        if value < 999.5 * scale:
            return (f"{value:.0f}" if not unit else _digits(value / scale)) + unit
    return f"{_digits(value / 1e9)} G"


def show_bytes(number: Any) -> str:
    """Bytes as `1.25 MB` (decimal units); "" for None."""
    return "" if number is None else (show_count(number) + "B" if number >= 1000 else f"{number} B")


def show_percent(share: Any) -> str:
    """A share of 1 as `+3.1 %`; "" for None."""
    return "" if share is None else f"{100 * share:+.1f} %"


def show_error(error: Any) -> str:
    """A relative error as `3.1e-07`; "" for None."""
    return "" if error is None else f"{error:.1e}"


def show_text(value: Any) -> str:
    """A word; lists joined by commas; "" for None."""
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


@dataclass(frozen=True)
class Column:
    """One column: the key of its values in a row, its heading, how a value is shown, and whether to align it right."""

    key: str
    heading: str
    show: Callable[[Any], str] = show_text
    right: bool = False


def time_column(key: str, heading: str) -> Column:
    """A column of nanoseconds."""
    return Column(key, heading, show_time, True)


def count_column(key: str, heading: str) -> Column:
    """A column of counts."""
    return Column(key, heading, show_count, True)


@dataclass
class Table:
    """Rows of values by column key. `title` above, `notes` below; a row with `emphasis` (bold, dim) shows it on terminals.

    A column that is empty in every row is not shown; JSON has every key of the rows.
    """

    columns: Sequence[Column]
    rows: list[Mapping[str, Any]]
    title: str = ""
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> list[dict[str, Any]]:
        """The rows as plain data."""
        return [{k: v for k, v in row.items() if k != "emphasis"} for row in self.rows]

    def _cells(self) -> tuple[list[Column], list[list[str]]]:
        cells = [[c.show(row.get(c.key)) for c in self.columns] for row in self.rows]
        shown = [i for i, _ in enumerate(self.columns) if any(row[i] for row in cells)] if cells else \
            list(range(len(self.columns)))
        return [self.columns[i] for i in shown], [[row[i] for i in shown] for row in cells]

    def text(self) -> str:
        """Plain text with aligned columns, as wide as it needs to be."""
        columns, cells = self._cells()
        widths = [max([len(c.heading), *(len(row[i]) for row in cells)]) for i, c in enumerate(columns)]

        def line(words: Sequence[str]) -> str:
            return "  ".join(w.rjust(n) if c.right else w.ljust(n)
                             for w, n, c in zip(words, widths, columns)).rstrip()
        lines = [self.title] if self.title else []
        lines += [line([c.heading for c in columns]), "  ".join("-" * n for n in widths)]
        lines += [line(row) for row in cells]
        return "\n".join([*lines, *self.notes])

    def rich(self) -> Any:
        """The same as a rich renderable."""
        from rich import box
        from rich.console import Group
        from rich.table import Table as RichTable
        from rich.text import Text
        columns, cells = self._cells()
        table = RichTable(title=Text(self.title, style="bold") if self.title else None, box=box.SIMPLE_HEAD,
                          title_justify="left", pad_edge=False, padding=(0, 1))
        for c in columns:
            table.add_column(c.heading, justify="right" if c.right else "left", overflow="fold", no_wrap=c.right)
        for row, words in zip(self.rows, cells):
            table.add_row(*(Text(w) for w in words), style=row.get("emphasis"))
        return Group(table, *(Text(note) for note in self.notes))

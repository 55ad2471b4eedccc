"""Tables: one set of rows, rendered as plain text, with rich, or as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..words import printable


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


def show_difference(share: Any) -> str:
    """A share of 1 in words: `3.1 % more`, `0.5 % less`; "" for None."""
    return "" if share is None else f"{abs(100 * share):.1f} % {'more' if share >= 0 else 'less'}"


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
    """One column: the key of its values in a row, its heading, how a value is shown, and whether to align it right.

    `fold`: where a terminal is too narrow, columns fold away, those with the largest number first; 0: only where that is
    not enough, the last column first, and never the first one. `whole`: its texts are not cut, since the reader needs every
    letter.
    """

    key: str
    heading: str
    show: Callable[[Any], str] = show_text
    right: bool = False
    fold: int = 0
    whole: bool = False


def time_column(key: str, heading: str, fold: int = 0) -> Column:
    """A column of nanoseconds."""
    return Column(key, heading, show_time, True, fold)


def count_column(key: str, heading: str, fold: int = 0) -> Column:
    """A column of counts."""
    return Column(key, heading, show_count, True, fold)


#: A text that is cut keeps so many characters at least, while columns are left that may fold away, and without them.
ROOMY, TIGHT = 24, 10
#: Between two columns of plain text; and how wide that is in the box that rich draws, padding included, and its two edges.
_GAP = "  "
_RICH_GAP, _RICH_EDGES = 3, 2


def cut(text: str, width: int) -> str:
    """A text of at most `width` characters; what is left out of its middle is an ellipsis."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return text[:width - 1 - tail] + "…" + text[len(text) - tail:]


def _hidden(columns: Sequence[str], texts: bool) -> list[str]:
    """A sentence on what a table does not show for want of width: headings of columns, and whether texts are cut."""
    what = [f"columns {', '.join(reversed(columns))}" if len(columns) > 1 else f"column {columns[0]}"] if columns else []
    what += ["the middle of long texts (…)"] if texts else []
    return [f"hidden for want of width: {' and '.join(what)}; --wide shows everything"] if what else []


@dataclass
class Table:
    """Rows of values by column key. `title` above, `notes` below; a row with `emphasis` (bold, dim) shows it on terminals.

    A column that is empty in every row is not shown; JSON has every key of the rows. Where there is less width than a table
    needs, long texts are cut in their middle, then columns fold away, and the first note says so.
    """

    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    title: str = ""
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> list[dict[str, Any]]:
        """The rows as plain data."""
        return [{k: v for k, v in row.items() if k != "emphasis"} for row in self.rows]

    def _cells(self) -> tuple[list[Column], list[list[str]]]:
        cells = [[printable(c.show(row.get(c.key))) for c in self.columns] for row in self.rows]
        shown = [i for i, _ in enumerate(self.columns) if any(row[i] for row in cells)] if cells else \
            list(range(len(self.columns)))
        return [self.columns[i] for i in shown], [[row[i] for i in shown] for row in cells]

    def _fitted(self, width: int | None, gap: int, edges: int) -> tuple[list[Column], list[list[str]], list[int], list[str]]:
        """Columns, cells and widths that fit into `width` characters (None: any), and the notes. `gap`: characters between
        two columns; `edges`: those beside the outer ones."""
        columns, cells = self._cells()
        widths = [max([len(c.heading), *(len(row[i]) for row in cells)]) for i, c in enumerate(columns)]
        folded: list[str] = []
        shortened = False

        def excess() -> int:
            return sum(widths) + gap * (len(widths) - 1) + edges - (width or 0)

        def shorten(least: int) -> None:
            """Narrow the widest texts."""
            texts = [i for i, c in enumerate(columns) if not (c.right or c.whole)]
            while texts and excess() > 0:
                i = max(texts, key=lambda i: widths[i])
                least_here = max(least, len(columns[i].heading))
                if widths[i] <= least_here:
                    return
                below = max([least_here, *(widths[j] for j in texts if widths[j] < widths[i])])
                widths[i] = max(below, widths[i] - excess()) if below < widths[i] else widths[i] - 1

        def fold(i: int) -> None:
            folded.append(columns[i].heading)
            del columns[i], widths[i]
            for row in cells:
                del row[i]
        if width is not None:
            shorten(ROOMY)
            while excess() > 0 and any(c.fold for c in columns):
                fold(max(range(len(columns)), key=lambda i: columns[i].fold))
            shorten(TIGHT)
            while excess() > 0 and len(columns) > 1:
                fold(len(columns) - 1)
            whole, cells = cells, [[word if c.right or c.whole else cut(word, n) for word, n, c in zip(row, widths, columns)]
                                   for row in cells]
            shortened = whole != cells
        return columns, cells, widths, [*_hidden(folded, shortened), *(printable(note, "\n") for note in self.notes)]

    def text(self, width: int | None = None) -> str:
        """Plain text with aligned columns, as wide as it needs to be, or of at most `width` characters if that can be."""
        columns, cells, widths, notes = self._fitted(width, len(_GAP), 0)

        def line(words: Sequence[str]) -> str:
            return _GAP.join(w.rjust(n) if c.right else w.ljust(n)
                             for w, n, c in zip(words, widths, columns)).rstrip()
        lines = [printable(self.title, "\n")] if self.title else []
        lines += [line([c.heading for c in columns]), _GAP.join("-" * n for n in widths)]
        lines += [line(row) for row in cells]
        return "\n".join([*lines, *notes])

    def markdown(self) -> str:
        """The rows as a table of Markdown, whole, the notes below."""
        columns, cells, _, notes = self._fitted(None, len(_GAP), 0)
        rows = [[c.heading for c in columns], ["---:" if c.right else "---" for c in columns],
                *([word.replace("|", "\\|") for word in row] for row in cells)]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "".join(f"\n\n{note}." for note in notes)

    def rich(self, width: int | None = None) -> Any:
        """The same as a rich renderable."""
        from rich import box
        from rich.console import Group
        from rich.table import Table as RichTable
        from rich.text import Text
        columns, cells, _, notes = self._fitted(width, _RICH_GAP, _RICH_EDGES)
        table = RichTable(title=Text(printable(self.title, "\n"), style="bold") if self.title else None, box=box.SIMPLE_HEAD,
                          title_justify="left", pad_edge=False, padding=(0, 1))
        for c in columns:
            table.add_column(c.heading, justify="right" if c.right else "left", overflow="fold",
                             no_wrap=width is None or c.right)
        for row, words in zip(self.rows, cells):
            table.add_row(*(Text(w) for w in words), style=row.get("emphasis"))
        return Group(table, *(Text(note) for note in notes))

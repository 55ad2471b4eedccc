"""HTML of small tables, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

#: Rows of a table that are shown; the rest is counted.
MOST_ROWS = 60


def table(title: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A title and a table; what is no text is shown as `str` has it, None as nothing."""
    def cells(tag: str, words: Sequence[object]) -> str:
        return "".join(f"<{tag} style='text-align:left'>{'' if w is None else escape(str(w))}</{tag}>" for w in words)
    rows = list(rows)
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows[:MOST_ROWS])
    more = f"<p>and {len(rows) - MOST_ROWS} more rows</p>" if len(rows) > MOST_ROWS else ""
    head = f"<thead><tr>{cells('th', headings)}</tr></thead>"
    return f"<div><b>{escape(title)}</b><table>{head}<tbody>{body}</tbody></table>{more}</div>"


def milliseconds(ns: float | None) -> str:
    """Nanoseconds as milliseconds with three digits behind the point; "" for None."""
    return "" if ns is None else f"{ns / 1e6:.3f} ms"

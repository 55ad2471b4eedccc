"""The text of a size, read: `parse(str(d)) == d`. The grammar:

    sum      any number of -, product, then any of + product, - product
    product  factor, then any of * factor, / factor; from left to right, / is the floor quotient
    factor   number, symbol, (sum), min(sum, ...), max(sum, ...)
    symbol   a letter or _, then letters, digits, _ . and :; any other name in double quotes, \\ before a quote
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import InputError
from .dim import MOST_NODES, MOST_SIZE, MOST_TERMS, Expr, largest, smallest, symbol

#: Digits of a number.
MOST_DIGITS = 40
_TOKEN = re.compile(r"""\s*(?:(?P<number>[0-9]+)|(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<word>[^\W\d][\w.:]*)|(?P<sign>[-+*/(),]))""",
                    re.DOTALL)


def parse(text: str, bounds: Mapping[str, tuple[int, int]] | None = None) -> int | Expr:
    """The size that a text describes, so that parse(str(d)) == d for symbols with the usual bounds.

    `bounds`: symbol -> (low, high), for others. Raises InputError for a text that is none, SizeError for one too large.
    """
    try:
        reader = _Reader(text, bounds or {})
        value = reader.sum()
        reader.end()
        return value
    except (ZeroDivisionError, RecursionError) as e:
        raise InputError(f"size {_shown(text)}: {type(e).__name__}; expected an expression such as (H+1)/2") from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


class _Reader:
    """Recursive descent over the tokens of a text."""

    def __init__(self, text: str, bounds: Mapping[str, tuple[int, int]]):
        self.text, self.bounds, self.at = text, bounds, 0
        self.kind, self.token, self.depth = "", "", 0
        self.advance()

    def wrong(self, expected: str) -> InputError:
        return InputError(f"size {_shown(self.text)}: expected {expected} at character {self.at}; write an expression such as "
                          f"(H+1)/2")

    def advance(self) -> str:
        """The current token; the next one becomes current."""
        token = self.token
        if not self.text[self.at:].strip():
            self.kind, self.token = "end", ""
            return token
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            raise self.wrong("a number, a symbol or a sign")
        self.kind, self.token, self.at = found.lastgroup or "", found[found.lastgroup or 0], found.end()
        return token

    def end(self) -> None:
        if self.kind != "end":
            raise self.wrong("the end")

    def sum(self) -> int | Expr:
        self.depth += 1
        if self.depth > MOST_NODES:
            raise self.wrong(f"at most {MOST_NODES} nested parts")
        sign = 1
        while self.kind == "sign" and self.token == "-":
            self.advance()
            sign = -sign
        value = self.product() * sign
        while self.token in ("+", "-") and self.kind == "sign":
            value = value + self.product() if self.advance() == "+" else value - self.product()
        self.depth -= 1
        return value

    def product(self) -> int | Expr:
        value = self.factor()
        while self.token in ("*", "/") and self.kind == "sign":
            value = value * self.factor() if self.advance() == "*" else value // self.factor()
        return value

    def factor(self) -> int | Expr:
        if self.kind == "number":
            if len(self.token) > MOST_DIGITS:
                raise self.wrong(f"a number of at most {MOST_DIGITS} digits")
            return int(self.advance())
        if self.kind == "word" and self.token in ("min", "max"):
            word = self.advance()
            return {"min": smallest, "max": largest}[word](*self.list())
        if self.kind in ("word", "quoted"):
            quoted, name = self.kind == "quoted", self.advance()
            return self.symbol(re.sub(r"\\(.)", r"\1", name[1:-1], flags=re.DOTALL) if quoted else name)
        if self.kind == "sign" and self.token == "(":
            (value,) = self.list(1)
            return value
        raise self.wrong("a number, a symbol or (")

    def symbol(self, name: str) -> int | Expr:
        if not name:
            raise self.wrong("a name")
        low, high = self.bounds.get(name, (1, MOST_SIZE))
        return symbol(name, low, high) if low < high else low

    def list(self, most: int = MOST_TERMS) -> list[int | Expr]:
        """`(a, b ...)`."""
        if self.token != "(":
            raise self.wrong("(")
        self.advance()
        found = [self.sum()]
        while self.kind == "sign" and self.token == "," and len(found) < most:
            self.advance()
            found.append(self.sum())
        if self.kind != "sign" or self.token != ")":
            raise self.wrong(")")
        self.advance()
        return found

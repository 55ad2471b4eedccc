"""Words of messages: counts, names that a terminal could take for orders, and what was probably meant."""

from __future__ import annotations

import inspect
import re

import pytest

import pathweave
from pathweave.report.tables import Column, Table
from pathweave.words import counted, meant, meant_file, printable


@pytest.mark.parametrize("n, text", [(1, "1 thread"), ("1", "1 thread"), (0, "0 threads"), (2, "2 threads"),
                                     ("1.2 k", "1.2 k threads"), ("N", "N threads")])
def test_a_count_agrees_with_its_noun(n, text):
    assert counted(n, "thread") == text
    assert counted(n, "pass", "passes") == text.replace("threads", "passes").replace("thread", "pass")


@pytest.mark.parametrize("name, shown", [
    ("plain name-1.é", "plain name-1.é"), ("a\x1b[2Jb", r"a\x1b[2Jb"), ("a\nb\tc", r"a\nb\tc"), ("\x9b31m", r"\x9b31m"),
    ("a\u202eb", r"a\u202eb"), ("\ud800", r"\ud800"), ("\x00\x7f", r"\x00\x7f"), ("", "")])
def test_what_is_not_printable_is_shown_by_its_escape(name, shown):
    assert printable(name) == shown and printable(shown) == shown


def test_a_file_that_was_probably_meant(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    assert meant_file(tmp_path / "modl.onnx") == "; did you mean 'model.onnx'?"
    (tmp_path / "model.txt").write_bytes(b"")
    assert meant_file(tmp_path / "modl.onnx") == meant_file(tmp_path / "model.onx") == "; did you mean 'model.onnx'?"
    assert meant_file(tmp_path / "nope.onnx") == ""  # the ending alone is no likeness
    assert meant_file(tmp_path / "zzz") == "" and meant_file("") == ""
    assert meant_file(tmp_path / "gone" / "model.onnx") == f"; there is no folder {str(tmp_path / 'gone')!r}"


def test_line_ends_stay_where_they_are_kept():
    assert printable("a\x1bb\n\tc\n", "\n") == "a\\x1bb\n\\tc\n"


def test_tables_escape_cells_titles_and_notes():
    table = Table([Column("a", "a"), Column("b", "b", right=True)], [{"a": "x\x1b[1m\ny", "b": "\r9"}], "t\x1bt",
                  ["n\x07n\nsecond"])
    lines = table.text().splitlines()
    assert lines == [r"t\x1bt", "a              b", "-----------  ---", r"x\x1b[1m\ny  \r9", r"n\x07n", "second"]


@pytest.mark.parametrize("word, hint", [("conv", "; did you mean 'conv2'?"), ("conv2", ""), ("zzzz", ""),
                                        ("winograd44", "; did you mean 'winograd4'?")])
def test_a_word_that_is_nearly_known(word, hint):
    assert meant(word, ["conv2", "dense", "winograd4"]) == hint


@pytest.mark.parametrize("name", ["tune", "profile", "solve", "plan", "load"])
def test_a_signature_shows_no_address(name):
    assert not re.search(r"0x[0-9a-f]{4}|object at", str(inspect.signature(getattr(pathweave, name))))

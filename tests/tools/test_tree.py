"""tools/tree.py: the tree of DESIGN.md and the folders agree, and each way to differ is found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import tree  # noqa: E402

DRAWING = """# A house

    house/
    ├── README.md, LICENSE  at the door
    ├── native/           the core
    │   ├── base/, types/  the ground
    │   │
    │   └── kernels/      one file each
    │                     and more words about them
    └── tests/            all of them

What follows draws nothing: ├── nonsense/
"""


def house(tmp_path: Path, *more: str, drawing: str = DRAWING) -> list[str]:
    """The findings about a house with these files beside those of the drawing."""
    files = ("README.md", "LICENSE", "native/base/a.h", "native/types/b.h", "native/kernels/c.cpp", "tests/unit/t.py")
    for name in (*files, *more):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "DESIGN.md").write_text(drawing, encoding="utf-8")
    return tree.errors(tmp_path)


def test_this_repository_is_drawn_as_it_is(capsys):
    assert tree.main([str(ROOT)]) == 0, capsys.readouterr().out


def test_entries_and_where_they_are_drawn():
    entries = tree.drawn(DRAWING)
    assert [(str(e.path), e.line, e.folder) for e in entries] == [
        ("README.md", 4, False), ("LICENSE", 4, False), ("native", 5, True), ("native/base", 6, True),
        ("native/types", 6, True), ("native/kernels", 8, True), ("tests", 10, True)]


def test_a_house_as_drawn(tmp_path):
    assert house(tmp_path) == []


def test_a_folder_without_drawn_folders_covers_what_it_holds(tmp_path):
    assert house(tmp_path, "tests/unit/deep/t.py", "native/kernels/avx2/k.cpp") == []


def test_a_folder_that_is_not_drawn(tmp_path):
    assert house(tmp_path, "native/extra/x.h", "native/extra/deep/y.h") == [
        "native/extra/: the folder exists and DESIGN.md does not draw it"]


def test_a_whole_floor_that_is_not_drawn(tmp_path):
    assert house(tmp_path, "bench/peers/x.py") == ["bench/: the folder exists and DESIGN.md does not draw it"]


@pytest.mark.parametrize("name", ["native/.cache/x", "native/base/__pycache__/x.pyc", "bench/nets/x.onnx", "elsewhere/x"])
def test_what_is_no_part_of_the_house(tmp_path, name):
    assert house(tmp_path, name) == []


def test_an_empty_folder_is_none(tmp_path):
    (tmp_path / "native" / "left_over").mkdir(parents=True)
    assert house(tmp_path) == []


@pytest.mark.parametrize("line, finding", [
    ("├── docs/  pages", "the folder docs is drawn and does not exist"),
    ("├── setup.py  old", "the file setup.py is drawn and does not exist"),
    ("├── native  a folder without its slash", "the file native is drawn and does not exist"),
    ("├── LICENSE/  a file with one", "the folder LICENSE is drawn and does not exist")])
def test_what_is_drawn_and_not_there(tmp_path, line, finding):
    drawing = DRAWING.replace("    └── tests/", f"    {line}\n    └── tests/")
    assert house(tmp_path, drawing=drawing) == [f"DESIGN.md:10: {finding}"]


def test_a_page_without_a_tree(tmp_path):
    assert house(tmp_path, drawing="# Words\n")[0].startswith("DESIGN.md: expected a tree")


def test_a_tree_that_skips_a_level(tmp_path, capsys):
    house(tmp_path)
    (tmp_path / "DESIGN.md").write_text("    ├── a/\n    │   │   ├── b/\n", encoding="utf-8")
    assert tree.main([str(tmp_path)]) == 1 and "DESIGN.md:2: expected an entry" in capsys.readouterr().out

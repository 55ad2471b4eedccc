"""Everything that the fuzzer ever found ends in a result or in a typed error now."""

from __future__ import annotations

import json
from pathlib import Path

from pathweave.testing.fuzz.__main__ import main

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(p for p in CORPUS.iterdir() if p.suffix != ".md")


def test_the_corpus_has_no_findings(capsys):
    code = main(["--json", "--jobs", "2", "--replay", *map(str, FILES)])
    told = json.loads(capsys.readouterr().out)
    assert code == 0 and not told["findings"], told["findings"]
    assert sum(t["cases"] for t in told["targets"].values()) == len(FILES) > 10


def test_every_file_is_small_and_in_the_list():
    words = (CORPUS / "README.md").read_text()
    assert [p.name for p in FILES if f"`{p.name}`" not in words] == []
    assert [p.name for p in FILES if p.stat().st_size > 16_000] == []

"""The commands and references in the Markdown files: every command line parses, cheap ones run, and what is named exists."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import shutil
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), ROOT / "bench" / "README.md", *ROOT.glob("docs/**/*.md"),
                    *ROOT.glob("examples/**/*.md"), *ROOT.glob("tests/**/*.md")])
#: Commands that run on a tiny model within about a second, with options that are left to the parser's test: they measure for
#: seconds, or need what a test does not have.
CHEAP = {"import": {"--preprocess", "--external-root"}, "show": set(), "explain": set(), "run": set(), "verify": {"--against"},
         "routines": set(), "devices": {"--limits", "--again"}, "profile": set(), "tune": {"--packed"}}
#: What the documents call the files of a user.
STAND_INS = {"MODEL": "model.onnx", "LAYER": "0", "INPUT...": "x.npy", "pruned.onnx": "model.onnx"}
#: What a test does not have: a folder of photographs, and the routine that a reader is about to write.
LEFT_OUT = {"PHOTOS/", "conv2/mine"}
_SETTING = re.compile(r"[A-Z_]+=\S+")
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
_PATH = re.compile(r"`((?:src|native|include|cmake|tests|tools|bench|examples|docs/notes)/[\w./-]*[\w/])`")
_SYMBOL = re.compile(r"`(\w+)`\s+in\s+`([\w./-]+)`")


class Command(NamedTuple):
    """A command line of a document. `whole`: it stands in a block, as one would type it; else it may be a part of one."""

    where: str
    words: tuple[str, ...]
    whole: bool

    @property
    def text(self) -> str:
        return shlex.join(self.words)


def commands_in(path: Path) -> list[Command]:
    """The command lines of a Markdown file: lines of code blocks, without the words behind two spaces, and code in lines."""
    found, fenced, before, prose = [], False, "", []
    for number, line in enumerate([*path.read_text(encoding="utf-8").splitlines(), ""], 1):
        where = f"{path.relative_to(ROOT)}:{number}"
        block = fenced or line.startswith("    ") and (not before.strip() or before.startswith("    "))
        if prose and (block or not line.strip() or line.startswith(("```", "|"))):  # code may go on in the next line
            found += [c for code in re.findall(r"`([^`]+)`", "\n".join(prose)) for c in _command(where, code, False)]
            prose = []
        if line.startswith("```"):
            fenced = not fenced
        elif block:
            found += _command(where, re.split(r"\s{2,}", line.strip())[0], True)
        else:
            prose.append(line)
        before = line
    return found


def _command(where: str, text: str, whole: bool) -> list[Command]:
    try:
        words = shlex.split(text, comments=whole)
    except ValueError:  # prose with an apostrophe
        return []
    while words and _SETTING.fullmatch(words[0]):
        del words[0]
    return [Command(where, tuple(words), whole)] if words[:1] == ["make"] or _program(words) else []


def _program(words) -> tuple[str, list[str]] | None:
    """("pathweave", arguments), (a module of it, arguments) or (a script, arguments); None for anything else."""
    if len(words) > 1 and words[0] == "pathweave":
        return "pathweave", list(words[1:])
    if len(words) < 2 or not words[0].rpartition("/")[2].startswith("python"):
        return None
    if words[1] == "-m" and len(words) > 2 and words[2].partition(".")[0] == "pathweave":
        return words[2], list(words[3:])
    return (words[1], list(words[2:])) if words[1].endswith(".py") else None


ALL = [c for path in DOCUMENTS for c in commands_in(path)]
OURS = [c for c in ALL if (p := _program(c.words)) and p[0] in ("pathweave", "pathweave.cli") and p[1]]
MODULES = [c for c in ALL if (p := _program(c.words)) and p[0].startswith("pathweave.") and p[0] != "pathweave.cli"]
SCRIPTS = [c for c in ALL if (p := _program(c.words)) and p[0].endswith(".py")]
TARGETS = [c for c in ALL if c.words[0] == "make"]


def unique(commands: list[Command]) -> list:
    """Each text once, as parameters with the text as name."""
    first = {}
    for c in commands:
        first.setdefault((c.words, c.whole), c)
    return [pytest.param(c, id=c.text) for c in first.values()]


def parse(arguments: list[str], whole: bool) -> None:
    """Let the command's own parser read the arguments, without running it. Raises its errors."""
    import typer

    from pathweave.cli import application
    from pathweave.cli._errors import take_flags
    group = typer.main.get_command(application())
    name, *rest = take_flags(list(arguments))
    if name.startswith("-"):
        group.make_context("pathweave", [name, *rest, "devices"])
        return
    assert name in group.commands, f"there is no command {name}"
    try:
        group.commands[name].make_context(f"pathweave {name}", rest)
    except Exception as e:
        # A part of a line may lack an argument, or the value of its last option.
        if whole or type(e).__name__ not in ("MissingParameter", "BadOptionUsage"):
            raise


def test_there_is_something_to_test():
    """The documents name every command, in blocks too, and the extraction finds them."""
    from pathweave.cli import commands
    assert {_program(c.words)[1][0] for c in OURS} >= set(commands())
    assert len([c for c in OURS if c.whole]) > 30 and len(MODULES) > 8 and len(SCRIPTS) > 8 and len(TARGETS) > 4


@pytest.mark.parametrize("text, whole", [("pathweave show MODEL --nonsense", True), ("pathweave nonsense MODEL", False),
                                         ("pathweave show", True), ("pathweave tune MODEL --budget many", False),
                                         ("pathweave bench --rooof", False), ("pathweave devices MODEL", False)])
def test_the_check_can_fail(text, whole):
    import typer
    with pytest.raises((typer.BadParameter.__mro__[1], AssertionError)):  # the parser's error, or an unknown command
        parse(shlex.split(text)[1:], whole)


@pytest.mark.parametrize("command", unique(OURS))
def test_commands_parse(command):
    parse(_program(command.words)[1], command.whole)


@pytest.mark.parametrize("command", unique(MODULES))
def test_modules_parse(command, monkeypatch):
    from importlib import import_module
    module, arguments = _program(command.words)
    main = import_module(f"{module}.__main__")
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    try:
        main._arguments(*([arguments] if main._arguments.__code__.co_argcount else []))
    except SystemExit as e:
        pytest.fail(f"{command.where}: {command.text} ends with {e.code}")


@pytest.mark.parametrize("command", unique(SCRIPTS))
def test_scripts_have_their_options(command):
    script, arguments = _program(command.words)
    document = ROOT / command.where.partition(":")[0]
    found = [folder / script for folder in (ROOT, document.parent) if (folder / script).is_file()]
    assert found, f"{command.where}: there is no {script}"
    text = found[0].read_text(encoding="utf-8")
    own = arguments[:arguments.index("--")] if "--" in arguments else arguments
    missing = [a for a in own if a.startswith("--") and f'"{a}"' not in text]
    assert not missing, f"{command.where}: {script} has no option {', '.join(missing)}"


@pytest.mark.parametrize("command", unique(TARGETS))
def test_make_has_the_targets(command):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    wanted = [w for w in command.words[1:] if "=" not in w]
    missing = [w for w in wanted if not re.search(rf"^{re.escape(w)}:", makefile, re.MULTILINE)]
    variables = [w.partition("=")[0] for w in command.words[1:] if "=" in w]
    missing += [v for v in variables if f"$({v})" not in makefile]
    assert not missing, f"{command.where}: the Makefile has no {', '.join(missing)}"


# ---- Python ---------------------------------------------------------------------------------------------------------

def python_blocks() -> list:
    """The fenced blocks of Python, with the line above the first of each."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            where = f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}"
            found.append(pytest.param(match[1], id=where))
    return found


@pytest.mark.parametrize("text", python_blocks())
def test_python_names_and_arguments_exist(text):
    """Functions of the package that a block calls, and methods of the objects that it makes, take what they are given."""
    import pathweave as pw
    kinds = {"model": pw.Model, "tuned": pw.Model, "plan": pw.Plan, "session": pw.StatefulSession, "other": pw.StatefulSession,
             "pool": pw.Pool, "future": Future}
    calls = 0
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)):
            continue
        owner = node.func.value.id
        function = getattr(pw if owner == "pw" else kinds[owner], node.func.attr)
        given = [None] * (len(node.args) + (owner != "pw"))
        inspect.signature(function).bind(*given, **{k.arg: None for k in node.keywords})
        calls += 1
    assert calls


# ---- commands that run ----------------------------------------------------------------------------------------------

def cheap(command: Command) -> bool:
    """True for a whole line that a test can afford, on a file that it can make."""
    name, *rest = _program(command.words)[1]
    return command.whole and name in CHEAP and not CHEAP[name] & set(rest) and not LEFT_OUT & set(rest)


@pytest.fixture
def desk(tmp_path, digits, heldout, monkeypatch) -> Path:
    """A working folder with the files that the documents speak of."""
    images = np.load(heldout)["images"][:4]
    for name in ("SAMPLES.npz", "OTHERS.npz"):
        np.savez(tmp_path / name, x=images)
    np.save(tmp_path / "x.npy", images)
    shutil.copy(digits, tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", unique([c for c in OURS if cheap(c)]))
def test_cheap_commands_run(command, pw, desk):
    arguments = [STAND_INS.get(w, w) for w in _program(command.words)[1]]
    if arguments[0] in ("profile", "tune"):
        arguments += ["--budget", "0", "--threads", "1"]
    if arguments[0] == "explain":
        assert pw("profile", "model.onnx", "--budget", "0").code == 0
    if "OUT.pw" in arguments and arguments[0] not in ("import", "tune"):
        assert pw("import", "model.onnx", "-o", "OUT.pw", "--calibrate", "SAMPLES.npz").code == 0
    result = pw(*arguments)
    assert result.code == 0, f"{command.where}: {command.text}\n{result.err}"
    assert result.out.strip()


def test_cheap_commands_are_most_of_them():
    ran = [c for c in OURS if cheap(c)]
    assert {_program(c.words)[1][0] for c in ran} >= {"import", "show", "explain", "verify", "tune", "profile", "devices"}


# ---- what is named exists -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    links = [link for link in _LINK.findall(text) if "://" not in link and not (path.parent / link).exists()]
    paths = [name for name in _PATH.findall(text) if not (ROOT / name).exists() and name != "bench/nets"]
    assert not links and not paths, f"{path.relative_to(ROOT)} names what is not there: {', '.join([*links, *paths])}"


def test_the_index_names_every_page():
    text = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")} - {"README.md"}
    assert not (missing := {p for p in pages if p not in text}), f"docs/README.md does not name {', '.join(sorted(missing))}"


def test_the_glossary_knows_where_words_live():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    found = _SYMBOL.findall(text)
    assert len(found) > 30
    missing = []
    for symbol, place in found:
        target = ROOT / place
        files = [target] if target.is_file() else [p for p in target.rglob("*") if p.suffix in (".py", ".h", ".cpp", ".inc")]
        keyword = "class|struct|enum|def|constexpr|inline|template|virtual|using"
        pattern = re.compile(rf"^\s*(?:{keyword})\b.*\b{symbol}\b|"
                             rf"^\s*{symbol}\b\s*[:=(,]|^\s*(?!return\b)[\w:<>*&, ]+[ &*>]{symbol}\b\s*[({{=;]", re.MULTILINE)
        if not any(pattern.search(p.read_text(encoding="utf-8")) for p in files):
            missing.append(f"{symbol} in {place}")
    assert not missing, f"the glossary names what is not defined there: {'; '.join(missing)}"


def test_sections_of_the_design_exist():
    numbers = set(re.findall(r"^## (\d+)\.", (ROOT / "DESIGN.md").read_text(encoding="utf-8"), re.MULTILINE))
    named = {}
    for folder in ("src", "native", "tools", "include", "bench"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".h", ".cpp", ".inc", ".md"):
                for number in re.findall(r"DESIGN section (\d+)", path.read_text(encoding="utf-8")):
                    named.setdefault(number, str(path.relative_to(ROOT)))
    missing = {n: path for n, path in named.items() if n not in numbers}
    assert named and not missing, f"sections that DESIGN.md lacks: {missing}"

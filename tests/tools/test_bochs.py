"""tools/bochs.py: what can be checked without the emulator."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import bochs  # noqa: E402

MACHINE = """\
[    0.000000] Linux
{begin}
first
{line}
{end}3
[    9.000000] reboot
"""


class Stopped:
    """A process that has ended."""

    def poll(self):
        return 1


def follow(tmp_path, text: str) -> int | None:
    (tmp_path / "serial").write_text(text)
    return bochs.follow(Stopped(), tmp_path / "serial")


def test_output_between_the_marks_and_the_exit_code(tmp_path, capsys):
    assert follow(tmp_path, MACHINE.format(begin=bochs.BEGIN, line="second", end=bochs.END)) == 3
    assert capsys.readouterr().out.split() == ["first", "second"]


@pytest.mark.parametrize("code", [0, 7])
def test_the_script_hands_on_what_the_command_says_and_returns(tmp_path, capsys, code):
    script = bochs.COMMAND.format(begin=bochs.BEGIN, end=bochs.END, command=f"sh -c 'printf half; exit {code}'")
    ran = subprocess.run(["sh", "-c", script.replace("cd /work", f"cd {tmp_path}")], capture_output=True, text=True)
    assert follow(tmp_path, ran.stdout) == code
    assert capsys.readouterr().out.strip() == "half"


def test_a_machine_that_stops_early_has_no_exit_code(tmp_path):
    assert follow(tmp_path, f"{bochs.BEGIN}\nfirst\n") is None
    assert follow(tmp_path, f"{bochs.BEGIN}\nKernel panic - not syncing\n{bochs.END}0\n") is None


def test_cpio_is_read_by_others(tmp_path):
    readers = [["bsdtar", "-xf"], ["cmake", "-E", "tar", "xf"]]
    found = [[program, *words] for program, *words in readers if shutil.which(program)]
    if not found:
        pytest.skip("neither bsdtar nor cmake is installed")
    (tmp_path / "a").write_bytes(bochs.cpio([("d", 0o040755, b""), ("d/file", 0o100644, b"content"), ("e", 0o100755, b"")]))
    subprocess.run([*found[0], "a"], cwd=tmp_path, check=True)
    assert (tmp_path / "d/file").read_bytes() == b"content"
    assert (tmp_path / "e").stat().st_mode & 0o777 == 0o755


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(bochs, "NEEDED", {"no-such-program": "its-package"})
    with pytest.raises(bochs.Failure, match="apt-get install its-package"):
        bochs.check_programs()


def test_a_half_made_file_never_takes_the_name(tmp_path):
    with pytest.raises(ValueError), bochs.finished(tmp_path / "x") as half:
        half.write_text("half")
        raise ValueError
    assert not (tmp_path / "x").exists()
    with bochs.finished(tmp_path / "x") as half:
        assert not half.exists()
        half.write_text("whole")
    assert (tmp_path / "x").read_text() == "whole"


def test_things_are_made_again_only_when_made_of_something_else(tmp_path):
    calls = []

    def make(half):
        calls.append(half)
        half.mkdir()
        (half / "content").write_text(str(len(calls)))

    for of, number in (("one", 1), ("one", 1), ("two", 2), ("one", 3)):
        assert (bochs.made(tmp_path / "x", of, make, "making") / "content").read_text() == str(number)
    (tmp_path / "x/content").unlink()
    (tmp_path / "x").rmdir()
    bochs.made(tmp_path / "x", "one", make, "making")
    assert len(calls) == 4

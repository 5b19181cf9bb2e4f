"""The console script, without an installation."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fleetscore.__main__ import USAGE, main
from shared.contract.version import VERSION


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fleetscore", *arguments])
    return main()


@pytest.mark.parametrize(
    ("arguments", "text"), [(["--version"], f"fleetscore {VERSION}\n"), (["--help"], USAGE), (["-h"], USAGE)]
)
def test_version_and_help(
    arguments: list[str], text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (call(monkeypatch, *arguments), capsys.readouterr()) == (0, (text, ""))


@pytest.mark.parametrize(("arguments", "got"), [([], "none"), (["fold", "--models"], "fold --models")])
def test_what_is_no_command_is_named(
    arguments: list[str], got: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *arguments) == 2
    assert capsys.readouterr().err == f"{USAGE}\nfleetscore: expected a command, got {got}\n"


@pytest.mark.parametrize("command", ["folder", "convert"])
def test_the_help_of_a_command_has_the_name_of_the_script(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        call(monkeypatch, command, "--help")
    assert capsys.readouterr().out.startswith(f"usage: fleetscore {command} [-h] --models MODELS")


def test_the_upgrade_of_predictions_is_a_command_of_the_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        call(monkeypatch, "predictions", "upgrade", "--help")
    usage = "usage: fleetscore predictions upgrade [-h] [--dry-run] FOLDER_OR_CONTAINER\n"
    assert capsys.readouterr().out.startswith(usage)
    with pytest.raises(SystemExit, match=r"^2$"):
        call(monkeypatch, "predictions")


def test_the_conversion_of_readings_is_a_command_of_the_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        call(monkeypatch, "readings", "convert", "--help")
    assert capsys.readouterr().out.startswith("usage: fleetscore readings convert [-h] --into INTO")


def test_rebuild_wants_no_more_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "rebuild", "all") == 2
    assert capsys.readouterr().out.startswith("usage: fleetscore rebuild\n")


def test_rebuild_without_its_extra_says_what_to_install() -> None:
    code = "import sys; sys.modules['pydantic'] = None; sys.argv[1:] = ['rebuild']; import fleetscore.__main__ as f"
    command = [sys.executable, "-c", f"{code}; sys.exit(f.main())"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    expected = "fleetscore: rebuild needs the extra app: pip install 'fleetscore[app]' ("
    assert (done.returncode, done.stdout, done.stderr[: len(expected)]) == (2, "", expected)


def test_no_side_is_imported_before_a_command_is_chosen() -> None:
    code = "import sys, fleetscore.__main__; print({'scorer', 'numpy', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"

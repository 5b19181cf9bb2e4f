"""A wrong option of a command is an error of one line, with the option's name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scorer.__main__ import main
from scorer.commands.options import make_optional, parse_window
from shared.contract.errors import Malformed
from shared.contract.windows import Window

OF_MODELS = [
    ("--model-names", "model_{sensor}", "expected a pattern with {device} once"),
    ("--model-formats", "onnx", "expected json or txt, or both with a comma between them"),
    ("--model-formats", ".json", "expected json or txt"),
]
OF_FOLDERS = [
    ("--window", "2026-11-21T07:00", "expected START/END such as 2026-11-21T07:00/2026-11-21T08:00, got '2026-"),
    ("--window", "2026-11-21T08:00/2026-11-21T07:00", "expected a START before its END"),
    ("--window", "2026-11-21T07:00:30/2026-11-21T08:00", "expected a START before its END, both at whole minutes"),
    ("--window", "0001-01-01T00:00+14:00/0001-01-02T00:00", "expected START/END"),
    ("--every", "1h", "expected an ISO 8601 duration of whole minutes such as PT1H, got '1h'"),
    ("--window-origin", "Monday", "expected a date such as 1970-01-05, which was a Monday, got 'Monday'"),
    ("--columns", "time=TS,unit=x", "expected KEY=NAME,..."),
    ("--columns", "time", "expected KEY=NAME,..."),
    ("--csv", "separator=;,decimal", "expected such as separator=semicolon,decimal=comma,comment=#, got 'sep"),
    ("--csv", "separator=,", "expected such as separator=semicolon"),
    ("--csv", "separator=tab,separator=bar", "expected such as separator=semicolon"),
    ("--csv", "quote=!", "expected such as separator=semicolon"),
    ("--csv", "separator=x", "separator: expected one character such as comma, semicolon, tab, bar, space or one of"),
    ("--csv", "separator=;;", "separator: expected one character such as"),
    ("--csv", "decimal=;", "decimal: expected point or comma, got ';'"),
    ("--csv", "comment=space", "comment: expected one character such as #"),
    ("--csv", "separator=#,comment=#", "expected a comment that is not the separator, got '#' for both"),
    ("--time-zone", "CEST", "expected a time zone by its IANA name such as Europe/Berlin or UTC, got 'CEST'"),
    ("--features", "temp,temp", "expected as-in-file, or different names such as temp,amps,flow, got 'temp,temp'"),
    ("--missing-values", "none", "expected numbers such as -999,65535, got 'none'"),
    ("--other-versions", "maybe", "expected"),
]
# Those that argparse checks itself, and names, and those that the command checks when it looks at the files.
CHECKED_ELSEWHERE = {"--bad-rows", "--time-format", "--gaps", "--unmodelled", "--predictions-schema", "--probabilities"}
FOLDERS = {"--models", "--readings", "--predictions", "--to", "--readings-path"}
WITHOUT_A_VALUE = {"--help", "--verbose", "--json"}


@pytest.mark.parametrize(
    ("command", "option", "text", "expected"),
    [
        *(("folder", *case) for case in OF_MODELS + OF_FOLDERS),
        *(("convert", *case) for case in OF_MODELS),
    ],
)
@pytest.mark.parametrize("form", ["{}={}", "{} {}"])
def test_an_option_that_cannot_be_meant_is_named(
    command: str, option: str, text: str, expected: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    targets = {"folder": ["--readings", "--predictions"], "convert": ["--to"]}[command]
    paths = [f"{name}={tmp_path / name[2:]}" for name in ("--models", *targets)]
    assert main([command, *paths, *form.format(option, text).split(maxsplit=1)]) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"scorer: {option}: {expected}")
    assert (output.out, len(output.err.splitlines()), list(tmp_path.iterdir())) == ("", 1, [])


@pytest.mark.parametrize(("command", "cases"), [("folder", OF_MODELS + OF_FOLDERS), ("convert", OF_MODELS)])
def test_the_table_above_has_every_option_that_is_parsed(
    command: str, cases: list[tuple[str, str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    options = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))
    assert options - CHECKED_ELSEWHERE - FOLDERS - WITHOUT_A_VALUE == {option for option, *_ in cases}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["predictions", "upgrade", "nowhere"],
            "FOLDER_OR_CONTAINER: expected a folder or the URL of a container",
        ),
        (["predictions", "upgrade", "ftp://host/x"], "FOLDER_OR_CONTAINER: expected https://ACCOUNT.blob.core.windows"),
        (
            ["--manifest", "m.json", "--attempt", "1"],
            "--manifest: expected the URL of a blob, got 'm.json'",
        ),
    ],
)
def test_a_location_that_cannot_be_meant_is_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"scorer: {message}")


def test_a_window_without_an_offset_is_utc() -> None:
    expected = Window.parse("20261121T0700Z-PT1H")
    assert parse_window("2026-11-21T07:00/2026-11-21T08:00") == expected
    assert parse_window("2026-11-21T08:00+01:00/2026-11-21T08:00Z") == expected


def test_an_empty_text_is_no_value_where_there_need_not_be_one() -> None:
    assert make_optional(parse_window)("") is None
    with pytest.raises(Malformed):
        make_optional(parse_window)(" ")

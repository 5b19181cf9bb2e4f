"""Which files of a folder are readings, and what is said where none is, or where some are passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from scorer.readings import source
from scorer.readings.file_listing import LEFTOVERS
from scorer.storage.blob_store import Folder
from shared.contract.model_names import Columns
from tests.scorer.readings.seen import AS_IN_FILE, HOUR, see

TEXT = "time,device,value\n2026-11-21T07:00:00Z,pump,{}\n"


def open_source(root: Path, paths: list[str], pattern: str = "") -> source.Source:
    return source.open_readings(Folder(root), paths, Columns(), HOUR, AS_IN_FILE, pattern)


@pytest.mark.parametrize("end", ["~", ".bak", ".TMP", ".csv.part"])
def test_a_copy_beside_a_file_is_passed_over_and_said(end: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(TEXT.format(1))
    (tmp_path / f"a.csv{end}").write_text(TEXT.format(2))

    opened = open_source(tmp_path, [""])
    by_pattern = open_source(tmp_path, [""], "*")

    assert see(opened.read_devices(["pump"])) == see(by_pattern.read_devices(["pump"])) == [("07:00:00", [1.0])]
    assert opened.list_warnings() == by_pattern.list_warnings() == [(1, f"{LEFTOVERS}, such as a.csv{end}")]


@pytest.mark.parametrize(("paths", "pattern"), [(["a.bak"], ""), ([""], "*.bak")])
def test_a_file_that_a_setting_names_by_its_end_is_read(paths: list[str], pattern: str, tmp_path: Path) -> None:
    (tmp_path / "a.bak").write_text(TEXT.format(2))

    opened = open_source(tmp_path, paths, pattern)

    assert see(opened.read_devices(["pump"])) == [("07:00:00", [2.0])]
    assert opened.list_warnings() == []


@pytest.mark.parametrize(
    ("paths", "pattern", "path"),
    [
        (["in/2026/"], "in/%Y/", "READINGS_PATH (--readings-path) 'in/%Y/'"),
        (["in/"], "in/{device}.json", "READINGS_PATH (--readings-path) 'in/{device}.json'"),
        (["in/hour=07/"], "", "the path of the readings"),
    ],
)
def test_where_no_file_fits_the_path_some_names_are_shown(
    paths: list[str], pattern: str, path: str, tmp_path: Path
) -> None:
    empty = open_source(tmp_path, paths, pattern).list_warnings()
    (tmp_path / "in" / "2025").mkdir(parents=True)
    for name in ("a.csv", "b.csv", "c.csv"):
        (tmp_path / "in" / "2025" / name).write_text(TEXT.format(1))

    opened = open_source(tmp_path, paths, pattern)

    names = "'in/2025/a.csv', 'in/2025/b.csv', 'in/2025/c.csv'"
    start = f"chunks found no file that {path} names for their window: "
    folder = "in/" if pattern else "in/hour=07/"
    absent = f"nothing was listed in {folder!r}"
    assert empty == [(1, start + absent)]
    assert opened.list_warnings() == [(1, start + (f"there are names such as {names}" if pattern else absent))]

"""A node's report counts the rows that came late for the window before, once for each pass over the readings."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from scorer.commands.score_chunk import AttemptOptions
from scorer.readings.device_readings import LATE
from scorer.scoring.run_warnings import KEPT
from shared.contract.domain import Late
from tests.scorer.commands.test_chunk_columns import FOLDER, fit, make_manifest, read_rows, run, write_readings
from tests.scorer.readings.seen import HOUR

DEVICES = ["d1", "d2", "d3"]


def write_late(root: Path, *devices: str) -> None:
    """One row of the minute before the window, for each device."""
    time = (HOUR.start - timedelta(minutes=1)).isoformat()
    rows = [{"time": time, "device": device, "a": 10.0, "b": 9.0} for device in devices]
    (root / "readings" / FOLDER / "late.json").write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize("memory", [2**31, 1])  # in one pass, and in one for each pack
@pytest.mark.parametrize("isolated", [False, True])
def test_late_rows_of_the_chunk_s_devices_are_counted_once(isolated: bool, memory: int, tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, {device: fit("a") for device in DEVICES}, [1, 1, 1], memory)
    write_readings(tmp_path, DEVICES)
    write_late(tmp_path, "d1", "d3", "d9")
    report = run(tmp_path, manifest, options=AttemptOptions(isolated))
    assert report.late == Late(2, 2, ("d1", "d3"))
    assert f"2 {LATE}" in report.warnings
    assert report.tally.rows == 9


def test_a_report_says_that_none_came_late_or_that_nothing_tells_it(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, {device: fit("a") for device in DEVICES}, [3])
    write_readings(tmp_path, DEVICES)
    assert run(tmp_path, manifest, 1).late == Late()
    assert run(tmp_path, replace(manifest, readings_path=""), 2).late is None
    assert run(tmp_path, replace(manifest, readings_path="date=%Y-%m-%d/"), 3).late is None


def test_what_is_carried_over_is_not_looked_at(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, {device: fit("a") for device in DEVICES}, [3])
    write_readings(tmp_path, DEVICES)
    write_late(tmp_path, "d1", "d3")
    (tmp_path / "models" / "d3.pkl").rename(tmp_path / "d3.pkl")
    assert run(tmp_path, manifest, 1).late == Late(2, 2, ("d1", "d3"))
    (tmp_path / "d3.pkl").rename(tmp_path / "models" / "d3.pkl")
    again = run(tmp_path, manifest, 2, AttemptOptions(carry_attempt=1, current_files=True))
    assert (again.tally.scored, again.late) == (3, Late(1, 1, ("d3",)))


def test_a_rescore_scores_the_models_that_rows_came_late_for_and_carries_the_others(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, {device: fit("a") for device in DEVICES}, [2, 1])
    write_readings(tmp_path, DEVICES)
    before = read_rows(tmp_path, run(tmp_path, manifest, 1))
    time = (HOUR.start + timedelta(minutes=59)).isoformat()
    folder = tmp_path / "readings" / FOLDER.replace("hour=07", "hour=08")
    folder.mkdir()
    rows = [{"time": time, "device": device, "a": 10.0, "b": 9.0} for device in DEVICES]
    (folder / "x.json").write_text("\n".join(map(json.dumps, rows)))  # rows of all, of which two are asked for
    rescore = replace(manifest, rescore=(0, 2), round=1)
    report = run(tmp_path, rescore, 2, AttemptOptions(carry_attempt=1, current_files=True))
    after = read_rows(tmp_path, report)
    of_device = {device: [row for row in after if row["device"] == device] for device in DEVICES}
    assert {device: len(rows) for device, rows in of_device.items()} == {"d1": 4, "d2": 3, "d3": 4}
    assert of_device["d2"] == [row for row in before if row["device"] == "d2"]
    assert (report.tally.scored, report.tally.rows) == (3, 11)


@pytest.mark.parametrize("isolated", [False, True])
def test_a_model_that_cannot_be_scored_once_more_keeps_its_rows_and_the_others_get_those_that_came_late(
    isolated: bool, tmp_path: Path
) -> None:
    manifest = make_manifest(tmp_path, {device: fit("a") for device in DEVICES}, [2, 1])
    write_readings(tmp_path, DEVICES)
    before = read_rows(tmp_path, run(tmp_path, manifest, 1))
    folder = tmp_path / "readings" / FOLDER.replace("hour=07", "hour=08")
    folder.mkdir()
    time = (HOUR.start + timedelta(minutes=59)).isoformat()
    rows = [{"time": time, "device": device, "a": 10.0, "b": 9.0} for device in DEVICES]
    (folder / "x.json").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "models" / "d3.pkl").write_bytes(b"no model any more")
    (tmp_path / "models" / "d2.pkl").write_bytes(b"neither, but nobody looks at it")
    rescore = replace(manifest, rescore=(0, 2), round=1, packs=())
    report = run(tmp_path, rescore, 2, AttemptOptions(isolated, carry_attempt=1, current_files=True))
    after = read_rows(tmp_path, report)
    assert (report.tally.scored, report.tally.rows, report.failures) == (3, 10, ())
    assert [row for row in after if row["device"] != "d1"] == [row for row in before if row["device"] != "d1"]
    assert [row["device"] for row in after].count("d1") == 4
    assert f"1 {KEPT}" in report.warnings

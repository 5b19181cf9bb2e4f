"""What the names of folders say: Hive's keys are columns, and a table of some format is refused."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.readings import source
from scorer.readings.device_readings import Readings
from scorer.readings.layouts import list_written_keys, parse_keys
from scorer.readings.projection import EVERYTHING, Projection
from scorer.storage.blob_store import Folder
from scorer.storage.range_reader import AccessDenied, OpenFile
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason
from shared.contract.scoring_options import ReadingOptions, TimeFormat
from tests.scorer.readings.seen import HOUR, read, refusal, see

FORMS = ("csv", "json", "parquet")


def write(path: Path, rows: dict[str, list[object]]) -> None:
    """A file in the form of its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows)
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".json":
            frame.to_json(path, orient="records", lines=True)
        case _:
            pq.write_table(pa.table(rows), path)


def wide(*values: float) -> dict[str, list[object]]:
    return {"time": [f"2026-11-21T07:0{i}:00Z" for i in range(len(values))], "a": list(values)}


def read_needed(root: Path, *names: str, devices: Iterable[str] = ("pump1",), pattern: str = "") -> Readings:
    opened = source.open_readings(Folder(root), [""], Columns(), HOUR, ReadingOptions(), pattern, list(devices))
    return opened.read_devices(list(devices), Projection(frozenset(names)))


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("a.csv", {}),
        ("device=pump1/a.csv", {"device": "pump1"}),
        ("x/device=pump1/sensor=rpm/a.csv", {"device": "pump1", "sensor": "rpm"}),
        ("device=pump1/load=1=2.csv", {"device": "pump1"}),  # a file's own name says nothing
        ("device=a%3Ab%2Fc%25/a", {"device": "a:b/c%"}),  # as Spark escapes
        ("device=K%C3%BChler%201/a", {"device": "Kühler 1"}),  # as pyarrow does
        ("device=Kühler 1/a", {"device": "Kühler 1"}),
        ("device=100%/a", {"device": "100%"}),
        ("device=%FF/a", {"device": "%FF"}),
        ("a%20b=1/a", {"a b": "1"}),
        ("device=a=b/a", {"device": "a=b"}),
        ("device=__HIVE_DEFAULT_PARTITION__/a", {"device": None}),
        ("device=/a", {"device": None}),
        ("=x/a", {}),
        ("device=007/a", {"device": "007"}),
        ("date=2026-11-21/hour=07/site=north/a", {"site": "north"}),
    ],
)
def test_a_key_is_the_text_that_was_partitioned_by(name: str, keys: dict[str, str | None]) -> None:
    assert parse_keys(name, list_written_keys("date=%Y-%m-%d/hour=%H/")) == keys


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [("date=%Y-%m-%d/hour=%H/", {"date", "hour"}), ("site=north/%Y/d=%d/", {"d"}), ("p=100%%/", set()), ("", set())],
)
def test_the_keys_of_readings_path_are_those_with_a_part_of_a_date(pattern: str, keys: set[str]) -> None:
    assert list_written_keys(pattern) == keys


@pytest.mark.parametrize("form", FORMS)
def test_device_and_sensor_may_be_in_the_names_of_folders(form: str, tmp_path: Path) -> None:
    for device, sensor, value in (("pump1", "rpm", 1), ("pump1", "bar", 2), ("p:2", "rpm", 3)):
        rows = {"time": ["2026-11-21T07:00:00Z"], "value": [float(value)]}
        write(tmp_path / f"device={device.replace(':', '%3A')}" / f"sensor={sensor}" / f"a.{form}", rows)

    found = read(tmp_path, "pump1", "p:2")

    assert see(found, "pump1/bar") == [("07:00:00", [2.0])]
    assert see(found, "pump1", names=("rpm", "bar")) == [("07:00:00", [1.0, 2.0])]
    assert see(found, "p:2/rpm") == [("07:00:00", [3.0])]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("key", "policy"),
    [("2026-11-21 07%3A05%3A00", ReadingOptions()), ("1795244700", ReadingOptions(time=TimeFormat.S))],
)
def test_the_time_may_be_in_the_name_of_a_folder(key: str, policy: ReadingOptions, form: str, tmp_path: Path) -> None:
    write(tmp_path / f"time={key}" / f"a.{form}", {"device": ["pump"], "a": [1.5]})

    assert see(read(tmp_path, policy=policy), names=("a",)) == [("07:05:00", [1.5])]


@pytest.mark.parametrize("form", FORMS)
def test_what_pandas_partitions_by_device_is_read_as_the_whole_was(form: str, tmp_path: Path) -> None:
    for device in ("pump1", "pump2"):
        write(tmp_path / f"device={device}" / f"a.{form}", wide(1, 2) if device == "pump1" else wide(3))

    found = read_needed(tmp_path, "a", devices=["pump1", "pump2", "pump3"])

    assert see(found, "pump1", names=("a",)) == [("07:00:00", [1.0]), ("07:01:00", [2.0])]
    assert see(found, "pump2", count=1) == [("07:00:00", [3.0])]
    assert refusal(found, "pump3") == (Reason.NO_READINGS, "the window has no readings of it")
    assert found.list_warnings() == []


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_a_feature_of_the_models_that_name_it_and_of_no_other(form: str, tmp_path: Path) -> None:
    for load, value in (("1.50", 1), ("__HIVE_DEFAULT_PARTITION__", 2), ("high", 3)):
        rows = {"time": [f"2026-11-21T07:0{value}:00Z"], "device": ["pump1"], "a": [float(value)]}
        write(tmp_path / "site=7" / f"load={load}" / f"x.{form}", rows)

    found = read_needed(tmp_path, "a", "load")

    assert see(found, "pump1", names=("load", "a")) == [("07:01:00", [1.5, 1.0])]
    assert see(found, "pump1", count=1) == [("07:01:00", [1.0]), ("07:02:00", [2.0]), ("07:03:00", [3.0])]
    assert refusal(found, "pump1", names=("a", "site"))[0] is Reason.MISSING_FEATURES
    assert found.list_warnings() == [(1, f"columns hold no numbers, such as 'load' in site=7/load=high/x.{form}")]


def test_where_no_model_was_read_any_key_may_be_a_feature_but_none_counts(tmp_path: Path) -> None:
    write(tmp_path / "site=north" / "load=2" / "x.csv", {**wide(1.0), "device": ["pump1"]})

    found = source.open_readings(Folder(tmp_path), [""], Columns(), HOUR, ReadingOptions()).read_devices(
        ["pump1"], EVERYTHING
    )

    assert see(found, "pump1", names=("load", "a")) == [("07:00:00", [2.0, 1.0])]
    assert see(found, "pump1", count=1) == [("07:00:00", [1.0])]
    assert found.list_warnings() == []


def test_the_keys_that_readings_path_writes_are_no_features(tmp_path: Path) -> None:
    write(tmp_path / "date=2026-11-21" / "hour=07" / "x.csv", {**wide(1.0), "device": ["pump1"]})

    with_pattern = read_needed(tmp_path, "a", "hour", pattern="date=%Y-%m-%d/hour=%H/")

    assert refusal(with_pattern, "pump1", names=("a", "hour"))[0] is Reason.MISSING_FEATURES
    assert see(read_needed(tmp_path, "a", "hour"), "pump1", names=("a", "hour")) == [("07:00:00", [1.0, 7.0])]


@pytest.mark.parametrize("form", FORMS)
def test_a_column_of_the_file_takes_precedence_over_a_key_of_its_name(form: str, tmp_path: Path) -> None:
    rows = {**wide(1.0), "device": ["pump1"], "sensor": ["bar"], "load": [4.0]}
    write(tmp_path / "device=pump1" / "sensor=rpm" / "load=2" / f"x.{form}", rows)

    found = read_needed(tmp_path, "a", "load")

    assert see(found, "pump1/bar", names=("a", "load")) == [("07:00:00", [1.0, 4.0])]
    assert refusal(found, "pump1/rpm", names=("a",))[0] is Reason.SENSOR_SILENT


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_another_device_than_their_folder_names_fail_that_device_alone(form: str, tmp_path: Path) -> None:
    write(tmp_path / "device=pump1" / f"x.{form}", {**wide(1.0, 2.0), "device": ["pump1", "pump2"]})
    write(tmp_path / "device=pump2" / f"x.{form}", {**wide(3.0), "device": ["pump2"]})

    found = read_needed(tmp_path, "a", devices=["pump1", "pump2"])

    assert refusal(found, "pump1") == (
        Reason.UNREADABLE_READINGS,
        (
            f"device=pump1/x.{form}: expected rows of the device 'pump1' that its path names, "
            "got 'pump2' in its column 'device'"
        ),
    )
    assert see(found, "pump2", names=("a",)) == [("07:00:00", [3.0])]


def test_a_file_that_cannot_be_read_fails_the_device_of_its_folder_alone(tmp_path: Path) -> None:
    write(tmp_path / "device=pump1" / "x.csv", wide(1.0))
    for device, text in (("pump2", b"PAR1 no footer"), ("pump3", b"time,a\n1,2,3\n")):
        (tmp_path / f"device={device}").mkdir()
        (tmp_path / f"device={device}" / "x").write_bytes(text)

    found = read(tmp_path, "pump1", "pump2", "pump3")

    assert see(found, "pump1", names=("a",)) == [("07:00:00", [1.0])]
    assert refusal(found, "pump2")[0] is refusal(found, "pump3")[0] is Reason.UNREADABLE_READINGS


def test_a_folder_with_a_key_is_not_hidden_by_its_underscore(tmp_path: Path) -> None:
    write(tmp_path / "_device=pump1" / "x.csv", wide(1.0))
    write(tmp_path / "_temporary" / "x.csv", wide(2.0))
    columns = Columns(device="_device")

    assert see(read(tmp_path, "pump1", columns=columns), "pump1", names=("a",)) == [("07:00:00", [1.0])]


@dataclass(frozen=True, slots=True)
class Watched(Folder):
    """A folder that notes what is opened and listed, and may deny listings above a path."""

    opened: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    denied: tuple[str, ...] = ()

    def open(self, path: str) -> OpenFile:
        self.opened.append(path)
        return Folder.open(self, path)

    def list(self, prefix: str, limit: int | None = None) -> list[str]:
        self.listed.append(prefix)
        if prefix.startswith(self.denied):
            raise AccessDenied("denied")
        return Folder.list(self, prefix, limit)


@pytest.mark.parametrize("form", FORMS)
def test_of_many_folders_of_devices_one_listing_and_only_the_expected_files_are_read(form: str, tmp_path: Path) -> None:
    for i in range(50):
        write(tmp_path / f"device=d{i:02}" / f"x.{form}", wide(float(i)))
    write(tmp_path / "device=__HIVE_DEFAULT_PARTITION__" / f"x.{form}", wide(1.0))
    folder = Watched(tmp_path)

    opened = source.open_readings(
        folder, [""], Columns(), HOUR, ReadingOptions(), devices=["d07", "d08", "d09", "other"]
    )
    found = [opened.read_devices(["d07", "other"]), opened.read_devices(["d08", "d09"])]

    assert set(folder.opened) == {f"device=d0{i}/x.{form}" for i in (7, 8, 9)}
    assert folder.listed == ["_delta_log/", ""]
    assert [r.rows for r in found] == [1, 2]
    assert opened.divisible


DELTA, ICEBERG, HUDI = (
    "_delta_log/00000000000000000000.json",
    "metadata/00000-9c12d441-03fe-4693-9a96-a0705ddf69c1.metadata.json",
    ".hoodie/hoodie.properties",
)


@pytest.mark.parametrize(
    ("mark", "kind"),
    [
        (DELTA, "a Delta table"),
        ("_delta_log/00000000000000000010.checkpoint.parquet", "a Delta table"),
        (HUDI, "a Hudi table"),
        (ICEBERG, "an Iceberg table"),
        ("metadata/v3.metadata.json", "an Iceberg table"),
        ("metadata/v3.gz.metadata.json", "an Iceberg table"),
    ],
)
@pytest.mark.parametrize("path", ["", "lake/", "lake/t/", "lake/t/data/d=1/h=2/", "lake/t/data/d=1/h=2/x.parquet"])
def test_a_table_of_some_format_is_refused_at_its_folder_below_and_above(
    path: str, mark: str, kind: str, tmp_path: Path
) -> None:
    write(tmp_path / "lake" / "t" / "data" / "d=1" / "h=2" / "x.parquet", {**wide(1.0), "device": ["pump"]})
    (tmp_path / "lake" / "t" / mark).parent.mkdir()
    (tmp_path / "lake" / "t" / mark).write_text("{}")

    found = source.read_readings(Folder(tmp_path), [path, "lake/next/"], Columns(), ["pump"], HOUR)

    reason, message = refusal(found)
    assert reason is Reason.UNREADABLE_READINGS
    assert message.startswith(f"lake/t/: is {kind}, whose files also hold rows that were deleted or replaced")
    assert "READINGS_PATH" in message


@pytest.mark.parametrize("mark", ["metadata/notes.metadata.json.csv", "metadata/a.txt", "delta_log/0.json", "hoodie/a"])
def test_what_only_looks_like_a_table_is_read(mark: str, tmp_path: Path) -> None:
    write(tmp_path / "t" / "data" / "x.parquet", {**wide(1.0), "device": ["pump"]})
    (tmp_path / "t" / mark).parent.mkdir()
    (tmp_path / "t" / mark).write_text("{}")

    found = source.read_readings(Folder(tmp_path), ["t/data/"], Columns(), ["pump"], HOUR)

    assert see(found, names=("a",)) == [("07:00:00", [1.0])]


def test_the_folders_above_are_looked_at_only_beside_parquet_and_where_they_may_be_listed(tmp_path: Path) -> None:
    write(tmp_path / "csv" / "h" / "x.csv", {**wide(1.0), "device": ["pump"]})
    write(tmp_path / "t" / "h" / "x.parquet", {**wide(1.0), "device": ["pump"]})
    quiet, open_, closed = Watched(tmp_path), Watched(tmp_path), Watched(tmp_path, denied=("_delta_log", "t/_delta"))

    for folder, path in ((quiet, "csv/h/"), (open_, "t/h/"), (closed, "t/h/")):
        found = source.read_readings(folder, [path], Columns(), ["pump"], HOUR)
        assert see(found, names=("a",)) == [("07:00:00", [1.0])]

    assert quiet.listed == ["csv/h/_delta_log/", "csv/h/"]
    marks = [f"{level}{mark}/" for level in ("", "t/") for mark in ("_delta_log", ".hoodie", "metadata")]
    assert sorted(open_.listed) == sorted(closed.listed) == sorted(["t/h/", "t/h/_delta_log/", *marks])

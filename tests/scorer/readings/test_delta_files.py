"""A Delta table as readings: its present version, pruned by the statistics of its log."""

import json
import logging
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from azure.storage.blob import ContainerClient
from deltalake import DeltaTable, write_deltalake

from local.azurite import Azurite
from scorer.readings import source
from scorer.readings.device_readings import Readings
from scorer.storage.blob_store import Container, Folder, open_container
from shared.contract.model_names import Columns
from shared.contract.readings.paths import list_paths
from shared.contract.reasons import Reason
from shared.contract.scoring_options import ReadingOptions
from tests.scorer.readings.seen import HOUR, refusal, see

SEVEN = datetime(2026, 11, 21, 7, tzinfo=UTC)


def rows(device: str, *values: float, hour: int = 7, zone: str | None = "UTC") -> pa.Table:
    times = [SEVEN.replace(hour=hour) + timedelta(minutes=i) for i in range(len(values))]
    kind = pa.timestamp("us", zone)
    moments = [time if zone else time.replace(tzinfo=None) for time in times]
    return pa.table({"time": pa.array(moments, kind), "device": [device] * len(values), "a": list(values)})


def read(container: Container, *devices: str, path: str = "", zone: str = "") -> Readings:
    options = ReadingOptions(time_zone=zone)
    opened = source.open_readings(container, list_paths(path, HOUR), Columns(), HOUR, options, path, devices)
    return opened.read_devices(devices)


def test_rows_that_were_deleted_or_replaced_are_no_readings(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "t", rows("p1", 1.0, 2.0))
    write_deltalake(tmp_path / "t", rows("p2", 3.0), mode="append")
    table = DeltaTable(tmp_path / "t")
    table.delete("a = 2.0")
    table.update(updates={"a": "30.0"}, predicate="device = 'p2'")

    readings = read(Folder(tmp_path), "p1", "p2", path="t/")

    assert see(readings, "p1") == [("07:00:00", [1.0])]
    assert see(readings, "p2") == [("07:00:00", [30.0])]
    assert readings.repeated == 0


def test_only_files_that_may_hold_rows_of_the_window_are_opened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for hour in range(24):
        write_deltalake(tmp_path, rows("p1", float(hour), hour=hour), mode="append")

    with caplog.at_level(logging.INFO, "scorer.readings.listing.delta_files"):
        readings = read(Folder(tmp_path), "p1")

    assert see(readings, "p1") == [("07:00:00", [7.0])]
    assert caplog.messages == ["readings: version 23 of the Delta table of the container, 1 of 24 files"]


def test_times_that_the_log_cuts_to_milliseconds_are_not_lost(tmp_path: Path) -> None:
    """PROTOCOL.md of Delta: the bounds of timestamps are cut to milliseconds, the greatest one too."""
    late = pa.table({"time": [SEVEN + timedelta(microseconds=900)], "device": ["p1"], "a": [1.0]})
    early = pa.table({"time": [SEVEN - timedelta(microseconds=1)], "device": ["p1"], "a": [0.0]})
    for table in (late, early):
        write_deltalake(tmp_path, table, mode="append")

    assert see(read(Folder(tmp_path), "p1"), "p1") == [("07:00:00.0009", [1.0])]


@pytest.mark.parametrize(("zone", "hour"), [("", 7), ("Europe/Berlin", 8)])
def test_times_without_a_zone_are_by_the_clocks_of_the_fleet(zone: str, hour: int, tmp_path: Path) -> None:
    write_deltalake(tmp_path, rows("p1", 5.0, hour=hour, zone=None))

    assert see(read(Folder(tmp_path), "p1", zone=zone), "p1") == [("07:00:00", [5.0])]


def test_a_partition_is_a_column_whatever_its_value_holds(tmp_path: Path) -> None:
    for device in ("a b", "x:y", "50%", "ü%2F"):
        write_deltalake(tmp_path, rows(device, 1.0), partition_by=["device"], mode="append")

    readings = read(Folder(tmp_path), "a b", "x:y", "50%", "ü%2F")

    assert [see(readings, device) for device in ("a b", "x:y", "50%", "ü%2F")] == [[("07:00:00", [1.0])]] * 4


def _edit_log(root: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the actions of a table's first version as another writer would have written them."""
    log = root / "_delta_log" / "00000000000000000000.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        edit(action)
    log.write_text("".join(f"{json.dumps(action)}\n" for action in actions))


def _make_vector(*deleted: int) -> dict[str, Any]:
    """An inline deletion vector: a RoaringTreemap in Z85, as PROTOCOL.md of Delta says ("Deletion Vector Format")."""
    bitmap = struct.pack("<IIHHI", 12346, 1, 0, len(deleted) - 1, 16) + struct.pack(f"<{len(deleted)}H", *deleted)
    data = struct.pack("<iQI", 1681511377, 1, 0) + bitmap
    digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    words = (word for (word,) in struct.iter_unpack(">I", data))
    text = "".join(digits[word // 85**power % 85] for word in words for power in (4, 3, 2, 1, 0))
    return {"storageType": "i", "pathOrInlineDv": text, "sizeInBytes": len(data), "cardinality": len(deleted)}


def _enable_vectors(root: Path, vector: dict[str, Any] | None) -> None:
    write_deltalake(root, rows("p1", 1.0, 2.0))

    def edit(action: dict[str, Any]) -> None:
        if "protocol" in action:
            features = ["deletionVectors"]
            versions = {"minReaderVersion": 3, "minWriterVersion": 7}
            action["protocol"] = {**versions, "readerFeatures": features, "writerFeatures": features}
        if "add" in action and vector:
            action["add"]["deletionVector"] = vector

    _edit_log(root, edit)


def _delete_rows(root: Path) -> None:
    _enable_vectors(root, _make_vector(0, 1))


def _delete_rows_in_a_file(root: Path) -> None:
    name = "vBn[lx{q8@P<9BNH/isA"  # of a file that was removed since
    vector = {"storageType": "u", "pathOrInlineDv": name, "offset": 1, "sizeInBytes": 36, "cardinality": 1}
    _enable_vectors(root, vector)


def _clone(prefix: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        write_deltalake(root, rows("p1", 1.0))
        _edit_log(root, lambda action: action.get("add", {}).update(path=f"{prefix}{action['add']['path']}")
                  if "add" in action else None)  # fmt: skip

    return spoil


def test_a_table_that_may_have_deletion_vectors_is_read_while_it_has_none(tmp_path: Path) -> None:
    _enable_vectors(tmp_path, None)

    assert see(read(Folder(tmp_path), "p1"), "p1") == [("07:00:00", [1.0]), ("07:01:00", [2.0])]


def _map_columns(root: Path) -> None:
    write_deltalake(root, rows("p1", 1.0), configuration={"delta.columnMapping.mode": "none"})
    log = root / "_delta_log" / "00000000000000000000.json"
    log.write_text(log.read_text().replace('"delta.columnMapping.mode":"none"', '"delta.columnMapping.mode":"name"'))


def _cut_log(root: Path) -> None:
    write_deltalake(root, rows("p1", 1.0))
    log = root / "_delta_log" / "00000000000000000000.json"
    log.write_text(log.read_text()[:-40])


def _empty_log(root: Path) -> None:
    (root / "_delta_log").mkdir()
    (root / "_delta_log" / "x.tmp").write_text("")
    pq.write_table(rows("p1", 1.0), root / "a.parquet")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (_map_columns, "is a Delta table whose files have other names of columns (column mapping name)"),
        (_delete_rows, "(deletion vectors): rewrite them by REORG TABLE ... APPLY (PURGE)"),
        (_delete_rows_in_a_file, "(deletion vectors): rewrite them by REORG TABLE ... APPLY (PURGE)"),
        (_clone("abfss://lake@other.dfs.core.windows.net/t/"), "is a Delta table with files in another place, such as"),
        (_clone("file:/lake/t/"), "is a Delta table with files in another place, such as file:/lake/t/"),
        (_clone("/lake/t/"), "is a Delta table with files in another place, such as /lake/t/"),
        (_cut_log, "is a Delta table that cannot be read: "),
        (_empty_log, "is a Delta table that cannot be read: "),
    ],
)
def test_a_table_whose_files_do_not_say_its_rows_is_refused(
    spoil: Callable[[Path], Any], problem: str, tmp_path: Path
) -> None:
    spoil(tmp_path)

    reason, message = refusal(read(Folder(tmp_path), "p1"), "p1")

    assert (reason, problem in message) == (Reason.UNREADABLE_READINGS, True), message


def test_a_file_that_was_removed_under_the_table_is_an_error(tmp_path: Path) -> None:
    write_deltalake(tmp_path, rows("p1", 1.0))
    next(tmp_path.glob("*.parquet")).unlink()

    reason, message = refusal(read(Folder(tmp_path), "p1"), "p1")

    assert reason is Reason.UNREADABLE_READINGS
    assert "is in the log of its table, and is not there" in message


def test_a_part_of_a_table_is_refused_with_what_to_set(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "t", rows("p1", 1.0), partition_by=["device"])

    _, message = refusal(read(Folder(tmp_path), "p1", path="t/device=p1/"), "p1")

    assert "expected the folder of the whole table, without times or tokens, as READINGS_PATH (--readings)" in message


@pytest.mark.stack
def test_a_table_in_a_container_is_read_by_the_key_of_its_account(
    azurite: Azurite, fresh_name: str, tmp_path: Path
) -> None:
    write_deltalake(tmp_path, rows("p 1", 1.0, 2.0), partition_by=["device"])
    client = ContainerClient.from_connection_string(azurite.connection_string, fresh_name)
    client.create_container()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            client.upload_blob(f"lake/t/{path.relative_to(tmp_path).as_posix()}", path.read_bytes())
    container = open_container(f"{azurite.blob_endpoint}/{fresh_name}/lake", azurite.connection_string)

    assert see(read(container, "p 1", path="t/"), "p 1") == [("07:00:00", [1.0]), ("07:01:00", [2.0])]


FOLDERS = ["t", "t#1", "50%", "q?x", "a b", "ü", "a+b&c=d", "x:y"]


@pytest.mark.stack
def test_a_table_in_a_container_is_that_of_its_very_name(azurite: Azurite, fresh_name: str, tmp_path: Path) -> None:
    client = ContainerClient.from_connection_string(azurite.connection_string, fresh_name)
    client.create_container()
    for index, folder in enumerate(FOLDERS):
        write_deltalake(tmp_path / str(index), rows("p1", float(index)))
        for path in (tmp_path / str(index)).rglob("*.*"):
            name = path.relative_to(tmp_path / str(index)).as_posix()
            client.upload_blob(f"la#ke/{folder}/{name}", path.read_bytes())

    values = []
    for folder in FOLDERS:
        url = f"{azurite.blob_endpoint}/{fresh_name}/la%23ke/{quote(folder)}"
        values += see(read(open_container(url, azurite.connection_string), "p1"), "p1")

    assert values == [("07:00:00", [float(index)]) for index in range(len(FOLDERS))]


def test_a_table_in_a_folder_is_that_of_its_very_name(tmp_path: Path) -> None:
    for index, folder in enumerate(FOLDERS):
        write_deltalake(tmp_path / str(index), rows("p1", float(index)))
        (tmp_path / "la#ke").mkdir(exist_ok=True)
        (tmp_path / str(index)).rename(tmp_path / "la#ke" / folder)

    values = [see(read(Folder(tmp_path / "la#ke" / folder), "p1"), "p1") for folder in FOLDERS]

    assert values == [[("07:00:00", [float(index)])] for index in range(len(FOLDERS))]


def test_a_table_whose_folder_deltalake_takes_for_another_one_is_refused(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "a b", rows("p1", 1.0))
    (tmp_path / "a b").rename(tmp_path / "a%20b")
    write_deltalake(tmp_path / "a b", rows("p1", 2.0))

    reason, message = refusal(read(Folder(tmp_path / "a%20b"), "p1"), "p1")

    assert reason is Reason.UNREADABLE_READINGS
    assert f"{tmp_path}/a%20b', which would be read as 'file://{tmp_path}/a b': rename that folder" in message


@pytest.mark.parametrize(
    "pattern",
    ["t/device={device}/", "t/*/", "t/*.parquet", "t/*/*.parquet", "*/device={device}/", "*/*/*.parquet"],
)
def test_tokens_do_not_read_the_files_of_a_table(pattern: str, tmp_path: Path) -> None:
    write_deltalake(tmp_path / "t", rows("p1", 1.0), partition_by=["device"])
    write_deltalake(tmp_path / "t", rows("p1", 2.0), partition_by=["device"], mode="overwrite")

    readings = read(Folder(tmp_path), "p1", path=pattern)

    reason, message = refusal(readings, "p1")
    assert reason is Reason.UNREADABLE_READINGS
    assert "t/: is a Delta table" in message


def test_tables_are_looked_for_above_the_folders_that_tokens_name(tmp_path: Path) -> None:
    path = tmp_path / "lake" / "p1" / "2026-11-21" / "a.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(rows("p1", 1.0), path)
    assert see(read(Folder(tmp_path), "p1", path="lake/{device}/%Y-%m-%d/"), "p1") == [("07:00:00", [1.0])]
    (tmp_path / "lake" / "p1" / "_delta_log").mkdir()
    (tmp_path / "lake" / "p1" / "_delta_log" / "0.json").write_text("{}")

    _, message = refusal(read(Folder(tmp_path), "p1", path="lake/{device}/%Y-%m-%d/"), "p1")

    assert message.startswith("lake/p1/: is a Delta table")

"""Files whose names say their device: one listing, only the needed files are read, and nothing is guessed."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient

from local.azurite import Azurite
from scorer.readings import source
from scorer.readings.device_readings import Readings
from scorer.readings.unmodelled import UnmodelledCounter
from scorer.storage.blob_store import Folder, open_container
from scorer.storage.range_reader import OpenFile
from shared.contract.manifest import DeviceRange
from shared.contract.model_names import Columns, ModelNames
from shared.contract.readings.paths import list_paths
from shared.contract.scoring_options import ReadingOptions
from shared.contract.windows import Window
from tests.scorer.readings.seen import HOUR, refusal, see

CAPTURE = "{Namespace}/{EventHub}/{PartitionId}/{Year}/{Month}/{Day}/{Hour}/{Minute}/{Second}"


@dataclass(frozen=True, slots=True)
class Watched(Folder):
    """A folder that notes what is opened and listed."""

    opened: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)

    def open(self, path: str) -> OpenFile:
        self.opened.append(path)
        return Folder.open(self, path)

    def list_folders(self, prefix: str) -> list[str]:
        self.listed.append(f"{prefix}*")
        return Folder.list_folders(self, prefix)

    def list(self, prefix: str, limit: int | None = None) -> list[str]:
        self.listed.append(prefix)
        return Folder.list(self, prefix, limit)


def write(root: Path, name: str, minute: int = 0, *, hour: int = 7, value: float = 1.0, device: str = "") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    head, cell = ("device,", f"{device},") if device else ("", "")
    path.write_text(f"time,{head}value\n2026-11-21T{hour:02}:{minute:02}:00Z,{cell}{value}\n")


def read(folder: Folder, pattern: str, *devices: str, window: Window | None = HOUR) -> Readings:
    paths = list_paths(pattern, window) if window else [""]
    opened = source.open_readings(folder, paths, Columns(), window, ReadingOptions(), pattern, devices)
    return opened.read_devices(devices)


def test_one_file_for_each_device_costs_one_listing_and_the_reads_that_are_needed(tmp_path: Path) -> None:
    for hour in (7, 8, 9):
        for i in range(50):
            write(tmp_path, f"h={hour:02}/d{i:02}.csv", hour=hour, value=float(i))
    folder = Watched(tmp_path)

    readings = read(folder, "h=%H/{device}.csv", "d07", "d08")

    assert folder.listed == ["h=07/", "h=08/"]
    assert sorted(folder.opened) == ["h=07/d07.csv", "h=07/d08.csv", "h=08/d07.csv", "h=08/d08.csv"]
    assert see(readings, "d07") == [("07:00:00", [7.0])]
    assert see(readings, "d08") == [("07:00:00", [8.0])]


def test_a_folder_for_each_device_with_a_file_a_day_is_asked_for_by_name(tmp_path: Path) -> None:
    for i in range(9):
        for day in (20, 21, 22):
            write(tmp_path, f"site/d{i}/2026-11-{day}.csv", value=float(i))
    folder = Watched(tmp_path)

    readings = read(folder, "site/{device}/%Y-%m-%d.csv", "d3")

    assert folder.listed == ["site/*"]
    assert sorted(folder.opened) == ["site/d3/2026-11-21.csv", "site/d3/2026-11-22.csv"]
    assert see(readings, "d3") == [("07:00:00", [3.0])]


def test_the_sensor_may_be_in_the_name(tmp_path: Path) -> None:
    write(tmp_path, "pump1/rpm.csv", value=5.0)
    write(tmp_path, "pump1/temp.csv", value=20.0)
    write(tmp_path, "pump1/_temp.csv", value=21.0)

    readings = read(Folder(tmp_path), "{device}/{sensor}.csv", "pump1", window=None)

    assert see(readings, "pump1/rpm") == [("07:00:00", [5.0])]
    assert see(readings, "pump1/temp") == [("07:00:00", [20.0])]


def test_a_capture_path_is_listed_by_partition_and_hour(tmp_path: Path) -> None:
    for partition in (0, 1):
        for hour in range(5, 10):
            for minute in (0, 30):
                name = f"ns/hub/{partition}/2026/11/21/{hour:02}/{minute:02}/07.avro"
                write(tmp_path, name, minute, hour=hour, device=f"p{partition}")
    folder = Watched(tmp_path)

    readings = read(folder, CAPTURE, "p0", "p1")

    expected = [f"ns/hub/{partition}/2026/11/21/{hour:02}/" for partition in (0, 1) for hour in (7, 8)]
    assert sorted(folder.listed) == sorted(["*", "ns/*", "ns/hub/*", *expected])
    assert see(readings, "p0") == see(readings, "p1") == [("07:00:00", [1.0]), ("07:30:00", [1.0])]


@pytest.mark.parametrize(
    "pattern",
    [
        "{Year}/{Month}/{Day}/{Hour}/{Minute}/{Second}/{Namespace}/{EventHub}/{PartitionId}",
        "date={Year}-{Month}-{Day}/hour={Hour}/{Namespace}-{EventHub}-{PartitionId}-{Minute}-{Second}",
        "{Namespace}/x/{Second}/{Minute}/{Day}_{Month}_{Year}/{EventHub}.{PartitionId}/{Hour}",
        "raw/{PartitionId}/{Hour}{Minute}{Second}/{EventHub}/{Namespace}/{Year}{Month}{Day}",
    ],
)
def test_the_tokens_of_capture_are_read_in_any_order(pattern: str, tmp_path: Path) -> None:
    words = {"Namespace": "ns", "EventHub": "hub", "PartitionId": "3", "Year": "2026", "Month": "11", "Day": "21"}
    for hour in ("06", "07", "08", "09"):
        name = pattern.format(**words, Hour=hour, Minute="05", Second="09")
        write(tmp_path, f"{name}.avro", 59, value=float(hour), device="pump1")
    folder = Watched(tmp_path)

    readings = read(folder, pattern, "pump1")

    assert len(folder.opened) == 2
    assert see(readings, "pump1") == [("07:59:00", [8.0])]  # that of the later folder is read last
    assert (readings.repeated, readings.outside) == (1, 0)


def test_a_file_whose_rows_are_of_another_device_than_its_name_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "pump1.csv", device="pump2")

    readings = read(Folder(tmp_path), "{device}.csv", "pump1", window=None)

    assert "expected rows of the device 'pump1' that its path names, got 'pump2'" in refusal(readings, "pump1")[1]


def test_devices_without_a_model_are_counted_by_their_names(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path, f"h=07/{name}.csv")
        write(tmp_path, f"days/{name}/2026-11-21.csv")
    write(tmp_path, "h=07/d.csv", hour=6)

    for pattern in ("h=%H/{device}.csv", "days/{device}/%Y-%m-%d.csv"):
        counter = UnmodelledCounter(frozenset({"b"}), DeviceRange(), ModelNames())
        paths = list_paths(pattern, HOUR)
        opened = source.open_readings(
            Folder(tmp_path), paths, Columns(), HOUR, ReadingOptions(), pattern, ["b"], counter
        )
        opened.read_devices(["b"])
        opened.search_unmodelled()
        assert counter.count().examples == ("a", "c")


def test_the_folder_of_rows_without_a_device_is_none_of_a_device(tmp_path: Path) -> None:
    write(tmp_path, "device=__HIVE_DEFAULT_PARTITION__/x.csv")
    write(tmp_path, "device=a/x.csv")
    counter = UnmodelledCounter(frozenset({"b"}), DeviceRange(), ModelNames())

    opened = source.open_readings(
        Folder(tmp_path), [""], Columns(), HOUR, ReadingOptions(), "device={device}/", ["b"], counter
    )
    opened.search_unmodelled()

    assert counter.count().examples == ("a",)


def test_what_the_pattern_writes_is_no_feature(tmp_path: Path) -> None:
    path = tmp_path / "site=4" / "hub=2" / "pump1.csv"
    path.parent.mkdir(parents=True)
    path.write_text("time,a,b\n2026-11-21T07:00:00Z,1,2\n")

    readings = read(Folder(tmp_path), "site=4/hub={PartitionId}/{device}.csv", "pump1", window=None)

    assert see(readings, "pump1", names=("a", "b", "site")) == [("07:00:00", [1.0, 2.0, 4.0])]
    assert "hub" not in readings.columns


def test_a_clock_that_shows_an_hour_twice_is_read_from_its_first_pass(tmp_path: Path) -> None:
    start = datetime(2026, 10, 25, 1, tzinfo=UTC)
    window = Window(start, timedelta(hours=1))
    options = ReadingOptions(time_zone="Europe/Berlin")
    folder = Watched(tmp_path)

    source.open_readings(folder, [""], Columns(), window, options, "{date}/{time}/*.csv", ["p"])

    asked = ["2026/10/25/00/", "2026/10/25/01/", "2026/10/25/02/"]
    assert folder.listed == [*asked, ""]  # the last for names that there are, since there is no file


@pytest.mark.stack
@pytest.mark.parametrize("pattern", ["date=%Y-%m-%d/hour=%H/", "date=%Y-%m-%d/hour=%H/{device}.csv", "*/*/"])
def test_markers_of_folders_are_passed_over(pattern: str, azurite: Azurite, fresh_name: str) -> None:
    """Portals, Hadoop and rclone write empty blobs: `hour=07/`, or `hour=07` with a mark in its metadata."""
    client = ContainerClient.from_connection_string(azurite.connection_string, fresh_name)
    client.create_container()
    folder = "date=2026-11-21/hour=07"
    for marker in ("date=2026-11-21/", f"{folder}/", f"{folder}/pump1/", f"{folder}/pump2"):
        client.upload_blob(marker, b"", metadata={"hdi_isfolder": "true"})
    for device in ("pump1", "pump2"):
        client.upload_blob(f"{folder}/{device}.csv", f"time,device,value\n2026-11-21T07:00:00Z,{device},5\n")
    container = open_container(f"{azurite.blob_endpoint}/{fresh_name}", azurite.connection_string)

    paths = list_paths(pattern, HOUR)
    opened = source.open_readings(container, paths, Columns(), HOUR, ReadingOptions(), pattern, ["pump1", "pump2"])
    readings = opened.read_devices(["pump1", "pump2"])

    assert see(readings, "pump1") == see(readings, "pump2") == [("07:00:00", [5.0])]
    assert (readings.unreadable, readings.damaged) == ([], {})

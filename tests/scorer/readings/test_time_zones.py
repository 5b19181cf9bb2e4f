"""Times without an offset are by the clocks of a zone: hours that come twice or never, and what is said of them."""

from __future__ import annotations

import csv
import io
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scorer.readings import source
from scorer.readings.device_readings import NO_OFFSET, Readings
from scorer.readings.time_zones import NO_TIME, list_changes, widen_range
from scorer.storage.blob_store import Folder
from shared.contract.errors import Malformed
from shared.contract.model_names import Columns
from shared.contract.readings.paths import list_paths
from shared.contract.readings.zones import find_first_pass
from shared.contract.reasons import Reason
from shared.contract.scoring_options import BadRows, ReadingOptions, TimeFormat
from shared.contract.windows import EPOCH, Window
from tests.scorer.readings.seen import HOUR, read, refusal, see

BERLIN = ReadingOptions(time_zone="Europe/Berlin")
AUTUMN = Window.parse("20261024T2300Z-PT4H")  # 01:00 to 04:00 in Berlin; 02:00 to 03:00 comes twice
MICROSECOND = timedelta(microseconds=1)
TWICE = "readings have a time that the clocks of Europe/Berlin show twice, and were read as the first of the two"
UNORDERED = "readings have a time that the clocks of Europe/Berlin show twice, and are not in the order of time"

# Half an hour back, a day that is left out, two hours back over midnight, changes around Ramadan, seconds, no change.
ZONES = [
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Antarctica/Troll", "Africa/Casablanca",
    "Africa/Monrovia", "Asia/Kathmandu", "America/Sao_Paulo", "Pacific/Kwajalein", "Etc/GMT+5", "GMT",
]  # fmt: skip


def to_micros(instant: datetime) -> int:
    return (instant.replace(tzinfo=UTC) - EPOCH) // MICROSECOND


def by_zoneinfo(local: datetime, zone: ZoneInfo) -> tuple[int, int, bool]:
    """The first and the second instant of a time, and whether no clock showed it."""
    passes = [local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    skipped = all(instant.astimezone(zone).replace(tzinfo=None) != local for instant in passes)
    return to_micros(passes[0]), to_micros(passes[1]), skipped


@pytest.mark.parametrize("name", ZONES)
def test_every_time_is_the_instant_that_zoneinfo_says(name: str) -> None:
    chance, zone, changes = random.Random(7), ZoneInfo(name), list_changes(name)
    first = datetime(1965, 1, 1)  # noqa: DTZ001  # by the clocks
    times = [first + timedelta(seconds=chance.randrange(80 * 365 * 86_400)) for _ in range(2000)]
    for at in changes.at.tolist():  # all around each change
        near = (EPOCH + at * MICROSECOND).astimezone(zone).replace(tzinfo=None)
        times += [near + timedelta(minutes=30 * i) + step * MICROSECOND for i in range(-5, 6) for step in (-1, 0, 1)]

    local = changes.convert_local(np.array([*map(to_micros, times), NO_TIME]))

    assert local.micros[-1] == NO_TIME
    change = np.zeros(len(times) + 1, np.int32) if local.change is None else local.change
    skipped = np.zeros(len(times) + 1, bool) if local.is_skipped is None else local.is_skipped
    for i, time in enumerate(times):
        early, late, is_skipped = by_zoneinfo(time, zone)
        assert bool(skipped[i]) is is_skipped, time
        assert local.micros[i] == (NO_TIME if is_skipped else early), time
        second = early + (int(changes.shifts[change[i] - 1]) if change[i] else 0)
        assert is_skipped or second == late, time


def test_a_zone_that_is_not_known_is_refused() -> None:
    with pytest.raises(Malformed, match="expected a time zone by its IANA name such as Europe/Berlin or UTC"):
        list_changes("Mars/Olympus")


Row = tuple[str, str, float]  # device, time by the clocks, value


def to_file(rows: list[Row], form: str) -> bytes:
    if form.startswith("csv"):
        text = io.StringIO()
        csv.writer(text).writerows([("device", "time", "value"), *rows])
        return text.getvalue().encode()
    if form == "json":
        lines = [json.dumps({"time": time, "device": device, "value": value}) for device, time, value in rows]
        return "\n".join(lines).encode()
    times = pa.array([datetime.fromisoformat(time) for _, time, _ in rows], pa.timestamp("us"))
    table = {"time": times, "device": [row[0] for row in rows], "value": [row[2] for row in rows]}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(table), sink, row_group_size=2 if form == "cut" else 1000)
    return sink.getvalue().to_pybytes()


FORMS = ["csv", "json", "parquet", "cut"]
CLOCK = ["01:59", "02:00", "02:30", "02:00", "02:30", "03:00"]  # of one device, in the order of time
NIGHT = [("pump", f"2026-10-25T{time}:00", float(i)) for i, time in enumerate(CLOCK)]
TRUTH = [("23:59:00", 0), ("00:00:00", 1), ("00:30:00", 2), ("01:00:00", 3), ("01:30:00", 4), ("02:00:00", 5)]


def see_values(readings: Readings, model: str = "pump") -> list[tuple[str, float]]:
    return [(time, values[0]) for time, values in see(readings, model, count=1)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cut", range(len(NIGHT) + 1))
def test_where_a_devices_times_go_back_the_second_pass_begins(form: str, cut: int, tmp_path: Path) -> None:
    for name, part in (("a", NIGHT[:cut]), ("b", NIGHT[cut:])):
        (tmp_path / name).write_bytes(to_file(part, form))

    readings = read(tmp_path, window=AUTUMN, policy=BERLIN)

    assert see_values(readings) == TRUTH
    assert readings.list_warnings() == []


def test_each_sensor_of_a_long_file_has_its_own_order(tmp_path: Path) -> None:
    rows = [f"2026-10-25 {time},pump,{sensor},{i}\n" for sensor in ("bar", "rpm") for i, time in enumerate(CLOCK)]
    (tmp_path / "a.csv").write_text("time,device,sensor,value\n" + "".join(rows))

    readings = read(tmp_path, window=AUTUMN, policy=BERLIN)

    assert see_values(readings, "pump/bar") == see_values(readings, "pump/rpm") == TRUTH
    assert readings.list_warnings() == []


@pytest.mark.parametrize("other", ["fan,s", ",s", "fan,"])  # whether the file names a sensor somewhere, or none
def test_rows_without_a_sensor_have_one_order_in_files_with_and_without_the_column(other: str, tmp_path: Path) -> None:
    day, end = "2026-10-25T", ":00,pump"
    rows = [f"{day}{time}{end},{{}}{i},0\n" for i, time in enumerate(CLOCK)]
    (tmp_path / "a.csv").write_text("time,device,x,y\n" + "".join(row.format("") for row in rows[:3]))
    with_sensor = "".join(row.format(",") for row in rows[3:])
    (tmp_path / "b.csv").write_text(f"time,device,sensor,x,y\n{day}03:30,{other},1,1\n{with_sensor}")

    readings = read(tmp_path, "pump", "fan", window=AUTUMN, policy=BERLIN)

    assert [(time, values[0]) for time, values in see(readings, names=("x", "y"))] == TRUTH
    assert readings.list_warnings() == []


def test_a_pass_that_nothing_tells_is_the_first_and_is_counted(tmp_path: Path) -> None:
    rows = [("pump", "2026-10-25T02:00", 1.0), ("fan", "2026-10-25T02:40", 2.0), ("pump", "2026-10-25T02:30", 3.0)]
    (tmp_path / "a").write_bytes(to_file(rows, "csv"))

    readings = read(tmp_path, "pump", "fan", window=AUTUMN, policy=BERLIN)

    assert see_values(readings) == [("00:00:00", 1), ("00:30:00", 3)]
    assert readings.list_warnings() == [(3, TWICE)]
    assert read(tmp_path, "pump", "fan", window=HOUR, policy=BERLIN).list_warnings() == []


def test_times_that_go_back_more_than_once_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(to_file(NIGHT[::-1], "csv"))

    assert read(tmp_path, window=AUTUMN, policy=BERLIN).list_warnings()[-1] == (4, UNORDERED)


@pytest.mark.parametrize("form", FORMS)
def test_a_time_that_the_clocks_skip_is_a_bad_row(form: str, tmp_path: Path) -> None:
    rows = [("pump", f"2026-03-29T{time}", i) for i, time in enumerate(["01:59", "02:00", "02:59", "03:00"])]
    (tmp_path / "a").write_bytes(to_file(rows, form))
    window = Window.parse("20260329T0000Z-PT2H")

    readings = read(tmp_path, window=window, policy=BERLIN)

    assert see_values(readings) == [("00:59:00", 0), ("01:00:00", 3)]
    assert readings.list_warnings() == [
        (2, "rows had a cell that is not a number, or not a time, and were left out where it is needed"),
        (2, "rows have a time that the clocks of Europe/Berlin skip, and no usable time"),
    ]
    failing = read(tmp_path, window=window, policy=ReadingOptions(BadRows.FAIL, time_zone="Europe/Berlin"))
    reason, message = refusal(failing)
    assert reason is Reason.BAD_READINGS
    assert message.startswith("a: column 'time' has '2026-03-29")
    assert message.endswith("expected a time that the clocks of Europe/Berlin show: they are set forward over it")


def test_times_with_an_offset_and_numbers_are_instants_in_any_zone(tmp_path: Path) -> None:
    instant = datetime(2026, 11, 21, 7, 1, tzinfo=UTC)
    (tmp_path / "a.csv").write_text(
        "time,device,value\n2026-11-21T07:00Z,pump,0\n2026-11-21T08:02+01:00,pump,2\n2026-11-21 07:03:00 UTC,pump,3\n"
    )
    table = pa.table(
        {"time": pa.array([instant], pa.timestamp("us", "Asia/Kathmandu")), "device": ["pump"], "value": [1]}
    )
    pq.write_table(table, tmp_path / "b")

    readings = read(tmp_path, policy=ReadingOptions(time_zone="Asia/Kathmandu"))

    assert see_values(readings) == [("07:00:00", 0), ("07:01:00", 1), ("07:02:00", 2), ("07:03:00", 3)]
    seconds = ReadingOptions(time=TimeFormat.S, time_zone="Asia/Kathmandu")
    (tmp_path / "a.csv").write_text(f"time,device,value\n{int(instant.timestamp())},pump,1\n")
    assert see_values(read(tmp_path, policy=seconds)) == [("07:01:00", 1)]


def test_both_kinds_of_times_may_stand_in_one_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "time,device,value\n2026-11-21T08:00,pump,0\n2026-11-21T07:01Z,pump,1\n20261121T0802,pump,2\nx,pump,3\n"
    )

    readings = read(tmp_path, policy=BERLIN)

    assert see_values(readings) == [("07:00:00", 0), ("07:01:00", 1), ("07:02:00", 2)]
    assert readings.unusable == 1


def test_times_of_int96_are_utc_as_spark_writes_them(tmp_path: Path) -> None:
    times = pa.array([HOUR.start.replace(tzinfo=None)], pa.timestamp("ns"))
    table = pa.table({"time": times, "device": ["pump"], "value": [1.0]})
    pq.write_table(table, tmp_path / "a", use_deprecated_int96_timestamps=True, store_schema=False)

    for policy in (BERLIN, ReadingOptions()):
        readings = read(tmp_path, policy=policy)
        assert see_values(readings) == [("07:00:00", 1.0)]
        assert readings.list_warnings() == []


@pytest.mark.parametrize("form", FORMS)
def test_readings_without_an_offset_are_counted_until_a_zone_is_set(form: str, tmp_path: Path) -> None:
    rows = [("pump", f"2026-11-21T{time}", 1.0) for time in ("07:00", "07:01", "08:00")]
    (tmp_path / "a").write_bytes(to_file([*rows, ("fan", "2026-11-21T07:00", 1.0)], form))

    outside = (1, "rows were outside the window and were ignored")
    assert read(tmp_path).list_warnings() == [outside, (2, NO_OFFSET)]
    assert read(tmp_path, policy=ReadingOptions(time_zone="UTC")).list_warnings() == [outside]


def test_only_the_rows_without_an_offset_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,device,value\n2026-11-21T07:00,pump,0\n2026-11-21T07:01Z,pump,1\n")

    assert read(tmp_path).list_warnings() == [(1, NO_OFFSET)]


# An hour that comes twice, scored hour by hour


@pytest.mark.parametrize("pattern", ["%Y-%m-%d-%H/", "%Y-%m-%d-%H%M/"])
def test_each_pass_is_scored_in_its_own_hour_from_folders_in_utc(pattern: str, tmp_path: Path) -> None:
    start = datetime(2026, 10, 24, 22, tzinfo=UTC)
    instants = [start + timedelta(minutes=15 * i) for i in range(24)]
    for instant in instants:
        folder = tmp_path / instant.strftime(pattern)
        folder.mkdir(exist_ok=True)
        local = instant.astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None).isoformat()
        with (folder / "a.csv").open("a") as file:
            file.write("" if file.tell() else "time,device,value\n")
            file.write(f"{local},pump,{instants.index(instant)}\n")

    for hour in range(5):
        window = Window(start + timedelta(hours=hour), timedelta(hours=1))
        paths = list_paths(pattern, window, "Europe/Berlin")
        readings = source.read_readings(Folder(tmp_path), paths, Columns(), ["pump"], window, BERLIN)
        assert [value for _, value in see_values(readings)] == [4 * hour + i for i in range(4)]
        assert readings.list_warnings() == []


def test_folders_before_the_window_are_read_for_a_second_pass_only() -> None:
    pattern, zone = "%d-%H", "Europe/Berlin"
    hours = [list_paths(pattern, Window.parse(f"20261025T{hour:02}00Z-PT1H"), zone) for hour in range(3)]
    assert hours == [["25-00", "25-01"], ["25-00", "25-01", "25-02"], ["25-02", "25-03"]]
    assert list_paths(pattern, Window.parse("20261025T0100Z-PT1H"), "UTC") == ["25-01", "25-02"]
    start = datetime(2026, 10, 25, 1, 59, tzinfo=UTC)
    assert find_first_pass(start, start + timedelta(minutes=1), zone) == datetime(2026, 10, 25, tzinfo=UTC)


# Cut in any way


def list_true(rows: list[tuple[str, datetime, int]], zone: ZoneInfo) -> dict[str, list[tuple[int, int]]]:
    """The instants by the rule itself, row by row; of equal ones the last counts."""
    last: dict[tuple[str, int], datetime] = {}
    second: set[tuple[str, int]] = set()
    true: dict[str, dict[int, int]] = {}
    for device, local, value in rows:
        early, late, is_skipped = by_zoneinfo(local, zone)
        key = device, early // (20 * 86_400 * 10**6)
        if early != late and not is_skipped:
            if key in last and local < last[key]:
                second.add(key)
            last[key] = local
        if not is_skipped:
            true.setdefault(device, {})[late if early != late and key in second else early] = value
    return {device: sorted(values.items()) for device, values in true.items()}


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll"]),
    minutes=st.lists(st.tuples(st.sampled_from(["fan", "pump"]), st.integers(-240, 240)), max_size=30),
    sort=st.booleans(),
    spring=st.booleans(),
    forms=st.lists(st.sampled_from(FORMS), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
)
def test_rows_that_keep_a_devices_order_may_be_cut_into_files_in_any_way(
    zone: str, minutes: list[tuple[str, int]], sort: bool, spring: bool, forms: list[str], order: random.Random
) -> None:
    changes, info = list_changes(zone), ZoneInfo(zone)
    kind = changes.shifts < 0 if spring else changes.shifts > 0
    change = EPOCH + int(changes.at[kind & (changes.at > to_micros(datetime(2026, 1, 1)))][0]) * MICROSECOND  # noqa: DTZ001
    minutes = sorted(minutes, key=lambda pair: pair[1]) if sort else minutes
    instants = [(device, change + timedelta(minutes=minute), i) for i, (device, minute) in enumerate(minutes)]
    if spring:  # times that are skipped, too
        walls = [(device, instant.replace(tzinfo=None), i) for device, instant, i in instants]
        offset = int(changes.offsets[:-1][kind][0])
        walls = [(device, wall + offset * MICROSECOND, i) for device, wall, i in walls]
    else:
        walls = [(device, instant.astimezone(info).replace(tzinfo=None), i) for device, instant, i in instants]
    true = list_true(walls, info)

    cuts = sorted(order.randrange(len(walls) + 1) for _ in forms[1:])
    policy = ReadingOptions(time_zone=zone)
    with TemporaryDirectory() as folder:
        for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(walls)], strict=True)):
            part = [(device, wall.isoformat(), float(i)) for device, wall, i in walls[start:end]]
            (Path(folder) / f"{number}").write_bytes(to_file(part, forms[number]) if part else b"")
        everything = read(Path(folder), "fan", "pump", window=None, policy=policy)
        hours = [Window(change + timedelta(minutes=30 * i), timedelta(minutes=30)) for i in range(-12, 13)]
        by_hour = [read(Path(folder), "fan", "pump", window=hour, policy=policy) for hour in hours]

    def list_rows(readings: Readings) -> dict[str, list[tuple[int, float]]]:
        (frame,) = readings.frames or (None,)
        rows = {} if frame is None else {
            device: list(zip(frame.time[frame.starts[code] : frame.starts[code + 1]].tolist(),
                             frame.values[0, frame.starts[code] : frame.starts[code + 1]].tolist(), strict=True))
            for device, code in readings.devices.items()
        }  # fmt: skip
        return {device: values for device, values in rows.items() if values}

    assert list_rows(everything) == true
    joined: dict[str, list[tuple[int, float]]] = {}
    for readings in by_hour:  # whatever row groups the statistics exclude
        for device, values in list_rows(readings).items():
            joined.setdefault(device, []).extend(values)
    assert joined == true


def test_statistics_of_local_times_exclude_what_no_clock_of_the_zone_could_show() -> None:
    start = to_micros(datetime(2026, 10, 25, 1))  # noqa: DTZ001  # in UTC
    hour = 3_600 * 10**6

    low, high = widen_range((start, start + hour), "Europe/Berlin")

    assert low <= start < start + 3 * hour <= high
    assert high - low < 8 * hour
    assert widen_range((1, 2), "UTC") == widen_range((1, 2), "") == (1, 2)

"""Plain records of Avro: a column for each field, whatever its type; nested ones as JSON has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from scorer.readings import source
from scorer.storage.blob_store import Folder
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason
from shared.contract.scoring_options import ReadingOptions, TimeFormat
from tests.scorer.readings.avro.samples import read_avro, write_avro
from tests.scorer.readings.seen import AS_IN_FILE, HOUR, refusal, see

START = datetime(2026, 11, 21, 7, 0, 0, 123000, tzinfo=UTC)
ROWS = [("07:00:00.123", [1.0]), ("07:01:00.123", [2.0])]


def make_schema(**kinds: Any) -> dict[str, Any]:
    return {"type": "record", "name": "Reading", "namespace": "plant", "fields": [
        {"name": name, "type": kind} for name, kind in kinds.items()]}  # fmt: skip


def logical(kind: str, meaning: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": meaning, **more}


def rows(**columns: tuple[Any, Any]) -> list[dict[str, Any]]:
    """Two rows of the device pump, a minute apart."""
    return [
        {"time": START + timedelta(minutes=i), "device": "pump", **{name: cells[i] for name, cells in columns.items()}}
        for i in range(2)
    ]


TIME = logical("long", "timestamp-millis")


@pytest.mark.parametrize(
    "kind", [TIME, logical("long", "timestamp-micros"), ["null", TIME], [logical("long", "timestamp-micros"), "null"]]
)
def test_times_are_instants(kind: Any, tmp_path: Path) -> None:
    data = write_avro(rows(temp=(1, 2)), make_schema(time=kind, device="string", temp="double"))

    found = read_avro(tmp_path, data)

    assert see(found, names=("temp",)) == ROWS
    assert found.without_offset == 0


def test_local_times_are_by_the_clocks_of_the_fleet(tmp_path: Path) -> None:
    schema = make_schema(time=logical("long", "local-timestamp-micros"), device="string", temp="double")
    local = [{**row, "time": row["time"].replace(tzinfo=None) + timedelta(hours=1)} for row in rows(temp=(1, 2))]

    found = read_avro(tmp_path, write_avro(local, schema), policy=ReadingOptions(time_zone="Europe/Berlin"))

    assert see(found, names=("temp",)) == ROWS


def test_times_may_be_texts_or_numbers(tmp_path: Path) -> None:
    texts = [{**row, "time": row["time"].isoformat()} for row in rows(temp=(1, 2))]
    numbers = [{**row, "time": round(row["time"].timestamp() * 1000)} for row in rows(temp=(1, 2))]

    by_text = read_avro(tmp_path, write_avro(texts, make_schema(time="string", device="string", temp="double")))
    by_number = read_avro(
        tmp_path,
        write_avro(numbers, make_schema(time="long", device="string", temp="double")),
        policy=ReadingOptions(time=TimeFormat.MS),
    )

    assert see(by_text, names=("temp",)) == see(by_number, names=("temp",)) == ROWS


def test_days_are_refused_as_times(tmp_path: Path) -> None:
    days = [{**row, "time": row["time"].date()} for row in rows(temp=(1, 2))]

    found = read_avro(tmp_path, write_avro(days, make_schema(time=logical("int", "date"), device="string", temp="int")))

    reason, message = refusal(found)
    assert reason is Reason.UNREADABLE_READINGS
    assert message.startswith("a: column 'time' holds dates (date32[day]), expected times")


@pytest.mark.parametrize(
    ("kind", "cells", "expected"),
    [
        ("int", (1, -2), [1, -2]),
        ("long", (2**40, 2), [2**40, 2]),
        ("float", (1.5, 2), [1.5, 2]),
        (["null", "double"], (1.5, None), [1.5]),
        ("boolean", (True, False), [1, 0]),
        (["null", "boolean"], (True, None), [1]),
        ("string", ("1.5", "2"), [1.5, 2]),
        (["long", "double", "string", "null"], (7, "2.5"), [7, 2.5]),
        (["long", "double"], (7, 2.5), [7, 2.5]),
        (logical("bytes", "decimal", precision=9, scale=2), (Decimal("1.25"), Decimal("-0.01")), [1.25, -0.01]),
        (
            logical("fixed", "decimal", precision=9, scale=2, name="Money", size=8),
            (Decimal("1.25"), Decimal("-0.01")),
            [1.25, -0.01],
        ),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, ("A", "B"), None),
    ],
)
def test_each_type_of_avro_is_a_column(kind: Any, cells: tuple[Any, Any], expected: Any, tmp_path: Path) -> None:
    data = write_avro(rows(temp=cells, load=(1, 1)), make_schema(time=TIME, device="string", temp=kind, load="int"))

    found = read_avro(tmp_path, data)

    if expected is None:
        assert found.numberless == {"temp": "a"}
    else:
        assert [values[0] for _, values in see(found, names=("temp",))] == expected


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        ("string", "7"),
        ("int", 7),
        ("double", 7.0),
        ("bytes", b"7"),
        ({"type": "enum", "name": "E", "symbols": ["x", "D7"]}, "D7"),
        (logical("bytes", "decimal", precision=9, scale=2), Decimal("7.00")),
        (["int", "string"], 7),
        (logical("string", "uuid"), "a6b1c7a0-8a3f-4f5e-9f8e-0123456789ab"),
    ],
)
def test_ids_of_each_type_are_texts(kind: Any, cell: Any, tmp_path: Path) -> None:
    data = write_avro([{**rows(temp=(1, 2))[0], "device": cell}], make_schema(time=TIME, device=kind, temp="int"))
    device = cell if isinstance(cell, str) else "7"

    assert see(read_avro(tmp_path, data, device), device, names=("temp",)) == ROWS[:1]


def test_records_in_records_have_dotted_names(tmp_path: Path) -> None:
    motor = {"type": "record", "name": "Motor", "fields": [{"name": "temp", "type": ["null", "double"]}]}
    at = {**make_schema(time=TIME), "name": "At"}
    schema = make_schema(at=at, device="string", left=motor, right=["null", "Motor"])
    data = [
        {"at": {"time": row["time"]}, "device": "pump", "left": {"temp": row["a"]}, "right": row["b"]}
        for row in rows(a=(1, 2), b=({"temp": 3}, None))
    ]

    of_left = see(
        read_avro(tmp_path, write_avro(data, schema), columns="time=at.time,features=left.*"), names=("temp",)
    )
    of_right = see(read_avro(tmp_path, write_avro(data, schema), columns="time=at.time,features=right.*"), count=1)

    assert (of_left, of_right) == (ROWS, [("07:00:00.123", [3.0])])


def test_a_time_in_a_record_is_named_by_the_message(tmp_path: Path) -> None:
    schema = make_schema(at={**make_schema(time=TIME), "name": "At"}, device="string", temp="double")
    data = [{"at": {"time": START}, "device": "pump", "temp": 1}]

    reason, message = refusal(read_avro(tmp_path, write_avro(data, schema)))

    assert reason is Reason.UNREADABLE_READINGS
    assert message.startswith("a: expected columns 'time', 'device' and 'value' or features, got 'at.time', 'device'")


def test_maps_and_arrays_are_read_as_those_of_json(tmp_path: Path) -> None:
    schema = make_schema(
        time=logical("long", "timestamp-micros"),
        device="string",
        values={"type": "map", "values": "double"},
        price=["null", logical("bytes", "decimal", precision=9, scale=2)],
        tags={"type": "array", "items": {"type": "record", "name": "Tag", "fields": [{"name": "a", "type": "bytes"}]}},
        raw="bytes",
        both=["int", {"type": "map", "values": ["bytes", "float"]}],
    )
    records = rows(
        values=({"temp": 1}, {"temp": 2, "load": float("nan")}),
        price=(Decimal("1.50"), Decimal("2.50")),
        tags=([{"a": b"x"}], []),
        raw=(b"\xff", b"1"),
        both=({"x": b"1", "y": 1.5, "z": float("inf")}, 3),
    )

    below = read_avro(tmp_path, write_avro(records, schema), columns="features=values.*")
    beside = read_avro(tmp_path, write_avro(records, schema))

    assert see(below, names=("temp",)) == ROWS
    assert see(beside, names=("price",)) == [("07:00:00.123", [1.5]), ("07:01:00.123", [2.5])]


def test_times_beside_arrays_are_of_the_form_that_is_set(tmp_path: Path) -> None:
    schema = make_schema(time=TIME, device="string", temp="int", tags={"type": "array", "items": "int"})
    data = write_avro(rows(temp=(1, 2), tags=([], [1])), schema)

    for form in TimeFormat:
        assert see(read_avro(tmp_path, data, policy=ReadingOptions(time=form)), names=("temp",)) == ROWS


def test_a_prefix_of_features_holds_for_records_too(tmp_path: Path) -> None:
    telemetry = {"type": "record", "name": "T", "fields": [{"name": "temp", "type": "double"}]}
    schema = make_schema(time=TIME, device="string", telemetry=telemetry, other="double")
    data = write_avro(rows(telemetry=({"temp": 1}, {"temp": 2}), other=(8, 9)), schema)

    found = read_avro(tmp_path, data, columns="features=telemetry.*")

    assert see(found, names=("temp",)) == ROWS
    assert list(found.columns) == ["temp"]


def test_files_of_another_schema_are_united_by_name(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(
        write_avro(
            [{"temp": "3", "device": "pump", "time": START + timedelta(minutes=2), "load": 1}],
            make_schema(temp="string", device="string", time=logical("long", "timestamp-micros"), load="int"),
            "deflate",
        )
    )

    found = read_avro(tmp_path, write_avro(rows(temp=(1, 2)), make_schema(time=TIME, device="string", temp="double")))

    assert see(found, names=("temp",)) == [*ROWS, ("07:02:00.123", [3.0])]


TELEMETRY = {"type": "record", "name": "T", "fields": [{"name": "temp", "type": "double"}]}


def test_a_value_beside_the_features_is_none_of_them(tmp_path: Path) -> None:
    schema = make_schema(time=TIME, device="string", t=TELEMETRY, value="double")
    data = write_avro(rows(t=({"temp": 1}, {"temp": 2}), value=(7, 8)), schema)

    found = read_avro(tmp_path, data, columns="features=t.*")

    assert list(found.columns) == ["temp"]
    assert see(found, count=1) == ROWS


def test_a_feature_with_the_name_of_an_id_does_not_replace_it(tmp_path: Path) -> None:
    fields = [{"name": "temp", "type": "double"}, {"name": "device", "type": "string"}]
    schema = make_schema(time=TIME, device="string", t={**TELEMETRY, "fields": fields})
    data = rows(t=({"temp": 1, "device": "other"}, {"temp": 2, "device": "other"}))

    reason, message = refusal(read_avro(tmp_path, write_avro(data, schema), columns="features=t.*"), count=1)

    assert reason is Reason.UNREADABLE_READINGS
    assert message.startswith(
        "a: has the feature t.device, which would be named as the column 'device' of times or ids"
    )


ARRAYS = make_schema(
    time=TIME, device="string", a={"type": "array", "items": "int"}, b={"type": "array", "items": "int"}
)


def test_records_whose_arrays_differ_in_length_are_counted(tmp_path: Path) -> None:
    columns = Columns.parse("step=10s")
    (tmp_path / "a").write_bytes(write_avro(rows(a=([1, 2], [3, 4]), b=([5, 6], [7])), ARRAYS))

    opened = source.open_readings(Folder(tmp_path), [""], columns, HOUR, AS_IN_FILE)
    found = opened.read_devices(["pump"])

    assert see(found, names=("a", "b")) == [("07:00:00.123", [1.0, 5.0]), ("07:00:10.123", [2.0, 6.0])]
    assert opened.list_warnings() == [(1, source.INVALID.format("a"))]

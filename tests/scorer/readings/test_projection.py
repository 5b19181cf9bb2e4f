"""Only the columns that models need are read, parsed, counted and held in memory."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.readings import features, files, source
from scorer.readings.device_readings import Readings
from scorer.readings.features import Expected
from scorer.readings.projection import EVERYTHING, Projection
from scorer.readings.source import Source
from scorer.storage.blob_store import Folder
from shared.contract.domain import Model
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason
from shared.contract.scoring_options import BadRows, Features, ReadingOptions
from tests.scorer.readings.seen import HOUR, refusal, see
from tests.scorer.readings.test_parquet_reader import DEVICES, Counting, table, write

AS_IN_FILE = Features(in_file_order=True)


def need(*names: str, **flags: bool) -> Projection:
    return Projection(frozenset(names), **flags)


def open_folder(root: Path, **options: Any) -> Source:
    return source.open_readings(
        Folder(root), [""], Columns(), HOUR, ReadingOptions(**{"features": AS_IN_FILE, **options})
    )


def read_needed(root: Path, projection: Projection, **options: Any) -> Readings:
    return open_folder(root, **options).read_devices(["pump"], projection)


@pytest.mark.parametrize(
    ("projection", "wide", "of_sensors"),
    [
        (need(), (), ()),
        (need("c", "a", "x"), ("a", "c"), ("a", "c")),
        (need("a", in_order=True), ("a", "b", "c"), ("a", "b", "c")),
        (need("a", sensors_in_order=True), ("a",), ("a", "b", "c")),
        (EVERYTHING, ("a", "b", "c"), ("a", "b", "c")),
    ],
)
def test_features_are_selected_by_their_names_or_all_in_their_order(
    projection: Projection, wide: tuple[str, ...], of_sensors: tuple[str, ...]
) -> None:
    assert projection.select_features(("a", "b", "c"), has_sensor=False) == wide
    assert projection.select_features(("a", "b", "c"), has_sensor=True) == of_sensors


def test_what_two_packs_need_is_the_union() -> None:
    joined = need("a", sensors_in_order=True) | need("b", in_order=True)

    assert joined == need("a", "b", in_order=True, sensors_in_order=True)
    assert joined.covers(need("b"))
    assert not need("a", "b").covers(joined)
    assert (EVERYTHING | need()) == EVERYTHING


def write_form(root: Path, form: str, rows: list[dict[str, object]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    match form:
        case "csv":
            lines = [",".join(str(row[name]) for name in names) for row in rows]
            (root / "x").write_text("\n".join([",".join(names), *lines]))
        case "json":
            (root / "x").write_text("\n".join(json.dumps(row) for row in rows))
        case _:
            pq.write_table(pa.Table.from_pylist(rows), root / "x")


@pytest.mark.parametrize("bad_rows", list(BadRows))
@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_column_that_no_model_needs_makes_no_row_unusable_and_is_not_named(
    form: str, bad_rows: BadRows, tmp_path: Path
) -> None:
    cells = [(1.0, "x", "ok"), (2.0, "2", "ok")]
    rows = [
        {"time": f"2026-11-21T07:0{i}:00Z", "device": "pump", "note": note, "a": a, "status": status}
        for i, (a, note, status) in enumerate(cells)
    ]
    write_form(tmp_path, form, rows)

    found = read_needed(tmp_path, need("a"), bad_rows=bad_rows)

    assert see(found, names=("a",)) == [("07:00:00", [1.0]), ("07:01:00", [2.0])]
    assert (found.list_warnings(), found.frames[0].features) == ([], ("a",))
    assert read_needed(tmp_path, need("a", in_order=True)).list_warnings() == [
        (1, "rows had a cell that is not a number, or not a time, and were left out where it is needed"),
        (1, "columns hold no numbers, such as 'status' in x"),
    ]


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
@pytest.mark.parametrize("others", [(), ("b",)])  # what other models of the read need
def test_a_row_with_a_value_only_in_another_column_is_a_row_whatever_is_read(
    others: tuple[str, ...], form: str, tmp_path: Path
) -> None:
    cells = [("pump", 0, 1.0, 2.0), ("pump", 0, None, 3.0), ("pump", 1, 4.0, 5.0), ("pump", 2, None, 3.0),
             ("fan", 1, None, 5.0)]  # fmt: skip
    rows = [
        {"time": f"2026-11-21T07:0{minute}:00Z", "device": device, "a": a, "b": b} for device, minute, a, b in cells
    ]
    write_form(tmp_path, form, [{k: "" if v is None and form == "csv" else v for k, v in row.items()} for row in rows])

    found = open_folder(tmp_path).read_devices(["pump", "fan", "mill"], need("a", *others))

    assert see(found, names=("a",)) == [("07:00:00", [1.0]), ("07:01:00", [4.0])]  # the later row of 07:00 has no a
    model = Model("pump", "", "m", "e")
    frame_rows = features.find_frame_rows(found, model)
    assert features.build_model_readings(found, model, frame_rows, Expected(("a",), 1)).left_out == 1
    silent = "its device has readings, but none of the sensor 'a'"
    assert refusal(found, "fan", names=("a",)) == (Reason.SENSOR_SILENT, silent)
    assert refusal(found, "mill", names=("a",))[0] is Reason.NO_READINGS


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_refusal_names_the_columns_that_were_not_read_too(form: str, tmp_path: Path) -> None:
    write_form(tmp_path, form, [{"time": "2026-11-21T07:00:00Z", "device": "pump", "temp": 1.0, "b": 2.0, "c": 3.0}])

    found = read_needed(tmp_path, need("c", "temperature"))

    order = "temp, b, c" if form == "parquet" else "c, temp, b"
    expected = f"expected 2 (c, temperature); the readings have 3 ({order}) and lack 1 (temperature)"
    assert refusal(found, names=("c", "temperature")) == (Reason.MISSING_FEATURES, expected)
    assert refusal(found.select_device("pump"), names=("c", "temperature")) == (Reason.MISSING_FEATURES, expected)
    none = "expected 1 (x); the readings have 3 (temp, b, c) and lack 1 (x)"
    assert refusal(read_needed(tmp_path, need("x")), names=("x",)) == (Reason.MISSING_FEATURES, none)


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_of_long_files_only_times_ids_and_values_are_kept(form: str, tmp_path: Path) -> None:
    row = {"time": "2026-11-21T07:00:00Z", "device": "pump", "sensor": "rpm", "unit": "1/min", "value": 7.0}
    write_form(tmp_path, form, [row])
    opened = open_folder(tmp_path)
    request = files.ReadRequest(Columns(), ReadingOptions(), ["pump"], (0, 2**62), need())

    ((_, content),) = files.read_tables(opened.container, opened.files, request)

    assert isinstance(content, files.Table)
    assert content.rows.column_names == ["time", "device", "sensor", "value"]
    assert see(opened.read_devices(["pump"], need("rpm")), names=("rpm",)) == [("07:00:00", [7.0])]


@pytest.mark.parametrize(
    "header", ['time,device,a,"b"', "time,device,a,a", "time,device,a,b\n2026-11-21T07:00,pump,1,2,3", "time,a,b"]
)
def test_a_file_is_refused_as_it_is_where_all_columns_are_read(header: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(f"{header}\n2026-11-21T07:00,pump,1,2\n")

    found, whole = read_needed(tmp_path, need("a")), read_needed(tmp_path, EVERYTHING)

    assert found.unreadable == whole.unreadable
    assert [len(frame.time) for frame in found.frames] == [len(frame.time) for frame in whole.frames]


NESTED = {
    "wave": pa.array([[1.0, 2.0]] * 10),
    "point": pa.array([{"x": 1.0, "y": 2.0}] * 10),
    "tags": pa.array([[("k", 1.0)]] * 10, pa.map_(pa.string(), pa.float64())),
    "tensor": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float64(), [2]), pa.FixedSizeListArray.from_arrays(np.arange(20.0), 2)
    ),
}


@pytest.mark.parametrize("name", sorted(NESTED))
def test_a_column_of_lists_structs_or_maps_is_never_a_feature(name: str, tmp_path: Path) -> None:
    rows = table(["d000"]).set_column(1, "device", pa.array(["pump"] * 10)).add_column(0, name, NESTED[name])
    write(tmp_path / "x", rows)
    opened = open_folder(tmp_path)

    found = opened.read_devices(["pump"])

    assert found.frames[0].features == ("a", "b")
    assert see(found, count=2)[1][1] == see(found, names=("a", "b"))[1][1]
    assert found.list_warnings() == []
    assert opened.estimate_memory() == 10 * 24 * 5


def test_a_column_of_waveforms_does_not_cross_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SMALL_FILE", 1000)
    rng = np.random.default_rng(7)
    rows = table()
    for name in ("wave", "raw"):
        parts = [rng.bytes(4000) for _ in range(rows.num_rows)]
        kind: pa.DataType = pa.binary()
        cells = pa.array(parts, kind)
        if name == "wave":
            cells = pa.array([np.frombuffer(part, np.int32) for part in parts], pa.list_(pa.int32()))
        rows = rows.add_column(2, name, cells)
    write(tmp_path / "x", rows)
    folder = Counting(tmp_path)
    opened = source.open_readings(folder, [""], Columns(), HOUR, ReadingOptions())

    found = opened.read_devices(DEVICES, need("b"))

    assert see(found, "d044", names=("b",))[1] == ("07:01:00", [1.0])
    assert sum(folder.sizes) < 200_000
    assert (tmp_path / "x").stat().st_size > 8_000_000
    assert opened.estimate_memory(need("b")) == 1000 * 24 * 4
    assert 4_000_000 < opened.estimate_memory(need(in_order=True)) < 5_000_000  # the texts, but never the lists


def test_a_row_group_that_was_kept_is_read_again_when_more_is_needed(tmp_path: Path) -> None:
    write(tmp_path / "x", table())
    opened = open_folder(tmp_path)

    assert see(opened.read_devices(DEVICES[:15], need("a")), "d014", names=("a",))[0] == ("07:00:00", [14.0])
    assert opened.files[0].last_group is not None
    found = opened.read_devices(DEVICES[15:30], need("a", "b"))

    assert see(found, "d015", names=("b", "a"))[1] == ("07:01:00", [1.0, 15.0])


def test_keys_of_folders_are_added_to_a_row_group_that_was_kept(tmp_path: Path) -> None:
    (tmp_path / "site=7").mkdir()
    write(tmp_path / "site=7" / "x", table())
    opened = open_folder(tmp_path)

    opened.read_devices(DEVICES[:15], need("a"))
    assert opened.files[0].last_group is not None
    found = opened.read_devices(DEVICES[15:30], need("a", "site"))

    assert see(found, "d015", names=("site", "a"))[1] == ("07:01:00", [7.0, 15.0])


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_wide_file_stays_wide_where_only_its_value_column_is_read(form: str, tmp_path: Path) -> None:
    row = {"time": "2026-11-21T07:00:00Z", "device": "pump", "value": 7.0, "temp": 1.0}
    write_form(tmp_path, form, [{**row, **({"raw": [1.0]} if form != "csv" else {})}])

    found = read_needed(tmp_path, need("flow"))

    assert not found.frames[0].long
    assert refusal(found, names=("flow",)) == (
        Reason.MISSING_FEATURES,
        "expected 1 (flow); the readings have 2 (value, temp) and lack 1 (flow)",
    )
    assert see(found, count=1) == [("07:00:00", [7.0])]


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
@pytest.mark.parametrize("sensor", ["rpm", "__HIVE_DEFAULT_PARTITION__"])
@pytest.mark.parametrize("projection", [need("x"), need("quality"), EVERYTHING])
def test_a_file_whose_folder_names_the_sensor_is_long_whatever_is_read_of_it(
    projection: Projection, sensor: str, form: str, tmp_path: Path
) -> None:
    folder = tmp_path / f"sensor={sensor}" / "load=2"
    folder.mkdir(parents=True)
    row = {"device": "pump", "quality": 192.0, "value": 7.0}
    later = {**row, "time": "2026-11-21T07:01:00Z", "value": "" if form == "csv" else None}
    write_form(folder, form, [{**row, "time": "2026-11-21T07:00:00Z"}, later])

    found = read_needed(tmp_path, projection)

    (frame,) = found.frames
    assert (frame.long, frame.features, found.missing) == (True, ("value",), 1)
    assert see(found, "pump" if sensor[0] == "_" else "pump/rpm", count=1) == [("07:00:00", [7.0])]


def test_a_group_is_measured_by_what_is_read_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scorer.readings.formats.parquet_reader.GROUP_LIMIT", 3000)
    rows = (
        table(["d000"])
        .set_column(1, "device", pa.array(["pump"] * 10))
        .append_column("raw", pa.array([b"x" * 1000] * 10))
    )
    write(tmp_path / "x", rows, use_dictionary=False)

    assert "unpacks to" in refusal(read_needed(tmp_path, EVERYTHING))[1]
    assert len(see(read_needed(tmp_path, need("a")), names=("a",))) == 10

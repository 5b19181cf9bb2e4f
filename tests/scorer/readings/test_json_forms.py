"""JSON as it really comes: arrays, nested objects, arrays of values, routed messages, files that are still written."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from scorer.errors import Unscorable
from scorer.readings import source
from scorer.readings.nested import json_text
from scorer.readings.nested.json_reader import read_documents, read_json
from scorer.readings.nested.json_text import split_objects
from scorer.readings.projection import Projection
from scorer.storage.blob_store import AzureBlobs, Folder
from scorer.storage.range_reader import HEAD, Changed, OpenFile
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions, TimeFormat
from tests.scorer.readings.seen import AS_IN_FILE, HOUR, read_text, refusal, see

NESTED = Columns.parse("time=meta.ts,device=meta.device.id,features=telemetry.*")
ROUTED = Columns.parse("time=EnqueuedTimeUtc,device=SystemProperties.connectionDeviceId")
OPTIONS = ReadingOptions()
WARNING = "files end in the middle of a row or array, such as a"


def make_event(minute: int, **telemetry: Any) -> dict[str, Any]:
    return {
        "meta": {"ts": f"2026-11-21T07:{minute:02}:00Z", "device": {"id": "pump"}, "firmware": "1.2"},
        "telemetry": telemetry,
    }


def make_lines(*documents: Any) -> str:
    return "".join(json.dumps(document) + "\n" for document in documents)


def list_cells(rows: pa.Table) -> dict[str, list[Any]]:
    return {name: rows[name].to_pylist() for name in rows.column_names}


def test_fields_within_objects_are_columns_by_their_dotted_names_and_features_by_the_rest_of_them(
    tmp_path: Path,
) -> None:
    text = make_lines(make_event(0, temp=1, motor={"temp": 2.5}), make_event(1, temp=3, motor={"temp": 4}))

    readings = read_text(tmp_path, text, columns=NESTED)

    assert list(readings.columns) == ["temp", "motor.temp"]
    assert see(readings, names=("motor.temp", "temp")) == [("07:00:00", [2.5, 1.0]), ("07:01:00", [4.0, 3.0])]


def test_a_name_with_dots_of_its_own_is_the_same_column_but_not_beside_the_object(tmp_path: Path) -> None:
    flat = {"meta.ts": "2026-11-21T07:00Z", "meta.device.id": "pump", "telemetry.temp": 1}

    assert see(read_text(tmp_path, make_lines(flat), columns=NESTED)) == [("07:00:00", [1.0])]
    assert refusal(read_text(tmp_path, make_lines({**flat, **make_event(0, temp=1)}), columns=NESTED))[1] == (
        "a: has 'meta.ts' in two ways, ['meta', 'ts'] and ['meta.ts']: rename one of them, or set READINGS_COLUMNS "
        "(--columns) to another"
    )


def test_the_features_of_a_csv_file_may_have_their_prefix_in_their_names(tmp_path: Path) -> None:
    text = "meta.ts,meta.device.id,telemetry.temp,q\n2026-11-21T07:00Z,pump,1,9\n"

    assert see(read_text(tmp_path, text, columns=NESTED)) == [("07:00:00", [1.0])]
    assert "got 'meta.ts', 'meta.device.id', 'q'" in refusal(
        read_text(tmp_path, text.replace("telemetry.temp,", "").replace("1,9", "9"), columns=NESTED)
    )[1]  # fmt: skip


def test_a_parquet_file_is_refused_where_features_are_within_an_object(tmp_path: Path) -> None:
    pq.write_table(pa.table({"meta.ts": ["2026-11-21T07:00Z"], "meta.device.id": ["pump"]}), tmp_path / "a")

    assert "expected JSON or CSV" in refusal(read_text_of(tmp_path))[1]


def read_text_of(root: Path, columns: Columns = NESTED) -> source.Readings:
    return source.read_readings(Folder(root), [""], columns, ["pump"], HOUR, AS_IN_FILE)


def test_only_what_a_model_needs_is_kept_and_the_others_are_named() -> None:
    data = make_lines(make_event(0, temp=1, amps=2, motor={"temp": 3})).encode()

    parsed = read_json(data, NESTED, OPTIONS, Projection(frozenset({"amps"})))

    assert (parsed.rows.column_names, parsed.unread) == (["meta.ts", "meta.device.id", "amps"], ("temp", "motor.temp"))


def test_texts_that_look_like_times_keep_their_offset_and_ids_stay_texts() -> None:
    first = {"device": 5, "a": 1}  # nothing shows yet that times and devices are texts
    data = make_lines(first, {"time": "2026-11-21T08:00:00+01:00", "device": 6, "a": 1}).encode()
    other = make_lines({"time": "2026-11-21T08:00:00Z", "device": "2026-11-21", "a": 1}).encode()

    assert list_cells(read_json(data, Columns(), OPTIONS, keys=("time",)).rows)["time"] == [
        None, "2026-11-21T08:00:00+01:00",
    ]  # fmt: skip
    assert list_cells(read_json(other, Columns(), OPTIONS).rows)["device"] == ["2026-11-21"]


def test_blocks_with_other_types_and_keys_are_united(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "BLOCK", 1)
    monkeypatch.setattr(json_text, "_LINES", 0)
    time, row = "2026-11-21T07:00Z", {"time": "2026-11-21T07:00Z", "device": "pump"}
    cells = [{"a": 1}, {"a": 2.5}, {"a": None}, {"b": 1}, {"a": "x"}, {"a": True}, {"a": {"c": 1}}]
    data = make_lines(*({**row, **cell} for cell in cells)).encode()

    assert list_cells(read_json(data, Columns(), OPTIONS).rows) == {
        "time": [time] * 7,
        "device": ["pump"] * 7,
        "a": ["1", "2.5", None, None, "x", "true", None],
        "b": [None, None, None, 1, None, None, None],
    }


@pytest.mark.parametrize(
    ("step", "fields"), [("10s", {}), ("PT10S", {}), ("every:ms", {"every": 10_000}), ("meta.step:s", {})]
)
def test_arrays_become_rows_of_their_own_times(step: str, fields: dict[str, int], tmp_path: Path) -> None:
    row = {"time": "2026-11-21T07:00:00.5Z", "device": "pump", "temp": [1, 2, 3], "amps": [4, None, 6], **fields}
    text = make_lines({**row, "meta": {"step": 10}, "mode": 7})

    readings = read_text(tmp_path, text, columns=Columns.parse(f"step={step}"))

    assert see(readings, names=("temp", "mode")) == [
        ("07:00:00.5", [1.0, 7.0]), ("07:00:10.5", [2.0, 7.0]), ("07:00:20.5", [3.0, 7.0]),
    ]  # fmt: skip
    assert see(readings, names=("amps",)) == [("07:00:00.5", [4.0]), ("07:00:20.5", [6.0])]


def test_arrays_of_numbers_since_1970_and_of_local_times_go_on_in_their_form(tmp_path: Path) -> None:
    row, step = {"device": "pump", "value": [1, 2]}, Columns.parse("step=30min")

    epoch = read_text(
        tmp_path, make_lines({**row, "time": 1795244400000}), columns=step, policy=ReadingOptions(time=TimeFormat.MS)
    )
    assert see(epoch) == [("07:00:00", [1.0]), ("07:30:00", [2.0])]
    zone = ReadingOptions(time_zone="Europe/Berlin")
    both = make_lines({**row, "time": "2026-11-21T08:00"}, {**row, "value": [3], "time": "2026-11-21T07:15Z"})
    assert see(read_text(tmp_path, both, columns=step, policy=zone)) == [
        ("07:00:00", [1.0]), ("07:15:00", [3.0]), ("07:30:00", [2.0]),
    ]  # fmt: skip


@pytest.mark.parametrize("form", [TimeFormat.S, TimeFormat.MS, TimeFormat.US, TimeFormat.NS])
@pytest.mark.parametrize("kind", [str, int, float])
def test_numbers_since_1970_beside_the_times_of_arrays_are_times_in_every_block(
    form: TimeFormat, kind: type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(json_text, "BLOCK", 1)
    monkeypatch.setattr(json_text, "_LINES", 0)
    first = 1795244400 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[form]
    row: dict[str, Any] = {"time": kind(first), "device": "pump"}
    later = {**row, "time": kind(first + first // 1795244400 * 60)}
    text = make_lines({**row, "v": 1.5}, {**later, "v": [2, 3]}, {"device": "pump", "time": "never", "v": 4})

    readings = read_text(tmp_path, text, columns=Columns.parse("step=1s"), policy=replace(AS_IN_FILE, time=form))

    assert see(readings, names=("v",)) == [("07:00:00", [1.5]), ("07:01:00", [2.0]), ("07:01:01", [3.0])]
    assert readings.unusable == 1


def test_many_objects_with_arrays_and_without_lose_no_row(tmp_path: Path) -> None:
    rows = [{"time": str(1795244400000 + 2500 * i), "device": "pump", "note": "x" * 2000} for i in range(1400)]
    text = make_lines(*({**row, "v": [1, 2] if i >= 700 else 1.5} for i, row in enumerate(rows)))

    readings = read_text(tmp_path, text, columns=Columns.parse("step=1s"), policy=ReadingOptions(time=TimeFormat.MS))

    assert len(see(readings, names=("v",))) == 700 + 2 * 700


def test_arrays_without_a_step_are_refused_where_a_model_needs_them_and_ignored_elsewhere() -> None:
    data = make_lines({"time": "2026-11-21T07:00Z", "device": "pump", "a": 1, "tags": ["x", "y"]}).encode()

    assert read_json(data, Columns(), OPTIONS).rows.column_names == ["time", "device", "a"]
    with pytest.raises(Unscorable, match=r"'tags' holds arrays of values; set READINGS_COLUMNS \(--columns\) step=10s"):
        read_json(data, Columns(), OPTIONS, Projection(frozenset({"tags"})))


def make_message(body: Any, **more: Any) -> dict[str, Any]:
    beside = {"EnqueuedTimeUtc": "2026-11-21T07:00:00.1230000Z", "Properties": {"site": "x"}, **more}
    return {**beside, "SystemProperties": {"connectionDeviceId": "pump"}, "Body": body}


@pytest.mark.parametrize("form", ["object", "base64", "text"])
def test_the_body_of_a_routed_message_is_addressed_without_its_name_and_with_it(form: str, tmp_path: Path) -> None:
    body: Any = {"ts": "2026-11-21T07:05Z", "data": {"temp": 1, "amps": 2}, "q": 3}
    text = json.dumps(body)
    body = {"object": body, "base64": base64.b64encode(text.encode()).decode(), "text": text}[form]
    lines = make_lines(make_message(body), make_message("bm8gSlNPTg==" if form != "object" else None))

    for columns in (
        replace(ROUTED, features="data"), replace(ROUTED, features="Body.data"),
        replace(ROUTED, features="data", time="ts"), replace(ROUTED, features="Body.data", time="Body.ts"),
    ):  # fmt: skip
        (tmp_path / "a").write_text(lines)
        opened = source.open_readings(Folder(tmp_path), [""], columns, HOUR, AS_IN_FILE)
        readings = opened.read_devices(["pump"])
        time = "07:05:00" if "ts" in columns.time else "07:00:00.123"
        assert see(readings, names=("amps", "temp")) == [(time, [2.0, 1.0])]
        assert [count for count, text in opened.list_warnings() if "Body is neither JSON" in text] == [1]


def test_single_documents_give_rows_with_the_index_of_their_document() -> None:
    documents = [json.dumps(make_event(0, temp=1)).encode(), b"no JSON", b"", b"[]", b"5", b"\xff",
                 json.dumps([make_event(1, temp=2), make_event(2, temp=3)], indent=1).encode()]  # fmt: skip

    rows, index, left_out = read_documents(documents, NESTED, OPTIONS)

    assert list_cells(rows) == {
        "meta.ts": [f"2026-11-21T07:0{minute}:00Z" for minute in range(3)],
        "meta.device.id": ["pump"] * 3,
        "temp": [1, 2, 3],
    }
    assert (index.tolist(), left_out) == ([0, 6, 6], 4)


def test_documents_without_any_column_that_is_read_give_no_rows() -> None:
    rows, index, left_out = read_documents([b'{"x": {"y": 1}}', b"[" * 500], Columns(), OPTIONS)

    assert (rows.num_rows, index.tolist(), left_out) == (0, [], 1)


def test_a_document_never_goes_on_in_the_next_one() -> None:
    rows, index, left_out = read_documents([b'{"a": [1,', b"2]}", b"{}{}", b'{"a": 5}'], Columns(), OPTIONS)

    assert (list_cells(rows), index.tolist(), left_out) == ({"a": [5]}, [3], 3)


LAST = json.dumps(
    {"time": "2026-11-21T07:01Z", "device": "pümp", "value": -1.5e-7, "n": [None, True, {"ü😀": 'x\\"\n'}]},
)  # fmt: skip


@pytest.mark.parametrize("head", ["{}\n", "[{},", "[\n {}\n, ", "[{}]\n["])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_a_file_that_is_cut_at_any_byte_loses_its_last_row_and_says_so(
    head: str, is_ascii: bool, tmp_path: Path
) -> None:
    head = head.replace("{}", json.dumps({"time": "2026-11-21T07:00Z", "device": "pump", "value": 1}))
    last = json.dumps(json.loads(LAST), ensure_ascii=is_ascii).encode()
    for end in range(len(last)):
        (tmp_path / "a").write_bytes(head.encode() + last[:end])
        opened = source.open_readings(Folder(tmp_path), [""], Columns(), HOUR, AS_IN_FILE)

        assert see(opened.read_devices(["pump"])) == [("07:00:00", [1.0])]
        assert opened.list_warnings() == ([(1, WARNING)] if end or "[" in head else [])


def test_a_csv_file_that_is_cut_loses_its_last_row_as_far_as_it_shows(tmp_path: Path) -> None:
    whole, last = "time,device,a,b\n2026-11-21T07:00Z,pump,1,2\n", '2026-11-21T07:01Z,"pump",3,4'
    for end in range(1, last.rindex(",")):
        (tmp_path / "a").write_text(whole + last[:end])
        opened = source.open_readings(Folder(tmp_path), [""], Columns(), HOUR, AS_IN_FILE)

        assert see(opened.read_devices(["pump"]), names=("a",)) == [("07:00:00", [1.0])], last[:end]
        assert opened.list_warnings() == [(1, WARNING)]


class GrowingBlobs(AzureBlobs):
    """A container whose blob gets another line each time that it was opened."""

    __slots__ = ()

    def open(self, path: str) -> OpenFile:
        opened = AzureBlobs.open(self, path)
        data = bytes(obstore.get(self.store, path).bytes())
        obstore.put(
            self.store, path, data + make_lines({"time": "2026-11-21T07:30Z", "device": "pump", "a": 2}).encode()
        )
        return opened


def test_a_blob_that_grows_while_it_is_read_fails_nothing() -> None:
    store: Any = MemoryStore()
    blobs = GrowingBlobs("memory://", store)
    row = make_lines({"time": "2026-11-21T07:00Z", "device": "pump", "a": 1})
    obstore.put(store, "a", (row + " " * HEAD + "\n").encode())

    readings = source.read_readings(blobs, [""], Columns(), ["pump"], HOUR, AS_IN_FILE)

    assert see(readings) == [("07:00:00", [1.0]), ("07:30:00", [2.0])]
    with pytest.raises(Changed, match="was written to since it was opened"):
        blobs.open("a").read()


def test_a_line_that_is_too_long_is_refused_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "LINE_LIMIT", 2**20)

    with pytest.raises(Unscorable, match="expected objects of at most 1 MiB, got one of 2 MiB in line 2"):
        split_objects(b'{"a":1}\n{"a":"' + b"x" * 2**21 + b'"}\n')


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text('ab"\\[]{},\n:é'),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text('a"\\{[.'), children, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text("abc"), VALUES, max_size=3), max_size=5)


@settings(max_examples=200, deadline=None)
@given(OBJECTS, st.sampled_from([None, 1]), st.integers(1, 50), st.booleans())
def test_the_objects_of_an_array_are_its_objects_however_it_is_written(
    objects: list[dict[str, Any]], indent: int | None, scan: int, is_ascii: bool
) -> None:
    text = json.dumps(objects, indent=indent, ensure_ascii=is_ascii)
    before, json_text._SCAN = json_text._SCAN, scan
    try:
        lines = split_objects(text.encode())
    finally:
        json_text._SCAN = before

    assert [json.loads(line) for line in lines.data.split(b"\n") if line.strip()] == objects
    assert not lines.is_cut

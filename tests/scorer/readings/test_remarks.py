"""What files show beside their rows is counted for the report, and fails them where BAD_ROWS says so."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scorer.readings import source
from scorer.storage.blob_store import Folder
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason
from shared.contract.scoring_options import CsvOptions
from tests.scorer.readings.avro.samples import body, capture, write_avro
from tests.scorer.readings.seen import AS_IN_FILE, FAIL, HOUR, read_text, refusal, see

ROUTED = Columns.parse("device=SystemProperties.connectionDeviceId")
STEP = Columns.parse("step=10s")
FAILED = (
    "a: has {} objects or events that cannot be read: expected a Body of JSON, or of CSV with a header, and arrays of "
    "one length, with a step above 0 where they have several values"
)


def make_message(body: Any) -> dict[str, Any]:
    return {"SystemProperties": {"connectionDeviceId": "pump"}, "Body": body}


def encode(text: bytes) -> str:
    return base64.b64encode(text).decode()


def list_warnings(root: Path, columns: Columns) -> list[tuple[int, str]]:
    opened = source.open_readings(Folder(root), [""], columns, HOUR, AS_IN_FILE)
    opened.read_devices(["pump"])
    return opened.list_warnings()


RECORD = {"type": "record", "name": "R", "fields": [
    {"name": "time", "type": "string"}, {"name": "device", "type": "string"},
    {"name": "a", "type": {"type": "array", "items": "int"}}, {"name": "b", "type": {"type": "array", "items": "int"}},
]}  # fmt: skip
ARRAYS = [{"time": "2026-11-21T07:01:00Z", "device": "pump", "a": [1], "b": [1, 2][:n]} for n in (1, 2)]


@pytest.mark.parametrize(
    ("data", "columns", "n_invalid"),
    [
        (capture(body(1, temp=1), b"hello", b'{"temp":'), Columns(), 2),
        (write_avro(ARRAYS, RECORD), STEP, 1),
        ("\n".join(map(json.dumps, ARRAYS)), STEP, 1),
        (json.dumps(ARRAYS), STEP, 1),
        ("\n".join(json.dumps(make_message(encode(text))) for text in (body(1, None, temp=1), b"no JSON")), ROUTED, 1),
        (json.dumps([make_message(json.loads(body(1, None, temp=1))), make_message("no JSON")]), ROUTED, 1),
    ],
    ids=["events", "records", "lines", "array", "routed in Base64", "routed in an array"],
)
def test_what_cannot_be_read_is_counted_and_fails_the_file_where_bad_rows_do(
    data: bytes | str, columns: Columns, n_invalid: int, tmp_path: Path
) -> None:
    read_text(tmp_path, data, columns=columns)

    assert list_warnings(tmp_path, columns) == [(n_invalid, source.INVALID.format("a"))]
    failed = read_text(tmp_path, data, columns=columns, policy=FAIL)
    assert refusal(failed) == (Reason.UNREADABLE_READINGS, FAILED.format(n_invalid))


def test_events_without_a_body_and_a_text_that_is_cut_fail_nothing(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(body(2, temp=2) + b'\n{"time')

    found = read_text(tmp_path, capture(body(1, temp=1), None), policy=FAIL)

    assert see(found, names=("temp",)) == [("07:01:00", [1.0]), ("07:02:00", [2.0])]
    assert list_warnings(tmp_path, Columns()) == [
        (1, "files end in the middle of a row or array, such as b"), (1, source.EMPTY),
    ]  # fmt: skip


def test_decimal_commas_that_bodies_of_csv_show_are_said(tmp_path: Path) -> None:
    text = b"time;device;temp\n2026-11-21T07:00:00Z;pump;1,5\n"
    policy = replace(AS_IN_FILE, csv=CsvOptions.parse("separator=semicolon"))
    (tmp_path / "a").write_bytes(capture(text))
    (tmp_path / "b").write_bytes(text.replace(b":00:00Z", b":01:00Z"))

    opened = source.open_readings(Folder(tmp_path), [""], Columns(), HOUR, policy)
    found = opened.read_devices(["pump"])

    assert see(found, names=("temp",)) == [("07:00:00", [1.5]), ("07:01:00", [1.5])]
    assert opened.list_warnings() == [(2, source.COMMAS)]

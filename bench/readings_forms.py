"""The forms of readings that the benchmark writes, and how pandas reads each."""

from __future__ import annotations

import gzip
import io
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from local.stream.capture import SCHEMA
from shared.contract.model_names import Columns
from shared.contract.windows import Window

ROWS, FEATURES = 60, ("a", "b", "c", "d")
WINDOW = Window.parse("20261121T0700Z-PT1H")
HOUR = "date=2026-11-21/hour=07"
PROPERTIES = ("iothub-connection-device-id", "iothub-enqueuedtime", "iothub-message-source", "x-opt-sequence-number")


@dataclass(frozen=True, slots=True)
class Form:
    """A form: how it is written and read. *goal*: the ratio to pandas' CPU that is wanted, or the time of a file."""

    name: str
    write: Callable[[Path, int, int], None]  # into a folder, of so many devices, cut into so many files
    read_by_pandas: Callable[[Path], int]
    goal: str
    pattern: str = "date=%Y-%m-%d/hour=%H/"
    columns: Columns = field(default_factory=Columns)
    rows: int = ROWS  # of a device: each reading is one in a long file

    @staticmethod
    def name_device(index: int) -> str:
        """The id of a device."""
        return f"pump{index:06}"


def make_wide(first: int, end: int) -> pa.Table:
    """The rows of some devices, sorted by device and time: one column for each feature."""
    devices = [Form.name_device(index) for index in range(first, end)]
    start = np.datetime64("2026-11-21T07:00:00", "us")
    times = np.tile(start + np.arange(ROWS) * np.timedelta64(1, "m"), len(devices))
    numbers = np.random.default_rng(first)
    columns: dict[str, Any] = {
        "time": pa.array(times, pa.timestamp("us", "UTC")),
        "device": pa.DictionaryArray.from_arrays(np.repeat(np.arange(len(devices), dtype=np.int32), ROWS), devices),
    }
    columns |= {name: np.round(numbers.normal(20, 5, len(times)), 3) for name in FEATURES}
    return pa.table(columns)


def make_long(table: pa.Table) -> pa.Table:
    """The same rows, one for each reading."""
    parts = [
        pa.table({"time": table["time"], "device": table["device"].cast(pa.string()),
                  "sensor": [name] * table.num_rows, "value": table[name]})
        for name in FEATURES
    ]  # fmt: skip
    return pa.concat_tables(parts).sort_by([("device", "ascending"), ("time", "ascending")])


def _format_times(table: pa.Table) -> pa.Table:
    texts = pa.array(table["time"].to_pandas().dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    return table.set_column(0, "time", texts).set_column(1, "device", table["device"].cast(pa.string()))


def write_csv(table: pa.Table) -> bytes:
    """CSV with times as ISO 8601 texts."""
    sink = io.BytesIO()
    arrow_csv.write_csv(_format_times(table), sink, arrow_csv.WriteOptions(quoting_style="none"))
    return sink.getvalue()


def _write_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="snappy", use_dictionary=["device", "sensor"], row_group_size=60_000)
    return sink.getvalue()


def _write_json(table: pa.Table, nest: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes:
    rows = _format_times(table).to_pylist()
    return "".join(json.dumps(nest(row), separators=(",", ":")) + "\n" for row in rows).encode()


def _nest(row: dict[str, Any]) -> dict[str, Any]:
    telemetry = {name: row[name] for name in FEATURES}
    return {"meta": {"ts": row["time"], "device": {"id": row["device"]}}, "telemetry": telemetry}


def _write_capture(table: pa.Table) -> bytes:
    events = []
    for number, row in enumerate(_format_times(table).to_pylist()):
        body = {"ts": row["time"], **{name: row[name] for name in FEATURES}}
        system = dict(zip(PROPERTIES, (row["device"], row["time"], "Telemetry", number), strict=True))
        events.append({
            "SequenceNumber": number, "Offset": str(number), "EnqueuedTimeUtc": "11/21/2026 7:05:00 AM",
            "SystemProperties": system, "Properties": {}, "Body": json.dumps(body).encode(),
        })  # fmt: skip
    sink = io.BytesIO()
    fastavro.writer(sink, SCHEMA, events, codec="deflate")
    return sink.getvalue()


READING = fastavro.parse_schema({
    "type": "record", "name": "Reading", "fields": [
        {"name": "time", "type": "string"}, {"name": "device", "type": "string"},
        *({"name": name, "type": "double"} for name in FEATURES),
    ],
})  # fmt: skip


def _write_records(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    fastavro.writer(sink, READING, _format_times(table).to_pylist(), codec="deflate")
    return sink.getvalue()


def _split(write: Callable[[pa.Table], bytes], ending: str) -> Callable[[Path, int, int], None]:
    """Writes the rows of all devices into a few files of the hour's folder."""

    def write_files(root: Path, devices: int, n_files: int) -> None:
        folder = root / HOUR
        folder.mkdir(parents=True)
        bounds = np.unique(np.linspace(0, devices, n_files + 1).astype(int))
        for index, (first, end) in enumerate(itertools.pairwise(bounds)):
            (folder / f"part-{index}.{ending}").write_bytes(write(make_wide(int(first), int(end))))

    return write_files


def _write_each(write: Callable[[pa.Table], bytes], ending: str) -> Callable[[Path, int, int], None]:
    """Writes a file for each device, without a column for it."""

    def write_files(root: Path, devices: int, n_files: int) -> None:  # noqa: ARG001  # as the other
        folder = root / HOUR
        folder.mkdir(parents=True)
        table = make_wide(0, devices)
        for index in range(devices):
            rows = table.slice(index * ROWS, ROWS)
            data = write(rows)
            if ending == "csv":
                data = _drop_device(data)
            (folder / f"{Form.name_device(index)}.{ending}").write_bytes(data)

    return write_files


def _drop_device(data: bytes) -> bytes:
    lines = (line.split(b",") for line in data.splitlines())
    return b"\n".join(b",".join([line[0], *line[2:]]) for line in lines) + b"\n"


def _write_small_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table.drop_columns(["device"]), sink, compression="snappy", use_dictionary=False)
    return sink.getvalue()


def _read_all(read: Callable[[Path], pd.DataFrame], ending: str) -> Callable[[Path], int]:
    def read_files(root: Path) -> int:
        return len(pd.concat([read(path) for path in sorted(root.rglob(f"*.{ending}"))]))

    return read_files


def _read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, parse_dates=["time"], date_format="ISO8601", dtype={"device": "category"})


def _read_long_csv(path: Path) -> pd.DataFrame:
    kinds = {"device": "category", "sensor": "category"}
    return pd.read_csv(path, parse_dates=["time"], date_format="ISO8601", dtype=kinds)


def _read_small_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, parse_dates=["time"], date_format="ISO8601").assign(device=path.stem)


def _read_small_parquet(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path).assign(device=path.stem)


def _read_json(path: Path) -> pd.DataFrame:
    rows = pd.read_json(path, lines=True)
    return rows.assign(time=pd.to_datetime(rows["time"], format="ISO8601"))


def _read_nested(path: Path) -> pd.DataFrame:
    rows = pd.json_normalize([json.loads(line) for line in path.read_text().splitlines()])
    rows["meta.ts"] = pd.to_datetime(rows["meta.ts"], format="ISO8601")
    return rows


def _read_capture(path: Path) -> pd.DataFrame:
    with path.open("rb") as file:
        events = list(fastavro.reader(file))
    rows = pd.DataFrame([json.loads(event["Body"]) for event in events])
    rows["device"] = [event["SystemProperties"]["iothub-connection-device-id"] for event in events]
    return rows.assign(ts=pd.to_datetime(rows["ts"], format="ISO8601"))


def _read_records(path: Path) -> pd.DataFrame:
    with path.open("rb") as file:
        rows = pd.DataFrame(list(fastavro.reader(file)))
    return rows.assign(time=pd.to_datetime(rows["time"], format="ISO8601"))


NESTED = Columns.parse("time=meta.ts,device=meta.device.id,features=telemetry.*")
IOT_HUB = Columns(time="ts", device="SystemProperties.iothub-connection-device-id")
_EACH = "date=%Y-%m-%d/hour=%H/{device}."

FORMS = {form.name: form for form in (
    Form("wide Parquet", _split(_write_parquet, "parquet"), _read_all(pd.read_parquet, "parquet"), "1.0"),
    Form("long Parquet", _split(lambda t: _write_parquet(make_long(t)), "parquet"),
         _read_all(pd.read_parquet, "parquet"), "1.0",
         rows=ROWS * len(FEATURES)),
    Form("wide CSV", _split(write_csv, "csv"), _read_all(_read_csv, "csv"), "1.0"),
    Form("long CSV", _split(lambda t: write_csv(make_long(t)), "csv"), _read_all(_read_long_csv, "csv"), "1.0",
         rows=ROWS * len(FEATURES)),
    Form("JSON lines", _split(lambda t: _write_json(t, dict), "jsonl"), _read_all(_read_json, "jsonl"), "0.3"),
    Form("nested JSON lines", _split(lambda t: _write_json(t, _nest), "jsonl"), _read_all(_read_nested, "jsonl"), "0.3",
         columns=NESTED),
    Form("Capture with an IoT Hub's properties", _split(_write_capture, "avro"), _read_all(_read_capture, "avro"),
         "0.3", columns=IOT_HUB),
    Form("plain Avro", _split(_write_records, "avro"), _read_all(_read_records, "avro"), "0.3"),
    Form("wide CSV, gzip", _split(lambda t: gzip.compress(write_csv(t)), "csv.gz"), _read_all(_read_csv, "csv.gz"),
         "1.0"),
    Form("one CSV a device", _write_each(write_csv, "csv"), _read_all(_read_small_csv, "csv"), "45 µs a file",
         pattern=f"{_EACH}csv"),
    Form("one Parquet a device", _write_each(_write_small_parquet, "parquet"),
         _read_all(_read_small_parquet, "parquet"), "200 µs a file", pattern=f"{_EACH}parquet"),
)}  # fmt: skip

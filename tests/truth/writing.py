"""Writes the readings of a fleet, each form as its usual writers write it."""

from __future__ import annotations

import gzip
import json
import math
import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.scorer.readings.avro.samples import capture, write_avro
from tests.truth.clocks import format_time
from tests.truth.fleets import BY_OBJECT, FileSpec, Fleet, Row


@dataclass(frozen=True, slots=True)
class Part:
    """A file: its name, its rows, and the columns of a wide one in its order, by their index."""

    name: str
    file: FileSpec
    rows: tuple[Row, ...]
    columns: tuple[int, ...]


def list_parts(fleet: Fleet) -> list[Part]:
    """The files that have anything to say, in the order in which they are read."""
    start, parts = 0, []
    for number, file in enumerate(fleet.files):
        end = len(fleet.rows) if number == len(fleet.files) - 1 else start + file.n_rows
        rows = fleet.rows[start:end]
        start = end
        folders = dict.fromkeys(f"device={row.device}/" for row in rows) if fleet.in_folders else [""]
        for folder in folders:
            own = tuple(row for row in rows if not folder or folder == f"device={row.device}/")
            columns = tuple(_list_columns(file, own))
            if columns:
                parts.append(Part(f"{folder}{number}.{file.form}", file, own, columns))
    return sorted(parts, key=lambda part: part.name)


def _list_columns(file: FileSpec, rows: tuple[Row, ...]) -> list[int]:
    has_value = {i for row in rows for i, value in enumerate(row.cells) if value is not None}
    if not file.drops_empty:
        return list(file.order) if rows else []
    if file.form in BY_OBJECT:  # in the order of the first row that has each
        return list(dict.fromkeys(i for row in rows for i in file.order if row.cells[i] is not None))
    return [i for i in file.order if i in has_value]


def write_files(fleet: Fleet, folder: Path) -> None:
    """Write all files."""
    folder.mkdir()
    for part in list_parts(fleet):
        path = folder / part.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(to_bytes(part.file, make_records(fleet, part)))


def make_records(fleet: Fleet, part: Part) -> list[dict[str, Any]]:
    """The rows of a file as they are written, wide or long."""
    records = []
    has_sensor = any(row.sensor for row in part.rows) or (
        not part.file.drops_empty and any(r.sensor for r in fleet.rows)
    )
    for row in part.rows:
        keys: dict[str, Any] = {"time": format_time(fleet, row.minute)}
        if not fleet.in_folders:
            keys["device"] = row.device
        if fleet.is_long:
            records += [
                {**keys, "sensor": fleet.columns[i], "value": row.cells[i]}
                for i in part.file.order
                if not (part.file.drops_empty and row.cells[i] is None)
            ]
            continue
        if has_sensor:
            keys["sensor"] = row.sensor or None
        records.append({**keys, **{fleet.columns[i]: row.cells[i] for i in part.columns}})
    if part.file.form in BY_OBJECT and part.file.drops_empty:
        return [{name: value for name, value in record.items() if value is not None} for record in records]
    return records


def to_bytes(file: FileSpec, records: list[dict[str, Any]]) -> bytes:
    """The file."""
    names = list(dict.fromkeys(name for record in records for name in record))
    if file.form in BY_OBJECT:
        plain = [{name: _to_json(name, value, file) for name, value in record.items()} for record in records]
        if file.form == "capture.avro":
            return capture(*(json.dumps(record).encode() for record in plain), interval=256)
        if file.form == "array.json":
            return json.dumps(plain, indent=file.typed or None).encode()
        return "".join(json.dumps(record) + "\n" for record in plain).encode()
    if file.form == "avro" and all(map(str.isidentifier, names)):  # it has no other names
        return _to_avro(names, records, file)
    if file.form in ("avro", "parquet"):
        table = pa.table({name: _to_arrow(name, [record[name] for record in records], file) for name in names})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, row_group_size=3)
        return sink.getvalue().to_pybytes()
    separator = ";" if file.form == "semicolon.csv" else ","
    data = pd.DataFrame(records, columns=names).to_csv(index=False, sep=separator).encode()
    if file.form == "csv.zst":
        return pa.Codec("zstd").compress(data, asbytes=True)
    return gzip.compress(data) if file.form == "csv.gz" else data


def _to_avro(names: list[str], records: list[dict[str, Any]], file: FileSpec) -> bytes:
    """Plain records, in blocks of a few; times as timestamps where they have an offset and the file is typed."""
    is_stamped = file.typed and all(datetime.fromisoformat(record["time"]).tzinfo for record in records)
    time: Any = {"type": "long", "logicalType": "timestamp-micros"} if is_stamped else "string"
    kinds: dict[str, Any] = {"time": time, "device": "string", "sensor": ["null", "string"]}
    fields = [{"name": name, "type": kinds.get(name, ["null", "double"])} for name in names]
    schema = {"type": "record", "name": "Reading", "fields": fields}
    if is_stamped:
        records = [{**record, "time": datetime.fromisoformat(record["time"])} for record in records]
    return write_avro(records, schema, "deflate" if file.typed else "null", 64)


def _to_json(name: str, value: Any, file: FileSpec) -> Any:
    """JSON has no word for NaN and infinity; writers use texts."""
    if name in ("device", "sensor"):
        is_number = file.typed and value is not None and value.isdecimal()
        return int(value) if is_number else value
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _to_arrow(name: str, cells: list[Any], file: FileSpec) -> pa.Array:
    if name not in ("time", "device", "sensor"):
        return pa.array(cells, pa.float64())
    if not file.typed:
        return pa.array(cells, pa.string())
    if name == "time":
        times = [datetime.fromisoformat(cell) for cell in cells]
        return pa.array(times, pa.timestamp("ms", "UTC" if times[0].tzinfo else None))
    texts = [cell for cell in cells if cell is not None]
    if texts and all(text.isdecimal() for text in texts):
        kinds = (pa.int64(), pa.float64(), pa.decimal128(18, 0))
        kind = kinds[len(cells) % len(kinds)]
        return pa.array([None if cell is None else Decimal(cell) for cell in cells]).cast(kind)
    if texts and all(len(text) == 36 for text in texts):
        return pa.ExtensionArray.from_storage(
            pa.uuid(), pa.array([None if cell is None else uuid.UUID(cell).bytes for cell in cells], pa.binary(16))
        )
    return pa.array(cells, pa.string()).dictionary_encode()

"""Readings as our Parquet: `date=2026-11-21/hour=07/readings.parquet`, by device and time. Same input, same bytes.

Wide, a column for each sensor, or long, a row for each reading. Units are in the metadata of the file and, where all
devices agree, of the column; the names of the source files are in the metadata of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from scorer.arrow import build_numbers, build_strings
from shared.contract.model_names import ROLES
from shared.contract.windows import EPOCH

from .series import Catalogue
from .spool import Spool

WIDE_LIMIT = 500  # columns of sensors
CELLS = 2**22  # in memory at once
ROW_GROUP = 2**17  # rows
NAMED_FILES = 100  # of the sources of an hour
_PATH, _OURS = "date=%Y-%m-%d/hour=%H/readings.parquet", r"date=\d{4}-\d\d-\d\d/hour=\d\d/readings\.parquet"
_TIME = pa.timestamp("us", "UTC")


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    rows: int
    replaced: int  # readings by a later one of the same device, sensor and time
    hours: int
    is_wide: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """Where each series goes."""

    is_wide: bool
    devices: Sequence[str]
    sensors: Sequence[str]
    device: np.ndarray  # of each series, an index of the sorted devices
    sensor: np.ndarray  # the same of sensors
    schema: pa.Schema  # with units

    @property
    def ranks(self) -> np.ndarray:
        """The order of series: by device, and in a long file by sensor."""
        ranks: np.ndarray = self.device if self.is_wide else self.device * len(self.sensors) + self.sensor
        return ranks


def is_converted(path: str) -> bool:
    """Whether a file below a folder has a name that `write_folder` gives."""
    return re.fullmatch(_OURS, path) is not None


def write_folder(spool: Spool, catalogue: Catalogue, sources: Sequence[str], target: Path, *, is_long: bool) -> Written:
    """Write all readings below a folder. *sources*: the names of the files, by their index."""
    spool.flush()
    layout = _make_layout(spool, catalogue, is_long=is_long)
    rows = replaced = 0
    for hour in sorted(spool.files):
        start = EPOCH + timedelta(hours=hour)
        path = target / start.strftime(_PATH)
        path.parent.mkdir(parents=True)
        names = sorted({sources[index] for index in spool.files[hour]})
        hour_rows, hour_replaced = _write_hour(spool, layout, hour, names, path)
        rows, replaced = rows + hour_rows, replaced + hour_replaced
    return Written(rows, replaced, len(spool.files), layout.is_wide)


def _make_layout(spool: Spool, catalogue: Catalogue, *, is_long: bool) -> _Layout:
    devices, sensors = catalogue.devices, catalogue.sensors
    device_index = {name: i for i, name in enumerate(devices)}
    sensor_index = {name: i for i, name in enumerate(sensors)}
    device, sensor = np.zeros((2, len(catalogue.units)), np.int64)
    for (device_name, sensor_name), code in catalogue.codes.items():
        device[code], sensor[code] = device_index[device_name], sensor_index[sensor_name]
    used = {code: int(device[code]) for code in np.flatnonzero(spool.counts).tolist()}
    is_wide = not is_long and len(sensors) <= WIDE_LIMIT and not set(ROLES) & set(sensors) and spool.share_times(used)
    return _Layout(is_wide, devices, sensors, device, sensor, _make_schema(catalogue, is_wide=is_wide))


def _make_schema(catalogue: Catalogue, *, is_wide: bool) -> pa.Schema:
    units = catalogue.collect_units()
    fields = [pa.field("time", _TIME, nullable=False), pa.field("device", pa.string(), nullable=False)]
    if is_wide:
        fields += [pa.field(name, pa.float64(), metadata=_make_unit(units.get(name))) for name in catalogue.sensors]
    else:
        unit = next(iter(units.values())) if len(units) == len(catalogue.sensors) == 1 else None
        fields += [
            pa.field("sensor", pa.string(), nullable=False),
            pa.field("value", pa.float64(), metadata=_make_unit(unit)),
        ]
    return pa.schema(fields, {"fleetscore.units": json.dumps(units, ensure_ascii=False, sort_keys=True)})


def _make_unit(unit: str | Mapping[str, str] | None) -> dict[str, str] | None:
    return {"unit": unit} if isinstance(unit, str) else None


def _write_hour(spool: Spool, layout: _Layout, hour: int, names: Sequence[str], path: Path) -> tuple[int, int]:
    """Write the file of an hour; how many rows it has, and how many readings were replaced."""
    from pyarrow import parquet

    listed = [*names[:NAMED_FILES], *([f"and {len(names) - NAMED_FILES} more"] if len(names) > NAMED_FILES else [])]
    metadata = {**layout.schema.metadata, b"fleetscore.sources": json.dumps(listed, ensure_ascii=False).encode()}
    schema = layout.schema.with_metadata(metadata)
    rows = replaced = 0
    texts = ["device", *([] if layout.is_wide else ["sensor"])]
    with parquet.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=[*texts, "time"], write_statistics=["time", *texts]
    ) as writer:
        for columns, count in _list_rows(spool, layout, hour):
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=ROW_GROUP)
            rows, replaced = rows + len(columns[0]), replaced + count
    return rows, replaced


def _list_rows(spool: Spool, layout: _Layout, hour: int) -> Iterator[tuple[list[pa.Array], int]]:
    """The columns of the rows of an hour, in ranges, and how many readings of each range were replaced."""
    limit = max(1, CELLS // len(layout.sensors)) if layout.is_wide else CELLS
    for records in spool.read_ranges(hour, layout.ranks, limit):
        device, time = layout.device[records["code"]], records["time"]
        keys = (device, time) if layout.is_wide else (device, layout.sensor[records["code"]], time)
        is_new = np.ones(len(records), bool)
        is_new[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
        if layout.is_wide:
            yield _make_wide(layout, records, is_new)
        else:
            yield _make_long(layout, records, is_new)


def _make_wide(layout: _Layout, records: np.ndarray, is_new: np.ndarray) -> tuple[list[pa.Array], int]:
    rows = np.cumsum(is_new) - 1
    sensor = layout.sensor[records["code"]]
    values = np.full((len(layout.sensors), int(rows[-1]) + 1), np.nan)
    values[sensor, rows] = records["value"]  # of equal places the last counts
    replaced = len(records) - len(np.unique(rows * len(layout.sensors) + sensor))
    first = records[is_new]
    columns = [_build_values(column) for column in values]
    device = _build_texts(layout.devices, layout.device[first["code"]])
    return [build_numbers(first["time"], _TIME), device, *columns], replaced


def _make_long(layout: _Layout, records: np.ndarray, is_new: np.ndarray) -> tuple[list[pa.Array], int]:
    """Without rows for gaps: a row without a value is none."""
    last = records[np.append(is_new[1:], True)]
    replaced = len(records) - len(last)
    kept_rows = last[~np.isnan(last["value"])]
    codes = kept_rows["code"]
    columns = [
        build_numbers(kept_rows["time"], _TIME),
        _build_texts(layout.devices, layout.device[codes]),
        _build_texts(layout.sensors, layout.sensor[codes]),
        _build_values(kept_rows["value"]),
    ]
    return columns, replaced


def _build_values(values: np.ndarray) -> pa.Array:
    is_gap = np.isnan(values)
    return build_numbers(values, null=is_gap if is_gap.any() else None)


def _build_texts(names: Sequence[str], indices: np.ndarray) -> pa.StringArray:
    used, codes = np.unique(indices, return_inverse=True)
    texts = build_strings([names[index] for index in used.tolist()])
    return pa.DictionaryArray.from_arrays(build_numbers(codes.astype(np.int32)), texts).dictionary_decode()

"""Parts: written in the schema of the manifest, read in one schema, described for readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.predictions import part_files
from scorer.predictions.part_files import Parts, read_part
from scorer.predictions.rows import PredictionRows
from scorer.predictions.table import ADDED, SCHEMA, SCHEMAS, to_table
from scorer.storage.blob_store import Folder
from shared.contract.domain import Model, Part, PartStatistics
from shared.contract.errors import Malformed
from shared.contract.model_list import ModelList

RUN, CHUNK = "20261121T0700Z-PT1H", "c00000"
MODELS = ModelList.from_models(
    [
        Model("pump", "x", "", "1"),
        Model("Pump", "", "", "2"),
        Model("pömp", "", "", "3"),
        Model("\U0001f600", "", "", "4"),
    ]
)
NO_VALUES = dict.fromkeys(ADDED, 3)


def make_table(*counts: int, start: int = 0, value: float | None = None) -> pa.Table:
    """So many rows of each model, a microsecond apart."""
    total, row_counts = sum(counts), np.array(counts)
    times = np.arange(start, start + total)
    values = None if value is None else np.full(total, value)
    rows = PredictionRows(np.arange(len(counts)), row_counts, times, values, np.zeros(total), np.ones(total, bool))
    return to_table(MODELS, MODELS.read_texts("etag"), [rows])


def write(folder: Path, schema: int, *tables: pa.Table) -> tuple[tuple[Part, ...], tuple[PartStatistics, ...]]:
    parts = Parts(Folder(folder), RUN, CHUNK, schema)
    for table in tables:
        parts.add_table(table)
    return parts.close(), parts.statistics


@pytest.mark.parametrize("schema", [1, 2])
def test_a_part_has_the_schema_that_was_asked_for_and_is_read_as_the_newest(schema: int, tmp_path: Path) -> None:
    table = make_table(2, 1, 0, 0, value=7.0)

    ((part,), _) = write(tmp_path, schema, table)

    stored = pq.read_table(pa.BufferReader((tmp_path / part.path).read_bytes()))
    assert stored.schema.equals(SCHEMAS[schema])
    assert read_part(Folder(tmp_path), part).equals(table.cast(SCHEMA))


def test_a_schema_of_a_later_version_is_refused_before_anything_is_scored(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="expected predictions of schema 1 or 2, got 3"):
        Parts(Folder(tmp_path), RUN, CHUNK, 3)


def test_the_statistics_are_of_rows_and_devices_that_have_any_compared_by_code_points(tmp_path: Path) -> None:
    _, statistics = write(tmp_path, 2, make_table(1, 0, 2, 0, start=5))

    nulls = {"time": 0, "device": 0, "sensor": 2, "value": 3, "score": 0, "anomaly": 0, "model": 0}
    assert statistics == (PartStatistics(5, 7, "pump", "pömp", nulls | NO_VALUES),)


def test_the_statistics_of_a_part_are_those_of_all_its_tables(tmp_path: Path) -> None:
    (part,), (statistics,) = write(
        tmp_path, 2, make_table(1, 1, start=50, value=1.0), make_table(0, 0, 0, 2, start=3), make_table(0, 1, start=99)
    )

    rows = read_part(Folder(tmp_path), part)
    devices = rows["device"].to_pylist()
    assert (statistics.first_time, statistics.last_time) == (3, 99)
    assert (statistics.first_device, statistics.last_device) == (min(devices), max(devices)) == ("Pump", "\U0001f600")
    assert statistics.nulls == {name: rows[name].null_count for name in rows.column_names}


def test_the_statistics_of_a_part_of_schema_1_are_of_its_own_columns(tmp_path: Path) -> None:
    _, (statistics,) = write(tmp_path, 1, make_table(2, 1))

    assert [*statistics.nulls] == SCHEMAS[1].names


def test_each_part_has_its_own_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_files, "PART_BYTES", 1)

    parts, statistics = write(tmp_path, 2, make_table(2), make_table(0), make_table(0, 1, start=9))

    assert [part.rows for part in parts] == [2, 1]
    assert [(each.first_time, each.last_time, each.first_device) for each in statistics] == [
        (0, 1, "pump"),
        (9, 9, "Pump"),
    ]


def test_without_rows_there_is_no_part_and_nothing_to_describe(tmp_path: Path) -> None:
    assert write(tmp_path, 2, make_table(0)) == ((), ())


def test_a_part_of_other_columns_is_refused(tmp_path: Path) -> None:
    ((part,), _) = write(tmp_path, 2, make_table(1))
    pq.write_table(pa.table({"time": [1]}), tmp_path / part.path)
    data = (tmp_path / part.path).read_bytes()

    with pytest.raises(Malformed, match=r"expected columns .* or .*, got \['time'\]"):
        read_part(Folder(tmp_path), part_files._describe_part(part.path, data, 1))

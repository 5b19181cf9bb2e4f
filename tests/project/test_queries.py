"""The queries of the documents, on a folder of old and new predictions."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from scorer.predictions.rows import PredictionRows
from scorer.predictions.table import SCHEMA, to_parquet, to_table
from shared.contract.domain import Model
from shared.contract.model_list import ModelList
from shared.contract.paths import prediction_path
from shared.contract.windows import Window

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DESK = (ROOT / "docs" / "desk.md").read_text()
MODELS = ModelList.from_models([Model("pump", "", "", "1"), Model("pump", "x", "", "2")])
pytestmark = pytest.mark.usefixtures("folder")

HOURS = {7: 1, 8: 2, 9: 1, 10: 2}  # the schema of each hour's file; the first is old
DAY = date(2026, 11, 21)
COLUMNS = [*SCHEMA.names, "date", "hour"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `predictions` has four hours, of three rows each."""
    for hour, schema in HOURS.items():
        window = Window.parse(f"20261121T{hour:02}00Z-PT1H")
        start = int(window.start.timestamp()) * 1_000_000
        value = np.array([np.nan, 1.5, 2.5])
        rows = PredictionRows(
            np.arange(2), np.array([1, 2]), start + np.arange(3), value, np.arange(3.0), np.array([True, False, True])
        )
        path = tmp_path / "predictions" / prediction_path(window, "c00000", 0)
        path.parent.mkdir(parents=True)
        path.write_bytes(to_parquet(to_table(MODELS, ["1", "2"], [rows]), schema))
    monkeypatch.chdir(tmp_path)


def read_blocks(kind: str) -> list[str]:
    """The document's code of that kind."""
    return re.findall(rf"```{kind}\n(.+?)```", DESK, re.DOTALL)


def run_block(module: str) -> dict[str, object]:
    """The names that the code with this import has bound."""
    (code,) = [block for block in read_blocks("python") if f"import {module}" in block]
    names: dict[str, object] = {}
    exec(code, names)
    return names


def check(rows: list[dict[str, object]]) -> None:
    """All rows are there, with an hour that is a number, and nothing in what schema 1 did not have."""
    expected = [(DAY, hour, sensor) for hour in HOURS for sensor in (None, "x", "x")]
    rows = sorted(rows, key=lambda row: row["time"])  # type: ignore[arg-type, return-value]
    assert [(row["date"], row["hour"], row["sensor"]) for row in rows] == expected
    assert {type(row["hour"]) for row in rows} == {int}
    assert [row["anomaly"] for row in rows] == [1, 0, 1] * len(HOURS)
    assert [row["value"] for row in rows] == [None, 1.5, 2.5] * len(HOURS)
    assert {row[name] for row in rows for name in ("output", "prediction", "label", "probability")} == {None}


def test_duckdb_reads_old_and_new_files_as_one_table() -> None:
    (query,) = read_blocks("sql")
    (source,) = re.findall(r"read_parquet\(.+\)", query)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        assert sorted(connection.execute(query).fetchall()) == [("pump", hour, 2) for hour in HOURS]
        late = connection.execute(f"SELECT DISTINCT hour FROM {source} WHERE hour >= 9").fetchall()
        assert sorted(late) == [(hour,) for hour in HOURS if hour >= 9]
        everything = f"SELECT * REPLACE (epoch_us(time) AS time) FROM {source}"
        result = connection.execute(everything)
        names = [column[0] for column in result.description]
        rows = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    assert sorted(names) == sorted(COLUMNS)
    check(rows)


def test_without_types_of_the_folders_duckdb_makes_text_of_the_hour() -> None:
    with duckdb.connect() as connection:
        query = "SELECT DISTINCT hour FROM read_parquet('predictions/**/*.parquet', union_by_name=true)"
        assert sorted(connection.execute(query).fetchall()) == [("07",), ("08",), ("09",), ("10",)]


def test_without_names_duckdb_leaves_out_the_new_columns() -> None:
    with duckdb.connect() as connection:
        result = connection.execute(
            "SELECT * REPLACE (epoch_us(time) AS time) FROM read_parquet('predictions/**/*.parquet')"
        )
        assert "label" not in [column[0] for column in result.description]
        assert len(result.fetchall()) == 12


def test_polars_reads_old_and_new_files_as_one_table() -> None:
    frame = run_block("polars")["frame"]

    assert isinstance(frame, pl.DataFrame)
    assert frame.columns == COLUMNS
    check(frame.to_dicts())
    with pytest.raises(pl.exceptions.PolarsError, match="extra column"):
        pl.scan_parquet("predictions/", missing_columns="insert").collect()


def test_pyarrow_and_pandas_read_old_and_new_files_as_one_table() -> None:
    names = run_block("pandas")

    table, frame = names["table"], names["frame"]
    assert isinstance(table, pa.Table)
    assert isinstance(frame, pd.DataFrame)
    assert table.column_names == [*frame.columns] == COLUMNS
    check(table.to_pylist())
    assert (len(frame), frame["label"].isna().all(), frame["hour"].dtype) == (12, True, np.dtype("int32"))
    assert sorted(frame["hour"].unique()) == [*HOURS]
    assert "label" not in pd.read_parquet("predictions").columns
    assert "label" not in ds.dataset("predictions", partitioning="hive").to_table().column_names


def test_the_document_names_the_columns_of_the_schema() -> None:
    columns = run_block("pandas")["columns"]
    assert isinstance(columns, pa.Schema)
    assert columns.equals(pa.schema([field.with_nullable(nullable=True) for field in SCHEMA]))


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_each_query_of_a_document_unites_columns_by_name_with_types_of_the_folders(path: Path) -> None:
    queries = re.findall(r"read_parquet\('[^']+'[^)]*\)", path.read_text())
    options = "union_by_name=true, hive_types={'date': DATE, 'hour': INT})"
    assert [query for query in queries if not query.endswith(options)] == []

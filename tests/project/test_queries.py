"""The queries of the documents, on a folder of old and new predictions."""

from __future__ import annotations

import re
import shutil
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from scorer.__main__ import main
from scorer.predictions.rows import PredictionRows, make_texts
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
HOUR = 3_600_000_000  # microseconds


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
    query, *_ = read_blocks("sql")
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


CLASSES = ("ok", "worn")
MIXED = range(7, 11)  # hours: detectors of schema 1, then of schema 2 regressors, classifiers, and all probabilities


@pytest.fixture
def mixed(folder: None) -> None:  # noqa: ARG001  # which comes first
    """Where `predictions` has an hour of each task, and `readings` the true values."""
    shutil.rmtree("predictions")
    start = int(Window.parse("20261121T0700Z-PT1H").start.timestamp()) * 1_000_000
    time, counts = start + np.arange(3), np.array([1, 2])
    shares = np.array([0.75, 0.5, 1.0])
    labels, repeated = make_texts(["worn", "ok", "worn"]), np.repeat(np.arange(3), 3)
    all_classes = PredictionRows(
        np.arange(2),
        counts * 3,
        (time + 3 * HOUR)[repeated],
        probability=np.array([0.75, 0.25, 0.75, 0.5, 0.5, 0.5, 1.0, 0.0, 1.0]),
        label=make_texts(["worn", None, None, "ok", None, None, "worn", None, None]),
        output=make_texts([None, *CLASSES] * 3),
    )
    hours = {
        7: PredictionRows(np.arange(2), counts, time, score=np.arange(3.0), anomaly=np.array([True, False, True])),
        8: PredictionRows(np.arange(2), counts, time + HOUR, prediction=np.array([1.0, 2.0, 4.0])),
        9: PredictionRows(np.arange(2), counts, time + 2 * HOUR, probability=shares, label=labels),
        10: all_classes,
    }
    for hour, rows in hours.items():
        path = Path("predictions", prediction_path(Window.parse(f"20261121T{hour:02}00Z-PT1H"), "c00000", 0))
        path.parent.mkdir(parents=True)
        path.write_bytes(to_parquet(to_table(MODELS, ["1", "2"], [rows]), 1 if hour == MIXED[0] else 2))
        readings = Path("readings", path.parent.relative_to("predictions"), "part.parquet")
        readings.parent.mkdir(parents=True)
        times = pa.array(time + (hour - MIXED[0]) * HOUR).cast(pa.timestamp("us", "UTC"))
        pq.write_table(pa.table({"time": times, "device": ["pump"] * 3, "load": [1.0, 4.0, 3.0]}), readings)


@pytest.mark.usefixtures("mixed")
def test_the_queries_of_labels_probabilities_and_errors_answer_for_files_of_all_tasks() -> None:
    _, labels, probabilities, errors = read_blocks("sql")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        assert sorted(connection.execute(labels).fetchall()) == [
            (9, "ok", 1, 0.5),
            (9, "worn", 2, 0.875),
            (10, "ok", 1, 0.5),
            (10, "worn", 2, 0.875),
        ]
        of_worn = connection.execute(f"SELECT * REPLACE (epoch_us(time) AS time) FROM ({probabilities})").fetchall()
        assert [(device, probability) for _, device, probability in sorted(of_worn)] == [
            ("pump", 0.75),
            ("pump", 0.5),
            ("pump", 1.0),
        ]
        assert connection.execute(errors).fetchall() == [("pump", 1.0)]


@pytest.mark.usefixtures("mixed")
def test_every_reader_reads_files_in_which_other_columns_have_no_value() -> None:
    (source,) = re.findall(r"read_parquet\(.+\)", read_blocks("sql")[0])
    with duckdb.connect() as connection:
        counts = connection.execute(
            f"SELECT count(*), count(anomaly), count(prediction), count(label), count(probability) FROM {source}"
        ).fetchone()
        kinds = dict(connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE FROM {source})").fetchall())
    assert counts == (18, 3, 3, 6, 12)
    assert (kinds["prediction"], kinds["label"], kinds["anomaly"]) == ("DOUBLE", "VARCHAR", "TINYINT")
    polars = run_block("polars")["frame"]
    assert isinstance(polars, pl.DataFrame)
    counted = polars.select(pl.col("prediction", "label", "probability").count()).row(0)
    assert counted == (3, 6, 12)
    names = run_block("pandas")
    table, frame = names["table"], names["frame"]
    assert isinstance(table, pa.Table)
    assert isinstance(frame, pd.DataFrame)
    assert {name: len(table) - table[name].null_count for name in ("prediction", "label", "probability")} == {
        "prediction": 3,
        "label": 6,
        "probability": 12,
    }
    assert frame["label"].value_counts().to_dict() == {"worn": 4, "ok": 2}
    assert frame.groupby("hour")["prediction"].count().to_dict() == {7: 0, 8: 3, 9: 0, 10: 0}


@pytest.mark.usefixtures("mixed")
def test_old_files_beside_new_ones_of_other_tasks_are_upgraded_and_the_others_stay() -> None:
    before = {path: path.read_bytes() for path in Path("predictions").rglob("*.parquet")}
    assert main(["predictions", "upgrade", "predictions"]) == 0
    changed = [path for path, data in before.items() if path.read_bytes() != data]
    assert [path.parent.name for path in changed] == ["hour=07"]
    tables = [pq.read_table(pa.BufferReader(path.read_bytes())) for path in sorted(before)]
    assert [table.schema.equals(SCHEMA) for table in tables] == [True] * len(MIXED)
    assert pa.concat_tables(tables).num_rows == 18
    # All files have all columns now, so readers that take those of the first file read the others as well.
    assert pd.read_parquet("predictions")["label"].notna().sum() == 6
    with duckdb.connect() as connection:
        query = "SELECT count(label), count(prediction) FROM read_parquet('predictions/**/*.parquet')"
        assert connection.execute(query).fetchone() == (6, 3)


def test_the_document_names_the_columns_of_the_schema() -> None:
    columns = run_block("pandas")["columns"]
    assert isinstance(columns, pa.Schema)
    assert columns.equals(pa.schema([field.with_nullable(nullable=True) for field in SCHEMA]))


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_each_query_of_a_document_unites_columns_by_name_with_types_of_the_folders(path: Path) -> None:
    queries = re.findall(r"read_parquet\('[^']+'[^)]*\)", path.read_text())
    options = "union_by_name=true, hive_types={'date': DATE, 'hour': INT})"
    assert [query for query in queries if not query.endswith(options)] == []

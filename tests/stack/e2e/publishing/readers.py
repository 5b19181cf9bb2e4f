"""The rows of predictions as each consumer reads them: a multiset of rows, each with its run."""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import duckdb
import polars as pl
from adbc_driver_postgresql import dbapi
from deltalake import DeltaTable
from pyarrow import parquet

from local.postgres import PASSWORD, Postgres
from scorer.predictions.table import SCHEMA
from scorer.storage.blob_store import open_container
from shared.contract.windows import Window
from tests.stack.e2e.place import Place

NAMES = (*SCHEMA.names, "run")
PLACED = (*NAMES, "date", "hour")  # of the Delta table
_FILE = re.compile(r"date=([\d-]+)/hour=(\d\d)/(\d{8}T\d{4}Z-P[A-Z0-9]+)-c\d+")

Rows = Counter[tuple[Any, ...]]


def count_rows(columns: Mapping[str, Any], names: tuple[str, ...] = NAMES) -> Rows:
    """The rows of a table, in columns."""
    return Counter(zip(*([_clean(value) for value in columns[name]] for name in names), strict=True))


def _clean(value: Any) -> Any:
    """NaN is null in pandas, and a time is one however it is written."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def read_folder(place: Place) -> Rows:
    """What consumers of the container of predictions read. The run of a row is in the name of its file."""
    container, rows = place.container("predictions"), Rows()
    for name in container.list_blob_names():
        table = parquet.read_table(io.BytesIO(container.download_blob(name).readall()))
        match = _FILE.match(name)
        assert match, name
        rows += count_rows({**table.to_pydict(), "run": [match[3]] * len(table)})
    return rows


def read_sql(server: Postgres, table: str) -> Rows:
    """What PostgreSQL has."""
    url = server.url.replace("@", f":{PASSWORD}@")
    with dbapi.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(NAMES)} FROM {table}")
        return count_rows(cursor.fetch_arrow_table().to_pydict())


def open_table(url: str, storage: str) -> DeltaTable:
    """The Delta table, as others open it."""
    location, options = open_container(url, storage).locate_delta("")
    own = {name: value for name, value in options.items() if name not in ("max_retries", "retry_timeout")}
    return DeltaTable(location, storage_options=own)  # polars takes other types of these


def read_by_duckdb(table: DeltaTable) -> Rows:
    """By SQL over the files that the table names."""
    with duckdb.connect() as connection:
        connection.register("predictions", table.to_pyarrow_dataset())
        times = "time::TIMESTAMP WITH TIME ZONE"
        columns = ", ".join(f"{times} AS time" if name == "time" else name for name in NAMES)
        return count_rows(connection.sql(f"SELECT {columns} FROM predictions").to_arrow_table().to_pydict())


def read_by_polars(table: DeltaTable) -> Rows:
    """By polars, which reads the files itself."""
    return count_rows(pl.read_delta(table).to_dict(as_series=False))


READERS: Mapping[str, Callable[[DeltaTable], Rows]] = {
    "pyarrow": lambda table: count_rows(table.to_pyarrow_table().to_pydict()),
    "pandas": lambda table: count_rows(table.to_pandas().to_dict("list")),
    "polars": read_by_polars,
    "duckdb": read_by_duckdb,
}


def check_partitions(table: DeltaTable) -> None:
    """Each row is in the partition of its run: that of the start of its window."""
    rows = table.to_pyarrow_table(columns=["date", "hour", "run"]).group_by(["date", "hour", "run"]).aggregate([])
    for row in rows.to_pylist():
        start = Window.parse(row["run"]).start
        assert (row["date"], row["hour"]) == (start.date(), start.hour), row

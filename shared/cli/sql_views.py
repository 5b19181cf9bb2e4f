"""`fleetscore sql views`: statements that create views over predictions where they are. They are only printed.

Engines differ in what they read: of Parquet each needs the types, and the folders as wildcards, one for each level.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_TEXTS = ("device", "sensor", "output", "label", "model")
_NUMBERS = ("value", "score", "prediction", "probability")
COLUMNS = (  # as scorer/predictions/table.py has them, in its order
    "time", "device", "sensor", "output", "value", "score", "anomaly", "prediction", "label", "probability", "model",
)  # fmt: skip
_BY_KIND = {"time": "datetime2(6)", "text": "varchar(1800)", "number": "float", "small": "smallint"}
_SPARK = {"time": "TIMESTAMP", "text": "STRING", "number": "DOUBLE", "small": "SMALLINT"}
_BINARY = " COLLATE Latin1_General_100_BIN2_UTF8"  # UTF-8, and Pump is not pump
_DESCRIPTION = """Print statements that create a view over the Parquet files of predictions, and one over a Delta table.
Nothing is copied: each query reads the files. docs/sql.md says what each engine needs."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the views are over, and what they are called."""

    account: str
    container: str
    delta: str  # a container and a folder of it; "": no Delta table
    schema: str
    view: str

    @property
    def delta_path(self) -> tuple[str, str]:
        """The container, and the folder in it with a slash at its end, or ""."""
        container, _, folder = self.delta.partition("/")
        return container, f"{folder.strip('/')}/" if folder.strip("/") else ""


def main(arguments: Sequence[str], program: str) -> int:
    """Print the statements; returns the exit code."""
    options = _build_parser(program).parse_args(arguments)
    names = Names(options.storage_account, options.predictions_container, options.delta, options.schema, options.view)
    print("\n\n".join(ENGINES[engine](names) for engine in ([options.engine] if options.engine else ENGINES)))
    return 0


def write_synapse(names: Names) -> str:
    """Of the serverless pool of a Synapse workspace."""
    text = "-- Synapse, serverless pool, in a database of its own: who asks reads by their own identity.\n"
    location = f"https://{names.account}.dfs.core.windows.net/{names.container}/date=*/hour=*/*.parquet"
    text += _write_parquet(names, f"BULK '{location}', FORMAT = 'PARQUET'", _BINARY)
    if names.delta:
        container, folder = names.delta_path
        location = f"https://{names.account}.dfs.core.windows.net/{container}/{folder}"
        text += "\nGO\n\n" + _write_delta(names, f"BULK '{location}', FORMAT = 'DELTA'", _BINARY)
    return text


def write_azure_sql(names: Names) -> str:
    """Of Azure SQL, which reads from a source of its own, and by an identity of its own."""
    text = (
        "-- Azure SQL: its server reads by its identity, which needs the role Storage Blob Data Reader.\n"
        "CREATE DATABASE SCOPED CREDENTIAL fleetscore_identity WITH IDENTITY = 'Managed Identity';\nGO\n\n"
    )
    text += _write_source(names, "fleetscore_files", names.container)
    source = "BULK 'date=*/hour=*/*.parquet', DATA_SOURCE = 'fleetscore_files', FORMAT = 'PARQUET'"
    text += _write_parquet(names, source, _BINARY)
    if names.delta:
        container, folder = names.delta_path
        text += "\nGO\n\n" + _write_source(names, "fleetscore_delta", container)
        source = f"BULK '/{folder}', DATA_SOURCE = 'fleetscore_delta', FORMAT = 'DELTA'"
        text += _write_delta(names, source, _BINARY)
    return text


def write_fabric(names: Names) -> str:
    """Of a warehouse in Fabric, or the SQL endpoint of a lakehouse."""
    text = "-- Fabric, a warehouse or the SQL endpoint of a lakehouse: who asks reads by their own identity.\n"
    location = f"https://{names.account}.dfs.core.windows.net/{names.container}/date=*/hour=*/*.parquet"
    text += _write_parquet(names, f"BULK '{location}', FORMAT = 'PARQUET'", "")
    if names.delta:
        container, folder = names.delta_path
        text += (
            "\n-- A Delta table needs no view: in a lakehouse make a shortcut below Tables to\n"
            f"-- https://{names.account}.dfs.core.windows.net/{container}/{folder}"
        )
    return text


def write_databricks(names: Names) -> str:
    """Of Databricks SQL, in the current catalog."""
    columns = ",\n        ".join(f"{name} {_SPARK[_name_kind(name)]}" for name in COLUMNS)
    view = f"`{names.schema}`.`{names.view}`"
    location = f"abfss://{names.container}@{names.account}.dfs.core.windows.net/"
    text = (
        "-- Databricks: an external location of Unity Catalog has to cover these addresses.\n"
        f"CREATE OR REPLACE VIEW {view} AS\n"
        "SELECT *, regexp_extract(_metadata.file_name, '^(.+?)-c', 1) AS `run`\n"
        "FROM read_files(\n"
        f"    '{location}',\n"
        "    format => 'parquet',\n"
        f"    schema => '\n        {columns},\n        date DATE,\n        hour INT'\n"
        ");"
    )
    if names.delta:
        container, folder = names.delta_path
        location = f"abfss://{container}@{names.account}.dfs.core.windows.net/{folder}"
        text += (
            f"\n\nCREATE OR REPLACE VIEW `{names.schema}`.`{names.view}_delta` AS\nSELECT * FROM delta.`{location}`;"
        )
    return text


ENGINES: Mapping[str, Callable[[Names], str]] = {
    "synapse": write_synapse,
    "azure-sql": write_azure_sql,
    "fabric": write_fabric,
    "databricks": write_databricks,
}


def _write_source(names: Names, name: str, container: str) -> str:
    return (
        f"CREATE EXTERNAL DATA SOURCE {name} WITH (\n"
        f"    LOCATION = 'abs://{container}@{names.account}.blob.core.windows.net',\n"
        "    CREDENTIAL = fleetscore_identity\n"
        ");\nGO\n\n"
    )


def _write_parquet(names: Names, source: str, collation: str) -> str:
    """A view of T-SQL. Only what names the folders by text spares reading the others."""
    return (
        f"CREATE VIEW [{names.schema}].[{names.view}] AS\n"
        "SELECT\n"
        "    r.*,\n"
        "    LEFT(r.filename(), CHARINDEX('-c', r.filename()) - 1) AS [run],\n"
        "    CAST(r.filepath(1) AS date) AS [date],\n"
        "    CAST(r.filepath(2) AS smallint) AS [hour],\n"
        "    r.filepath(1) AS [date_folder], -- a text: '2026-11-21'\n"
        "    r.filepath(2) AS [hour_folder] -- a text: '07'\n"
        f"FROM OPENROWSET(\n    {source}\n) WITH (\n    {_list_types(collation)}\n) AS r;"
    )


def _write_delta(names: Names, source: str, collation: str) -> str:
    folders = f",\n    [date] date,\n    [hour] int,\n    [run] {_BY_KIND['text']}{collation}"
    return (
        f"CREATE VIEW [{names.schema}].[{names.view}_delta] AS\n"
        f"SELECT r.*\nFROM OPENROWSET(\n    {source}\n) WITH (\n    {_list_types(collation)}{folders}\n) AS r;"
    )


def _list_types(collation: str) -> str:
    return ",\n    ".join(
        f"[{name}] {_BY_KIND[_name_kind(name)]}{collation if name in _TEXTS else ''}" for name in COLUMNS
    )


def _name_kind(column: str) -> str:
    if column in _TEXTS:
        return "text"
    if column in _NUMBERS:
        return "number"
    return {"time": "time", "anomaly": "small"}[column]


def _build_parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(program, description=_DESCRIPTION)
    account, container = r"[a-z0-9]{3,24}", r"[a-z0-9](?:-?[a-z0-9]){2,62}"
    name = r"[A-Za-z_][A-Za-z0-9_]{0,47}"
    path = rf"(?:{container}(?:/[\w=-][\w.=-]*)*/?)?"
    parser.add_argument("--for", dest="engine", choices=list(ENGINES), help="one engine; else all")
    for option, pattern, default, description in (
        ("--storage-account", account, None, "the storage account of the deployment"),
        ("--predictions-container", container, "predictions", "the container of predictions (%(default)s)"),
        ("--delta", path, "", "the Delta table: its container, or CONTAINER/FOLDER"),
        ("--schema", name, "dbo", "the schema of the views (%(default)s)"),
        ("--view", name, "fleetscore_predictions", "the name of the view; that of the Delta table ends in _delta"),
    ):
        parser.add_argument(
            option, type=_make_check(pattern), default=default, required=default is None, help=description
        )
    return parser


def _make_check(pattern: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"expected a name of the form {pattern}, got {text!r}")
        return text

    return check

"""A Delta table of models for tests, and its import as a person asks for it: by the command line."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
from deltalake import write_deltalake
from sklearn.linear_model import LinearRegression

from scorer.__main__ import main

Run = Callable[..., int]


def make_model(slope: float) -> bytes:
    frame = pd.DataFrame({"a": [0.0, 1.0, 2.0]})
    return pickle.dumps(LinearRegression().fit(frame, frame["a"] * slope))


def write(table: Path, rows: list[tuple[str | None, bytes | None, object]]) -> None:
    columns = {
        "pump": pa.array([row[0] for row in rows], pa.string()),
        "model": pa.array([row[1] for row in rows], pa.binary()),
        "at": pa.array([row[2] for row in rows]),
    }
    write_deltalake(table, pa.table(columns), mode="append")


def make_run(folder: Path) -> Run:
    """The import of the table `t` into `models`, both in a folder."""

    def import_table(*options: str, into: str = str(folder / "models"), version: str = "at") -> int:
        columns = ["--id", "pump", "--bytes", "model", *(["--version", version] if version else [])]
        return main(["models", "import", "--delta", str(folder / "t"), "--into", into, *columns, *options])

    return import_table


def list_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

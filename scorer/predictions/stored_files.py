"""Files of predictions where consumers read them, by their schema. Opens files, and writes none."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from scorer.storage.blob_store import Container

from .table import identify_schema

ENDING = ".parquet"


def list_files(container: Container) -> Iterator[str]:
    """The paths of all Parquet files, sorted; what a killed process left half-written is none of them."""
    paths = container.list("")
    return (path for path in paths if path.endswith(ENDING) and not path.rpartition("/")[2].startswith("."))


def read_schema(container: Container, path: str) -> pa.Schema | None:
    """The columns of a file, from its footer; None where it is no Parquet. Raises NotFound, Unavailable."""
    from pyarrow import parquet

    file = container.open(path)
    try:
        return parquet.ParquetFile(pa.PythonFile(file, "r")).schema_arrow
    except pa.ArrowInvalid:
        return None
    finally:
        file.close()


def find_schemas(container: Container) -> set[int]:
    """The numbers of the schemas that the files of predictions have; other files count for nothing."""
    schemas = (read_schema(container, path) for path in list_files(container))
    numbers = {identify_schema(schema) for schema in schemas if schema is not None}
    return {number for number in numbers if number is not None}

"""The committed parts of a run, as the ledger names them: read, compared with their MD5, of schema 2."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from scorer.predictions.table import NEWEST, PartWriter, encode_texts, identify_schema, upgrade_table
from scorer.storage.blob_store import Container
from shared.contract.errors import Malformed, NotFound
from shared.contract.publishing.documents import PublishedPart


class PartMissing(Exception):
    """A part is no longer what the ledger says. The message names it."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Reads parts from the working container."""

    work: Container

    def read_bytes(self, entry: PublishedPart) -> bytes:
        """A part as a file of schema 2. Raises PartMissing, Unavailable."""
        data = self._read_checked(entry)
        table = _open_file(data, entry)
        if identify_schema(table.schema_arrow) == NEWEST:
            return data
        writer = PartWriter()
        writer.add_table(encode_texts(upgrade_table(table.read())))
        return writer.close()

    def read_table(self, entry: PublishedPart) -> pa.Table:
        """The rows of a part, in schema 2. Raises PartMissing, Unavailable."""
        return upgrade_table(_open_file(self._read_checked(entry), entry).read())

    def iterate_tables(self, entries: tuple[PublishedPart, ...]) -> Iterator[pa.Table]:
        """The rows of parts, one after the other. Raises PartMissing, Unavailable."""
        return (self.read_table(entry) for entry in entries)

    def _read_checked(self, entry: PublishedPart) -> bytes:
        part = entry.part
        try:
            data = self.work.read(part.path).data
        except NotFound as error:
            raise PartMissing(f"{part.path}: expected {part.bytes} bytes, got none: it was removed") from error
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        if (len(data), md5) != (part.bytes, part.md5):
            raise PartMissing(
                f"{part.path}: expected {part.bytes} bytes with MD5 {part.md5}, got {len(data)} with {md5}"
            )
        return data


def _open_file(data: bytes, entry: PublishedPart) -> Any:
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(io.BytesIO(data))
    except pa.ArrowInvalid as error:
        raise Malformed(f"{entry.part.path}: expected Parquet, got {error}") from error
    if identify_schema(file.schema_arrow) is None:
        raise Malformed(f"{entry.part.path}: expected the columns of predictions, got {file.schema_arrow.names}")
    return file

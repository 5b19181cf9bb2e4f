"""Parts: written under random names, and read back only if they match the report."""

from __future__ import annotations

import base64
import hashlib
import logging
import uuid

import pyarrow as pa

from scorer.storage.blob_store import Container
from shared.contract.domain import Part, PartStatistics
from shared.contract.errors import Malformed
from shared.contract.paths import parts_prefix

from .statistics import measure_table, merge_statistics
from .table import NEWEST, SCHEMAS, PartWriter, identify_schema, upgrade_table

PART_BYTES = 128 * 2**20  # after which another part begins, so that the memory does not grow with a chunk

log = logging.getLogger(__name__)


class Parts:
    """The predictions of this process for one chunk, in files of schema *schema*; nearly always one part.

    Raises Malformed for a schema that only a later version can write.
    """

    def __init__(self, work: Container, run: str, chunk: str, schema: int = NEWEST) -> None:
        if schema not in SCHEMAS:
            raise Malformed(f"expected predictions of schema {' or '.join(map(str, SCHEMAS))}, got {schema}")
        self._work, self._prefix, self._schema = work, parts_prefix(run, chunk), schema
        self._open: PartWriter | None = None
        self._measured: PartStatistics | None = None  # of the rows of the open part
        self._written: list[tuple[Part, PartStatistics]] = []

    def add_table(self, table: pa.Table) -> None:
        """Add the rows of a table in memory. Raises ValueError for what no part holds, Unavailable, Misconfigured."""
        if not table.num_rows:
            return
        self._open = self._open or PartWriter(self._schema)
        self._open.add_table(table)
        measured = measure_table(table, self._open.schema.names)
        self._measured = merge_statistics(self._measured, measured) if self._measured else measured
        if self._open.size >= PART_BYTES:
            self.close()

    def close(self) -> tuple[Part, ...]:
        """Write the rest; returns all parts. Raises Unavailable, Misconfigured."""
        if self._open and self._measured:
            rows, data, statistics = self._open.rows, self._open.close(), self._measured
            self._open = self._measured = None
            part = _describe_part(f"{self._prefix}{uuid.uuid4().hex}.parquet", data, rows)
            self._work.write(part.path, data)
            self._written.append((part, statistics))
            log.info("part=%s bytes=%s", part.path, part.bytes)
        return tuple(part for part, _ in self._written)

    @property
    def statistics(self) -> tuple[PartStatistics, ...]:
        """The statistics of each part that is written."""
        return tuple(statistics for _, statistics in self._written)


def read_part(work: Container, part: Part) -> pa.Table:
    """The rows of a part of any schema, as a table of SCHEMA.

    Raises NotFound, Malformed where it does not match its description, Unavailable.
    """
    from pyarrow import parquet

    data = work.read(part.path).data
    actual = _describe_part(part.path, data, part.rows)
    if (actual.bytes, actual.md5) != (part.bytes, part.md5):
        expected = f"{part.bytes} bytes with MD5 {part.md5}"
        raise Malformed(f"{part.path}: expected {expected}, got {actual.bytes} with {actual.md5}")
    try:
        table = parquet.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise Malformed(f"{part.path}: {error}") from error
    if identify_schema(table.schema) is None:
        expected = " or ".join(str(schema.names) for schema in SCHEMAS.values())
        raise Malformed(f"{part.path}: expected columns {expected}, got {table.schema.names}")
    return upgrade_table(table)


def _describe_part(path: str, data: bytes, rows: int) -> Part:
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    return Part(path, len(data), md5, rows)

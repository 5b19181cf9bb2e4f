"""Parts: written under random names, and read back only if they match the report."""

from __future__ import annotations

import base64
import hashlib
import logging
import uuid

import pyarrow as pa

from scorer.storage.blob_store import Container
from shared.contract.domain import Part
from shared.contract.errors import Malformed
from shared.contract.paths import parts_prefix

from .table import SCHEMA, PartWriter

PART_BYTES = 128 * 2**20  # after which another part begins, so that the memory does not grow with a chunk

log = logging.getLogger(__name__)


class Parts:
    """The predictions of this process for one chunk; nearly always one part."""

    def __init__(self, work: Container, run: str, chunk: str) -> None:
        self._work, self._prefix = work, parts_prefix(run, chunk)
        self._open: PartWriter | None = None
        self._written: list[Part] = []

    def add_table(self, table: pa.Table) -> None:
        """Add a table's rows. Raises Unavailable, Misconfigured."""
        if not table.num_rows:
            return
        self._open = self._open or PartWriter()
        self._open.add_table(table)
        if self._open.size >= PART_BYTES:
            self.close()

    def close(self) -> tuple[Part, ...]:
        """Write the rest; returns all parts. Raises Unavailable, Misconfigured."""
        if self._open:
            rows, data, self._open = self._open.rows, self._open.close(), None
            part = _describe_part(f"{self._prefix}{uuid.uuid4().hex}.parquet", data, rows)
            self._work.write(part.path, data)
            self._written.append(part)
            log.info("part=%s bytes=%s", part.path, part.bytes)
        return tuple(self._written)


def read_part(work: Container, part: Part) -> pa.Table:
    """The rows of a part. Raises NotFound, Malformed where it does not match its description, Unavailable."""
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
    if not table.schema.equals(SCHEMA):
        raise Malformed(f"{part.path}: expected columns {SCHEMA.names}, got {table.schema.names}")
    return table


def _describe_part(path: str, data: bytes, rows: int) -> Part:
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    return Part(path, len(data), md5, rows)

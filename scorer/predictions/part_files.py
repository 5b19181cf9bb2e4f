"""Parts: written under random names of this process, and read back only as the report describes them."""

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

PART_BYTES = 128 * 2**20  # after which a further part begins: what a node holds in memory does not grow with a chunk

log = logging.getLogger(__name__)


class Parts:
    """The predictions of this process for one chunk, as they come; nearly always one part."""

    def __init__(self, work: Container, run: str, chunk: str) -> None:
        self._work, self._prefix = work, parts_prefix(run, chunk)
        self._open: PartWriter | None = None
        self._written: list[Part] = []

    def add(self, table: pa.Table) -> None:
        """Take a table's rows. Raises Unavailable, Misconfigured."""
        if not table.num_rows:
            return
        self._open = self._open or PartWriter()
        self._open.add(table)
        if self._open.size >= PART_BYTES:
            self.close()

    def close(self) -> tuple[Part, ...]:
        """Write what was not yet; all parts. Raises Unavailable, Misconfigured."""
        if self._open:
            rows, data, self._open = self._open.rows, self._open.close(), None
            part = _described(f"{self._prefix}{uuid.uuid4().hex}.parquet", data, rows)
            self._work.write(part.path, data)
            self._written.append(part)
            log.info("part=%s bytes=%s", part.path, part.bytes)
        return tuple(self._written)


def read(work: Container, part: Part) -> pa.Table:
    """The rows of a part. Raises NotFound, Malformed where it is not the one described, Unavailable."""
    from pyarrow import parquet

    data = work.read(part.path).data
    found = _described(part.path, data, part.rows)
    if (found.bytes, found.md5) != (part.bytes, part.md5):
        expected = f"{part.bytes} bytes with MD5 {part.md5}"
        raise Malformed(f"{part.path}: expected {expected}, got {found.bytes} with {found.md5}")
    try:
        table = parquet.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise Malformed(f"{part.path}: {error}") from error
    if not table.schema.equals(SCHEMA):
        raise Malformed(f"{part.path}: expected columns {SCHEMA.names}, got {table.schema.names}")
    return table


def _described(path: str, data: bytes, rows: int) -> Part:
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    return Part(path, len(data), md5, rows)

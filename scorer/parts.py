"""Parts: written under a random name of this process, and read back only as the report describes them."""

from __future__ import annotations

import base64
import hashlib
import logging
import uuid

import pyarrow as pa

from shared.contract import parts_prefix
from shared.domain import Part
from shared.errors import Malformed

from .results import SCHEMA, to_parquet
from .stores import Container

log = logging.getLogger(__name__)


def write(work: Container, run_id: str, chunk_id: str, table: pa.Table) -> tuple[Part, ...]:
    """The table as a part; none where it has no rows. Raises Unavailable, Misconfigured."""
    if not table.num_rows:
        return ()
    data = to_parquet(table)
    part = _described(f"{parts_prefix(run_id, chunk_id)}{uuid.uuid4().hex}.parquet", data, table.num_rows)
    work.write(part.path, data)
    log.info("part=%s bytes=%s", part.path, part.bytes)
    return (part,)


def read(work: Container, part: Part) -> pa.Table:
    """The rows of a part. Raises NotFound, Malformed where it is not the one described, Unavailable."""
    from pyarrow import parquet

    data = work.read(part.path).data
    found = _described(part.path, data, part.rows)
    if (found.bytes, found.md5) != (part.bytes, part.md5):
        wanted = f"{part.bytes} bytes with MD5 {part.md5}"
        raise Malformed(f"{part.path}: wanted {wanted}, found {found.bytes} with {found.md5}")
    try:
        table = parquet.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise Malformed(f"{part.path}: {error}") from error
    if not table.schema.equals(SCHEMA):
        raise Malformed(f"{part.path}: wanted columns {SCHEMA.names}, found {table.schema.names}")
    return table


def _described(path: str, data: bytes, rows: int) -> Part:
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    return Part(path, len(data), md5, rows)

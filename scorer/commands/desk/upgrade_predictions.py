"""`fleetscore predictions upgrade`: files of predictions of schema 1 are rewritten as schema 2, in place.

For readers that cannot unite columns by name. Each file is replaced in one step, and only if it is still what was read;
a file of schema 2 is not touched, so a command that was killed may be given again. The rows stay what they are.

A run whose rows are still in the ledger may be redriven or reprocessed afterwards: the rewritten blob says in its
metadata what it was (`Original`), and the app, from 0.2.0 on, takes it for the file that it committed. A redrive
of a run that was planned with schema 1 writes its hour in schema 1 again.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from pathlib import Path

import pyarrow as pa

from scorer.commands.options import name_option
from scorer.predictions.stored_files import list_files, read_schema
from scorer.predictions.table import NEWEST, SCHEMAS, PartWriter, encode_texts, identify_schema, upgrade_table
from scorer.storage.blob_store import Container, Folder, open_container
from shared.contract.domain import Original
from shared.contract.errors import Malformed, NotFound, Protected
from shared.contract.paths import is_prediction_path


def upgrade_files(location: str, storage: str = "", *, dry_run: bool = False) -> int:
    """Rewrite the files of a folder or of the container at a URL. Prints what is refused, and counts.

    Only files with the names and columns of predictions are rewritten; every other Parquet file is refused by its
    name, and so is one that a lease or a policy protects. *dry_run*: nothing is written. Returns 1 where a file was
    refused or changed meanwhile, else 0. Raises Malformed, Misconfigured and Unavailable where the files cannot be
    reached.
    """
    container = _open_location(location, storage)
    counts = Counter[str]()
    for path in list_files(container):
        try:
            counts[_upgrade_file(container, path, dry_run=dry_run)] += 1
        except (Malformed, Protected) as error:
            counts["refused"] += 1
            message = f"it is protected by {error.protection}" if isinstance(error, Protected) else error
            print(f"refused: {path}: {message}")
        except NotFound:
            counts["changed"] += 1
            print(f"changed: {path}: it was removed meanwhile")
    verb = "would be upgraded" if dry_run else "upgraded"
    print(
        f"{counts['upgraded']} files {verb}, {counts['current']} were of schema {NEWEST}, {counts['refused']} refused, "
        f"{counts['changed']} changed meanwhile, in {location}"
    )
    return 1 if counts["refused"] or counts["changed"] else 0


def _open_location(location: str, storage: str) -> Container:
    with name_option("FOLDER_OR_CONTAINER"):
        if "://" in location:
            return open_container(location, storage)
        if not Path(location).is_dir():
            raise Malformed(f"expected a folder or the URL of a container, got {location}")
        return Folder(Path(location))


def _upgrade_file(container: Container, path: str, *, dry_run: bool) -> str:
    """What became of the file: current, upgraded or changed. Raises Malformed for one that is refused, NotFound."""
    schema = read_schema(container, path)
    if schema is None:
        raise Malformed("expected Parquet, got something else")
    number = identify_schema(schema)
    if number is None:
        expected = " or ".join(", ".join(known_schema.names) for known_schema in SCHEMAS.values())
        raise Malformed(f"expected the columns {expected} with their types, got {', '.join(schema.names)}")
    if number == NEWEST:
        return "current"
    if not is_prediction_path(path):  # such as a part in the working container, whose report has its MD5
        raise Malformed("expected a name such as 20261121T0700Z-PT1H-c00000-0.parquet")
    if dry_run:
        return "upgraded"
    content = container.map(path)
    content.load([(0, len(content.data))])
    data = _rewrite_data(content.data)
    md5 = base64.b64encode(hashlib.md5(content.data, usedforsecurity=False).digest()).decode()
    original = Original(content.state.strip('"'), len(content.data), md5)
    if container.exchange(path, data, content.state, original.to_metadata()):
        return "upgraded"
    print(f"changed: {path}: it was replaced meanwhile")
    return "changed"


def _rewrite_data(data: memoryview) -> bytes:
    """The file in the newest schema, with the same row groups, read back and compared. Raises Malformed."""
    from pyarrow import parquet

    try:
        file, writer = parquet.ParquetFile(pa.BufferReader(pa.py_buffer(data))), PartWriter()
        for index in range(file.num_row_groups):
            writer.add_table(encode_texts(upgrade_table(file.read_row_group(index))))
        rewritten = writer.close()
        expected, actual = upgrade_table(file.read()), parquet.read_table(pa.BufferReader(rewritten))
    except (pa.ArrowException, ValueError, OSError) as error:
        raise Malformed(str(error)) from error
    if not actual.equals(expected):
        raise Malformed("expected the same rows in its upgraded form, got others")
    return rewritten

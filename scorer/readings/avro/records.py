"""The records of a file, by fastavro: values in columns, or records as documents where some column is nested.

fastavro gets blocks that were unpacked and checked, and a schema without logical types: it would make an object of each
time, and what becomes of it differs by type. Here a column of times is a column of numbers.
"""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import MAX_PREC, Context, Decimal
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa

from scorer.arrow import build_flags, build_numbers
from scorer.readings.cells import BROKEN, make_unreadable
from shared.contract.scoring_options import TimeFormat

from .container import SYNC_SIZE, Block, write_long
from .schema import Column, Type, simplify_schema

ROWS = 10_000  # records that are objects at once
_UNITS = {"millis": "ms", "micros": "us", "nanos": "ns"}
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_EXACT = Context(prec=MAX_PREC)
Getter = Callable[[Any], Any]


def read_records(record: Type, blocks: Iterable[Block]) -> Iterator[list[Any]]:
    """The records, at most ROWS at once, as fastavro gives them. Raises Unscorable.

    A block that its records do not fill is damaged: fastavro alone would read on.
    """
    sync, head = bytes(SYNC_SIZE), io.BytesIO()
    try:
        fastavro.writer(head, simplify_schema(record, set()), [], sync_marker=sync)
    except (*BROKEN, fastavro.schema.SchemaParseException) as error:
        raise make_unreadable(f"has an Avro schema that is none: {error}") from error
    for block in blocks:
        parts = (head.getvalue(), write_long(block.n_records), write_long(len(block.data)), block.data, sync)
        try:
            for unpacked in fastavro.block_reader(io.BytesIO(b"".join(parts))):
                content: io.BytesIO = unpacked.bytes_  # type: ignore[attr-defined]  # it is in the documentation only
                records = iter(unpacked)
                while rows := list(itertools.islice(records, ROWS)):
                    yield rows
                if content.tell() != len(block.data):
                    raise make_unreadable(
                        f"has bytes behind the {block.n_records} records of block {block.number}: it is damaged"
                    )
        except (*BROKEN, EOFError, TypeError, AttributeError) as error:
            raise make_unreadable(
                f"is damaged in its records: {type(error).__name__} in block {block.number}"
            ) from error


def find_getter(path: Sequence[str]) -> Getter:
    """What gives the cell of a column in a record; None where a record on the way is None."""
    first, *rest = path
    if not rest:
        return lambda record: record[first]

    def get_cell(record: Any) -> Any:
        for name in path:
            if record is None:
                return None
            record = record[name]
        return record

    return get_cell


def build_column(column: Column, records: Sequence[Any]) -> pa.Array:
    """The cells of a column. Raises Unscorable."""
    get_cell = find_getter(column.path)
    return build_cells([get_cell(record) for record in records], column.type)


def build_cells(cells: list[Any], kind: Type) -> pa.Array:
    """Cells of one type, as fastavro gives them. Raises Unscorable."""
    if unit := find_time_unit(kind):
        zone = None if kind.logical.startswith("local") else "UTC"
        return _build_numbers(cells, np.dtype(np.int64), pa.timestamp(unit, zone))
    if kind.kind == "int" and kind.logical == "date":
        return _build_numbers(cells, np.dtype(np.int32), pa.date32())
    if kind.logical == "decimal" and kind.kind in ("bytes", "fixed"):
        return _build_decimals(cells, kind.scale)
    return build_mixed(cells)


def build_mixed(cells: list[Any]) -> pa.Array:
    """Cells of truth values, numbers, texts and bytes: as numbers where all are, else as texts. Raises Unscorable."""
    kinds = set(map(type, cells)) - {type(None)}
    if kinds == {int}:
        return _build_numbers(cells, np.dtype(np.int64))
    if kinds and kinds <= {int, float}:
        return _build_numbers(cells, np.dtype(np.float64))
    if kinds == {bool}:
        return pa.array(cells, pa.bool_()) if None in cells else build_flags(np.array(cells, bool))
    if not kinds:
        return pa.nulls(len(cells))
    if kinds != {str}:
        cells = [_format_cell(cell) for cell in cells]
    return pa.array(cells, pa.string())


def _build_numbers(cells: list[Any], dtype: np.dtype[Any], kind: pa.DataType | None = None) -> pa.Array:
    if None not in cells:
        return build_numbers(np.array(cells, dtype), kind)
    null = np.fromiter((cell is None for cell in cells), bool, len(cells))
    return build_numbers(np.array([0 if cell is None else cell for cell in cells], dtype), kind, null)


def _build_decimals(cells: list[Any], scale: int) -> pa.Array:
    """Decimals whose digits are a number of bytes, the highest first."""
    decimals = [None if cell is None else _read_decimal(cell, scale) for cell in cells]
    return pa.array(decimals, pa.decimal256(76, scale))


def _read_decimal(cell: bytes, scale: int) -> Decimal:
    return Decimal(int.from_bytes(cell, "big", signed=True)).scaleb(-scale, _EXACT)


def find_time_unit(kind: Type) -> str:
    """The unit that a type counts since 1970, or "" where it is no time."""
    family, _, unit = kind.logical.rpartition("-")
    return _UNITS.get(unit, "") if kind.kind == "long" and family in ("timestamp", "local-timestamp") else ""


def _format_cell(cell: Any) -> str | None:
    """A cell among cells of other types, as text."""
    match cell:
        case None:
            return None
        case bool():
            return str(cell).lower()
        case bytes():
            return cell.decode("utf-8", "replace")
        case float() if cell.is_integer() and abs(cell) < 2**53:
            return str(int(cell))
        case _:
            return str(cell)


def format_documents(records: Iterable[Any], columns: Sequence[Column], form: TimeFormat) -> list[bytes]:
    """Records as documents of JSON, of which some column is nested: they are then read as any nested JSON is.

    Times are of the *form* that is expected of JSON.
    """
    getters = [(column.path, find_getter(column.path), column.type) for column in columns]
    documents: list[bytes] = []
    for record in records:
        document: dict[str, Any] = {}
        for path, get_cell, kind in getters:
            target = document
            for name in path[:-1]:
                target = target.setdefault(name, {})
            target[path[-1]] = _convert_cell(get_cell(record), kind, form)
        documents.append(json.dumps(document).encode())
    return documents


def _convert_cell(cell: Any, kind: Type, form: TimeFormat) -> Any:
    """A cell as JSON has it."""
    if cell is None:
        return None
    if kind.kind == "record":
        return {name: _convert_cell(cell[name], item.content, form) for name, item in kind.fields}
    if kind.kind == "array":
        return [_convert_cell(item, kind.items[0].content, form) for item in cell]
    if kind.kind == "map":
        return {key: _convert_cell(item, kind.items[0].content, form) for key, item in cell.items()}
    if unit := find_time_unit(kind):
        return _convert_time(cell, kind, unit, form)
    if kind.logical == "decimal" and isinstance(cell, bytes):
        return float(_read_decimal(cell, kind.scale))
    return _convert_value(cell)


def _convert_time(cell: int, kind: Type, unit: str, form: TimeFormat) -> Any:
    if form is not TimeFormat.ISO:
        return cell * _PER_SECOND[form] / _PER_SECOND[unit]
    zone = "" if kind.logical.startswith("local") else "Z"
    return f"{np.array(cell).astype(f'datetime64[{unit}]')}{zone}"


def _convert_value(cell: Any) -> Any:
    """A value of no special type, also of a union of several."""
    match cell:
        case dict():
            return {key: _convert_value(value) for key, value in cell.items()}
        case list():
            return [_convert_value(value) for value in cell]
        case bytes():
            return cell.decode("utf-8", "replace")
        case float() if not math.isfinite(cell):
            return None
    return cell

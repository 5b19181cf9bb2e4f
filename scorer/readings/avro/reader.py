"""An Avro file -> its rows as an Arrow table: events with a Body, or plain records."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import pyarrow as pa

from scorer.arrow import build_numbers
from scorer.readings.cells import BROKEN, combine_chunks, make_unreadable
from scorer.readings.column_names import check_columns
from scorer.readings.nested.json_reader import read_documents
from scorer.readings.projection import EVERYTHING, Projection
from scorer.readings.text_reader import Table
from shared.contract.model_names import Columns
from shared.contract.scoring_options import BadRows, ReadingOptions

from .bodies import read_bodies, unite_tables
from .container import AVRO, Block, read_blocks, read_header
from .events import convert_times, is_envelope_name, read_events
from .records import build_column, format_documents, read_records
from .schema import Type, is_envelope, list_columns, parse_schema

PREFIX = "Body."  # may stand before the name of a column of the Body


@dataclass(frozen=True, slots=True)
class LostEvents:
    """Events of a file that gave no row."""

    n_empty: int = 0  # without a Body
    n_invalid: int = 0  # with one that is neither JSON nor CSV, or a damaged one


NONE_LOST = LostEvents()


@dataclass(frozen=True, slots=True)
class AvroRows:
    """The rows of a file, or None where it has none."""

    table: Table | None
    lost: LostEvents = NONE_LOST


def is_compressed(start: bytes) -> bool:
    """Whether a file that begins so is of Avro and compressed, as far as its beginning shows it."""
    return start.startswith(AVRO) and b"avro.codec\x08null" not in start


def read_avro(
    data: bytes,
    columns: Columns,
    policy: ReadingOptions,
    projection: Projection = EVERYTHING,
    keys: Collection[str] = (),
) -> AvroRows:
    """The rows of a file that begins with `Obj` and 1. Raises Unscorable.

    It may lack columns that are *keys* of its folders.
    """
    header = read_header(data)
    record, lost = parse_schema(header.schema), NONE_LOST
    blocks = read_blocks(data, header)
    try:
        if is_envelope(record):
            rows, lost = _read_envelope(record, blocks, columns, policy, projection, keys)
        else:
            rows = _read_plain(record, blocks, columns, policy)
        return AvroRows(_make_table(rows, columns, policy, keys) if rows.num_rows else None, lost)
    except BROKEN as error:
        raise make_unreadable(str(error)) from error


def _make_table(rows: pa.Table, columns: Columns, policy: ReadingOptions, keys: Collection[str]) -> Table:
    check_columns(rows.column_names, columns, keys)
    name = columns.sensor
    has_sensor = name in rows.column_names and rows[name].null_count < rows.num_rows
    return Table(columns, rows, has_sensor, policy.time, policy.time_zone, policy.missing_values)


def _read_envelope(
    record: Type,
    blocks: Iterator[Block],
    columns: Columns,
    policy: ReadingOptions,
    projection: Projection,
    keys: Collection[str],
) -> tuple[pa.Table, LostEvents]:
    """The rows of the bodies, and beside them the columns of their events that are asked for."""
    roles = columns.roles.values()
    names = [*dict.fromkeys(name for name in (*roles, *sorted(projection.names)) if is_envelope_name(name))]
    bodies, parts = list[bytes | None](), list[Mapping[str, pa.Array]]()
    for events in read_events(record, blocks, names):
        bodies += events.bodies
        parts.append(events.envelope)
    inner = replace(columns, **{key: name.removeprefix(PREFIX) for key, name in asdict(columns).items()})
    required = {name for name in (inner.time, inner.device) if not is_envelope_name(name) and name not in keys}
    content = read_bodies(bodies, inner, policy, EVERYTHING, required)
    lost = LostEvents(content.n_empty, content.n_invalid)
    if lost.n_invalid and policy.bad_rows is BadRows.FAIL:
        raise make_unreadable(
            f"has {lost.n_invalid} events whose Body cannot be read: expected JSON, or CSV with a header"
        )
    rows = _add_prefix(content.rows, {*roles, *projection.names})
    for name in names:
        if name in rows.column_names and name not in roles:
            continue  # a feature of this name is the one in the Body
        column = unite_tables([pa.table({name: part[name]}) for part in parts])[name]
        column = convert_times(name, combine_chunks(column)).take(build_numbers(content.event))
        if name in rows.column_names:
            rows = rows.drop_columns([name])
        rows = rows.append_column(name, column)
    return rows, lost


def _add_prefix(rows: pa.Table, names: Collection[str]) -> pa.Table:
    """The columns of bodies, those under the names with a prefix by which some of *names* ask for them."""
    for name in sorted(names):
        plain = name.removeprefix(PREFIX)
        if name != plain and plain in rows.column_names and name not in rows.column_names:
            if plain in names:
                rows = rows.append_column(name, rows[plain])
            else:
                rows = rows.rename_columns([name if column == plain else column for column in rows.column_names])
    return rows


def _read_plain(record: Type, blocks: Iterator[Block], columns: Columns, policy: ReadingOptions) -> pa.Table:
    """The columns of records. Where one is nested they are documents, which are read as those of JSON."""
    fields = list_columns(record)
    is_nested = bool(columns.features) or any(field.type.is_nested for field in fields)
    tables = [pa.table({})]
    for records in read_records(record, blocks):
        if is_nested:
            documents = format_documents(records, fields, policy.time)
            tables.append(read_documents(documents, columns, policy)[0])
        else:
            tables.append(
                pa.table([build_column(field, records) for field in fields], [field.name for field in fields])
            )
    return unite_tables(tables)

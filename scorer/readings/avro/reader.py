"""An Avro file -> its rows as an Arrow table: events with a Body, or plain records."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from scorer.arrow import build_numbers
from scorer.errors import Unscorable
from scorer.readings.cells import BROKEN, combine_chunks, make_unreadable
from scorer.readings.column_names import check_columns, list_features, suggest_columns
from scorer.readings.formats.remarks import NO_REMARKS, Remarks
from scorer.readings.formats.text_reader import Table
from scorer.readings.nested.json_reader import list_document_leaves, read_documents
from scorer.readings.nested.leaves import BODY, EVERY, explain_missing, list_roles, refuse_repeated
from scorer.readings.nested.table_union import unite_tables
from scorer.readings.projection import EVERYTHING, Projection
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions

from .bodies import is_json, read_bodies, strip_body
from .container import Block, group_blocks, read_blocks, read_header
from .events import FIELDS, convert_times, is_envelope_name, read_events
from .flat_records import FlatSchema
from .records import build_column, format_documents, read_records
from .schema import Column, Type, is_envelope, list_columns, parse_schema
from .walk import MAPS

ENQUEUED = "EnqueuedTimeUtc"
GROUP = 4 * 2**20  # bytes of records that are read at once
_DEVICES = ("iothub-connection-device-id", "connectionDeviceId")  # in Capture's files, and in those of routed messages
PREFIX = "Body."  # may stand before the name of a column of the Body


@dataclass(frozen=True, slots=True)
class _Content:
    """The rows of a file, perhaps none, and what it showed."""

    rows: pa.Table
    extra: tuple[str, ...] = ()  # features that are beside the bodies, or a second time in the rows
    remarks: Remarks = NO_REMARKS


def read_avro(
    data: bytes,
    columns: Columns,
    policy: ReadingOptions,
    projection: Projection = EVERYTHING,
    keys: Collection[str] = (),
) -> Table:
    """The rows of a file that begins with `Obj` and 1, perhaps none. Raises Unscorable.

    It may lack columns that are *keys* of its folders.
    """
    header = read_header(data)
    record, blocks = parse_schema(header.schema), read_blocks(data, header)
    try:
        if is_envelope(record):
            content = _read_envelope(record, blocks, columns, policy, projection, keys)
            names = content.rows.column_names
            if content.rows.num_rows and not {columns.time, columns.device} <= {*names, *keys}:
                raise _make_hint(names, columns, next(read_records(record, read_blocks(data, header)))[0])
        else:
            content = _read_plain(record, blocks, columns, policy, projection, keys)
        return _make_table(content, columns, policy, keys)
    except BROKEN as error:
        raise make_unreadable(str(error)) from error


def _make_table(content: _Content, columns: Columns, policy: ReadingOptions, keys: Collection[str]) -> Table:
    rows, name, remarks = content.rows, columns.sensor, content.remarks
    if not rows.num_rows:
        return Table(columns, pa.table({}), has_sensor=False, time_format=policy.time, remarks=remarks)
    check_columns(rows.column_names, columns, keys)
    has_sensor = name in rows.column_names and rows[name].null_count < rows.num_rows
    return Table(
        columns, rows, has_sensor, policy.time, policy.time_zone, policy.missing_values, keys=content.extra,
        remarks=remarks,
    )  # fmt: skip


def _make_hint(names: Sequence[str], columns: Columns, event: Mapping[str, Any]) -> Unscorable:
    """The error of events whose rows have no time or no device, with the names that the first event has."""
    properties = [f"{prefix}.{key}" for prefix in MAPS for key in event.get(prefix) or {}]
    beside = sorted([name for name in FIELDS if name in event] + properties)
    options = suggest_columns(names, columns)
    devices = [name for name in beside if name.endswith(_DEVICES)]
    if columns.device not in names and "device=" not in options and devices:
        time = columns.time if columns.time in names else ENQUEUED
        options = f"; set READINGS_COLUMNS (--columns) time={time},device={devices[0]}"
    return make_unreadable(
        f"expected columns {columns.time!r}, {columns.device!r} and {columns.value!r} or features, got "
        f"{', '.join(map(repr, names[:20]))}, and beside the Body of its events {', '.join(map(repr, beside[:20]))}"
        f"{options}"
    )


def _read_envelope(
    record: Type,
    blocks: Iterator[Block],
    columns: Columns,
    policy: ReadingOptions,
    projection: Projection,
    keys: Collection[str],
) -> _Content:
    """The rows of the bodies; beside them the columns of their events that are asked for, the features among them."""
    roles = columns.roles.values()
    names = [*dict.fromkeys(name for name in (*roles, *sorted(projection.names)) if is_envelope_name(name))]
    bodies, parts = list[bytes | None](), list[Mapping[str, pa.Array]]()
    for events in read_events(record, blocks, names):
        bodies += events.bodies
        parts.append(events.envelope)
    inner = _strip_prefix(columns)
    required = {name for name in (inner.time, inner.device) if not is_envelope_name(name) and name not in keys}
    content = read_bodies(bodies, inner, policy, required)
    rows, extra = _add_prefix(content.rows, {*roles, *projection.names})
    if not list_features(rows.column_names, columns, keys):  # what lacks, and the option that helps
        documents = [*filter(is_json, map(strip_body, bodies))]
        leaves = [*list_document_leaves(documents, inner, policy), *content.leaves]
        if leaves and (problem := explain_missing(leaves, inner, {*keys, *names})):
            raise make_unreadable(problem)
    if not rows.num_rows:
        return _Content(rows, remarks=content.remarks)
    names = [name for name in names if name in roles or name not in rows.column_names]  # a feature is of the Body first
    rows = rows.drop_columns([name for name in names if name in rows.column_names])
    for name in names:
        column = unite_tables([pa.table({name: part[name]}) for part in parts], columns.time, policy.time)[name]
        if name in roles and column.null_count == len(column):
            continue  # as a column that a file lacks: the message names those that it has
        rows = rows.append_column(name, convert_times(name, combine_chunks(column)).take(build_numbers(content.event)))
    extra += tuple(name for name in names if name not in roles)
    return _Content(rows, extra, content.remarks)


def _strip_prefix(columns: Columns) -> Columns:
    """The names of columns within the Body."""
    names = {**columns.roles, "features": columns.features}
    step = columns.step and replace(columns.step, field=columns.step.field.removeprefix(PREFIX))
    inner = replace(columns, **{key: name.removeprefix(PREFIX) for key, name in names.items()}, step=step)
    return replace(inner, features=EVERY) if columns.features == BODY else inner


def _add_prefix(rows: pa.Table, names: Collection[str]) -> tuple[pa.Table, tuple[str, ...]]:
    """The columns of bodies under the names by which *names* ask for them, and those that this adds."""
    added = list[str]()
    for name in sorted(names):
        plain = name.removeprefix(PREFIX)
        if name != plain and plain in rows.column_names and name not in rows.column_names:
            if plain in names:
                rows = rows.append_column(name, rows[plain])
                added.append(name)
            else:
                rows = rows.rename_columns([name if column == plain else column for column in rows.column_names])
    return rows, tuple(added)


def _read_plain(
    record: Type,
    blocks: Iterator[Block],
    columns: Columns,
    policy: ReadingOptions,
    projection: Projection,
    keys: Collection[str],
) -> _Content:
    """The columns of records.

    Where a field is an array or a map they are documents, which are read as those of JSON.
    """
    fields = list_columns(record)
    is_nested = any(field.type.is_nested for field in fields)
    selected = {} if is_nested else _select_fields(fields, columns, projection)
    tables, n_invalid = list[pa.Table](), 0
    has_ids = {columns.time, columns.device} <= {*selected, *keys}
    flat = FlatSchema.find(record) if has_ids else None
    for group in group_blocks(blocks, GROUP):
        table = flat.read_columns(group, selected) if flat else None
        if table is not None and table.num_columns:
            tables.append(table)
            continue
        for records in read_records(record, group):
            if is_nested:
                rows, _, n_bad = read_documents(format_documents(records, fields, policy.time), columns, policy)
                tables.append(rows)
                n_invalid += n_bad
            elif has_ids:
                tables.append(pa.table({name: build_column(field, records) for name, field in selected.items()}))
            else:
                check_columns([field.name for field in fields], columns, keys)
    return _Content(unite_tables(tables, columns.time, policy.time), remarks=Remarks(n_invalid=n_invalid))


def _select_fields(fields: Sequence[Column], columns: Columns, projection: Projection) -> dict[str, Column]:
    """The columns that are read, as of JSON: times and ids of any name, features at the top or below a prefix.

    Raises Unscorable where a feature that is needed would be taken for another column.
    """
    roles, prefix = list_roles(columns), f"{columns.features}."
    if not columns.features:
        return {field.name: field for field in fields if field.name in roles or len(field.path) == 1}
    ids = (columns.time, columns.device, columns.sensor)
    below = {field.name.removeprefix(prefix): field for field in fields if field.name.startswith(prefix)}
    refuse_repeated([*projection.select_features(tuple(below), has_sensor=True)], columns)
    features = {name: field for name, field in below.items() if name not in ids and field.name not in roles}
    return {field.name: field for field in fields if field.name in roles} | features

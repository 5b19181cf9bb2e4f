"""Tables of parts of a file -> one, whose columns are united by name, whatever their types."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pyarrow as pa

from scorer.arrow import build_numbers
from scorer.readings.cells import is_text
from scorer.readings.time_zones import NO_TIME
from scorer.readings.timestamps import read_instants
from shared.contract.scoring_options import TimeFormat


def unite_tables(tables: Sequence[pa.Table], time: str, form: TimeFormat) -> pa.Table:
    """The rows of all tables, with the columns of all.

    Numbers of several types become the wider one. Where some cells are texts, or truth values beside numbers, all
    become texts, and so do timestamps of several kinds in the column *time*; where *form* says that times are numbers,
    they become timestamps instead. Raises Unscorable, and pa.ArrowException for types that have none in common.
    """
    tables = _unify_times(tables, time, form)
    kinds: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for field in table.schema:
            kinds.setdefault(field.name, set()).add(field.type)
    several = {name: types - {pa.null()} for name, types in kinds.items() if len(types - {pa.null()}) > 1}
    texts = {name for name, types in several.items() if any(map(_needs_texts, types))}
    if time in several and all(map(pa.types.is_timestamp, several[time])):
        texts.add(time)
    tables = [_convert_to_texts(table, texts) for table in tables]
    if len(tables) == 1:
        return tables[0]
    return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})


def _needs_texts(kind: pa.DataType) -> bool:
    """Whether cells of this type and of another one have only text in common."""
    return is_text(kind) or bool(pa.types.is_boolean(kind))


def _convert_to_texts(table: pa.Table, names: Collection[str]) -> pa.Table:
    """The table with these columns as texts."""
    for index, field in enumerate(table.schema):
        if field.name in names and (not is_text(field.type) or pa.types.is_dictionary(field.type)):
            table = table.set_column(index, field.name, table[field.name].cast(pa.string()))
    return table


def _unify_times(tables: Sequence[pa.Table], name: str, form: TimeFormat) -> list[pa.Table]:
    """The tables; where numbers since 1970 lie beside timestamps, or fractions beside texts, all times are timestamps.

    As texts neither timestamps nor large fractions would be such numbers. Raises Unscorable.
    """
    kinds = {table.schema.field(name).type for table in tables if name in table.column_names} - {pa.null()}
    has_times = any(map(pa.types.is_timestamp, kinds))
    has_fractions = any(map(pa.types.is_floating, kinds)) and any(map(is_text, kinds))
    if form is TimeFormat.ISO or len(kinds) < 2 or not (has_times or has_fractions):  # noqa: PLR2004  # one type of time
        return list(tables)
    return [_convert_times(table, name, form) for table in tables]


def _convert_times(table: pa.Table, name: str, form: TimeFormat) -> pa.Table:
    """The table with its numbers since 1970 as timestamps; null where a cell is none."""
    index = table.schema.get_field_index(name)
    if index < 0 or pa.types.is_null(table.schema.field(index).type) or pa.types.is_timestamp(table[name].type):
        return table
    column = table[name].cast(pa.string()) if pa.types.is_boolean(table[name].type) else table[name]
    micros = read_instants(column, name, form).micros
    return table.set_column(index, name, build_numbers(micros, pa.timestamp("us", "UTC"), null=micros == NO_TIME))

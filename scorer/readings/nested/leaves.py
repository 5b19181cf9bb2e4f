"""Which fields of nested objects are columns: times, ids, values and features, each by its dotted name.

A field of an object has the name `object.field`; a column whose own name holds the dots has the same. Of the messages
that IoT Hub routes, the fields of `Body` go without that name, and those beside it are never features by themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scorer.readings.cells import make_unreadable
from scorer.readings.column_names import suggest_columns
from scorer.readings.projection import Projection
from shared.contract.model_names import Columns

BODY, ENVELOPE = "Body", ("SystemProperties", "EnqueuedTimeUtc")
SHOWN = 5  # names in a message: behind them stands the setting that helps
EVERY = "*"  # instead of a prefix: all fields are features, also those of objects; no setting can be this
_SETTING = "READINGS_COLUMNS (--columns)"


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """A field with values: its dotted name, its path, and where its column is in a table of structs."""

    name: str
    path: tuple[str, ...]
    table: pa.Table
    indices: tuple[int, ...]
    kind: pa.DataType
    is_beside: bool = False  # it is beside the body of a routed message

    @property
    def is_list(self) -> bool:
        """Whether its values are arrays of single values."""
        return is_series(self.kind)

    def read_column(self) -> pa.ChunkedArray:
        """Its values."""
        column = self.table.column(self.indices[0])
        return pc.struct_field(column, self.indices[1:]) if len(self.indices) > 1 else column


@dataclass(frozen=True, slots=True)
class Block:
    """The fields of objects, and the index of each row's object. *left_out* objects have no rows, but a bad body."""

    leaves: list[Leaf]
    index: np.ndarray
    n_objects: int
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """The columns of one table that are read."""

    rows: pa.Table
    unread: tuple[str, ...]  # features that no model needs
    steps: pa.ChunkedArray | None  # the column of the time between the values of an array
    roles: dict[str, tuple[str, ...]]  # the path of each column that is no feature, by its name


def is_series(kind: pa.DataType) -> bool:
    """Whether cells are arrays of single values."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind)) and not pa.types.is_nested(kind.value_type)


def is_envelope(names: Collection[str]) -> bool:
    """Whether objects with these names are messages that IoT Hub routed."""
    return BODY in names and any(name in names for name in ENVELOPE)


def list_leaves(table: pa.Table, names: Collection[str] | None = None, *, is_beside: bool = False) -> list[Leaf]:
    """The leaves of some columns of a table, or of all."""
    leaves: list[Leaf] = []
    for index, field in enumerate(table.schema):
        if names is None or field.name in names:
            _add_leaves(leaves, table, (index,), (field.name,), field.type, is_beside=is_beside)
    return leaves


def list_body_leaves(table: pa.Table) -> list[Leaf]:
    """The leaves of a body that is an object, without its name."""
    leaves: list[Leaf] = []
    index = table.column_names.index(BODY)
    if pa.types.is_null(table.schema.field(index).type):
        return []
    _add_leaves(leaves, table, (index,), (), table.schema.field(index).type, is_beside=False)
    return leaves


def _add_leaves(
    leaves: list[Leaf], table: pa.Table, indices: tuple[int, ...], path: tuple[str, ...], kind: pa.DataType, *,
    is_beside: bool,
) -> None:  # fmt: skip
    if not pa.types.is_struct(kind):
        leaves.append(Leaf(".".join(path), path, table, indices, kind, is_beside))
        return
    for index, field in enumerate(kind):
        _add_leaves(leaves, table, (*indices, index), (*path, field.name), field.type, is_beside=is_beside)


def find_matches(leaves: Sequence[Leaf], name: str) -> list[Leaf]:
    """The leaves that a dotted name of the settings means; fields of a body also with its name."""
    matches = [leaf for leaf in leaves if leaf.name == name]
    if not matches and name.startswith(f"{BODY}.") and any(leaf.is_beside for leaf in leaves):
        matches = [leaf for leaf in leaves if not leaf.is_beside and leaf.name == name.removeprefix(f"{BODY}.")]
    return matches


def find_single(leaves: Sequence[Leaf], name: str) -> Leaf | None:
    """The one leaf of a name, or None. Raises Unscorable where there are several."""
    matches = find_matches(leaves, name)
    if len(matches) > 1:
        ways = " and ".join(sorted({repr(list(leaf.path)) for leaf in matches}))
        raise make_unreadable(f"has {name!r} in two ways, {ways}: rename one of them, or set {_SETTING} to another")
    return matches[0] if matches else None


def select_leaves(leaves: Sequence[Leaf], columns: Columns, projection: Projection) -> Selection:
    """The columns that are read. Raises Unscorable where a name has two meanings."""
    roles = {name: leaf for name in list_roles(columns) if (leaf := find_single(leaves, name))}
    step = columns.step
    step_leaf = find_single(leaves, step.field) if step and step.field else None
    features = _list_features(leaves, columns, [*roles.values(), *([step_leaf] if step_leaf else [])])
    value_name = (columns.value,) if columns.value in roles and not columns.features else ()
    needed = set(
        projection.select_features((*value_name, *(name for name, _ in features)), has_sensor=True, value=columns.value)
    )
    if not columns.step:
        _refuse_series([name for name, leaf in features if leaf.is_list and name in projection.names])
        _refuse_series([name for name in value_name if roles[name].is_list])
        features = [(name, leaf) for name, leaf in features if not leaf.is_list]
    refuse_repeated([name for name, _ in features if name in needed], columns)
    selected = {**roles, **{name: leaf for name, leaf in features if name in needed}}
    places = {id(leaf): place for place, leaf in enumerate(leaves)}
    ordered = [name for name in (columns.time, columns.device, columns.sensor) if name in selected]
    ordered += sorted(selected.keys() - set(ordered), key=lambda name: places[id(selected[name])])
    rows = pa.table({name: selected[name].read_column() for name in ordered})
    unread = tuple(dict.fromkeys(name for name, _ in features if name not in selected))
    return Selection(
        rows, unread, step_leaf.read_column() if step_leaf else None, {name: leaf.path for name, leaf in roles.items()}
    )


def list_roles(columns: Columns) -> list[str]:
    """The names of single columns. With a name for the features there is no column of values."""
    return [name for role, name in columns.roles.items() if not (columns.features and role == "value")]


def _list_features(leaves: Sequence[Leaf], columns: Columns, role_leaves: Sequence[Leaf]) -> list[tuple[str, Leaf]]:
    """The leaves that are features, each with its name."""
    rest = [leaf for leaf in leaves if leaf not in role_leaves and (leaf.is_list or not pa.types.is_nested(leaf.kind))]
    if not columns.features:
        return [(leaf.name, leaf) for leaf in rest if len(leaf.path) == 1 and not leaf.is_beside and leaf.path[0]]
    has_body = any(leaf.is_beside for leaf in leaves)
    if columns.features == EVERY or (has_body and columns.features == BODY):
        return [(leaf.name, leaf) for leaf in rest if not leaf.is_beside]
    prefix = f"{columns.features}."
    if has_body and prefix.startswith(f"{BODY}."):
        rest = [leaf for leaf in rest if not leaf.is_beside]
        prefix = prefix.removeprefix(f"{BODY}.")
    return [(leaf.name.removeprefix(prefix), leaf) for leaf in rest if leaf.name.startswith(prefix)]


def _refuse_series(names: list[str]) -> None:
    if names:
        raise make_unreadable(
            f"column {names[0]!r} holds arrays of values; set {_SETTING} step=10s, the time between two values, or "
            "step=FIELD:s for a field of each object that has it"
        )


def refuse_repeated(names: list[str], columns: Columns) -> None:
    """Raises Unscorable where a feature has the name of another, or of times or ids, which it would be taken for."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise make_unreadable(
            f"has the column {repeated[0]!r} more than once: within an object and as a name with dots"
        )
    for name in names:
        if columns.features and name in (columns.time, columns.device, columns.sensor):
            raise make_unreadable(
                f"has the feature {columns.features}.{name}, which would be named as the column {name!r} of times or "
                f"ids; set {_SETTING} to another name for that column"
            )


def explain_missing(leaves: Sequence[Leaf], columns: Columns, keys: Collection[str]) -> str:
    """What lacks of the columns of readings, and the setting that helps; "" where nothing lacks."""
    has_ids = all(find_matches(leaves, name) or name in keys for name in (columns.time, columns.device))
    role_leaves = [leaf for name in list_roles(columns) for leaf in find_matches(leaves, name)]
    fields = [leaf for leaf in leaves if leaf not in role_leaves]
    features = _list_features(leaves, columns, role_leaves)
    has_value = bool(not columns.features and find_matches(leaves, columns.value))
    series = [name for name, leaf in features if leaf.is_list]
    if has_ids and not columns.step and len(series) == len(features) > 0 and not has_value:
        _refuse_series(series)
    if has_ids and (features or has_value):
        return ""
    names = [leaf.name for leaf in leaves]
    listed = f"{', '.join(map(repr, names[:SHOWN]))}{', ...' * (len(names) > SHOWN)}"
    prefix = BODY if columns.features == EVERY else columns.features
    expected = f"features below {prefix!r}" if columns.features else f"{columns.value!r} or features"
    advice = suggest_columns(names, columns)
    if not features and not has_value and (proposed := _find_prefix(fields)):
        advice = f"{advice}," if advice else f"; set {_SETTING} "
        advice += f"features={proposed}.*"
    return f"expected columns {columns.time!r}, {columns.device!r} and {expected}, got {listed or 'no field'}{advice}"


def _find_prefix(fields: Sequence[Leaf]) -> str:
    """The object at the top that holds most fields, first of numbers; "" where there is none."""
    counts = Counter(
        {leaf.path[0]: 0 for leaf in fields if len(leaf.path) > 1 and not leaf.is_beside}
    )  # fmt: skip
    for leaf in fields:
        if leaf.path[0] in counts:
            is_number = pa.types.is_integer(leaf.kind) or pa.types.is_floating(leaf.kind)
            counts[leaf.path[0]] += 1000 if is_number else 1
    return counts.most_common(1)[0][0] if counts else ""

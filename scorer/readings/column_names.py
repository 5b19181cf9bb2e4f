"""What the names of a file's columns say: whether it is long, which are features, and what to set where one lacks.

An index that pandas stores without a name may be the column of times, and is never a feature. Here too: the errors of
models that need other columns.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import pyarrow as pa

from scorer.errors import Unscorable
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason

from .cells import make_unreadable

INDICES = ("__index_level_0__", "")  # the names of pandas' unnamed index in Parquet and in CSV

# Usual names, in small letters without blanks and signs. They are proposed in messages, and never taken silently.
_USUAL = {
    "time": ("time", "timestamp", "ts", "t", "datetime", "eventtime", "instant"),
    "device": ("device", "deviceid", "asset", "assetid", "machine", "machineid", "meter", "meterid", "equipment", "id"),
    "sensor": ("sensor", "sensorid", "tag", "tagid", "signal", "channel", "metric"),
    "value": ("value", "val", "reading"),
}


def list_single(schema: pa.Schema, columns: Columns) -> list[str]:
    """The columns with one value in each row, and those with a role: lists, structs and maps are never features."""
    kinds = {kind.id: kind for kind in schema.types}  # few, where columns may be very many
    if not any(map(_is_nested, kinds.values())) and not any(
        isinstance(k, pa.BaseExtensionType) for k in kinds.values()
    ):
        return list(schema.names)
    roles = {columns.time, columns.device, columns.sensor, columns.value}
    return [field.name for field in schema if field.name in roles or not _is_nested(field.type)]


def _is_nested(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind))


def is_long(names: Sequence[str], columns: Columns, keys: Collection[str] = ()) -> bool:
    """Whether a file has one reading a row: a value column, and beside it a sensor's or no other feature.

    *keys* are those of its folders, which may name the sensor.
    """
    has_sensor = columns.sensor in names or columns.sensor in keys
    return columns.value in names and (has_sensor or len(list_others(names, columns)) == 1)


def list_features(names: Sequence[str], columns: Columns, keys: Collection[str] = ()) -> tuple[str, ...]:
    """The columns of a file that hold numbers, in its order."""
    return (columns.value,) if is_long(names, columns, keys) else list_others(names, columns)


def list_others(names: Sequence[str], columns: Columns) -> tuple[str, ...]:
    """The columns of a file beside those of times and ids; not an index that pandas stores without a name."""
    ids = (columns.time, columns.device, columns.sensor)
    return tuple(name for name in names if name and name not in ids and not name.startswith("__index_level_"))


def check_columns(names: list[str], columns: Columns, keys: Collection[str] = ()) -> None:
    """Raises Unscorable unless a file, or the *keys* of its folders, has the columns of readings, each once."""
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise make_unreadable(f"has the column {repeated[0]!r} more than once")
    if not {columns.time, columns.device} <= {*names, *keys} or not list_features(names, columns):
        raise make_unreadable(
            f"expected columns {columns.time!r}, {columns.device!r} and {columns.value!r} or features, "
            f"got {list_names(names)}{suggest_columns(names, columns)}"
        )


def list_names(names: Sequence[str]) -> str:
    """The first of the names of a file, for a message."""
    return f"{', '.join(map(repr, names[:20]))}{', ...' * (len(names) > 20)}"  # noqa: PLR2004  # a readable message


def adopt_index(columns: Columns, names: Collection[str], indices: Collection[str]) -> Columns:
    """The columns with an unnamed index as that of times, where a file has no other; *indices* are those of times."""
    for index in INDICES:
        if columns.time not in names and index in names and index in indices:
            return replace(columns, time=index)
    return columns


def suggest_columns(names: Sequence[str], columns: Columns) -> str:
    """The end of a message: the option that names the columns of this file, or "" where none of them looks like it."""
    settings, present = columns.roles, {name for name in columns.roles.values() if name in names}
    proposed: dict[str, str] = {}
    for key, name in settings.items():
        if name not in names and (match := _find_usual(key, name, names, present)):
            proposed[key] = match
            present.add(match)
    if not {"time", "device"} & proposed.keys():
        return ""
    if settings["value"] not in names and "value" not in proposed:
        proposed.pop("sensor", None)  # a wide file: that column is a feature
    differing = {key: name for key, name in settings.items() if name != getattr(Columns(), key) and name in names}
    pairs = {key: proposed.get(key, differing.get(key)) for key in settings}
    return "; set READINGS_COLUMNS (--columns) " + ",".join(f"{key}={name}" for key, name in pairs.items() if name)


def _find_usual(key: str, expected: str, names: Sequence[str], present: Collection[str]) -> str:
    """A column whose name is *expected* but for its letters' case, or else a usual one; "" where there is none."""
    free = [name for name in names if name not in present and name == name.strip() and not set(name) & set(",=")]
    spellings = (_simplify(expected), *_USUAL[key])
    for names_as_spelled in (free, [name.rpartition(".")[2] for name in free]):  # of a field within an object its own
        for spelling in spellings:
            for name, text in zip(free, names_as_spelled, strict=True):
                if _simplify(text) == spelling:
                    return name
    return "__index_level_0__" if key == "time" and "__index_level_0__" in free else ""


def _simplify(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def check_names(available: Collection[str], names: tuple[str, ...], *, takes_gaps: bool) -> None:
    """Raise MISSING_FEATURES where the readings lack an expected feature; a model that takes gaps needs one of them."""
    missing = tuple(name for name in names if name not in available)
    _check_blanks(available, missing)
    if missing and not (takes_gaps and len(missing) < len(names)):
        raise Unscorable(
            Reason.MISSING_FEATURES,
            f"expected {format_names(names)}; the readings have {format_names(tuple(available))} and lack "
            f"{format_names(missing)}{suggest_near(available, missing)}",
        )


def suggest_near(available: Collection[str], missing: Sequence[str]) -> str:
    """The end of a message: a name of the readings that differs from a missing one in case, blanks or signs, or ""."""
    spelling = {_simplify(name): name for name in available}
    near = [(name, spelling[_simplify(name)]) for name in missing if _simplify(name) in spelling]
    return f"; {near[0][1]!r} is not {near[0][0]!r}: rename one of them" if near else ""


def _check_blanks(available: Collection[str], missing: tuple[str, ...]) -> None:
    """Raise MISSING_FEATURES where a feature lacks only because its name has underscores for a column's blanks.

    So LightGBM writes names. A model that takes gaps would else be scored without that feature, and without a word.
    """
    spelling = {name.replace(" ", "_"): name for name in available if " " in name}
    if near := [name for name in missing if name in spelling]:
        raise Unscorable(
            Reason.MISSING_FEATURES,
            f"expected {near[0]!r}; the readings have {spelling[near[0]]!r}. LightGBM writes underscores for blanks: "
            "rename the column, or give the model a sidecar with the names as the readings have them",
        )


def check_count(available: tuple[str, ...], count: int | None) -> None:
    """Raise WRONG_FEATURES unless there are as many features as expected."""
    if count not in (None, len(available)):
        plural = "s" * (count != 1)
        raise Unscorable(
            Reason.WRONG_FEATURES, f"expected {count} feature{plural}; the readings have {format_names(available)}"
        )


def format_names(names: tuple[str, ...]) -> str:
    """How many names, and the first eight of them."""
    return f"{len(names)} ({', '.join(names[:8])}{', ...' * (len(names) > 8)})"  # noqa: PLR2004  # a readable message

"""The columns of a file that the settings do not name: what to set, and the index that pandas stores without a name."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace

from shared.contract.model_names import Columns

INDICES = ("__index_level_0__", "")  # the names of pandas' unnamed index in Parquet and in CSV

# Usual names, in small letters without blanks and signs. They are proposed in messages, and never taken silently.
_USUAL = {
    "time": ("time", "timestamp", "ts", "t", "datetime", "eventtime", "instant"),
    "device": ("device", "deviceid", "asset", "assetid", "machine", "machineid", "meter", "meterid", "equipment", "id"),
    "sensor": ("sensor", "sensorid", "tag", "tagid", "signal", "channel", "metric"),
    "value": ("value", "val", "reading"),
}


def adopt_index(columns: Columns, names: Collection[str], indices: Collection[str]) -> Columns:
    """The columns with an unnamed index as that of times, where a file has no other; *indices* are those of times."""
    for index in INDICES:
        if columns.time not in names and index in names and index in indices:
            return replace(columns, time=index)
    return columns


def suggest_columns(names: Sequence[str], columns: Columns) -> str:
    """The end of a message: the option that names the columns of this file, or "" where none of them looks like it."""
    settings, present = asdict(columns), {name for name in asdict(columns).values() if name in names}
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
    for spelling in (_simplify(expected), *_USUAL[key]):
        for name in free:
            if _simplify(name) == spelling:
                return name
    return "__index_level_0__" if key == "time" and "__index_level_0__" in free else ""


def _simplify(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())

"""What readers may know of a part without opening it: its times, its devices, its nulls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scorer.arrow import build_flags, view_numbers
from shared.contract.domain import PartStatistics


def measure_table(table: pa.Table, names: Sequence[str]) -> PartStatistics:
    """The statistics of a table in memory that has a row at least; nulls of the columns *names*."""
    times = pc.min_max(table["time"].cast(pa.int64())).as_py()
    ranges = [_find_device_range(chunk) for chunk in table["device"].chunks if len(chunk)]
    return PartStatistics(
        times["min"],
        times["max"],
        min(first for first, _ in ranges),
        max(last for _, last in ranges),
        {name: table[name].null_count for name in names},
    )


def _find_device_range(devices: pa.DictionaryArray) -> tuple[str, str]:
    """The least and the greatest device of some rows. The dictionary may hold devices that have no rows."""
    is_used = np.zeros(len(devices.dictionary), bool)
    is_used[view_numbers(devices.indices)] = True
    texts = devices.dictionary if is_used.all() else devices.dictionary.filter(build_flags(is_used))
    bounds = pc.min_max(texts).as_py()  # UTF-8 is ordered as code points are
    return bounds["min"], bounds["max"]


def merge_statistics(first: PartStatistics, second: PartStatistics) -> PartStatistics:
    """The statistics of a part that consists of two, which have the same columns."""
    return PartStatistics(
        min(first.first_time, second.first_time),
        max(first.last_time, second.last_time),
        min(first.first_device, second.first_device),
        max(first.last_device, second.last_device),
        {name: count + second.nulls[name] for name, count in first.nulls.items()},
    )

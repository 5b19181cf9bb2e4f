"""Documents of JSON, each an object or an array of objects -> rows. By pyarrow where each column has one type."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from scorer.readings.cells import BROKEN
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions, TimeFormat

from .records import build_mixed


def read_documents(
    documents: Sequence[bytes], columns: Columns, policy: ReadingOptions
) -> tuple[pa.Table, np.ndarray, int]:
    """The rows, the index of each row's document (int64), and how many documents cannot be read."""
    if not documents:
        return pa.table({}), np.zeros(0, np.int64), 0
    rows = _read_lines(documents, columns, policy)
    if rows is not None:
        return rows, np.arange(len(documents)), 0
    cells: dict[str, list[Any]] = {}
    indices, n_invalid = list[int](), 0
    for index, document in enumerate(documents):
        try:
            value = json.loads(document)
            items = [_flatten(item) for item in (value if isinstance(value, list) else [value])]
        except (ValueError, RecursionError, AttributeError):
            n_invalid += 1
            continue
        for item in items:
            for name, cell in item.items():
                column = cells.setdefault(name, [])
                column += [None] * (len(indices) - len(column))
                column.append(cell)
            indices.append(index)
    for column in cells.values():
        column += [None] * (len(indices) - len(column))
    return pa.table({k: build_mixed(c) for k, c in cells.items()}), np.array(indices, np.int64), n_invalid


def _flatten(item: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in item.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            flat[f"{prefix}{key}"] = value
    return flat


def _read_lines(documents: Sequence[bytes], columns: Columns, policy: ReadingOptions) -> pa.Table | None:
    """The rows where each document is one object in one line, of columns that are not nested; else None."""
    from pyarrow import json as arrow_json

    data = b"\n".join(documents)
    if data.count(b"\n") + 1 != len(documents) or not all(document.startswith(b"{") for document in documents):
        return None
    if data.count(b"{") != len(documents) or b"[" in data:
        return None
    ids = [columns.device, columns.sensor]
    texts = [columns.time, *ids] if policy.time is TimeFormat.ISO else ids
    schema = pa.schema([(name, pa.string()) for name in texts])
    options = arrow_json.ParseOptions(explicit_schema=schema)
    try:
        rows = arrow_json.read_json(pa.BufferReader(data), arrow_json.ReadOptions(use_threads=False), options)
    except BROKEN:
        return None
    if rows.num_rows != len(documents):
        return None
    return rows.drop_columns([name for name in texts if rows[name].null_count == rows.num_rows])

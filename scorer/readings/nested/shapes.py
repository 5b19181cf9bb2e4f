"""The shape of a block of JSON by some of its objects: which fields hold texts, and whether keys differ too much."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa

from scorer.readings.cells import make_unreadable
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions, TimeFormat

from .leaves import BODY

COLUMN_LIMIT = 20_000  # fields of all objects of a file
SPARSE_LIMIT = 16  # cells for each byte: beyond it nearly each object has keys of its own
_SAMPLES = 4  # objects of a block that are looked at first
_NAME = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*:')


class Mixed(Exception):
    """A column has values of several types: each is read as text, object by object."""


def find_texts(block: bytes, columns: Columns, policy: ReadingOptions) -> set[tuple[str, ...]]:
    """The paths of times and ids that hold texts in some objects of a block. Raises Unscorable for too many keys."""
    objects = list(_sample_objects(block))
    sizes = [sum(1 for _ in _list_paths(item)) for item in objects]
    names = {columns.device, columns.sensor, *([columns.time] if policy.time is TimeFormat.ISO else [])}
    paths: dict[tuple[str, ...], bool] = {}
    for item in objects:
        for path, cell in _list_paths(item):
            paths[path] = paths.get(path, True) and isinstance(cell, str)
    if len(paths) > 2 * max(sizes, default=0) or len(paths) > COLUMN_LIMIT:  # keys differ from object to object
        n_names = len(set(_NAME.findall(block)))
        check_sparse(n_names, block.count(b"\n") + 1, len(block))
    names |= {name.removeprefix(f"{BODY}.") for name in names}
    return {path for path, is_text in paths.items() if is_text and names & _list_names(path)}


def _list_names(path: tuple[str, ...]) -> set[str]:
    name = ".".join(path)
    return {name, name.removeprefix(f"{BODY}.")}


def check_sparse(n_columns: int, n_rows: int, n_bytes: int) -> None:
    """Raises Unscorable where objects have so many different keys that a table of them would fill the memory."""
    if n_columns > COLUMN_LIMIT or n_columns * n_rows > SPARSE_LIMIT * n_bytes + 2**20:
        raise make_unreadable(
            f"expected objects with the same keys, at most {COLUMN_LIMIT} in all, got {n_columns} different ones in "
            f"{n_rows} objects: a key must name a column, not a value such as an id or a time"
        )


def _sample_objects(block: bytes) -> Iterator[dict[str, Any]]:
    starts = {len(block) * number // _SAMPLES for number in range(_SAMPLES)}
    for start in sorted(starts):
        begin = block.rfind(b"\n", 0, start) + 1 if start else 0
        while block[begin : begin + 1] in (b"\n", b"\r", b" "):
            begin += 1
        end = block.find(b"\n", begin)
        try:
            value = json.loads(block[begin : end if end >= 0 else len(block)])
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def _list_paths(item: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, cell in item.items():
        if isinstance(cell, dict):
            yield from _list_paths(cell, (*path, name))
        else:
            yield (*path, name), cell


def build_schema(texts: Collection[tuple[str, ...]]) -> pa.Schema | None:
    """The schema in which these paths are texts."""
    tree: dict[str, Any] = {}
    for path in sorted(texts):
        node = tree
        for name in path[:-1]:
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                raise Mixed
        node[path[-1]] = pa.string()
    return pa.schema([(name, _build_type(node)) for name, node in tree.items()]) if tree else None


def _build_type(node: Any) -> pa.DataType:
    return pa.struct([(name, _build_type(child)) for name, child in node.items()]) if isinstance(node, dict) else node

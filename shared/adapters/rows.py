"""Values of the domain <-> rows of a table that a person can read. Pure: calls nobody.

A field that is one number or text is a property of its name; one that holds more is JSON in a property `name_json`.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from shared.contract import MESSAGE_LIMIT
from shared.domain import Chunk, Failure, Run
from shared.errors import Malformed
from shared.windows import EPOCH, MINUTE, Window

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA = 1  # of a row; a reader refuses what it does not know
PROPERTY_LIMIT = 32_000  # UTF-16 units; Table Storage takes 32,768 of them
OWN_MESSAGE_LIMIT = 4_000  # characters of a run's or a chunk's own message
KEY_LIMIT = 1_000  # characters; Table Storage takes 1,023 in UTF-16

_FORBIDDEN = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")
_RUN_KEY = re.compile(r"run-\d{10}-[^/\\#?]+")
_NEWEST = 9_999_999_999  # minutes; more than any window's start

T = TypeVar("T")
R = TypeVar("R", Run, Chunk)
Row = dict[str, Any]


def key(text: str) -> str:
    """*text*, that it can be a partition's or a row's key; raises Malformed."""
    if not text or len(text) > KEY_LIMIT or _FORBIDDEN.search(text):
        raise Malformed(f"wanted a table's key without / \\ # ? and control characters, found {text[:80]!r}")
    return text


def run_key(run_id: str) -> str:
    """The row key of a run: the newest window sorts first. Raises Malformed for what is no window."""
    minutes = (Window.parse(run_id).start - EPOCH) // MINUTE
    return key(f"run-{_NEWEST - minutes:010d}-{run_id}")


def run_cursor(text: str) -> str:
    """*text*, that it is a run's row key; raises Malformed."""
    if not _RUN_KEY.fullmatch(text):
        raise Malformed(f"wanted the cursor of an earlier page of runs, found {text[:80]!r}")
    return key(text)


def dump(value: object, partition: str, row: str) -> Row:
    """The row of a value. Its `version` is the store's to give."""
    kind: Any = type(value)
    doc: dict[str, Any] = _adapter(kind).dump_python(value, mode="json", exclude={"version"})
    flat = {"PartitionKey": key(partition), "RowKey": key(row), "schema": SCHEMA}
    for name, content in doc.items():
        if isinstance(content, (dict, list)):
            flat[f"{name}_json"] = _json(content)
        elif content is not None:
            flat[name] = content
    for name, content in flat.items():
        if isinstance(content, str) and _units(content) > PROPERTY_LIMIT:
            found = f"{name} of {_units(content)} characters"
            raise Malformed(f"row {partition}/{row}: wanted at most {PROPERTY_LIMIT} in a property, found {found}")
    return flat


def load(kind: type[T], row: Mapping[str, Any], **version: str) -> T:
    """The value of a row; raises Malformed for a row that this app does not understand."""
    from pydantic import ValidationError

    where = f"row {row['PartitionKey']}/{row['RowKey']}"
    if row.get("schema") != SCHEMA:
        raise Malformed(f"{where}: wanted schema {SCHEMA}, found {row.get('schema')!r}: another version wrote it")
    try:
        nested = {n.removesuffix("_json"): json.loads(text) for n, text in row.items() if n.endswith("_json")}
        adapter: TypeAdapter[T] = _adapter(cast("Any", kind))
        return adapter.validate_python({**row, **nested, **version})
    except (ValidationError, ValueError) as error:
        raise Malformed(f"{where}: wanted a {kind.__name__}, found {error}") from error


def fitted(value: R) -> R:
    """The same run or chunk with texts that fit into a row.

    Of very many long failures the smallest groups go; the tally still counts their models.
    """
    failures = tuple(replace(f, message=cut(f.message, MESSAGE_LIMIT)) for f in value.failures)
    while _units(_json(_adapter(tuple[Failure, ...]).dump_python(failures, mode="json"))) > PROPERTY_LIMIT:
        failures = failures[:-1]
    return replace(value, message=cut(value.message, OWN_MESSAGE_LIMIT), failures=failures)


def cut(text: str, limit: int) -> str:
    """*text* that every store and every reader can take, its end left off where it is long."""
    whole = text.encode("utf-8", "replace").decode()  # a lone surrogate is no text
    return whole if len(whole) <= limit else whole[: limit - 1] + "…"


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _json(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _units(text: str) -> int:
    """Length as Table Storage counts it."""
    return len(text.encode("utf-16-le")) // 2

"""Values of the domain <-> rows of a table that a person can read. Pure.

A field that is one number or text is a property of its name; any other is JSON in a property `name_json`, which is
continued in `name_json1`, `name_json2` and so on where it is long.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any, TypeVar, cast

from shared.contract.domain import Failure
from shared.contract.errors import Malformed
from shared.contract.text import MESSAGE_LIMIT
from shared.contract.windows import MINUTE, Window
from shared.state.runs import Chunk, Result, Run

if TYPE_CHECKING:
    from pydantic import TypeAdapter

# Of a row; a reader refuses any other. Schema 1 had a chunk's only result in its own fields, runs of one round,
# requests without a target, and another origin of time in the runs' keys.
SCHEMA = 2
PROPERTY_LIMIT = 32_000  # UTF-16 units; Table Storage accepts 32,768
ENTITY_LIMIT = 1_000_000  # bytes, as Table Storage counts them; it accepts 1,048,576
FAILURES_LIMIT = 32_000  # UTF-16 units of one list of failures: a chunk has two, and rows are read by the thousand
OWN_MESSAGE_LIMIT = 4_000  # characters of a run's or a chunk's own message
EXAMPLE_LIMIT = 1_024  # characters of a failure's example: a model's id is shorter
INTEGER_LIMIT = 2**31 - 1  # of a property that is a number; the SDK refuses a longer one that has no type
KEY_LIMIT = 1_000  # characters; Table Storage accepts 1,023 in UTF-16

_FORBIDDEN = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_RUN_KEY = re.compile(r"run-\d{10}-[^/\\#?]+")
_FIRST = datetime(1, 1, 1, tzinfo=UTC)  # the first instant: every window's start has ten digits, and they sort
_NEWEST = 9_999_999_999  # minutes; more than any window's start

T = TypeVar("T")
R = TypeVar("R", Run, Chunk)
Row = dict[str, Any]


def check_key(text: str) -> str:
    """*text* if it can be the key of a partition or a row; raises Malformed."""
    if not text or len(text) > KEY_LIMIT or _FORBIDDEN.search(text):
        raise Malformed(f"expected a table's key without / \\ # ? and control characters, got {text[:80]!r}")
    return text


def make_run_key(run_id: str) -> str:
    """The row key of a run: the newest window sorts first. Raises Malformed for an id that is not a window."""
    return check_key(f"run-{_count_down(Window.parse(run_id).start)}-{run_id}")


def make_run_key_range(start: datetime, end: datetime) -> tuple[str, str]:
    """Two texts: between them are the row keys of exactly the runs whose windows start in [start, end)."""
    # "." is the character after "-": it sorts after all keys of one instant, and before those of the next.
    return f"run-{_count_down(end)}.", f"run-{_count_down(start)}."


def check_run_cursor(text: str) -> str:
    """*text* if it is a run's row key; raises Malformed."""
    if not _RUN_KEY.fullmatch(text):
        raise Malformed(f"expected the cursor of an earlier page of runs, got {text[:80]!r}")
    return check_key(text)


def make_model_key(model_id: str) -> str:
    """The row key of a model: a hash, since its id may hold characters that keys may not."""
    return hashlib.sha256(model_id.encode("utf-8", "surrogatepass")).hexdigest()


def dump_row(value: object, partition: str, row: str) -> Row:
    """The row of a value, without its `version`. Raises Malformed for a value that no row can hold."""
    kind: Any = type(value)
    doc: dict[str, Any] = _make_adapter(kind).dump_python(value, mode="json", exclude={"version"})
    flat = {"PartitionKey": check_key(partition), "RowKey": check_key(row), "schema": SCHEMA}
    for name, content in doc.items():
        if isinstance(content, (dict, list)) or (isinstance(content, int) and abs(content) > INTEGER_LIMIT):
            flat.update(_split_text(f"{name}_json", _dump_json(content)))
        elif content is not None:
            flat[name] = content
    _check_size(flat)
    return flat


def load_row(kind: type[T], row: Mapping[str, Any], **version: str) -> T:
    """The value of a row; raises Malformed for a row that this version cannot read."""
    from pydantic import ValidationError

    location = f"row {row['PartitionKey']}/{row['RowKey']}"
    if row.get("schema") != SCHEMA:
        raise Malformed(f"{location}: expected schema {SCHEMA}, got {row.get('schema')!r}: another version wrote it")
    try:
        nested = {n.removesuffix("_json"): json.loads(_join_text(n, row)) for n in row if n.endswith("_json")}
        adapter: TypeAdapter[T] = _make_adapter(cast("Any", kind))
        return adapter.validate_python({**row, **nested, **version})
    except (ValidationError, ValueError) as error:
        raise Malformed(f"{location}: expected a {kind.__name__}, got {error}") from error


def shorten_texts(value: R) -> R:
    """The run or chunk with texts that fit into a row.

    Of very many long failures the smallest groups are dropped; the tally still counts their models.
    """
    message = shorten_text(value.message, OWN_MESSAGE_LIMIT)
    if isinstance(value, Run):
        return replace(value, message=message, failures=_shorten_failures(value.failures))
    return replace(
        value, message=message, chosen=_shorten_result(value.chosen), committed=_shorten_result(value.committed)
    )


def _shorten_result(result: Result | None) -> Result | None:
    return replace(result, failures=_shorten_failures(result.failures)) if result else None


def _shorten_failures(failures: tuple[Failure, ...]) -> tuple[Failure, ...]:
    """The first failures, which are the largest groups, with shorter texts."""
    fit = tuple(
        replace(f, example=shorten_text(f.example, EXAMPLE_LIMIT), message=shorten_text(f.message, MESSAGE_LIMIT))
        for f in failures
    )
    while _count_units(_dump_json(_make_adapter(tuple[Failure, ...]).dump_python(fit, mode="json"))) > FAILURES_LIMIT:
        fit = fit[:-1]
    return fit


def shorten_text(text: str, limit: int) -> str:
    """*text* in a form that every store and reader accepts, cut where it is long."""
    valid_text = text.encode("utf-8", "replace").decode()  # a lone surrogate is not valid text
    return valid_text if len(valid_text) <= limit else valid_text[: limit - 1] + "…"


@functools.cache
def _make_adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _count_down(instant: datetime) -> str:
    """Ten digits that count down to the first whole minute that is not before *instant*."""
    minutes = -((_FIRST - instant) // MINUTE)
    return f"{_NEWEST - minutes:010d}"


def _dump_json(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _split_text(name: str, text: str) -> Row:
    """Split a text over several properties: *name*, then *name* with 1, 2 and so on."""
    length = PROPERTY_LIMIT // 2  # a character is at most two units
    return {
        _name_property(name, i): text[start : start + length] for i, start in enumerate(range(0, len(text), length))
    }


def _join_text(name: str, row: Mapping[str, Any]) -> str:
    """The inverse of `_spread`."""
    return "".join(takewhile(bool, (row.get(_name_property(name, i), "") for i in count())))


def _name_property(name: str, index: int) -> str:
    return f"{name}{index or ''}"


def _check_size(row: Row) -> None:
    """Raises Malformed where a text is invalid or too long for a property, or the row is too large."""
    location = f"row {row['PartitionKey']}/{row['RowKey']}"
    size = 0
    for name, content in row.items():
        try:
            units = _count_units(content) if isinstance(content, str) else 0
        except UnicodeEncodeError as error:
            raise Malformed(f"{location}: expected text in {name}, got {error}") from error
        if units > PROPERTY_LIMIT:
            raise Malformed(
                f"{location}: expected at most {PROPERTY_LIMIT} in a property, got {name} of {units} characters"
            )
        size += 20 + 2 * (len(name) + units)  # the store's own formula, rounded up
    if size > ENTITY_LIMIT:
        raise Malformed(f"{location}: expected at most {ENTITY_LIMIT} bytes in a row, got {size}")


def _count_units(text: str) -> int:
    """Length as Table Storage counts it."""
    return len(text.encode("utf-16-le")) // 2

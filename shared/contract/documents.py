"""All that the app and its nodes must agree on: the command, the manifest, the report, the progress.

Where these lie, `paths` says. Nothing here reads or writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from .errors import Malformed

SCHEMA = 1  # of manifest, report and plan; a reader refuses what it does not know


def _instant(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"wanted a time with an offset, found {text!r}")
    return found


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"wanted a count, found {value!r}")
    return value


T = TypeVar("T")


def _parse(data: bytes, what: str, build: Callable[[dict[str, Any]], T]) -> T:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    try:
        doc = json.loads(data, parse_constant=refuse)
        if doc["schema"] != SCHEMA:
            raise Malformed(f"{what}: wanted schema {SCHEMA}, found {doc['schema']!r}")
        return build(doc)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError, Malformed) as error:
        raise Malformed(f"{what}: {type(error).__name__}: {error}") from error

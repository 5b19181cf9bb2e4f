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


def parse_instant(text: str) -> datetime:
    """A time that says its offset; raises ValueError."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"expected a time with an offset, got {text!r}")
    return instant


def parse_count(value: object) -> int:
    """A whole number of at least 0; raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"expected a count, got {value!r}")
    return value


T = TypeVar("T")


def parse_document(data: bytes, what: str, build: Callable[[dict[str, Any]], T]) -> T:
    """The document of *what* that *build* makes of its JSON; raises Malformed."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    try:
        doc = json.loads(data, parse_constant=refuse)
        if doc["schema"] != SCHEMA:
            raise Malformed(f"{what}: expected schema {SCHEMA}, got {doc['schema']!r}")
        return build(doc)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError, Malformed) as error:
        raise Malformed(f"{what}: {type(error).__name__}: {error}") from error

"""How the documents of the contract are parsed: schema, counts, instants. Reads and writes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from .errors import Malformed

SCHEMA = 1  # of manifest, report and plan; a reader refuses any other


def parse_instant(text: str) -> datetime:
    """A time with an offset; raises ValueError."""
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


def parse_document(data: bytes, kind: str, build: Callable[[dict[str, Any]], T]) -> T:
    """The document of *kind* that *build* makes from its JSON; raises Malformed."""

    def reject_constant(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    try:
        doc = json.loads(data, parse_constant=reject_constant)
        if doc["schema"] != SCHEMA:
            raise Malformed(f"{kind}: expected schema {SCHEMA}, got {doc['schema']!r}")
        return build(doc)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError, Malformed) as error:
        raise Malformed(f"{kind}: {type(error).__name__}: {error}") from error

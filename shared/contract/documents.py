"""How the documents of the contract are parsed: schema, counts, instants. Reads and writes nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, TypeVar

from .errors import Malformed

SCHEMAS = (1, 2)  # of manifest, report and plan, that this version reads; a reader refuses any other
NEWEST = SCHEMAS[-1]


def parse_instant(text: str) -> datetime:
    """A time with an offset; raises ValueError."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"expected a time with an offset, got {text!r}")
    return instant


def parse_count(value: object) -> int:
    """A whole number of at least 0 that fits into 64 bits; raises ValueError."""
    if parse_integer(value) < 0:
        raise ValueError(f"expected a count, got {value!r}")
    return parse_integer(value)


def parse_integer(value: object) -> int:
    """A whole number that fits into 64 bits; raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise ValueError(f"expected a whole number, got {value!r}")
    return value


def pick_fields(kind: type[Any], doc: Any) -> dict[str, Any]:
    """The fields of a slotted dataclass that a document has; others are ignored, absent ones keep their default.

    Raises TypeError.
    """
    if not isinstance(doc, dict):
        raise TypeError(f"expected an object, got {doc!r}")
    return {name: doc[name] for name in kind.__slots__ if name in doc}


def check_needs(doc: dict[str, Any], supported: Collection[str]) -> None:
    """Raise Malformed where a document needs what this reader does not know.

    Fields that a reader does not know are ignored, so that later versions may add some. What must not be ignored, the
    writer names in `needs`.
    """
    unknown = set(map(str, doc.get("needs", ()))) - set(supported)
    if unknown:
        raise Malformed(f"it needs {', '.join(sorted(unknown))}, which only a newer version knows: upgrade this one")


def _parse_finite(text: str) -> float:
    """Python's JSON knows NaN and Infinity, and reads 1e999 as infinite."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"expected a finite number, got {text}")
    return number


T = TypeVar("T")


def parse_document(data: bytes, kind: str, build: Callable[[dict[str, Any]], T]) -> T:
    """The document of *kind* that *build* makes from its JSON; raises Malformed."""
    try:
        doc = json.loads(data, parse_constant=_parse_finite, parse_float=_parse_finite)
        if type(doc["schema"]) is not int or doc["schema"] not in SCHEMAS:
            raise Malformed(f"expected schema {' or '.join(map(str, SCHEMAS))}, got {doc['schema']!r}")
        return build(doc)
    except Malformed as error:
        raise Malformed(f"{kind}: {error}") from error
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
        raise Malformed(f"{kind}: {type(error).__name__}: {error}") from error

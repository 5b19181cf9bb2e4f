"""The sign-in and the time-outs of all Azure adapters, and the wait that an answer asks for.

Azure's packages are imported when they are used.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from shared.contract.errors import Unavailable

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential

# One call, tried twice, ends after at most some 20 s; the next tick is the real retry. An answer of 429 or 503 is
# returned at once, since Azure's own policy would sleep for as long as its Retry-After says.
TIME_OUTS: Mapping[str, Any] = {
    "connection_timeout": 3,
    "read_timeout": 7,
    "retry_total": 1,
    "retry_status": 0,
    "initial_backoff": 1,  # the blob client's name for it; the table client does not wait before its first retry
    "random_jitter_range": 1,
}


@functools.cache
def make_default_credential() -> DefaultAzureCredential:
    """One credential for all adapters, since each one fetches and caches its own tokens; with the same time-outs."""
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential(**TIME_OUTS)


def make_sign_in_error(operation: str, message: str) -> Unavailable:
    """The error for a sign-in that failed. *message* is that of azure-identity."""
    return Unavailable(
        f"{operation}: no identity to sign in with: {message} "
        "Give the app a managed identity, or sign in with `az login`."
    )


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds for which the service asks for no requests; None if it names none.

    `Retry-After` is a number of seconds or a date, by the server's clock; `x-ms-retry-after-ms` is finer.
    """
    for name, unit in (("x-ms-retry-after-ms", 1000), ("retry-after-ms", 1000), ("Retry-After", 1)):
        if re.fullmatch(r"\d+(\.\d+)?", text := headers.get(name, "").strip()):
            return float(text) / unit
    until, now = _parse_date(headers.get("Retry-After")), _parse_date(headers.get("Date"))
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds()) if until else None


def _parse_date(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text).astimezone(UTC) if text else None
    except ValueError:
        return None

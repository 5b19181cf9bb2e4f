"""What an error of PostgreSQL means, by its SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shared.contract.publishing.sinks import SinkReason

_STATES: Mapping[str, SinkReason] = {  # by the beginning of the SQLSTATE; the longest counts
    "08": SinkReason.UNAVAILABLE,
    "57": SinkReason.UNAVAILABLE,  # cancelled by a time-out, shut down, starting
    "53": SinkReason.UNAVAILABLE,  # no memory, no connection left
    "53100": SinkReason.FULL,
    "25P03": SinkReason.UNAVAILABLE,  # the transaction was idle for too long
    "25P04": SinkReason.UNAVAILABLE,
    "58": SinkReason.UNAVAILABLE,  # an error of its disk
    "28": SinkReason.DENIED,
    "42501": SinkReason.DENIED,
    "25006": SinkReason.DENIED,  # read-only: the role, or a server whose disk is nearly full
    "3D000": SinkReason.DENIED,  # no such database, which is not ours to create
    "40": SinkReason.CONFLICT,
    "55P03": SinkReason.CONFLICT,  # a lock was not to be had in time
    "22001": SinkReason.MISMATCH,  # too long for its column
    "22003": SinkReason.MISMATCH,
    "23": SinkReason.MISMATCH,  # a constraint that is not ours
    "3F000": SinkReason.MISMATCH,
    "428": SinkReason.MISMATCH,  # of another type, or no table
    "42P": SinkReason.MISMATCH,
    "42703": SinkReason.MISMATCH,
}
# A connection that was refused has no SQLSTATE, only its text.
_DENIED = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects",
    "is not permitted to log in",
    "does not exist",
    "permission denied",
    "certificate verify failed",
    "does not match host name",
    "root certificate file",
    "does not support SSL",
)


def read_state(error: Any) -> str:
    """The SQLSTATE of an error of ADBC; "" where it has none."""
    if state := getattr(error, "sqlstate", None):
        return str(state)
    match = re.search(r"SQLSTATE: ([0-9A-Z]{5})", str(error))
    return match[1] if match else ""


def describe_error(error: Exception) -> str:
    """What the server says of an error, without the statement: that may be longer than a message."""
    text = str(error).strip()
    match = re.search(r"\b(ERROR|FATAL|PANIC):\s", text)
    return text[match.start() :] if match else text


def classify_error(state: str, message: str) -> SinkReason:
    """The reason for an error with this SQLSTATE and message."""
    if not state or state == "00000":
        return SinkReason.DENIED if any(text in message for text in _DENIED) else SinkReason.UNAVAILABLE
    starts = [start for start in _STATES if state.startswith(start)]
    return _STATES[max(starts, key=len)] if starts else SinkReason.FAILED

"""What an error of SQL Server means, by its text: the driver passes neither its number nor its state on. Pure.

https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors
"""

from __future__ import annotations

import re

from shared.contract.publishing.sinks import SinkReason

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_WORDS: tuple[tuple[SinkReason, tuple[str, ...]], ...] = (  # the first that is in the message counts
    (
        SinkReason.FULL,
        ("could not allocate", "size quota", "filegroup is full", "is full due to", "insufficient disk space"),
    ),
    (SinkReason.CONFLICT, ("deadlock", "lock request time out", "already an object named", "snapshot isolation")),
    (
        SinkReason.DENIED,
        (
            "login failed",
            "permission",
            "cannot open database",
            "cannot open server",
            "read-only",
            "not allowed to access the server",
            "certificate",
            "acquire token",
            "token-identified principal",
        ),
    ),
    (
        SinkReason.MISMATCH,
        (
            "invalid column name",
            "invalid object name",
            "would be truncated",
            "cannot insert the value null",
            "operand type clash",
            "implicit conversion",
            "conversion failed",
            "arithmetic overflow",
            "violation of",
            "conflicted with the",
            "duplicate key",
            "does not match table definition",
        ),
    ),
    (
        SinkReason.UNAVAILABLE,
        (
            "timeout",
            "timed out",
            "tcp provider",
            "communication link",
            "unable to establish connection",
            "failed to connect",
            "connection is broken",
            "connection reset",
            "not currently available",
            "resource id",
            "shutdown",
            "io error",
        ),
    ),
)


def classify_error(message: str) -> SinkReason:
    """The reason for an error with this message, in English."""
    text = _QUOTED.sub("", message).lower()  # a name or a value of a row may hold any of the words
    return next((reason for reason, words in _WORDS if any(word in text for word in words)), SinkReason.FAILED)

"""Texts that every log, table and document can hold, and names made from contents."""

from __future__ import annotations

import hashlib

MESSAGE_LIMIT = 300  # characters of an error's text that are kept for one model


def clip_text(message: str) -> str:
    """A message in one line that fits where it is kept, and that every log, table and document can hold."""
    legible = "".join(c if c.isprintable() or c.isspace() else "\ufffd" for c in message[: 10 * MESSAGE_LIMIT])
    line = " ".join(legible.split())
    return line if len(line) <= MESSAGE_LIMIT else line[: MESSAGE_LIMIT - 1] + "…"


def make_digest(data: bytes) -> str:
    """Names a document by its content: 16 hex digits, far more than a run's chunks need."""
    return hashlib.sha256(data).hexdigest()[:16]

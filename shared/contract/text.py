"""Texts that fit every log, table and document, and names made from contents."""

from __future__ import annotations

import hashlib

MESSAGE_LIMIT = 300  # characters of an error's text for one model


def clip_text(message: str) -> str:
    """A message as one line of limited length that fits every log, table and document."""
    legible = "".join(c if c.isprintable() or c.isspace() else "\ufffd" for c in message[: 10 * MESSAGE_LIMIT])
    line = " ".join(legible.split())
    return line if len(line) <= MESSAGE_LIMIT else line[: MESSAGE_LIMIT - 1] + "…"


def make_digest(data: bytes) -> str:
    """A name for a document by its content: 16 hex digits, enough for the chunks of a run."""
    return hashlib.sha256(data).hexdigest()[:16]

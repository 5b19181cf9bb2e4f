"""Texts that fit every log, table and document, and names made from contents."""

from __future__ import annotations

import hashlib
import re
import unicodedata

MESSAGE_LIMIT = 300  # characters of an error's text for one model
LINES_LIMIT = 4_000  # characters of a text of several lines: a traceback


def clip_text(message: str) -> str:
    """A message as one line of limited length that fits every log, table and document."""
    legible = "".join(c if c.isprintable() or c.isspace() else "\ufffd" for c in message[: 10 * MESSAGE_LIMIT])
    line = " ".join(legible.split())
    return line if len(line) <= MESSAGE_LIMIT else line[: MESSAGE_LIMIT - 1] + "…"


def get_first_line(error: BaseException) -> str:
    """The first line of an error's text; its kind where it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def find_sign_in_line(message: str) -> str:
    """The line of a failed sign-in that matters in Azure: that of the managed identity, or all where there is none.

    *message*: of azure-identity, which tried one credential after the other, a line for each.
    """
    match = re.search(r"ManagedIdentityCredential: (.+)", message)
    return match[1] if match else message


def is_exact(text: str) -> bool:
    """Whether a text, such as a label, fits every table and document as it is, so that consumers can join by it."""
    return 0 < len(text) <= MESSAGE_LIMIT and all(c.isprintable() or unicodedata.category(c) == "Zs" for c in text)


def clip_lines(text: str) -> str:
    """The end of a text of several lines, such as a traceback, which names the cause there; legible everywhere."""
    legible = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text[-LINES_LIMIT:])
    return legible if len(text) <= LINES_LIMIT else "…" + legible[1:]


def make_digest(data: bytes) -> str:
    """A name for a document by its content: 16 hex digits, enough for the chunks of a run."""
    return hashlib.sha256(data).hexdigest()[:16]

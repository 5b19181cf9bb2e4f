"""The options of commands. What an option cannot be is an error that names the option, in one way for all of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TypeVar

from shared.contract.errors import Malformed
from shared.contract.windows import EPOCH, MINUTE, Window

T = TypeVar("T")


def add_option(
    parser: argparse._ActionsContainer, name: str, parse: Callable[[str], T], description: str, default: str = ""
) -> None:
    """Add an option whose text is parsed by a function that raises Malformed; the text *default* is parsed too.

    Parsing the command line then raises Malformed with the option's name before the message.
    """

    def parse_text(text: str) -> T:
        with name_option(name):
            return parse(text)

    parser.add_argument(name, type=parse_text, default=default, help=description)


@contextmanager
def name_option(name: str) -> Iterator[None]:
    """Put the name of an option before the message of Malformed."""
    try:
        yield
    except Malformed as error:
        raise Malformed(f"{name}: {error}") from error


def make_optional(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """The same parser, by which an empty text is no value."""
    return lambda text: parse(text) if text else None


def parse_window(text: str) -> Window:
    """`START/END`, two ISO 8601 times; without an offset they are UTC. Raises Malformed."""
    try:
        times = [datetime.fromisoformat(part) for part in text.split("/")]
        start, end = (time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC) for time in times)
    except (ValueError, OverflowError):
        raise Malformed(f"expected START/END such as 2026-11-21T07:00/2026-11-21T08:00, got {text!r}") from None
    if end <= start or (end - start) % MINUTE or (start - EPOCH) % MINUTE:
        raise Malformed(f"expected a START before its END, both at whole minutes, got {text!r}")
    return Window(start, end - start)

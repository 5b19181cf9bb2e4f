"""The part of Stream Analytics' query language that `infra/stream.asaql` uses: text -> steps. It refuses all else.

The service's own compiler is no package. So this says what such a query comes to: its steps, what each reads, the
columns that it has, its window; and it refuses names of columns that the step before does not have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .syntax import Wrong

_TOKEN = re.compile(r"\s+|--[^\n]*|(?P<name>\[[^\]]+\]|[A-Za-z_][\w.]*)|(?P<number>-?\d+)|(?P<sign>[(),*=<>])")
AGGREGATES = {"AVG", "MAX", "MIN", "SUM", "COUNT"}
FUNCTIONS = AGGREGATES | {"TRY_CAST", "CAST", "System.Timestamp"}
_WORDS = {"SELECT", "AS", "INTO", "FROM", "TIMESTAMP", "BY", "GROUP", "WITH"}


@dataclass(frozen=True)
class Step:
    """One SELECT. *grouped*: the columns of its GROUP BY; *window*: its text, without blanks."""

    columns: tuple[str, ...]
    source: str
    into: str | None
    timestamp_by: str | None
    grouped: tuple[str, ...]
    window: str


def read(text: str, events: tuple[str, ...]) -> Mapping[str, Step]:
    """The steps by name, the last one as ''. *events*: the fields of the input. Raises Wrong."""
    reader = _Reader(text)
    steps: dict[str, Step] = {}
    if reader.takes("WITH"):
        while True:
            name = reader.column()
            reader.expect("AS")
            reader.expect("(")
            steps[name] = reader.select(steps, events)
            reader.expect(")")
            if not reader.takes(","):
                break
    steps[""] = reader.select(steps, events)
    reader.expect("")
    return steps


class _Reader:
    def __init__(self, text: str) -> None:
        self.tokens = [""]
        at = 0
        while at < len(text):
            if not (match := _TOKEN.match(text, at)):
                raise Wrong(f"line {text.count(chr(10), 0, at) + 1}: {text[at : at + 20]!r}")
            if match.lastgroup:
                self.tokens.append(match[0])
            at = match.end()
        self.tokens = [*self.tokens[1:], ""]

    def takes(self, token: str) -> bool:
        if self.tokens[0].upper() == token.upper():
            self.tokens = self.tokens[1:] or [""]
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.takes(token):
            raise Wrong(f"expected {token or 'the end'}, got {self.tokens[0]!r}")

    def column(self) -> str:
        token, *self.tokens = self.tokens
        if not re.fullmatch(r"\[[^\]]+\]|[A-Za-z_]\w*", token) or token.upper() in _WORDS:
            raise Wrong(f"expected a name, got {token!r}")
        return token.strip("[]")

    def select(self, steps: Mapping[str, Step], events: tuple[str, ...]) -> Step:
        self.expect("SELECT")
        items = [self.item()]
        while self.takes(","):
            items.append(self.item())
        into = self.column() if self.takes("INTO") else None
        self.expect("FROM")
        source = self.column()
        timestamp_by = None
        if self.takes("TIMESTAMP"):
            self.expect("BY")
            timestamp_by = self.column()
        self.expect("GROUP")
        self.expect("BY")
        grouped, window = self.groups()
        known = events if source not in steps else steps[source].columns
        used = {*grouped, *(name for _, names, _ in items for name in names), *([timestamp_by] if timestamp_by else [])}
        if missing := used - {*known}:
            raise Wrong(f"{source} has no {sorted(missing)}, but {sorted(known)}")
        if loose := {name for _, names, counted in items if not counted for name in names} - {*grouped}:
            raise Wrong(f"neither grouped nor aggregated: {sorted(loose)}")
        return Step(tuple(name for name, _, _ in items), source, into, timestamp_by, grouped, window)

    def item(self) -> tuple[str, set[str], bool]:
        """The name of a column of the result, the columns that it is made of, and whether they are aggregated."""
        names, counted = self.expression()
        if self.takes("AS"):
            return self.column(), names, counted
        if len(names) != 1 or counted:
            raise Wrong(f"a column without a name, of {sorted(names)}")
        return next(iter(names)), names, counted

    def expression(self) -> tuple[set[str], bool]:
        if self.tokens[1] != "(":
            return {self.column()}, False
        function, _, *self.tokens = self.tokens
        if function not in FUNCTIONS:
            raise Wrong(f"no function {function} that this knows")
        names: set[str] = set()
        counted = function in AGGREGATES
        while not self.takes(")"):
            inner, inner_counted = self.expression()
            names, counted = names | inner, counted or inner_counted
            if self.takes("AS"):
                self.column()  # a type
            self.takes(",")
        return names, counted

    def groups(self) -> tuple[tuple[str, ...], str]:
        names = []
        while True:
            if self.tokens[1] == "(":
                return tuple(names), self.window()
            names.append(self.column())
            self.expect(",")

    def window(self) -> str:
        text, depth = "", 0
        while True:
            token, *self.tokens = self.tokens
            if not token:
                raise Wrong("expected ), got the end")
            text += token
            depth += {"(": 1, ")": -1}.get(token, 0)
            if depth == 0 and token == ")":
                return text

"""Bicep, as strictly as the templates in `infra` need it: text -> statements. Whatever it does not know, it refuses.

The compiler cannot be had everywhere that tests run, and pycep, which checkov reads Bicep by, takes `'batch'` and
`batch` for the same. `evaluate.py` says what the statements come to.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from .syntax import Call, Dot, For, Given, Index, List, Name, Operator, Record, Statement, Text, Wrong

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+|//[^\n]*|/\*.*?\*/)
    |(?P<line>\n)
    |(?P<multi>'''\n?(?P<body>.*?)''')
    |(?P<string>'(?:\\.|\$\{(?:[^{}']|'[^']*')*\}|[^'\\\n])*')
    |(?P<number>\d+)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<sign>::|==|!=|<=|>=|&&|\|\||\?\?|[][{}().,:=?!<>@*/%+-])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"\\'": "'", "\\\\": "\\", "\\n": "\n", "\\t": "\t", "\\r": "\r", "\\$": "$"}
_STRENGTH = [["??"], ["||"], ["&&"], ["==", "!="], ["<", "<=", ">", ">="], ["+", "-"], ["*", "/", "%"]]
TYPES = {"string", "int", "bool", "object", "array"}


@functools.cache
def read(text: str) -> tuple[Statement, ...]:
    """The statements of a file. Raises Wrong, with the line."""
    reader = _Reader(text)
    found = []
    while reader.skip_lines() != "end":
        found.append(reader.statement(top=True))
    return tuple(found)


class _Reader:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str, int]] = []
        at = 0
        while at < len(text):
            line = text.count("\n", 0, at) + 1
            if not (found := _TOKEN.match(text, at)):
                raise Wrong(f"line {line}: {text[at : at + 20]!r}")
            kind = str(found.lastgroup if found.lastgroup != "body" else "multi")
            if kind != "space":
                self.tokens.append((kind, found["body"] if kind == "multi" else found[0], line))
            at = found.end()
        self.tokens.append(("end", "", text.count("\n") + 1))
        self.at = 0

    # Tokens

    def kind(self) -> str:
        return self.tokens[self.at][0]

    def value(self) -> str:
        return self.tokens[self.at][1]

    def fail(self, expected: str) -> Wrong:
        return Wrong(f"line {self.tokens[self.at][2]}: expected {expected}, got {self.value()!r}")

    def next(self, kind: str, value: str | None = None) -> str:
        if self.kind() != kind or (value is not None and self.value() != value):
            raise self.fail(value or kind)
        self.at += 1
        return self.tokens[self.at - 1][1]

    def takes(self, kind: str, value: str | None = None) -> bool:
        if self.kind() == kind and (value is None or self.value() == value):
            self.at += 1
            return True
        return False

    def skip_lines(self) -> str:
        while self.takes("line"):
            pass
        return self.kind()

    # Statements

    def statement(self, *, top: bool) -> Statement:
        decorators = {}
        while self.takes("sign", "@"):
            call = self.primary()
            if call.name in decorators:
                raise self.fail(f"each decorator once, not {call.name} again,")
            decorators[call.name] = call.arguments
            self.skip_lines()
        kind = self.next("word")
        if kind == "targetScope" and top:
            self.next("sign", "=")
            return self.ended(Statement(kind, "", self.expression()))
        name = self.next("word")
        if kind == "var" and top:
            self.next("sign", "=")
            return self.ended(Statement(kind, name, self.expression()))
        if kind in {"param", "output"} and top:
            type_ = self.next("word")
            if type_ not in TYPES:
                raise self.fail(f"one of {sorted(TYPES)}, not {type_!r},")
            value = self.expression() if self.takes("sign", "=") else None
            if kind == "output" and value is None:
                raise self.fail("=")
            return self.ended(Statement(kind, name, value, type_, decorators=decorators))
        if kind == "resource" or (kind == "module" and top):
            type_ = self.plain_text()
            existing = kind == "resource" and self.takes("word", "existing")
            self.next("sign", "=")
            return self.ended(Statement(kind, name, self.body(), type_, existing, decorators))
        raise self.fail(f"a statement, not {kind!r},")

    def ended(self, statement: Statement) -> Statement:
        if self.kind() not in {"line", "end"} and self.value() not in {"}", ","}:
            raise self.fail("the end of the line")
        return statement

    def body(self) -> Any:
        if self.takes("word", "if"):
            self.next("sign", "(")
            condition = self.within(self.expression)
            self.next("sign", ")")
            return Given(condition, self.expression())
        return self.expression()

    def plain_text(self) -> str:
        text = self.primary()
        if not isinstance(text, Text) or not all(isinstance(part, str) for part in text.parts):
            raise self.fail("a text without ${}")
        return "".join(text.parts)

    # Expressions

    def within(self, read_one: Callable[[], Any]) -> Any:
        self.skip_lines()
        found = read_one()
        self.skip_lines()
        return found

    def expression(self) -> Any:
        value = self.binary(0)
        if self.takes("sign", "?"):
            then = self.within(self.expression)
            self.next("sign", ":")
            self.skip_lines()
            return Operator("?", (value, then, self.expression()))
        return value

    def binary(self, strength: int) -> Any:
        if strength == len(_STRENGTH):
            return self.unary()
        value = self.binary(strength + 1)
        while self.kind() == "sign" and self.value() in _STRENGTH[strength]:
            sign = self.next("sign")
            value = Operator(sign, (value, self.binary(strength + 1)))
        return value

    def unary(self) -> Any:
        for sign in "!-":
            if self.takes("sign", sign):
                return Operator(sign, (self.unary(),))
        value = self.primary()
        while self.kind() == "sign":
            if self.takes("sign", "."):
                value = Dot(value, self.next("word"))
            elif self.takes("sign", "::"):
                value = Dot(value, self.next("word"), nested=True)
            elif self.takes("sign", "["):
                value = Index(value, self.expression())
                self.next("sign", "]")
            elif self.takes("sign", "!"):
                pass  # "it is there", for the compiler
            else:
                break
        return value

    def primary(self) -> Any:  # noqa: C901, PLR0911  # one case a kind
        kind = self.kind()
        if kind == "multi":
            return Text((self.next("multi"),))
        if kind == "string":
            return _text(self.next("string")[1:-1])
        if kind == "number":
            return int(self.next("number"))
        if kind == "word":
            word = self.next("word")
            if word in {"true", "false", "null"}:
                return {"true": True, "false": False, "null": None}[word]
            if self.takes("sign", "("):
                return Call(word, tuple(self.items(")", self.expression)))
            return Name(word)
        if self.takes("sign", "("):
            value = self.within(self.expression)
            self.next("sign", ")")
            return value
        if self.takes("sign", "["):
            self.skip_lines()
            return self.loop() if self.takes("word", "for") else List(tuple(self.items("]", self.expression)))
        if self.takes("sign", "{"):
            found = self.items("}", self.entry)
            fields = tuple(entry for entry in found if not isinstance(entry, Statement))
            names = [repr(name) for name, _ in fields]
            if len({*names}) < len(names):
                raise self.fail(f"each name once, not {names},")
            return Record(fields, tuple(entry for entry in found if isinstance(entry, Statement)))
        raise self.fail("an expression")

    def items(self, end: str, read_one: Callable[[], Any]) -> list[Any]:
        found = []
        self.skip_lines()
        while not self.takes("sign", end):
            found.append(read_one())
            parted = self.takes("sign", ",") or self.kind() == "line"
            self.skip_lines()
            if not parted and self.value() != end:
                raise self.fail(f", or a new line or {end}")
        return found

    def entry(self) -> Any:
        is_resource = self.value() == "resource" and self.tokens[self.at + 1][0] == "word"
        if is_resource or self.value() == "@":
            return self.statement(top=False)
        name = self.next("word") if self.kind() == "word" else self.primary()
        self.next("sign", ":")
        return name, self.body()

    def loop(self) -> For:
        item = self.next("word")
        self.next("word", "in")
        of = self.expression()
        self.next("sign", ":")
        body = self.within(self.body)
        self.next("sign", "]")
        return For(item, of, body)


def _text(raw: str) -> Text:
    parts: list[Any] = []
    for part in re.split(r"(\\.|\$\{(?:[^{}']|'[^']*')*\})", raw):
        if part.startswith("${"):
            reader = _Reader(part[2:-1])
            parts.append(reader.expression())
            reader.next("end")
        elif part.startswith("\\"):
            if part not in _ESCAPES:
                raise Wrong(f"{part} in {raw!r}")
            parts.append(_ESCAPES[part])
        elif part:
            parts.append(part)
    return Text(tuple(parts))

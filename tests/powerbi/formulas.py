"""What formulas name: DAX of measures and calculated tables, and M of Power Query. And the texts that M joins.

Both are read as words only, with closed lists of functions: a word that nothing defines is a mistake of spelling.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .tmdl import Wrong

_DAX = re.compile(
    r"\s+|(?P<text>\"(?:[^\"]|\"\")*\")|(?P<field>(?P<table>'[^']+'|[A-Za-z_]\w*)?\[(?P<column>[^\]]+)\])"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<number>\d+(?:\.\d+)?)|(?P<sign>&&|\|\||<>|<=|>=|[-+*/=<>(),{}])"
)
DAX_FUNCTIONS = frozenset(
    [
        "AVERAGE",
        "AVERAGEX",
        "CALCULATE",
        "CALENDAR",
        "COALESCE",
        "COUNTROWS",
        "DISTINCT",
        "DISTINCTCOUNT",
        "DIVIDE",
        "FORMAT",
        "IF",
        "ISBLANK",
        "MAX",
        "MAXX",
        "MIN",
        "NOT",
        "SELECTCOLUMNS",
        "SUM",
        "SUMMARIZE",
        "TOPN",
        "TRUE",
        "UTCNOW",
        "UTCTODAY",
        "WEEKDAY",
    ]
)
_DAX_WORDS = {"VAR", "RETURN", "NOT", "DESC", "ASC"}

_M = re.compile(
    r"\s+|(?P<text>\"(?:[^\"]|\"\")*\")|(?P<name>#?[A-Za-z_][\w.]*)|(?P<number>\d+)"
    r"|(?P<sign>=>|<>|<=|>=|\.\.|[-+*/&=<>(),{}\[\]])"
)
M_FUNCTIONS = frozenset(
    [
        "AzureStorage.DataLake",
        "DateTime.Date",
        "DateTimeZone.FixedUtcNow",
        "DateTimeZone.RemoveZone",
        "DateTimeZone.ToText",
        "DateTimeZone.ToUtc",
        "DeltaLake.Table",
        "List.Accumulate",
        "List.Max",
        "List.Min",
        "List.NonNullCount",
        "List.Sum",
        "Number.FromText",
        "Number.Round",
        "PostgreSQL.Database",
        "Record.Field",
        "Sql.Database",
        "Table.AddColumn",
        "Table.Distinct",
        "Table.Group",
        "Table.RowCount",
        "Table.SelectColumns",
        "Table.SelectRows",
        "Table.TransformColumnTypes",
        "Table.TransformColumns",
        "Text.AfterDelimiter",
        "Text.End",
        "Text.Range",
        "Text.Select",
        "Text.Start",
        "Time.Hour",
        "Value.NativeQuery",
        "#date",
        "#datetime",
        "#duration",
    ]
)
_M_WORDS = frozenset(
    [
        "let",
        "in",
        "if",
        "then",
        "else",
        "each",
        "and",
        "or",
        "as",
        "is",
        "type",
        "text",
        "number",
        "any",
        "table",
        "date",
        "datetime",
        "datetimezone",
        "null",
        "true",
        "false",
        "Int64.Type",
        "_",
    ]
)


@dataclass(frozen=True, slots=True)
class DaxNames:
    """What a formula of DAX names: columns with their table, and names in brackets alone, which are measures."""

    columns: frozenset[tuple[str, str]]
    measures: frozenset[str]
    tables: frozenset[str]


def read_dax(text: str) -> DaxNames:
    """The names in a formula. Raises Wrong for a function that is not listed, or brackets that do not match."""
    columns, measures, tables, variables = set(), set(), set(), set()
    depth, before = 0, ""
    for match in _split(_DAX, text):
        word = match[0].strip()
        if match["field"]:
            if match["table"]:
                columns.add((match["table"].strip("'"), match["column"]))
            else:
                measures.add(match["column"])
        elif match["name"]:
            follows = text[match.end() :].lstrip()[:1]
            if before == "VAR":
                variables.add(word)
            elif follows == "(" and word not in DAX_FUNCTIONS:
                raise Wrong(f"expected a function of DAX, got {word}")
            elif word not in _DAX_WORDS | variables and follows != "(":
                tables.add(word)
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth < 0:
            break
        before = word or before
    if depth:
        raise Wrong(f"expected brackets that match, got {text!r}")
    return DaxNames(frozenset(columns), frozenset(measures), frozenset(tables))


@dataclass(frozen=True, slots=True)
class MNames:
    """What M names: fields in brackets, texts, steps that it defines, and all other names that it uses."""

    fields: frozenset[str]
    texts: frozenset[str]
    steps: frozenset[str]
    used: frozenset[str]


def read_m(text: str) -> MNames:
    """The names in an expression. Raises Wrong for brackets that do not match."""
    words = [match[0] for match in _split(_M, text) if match[0].strip()]
    names: dict[str, set[str]] = {kind: set() for kind in ("field", "text", "step", "parameter", "used", "")}
    opened: list[str] = []
    for index, word in enumerate(words):
        if word in "([{":
            opened.append(word)
        elif word in ")]}" and (not opened or opened.pop() != "([{"[")]}".index(word)]):
            raise Wrong(f"expected brackets that match, got {text!r}")
        names[_name_kind(words, index, opened[-1:] == ["["])].add(word)
    if opened:
        raise Wrong(f"expected brackets that match, got {text!r}")
    texts = frozenset(_read_text(word) for word in names["text"])
    used = frozenset(names["used"] - names["parameter"])
    return MNames(frozenset(names["field"]), texts, frozenset(names["step"]), used)


def _name_kind(words: list[str], index: int, is_record: bool) -> str:
    """What a word of M is: a field, a text, a step, a parameter, a name that is used, or "" for none of them."""
    word, before, after = words[index], "".join(words[index - 1 : index]), "".join(words[index + 1 : index + 2])
    if word.startswith('"'):
        return "text"
    if before == "[" and after == "]":
        return "field"
    if not re.match(r"#?[A-Za-z_]", word) or word in _M_WORDS or (is_record and after == "="):
        return ""
    if after == "=" and before in {"let", ","}:
        return "step"
    return "parameter" if after == "as" or _is_parameter(words, index) else "used"


def _is_parameter(words: list[str], index: int) -> bool:
    """Whether a word stands in the brackets before a `=>`."""
    end = index
    while end < len(words) and re.fullmatch(r"[A-Za-z_]\w*|,", words[end]):
        end += 1
    return words[end : end + 2] == [")", "=>"] and "(" in words[:index]


def join_texts(expressions: Mapping[str, str], name: str, arguments: Mapping[str, str] | None = None) -> str:
    """The text that an expression of joined texts comes to, such as a statement of SQL."""
    values = dict(arguments or {})
    body = expressions[name].split("=>")[-1]
    if match := re.fullmatch(r"\s*let\s+(\w+) = (.*?)\s+in\s+\1\s*", body, re.DOTALL):
        body = match[2]
    parts = [match for match in _split(_M, body) if match[0].strip()]
    for part, sign in zip(parts[::2], parts[1::2], strict=False):
        if sign[0] != "&" or not (part["text"] or part["name"]):
            raise Wrong(f"{name}: expected texts and names joined by &, got {body!r}")
    texts = []
    for part in parts[::2]:
        word = part[0]
        if part["text"]:
            texts.append(_read_text(word))
        else:
            texts.append(values[word] if word in values else join_texts(expressions, word))
    return "".join(texts)


def _read_text(word: str) -> str:
    return word[1:-1].replace('""', '"')


def _split(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    matches, end = [], 0
    while end < len(text):
        match = pattern.match(text, end)
        if not match or match.end() == end:
            raise Wrong(f"expected a word, got {text[end : end + 20]!r}")
        matches.append(match)
        end = match.end()
    return matches

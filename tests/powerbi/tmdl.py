"""The part of TMDL that `infra/powerbi` uses: text -> objects. It refuses all else.

Power BI's own reader is no package for Python. So this is as strict as its documentation: tabs only, a step of one tab
from an object to what it has, expressions two tabs or more below their object, known objects and known properties.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

# Each kind of object: its properties, and the objects that it may have. A flag has no value.
_FLAGS = {"isHidden", "isKey", "discourageImplicitMeasures"}
_PROPERTIES: Mapping[str, set[str]] = {
    "database": {"compatibilityLevel"},
    "model": {"culture", "defaultPowerBIDataSourceVersion", "discourageImplicitMeasures", "sourceQueryCulture"},
    "table": {"dataCategory"},
    "column": {"dataType", "isHidden", "isKey", "formatString", "summarizeBy", "sourceColumn"},
    "measure": {"formatString"},
    "partition": {"mode"},
    "expression": set(),
    "relationship": {"fromColumn", "toColumn"},
    "annotation": set(),
    "ref": set(),
}
_CHILDREN: Mapping[str, set[str]] = {
    "": {"database", "model", "table", "expression", "relationship", "annotation", "ref"},
    "table": {"column", "measure", "partition"},
    "column": {"annotation"},
}
_VALUES: Mapping[str, set[str]] = {
    "dataType": {"string", "int64", "double", "dateTime", "boolean"},
    "summarizeBy": {"none"},
    "mode": {"import"},
    "dataCategory": {"Time"},
}
_WITH_EXPRESSION = {"measure", "expression", "partition", "column", "annotation"}
_QUOTED = r"'(?:[^']|'')+'"
_NAME = rf"(?:{_QUOTED}|[A-Za-z_][\w-]*)"
_OBJECT = re.compile(rf"(?P<kind>[a-z]+)(?: (?P<name>(?:table )?{_NAME}))?(?: =(?P<expression>.*))?")
_PROPERTY = re.compile(r"(?P<name>[A-Za-z]+): (?P<value>\S.*)")


class Wrong(Exception):
    """What the reader refuses, with its line."""


@dataclass(frozen=True, slots=True)
class TmdlObject:
    """An object. *expression*: its formula, for a partition what its source is; *default*: what follows its `=`."""

    kind: str
    name: str
    line: int
    description: str = ""
    default: str = ""
    expression: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    children: tuple[TmdlObject, ...] = ()

    def list_children(self, kind: str) -> list[TmdlObject]:
        """Those of a kind, in their order."""
        return [child for child in self.children if child.kind == kind]


def read_tmdl(text: str) -> list[TmdlObject]:
    """The objects of a file. Raises Wrong."""
    if not text.endswith("\n") or text.endswith("\n\n"):
        raise Wrong("expected one line break at the end")
    return _Reader(text.splitlines()).read_objects(0, "")


@dataclass(slots=True)
class _Reader:
    lines: list[str]
    index: int = 0

    def read_objects(self, depth: int, parent: str) -> list[TmdlObject]:
        """All objects of one depth, until a line of a lesser one."""
        objects: list[TmdlObject] = []
        description: list[str] = []
        while (line := self._peek()) is not None and _measure_depth(line) >= depth:
            if _measure_depth(line) > depth:
                raise self._refuse("one tab less or an object above")
            text = line[depth:]
            if text.startswith("///"):
                description.append(text[3:].strip())
                self.index += 1
                continue
            objects.append(replace(self._read_object(text, depth, parent), description=" ".join(description)))
            description = []
        if description:
            raise self._refuse("an object below its description")
        return objects

    def _read_object(self, text: str, depth: int, parent: str) -> TmdlObject:
        match = _OBJECT.fullmatch(text)
        if not match or match["kind"] not in _CHILDREN.get(parent, set()):
            raise self._refuse(f"an object of {parent or 'a file'}")
        kind, line = match["kind"], self.index + 1
        name = _unquote(match["name"] or "")
        if not name and kind != "database":
            raise self._refuse(f"{kind} with a name")
        default = (match["expression"] or "").strip()
        if match["expression"] is not None and kind not in _WITH_EXPRESSION:
            raise self._refuse(f"{kind} without an expression")
        self.index += 1
        body = self._read_body(depth) if match["expression"] is not None and not default else ""
        expression = "" if kind == "partition" else default or body
        if kind in {"measure", "expression", "annotation"} and not expression:
            raise self._refuse(f"{kind} {name} with an expression")
        properties, source = self._read_properties(depth + 1, kind)
        children = self.read_objects(depth + 1, kind) if kind in _CHILDREN else []
        return TmdlObject(kind, name, line, "", default, source or expression, properties, tuple(children))

    def _read_properties(self, depth: int, kind: str) -> tuple[dict[str, str], str]:
        """Those that follow at once, and the source of a partition; objects follow after an empty line."""
        properties: dict[str, str] = {}
        source = ""
        while self.index < len(self.lines) and self.lines[self.index]:
            line = self.lines[self.index]
            if _measure_depth(line) != depth:
                if _measure_depth(line) > depth:
                    raise self._refuse("a property one tab below its object")
                break
            text = line[depth:]
            match = _PROPERTY.fullmatch(text)
            name, value = (match["name"], match["value"]) if match else (text, "true")
            if kind == "partition" and text.startswith("source ="):
                self.index += 1
                source = text.removeprefix("source =").strip() or self._read_body(depth)
                continue
            if name not in _PROPERTIES[kind] or (not match and name not in _FLAGS) or name in properties:
                raise self._refuse(f"a property of {kind}, once")
            if value not in _VALUES.get(name, {value}):
                raise self._refuse(f"{name} of {sorted(_VALUES[name])}")
            properties[name] = value
            self.index += 1
        return properties, source

    def _read_body(self, depth: int) -> str:
        """An expression of several lines, two tabs or more below its object."""
        body: list[str] = []
        while self.index < len(self.lines) and _measure_depth(self.lines[self.index]) >= depth + 2:
            body.append(self.lines[self.index][depth + 2 :])
            self.index += 1
        if not body:
            raise self._refuse("an expression two tabs below its object")
        return "\n".join(body)

    def _peek(self) -> str | None:
        while self.index < len(self.lines) and not self.lines[self.index]:
            self.index += 1
        return self.lines[self.index] if self.index < len(self.lines) else None

    def _refuse(self, expected: str) -> Wrong:
        got = self.lines[self.index] if self.index < len(self.lines) else "the end"
        return Wrong(f"line {self.index + 1}: expected {expected}, got {got!r}")


def _measure_depth(line: str) -> int:
    return len(line) - len(line.lstrip("\t"))


def _unquote(name: str) -> str:
    return name[1:-1].replace("''", "'") if name.startswith("'") else name


def split_reference(text: str) -> tuple[str, str]:
    """The table and the column of `table.column`, either in quotes. Raises Wrong."""
    match = re.fullmatch(rf"({_NAME})\.({_NAME})", text)
    if not match:
        raise Wrong(f"expected TABLE.COLUMN, got {text!r}")
    return _unquote(match[1]), _unquote(match[2])


def walk(objects: list[TmdlObject] | tuple[TmdlObject, ...]) -> Iterator[TmdlObject]:
    """All objects, those within others too."""
    for item in objects:
        yield item
        yield from walk(item.children)

"""The schema of an Avro file, checked before a library sees it: what its records hold, as columns.

A record in a record gives columns of dotted names, `motor.temp`. A schema that contains itself has no end of columns;
one that is nested or wide beyond the limits, or of which two readings are possible, is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from scorer.errors import Unscorable
from scorer.readings.cells import make_unreadable

FIELD_LIMIT = 20_000  # fields; with those of a record wherever it is named, twice as many
DEPTH_LIMIT = 32  # levels of records, arrays, maps and unions
_PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


@dataclass(frozen=True, slots=True)
class Type:
    """A type of Avro; names are resolved."""

    kind: str  # one of Avro's, or "union"
    logical: str = ""
    scale: int = 0  # of decimals: digits behind the point
    name: str = ""  # of a record, an enum or a fixed
    fields: tuple[tuple[str, Type], ...] = ()  # of a record
    items: tuple[Type, ...] = ()  # the branches of a union; what is in an array or a map
    symbols: tuple[str, ...] = ()  # of an enum
    size: int = 0  # bytes of a fixed
    depth: int = 0  # levels of types in it
    n_nodes: int = 1  # types in it, and itself; those of a record wherever it is named
    is_empty: bool = False  # values take no bytes

    @property
    def content(self) -> Type:
        """The type itself, or the other one of a union with null."""
        others = [branch for branch in self.items if branch.kind != "null"]
        return others[0] if self.kind == "union" and len(others) == 1 else self

    @property
    def is_nested(self) -> bool:
        """Whether a value may be of several."""
        return self.kind in ("array", "map", "record") or any(item.is_nested for item in self.items)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: where its cells are in a record, and their type."""

    path: tuple[str, ...]
    type: Type

    @property
    def name(self) -> str:
        """Its name: `motor.temp`."""
        return ".".join(self.path)


@dataclass(slots=True)
class _Parser:
    """What was met of a schema so far. All methods raise Unscorable."""

    types: dict[str, Type] = field(default_factory=dict)  # by their full names
    open_names: set[str] = field(default_factory=set)  # of the records that are being parsed
    n_fields: int = 0

    def parse_type(self, schema: Any, namespace: str, depth: int = 0) -> Type:
        """A type that is *depth* levels within the records."""
        if depth > DEPTH_LIMIT:
            raise _make_depth_error()
        if isinstance(schema, str):
            return Type(schema, is_empty=schema == "null") if schema in _PRIMITIVES else self.find(schema, namespace)
        if isinstance(schema, list):
            return _join_types("union", [self.parse_type(branch, namespace, depth + 1) for branch in schema])
        if not isinstance(schema, dict):
            raise _make_form_error(schema)
        kind = schema.get("type")
        if kind in ("record", "error", "enum", "fixed"):
            return self.parse_named(schema, namespace, depth)
        if kind == "array":
            return _join_types("array", [self.parse_type(schema.get("items"), namespace, depth + 1)])
        if kind == "map":
            return _join_types("map", [self.parse_type(schema.get("values"), namespace, depth + 1)])
        if kind in _PRIMITIVES:
            return Type(kind, _read_text(schema, "logicalType"), _read_count(schema, "scale"), is_empty=kind == "null")
        return self.parse_type(kind, namespace, depth + 1)

    def find(self, name: str, namespace: str) -> Type:
        """The type of a name."""
        full = _qualify(name, namespace)
        if full in self.open_names:
            raise make_unreadable(f"has the record {full!r} in itself in its Avro schema: such rows have no columns")
        if full not in self.types:
            raise make_unreadable(f"has the type {full!r} in its Avro schema, which nothing before it defines")
        return self.types[full]

    def parse_named(self, schema: Mapping[str, Any], namespace: str, depth: int) -> Type:
        """A record, an enum or a fixed, which other types may name."""
        name = _qualify(_read_text(schema, "name"), _read_text(schema, "namespace") or namespace)
        if not name or name in self.types or name in self.open_names or name in _PRIMITIVES:
            raise make_unreadable(f"defines the type {name!r} in its Avro schema more than once, or without a name")
        match schema["type"]:
            case "enum":
                parsed = Type("enum", name=name, symbols=tuple(map(str, _read_list(schema, "symbols"))))
            case "fixed":
                size, logical = _read_count(schema, "size"), _read_text(schema, "logicalType")
                parsed = Type("fixed", logical, _read_count(schema, "scale"), name, size=size, is_empty=not size)
            case _:
                parsed = self.parse_record(schema, name, depth)
        self.types[name] = parsed
        return parsed

    def parse_record(self, schema: Mapping[str, Any], name: str, depth: int) -> Type:
        """A record of this full name."""
        items = _read_list(schema, "fields")
        self.n_fields += len(items)
        if self.n_fields > FIELD_LIMIT:
            raise _make_width_error()
        if not all(isinstance(item, dict) and _read_text(item, "name") for item in items):
            raise _make_form_error(schema)
        repeated = [text for text, count in Counter(item["name"] for item in items).items() if count > 1]
        if repeated:
            raise make_unreadable(f"has the field {repeated[0]!r} more than once in its Avro schema")
        self.open_names.add(name)
        namespace = name.rpartition(".")[0]
        fields = [(item["name"], self.parse_type(item.get("type"), namespace, depth + 1)) for item in items]
        self.open_names.remove(name)
        return Type(
            "record",
            name=name,
            fields=tuple(fields),
            depth=max((kind.depth for _, kind in fields), default=0) + 1,
            n_nodes=_add_nodes([kind for _, kind in fields]),
            is_empty=all(kind.is_empty for _, kind in fields),
        )


def parse_schema(schema: Any) -> Type:
    """The record that a schema describes. Raises Unscorable."""
    if not isinstance(schema, dict) or schema.get("type") not in ("record", "error"):
        raise make_unreadable(f"expected records in its Avro schema, got {_describe(schema)}")
    parsed = _Parser().parse_type(schema, "")
    if parsed.depth > DEPTH_LIMIT:
        raise _make_depth_error()
    return parsed


def list_columns(record: Type) -> list[Column]:
    """The columns of a record that was parsed, in its order."""
    return [*_walk_columns(record, ())]


def _walk_columns(record: Type, path: tuple[str, ...]) -> Iterator[Column]:
    for name, kind in record.fields:
        content = kind.content
        if content.kind == "record":
            yield from _walk_columns(content, (*path, name))
        else:
            yield Column((*path, name), content)


def _add_nodes(items: list[Type]) -> int:
    """The types in *items*, and the one that holds them: 32 levels of records of two others may be 2**32."""
    n_nodes = 1 + sum(item.n_nodes for item in items)
    if n_nodes > 2 * FIELD_LIMIT:
        raise _make_width_error()
    return n_nodes


def is_envelope(record: Type) -> bool:
    """Whether records are events of Event Hubs Capture, or of IoT Hub's routing, which lacks two of the fields."""
    kinds = {name: kind.content.kind for name, kind in record.fields}
    expected = {"EnqueuedTimeUtc": "string", "SystemProperties": "map", "Properties": "map", "Body": "bytes"}
    return expected.items() <= kinds.items()


def simplify_schema(kind: Type, written: set[str]) -> Any:
    """The schema for a library: without logical types, so that it gives the numbers that are stored.

    The types whose names are *written* are named only.
    """
    if kind.name:
        if kind.name in written:
            return kind.name
        written.add(kind.name)
    match kind.kind:
        case "record":
            fields = [{"name": name, "type": simplify_schema(item, written)} for name, item in kind.fields]
            return {"type": "record", "name": kind.name, "fields": fields}
        case "union":
            return [simplify_schema(branch, written) for branch in kind.items]
        case "array":
            return {"type": "array", "items": simplify_schema(kind.items[0], written)}
        case "map":
            return {"type": "map", "values": simplify_schema(kind.items[0], written)}
        case "enum":
            return {"type": "enum", "name": kind.name, "symbols": list(kind.symbols)}
        case "fixed":
            return {"type": "fixed", "name": kind.name, "size": kind.size}
        case primitive:
            return primitive


def _join_types(kind: str, items: list[Type]) -> Type:
    if kind == "array" and items[0].is_empty:  # 2**62 of them take a few bytes
        raise make_unreadable("has arrays of nothing in its Avro schema")
    if kind == "union" and not items:
        raise _make_form_error(items)
    depth = max(item.depth for item in items) + 1
    return Type(kind, items=tuple(items), depth=depth, n_nodes=_add_nodes(items))


def _qualify(name: str, namespace: str) -> str:
    return f"{namespace}.{name}" if name and namespace and "." not in name else name


def _read_text(schema: Mapping[str, Any], key: str) -> str:
    value = schema.get(key, "")
    return value if isinstance(value, str) else ""


def _read_count(schema: Mapping[str, Any], key: str) -> int:
    value = schema.get(key, 0)
    if type(value) is not int or value < 0:
        raise _make_form_error(schema)
    return value


def _read_list(schema: Mapping[str, Any], key: str) -> list[Any]:
    value = schema.get(key)
    if not isinstance(value, list):
        raise _make_form_error(schema)
    return value


def _describe(schema: Any) -> str:
    return repr(schema)[:80]


def _make_form_error(schema: Any) -> Unscorable:
    return make_unreadable(f"has an Avro schema that is none: {_describe(schema)}")


def _make_depth_error() -> Unscorable:
    return make_unreadable(f"is nested deeper than {DEPTH_LIMIT} levels in its Avro schema")


def _make_width_error() -> Unscorable:
    return make_unreadable(f"has more than {FIELD_LIMIT} columns in its Avro schema")

"""The project in `infra/powerbi` as values: its model, its expressions, and what its report asks of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .tmdl import TmdlObject, read_tmdl

ROOT = Path(__file__).parents[2] / "infra" / "powerbi"
MODEL = ROOT / "fleetscore.SemanticModel"
REPORT = ROOT / "fleetscore.Report"
PAGES = REPORT / "definition" / "pages"
JSON_ENDINGS = (".json", ".pbip", ".pbir", ".pbism")


@cache
def read_definition() -> Mapping[str, list[TmdlObject]]:
    """The objects of each TMDL file, by its path within the definition."""
    folder = MODEL / "definition"
    paths = sorted(folder.rglob("*.tmdl"))
    return {path.relative_to(folder).as_posix(): read_tmdl(path.read_text()) for path in paths}


def list_tables() -> Mapping[str, TmdlObject]:
    """The tables by name."""
    return {item.name: item for items in read_definition().values() for item in items if item.kind == "table"}


def list_expressions() -> Mapping[str, str]:
    """Parameters and functions of Power Query by name, without what `meta` says of a parameter."""
    return {item.name: item.expression.split(" meta [")[0] for item in read_definition()["expressions.tmdl"]}


def list_parameters() -> Mapping[str, str]:
    """The parameters and their defaults, as text."""
    objects = read_definition()["expressions.tmdl"]
    return {
        o.name: o.expression.split(" meta [")[0].strip('"') for o in objects if "IsParameterQuery=true" in o.expression
    }


def list_columns(table: str) -> Mapping[str, str]:
    """The columns of a table, and their types."""
    return {column.name: column.properties["dataType"] for column in list_tables()[table].list_children("column")}


def list_measures() -> Mapping[str, tuple[str, str]]:
    """Each measure by name: its table and its formula."""
    return {
        measure.name: (table.name, measure.expression)
        for table in list_tables().values()
        for measure in table.list_children("measure")
    }


def list_sources() -> Mapping[str, str]:
    """The source of each table: M, or DAX of a calculated table."""
    return {name: table.list_children("partition")[0].expression for name, table in list_tables().items()}


def is_calculated(table: str) -> bool:
    """Whether DAX makes the table, and not Power Query."""
    return list_tables()[table].list_children("partition")[0].default == "calculated"


@dataclass(frozen=True, slots=True)
class FieldUse:
    """A field that the report names: where, whether as a Column or a Measure, and of which table."""

    path: str
    kind: str
    table: str
    name: str


def list_field_uses() -> Iterator[FieldUse]:
    """Every field that a file of the report names."""
    for path in sorted(REPORT.rglob("*.json")):
        for kind, body in _find_fields(json.loads(path.read_text())):
            source = body["Expression"]["SourceRef"]
            yield FieldUse(path.relative_to(PAGES).as_posix(), kind, source["Entity"], body["Property"])


def _find_fields(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, dict) and "Property" in inner:
                yield key, inner
            yield from _find_fields(inner)
    if isinstance(value, list):
        for inner in value:
            yield from _find_fields(inner)


def list_visuals(page: str) -> Mapping[str, Any]:
    """The visuals of a page by the name of their folder."""
    return {path.parent.name: json.loads(path.read_text()) for path in sorted((PAGES / page).rglob("visual.json"))}

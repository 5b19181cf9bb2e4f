"""The words of Bicep that `infra` uses, as values: `bicep.py` reads them, and `evaluate.py` works them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Wrong(Exception):
    """The text is no Bicep that this reader knows, or means nothing."""


@dataclass(frozen=True)
class Name:
    name: str


@dataclass(frozen=True)
class Text:
    parts: tuple[Any, ...]  # str, and expressions in between


@dataclass(frozen=True)
class Call:
    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Dot:
    of: Any
    name: str
    nested: bool = False  # by `::`


@dataclass(frozen=True)
class Index:
    of: Any
    at: Any


@dataclass(frozen=True)
class Operator:
    sign: str
    operands: tuple[Any, ...]


@dataclass(frozen=True)
class Record:
    fields: tuple[tuple[Any, Any], ...]
    resources: tuple[Statement, ...] = ()


@dataclass(frozen=True)
class List:
    items: tuple[Any, ...]


@dataclass(frozen=True)
class For:
    item: str
    of: Any
    body: Any


@dataclass(frozen=True)
class Given:
    """What is made only if."""

    condition: Any
    body: Any


@dataclass(frozen=True)
class Statement:
    kind: str  # targetScope, param, var, resource, module, output
    name: str
    value: Any
    type: str = ""  # of a param or output; the path of a module; of a resource, with its version
    existing: bool = False
    decorators: Mapping[str, Any] = field(default_factory=dict)

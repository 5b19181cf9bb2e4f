"""The columns of both tables, and whether an existing table has them. Pure; each dialect has types of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from scorer.predictions.table import SCHEMA
from scorer.sinks.base import SinkError
from shared.contract.publishing.sinks import SinkReason

PART_NAMES = tuple(SCHEMA.names)
NAMES = (*PART_NAMES, "run")
NULLABLE = frozenset(column.name for column in SCHEMA if column.nullable)
REQUIRED = frozenset(NAMES) - NULLABLE
CONTROL_NAMES = ("run", "app", "version", "round", "rows", "digest", "published_at")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an existing table."""

    name: str
    type: str
    is_nullable: bool
    is_filled: bool  # by the database, where a row says nothing: it has a default, or is computed


@dataclass(frozen=True, slots=True)
class ColumnType:
    """The type that a new table has, and those of existing ones that hold the same values; (n): any length."""

    created: str
    accepted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ColumnTypes:
    """The types of a dialect."""

    text: ColumnType
    run: ColumnType
    time: ColumnType
    number: ColumnType
    small: ColumnType
    whole: ColumnType

    def map_columns(self) -> Mapping[str, ColumnType]:
        """The type of each column of the table of predictions."""
        by_arrow = {
            pa.timestamp("us", "UTC"): self.time,
            pa.string(): self.text,
            pa.float64(): self.number,
            pa.int8(): self.small,
        }
        return {**{column.name: by_arrow[column.type] for column in SCHEMA}, "run": self.run}

    def map_control(self) -> Mapping[str, ColumnType]:
        """The type of each column of the control table."""
        kinds = self.run, self.text, self.whole, self.whole, self.whole, self.text, self.time
        return dict(zip(CONTROL_NAMES, kinds, strict=True))


def join_names(names: Iterable[str], quote: Callable[[str], str]) -> str:
    """Names in a statement, each quoted as its dialect does."""
    return ", ".join(map(quote, names))


def define_columns(types: Mapping[str, ColumnType], required: frozenset[str], quote: Callable[[str], str]) -> str:
    """The columns of a new table, in a statement."""
    return ", ".join(
        f"{quote(name)} {kind.created} {'NOT NULL' if name in required else 'NULL'}" for name, kind in types.items()
    )


def check_columns(
    columns: Sequence[Column], expected: Mapping[str, ColumnType], nullable: frozenset[str], label: str
) -> None:
    """Raise MISMATCH where rows of *expected* columns do not fit into a table with *columns*."""
    by_name = {column.name: column for column in columns}
    for name, kind in expected.items():
        column = by_name.get(name)
        if column is None:
            raise _make_mismatch(label, f"a column {name} ({kind.created})", ", ".join(by_name))
        if not any(_is_alike(column.type, accepted) for accepted in kind.accepted):
            raise _make_mismatch(label, f"{name} to be {' or '.join(kind.accepted)}", column.type)
        if name in nullable and not column.is_nullable:
            raise _make_mismatch(label, f"{name} to take null", f"{column.type} not null")
    required = [c.name for c in columns if c.name not in expected and not c.is_nullable and not c.is_filled]
    if required:
        raise _make_mismatch(label, "no further columns that need a value", ", ".join(required))


def _is_alike(kind: str, accepted: str) -> bool:
    """Whether a type is the accepted one, where (n) stands for any length."""
    head, _, tail = accepted.partition("(n)")
    if "(n)" not in accepted:
        return kind == accepted
    length = kind.removeprefix(head).removesuffix(tail)
    return kind.startswith(f"{head}(") and kind.endswith(f"){tail}") and length[1:-1].isalnum()


def _make_mismatch(label: str, expected: str, got: str) -> SinkError:
    return SinkError(SinkReason.MISMATCH, f"{label}: expected {expected}, got {got or 'none'}")

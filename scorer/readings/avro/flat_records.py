"""Records whose fields are single values -> columns, by a kernel: no object is made of a record or of a cell.

fastavro makes a dictionary of each record, and NumPy arrays of its cells take as long again. What the kernel does not
take, `records` reads, and says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from scorer.arrow import build_flags, build_numbers
from scorer.kernels.rows import (
    DOUBLE_FIELD,
    FLAG_FIELD,
    FLOAT_FIELD,
    TEXT_FIELD,
    WHOLE_FIELD,
    RowKernels,
    find_kernels,
)  # fmt: skip

from .container import Block
from .records import find_time_unit
from .schema import Column, Type

_FIELDS = {
    "boolean": FLAG_FIELD, "int": WHOLE_FIELD, "long": WHOLE_FIELD, "float": FLOAT_FIELD, "double": DOUBLE_FIELD,
    "string": TEXT_FIELD,
}  # fmt: skip
_TEXT_LIMIT = 2**31 - 1  # bytes of the texts of a column: Arrow's offsets


@dataclass(frozen=True, slots=True)
class _Field:
    """A field, where records that hold it count as part of the whole."""

    path: tuple[str, ...]
    kind: int
    null_branch: int = -1  # which branch of its union is null; -1: it is no union


@dataclass(frozen=True, slots=True)
class FlatSchema:
    """The fields of a record, in their order."""

    fields: tuple[_Field, ...]

    @classmethod
    def find(cls, record: Type) -> FlatSchema | None:
        """That of a record; None where a field may be of several values or types."""
        fields = [*_walk_fields(record, ())]
        single = tuple(field for field in fields if field is not None)
        return cls(single) if 0 < len(single) == len(fields) else None

    def read_columns(self, blocks: Sequence[Block], selected: Mapping[str, Column]) -> pa.Table | None:
        """The *selected* columns of all records; None where they are damaged, or no kernel reads them."""
        kernels, n_rows = find_kernels(), sum(block.n_records for block in blocks)
        ends = np.cumsum([len(block.data) for block in blocks])
        if kernels is None or not n_rows or n_rows * len(self.fields) > ends[-1]:  # a field takes a byte at least
            return None
        paths = [column.path for column in selected.values()]
        slots = np.array([paths.index(field.path) if field.path in paths else -1 for field in self.fields])
        bits, sizes = np.zeros((2, len(paths), n_rows), np.int64)
        is_null = np.zeros((len(paths), n_rows), bool)
        data = np.frombuffer(b"".join([block.data for block in blocks]), np.uint8)
        is_whole = kernels.decode_records(
            data,
            ends,
            np.array([block.n_records for block in blocks]),
            np.array([field.kind for field in self.fields]),
            np.array([field.null_branch for field in self.fields]),
            slots,
            bits,
            sizes,
            is_null,
        )
        if not is_whole:
            return None
        cells = _Cells(kernels, data)
        columns = {
            name: cells.build_column(column.type, bits[slot], sizes[slot], is_null[slot])
            for slot, (name, column) in enumerate(selected.items())
        }
        built = {name: column for name, column in columns.items() if column is not None}
        return pa.table(built) if len(built) == len(columns) else None


def _walk_fields(record: Type, path: tuple[str, ...]) -> Iterator[_Field | None]:
    for name, kind in record.fields:
        if kind.kind == "record":
            yield from _walk_fields(kind, (*path, name))
            continue
        branches = [item.kind for item in kind.items] if kind.kind == "union" else []
        content, null_branch = (kind.content, branches.index("null")) if "null" in branches else (kind, -1)
        is_single = len(branches) in (0, 2) and content.kind in _FIELDS and (not branches or null_branch >= 0)
        is_plain = not content.logical or bool(find_time_unit(content))  # others are dates, UUIDs or decimals
        yield _Field((*path, name), _FIELDS[content.kind], null_branch) if is_single and is_plain else None


@dataclass(frozen=True, slots=True)
class _Cells:
    """Builds columns of what the kernel has found in the bytes."""

    kernels: RowKernels
    data: np.ndarray

    def build_column(self, kind: Type, bits: np.ndarray, sizes: np.ndarray, is_null: np.ndarray) -> pa.Array | None:
        """A column as `records.build_cells` makes it; None where it is no text."""
        null = is_null if is_null.any() else None
        unit = find_time_unit(kind)
        if null is not None and null.all() and not unit:
            return pa.nulls(len(bits))
        match _FIELDS[kind.kind]:
            case field if field == TEXT_FIELD:
                return self._build_texts(bits, sizes, null)
            case field if field == FLAG_FIELD:
                flags = bits.astype(bool)
                return build_flags(flags) if null is None else pa.array(flags.tolist(), pa.bool_(), mask=null)
            case field if field == DOUBLE_FIELD:
                return build_numbers(bits.view(np.float64), null=null)
            case field if field == FLOAT_FIELD:
                with np.errstate(invalid="ignore"):  # a NaN of any form is NaN
                    numbers = bits.astype(np.uint32).view(np.float32).astype(np.float64)
                return build_numbers(numbers, null=null)
        zone = None if kind.logical.startswith("local") else "UTC"
        return build_numbers(bits, pa.timestamp(unit, zone) if unit else None, null)

    def _build_texts(self, starts: np.ndarray, sizes: np.ndarray, null: np.ndarray | None) -> pa.Array | None:
        ends = np.cumsum(sizes)
        if ends[-1] > _TEXT_LIMIT:
            return None
        offsets, text = np.concatenate([[0], ends]).astype(np.int32), np.empty(ends[-1], np.uint8)
        self.kernels.copy_texts(self.data, starts, sizes, text)
        valid = None if null is None else pa.py_buffer(np.packbits(~null, bitorder="little"))
        texts = pa.StringArray.from_buffers(len(sizes), pa.py_buffer(offsets), pa.py_buffer(text), valid)
        try:
            texts.validate(full=True)
        except pa.ArrowInvalid:
            return None
        return texts

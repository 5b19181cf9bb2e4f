"""Objects of JSON one by one, where pyarrow refuses them: each cell becomes text, as it is written.

So are columns of mixed types read, and bodies in Base64 found that are no JSON.
"""

from __future__ import annotations

import binascii
import codecs
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from scorer.errors import Unscorable
from scorer.readings.cells import make_unreadable, read_whole
from shared.contract.model_names import Columns
from shared.contract.text import get_first_line

from .json_text import check_depth
from .leaves import BODY, Block, Leaf, is_envelope

_DOCUMENT_LINES = re.compile(rb"[{\[].*[}\]][ \t\r]*\n\s*[{\[]")

Key = tuple[bool, tuple[str, ...]]  # whether it is beside a body, and the path


class Fraction(str):
    """A number of JSON with a fraction or an exponent, as it is written."""

    __slots__ = ()


@dataclass(slots=True)
class SlowRows:
    """Flat rows of texts. *columns* are those of the settings: ids that are whole numbers become their digits."""

    columns: Columns
    cells: dict[Key, dict[int, str | None]] = field(default_factory=dict)  # by row
    lists: dict[Key, dict[int, list[str | None]]] = field(default_factory=dict)
    objects: dict[Key, dict[int, str]] = field(default_factory=dict)  # where other rows may have single values
    n_rows: int = 0
    left_out: int = 0  # bodies that are no JSON

    def add_object(self, row: dict[str, Any]) -> int:
        """Add the rows of one object, of which a routed message may hold several. Returns how many."""
        if not is_envelope(row):
            self._add_row([(False, row)])
            return 1
        bodies, n_bad = parse_body(row[BODY])
        self.left_out += n_bad
        beside = {key: cell for key, cell in row.items() if key != BODY}
        for body in bodies:
            self._add_row([(False, body), (True, beside)])
        return len(bodies)

    def _add_row(self, parts: list[tuple[bool, dict[str, Any]]]) -> None:
        for is_beside, part in parts:
            self._add_fields(is_beside, (), part)
        self.n_rows += 1

    def _add_fields(self, is_beside: bool, path: tuple[str, ...], part: Mapping[str, Any]) -> None:
        for name, cell in part.items():
            key = is_beside, (*path, name)
            if isinstance(cell, dict):
                self._add_fields(is_beside, key[1], cell)
                self.objects.setdefault(key, {})[self.n_rows] = "an object"
            elif isinstance(cell, list) and not any(isinstance(item, list | dict) for item in cell):
                self.lists.setdefault(key, {})[self.n_rows] = [None if item is None else str(item) for item in cell]
            elif isinstance(cell, list):
                self.objects.setdefault(key, {})[self.n_rows] = "an array of arrays or objects"
            else:
                self.cells.setdefault(key, {})[self.n_rows] = None if cell is None else self._read_cell(cell, key[1])

    def _read_cell(self, cell: object, path: tuple[str, ...]) -> str:
        """A cell as text; an id becomes its digits, as in Parquet. Raises Unscorable."""
        name = ".".join(path)
        if not isinstance(cell, Fraction) or not self._is_id(name):
            return str(cell)
        if digits := read_whole(float(cell)):
            return digits
        raise make_unreadable(f"column {name!r} has {cell}, expected text or whole numbers")

    def _is_id(self, name: str) -> bool:
        return bool({name, f"{BODY}.{name}"} & {self.columns.device, self.columns.sensor})

    def build_block(self, index: np.ndarray) -> Block:
        """The fields of all rows; *index*: of each row's object. Raises UnicodeEncodeError."""
        keys = [key for key in {**self.cells, **self.lists} if self._has_values(key)]
        arrays = [self._build_array(key) for key in keys]
        table = pa.table(arrays, names=[".".join(path) for _, path in keys])
        leaves = [
            Leaf(".".join(path), path, table, (number,), table.schema.field(number).type, is_beside)
            for number, (is_beside, path) in enumerate(keys)
        ]
        return Block(leaves, index, self.n_rows, self.left_out)

    def _has_values(self, key: Key) -> bool:
        """Whether a field is a column: not if all its values are objects, and null where there is none."""
        return key in self.lists or key not in self.objects or any(c is not None for c in self.cells[key].values())

    def _build_array(self, key: Key) -> pa.Array:
        cells, lists = self.cells.get(key, {}), self.lists.get(key, {})
        if lists and self.columns.step:
            items = {**{row: None if cell is None else [cell] for row, cell in cells.items()}, **lists}
            return pa.array([items.get(row) for row in range(self.n_rows)], pa.list_(pa.string()))
        if lists and all(cell is None for cell in cells.values()):
            return pa.array([lists.get(row) for row in range(self.n_rows)], pa.list_(pa.string()))
        texts = {**cells, **self.objects.get(key, {}), **dict.fromkeys(lists, "an array")}
        return pa.array([texts.get(row) for row in range(self.n_rows)], pa.string())


def parse_body(body: object) -> tuple[list[dict[str, Any]], int]:
    """The objects of a routed message's body, and how many documents in it cannot be read.

    It is an object, an array of objects, or either, or lines of them, as text or in Base64.
    """
    if isinstance(body, str):
        return parse_text(decode_body(body))
    try:
        return list_objects(body), 0
    except ValueError:
        return [], 1


def parse_text(text: bytes) -> tuple[list[dict[str, Any]], int]:
    """The objects of a text with a document, or with one in each line, and how many documents cannot be read."""
    objects, n_bad = list[dict[str, Any]](), 0
    for document in split_lines(text):
        try:
            objects += list_objects(parse_json(document))
        except (ValueError, RecursionError, Unscorable):
            n_bad += 1
    return objects, n_bad


def split_lines(text: bytes) -> list[bytes]:
    """The lines of a text that has a document in each, but blank ones; else the text, without blanks around it.

    Behind a bracket that closes, no document goes on with one that opens. So where that is how the first line ends and
    the next one begins, the lines are documents of their own, also where some of them cannot be read.
    """
    text = text.removeprefix(codecs.BOM_UTF8).strip()
    if not _DOCUMENT_LINES.match(text):
        return [text]
    return [line for line in map(bytes.strip, text.split(b"\n")) if line]


def decode_body(text: str | None) -> bytes:
    """The bytes of a body in text, which is JSON or Base64; b"" where it is neither."""
    text = (text or "").strip()
    if text[:1] in ("{", "["):
        return text.encode()
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except ValueError:
        return b""


def list_objects(value: object) -> list[dict[str, Any]]:
    """An object, or an array of objects, as a list. Raises ValueError."""
    items: list[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(item, dict) for item in items):
        raise ValueError("expected an object")
    return items


def parse_json(text: bytes) -> Any:
    """A value whose numbers are texts, as they are written. Raises ValueError, RecursionError, Unscorable."""
    check_depth(text)
    return json.loads(text, object_pairs_hook=_build_object, parse_float=Fraction, parse_int=str, parse_constant=str)


def read_slow_lines(lines: Iterable[bytes], first: int, rows: SlowRows) -> None:
    """Add the objects of lines, of which the first has the number *first*. Raises Unscorable."""
    for number, line in enumerate(lines, first):
        if line.strip():
            try:
                value = parse_json(line)
                if not isinstance(value, dict):
                    raise ValueError("expected an object")  # noqa: TRY004  # like the errors of the parser
                rows.add_object(value)
            except (ValueError, RecursionError) as error:
                raise make_unreadable(f"JSON parse error in line {number}: {get_first_line(error)}") from error


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError(f"a key is repeated among {', '.join(key for key, _ in pairs[:20])}")
    return values

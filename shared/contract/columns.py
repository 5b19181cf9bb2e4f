"""Columns of numbers and texts, in one document with a head of JSON. Standard library only. Pure.

    one line    the head, JSON; its `columns` describe each column: name, kind, and the bytes of its block
    the rest    the blocks, one after the other

A million small values in JSON cost a microsecond each to read; in a block they cost a twentieth of it, and nothing
where the column is not asked for. The kinds:

    same        every value is the same one, which is in the head; no block
    integers    unsigned, little-endian, in the fewest bytes of 1, 2, 4, 8 that hold the greatest
    texts       UTF-8, joined by the character U+0000, which no blob's name can hold: XML has no such character
    json        texts of which one holds that character all the same; a list in JSON, UTF-8

UTF-8 with surrogates, which the names of files in a folder may hold.

A block is compressed with zlib where that makes it smaller by a quarter at least.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from typing import Any

from .documents import parse_count
from .errors import Malformed

SEPARATOR = "\0"
RAW_LIMIT = 2**28  # bytes of one column, decompressed
TEXT_LIMIT = 2**13  # bytes of a text, on average over a column: a name has at most 1,024 characters
COUNT_LIMIT = 10_000_000  # values of one column
_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON escapes would join two of them that follow each other
_WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_LEVEL = 1  # of zlib: the fastest. Level 6 makes blocks smaller by a tenth and takes four times as long.
_TRIAL = 4_096  # bytes that are compressed to find out whether the whole block is worth it
_WORTH = 0.75  # of the raw size


@dataclass(frozen=True, eq=False)
class Column:
    """One column as it is stored; its values are decoded when they are first asked for.

    The values of a damaged column raise Malformed.
    """

    kind: str
    count: int
    block: bytes = field(default=b"", repr=False)
    raw_size: int = 0  # bytes of the block, decompressed
    width: int = 0  # bytes of an integer
    value: int | str = ""  # of the kind `same`

    @cached_property
    def raw(self) -> bytes:
        """The block, decompressed."""
        if len(self.block) == self.raw_size:
            return self.block
        decompressor = zlib.decompressobj()
        try:
            data = decompressor.decompress(self.block, self.raw_size + 1)  # 0 would be no limit
        except zlib.error as error:
            raise Malformed(f"a column that cannot be decompressed: {error}") from error
        if len(data) != self.raw_size or not decompressor.eof or decompressor.unused_data:
            raise Malformed(f"a column of another size than {self.raw_size} bytes")
        return data

    @cached_property
    def texts(self) -> Sequence[str]:
        """The values of a column of texts."""
        if self.kind == "same" and isinstance(self.value, str):
            return [self.value] * self.count
        if self.kind == "texts":
            texts: Sequence[str] = _decode(self.raw).split(SEPARATOR) if self.count else []
        elif self.kind == "json":
            texts = _parse_texts(self.raw)
        else:
            raise Malformed(f"expected a column of texts, got {self.kind} {self.value!r}")
        if len(texts) != self.count:
            raise Malformed(f"expected a column of {self.count} texts, got {len(texts)}")
        return texts

    @cached_property
    def integers(self) -> Sequence[int]:
        """The values of a column of integers."""
        if self.kind == "same" and isinstance(self.value, int):
            return array("Q", repeat(self.value, self.count))
        if self.kind != "integers":
            raise Malformed(f"expected a column of integers, got {self.kind} {self.value!r}")
        numbers = array(_WIDTHS[self.width])
        if self.raw_size != self.count * self.width:
            raise Malformed(f"expected a column of {self.count} integers, got {self.raw_size} bytes")
        numbers.frombytes(self.raw)
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise Malformed(f"a column that is no UTF-8: {error}") from error


def _parse_texts(raw: bytes) -> Sequence[str]:
    try:
        texts = json.loads(_decode(raw))
        if not isinstance(texts, list):
            raise TypeError(f"expected a list, got {type(texts).__name__}")
        return [str(text) for text in texts]
    except (ValueError, TypeError, RecursionError) as error:
        raise Malformed(f"a column that is no list of texts: {error}") from error


def make_texts(texts: Sequence[str]) -> Column:
    """A column of texts."""
    first = texts[0] if len(texts) else ""
    if texts.count(first) == len(texts) and not _SURROGATE.search(first):
        return Column("same", len(texts), value=first)
    joined = SEPARATOR.join(texts)
    if joined.count(SEPARATOR) == len(texts) - 1:
        return _make_column("texts", len(texts), joined.encode("utf-8", "surrogatepass"))
    return _make_column(
        "json", len(texts), json.dumps(list(texts), ensure_ascii=False).encode("utf-8", "surrogatepass")
    )


def make_integers(numbers: Sequence[int]) -> Column:
    """A column of integers from 0 to 2**64 - 1; *numbers* may be an array of unsigned integers of any width."""
    least, most = (min(numbers), max(numbers)) if len(numbers) else (0, 0)
    if not 0 <= least <= most < 2**64:
        raise ValueError(f"expected integers from 0 to 2**64 - 1, got {least} to {most}")
    if least == most:
        return Column("same", len(numbers), value=int(least))
    width = next(width for width in _WIDTHS if most < 256**width)
    values = array(_WIDTHS[width], numbers)
    if sys.byteorder == "big":
        values.byteswap()
    return _make_column("integers", len(numbers), values.tobytes(), width)


def _make_column(kind: str, count: int, raw: bytes, width: int = 0) -> Column:
    block = raw
    trial = raw[:_TRIAL]
    if len(zlib.compress(trial, _LEVEL)) < _WORTH * len(trial):
        compressed = zlib.compress(raw, _LEVEL)
        block = compressed if len(compressed) < len(raw) else raw
    return Column(kind, count, block, len(raw), width)


def dump_document(head: Mapping[str, Any], columns: Mapping[str, Column]) -> bytes:
    """The document; the same values give the same bytes."""
    described = [
        [name, column.kind, column.count, column.value]
        if column.kind == "same"
        else [name, column.kind, column.count, len(column.block), column.raw_size, column.width]
        for name, column in columns.items()
    ]
    blocks = b"".join(column.block for column in columns.values())
    text = json.dumps(
        {**head, "columns": described, "crc32": zlib.crc32(blocks)}, separators=(",", ":"), allow_nan=False
    )
    return b"".join([text.encode(), b"\n", blocks])


def split_document(data: bytes) -> tuple[bytes, memoryview]:
    """The head's JSON, and the blocks. A document without blocks has no line end, or one at its end."""
    end = data.find(b"\n")
    return (data, memoryview(b"")) if end < 0 else (data[:end], memoryview(data)[end + 1 :])


def _parse_same(value: object) -> str | int:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        raise ValueError(f"expected a text or an integer from 0 to 2**64 - 1, got {value!r}")
    return value


def parse_columns(head: Mapping[str, Any], blocks: memoryview) -> dict[str, Column]:
    """The columns that a head describes. Raises ValueError, KeyError, TypeError."""
    columns: dict[str, Column] = {}
    start = 0
    for name, kind, count, *rest in head["columns"]:
        if parse_count(count) > COUNT_LIMIT:
            raise ValueError(f"column {name!r} has {count} values, expected at most {COUNT_LIMIT}")
        if kind == "same":
            columns[name] = Column(kind, count, value=_parse_same(*rest))
            continue
        size, raw_size, width = map(parse_count, rest)
        if not count or kind not in ("texts", "json", "integers") or (width not in _WIDTHS) != (kind != "integers"):
            raise ValueError(f"column {name!r} is of an unknown kind, {count} values of {kind!r}, width {width}")
        limit = count * width or min(RAW_LIMIT, count * TEXT_LIMIT)
        if raw_size > limit:
            raise ValueError(f"column {name!r} of {count} values has {raw_size} bytes, expected at most {limit}")
        columns[name] = Column(kind, count, bytes(blocks[start : start + size]), raw_size, width)
        start += size
    if start != len(blocks) or zlib.crc32(blocks) != head["crc32"]:
        raise ValueError(f"expected columns of {start} bytes with CRC-32 {head['crc32']}, got {len(blocks)} bytes")
    return columns

"""One file of readings -> its rows: ids as text, times in UTC, numbers as float64. What a file is, its content says.

Nothing is guessed: a file whose columns shift, repeat or are missing is unreadable as a whole, since no row of it can
be trusted. A single cell that is no number spoils only the models that wanted it.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shared.domain import Reason
from shared.names import Columns

from .unscorable import Unscorable

UNPACKED_LIMIT = 2**31  # bytes that a gzip file may unpack to
MISSING = ("", "#N/A", "N/A", "NA", "NULL", "NaN", "None", "nan", "null")  # where a number was wanted
NO_TIME = np.iinfo(np.int64).min  # NumPy's NaT

_ZONED = r"[T ].*(Z|[+-]\d\d(:?\d\d)?)$"


@dataclass(frozen=True, slots=True)
class Table:
    """A file's rows as it has them. *features* are its columns of numbers; a long file has just the value column."""

    columns: Columns
    rows: pa.Table

    @property
    def long(self) -> bool:
        """Whether each row is one reading of one sensor; else it has a column for each feature."""
        return self.columns.value in self.rows.column_names

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that hold numbers, in the file's order."""
        if self.long:
            return (self.columns.value,)
        ids = (self.columns.time, self.columns.device, self.columns.sensor)
        return tuple(name for name in self.rows.column_names if name not in ids)

    @property
    def has_sensor(self) -> bool:
        """Whether a column says which sensor each row is of."""
        name = self.columns.sensor
        return name in self.rows.column_names and self.rows[name].null_count < self.rows.num_rows

    def text(self, name: str) -> pa.DictionaryArray:
        """A column of ids, as text that was never taken for anything else. Raises Unscorable."""
        column = self.rows[name].combine_chunks()
        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.dictionary_decode()
            kind = column.type
        if not (_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
            raise unreadable(f"column {name!r} is {kind}, wanted text or whole numbers")
        return column.cast(pa.string()).dictionary_encode()

    def times(self) -> np.ndarray:
        """Microseconds since 1970 in UTC, NO_TIME where a text is no instant. Raises Unscorable."""
        name = self.columns.time
        column = self.rows[name].combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if _is_text(column.type):
            encoded = column.cast(pa.string()).dictionary_encode()
            distinct = _instants(encoded.dictionary)
            indices: np.ndarray = encoded.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False)
            instants: np.ndarray = np.append(distinct, NO_TIME)[indices]
            return instants
        if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
            raise unreadable(f"column {name!r} is {column.type}, wanted timestamps or ISO 8601 text")
        zone = getattr(column.type, "tz", None)
        return _micros(column.cast(pa.timestamp("us", zone), safe=False))

    def numbers(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column as float64, NaN where nothing usable stands, and where that is neither number nor missing."""
        column = self.rows[name].combine_chunks()
        kind = column.type
        if pa.types.is_boolean(kind):
            column, kind = column.cast(pa.int8()), pa.int8()
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            return values, np.zeros(len(values), bool)
        if pa.types.is_null(kind):
            return np.full(len(column), np.nan), np.zeros(len(column), bool)
        if not _is_text(kind):
            return np.full(len(column), np.nan), column.is_valid().to_numpy(zero_copy_only=False)
        encoded = column.cast(pa.string()).dictionary_encode()
        distinct, bad = _parsed(encoded.dictionary.to_pylist())
        indices = encoded.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False)
        return np.append(distinct, np.nan)[indices], np.append(bad, False)[indices]  # a null is missing


def read_table(data: bytes, columns: Columns) -> Table | None:
    """The rows of a CSV, JSON lines or Parquet file, perhaps gzipped; None where there are none. Raises Unscorable."""
    if data[:2] == b"\x1f\x8b":
        data = _gunzipped(data)
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        if data[:4] == b"PAR1":
            rows = _parquet(data)
        elif not data.strip():
            return None
        elif b"\0" in data:
            raise unreadable("holds NUL bytes; wanted text in UTF-8, or Parquet")
        else:
            rows = _json_lines(data, columns) if data.lstrip()[:1] == b"{" else _csv(data, columns)
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(str(error)) from error
    table = Table(columns, rows)
    _check_columns(table)
    return table if rows.num_rows else None


def unreadable(message: str) -> Unscorable:
    """The refusal of a whole file."""
    return Unscorable(Reason.UNREADABLE_READINGS, message)


def _check_columns(table: Table) -> None:
    names, columns = table.rows.column_names, table.columns
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise unreadable(f"has the column {repeated[0]!r} more than once")
    if columns.time not in names or columns.device not in names or not table.features:
        raise unreadable(
            f"wanted columns {columns.time!r}, {columns.device!r} and {columns.value!r} or features, "
            f"found {', '.join(map(repr, names))}"
        )


def _gunzipped(data: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            plain = file.read(UNPACKED_LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(f"truncated or corrupt gzip: {error}") from error
    if len(plain) > UNPACKED_LIMIT:
        raise unreadable(f"unpacks to more than {UNPACKED_LIMIT} bytes")
    return plain


def _csv(data: bytes, columns: Columns) -> pa.Table:
    """Strict: pyarrow refuses a row with more or fewer cells than the header."""
    from pyarrow import csv as arrow_csv

    header = next(csv.reader([data.lstrip(b"\r\n").split(b"\n", 1)[0].decode().rstrip("\r")]), [])
    ids = {columns.time, columns.device, columns.sensor}

    def read(number: pa.DataType) -> pa.Table:
        options = arrow_csv.ConvertOptions(
            column_types={name: pa.string() if name in ids else number for name in header}, null_values=MISSING
        )
        whole = data if data.endswith(b"\n") else data + b"\n"  # pyarrow takes no header without an end of line
        rows = arrow_csv.read_csv(pa.BufferReader(whole), convert_options=options)
        if rows.column_names != header:  # then the types above did not apply, and ids may have become numbers
            raise unreadable(f"has a header that can be read in two ways: {header} and {rows.column_names}")
        return rows

    try:
        return read(pa.float64())
    except pa.ArrowInvalid as error:
        if "conversion error to double" not in str(error):
            raise
    return read(pa.string())  # some cell is no number; which ones, `numbers` says


def _json_lines(data: bytes, columns: Columns) -> pa.Table:
    from pyarrow import json

    def read(*texts: str) -> pa.Table:
        schema = pa.schema([(name, pa.string()) for name in texts])
        rows = json.read_json(pa.BufferReader(data), parse_options=json.ParseOptions(explicit_schema=schema))
        absent = [name for name in texts if rows[name].null_count == rows.num_rows]
        return rows.drop_columns(absent)  # naming a column makes pyarrow add it

    try:
        return read(columns.time, columns.device, columns.sensor)
    except pa.ArrowInvalid:
        return read(columns.time)  # ids may be written as numbers


def _parquet(data: bytes) -> pa.Table:
    from pyarrow import parquet

    return parquet.read_table(pa.BufferReader(data), page_checksum_verification=True)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind))


def _instants(texts: pa.StringArray) -> np.ndarray:
    """ISO 8601 with or without an offset; without one it is UTC."""
    zoned = pc.match_substring_regex(texts, _ZONED).to_numpy(zero_copy_only=False)
    result = np.full(len(texts), NO_TIME)
    for mask, zone in ((zoned, "UTC"), (~zoned, None)):
        result[mask] = _cast(texts.filter(pa.array(mask)), zone)
    return result


def _cast(texts: pa.StringArray, zone: str | None) -> np.ndarray:
    """All at once; one by one where something is no instant."""
    for unit in ("ns", "us"):  # nanoseconds take any fraction, microseconds any year
        try:
            return _micros(texts.cast(pa.timestamp(unit, zone)).cast(pa.timestamp("us", zone), safe=False))
        except pa.ArrowInvalid:
            continue
    if len(texts) == 1:
        return np.array([NO_TIME])
    return np.concatenate([_cast(texts.slice(i, 1), zone) for i in range(len(texts))])


def _micros(instants: Any) -> np.ndarray:
    micros: np.ndarray = instants.cast(pa.int64()).fill_null(NO_TIME).to_numpy(zero_copy_only=False)
    return micros


def _parsed(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    numbers, bad = np.full(len(texts), np.nan), np.zeros(len(texts), bool)
    for i, text in enumerate(texts):
        try:
            numbers[i] = float(text if "_" not in text else "1_000 is Python's alone")
        except ValueError:
            bad[i] = text.strip() not in MISSING
    return numbers, bad

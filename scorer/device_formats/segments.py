"""The segments of a TDMS file: whether all of them are there, and the start times that each one sets.

npTDMS unites the properties of all segments, so that a file that was resumed after an hour has one start time, the
last; and it leaves out a last segment that was cut. So both are read here, from the metadata alone.
https://www.ni.com/en/support/documentation/supplemental/07/tdms-file-format-internal-structure.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader

from shared.contract.errors import Malformed

LEAD = 28  # bytes
_BIG_ENDIAN, _HAS_METADATA = 1 << 6, 1 << 1
_UNFINISHED = 2**64 - 1
_STRING, _TIMESTAMP = 0x20, 0x44
_SIZES = {
    **dict(zip(range(1, 12), (1, 2, 4, 8, 1, 2, 4, 8, 4, 8, 16), strict=True)),  # integers and floats
    0x19: 4,
    0x1A: 8,
    0x1B: 16,
    0x21: 1,
    _TIMESTAMP: 16,
    0x08000C: 8,
    0x10000D: 16,
}  # of properties, by their type
_NO_DATA, _SAME_DATA, _DAQMX = 0xFFFFFFFF, 0, (0x1269, 0x126A, 0x1369)
_EPOCH_OF_1904 = 2_082_844_800  # seconds from then to 1970


@dataclass(slots=True)
class _Cursor:
    """A place in the metadata of a segment."""

    data: bytes
    order: str
    start: int = 0

    def take(self, form: str) -> int:
        (number,) = struct.unpack_from(self.order + form, self.data, self.start)
        self.start += struct.calcsize(form)
        return int(number)

    def take_bytes(self, size: int) -> bytes:
        data = self.data[self.start : self.start + size]
        if len(data) < size:
            raise struct.error("cut")
        self.start += size
        return data


def find_start_times(file: BufferedReader, size: int) -> dict[str, set[int]]:
    """The start times (`wf_start_time`, microseconds since 1970) that the segments set, by an object's path.

    Raises Malformed where a segment is cut or was not finished.
    """
    times: dict[str, set[int]] = {}
    start = number = 0
    while start < size:
        number += 1
        file.seek(start)
        lead = file.read(LEAD)
        try:
            start, metadata = _read_lead(lead, start, size, file)
            for path, time in _list_start_times(metadata):
                times.setdefault(path, set()).add(time)
        except (struct.error, UnicodeDecodeError) as error:
            raise Malformed(f"segment {number}: expected TDMS metadata, got something else: {error}") from error
        except Malformed as error:
            raise Malformed(f"segment {number}: {error}") from error
    return times


def _read_lead(lead: bytes, start: int, size: int, file: BufferedReader) -> tuple[int, _Cursor | None]:
    """Where the next segment begins, and the metadata of this one. Raises Malformed."""
    if lead[:4] != b"TDSm":
        raise Malformed(f"expected a segment that begins with TDSm, got {lead[:4]!r}")
    (flags,) = struct.unpack_from("<i", lead, 4)
    order = ">" if flags & _BIG_ENDIAN else "<"
    _, length, offset = struct.unpack_from(f"{order}IQQ", lead, 8)
    end = start + LEAD + length
    if length == _UNFINISHED or end > size or offset > length:
        expected = "more" if length == _UNFINISHED else str(end)
        raise Malformed(
            f"expected a file that its writer finished, of {expected} bytes, got {size}: "
            "it is cut, or still being written"
        )
    return end, _Cursor(file.read(offset), order) if flags & _HAS_METADATA else None


def _list_start_times(cursor: _Cursor | None) -> Iterator[tuple[str, int]]:
    for _ in range(cursor.take("I") if cursor else 0):
        assert cursor
        path = _take_text(cursor)
        _skip_index(cursor)
        for _ in range(cursor.take("I")):
            name, kind = _take_text(cursor), cursor.take("I")
            data = cursor.take_bytes(cursor.take("I") if kind == _STRING else _get_size(kind))
            if name == "wf_start_time" and kind == _TIMESTAMP:
                yield path, _read_timestamp(data, cursor.order)


def _take_text(cursor: _Cursor) -> str:
    return cursor.take_bytes(cursor.take("I")).decode()


def _get_size(kind: int) -> int:
    if kind not in _SIZES:
        raise struct.error(f"a property of type {kind:#x}")
    return _SIZES[kind]


def _skip_index(cursor: _Cursor) -> None:
    """Go behind the description of an object's data."""
    length = cursor.take("I")
    if length in _DAQMX:
        cursor.take_bytes(16)  # type, dimension, number of values
        scaler = 17 if length == _DAQMX[1] else 20
        cursor.take_bytes(cursor.take("I") * scaler)
        cursor.take_bytes(cursor.take("I") * 4)  # widths
    elif length not in (_NO_DATA, _SAME_DATA):
        cursor.take_bytes(length - 4)  # which counts itself


def _read_timestamp(data: bytes, order: str) -> int:
    """Seconds since 1904 and 2**-64 of a second, as microseconds since 1970."""
    seconds, fractions = struct.unpack(">qQ", data) if order == ">" else struct.unpack("<Qq", data)[::-1]
    return (int(seconds) - _EPOCH_OF_1904) * 10**6 + (int(fractions) * 10**6 + 2**63 >> 64)

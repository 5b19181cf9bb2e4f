"""The files of the corpus that show, or do not show, how their CSV is written, and those that are compressed."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
from collections.abc import Iterator

import pyarrow as pa

from shared.contract.reasons import Reason
from tests.scorer.corpus.corpus import BadReadings

WHOLE, NONE, BAD = Reason.UNREADABLE_READINGS, Reason.NO_READINGS, Reason.BAD_READINGS
HEAD = "time,device,value\n"
GOOD = f"{HEAD}2026-11-21T07:00Z,pump,1\n2026-11-21T07:01Z,pump,2\n"
BOTH = (1.0, 2.0)
FOUND, COMMENTS, LEFT_OUT = "read with decimal commas", "read as comments", "were left out"
ONE_KIND = "expected decimals of one kind: set READINGS_CSV (--csv) decimal=comma or decimal=point"

Seen = Reason | tuple[float, ...]


def list_files() -> list[BadReadings]:
    """All of them; the same each time."""
    return [*_separators(), *_decimals(), *_comments(), *_archives(), *_streams()]


def _file(name: str, data: str | bytes, seen: Seen, says: str = "", fail: Seen | None = None) -> BadReadings:
    return BadReadings(
        name, data.encode() if isinstance(data, str) else data, seen, seen if fail is None else fail, says
    )


def _rows(*cells: str, head: str = "time;device;value") -> str:
    return "".join(
        f"{line}\n" for line in (head, *(f"2026-11-21T07:0{i}Z;pump;{cell}" for i, cell in enumerate(cells)))
    )


def _separators() -> Iterator[BadReadings]:
    for name, sign in {"semicolons": ";", "tabs": "\t", "bars": "|"}.items():
        yield _file(f"{name}.csv", GOOD.replace(",", sign), BOTH)
        yield _file(f"{name}-in-capitals.csv", GOOD.replace(",", sign).replace("time", "Time"), WHOLE, "got 3 with")
        short = GOOD.replace(",", sign) + f"2026-11-21T07:02Z{sign}pump\n"
        yield _file(f"{name}-a-cell-less.csv", short, WHOLE, "Expected 3 columns, got 2")
    yield _file("colons.csv", GOOD.replace(",", ":"), WHOLE, "expected columns 'time', 'device'")
    yield _file("spaces.csv", GOOD.replace(",", " "), WHOLE, "expected columns 'time', 'device'")
    yield _file("two-separators.csv", "time,device,a;time;device;b\n", WHOLE, "separator=comma or separator=semicolon")
    yield _file("rows-with-another-separator.csv", HEAD + "2026-11-21T07:00Z;pump;1\n", WHOLE, "Expected 3 columns")
    yield _file("sep-line.csv", "sep=;\r\n" + _rows("1", "2"), BOTH)
    yield _file("sep-line-quoted-behind-mark.csv", codecs.BOM_UTF8 + b'"sep=;"\r\n' + _rows("1", "2").encode(), BOTH)
    yield _file("sep-line-alone.csv", "sep=;\n", NONE)
    yield _file("sep-line-that-lies.csv", "sep=;\n" + GOOD, WHOLE, "expected columns 'time'")
    yield _file("sep-line-of-a-letter.csv", "sep=é\n" + GOOD, WHOLE, "expected columns 'time'")
    yield _file("units-under-the-header.csv", "time;device;value\nUTC;;bar\n2026-11-21T07:00Z;pump;1,5\n", (1.5,))
    twice = GOOD + GOOD.replace("07:0", "07:1").replace("device,", "pump,")
    yield _file("header-in-the-middle.csv", twice, (1.0, 2.0, 1.0, 2.0), LEFT_OUT, BAD)
    yield _file("header-in-the-middle-of-no-device.csv", GOOD + GOOD.replace("07:0", "07:1"), (1.0, 2.0, 1.0, 2.0))
    yield _file("very-very-many-columns.csv", "time;device;" + "a;" * 200_000, WHOLE, "expected at most 100000")
    yield _file("one-line-of-20-mb.csv", "x;" * 10**7, WHOLE, "has a line of more than 16 MiB")


def _decimals() -> Iterator[BadReadings]:
    yield _file("decimal-commas.csv", _rows("1,5", "-2,25"), (1.5, -2.25), FOUND)
    yield _file("decimal-commas-and-words.csv", _rows("1,5", "ERR"), (1.5,), LEFT_OUT, BAD)
    yield _file("decimal-commas-with-exponents.csv", _rows("1,5e2", "2"), (150.0, 2.0), FOUND)
    yield _file("decimal-commas-of-three-digits.csv", _rows("1,500", "2,500"), WHOLE, "may have decimals or thousands")
    yield _file("decimal-commas-of-three-digits-and-0.csv", _rows("1,500", "0,500"), (1.5, 0.5), FOUND)
    yield _file("decimal-commas-and-points.csv", _rows("1,5", "1.5"), WHOLE, f"'1,5' and '1.5', {ONE_KIND}")
    yield _file("thousands-with-points.csv", _rows("1.234,5"), WHOLE, ONE_KIND)
    yield _file("thousands-with-commas.csv", _rows("1,234.5"), WHOLE, ONE_KIND)
    yield _file("thousands-with-blanks.csv", _rows("1 234,5"), WHOLE, ONE_KIND)
    yield _file("millions.csv", _rows("1,234,567"), WHOLE, ONE_KIND)
    yield _file("semicolons-and-points.csv", _rows("1.5", "2.5"), (1.5, 2.5))
    yield _file("semicolons-and-words.csv", _rows("1.5", "low, very"), (1.5,), LEFT_OUT, BAD)
    yield _file("semicolons-and-words-alone.csv", _rows("low, very"), BAD, "column 'value' has 'low, very'")


def _comments() -> Iterator[BadReadings]:
    yield _file("comments.csv", f"# a\n#b, c\n\n{GOOD}# end", BOTH, COMMENTS)
    yield _file("comments-alone.csv", "# a\n# b", NONE)
    yield _file("comments-behind-the-header.csv", f"{GOOD}# end\n", WHOLE, "Expected 3 columns, got 1")
    yield _file("comment-as-header.csv", "#time,device,value\n2026-11-21T07:00Z,pump,1\n", WHOLE, "expected columns")
    yield _file("preamble-without-signs.csv", f"Logger 7\nSerial 12\n{GOOD}", WHOLE, "expected columns")


def _pack(*files: tuple[str, str | bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content)
    return data.getvalue()


def _archives() -> Iterator[BadReadings]:
    good = _pack(("a.csv", GOOD))
    locked = bytearray(good)
    locked[6] = locked[good.index(b"PK\1\2") + 8] = 1
    yield _file("good.zip", good, BOTH)
    yield _file("path-above.zip", _pack(("../../a.csv", GOOD)), BOTH)
    yield _file("markers-beside.zip", _pack(("__MACOSX/._a.csv", "x"), ("b/", ""), ("b/a.csv", GOOD)), BOTH)
    yield _file("cut.zip", good[:-1], WHOLE, "truncated or corrupt zip")
    yield _file("cut-in-the-middle.zip", good[: len(good) // 2], WHOLE, "truncated or corrupt zip")
    yield _file("wrong-checksum.zip", good.replace(b"07:01Z", b"07:02Z"), WHOLE, "truncated or corrupt zip")
    yield _file("encrypted.zip", bytes(locked), WHOLE, "'a.csv' is encrypted")
    yield _file("nothing.zip", _pack(), WHOLE, "is a zip archive of 0 files")
    yield _file("two-files.zip", _pack(("a.csv", GOOD), ("b.csv", GOOD)), WHOLE, "of 2 files: 'a.csv', 'b.csv'")
    yield _file("of-zip.zip", _pack(("a.zip", good)), WHOLE, "is zip inside zip; expected one compression")
    yield _file("workbook.xlsx", _pack(("[Content_Types].xml", "x")), WHOLE, "in Excel choose File, Save As, CSV UTF-8")
    yield _file("workbook.ods", _pack(("mimetype", "x"), ("content.xml", "x")), WHOLE, "is a workbook of Excel")
    yield _file("workbook.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504), WHOLE, "is an old Excel")


def _streams() -> Iterator[BadReadings]:
    for name, word, data in (
        ("csv.zst", "Zstandard", pa.Codec("zstd").compress(GOOD.encode(), asbytes=True)),
        ("csv.bz2", "bzip2", bz2.compress(GOOD.encode())),
        ("csv.xz", "xz", lzma.compress(GOOD.encode())),
    ):
        yield _file(f"good.{name}", data, BOTH)
        yield _file(f"twice.{name}", data + data, BOTH, "were replaced")
        yield _file(f"cut.{name}", data[:-1], WHOLE, f"truncated or corrupt {word}")
        yield _file(f"noise-behind.{name}", data + b"noise and more", WHOLE, f"truncated or corrupt {word}")
        yield _file(f"of-gzip.{name}", _repack(word, gzip.compress(b"", mtime=0)), WHOLE, f"is gzip inside {word}")


def _repack(word: str, data: bytes) -> bytes:
    if word == "Zstandard":
        packed: bytes = pa.Codec("zstd").compress(data, asbytes=True)
        return packed
    return bz2.compress(data) if word == "bzip2" else lzma.compress(data)

"""Compressed files of readings are known by their content, read whole, or refused with what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import random
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.errors import Unscorable
from scorer.readings.formats import compression
from scorer.readings.formats.compression import LONGEST_MAGIC, find_compression, unpack
from shared.contract.reasons import Reason
from tests.scorer.readings.seen import read_text, refusal, see

CHANCE = random.Random(16)
ROWS = "".join(f"2026-11-21T07:{i:02}Z,pump,{CHANCE.random()}\n" for i in range(20))
TEXT = f"time,device,value\n{ROWS}".encode()
VALUES = [float(row.rpartition(",")[2]) for row in ROWS.splitlines()]


def pack_zip(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return data.getvalue()


def pack_zstandard(text: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(text, asbytes=True)
    return packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "Zstandard": pack_zstandard,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zip": lambda text: pack_zip(("a.csv", text)),
}


@pytest.mark.parametrize("name", PACKERS)
def test_each_compression_is_known_by_its_content_and_read(name: str, tmp_path: Path) -> None:
    packed = PACKERS[name](TEXT)

    assert find_compression(packed[:LONGEST_MAGIC]) == name
    assert unpack(packed) == TEXT
    assert [cell for _, (cell,) in see(read_text(tmp_path, packed))] == VALUES
    assert unpack(PACKERS[name](b"")) == b""


def test_unpacking_takes_no_memory_for_what_a_file_might_have() -> None:
    """A machine with 1 GiB refuses 2 GiB at once, and pyarrow 26.0 keeps what it took for a stream that is broken."""
    packed = [pack(TEXT) for pack in PACKERS.values()]
    program = (
        "import pickle, resource, sys\n"
        "from scorer.errors import Unscorable\n"
        "from scorer.readings.formats.compression import unpack\n"
        "size = 4096 * int(open('/proc/self/statm').read().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + 2**30, size + 2**30))\n"
        "for data in pickle.load(sys.stdin.buffer):\n"
        "    assert len(unpack(data)) > 0\n"
        "    for cut in range(30):\n"
        "        try:\n"
        "            unpack(data[: len(data) - 1 - cut])\n"
        "        except Unscorable:\n"
        "            continue\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, input=pickle.dumps(packed))


def test_other_files_stay_as_they_are() -> None:
    for data in (TEXT, b"", b"BZh9,time,device\n", b"PK,time\n", b"BZ"):
        assert (find_compression(data[:LONGEST_MAGIC]), unpack(data)) == ("", data)


@pytest.mark.parametrize("name", ["gzip", "Zstandard", "bzip2", "xz"])
def test_streams_that_follow_each_other_are_one_file(name: str) -> None:
    middle = len(TEXT) // 2
    assert unpack(PACKERS[name](TEXT[:middle]) + PACKERS[name](b"") + PACKERS[name](TEXT[middle:])) == TEXT
    with pytest.raises(Unscorable, match=f"truncated or corrupt {name}"):
        unpack(PACKERS[name](TEXT) + b"garbage and more")


def test_zeros_that_pad_a_stream_of_xz_are_no_content() -> None:
    assert unpack(lzma.compress(TEXT) + bytes(2**16) + lzma.compress(TEXT) + bytes(4)) == TEXT + TEXT


@pytest.mark.parametrize("name", PACKERS)
def test_a_file_that_is_cut_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    packed = PACKERS[name](TEXT)
    for length in range(LONGEST_MAGIC, len(packed)):
        with pytest.raises(Unscorable, match=f"truncated or corrupt {name}"):
            unpack(packed[:length])
    for length in range(1, LONGEST_MAGIC):  # perhaps too short to be known
        assert refusal(read_text(tmp_path, packed[:length]))[0] is Reason.UNREADABLE_READINGS


@pytest.mark.parametrize("name", PACKERS)
def test_a_changed_byte_changes_no_reading_without_an_error(name: str) -> None:
    packed = PACKERS[name](TEXT)
    for position in range(len(packed)):
        changed = bytearray(packed)
        changed[position] ^= 1 << CHANCE.randrange(8)
        with suppress(Unscorable):
            plain = unpack(bytes(changed))
            # Names, times and flags of a header; Zstandard has no checksum unless its writer wants one.
            assert plain in (TEXT, bytes(changed)) or name == "Zstandard"


@pytest.mark.parametrize("name", PACKERS)
def test_what_unpacks_to_more_than_the_limit_is_refused_in_little_memory(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = PACKERS[name](bytes(2**26))
    monkeypatch.setattr(compression, "UNPACKED_LIMIT", 2**20)
    tracemalloc.start()
    with pytest.raises(Unscorable, match="unpacks to more than 1048576 bytes"):
        unpack(packed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20  # xz has a dictionary of 8 MiB
    assert len(unpack(PACKERS[name](bytes(2**20)))) == 2**20


def test_xz_takes_no_more_memory_than_its_limit() -> None:
    packed = bytearray(lzma.compress(TEXT))
    assert packed[14:17] == b"\x21\x01\x16"  # LZMA2, one byte of properties, a dictionary of 8 MiB
    packed[16] = 40  # of 4 GiB
    end = 12 + 4 * packed[12]  # of the block's header, before its checksum
    packed[end : end + 4] = zlib.crc32(packed[12:end]).to_bytes(4, "little")
    with pytest.raises(Unscorable, match=r"^truncated or corrupt xz: Memory usage limit exceeded$"):
        unpack(bytes(packed))


def test_an_archive_holds_exactly_one_file(tmp_path: Path) -> None:
    markers = [("__MACOSX/._a.csv", b"x"), ("data/", b""), ("data/.DS_Store", b"x"), ("data/_SUCCESS", b"")]
    packed = pack_zip(("../../data/a.csv", TEXT), *markers)
    assert [cell for _, (cell,) in see(read_text(tmp_path, packed))] == VALUES

    for method in (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        assert unpack(pack_zip(("a.csv", TEXT), method=method)) == TEXT
    for files, got in (
        ([], "0 files"),
        ([("a/", b"")], "0 files"),
        ([("a.csv", TEXT), ("b.csv", TEXT)], "2 files: 'a.csv', 'b.csv'"),
        ([(f"{i}", b"") for i in range(7)], "7 files: '0', '1', '2', '3', '4', ..."),
    ):
        message = refusal(read_text(tmp_path, pack_zip(*files)))[1]
        assert message == f"a: is a zip archive of {got}; expected one file in it"


def test_an_encrypted_archive_is_refused() -> None:
    packed = bytearray(pack_zip(("a.csv", TEXT)))
    packed[6] |= 1
    packed[packed.index(b"PK\1\2") + 8] |= 1
    with pytest.raises(Unscorable, match=r"is a zip archive whose file 'a.csv' is encrypted"):
        unpack(bytes(packed))


def test_an_archive_of_another_method_is_refused() -> None:
    packed = bytearray(pack_zip(("a.csv", TEXT)))
    packed[8] = packed[packed.index(b"PK\1\2") + 10] = 9  # deflate64
    with pytest.raises(Unscorable, match="is a zip archive of an unusual kind"):
        unpack(bytes(packed))


@pytest.mark.parametrize("outer", PACKERS)
def test_what_is_packed_twice_and_packed_parquet_are_refused(outer: str) -> None:
    for inner, pack in PACKERS.items():
        with pytest.raises(Unscorable, match=f"^is {inner} inside {outer}; expected one compression$"):
            unpack(PACKERS[outer](pack(TEXT)))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1]}), sink)
    with pytest.raises(Unscorable, match=f"^is Parquet inside {outer}; expected Parquet as it is"):
        unpack(PACKERS[outer](sink.getvalue().to_pybytes()))


@pytest.mark.parametrize("first", ["[Content_Types].xml", "mimetype"])
def test_a_workbook_is_refused_with_how_to_export_it(first: str, tmp_path: Path) -> None:
    workbook = pack_zip((first, b"x"), ("xl/workbook.xml", b"x"))
    how = (
        "in Excel choose File, Save As, CSV UTF-8, with times as yyyy-mm-dd hh:mm:ss and no separators of thousands; "
        "where it writes semicolons and decimal commas, they are found, or set by READINGS_CSV (--csv) "
        "separator=semicolon,decimal=comma"
    )
    assert refusal(read_text(tmp_path, workbook))[1] == (
        f"a: is a workbook of Excel or of another office program; expected CSV, JSON, Parquet or Avro: {how}"
    )
    old = refusal(read_text(tmp_path, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)))[1]
    assert old == f"a: is an old Excel or Office file; expected CSV, JSON, Parquet or Avro: {how}"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x04\x22\x4d\x18" + bytes(20), "is compressed by LZ4; expected gzip, Zstandard, bzip2, xz"),
        (b"\xff\x06\0\0sNaPpY" + bytes(20), "is compressed by Snappy; expected gzip"),
        (b"\x1f\x9d\x90" + bytes(20), "is compressed by compress (.Z); expected gzip"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(20), "is a 7z archive; expected gzip"),
        (b"Rar!\x1a\x07" + bytes(20), "is a RAR archive; expected gzip"),
    ],
)
def test_a_compression_that_is_not_read_is_named(data: bytes, problem: str, tmp_path: Path) -> None:
    reason, message = refusal(read_text(tmp_path, data))

    assert reason is Reason.UNREADABLE_READINGS
    assert message.startswith(f"a: {problem}")


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize(
    ("pack", "place"), [(bytes, ""), (gzip.compress, " inside gzip"), (lzma.compress, " inside xz")]
)
def test_a_tar_archive_is_named(form: int, pack: Callable[[bytes], bytes], place: str, tmp_path: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=form) as archive:
        archive.addfile(tarfile.TarInfo("a.csv"))

    assert refusal(read_text(tmp_path, pack(content.getvalue())))[1] == (
        f"a: is a tar archive{place}; expected its files one by one, or a zip archive of one file"
    )

"""Columns come back as they went; whatever is wrong with one is Malformed, and takes no memory."""

import json
import tracemalloc
import zlib
from array import array
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.columns import (
    COUNT_LIMIT,
    RAW_LIMIT,
    SEPARATOR,
    TEXT_LIMIT,
    Column,
    dump_document,
    make_integers,
    make_texts,
    parse_columns,
    split_document,
)
from shared.contract.documents import parse_document
from shared.contract.errors import Malformed

HEAD = {"schema": 2, "kind": "of a test"}
ANY_TEXT = st.text(st.characters() | st.sampled_from("\0\n\ud83d\ude00é😀"), max_size=4)  # surrogates too
SIZES = (0, 1, 255, 256, 2**16 - 1, 2**16, 2**32 - 1, 2**32, 2**63, 2**64 - 1)


def read(data: bytes) -> dict[str, Column]:
    """The columns of a document, as its readers get at them."""
    head, blocks = split_document(data)
    return parse_document(head, "test", lambda doc: parse_columns(doc, blocks))


def write_and_read(column: Column) -> Column:
    data = dump_document(HEAD, {"before": make_texts(["a", "b"]), "x": column, "behind": make_integers([1, 2])})
    columns = read(data)
    assert (list(columns["before"].texts), list(columns["behind"].integers)) == (["a", "b"], [1, 2])
    assert json.loads(data.partition(b"\n")[0]).items() >= HEAD.items()
    assert dump_document(HEAD, columns) == data
    return columns["x"]


def use(columns: dict[str, Column]) -> None:
    """Decode every column as what it says that it is."""
    for column in columns.values():
        values: Sequence[object] = column.integers if isinstance(column.value, int) or column.width else column.texts
        assert len(values) == column.count


# What went in comes out


@given(st.lists(ANY_TEXT, max_size=8))
def test_any_texts_come_back(texts: list[str]) -> None:
    assert list(write_and_read(make_texts(texts)).texts) == texts


@given(ANY_TEXT, st.integers(1, 9))
def test_one_text_for_all_comes_back(text: str, count: int) -> None:
    assert list(write_and_read(make_texts([text] * count)).texts) == [text] * count


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        ([], "same"), ([""], "same"), (["a"], "same"), (["a"] * 99, "same"), ([SEPARATOR] * 2, "same"),
        (["", ""], "same"), (["", "a"], "texts"), (["a", "", "", ""], "texts"), (["é", "😀", "\ud800"], "texts"),
        (["\ud83d\ude00", "\U0001f600"], "texts"), (["\ud83d\ude00"] * 2, "texts"), (["a\n", "\n", "\r\n"], "texts"),
        (["a\0b", "c"], "json"), (["\0", ""], "json"), (["\0\ud83d\ude00", "\0\U0001f600"], "json"),
        ([f"pump-{i}" for i in range(5_000)], "texts"),
    ],
)  # fmt: skip
def test_texts_come_back_by_the_kind_that_fits_them(texts: list[str], kind: str) -> None:
    column = make_texts(texts)
    assert column.kind == kind
    assert list(write_and_read(column).texts) == texts


@given(st.lists(st.integers(0, 2**64 - 1) | st.sampled_from(SIZES), max_size=8))
def test_any_integers_come_back(numbers: list[int]) -> None:
    column = write_and_read(make_integers(numbers))
    assert list(column.integers) == numbers
    assert isinstance(column.integers, array)


@pytest.mark.parametrize("most", SIZES[1:])
def test_integers_take_the_fewest_bytes_that_hold_the_greatest(most: int) -> None:
    column = make_integers([0, most])
    assert column.width == next(width for width in (1, 2, 4, 8) if most < 256**width)
    assert column.raw == bytes(column.width) + most.to_bytes(column.width, "little")


@pytest.mark.parametrize("code", "BHILQ")
def test_integers_may_be_an_array_of_any_width(code: str) -> None:
    numbers = array(code, [3, 1, 200])
    assert list(write_and_read(make_integers(numbers)).integers) == [3, 1, 200]


@pytest.mark.parametrize("number", SIZES)
def test_one_integer_for_all_takes_no_block(number: int) -> None:
    column = make_integers([number] * 1_000)
    assert (column.kind, column.block) == ("same", b"")
    assert list(write_and_read(column).integers) == [number] * 1_000


@pytest.mark.parametrize("numbers", [[-1], [-1, -1], [0, -1], [2**64], [0, 2**64]])
def test_integers_that_no_column_holds_are_refused_by_the_writer(numbers: list[int]) -> None:
    with pytest.raises(ValueError, match=r"expected integers from 0 to 2\*\*64 - 1"):
        make_integers(numbers)


def test_a_block_is_compressed_where_that_is_worth_it() -> None:
    ids = [f"pump-{i:05}" for i in range(5_000)]
    column = make_texts(ids)
    assert len(column.block) < 0.5 * column.raw_size
    noise = make_integers([pow(3, i, 2**61 - 1) for i in range(2_000)])
    assert noise.block == noise.raw
    assert len(noise.block) == 8 * 2_000


def test_a_block_that_only_begins_well_stays_as_it_is() -> None:
    raw = b"".join(pow(3, i, 2**61 - 1).to_bytes(8, "little") for i in range(600))
    numbers = array("Q", bytes(4_096) + raw)
    assert list(write_and_read(make_integers(numbers)).integers) == list(numbers)


def test_a_document_without_columns_is_one() -> None:
    assert read(dump_document(HEAD, {})) == {}


def test_numbers_that_json_does_not_know_are_refused_by_the_writer() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_document({"schema": 2, "seconds": float("inf")}, {})


# What is damaged

WHOLE = dump_document(
    HEAD,
    {
        "ids": make_texts([f"pump-{i:03}" for i in range(300)]),
        "odd": make_texts(["a\0b", "c"]),
        "same": make_texts(["x"] * 300),
        "counts": make_integers([i % 7 for i in range(300)]),
        "large": make_integers([2**64 - 1, 0, 7]),
        "one": make_integers([60] * 300),
    },
)


def test_a_document_that_is_cut_anywhere_is_malformed() -> None:
    use(read(WHOLE))
    for end in range(len(WHOLE)):
        with pytest.raises(Malformed):
            use(read(WHOLE[:end]))


def test_a_document_with_bytes_behind_it_is_malformed() -> None:
    for more in (b"\0", b"\n", WHOLE):
        with pytest.raises(Malformed):
            read(WHOLE + more)


def test_a_flipped_bit_in_a_block_is_malformed() -> None:
    for index in range(WHOLE.index(b"\n") + 1, len(WHOLE)):
        for bit in range(8):
            spoilt = bytearray(WHOLE)
            spoilt[index] ^= 1 << bit
            with pytest.raises(Malformed, match="CRC-32"):
                read(bytes(spoilt))


def test_a_flipped_bit_in_the_head_is_malformed_or_gives_columns_of_the_length_that_they_say() -> None:
    for index in range(WHOLE.index(b"\n") + 1):
        for bit in range(8):
            spoilt = bytearray(WHOLE)
            spoilt[index] ^= 1 << bit
            with suppress(Malformed):
                use(read(bytes(spoilt)))


def describe(column: list[Any], blocks: bytes = b"", **changes: Any) -> bytes:
    """A document of one column as its head describes it, whatever is behind it."""
    head = {"schema": 2, "columns": [column], "crc32": zlib.crc32(blocks), **changes}
    return json.dumps(head).encode() + b"\n" + blocks


RAW = b"a\0" * 49 + b"c"
SIZE, PACKED = len(RAW), zlib.compress(RAW)
PACKED_SIZE = len(PACKED)
GOOD = ["x", "texts", 50, PACKED_SIZE, SIZE, 0]


@pytest.mark.parametrize(
    "column",
    [
        GOOD[:1], GOOD[:2], GOOD[:3], GOOD[:5], [*GOOD, 1], "x", 7, None, [["x"], *GOOD[1:]],
        ["x", "texts", 49, PACKED_SIZE, SIZE, 0], ["x", "texts", 51, PACKED_SIZE, SIZE, 0],
        ["x", "texts", -50, PACKED_SIZE, SIZE, 0], ["x", "texts", 0, PACKED_SIZE, SIZE, 0],
        ["x", "texts", 50.0, PACKED_SIZE, SIZE, 0], ["x", "texts", "50", PACKED_SIZE, SIZE, 0],
        ["x", "texts", True, PACKED_SIZE, SIZE, 0], ["x", "texts", 50, PACKED_SIZE, SIZE - 1, 0],
        ["x", "texts", 50, PACKED_SIZE, SIZE + 1, 0], ["x", "texts", 50, PACKED_SIZE, PACKED_SIZE, 0],
        ["x", "texts", 50, PACKED_SIZE, 0, 0], ["x", "texts", 50, 0, 0, 0],
        ["x", "texts", 50, PACKED_SIZE - 1, SIZE, 0],
        ["x", "texts", 50, PACKED_SIZE + 1, SIZE, 0], ["x", "texts", 50, PACKED_SIZE, SIZE, 1],
        ["x", "json", 50, PACKED_SIZE, SIZE, 0], ["x", "integers", SIZE, PACKED_SIZE, SIZE, 0],
        ["x", "integers", 50, PACKED_SIZE, SIZE, 2], ["x", "integers", 49, PACKED_SIZE, SIZE, 2],
        ["x", "integers", 33, PACKED_SIZE, SIZE, 3], ["x", "zstd", 50, PACKED_SIZE, SIZE, 0],
        ["x", None, 50, PACKED_SIZE, SIZE, 0], ["x", ["texts"], 50, PACKED_SIZE, SIZE, 0],
        ["x", "texts", COUNT_LIMIT + 1, PACKED_SIZE, SIZE, 0], ["x", "texts", 50, PACKED_SIZE, RAW_LIMIT + 1, 0],
        ["x", "texts", 50, PACKED_SIZE, 50 * TEXT_LIMIT + 1, 0],
        ["x", "texts", COUNT_LIMIT, PACKED_SIZE, RAW_LIMIT + 1, 0],
    ],
    ids=str,
)  # fmt: skip
def test_a_column_that_says_what_it_is_not_is_malformed(column: Any) -> None:
    assert list(read(describe(GOOD, PACKED))["x"].texts) == ["a"] * 49 + ["c"]
    with pytest.raises(Malformed):
        use(read(describe(column, PACKED)))


@pytest.mark.parametrize(
    "rest", [[], [None], [1.5], [True], [-1], [2**64], [10**400], [["a"]], ["a", 0], ["a", 0, 0]], ids=str
)
def test_one_value_for_all_that_is_neither_text_nor_integer_is_malformed(rest: list[Any]) -> None:
    use(read(describe(["x", "same", 7, "a"])))
    with pytest.raises(Malformed):
        read(describe(["x", "same", 7, *rest]))
    for count in (COUNT_LIMIT + 1, -1, 7.0, None):
        with pytest.raises(Malformed):
            read(describe(["x", "same", count, "a"]))


@pytest.mark.parametrize("crc", [0, -1, None, "0", zlib.crc32(PACKED) + 2**32])
def test_another_checksum_is_malformed(crc: object) -> None:
    with pytest.raises(Malformed, match="CRC-32"):
        read(describe(GOOD, PACKED, crc32=crc))


@pytest.mark.parametrize("raw", [b"\xff", b"a\xc3", b"\xf8\x88\x80\x80\x80", b"\xc0\x80", b"\x80\0a"])
def test_texts_that_are_no_utf_8_are_malformed(raw: bytes) -> None:
    for kind in ("texts", "json"):
        column = read(describe(["x", kind, 1 + raw.count(0), len(raw), len(raw), 0], raw))["x"]
        with pytest.raises(Malformed, match="no UTF-8"):
            _ = column.texts


@pytest.mark.parametrize(
    "raw",
    [b"", b"[", b"{}", b'{"a":1}', b'"ab"', b"7", b"null", b"[" * 5_000, b"[1, 2, 3]", b'["a"]', b"NaN"],
)
def test_a_list_in_json_that_is_none_is_malformed(raw: bytes) -> None:
    column = read(describe(["x", "json", 2, len(raw), len(raw), 0], raw))["x"]
    with pytest.raises(Malformed):
        _ = column.texts


def test_columns_asked_for_as_what_they_are_not_are_malformed() -> None:
    columns = read(WHOLE)
    for name in ("ids", "odd", "same"):
        with pytest.raises(Malformed, match="expected a column of integers, got"):
            _ = columns[name].integers
    for name in ("counts", "large", "one"):
        with pytest.raises(Malformed, match="expected a column of texts, got"):
            _ = columns[name].texts


BOMB = zlib.compress(bytes(64 * 2**20), 9)  # 64 MiB in 64 KiB


@pytest.mark.parametrize(
    "column",
    [
        ["x", "texts", 9, len(BOMB), 15, 0],
        ["x", "texts", 9, len(BOMB), 0, 0],
        ["x", "json", 9, len(BOMB), 9 * TEXT_LIMIT, 0],
        ["x", "integers", 9, len(BOMB), 72, 8],
    ],
    ids=str,
)
def test_a_block_is_never_decompressed_beyond_the_size_that_the_head_says(column: list[Any]) -> None:
    document = describe(column, BOMB)
    tracemalloc.start()
    try:
        with pytest.raises(Malformed, match="another size"):
            use(read(document))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_size_that_no_column_may_have_is_refused_before_anything_is_decompressed() -> None:
    for column in (["x", "texts", 9, len(BOMB), 64 * 2**20, 0], ["x", "integers", 9, len(BOMB), 64 * 2**20, 8]):
        with pytest.raises(Malformed, match="expected at most"):
            read(describe(column, BOMB))

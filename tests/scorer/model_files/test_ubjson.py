"""Universal Binary JSON is read as XGBoost writes it; whatever else comes is an error, soon and in little memory."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.errors import Unscorable
from scorer.model_files.boosters.ubjson import MOST_VALUES, NESTED, read_ubjson
from shared.contract.reasons import Reason

KINDS = {"f4": b"d", "f8": b"D", "i1": b"i", "u1": b"U", "i2": b"I", "i4": b"l", "i8": b"L"}
EMPTY = b"[#L" + bytes(8)


def length(count: int) -> bytes:
    return b"L" + struct.pack(">q", count)


def write(value: Any) -> bytes:  # a case for each kind of value
    """As XGBoost's UBJWriter."""
    match value:
        case None | True | False:
            return {None: b"Z", True: b"T", False: b"F"}[value]
        case str():
            return b"S" + length(len(value.encode())) + value.encode()
        case float():
            return b"d" + struct.pack(">f", value)
        case int():
            code = next(code for code in "bhiq" if value.bit_length() < 8 * struct.calcsize(code))
            return {"b": b"i", "h": b"I", "i": b"l", "q": b"L"}[code] + struct.pack(f">{code}", value)
        case np.ndarray():
            code = value.dtype.str[1:]
            return b"[$" + KINDS[code] + b"#" + length(len(value)) + value.astype(f">{code}").tobytes()
        case list():
            return b"[#" + length(len(value)) + b"".join(map(write, value))
        case dict():
            return b"{" + b"".join(write(key)[1:] + write(item) for key, item in value.items()) + b"}"
    raise TypeError(type(value))


SCALARS = st.none() | st.booleans() | st.text() | st.integers(-(2**62), 2**62) | st.floats(width=32, allow_nan=False)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)


@given(VALUES)
def test_what_is_written_is_read(value: Any) -> None:
    assert read_ubjson(write(value)) == value


@pytest.mark.parametrize("kind", KINDS)
def test_a_typed_array_becomes_one_of_numpy(kind: str) -> None:
    for numbers in ([], [0, 1, 100], [1] * 1000):
        array = np.array(numbers, kind)
        value = read_ubjson(write({"a": array, "b": 1}))
        assert value["a"].dtype == np.dtype(kind).newbyteorder(">")
        np.testing.assert_array_equal(value["a"], array)


def test_an_array_without_its_length_ends_with_a_bracket() -> None:
    assert read_ubjson(b"[i\1Z]") == [1, None]


def test_a_key_may_have_a_reader_of_its_own() -> None:
    data = write({"a": 1, "b": {"a": [2]}})
    assert read_ubjson(data, {"a": lambda data, start: ("read", start + 2) if data[start] == ord("i") else None}) == {
        "a": "read",
        "b": {"a": [2]},
    }


HOSTILE = {
    "nothing": b"",
    "an object without its end": b"{",
    "a key without a value": b"{" + length(1) + b"a",
    "a key of another form": b"{S" + length(1) + b"aZ}",
    "a key that is no text": b"{" + length(1) + b"\xffZ}",
    "text longer than the file": b"S" + length(2**40) + b"abc",
    "text of a negative length": b"S" + length(-1) + b"abc",
    "text whose length has another marker": b"Si\x03abc",
    "an array longer than the file": b"[#" + length(2**40) + b"Z",
    "an array cut short": b"[#" + length(5) + b"ZZ" + bytes(3),
    "an array without its end": b"[ZZZ",
    "an array of a negative length": b"[#" + length(-(2**63)),
    "numbers beyond the file": b"[$d#" + length(3) + bytes(11),
    "numbers beyond any file": b"[$d#" + length(2**62) + bytes(100),
    "numbers of a negative count": b"[$d#" + length(-8) + bytes(100),
    "numbers of an unknown type": b"[$S#" + length(1) + bytes(8),
    "numbers without their count": b"[$dd" + bytes(20),
    "a number cut short": b"d\0\0",
    "a number of high precision": b"H" + length(1) + b"1",
    "an unknown marker": b"x",
    "no-ops": b"N" * 1000,
    "more behind the end": b"ZZ",
    "deeper than any model": b"[" * 100_000,
    "deeper by objects": (b"{" + length(0)) * (NESTED + 2),
    "arrays of arrays": b"[#L\0\0\0\0\0\0\0\1" * 50_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_broken_is_an_error(name: str) -> None:
    with pytest.raises((ValueError, IndexError, struct.error)):
        read_ubjson(HOSTILE[name])


def test_more_values_than_any_model_has_are_too_large() -> None:
    with pytest.raises(Unscorable, match="values, got more") as caught:
        read_ubjson(b"[" + b"Z" * (MOST_VALUES + 1))
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_count_of_nothing_ends() -> None:
    assert read_ubjson(EMPTY) == []

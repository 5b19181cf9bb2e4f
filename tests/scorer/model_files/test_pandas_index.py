"""The names of a frame's columns are read out of a bundle as data, as pandas of today and of before pickles them."""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from scorer.errors import Unscorable
from scorer.model_files import pandas_index
from scorer.model_files.bundle import read_bundle
from scorer.model_files.parsed import Global, ParsedObject
from scorer.model_files.reader import read_file
from shared.contract.reasons import Reason

NAMES = ["a", "bü", "temperature in °C"]
GAPLESS = "expected a pandas Index of texts without gaps in the bundle: save list(frame.columns)"
MODEL = Ridge().fit(np.arange(12.0).reshape(4, 3), np.arange(4.0))


def read_features(data: bytes) -> tuple[str, ...]:
    return read_file(data).features


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "index", [pd.Index(NAMES), pd.Index(NAMES, dtype=object, name="x"), pd.Index(["z", *NAMES])[1:]], ids=repr
)
def test_an_index_names_the_features(index: pd.Index, protocol: int) -> None:
    assert read_features(pickle.dumps({"model": MODEL, "columns": index}, protocol)) == tuple(NAMES)
    assert read_features(pickle.dumps((MODEL, index), protocol)) == tuple(NAMES)


def test_an_index_in_joblibs_file_names_the_features() -> None:
    sink = io.BytesIO()
    joblib.dump([MODEL, pd.DataFrame(columns=NAMES).columns], sink)
    assert read_features(sink.getvalue()) == tuple(NAMES)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (pd.Index([1, 2, 3]), GAPLESS),
        (pd.Index(["a", None, "c"]), GAPLESS),
        (pd.Index(["a", None, "c"], dtype=object), GAPLESS),
        (pd.RangeIndex(3), "got one with pandas.RangeIndex"),
        (pd.MultiIndex.from_tuples([("a", "b")] * 3), "got one with pandas.MultiIndex"),
        (pd.Series(NAMES), "got one with pandas.Series"),
    ],
    ids=repr,
)
def test_any_other_index_is_not_supported(index: Any, message: str) -> None:
    with pytest.raises(Unscorable, match="expected") as caught:
        read_features(pickle.dumps({"model": MODEL, "columns": index}))
    assert (caught.value.reason, message in str(caught.value)) == (Reason.UNSUPPORTED_MODEL, True), caught.value


def make_index(length: Any = 2, offsets: bytes = struct.pack("<3q", 0, 1, 2), texts: Any = b"ab", **given: Any) -> Any:
    """What the pickle of an Index of two texts is read as."""
    alias = ParsedObject("pyarrow.lib.type_for_alias", {"__args__": (given.get("alias", "large_string"),)})
    buffers = [None, *(ParsedObject("pyarrow.lib.py_buffer", {"__args__": (data,)}) for data in (offsets, texts))]
    array: Any = (alias, length, given.get("nulls", 0), given.get("offset", 0), given.get("buffers", buffers), [], None)
    strings = ParsedObject(
        "pandas.arrays.ArrowStringArray",
        {"_pa_array": ParsedObject("pyarrow.lib._restore_array", {"__args__": (array,)})},
    )
    state = {"data": given.get("data", strings), "name": None}
    args = (Global("pandas.core.indexes.base.Index"), state)
    return ParsedObject("pandas.core.indexes.base._new_Index", {"__args__": given.get("args", args)})


def test_texts_of_either_size_of_offsets_are_read() -> None:
    assert pandas_index.read_names(make_index()) == ["a", "b"]
    assert pandas_index.read_names(make_index(offsets=struct.pack("<3i", 0, 1, 2), alias="string")) == ["a", "b"]


@pytest.mark.parametrize(
    "broken",
    [
        {"offsets": struct.pack("<3q", 0, 1, 3)},
        {"offsets": struct.pack("<3q", -1, 1, 2)},
        {"offsets": struct.pack("<3q", 0, 2, 1)},
        {"offsets": struct.pack("<2q", 0, 1)},
        {"offsets": b"1234567"},
        {"length": -1},
        {"length": 2**40},
        {"length": "2"},
        {"length": None},
        {"texts": "ab"},
        {"texts": b"\xff\xff"},
        {"nulls": 1},
        {"offset": 1},
        {"alias": "int64"},
        {"buffers": []},
        {"buffers": None},
        {"data": None},
        {"data": ParsedObject("pandas.StringDtype", {})},
        {"args": ()},
        {"args": (Global("pandas.StringDtype"), {"data": None, "name": None})},
    ],
    ids=repr,
)
def test_a_broken_index_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(Unscorable, match="a pandas Index of texts without gaps") as caught:
        read_bundle({"model": None, "columns": make_index(**broken)})
    assert caught.value.reason is Reason.UNSUPPORTED_MODEL

"""Which column is which feature, what happens to a gap, and which reason a model has that cannot be scored."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scorer.readings import features
from scorer.readings.device_readings import Readings
from scorer.readings.features import Expected
from shared.contract.domain import Model
from shared.contract.errors import Malformed
from shared.contract.reasons import Reason
from shared.contract.scoring_options import BadRows, Features, Gaps, ReadingOptions, parse_missing_values
from tests.scorer.readings.seen import FAIL, read, read_text, refusal, see

UNSET = ReadingOptions()
NAMED = ReadingOptions(features=Features(("a", "b")))
B_A = "time,device,b,a\n2026-11-21T07:00,pump,2,1\n"
LONG = "time,device,sensor,value\n2026-11-21T07:00,pump,b,2\n2026-11-21T07:00,pump,a,1\n"
BOTH_WAYS = (
    "its file does not say which feature is which: fit it on named columns, give it a sidecar (MODEL.features.json "
    "beside it), or set FEATURES to their names in its order, "
    "or to as-in-file where all files have their columns in the order of training"
)


# The order of features


def test_without_a_choice_a_model_of_several_features_without_names_is_refused(tmp_path: Path) -> None:
    found = read_text(tmp_path, B_A, policy=UNSET)

    for count in (2, 3, None):
        assert refusal(found, count=count) == (Reason.WRONG_FEATURES, BOTH_WAYS)
    assert see(found, names=("a", "b")) == [("07:00:00", [1, 2])]


@pytest.mark.parametrize("text", [B_A, LONG], ids=["wide", "long"])
def test_the_names_that_are_set_are_the_features_in_their_order(text: str, tmp_path: Path) -> None:
    found = read_text(tmp_path, text, policy=NAMED)

    assert see(found, count=2) == see(found, count=None) == [("07:00:00", [1, 2])]
    assert see(found, names=("b", "a"), count=2) == [("07:00:00", [2, 1])]  # its own names win
    assert refusal(found, count=3) == (
        Reason.WRONG_FEATURES,
        "has no feature names and expects 3 features, but FEATURES has 2 names",
    )


def test_as_in_file_is_the_order_of_wide_files_and_of_no_long_ones(tmp_path: Path) -> None:
    assert see(read_text(tmp_path, B_A), count=2) == [("07:00:00", [2, 1])]
    assert refusal(read_text(tmp_path, B_A), count=3)[1] == "expected 3 features; the readings have 2 (b, a)"
    assert refusal(read_text(tmp_path, LONG), count=2) == (Reason.WRONG_FEATURES, features.NO_ORDER)


def test_files_of_another_order_are_refused_though_their_rows_were_replaced_and_only_for_their_devices(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").write_text("time,device,a,b\n2026-11-21T07:00,pump,3,4\n")
    (tmp_path / "b").write_text(B_A + "2026-11-21T07:01,fan,6,5\n")
    found = read(tmp_path, "pump", "fan")

    message = (
        "has no feature names, so expected files with the same columns in the same order; "
        "the readings have 2 (a, b) and 2 (b, a)"
    )
    assert refusal(found, count=2) == refusal(found.select_device("pump"), count=2) == (Reason.WRONG_FEATURES, message)
    assert see(found, "fan", count=2) == see(found.select_device("fan"), "fan", count=2) == [("07:01:00", [6, 5])]


def test_names_that_no_file_has_are_missing_features(tmp_path: Path) -> None:
    found = read_text(tmp_path, B_A, policy=replace(NAMED, features=Features(("a", "volt"))))

    assert refusal(found, count=2) == (
        Reason.MISSING_FEATURES,
        "expected 2 (a, volt); the readings have 2 (b, a) and lack 1 (volt)",
    )


def test_an_order_that_nobody_chose_is_known_to_be_assumed(tmp_path: Path) -> None:
    policy = replace(UNSET, features=Features(in_file_order=True, assumed=True))
    found = read_text(tmp_path, B_A, policy=policy)

    assert [build(found, *of).is_assumed for of in [((), 2), (("a", "b"), 2), (("a",), 1)]] == [True, False, False]
    assert not build(read_text(tmp_path, B_A), (), 2).is_assumed


def build(
    found: Readings, names: tuple[str, ...], count: int | None, *, takes_gaps: bool = False
) -> features.ModelReadings:
    model = Model("pump", "", "pump.skops", "etag")
    rows = features.find_frame_rows(found, model)
    return features.build_model_readings(found, model, rows, Expected(names, count, takes_gaps))


@pytest.mark.parametrize("policy", [UNSET, NAMED])
def test_a_model_of_one_feature_gets_its_column_or_the_only_one_or_value(
    policy: ReadingOptions, tmp_path: Path
) -> None:
    head, row = "time,device,{}\n", "2026-11-21T07:00,pump,{}\n"
    alone = read_text(tmp_path, (head + row).format("value", 1), policy=policy)
    assert see(alone, count=1) == see(alone, names=("temp",)) == [("07:00:00", [1])]
    beside = read_text(tmp_path, (head + row).format("value,temp", "1,2"), policy=policy)
    assert see(beside, count=1) == [("07:00:00", [1])]
    assert see(beside, names=("temp",), count=1) == [("07:00:00", [2])]
    assert refusal(beside, names=("amps",), count=1) == (
        Reason.MISSING_FEATURES,
        "expected 1 (amps); the readings have 2 (value, temp) and lack 1 (amps)",
    )
    others = read_text(tmp_path, (head + row).format("amps,temp", "1,2"), policy=policy)
    assert refusal(others, count=1) == (Reason.WRONG_FEATURES, "expected 1 feature; the readings have 2 (amps, temp)")


def test_a_name_that_is_set_is_that_of_models_of_one_feature(tmp_path: Path) -> None:
    policy = replace(UNSET, features=Features(("temp",)))
    found = read_text(tmp_path, "time,device,amps,temp\n2026-11-21T07:00,pump,1,2\n", policy=policy)

    assert see(found, count=1) == [("07:00:00", [2])]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Features()),
        (" as-in-file ", Features(in_file_order=True)),
        ("temp, amps,flow", Features(("temp", "amps", "flow"))),
        ('["a,b", " c"]', Features(("a,b", " c"))),
    ],
)
def test_features_are_a_list_of_names_or_as_in_file(text: str, expected: Features) -> None:
    assert Features.parse(text) == expected


@pytest.mark.parametrize("text", ["a,,b", "a,a", ",", "[", "[1]", "[]", '["a", ""]'])
def test_other_features_are_refused(text: str) -> None:
    with pytest.raises(Malformed, match="expected as-in-file, or different names such as temp,amps,flow, got"):
        Features.parse(text)


# Gaps

GAPPY = "time,device,a,b\n2026-11-21T07:00,pump,1,\n2026-11-21T07:01,pump,2,3\n2026-11-21T07:02,pump,inf,4\n"
GAPPY += "2026-11-21T07:03,pump,,\n"


@pytest.mark.parametrize(
    ("gaps", "takes_gaps", "given"),
    [
        (Gaps.MODEL, False, 1), (Gaps.MODEL, True, 2),
        (Gaps.GIVE, False, 2), (Gaps.GIVE, True, 2),
        (Gaps.DROP, False, 1), (Gaps.DROP, True, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("layout", ["wide", "long"])
def test_a_row_with_a_gap_is_given_or_left_out_and_counted_and_one_with_infinity_never_given(
    layout: str, gaps: Gaps, takes_gaps: bool, given: int, tmp_path: Path
) -> None:
    text = GAPPY
    if layout == "long":
        (tmp_path / "wide.csv").write_text(GAPPY)
        wide = pd.read_csv(tmp_path / "wide.csv")
        (tmp_path / "wide.csv").unlink()
        text = wide.melt(["time", "device"], var_name="sensor").to_csv(index=False)
    found = read_text(tmp_path, text, policy=replace(UNSET, gaps=gaps))

    signal = build(found, ("a", "b"), 2, takes_gaps=takes_gaps)

    expected = [[1, math.nan], [2, 3]] if given == 2 else [[2, 3]]
    np.testing.assert_array_equal(signal.values, expected)
    assert (len(signal.time), signal.left_out) == (given, 3 - given)


@pytest.mark.parametrize("value", ["-999", "-999.0", "65535"])
def test_a_number_that_stands_for_a_missing_value_is_a_gap(value: str, tmp_path: Path) -> None:
    text = GAPPY.replace("pump,1,", f"pump,1,{value}")
    policy = replace(UNSET, missing_values=parse_missing_values("-999, 65535"))

    assert see(read_text(tmp_path, text, policy=policy), names=("a", "b")) == [("07:01:00", [2, 3])]
    kept = see(read_text(tmp_path, text, policy=UNSET), names=("a", "b"))
    assert kept == [("07:00:00", [1, float(value)]), ("07:01:00", [2, 3])]
    long = read_text(tmp_path, f"time,device,value\n2026-11-21T07:00,pump,{value}\n", policy=policy)
    assert refusal(long, count=1) == (Reason.NO_READINGS, "the window has no readings of it")
    assert long.missing == 1


@pytest.mark.parametrize("text", ["x", "-999;65535", "nan", "inf", "1,inf"])
def test_what_is_no_number_stands_for_no_missing_value(text: str) -> None:
    with pytest.raises(Malformed, match="expected numbers such as -999,65535, got"):
        parse_missing_values(text)


SILENT = "its device has readings, but none of the sensor 'b'"
DEAD = {
    "wide": "time,device,a,b\n2026-11-21T07:00,pump,1,\n2026-11-21T07:00,fan,1,2\n",
    "json": (
        '{"time":"2026-11-21T07:00","device":"pump","a":1}\n{"time":"2026-11-21T07:00","device":"fan","a":1,"b":2}\n'
    ),
    "long": "time,device,sensor,value\n2026-11-21T07:00,pump,a,1\n2026-11-21T07:00,fan,b,2\n",
}


@pytest.mark.parametrize("layout", DEAD)
def test_a_model_whose_sensor_is_silent_is_skipped_and_one_that_takes_gaps_is_scored(
    layout: str, tmp_path: Path
) -> None:
    found = read_text(tmp_path, DEAD[layout], "pump", "fan", policy=UNSET)

    assert refusal(found, names=("a", "b")) == (Reason.SENSOR_SILENT, SILENT)
    assert refusal(found, names=("b",)) == (Reason.SENSOR_SILENT, SILENT)
    assert refusal(found, "pump/b", count=1) == (Reason.SENSOR_SILENT, SILENT)
    assert refusal(found, names=("b",), takes_gaps=True) == (Reason.SENSOR_SILENT, SILENT)
    signal = build(found, ("a", "b"), 2, takes_gaps=True)
    np.testing.assert_array_equal(signal.values, [[1, math.nan]])
    assert signal.has_silent


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_column_that_another_devices_file_has_is_silent_and_one_that_no_file_has_is_missing(
    form: str, tmp_path: Path
) -> None:
    for device, columns in (("pump", {"a": [1.0]}), ("fan", {"a": [1.0], "b": [2.0]})):
        frame = pd.DataFrame({"time": ["2026-11-21T07:00"], "device": [device], **columns})
        if form == "csv":
            frame.to_csv(tmp_path / device, index=False)
        else:
            frame.to_parquet(tmp_path / device, index=False)

    for devices in (("pump",), ("pump", "fan")):  # whatever devices are in its chunk
        found = read(tmp_path, *devices, policy=UNSET)
        assert refusal(found, names=("a", "b"))[0] is Reason.SENSOR_SILENT
        assert refusal(found, names=("a", "volt")) == (
            Reason.MISSING_FEATURES,
            "expected 2 (a, volt); the readings have 2 (a, b) and lack 1 (volt)",
        )


def test_a_model_that_takes_gaps_is_scored_where_all_files_have_nothing_but_the_value_column(tmp_path: Path) -> None:
    found = read_text(tmp_path, "time,device,value\n2026-11-21T07:00,pump,1\n", policy=UNSET)

    np.testing.assert_array_equal(build(found, ("a", "value"), 2, takes_gaps=True).values, [[math.nan, 1]])
    assert refusal(found, names=("a", "value")) == (
        Reason.MISSING_FEATURES,
        "expected 2 (a, value); the readings have 1 (value) and lack 1 (a)",
    )


def test_a_device_without_any_reading_has_no_readings(tmp_path: Path) -> None:
    found = read_text(tmp_path, DEAD["wide"], "pump", "mill", policy=UNSET)

    assert refusal(found, "mill", names=("a", "b")) == (Reason.NO_READINGS, "the window has no readings of it")


def test_bad_cells_fail_who_needs_their_column_and_are_gaps_for_who_takes_gaps(tmp_path: Path) -> None:
    text = GAPPY.replace("pump,2,3", "pump,2,x").replace("pump,1,", "pump,1,7")

    assert refusal(read_text(tmp_path, text, policy=FAIL), names=("a", "b"), takes_gaps=True)[0] is Reason.BAD_READINGS
    assert see(read_text(tmp_path, text, policy=FAIL), names=("a",)) == [("07:00:00", [1]), ("07:01:00", [2])]
    found = read_text(tmp_path, text, policy=replace(FAIL, bad_rows=BadRows.SKIP))
    skipped = build(found, ("a", "b"), 2, takes_gaps=True)
    np.testing.assert_array_equal(skipped.values, [[1, 7], [2, math.nan]])


# Sensors


def test_a_sensors_model_reads_its_column_where_no_sensor_is_named_though_other_files_name_some(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("time,device,a,b\n2026-11-21T07:00,pump,1,2\n")
    (tmp_path / "b").write_text("time,device,sensor,a,b\n2026-11-21T07:01,fan,s,3,4\n2026-11-21T07:02,fan,t,5,6\n")
    found = read(tmp_path, "pump", "fan", policy=UNSET)

    assert see(found, "pump/b", names=("anything",), count=1) == [("07:00:00", [2])]
    assert see(found, "fan/t", names=("b", "a")) == [("07:02:00", [6, 5])]
    assert refusal(found, "pump/b", count=2) == (
        Reason.WRONG_FEATURES,
        "expected 2 features, but its file is named as the model of one sensor, 'b'",
    )
    assert see(found, "pump", names=("b", "a")) == [("07:00:00", [2, 1])]


def test_rows_that_name_the_sensor_beside_rows_that_name_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("time,device,a,b\n2026-11-21T07:00,pump,1,2\n")
    (tmp_path / "b").write_text("time,device,sensor,a,b\n2026-11-21T07:01,pump,b,3,4\n")
    found = read(tmp_path, policy=UNSET)

    message = "some rows name the sensor 'b', and others name none"
    assert refusal(found, "pump/b", count=1) == (Reason.WRONG_FEATURES, message)


@pytest.mark.parametrize("names", [(), ("temp",)])
def test_a_device_that_names_no_sensor_has_one_value_though_other_files_name_some(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("time,device,value\n2026-11-21T07:00,pump,1\n")
    (tmp_path / "b").write_text("time,device,sensor,value\n2026-11-21T07:01,fan,temp,3\n")

    assert see(read(tmp_path, "pump", "fan", policy=UNSET), names=names, count=1) == [("07:00:00", [1])]

"""READINGS_PATH with tokens: which names fit, what they say, and which patterns may be read in two ways."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.contract.errors import Malformed
from shared.contract.readings.path_pattern import PathIds, PathPattern
from shared.contract.readings.paths import list_paths
from shared.contract.windows import Window

SEVEN = datetime(2026, 11, 21, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)


def parse(text: str) -> PathPattern:
    pattern = PathPattern.parse(text)
    assert pattern is not None
    return pattern


def match(text: str, name: str) -> PathIds | None:
    """What the last part of a pattern says of the last part of a name."""
    return parse(text).segments[-1].match(name, SEVEN)


@pytest.mark.parametrize("text", ["", "readings.csv", "date=%Y-%m-%d/hour=%H/", "%Y/%m/%d/%H/"])
def test_a_pattern_without_tokens_is_left_to_strftime(text: str) -> None:
    assert PathPattern.parse(text) is None


@pytest.mark.parametrize(
    ("text", "name", "ids"),
    [
        ("{device}.csv", "pump1.csv", PathIds("pump1")),
        ("{device}.csv", "pump.1.csv", PathIds("pump.1")),
        ("{device}.csv", "pump1.json", None),
        ("{device}.csv", ".csv", None),
        ("{device}.csv", "_pump.csv", None),
        ("{device}.csv", ".pump.csv", None),
        ("_{device}.csv", "_pump.csv", PathIds("pump")),
        ("{device}.csv", " pump.csv", None),
        ("{device}.{ext}", "pump.1.jsonl.gz", PathIds("pump.1")),
        ("{device}.{ext}", "pump1.skops", None),
        ("{device}/{sensor}.csv", "rpm.csv", PathIds(None, "rpm")),
        ("device={device}/", "device=a%3Ab", PathIds("a:b")),
        ("x{device}/", "xa%3Ab", PathIds("a%3Ab")),
        ("{device}_%Y%m%d.csv", "a_20261121.csv", PathIds("a")),
        ("{device}_%Y%m%d.csv", "a_20261122.csv", None),
        ("hour=%H/log-*.csv", "log-.csv", PathIds()),
        ("%Y/%m/%d/%H/{Minute}-{Second}", "07-59.avro", PathIds()),
        ("%Y/%m/%d/%H/{Minute}-{Second}", "07-59", PathIds()),
        ("%Y/%m/%d/%H/{Minute}-{Second}", "7-59.avro", None),
        ("*/{Hour}", "07.avro", PathIds()),
        ("*/{Hour}", "08.avro", None),
        ("*/100%%.csv", "100%.csv", PathIds()),
    ],
)
def test_a_name_that_fits_says_its_ids(text: str, name: str, ids: PathIds | None) -> None:
    assert match(text, name) == ids


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{device}-{sensor}.csv", "expected slashes between {device}, {sensor} and what may be any text"),
        ("*_{device}.csv", "expected slashes between"),
        ("{device}", "expected the ending of the files after an id, such as {device}.csv"),
        ("{device}/{device}.csv", "expected {device} once"),
        ("{Device}/", "expected tokens of {device}, {sensor}, {ext}, {Namespace}"),
        ("{device/", "expected braces around names"),
        ("a//{device}/", "expected a path without empty parts"),
        ("%T/{device}.csv", "expected codes of %Y, %m, %d, %H, %M, %S, %y or %j beside tokens, got %T"),
        ("../{device}.csv", "expected a path within the readings"),
        ("/{device}.csv", "expected a path within the readings"),
    ],
)
def test_a_pattern_that_may_be_read_in_two_ways_is_refused(text: str, problem: str) -> None:
    with pytest.raises(Malformed) as caught:
        PathPattern.parse(text)
    assert problem in str(caught.value)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("{device}.csv", [(SEVEN, False)]),
        ("%H/{device}.csv", [(SEVEN, False), (SEVEN + HOUR, True)]),
        ("{device}/%Y-%m-%d.csv", [(SEVEN, False), (SEVEN.replace(day=22, hour=0), True)]),
        ("%Y/*/", [(SEVEN, False), (datetime(2027, 1, 1, tzinfo=UTC), True)]),
        ("{PartitionId}/{Year}/{Month}/{Day}/{Hour}/{Minute}/", [(SEVEN, False), (SEVEN + HOUR, True)]),
        ("*/{date}/{time}/", [(SEVEN, False), (SEVEN + HOUR, True)]),
    ],
)
def test_the_folders_of_a_window_and_the_one_after_are_listed(text: str, hours: list[tuple[datetime, bool]]) -> None:
    assert parse(text).list_hours(SEVEN + timedelta(minutes=15), SEVEN + timedelta(minutes=30)) == hours


def test_the_folders_before_the_first_token_are_those_of_each_hour() -> None:
    assert parse("d=%Y-%m-%d/h=%H/{device}.csv").list_prefixes(SEVEN, SEVEN + HOUR) == [
        *("d=2026-11-21/h=07/", "d=2026-11-21/h=08/"),
    ]
    assert parse("a/*/%Y/").list_prefixes(SEVEN, SEVEN + HOUR) == ["a/"]


def test_the_folder_before_the_first_token_of_a_pattern_without_times_needs_no_window() -> None:
    assert [parse(text).prefix for text in ("a/{device}.csv", "{device}.csv", "a/b/*/")] == ["a/", "", "a/b/"]
    with pytest.raises(ValueError, match="expected a pattern without times"):
        _ = parse("%Y/{device}.csv").prefix


@pytest.mark.parametrize("path", ["%d-%H/", "%d-%H/{device}/", "%d-%H/*"])
def test_the_folders_of_a_first_pass_are_listed_whether_or_not_the_path_has_tokens(path: str) -> None:
    window = Window.parse("20261025T0100Z-PT1H")  # Europe/Berlin shows 2 to 3 o'clock twice
    assert list_paths(path, window, "Europe/Berlin") == ["25-00/", "25-01/", "25-02/"]
    assert list_paths(path, window) == ["25-01/", "25-02/"]

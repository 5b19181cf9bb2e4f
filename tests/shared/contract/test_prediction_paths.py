"""Files of predictions are known by their names, in whatever folder they were put."""

import pytest

from shared.contract.paths import is_prediction_path, parts_prefix, prediction_path
from shared.contract.windows import Window

WINDOW = Window.parse("20261121T0700Z-PT1H")


@pytest.mark.parametrize("hour", range(24))
def test_the_folders_of_hours_have_two_digits(hour: int) -> None:
    window = Window.parse(f"20260109T{hour:02}00Z-PT1H")
    name = f"{window.id}-c00000-0.parquet"
    assert prediction_path(window, "c00000", 0) == f"date=2026-01-09/hour={'0' * (hour < 10)}{hour}/{name}"


@pytest.mark.parametrize("chunk", ["c00000", "c99999"])
@pytest.mark.parametrize("folder", ["", "/elsewhere/", "archive/2026\n/"])
def test_each_prediction_has_such_a_name(folder: str, chunk: str) -> None:
    path = prediction_path(WINDOW, chunk, 12)
    assert is_prediction_path(path)
    assert is_prediction_path(f"{folder}{path.rpartition('/')[2]}")


@pytest.mark.parametrize(
    "path",
    [
        f"{parts_prefix(WINDOW.id, 'c00000')}0f0f.parquet",
        f"{prediction_path(WINDOW, 'c00000', 0)}/a.parquet",
        "20261121T0700Z-PT1H-c00000-0.csv",
        "20261121T0700Z-PT1H-c00000.parquet",
        "a20261121T0700Z-PT1H-c00000-0.parquet",
        "a.parquet",
        "",
    ],
)
def test_no_other_file_has(path: str) -> None:
    assert not is_prediction_path(path)

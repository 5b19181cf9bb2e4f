"""Which folders a window has, and in which of them a row from before it has come late."""

import pytest

from shared.contract.readings.paths import find_late_paths
from shared.contract.windows import Window

HOURS = "date=%Y-%m-%d/hour=%H/"


@pytest.mark.parametrize(
    ("pattern", "window", "paths"),
    [
        (HOURS, "20261121T0700Z-PT1H", {"date=2026-11-21/hour=07/": True}),
        # The run of the two hours before reads the first folder too, and not the second.
        (HOURS, "20261121T0800Z-PT2H", {"date=2026-11-21/hour=08/": True, "date=2026-11-21/hour=09/": False}),
        # A folder of several windows: rows from before are late in the first of them only.
        (HOURS, "20261121T0700Z-PT15M", {"date=2026-11-21/hour=07/": True}),
        (HOURS, "20261121T0715Z-PT15M", {}),
        ("%Y/%m/%d/", "20261121T0700Z-PT1H", {}),
        ("%Y/%m/%d/", "20261121T0000Z-PT1H", {"2026/11/21/": True}),
        ("%Y/%m/%d/", "20261121T0000Z-P1D", {"2026/11/21/": True}),
        # Windows that begin within a folder: the next folder is the first that holds nothing of before.
        (HOURS, "20261121T0800Z-PT90M", {"date=2026-11-21/hour=08/": True, "date=2026-11-21/hour=09/": False}),
        (HOURS, "20261121T0730Z-PT90M", {"date=2026-11-21/hour=08/": True}),
        ("%Y%m%d%H%M/", "20261121T0758Z-PT1M", {"202611210758/": True}),
        ("%Y-%m-%d-%H.csv", "20261121T0700Z-PT1H", {"2026-11-21-07.csv": True}),
        ("all/", "20261121T0700Z-PT1H", {}),
        ("", "20261121T0700Z-PT1H", {}),
        ("{device}/%Y/%m/%d/%H/", "20261121T0700Z-PT1H", {}),
    ],
)
def test_a_row_is_late_in_a_folder_that_holds_no_earlier_instant(
    pattern: str, window: str, paths: dict[str, bool]
) -> None:
    assert find_late_paths(pattern, Window.parse(window)) == paths

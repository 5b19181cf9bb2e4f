"""The order of a frame's rows: by the kernel as without it."""

import numpy as np
import pytest

from scorer.readings import frames
from scorer.readings.frames import FileRows, assemble_frame

DEVICES, SENSORS = 7, 3


def make_rows(seed: int, repeated: float, by_time: bool) -> list[FileRows]:
    """Rows of two files; some have the time of another one."""
    random = np.random.default_rng(seed)
    count = 400
    time = np.arange(count) if by_time else random.permutation(count)
    time = np.where(random.random(count) < repeated, time // 2, time).astype(np.int64)
    device = random.integers(0, DEVICES, count).astype(np.int32)
    sensor = random.integers(0, SENSORS, count).astype(np.int32)
    values = np.where(random.random(count) < 0.1, np.nan, random.normal(size=count))
    halves = slice(0, count // 2), slice(count // 2, count)
    return [
        FileRows(device[half], sensor[half], time[half], ("value",), (values[half],), index)
        for index, half in enumerate(halves)
    ]


@pytest.mark.parametrize("repeated", [0.0, 0.01, 0.5])
@pytest.mark.parametrize("by_time", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_rows_are_ordered_by_the_kernel_as_without_it(
    seed: int, by_time: bool, repeated: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_rows(seed, repeated, by_time)
    frame, counts = assemble_frame(rows, ("value",), True, DEVICES, SENSORS)
    monkeypatch.setattr(frames, "find_kernels", lambda: None)
    expected, expected_counts = assemble_frame(rows, ("value",), True, DEVICES, SENSORS)

    assert counts == expected_counts
    for name in ("starts", "sensor", "time", "values", "file"):
        np.testing.assert_array_equal(getattr(frame, name), getattr(expected, name))
    key = np.repeat(np.arange(DEVICES), np.diff(frame.starts)) * SENSORS + frame.sensor
    assert ((np.diff(key) > 0) | ((np.diff(key) == 0) & (np.diff(frame.time) > 0))).all()

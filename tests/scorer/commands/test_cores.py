"""How many cores a node's process takes for its own, in a container that may use less than it sees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scorer.__main__ import _count_cores, _read_cpu_limit

HERE = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "nonsense"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "400000\n"}, None),
    ],
)
def test_a_container_may_use_as_many_cores_as_its_control_group_says(
    tmp_path: Path, files: dict[str, str], share: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _read_cpu_limit(tmp_path) == share


@pytest.mark.parametrize(("share", "cores"), [(None, HERE), (1, 1), (HERE + 1, HERE)])
def test_all_cores_are_used_that_are_there_and_allowed(
    monkeypatch: pytest.MonkeyPatch, share: int | None, cores: int
) -> None:
    monkeypatch.delenv("NODE_CORES", raising=False)
    monkeypatch.setattr("scorer.__main__._read_cpu_limit", lambda _: share)
    assert _count_cores() == cores


def test_who_says_how_many_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_CORES", "3")
    monkeypatch.setattr("scorer.__main__._read_cpu_limit", lambda _: 1)
    assert _count_cores() == 3

"""The product stays as small, and as plainly named, as it was measured."""

import pytest

from tests.house.measure import measure


def test_no_measure_is_exceeded(capsys: pytest.CaptureFixture[str]) -> None:
    measures = measure()
    lines = [f"{name:32}{value:>8g}   (at most {most})" for name, (value, most) in measures.items()]
    with capsys.disabled():
        print("", *lines, sep="\n")  # noqa: T201  # the measure is for people
    assert {name: value for name, (value, most) in measures.items() if value > most} == {}

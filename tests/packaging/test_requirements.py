"""The requirements files pin what pyproject.toml asks for: the same packages, each within its range."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from tests.packaging.pins import ROOT, find_misfits, list_names, read_extras, read_pins

FILES = {"requirements.txt": ["app"], "scorer/requirements.txt": ["", "node"], "requirements-dev.txt": ["local", "dev"]}


@pytest.mark.parametrize(("name", "extras"), FILES.items())
def test_a_requirements_file_pins_the_packages_of_its_extras(name: str, extras: list[str]) -> None:
    pins, ranges = read_pins(ROOT / name), [one for extra in extras for one in read_extras()[extra]]
    assert list_names(pins) == list_names(ranges)
    assert [str(pin) for pin in pins if [part.operator for part in pin.specifier] != ["=="]] == []
    assert list(find_misfits(pins, ranges)) == []


def test_the_tools_of_the_project_are_pinned_in_both_places() -> None:
    pins = {str(pin) for pin in read_pins(ROOT / "requirements-dev.txt")}
    assert {str(one) for one in read_extras()["dev"]} - pins == set()


def test_the_development_file_includes_the_two_others() -> None:
    lines = (ROOT / "requirements-dev.txt").read_text().splitlines()
    assert [line for line in lines if line.startswith("-r")] == ["-r requirements.txt", "-r scorer/requirements.txt"]


def test_a_pin_outside_its_range_is_seen() -> None:
    pins, ranges = [Requirement("numpy==3.0")], [Requirement("NumPy>=1,<3")]
    assert list(find_misfits(pins, ranges)) == ["numpy==3.0: outside <3,>=1"]

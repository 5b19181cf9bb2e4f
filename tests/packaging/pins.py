"""The packages that pyproject.toml asks for, and those that the requirements files pin."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def read_extras() -> dict[str, list[Requirement]]:
    """The packages of each extra, and of the base as ``""``, without those of the extras that it includes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    return {name: [one for one in map(Requirement, lines) if one.name != project["name"]]
            for name, lines in extras.items()}  # fmt: skip


def read_pins(path: Path) -> list[Requirement]:
    """The packages of a requirements file, without those of the files that it includes."""
    lines = (line.partition(" #")[0].strip() for line in path.read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]


def list_names(requirements: list[Requirement]) -> set[str]:
    """Their names, as registries compare them."""
    return {canonicalize_name(one.name) for one in requirements}


def find_misfits(pins: list[Requirement], ranges: list[Requirement]) -> Iterator[str]:
    """Each pin that is outside the range which pyproject.toml gives for it."""
    allowed = {canonicalize_name(one.name): one.specifier for one in ranges}
    for pin in pins:
        ((_, version),) = ((part.operator, part.version) for part in pin.specifier)
        if version not in allowed[canonicalize_name(pin.name)]:
            yield f"{pin}: outside {allowed[canonicalize_name(pin.name)]}"

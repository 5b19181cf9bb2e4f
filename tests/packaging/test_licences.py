"""docs/licences.md names each package that is pinned, and what it says comes from the packages themselves."""

from __future__ import annotations

import re
from importlib import metadata

import pytest

from tests.packaging.licences import FILES, HEAD, find_licence, list_parts, list_versions
from tests.packaging.pins import ROOT, list_names, read_pins

DOCUMENT = (ROOT / "docs" / "licences.md").read_text()
ROWS = {
    name: (version, licence, parts)
    for name, version, licence, parts in re.findall(
        r"^\| ([\w.-]+) \| (.*?) \| (.+?) \| (.+?) \|$", DOCUMENT, re.MULTILINE
    )
}


@pytest.mark.parametrize("name", FILES)
def test_each_package_that_is_pinned_has_a_row_with_its_version(name: str) -> None:
    pinned, versions = list_names(read_pins(ROOT / name)), list_versions()
    assert pinned - ROWS.keys() == set()
    assert {each: ROWS[each][0] for each in pinned} == {each: versions[each] for each in pinned}


def test_the_document_is_the_one_that_make_licences_writes() -> None:
    assert DOCUMENT.startswith(HEAD)
    direct = {name: parts for name, parts in list_parts().items() if name != "app"}
    for part, names in direct.items():
        assert {name for name in names if part not in ROWS[name][2].split(", ")} == set()


@pytest.mark.parametrize("name", sorted(set().union(*(list_names(read_pins(ROOT / file)) for file in FILES))))
def test_a_licence_is_that_of_the_package(name: str) -> None:
    assert ROWS[name][1] == find_licence(metadata.distribution(name))


def test_the_page_loads_nothing_from_outside() -> None:
    for path in (ROOT / "shared" / "dashboard").iterdir():
        links = re.findall(r"""(?:src|href|from|import|url)\W{1,3}(?:https?:)?//\S+""", path.read_text())
        assert (path.name, links) == (path.name, [])
        assert not re.search(r"copyright|licen[cs]e|@preserve", path.read_text(), re.IGNORECASE), path.name

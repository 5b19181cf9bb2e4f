"""The versions of libraries, without an import of importlib.metadata."""

import importlib.metadata
import sys
from pathlib import Path

import pytest

from scorer import library_versions
from scorer.library_versions import LIBRARIES, find_version, read_library_versions


def test_versions_are_those_of_the_metadata() -> None:
    for name in (*LIBRARIES, "numba", "PyYAML", "azure.identity"):
        assert find_version(name) == importlib.metadata.version(name)
    assert set(read_library_versions()) == {"python", *LIBRARIES}


def test_a_package_that_is_not_installed_has_none() -> None:
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        find_version("no-such-package")


def test_of_two_installed_versions_that_counts_which_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, version in (("first", "2.0"), ("second", "1.0")):
        info = tmp_path / folder / f"Some_Package-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: Some.Package\nVersion: {version}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), str(tmp_path / "second"), str(tmp_path / "absent")])
    library_versions.find_version.cache_clear()
    library_versions._list_folders.cache_clear()
    try:
        assert find_version("some-package") == "2.0"
    finally:
        library_versions.find_version.cache_clear()
        library_versions._list_folders.cache_clear()

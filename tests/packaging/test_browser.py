"""Which browser the tests of the page take."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

import pytest

from local import npm
from local.browser import find_browser
from shared.contract.errors import Misconfigured


def test_the_browser_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", sys.executable)
    assert find_browser() == sys.executable


def test_a_browser_that_is_named_and_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "none"))
    with pytest.raises(Misconfigured, match=r"CHROMIUM: expected the path of a browser, got '.*none'"):
        find_browser()


def test_one_on_the_path_is_taken_before_one_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "chromium").symlink_to(sys.executable)
    assert find_browser() == str(tmp_path / "chromium")


def test_a_machine_that_the_package_is_not_for_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(Misconfigured, match="expected a Chromium: set CHROMIUM to one, or put `chromium` on the PATH"):
        find_browser()


def test_what_is_installed_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npm, "INSTALLED", tmp_path)

    def fill(fails: bool) -> bool:
        with npm.make_folder(tmp_path / "home") as folder:
            if folder is None:
                return False
            folder.mkdir()
            (folder / "a").touch()
            if fails:
                raise Misconfigured("no registry")
        return True

    with pytest.raises(Misconfigured, match="no registry"):
        fill(fails=True)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    assert (fill(fails=False), fill(fails=False)) == (True, False)
    assert (tmp_path / "home" / "a").exists()

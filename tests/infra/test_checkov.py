"""checkov has nothing against `infra`, but for what each file says it may have, and why."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.evaluate import INFRA

ROOT = INFRA.parent
REQUIREMENTS = Path(__file__).parent / "requirements.txt"
HOME = ROOT / ".local" / "checkov"


def skips() -> Iterator[tuple[str, str, str]]:
    """The file, the check and the reason of each suppression."""
    for path in sorted(INFRA.rglob("*.bicep")):
        for check, reason in re.findall(r"checkov:skip=(\w+)(.*)", path.read_text()):
            yield path.name, check, reason


@pytest.fixture(scope="module")
def checkov() -> Path:
    """The tool, installed once for each version that is asked for."""
    tool, mark = HOME / "bin" / "checkov", HOME / "installed.txt"
    if not mark.exists() or mark.read_text() != REQUIREMENTS.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)
        pip = [HOME / "bin" / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", REQUIREMENTS], check=True)
        mark.write_text(REQUIREMENTS.read_text())
    return tool


def scan(checkov: Path, folder: Path) -> dict[str, set[str]]:
    """What it says of a folder: `failed`, `skipped`, and `unread` files."""
    command = [checkov, "-d", folder, "--framework", "bicep", "--skip-download", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)["results"]
    return {
        "failed": {f"{each['file_path'].rpartition('/')[2]} {each['check_id']}" for each in told["failed_checks"]},
        "skipped": {f"{each['file_path'].rpartition('/')[2]} {each['check_id']}" for each in told["skipped_checks"]},
        "unread": set(told["parsing_errors"]),
    }


def test_every_suppression_says_why() -> None:
    found = list(skips())
    assert found
    assert [each for each in found if not re.fullmatch(r": \S.{7,}", each[2])] == []


@pytest.mark.stack  # it installs checkov, and takes some seconds
def test_checkov_is_content(checkov: Path) -> None:
    expected = {f"{file} {check}" for file, check, _ in skips()}
    assert scan(checkov, INFRA) == {"failed": set(), "skipped": expected, "unread": set()}


@pytest.mark.stack
def test_checkov_tells_what_is_open(checkov: Path, tmp_path: Path) -> None:
    text = (INFRA / "modules" / "host.bicep").read_text()
    (tmp_path / "host.bicep").write_text(text.replace("'TLS1_2'", "'TLS1_0'"))
    assert scan(checkov, tmp_path)["failed"] == {"host.bicep CKV_AZURE_44"}

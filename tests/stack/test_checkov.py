"""checkov has nothing against `infra`, but for what each file says it may have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.evaluate import INFRA
from tests.infra.test_checkov import skips

REQUIREMENTS = INFRA.parent / "tests" / "infra" / "requirements.txt"
HOME = INFRA.parent / ".local" / "checkov"


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


def test_checkov_is_content(checkov: Path) -> None:
    expected = {f"{file} {check}" for file, check, _ in skips()}
    assert scan(checkov, INFRA) == {"failed": set(), "skipped": expected, "unread": set()}


def test_checkov_tells_what_is_open(checkov: Path, tmp_path: Path) -> None:
    text = (INFRA / "modules" / "host.bicep").read_text()
    (tmp_path / "host.bicep").write_text(text.replace("'TLS1_2'", "'TLS1_0'"))
    assert scan(checkov, tmp_path)["failed"] == {"host.bicep CKV_AZURE_44"}

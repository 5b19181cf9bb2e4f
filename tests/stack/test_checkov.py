"""checkov has nothing against `infra`, but for what each file says it may have."""

from __future__ import annotations

import json
import shutil
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
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", HOME], check=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", HOME / "bin" / "python"]
        subprocess.run([*pip, "install", "-qq", "--no-compile", "-r", REQUIREMENTS], check=True)
        mark.write_text(REQUIREMENTS.read_text())
    return tool


@pytest.fixture(scope="module")
def told(checkov: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """What it says of `infra` and of a file beside it that is `open`: `failed`, `skipped`, and `unread` files."""
    folder = tmp_path_factory.mktemp("checkov")
    shutil.copytree(INFRA, folder / "infra")
    text = (INFRA / "modules" / "host.bicep").read_text()
    (folder / "open.bicep").write_text(text.replace("'TLS1_2'", "'TLS1_0'"))
    command = [checkov, "-d", folder, "--framework", "bicep", "--skip-download", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)["results"]
    return {
        "failed": {f"{each['file_path'].rpartition('/')[2]} {each['check_id']}" for each in told["failed_checks"]},
        "skipped": {f"{each['file_path'].rpartition('/')[2]} {each['check_id']}" for each in told["skipped_checks"]},
        "unread": set(told["parsing_errors"]),
    }


def of(told: dict[str, set[str]], *, opened: bool) -> dict[str, set[str]]:
    """What was said of the file that is open, or of all others."""
    return {what: {line for line in lines if ("open.bicep" in line) == opened} for what, lines in told.items()}


def test_checkov_is_content(told: dict[str, set[str]]) -> None:
    expected = {f"{file} {check}" for file, check, _ in skips()}
    assert of(told, opened=False) == {"failed": set(), "skipped": expected, "unread": set()}


def test_checkov_tells_what_is_open(told: dict[str, set[str]]) -> None:
    assert of(told, opened=True)["failed"] == {"open.bicep CKV_AZURE_44"}

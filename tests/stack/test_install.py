"""The wheel of the tracked files, installed, and folders scored by it beside foreign modules in the current folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.svm import OneClassSVM

from shared.contract.version import VERSION
from tests.packaging import borrowed
from tests.packaging.pins import ROOT, read_extras

pytestmark = pytest.mark.stack

FOREIGN = ("shared", "scorer", "fleetscore", "numpy", "json")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git tracks: a file that nobody added is not in it."""
    folder = tmp_path_factory.mktemp("project")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).exists():  # else it is deleted, and not yet committed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def make_environment(folder: Path) -> Path:
    """The Python of a fresh environment without pip: the pip of the tests installs into it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


def install(python: Path, *options: str | Path) -> None:
    """What pip warns of is the business of this machine's settings."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install", "-q"]
    done = subprocess.run([*pip, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, which finds all other packages in the environment of the tests."""
    python = make_environment(tmp_path_factory.mktemp("installed"))
    (site,) = python.parent.parent.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    install(python, "--no-deps", "--no-build-isolation", project)
    return python


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Path]:
    """A folder with two models, one for the kernels and one for scikit-learn in the sandbox, and foreign modules."""
    normal = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=["heat", "noise"])
    (tmp_path / "models").mkdir()
    for name, model in {"a": OneClassSVM(nu=0.1), "b": make_pipeline(PCA(2), OneClassSVM(nu=0.1))}.items():
        skops.io.dump(model.fit(normal), tmp_path / "models" / f"{name}.skops")
    times = pd.date_range("2026-11-21T07:00Z", periods=10, freq="min")
    rows = [{"time": time, "device": device, "heat": 0.1, "noise": -0.2} for device in "ab" for time in times]
    pd.DataFrame(rows).to_csv(tmp_path / "readings.csv", index=False)
    for name in FOREIGN:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('the foreign {name} was imported')\n")
    yield tmp_path
    assert not (tmp_path / "__pycache__").exists()


def run(command: list[str | Path], folder: Path | None = None) -> str:
    """What a command prints; it must end well, and say nothing on standard error."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"KERNELS": "numpy"}  # numba's would be compiled for the new environment
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def score(python: Path, desk: Path) -> str:
    """What `fleetscore folder` says of the models of the desk."""
    where = ["--models", "models", "--readings", "readings.csv", "--predictions", "predictions"]
    return run([python.with_name("fleetscore"), "folder", *where], desk)


def test_a_folder_is_scored_and_no_foreign_module_is_imported(installed: Path, desk: Path) -> None:
    assert "2 of 2 models scored, 0 failed, 0 skipped" in score(installed, desk)
    rows = pd.concat(pd.read_parquet(path) for path in (desk / "predictions").rglob("*.parquet"))
    assert rows.groupby("device").size().to_dict() == {"a": 10, "b": 10}


def test_the_foreign_modules_would_be_imported_by_who_looks_into_the_current_folder(
    installed: Path, desk: Path
) -> None:
    command = [installed, "-B", "-m", "scorer", "folder"]
    done = subprocess.run(command, cwd=desk, capture_output=True, text=True, check=False)
    assert done.stderr == "the foreign scorer was imported\n"


def test_models_are_converted(installed: Path, desk: Path) -> None:
    convert = [installed.with_name("fleetscore"), "convert", "--models", "models", "--to", "new"]
    assert run(convert, desk).splitlines() == ["2 of 2 models converted, 0 failed, in new"]


def test_the_version_is_that_of_the_metadata_and_of_the_code(installed: Path, desk: Path) -> None:
    assert run([installed.with_name("fleetscore"), "--version"], desk) == f"fleetscore {VERSION}\n"
    code = "import importlib.metadata; print(importlib.metadata.version('fleetscore'))"
    assert run([installed, "-c", code]) == f"{VERSION}\n"


def test_the_wheel_holds_the_page_and_three_packages_and_nothing_of_the_repository(installed: Path) -> None:
    code = "import importlib.metadata; print(*importlib.metadata.files('fleetscore'), sep='\\n')"
    lines = run([installed, "-c", code]).splitlines()
    files = {line for line in lines if "__pycache__" not in line and "dist-info" not in line and ".." not in line}
    modules = {line for line in files if line.endswith(".py")}
    page = {path.relative_to(ROOT).as_posix() for path in (ROOT / "shared" / "dashboard").iterdir()}
    assert {module.split("/")[0] for module in modules} == {"fleetscore", "scorer", "shared"}
    assert files - modules == page


def test_the_base_dependencies_are_enough_for_a_folder(project: Path, desk: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "fresh")
    (site,) = python.parent.parent.glob("lib/python*/site-packages")
    borrowed.lend(borrowed.close(read_extras()[""]), site)  # the very versions of the pins, or pip installs those
    pins = [word for name in ("requirements", "constraints") for word in ("-c", ROOT / "scorer" / f"{name}.txt")]
    install(python, "--no-compile", *pins, project)
    assert "2 of 2 models scored, 0 failed, 0 skipped" in score(python, desk)
    assert run([python.with_name("fleetscore"), "--version"], desk) == f"fleetscore {VERSION}\n"

"""The cache of compiled kernels may be missing, torn or shared: scoring goes on."""

import importlib
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from numba import float64
from numba.core import config

from scorer.kernels import numba_cache

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "scorer")  # the desk quiets it, for good, wherever it was called before


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that compiles at once, and a cache of its own."""
    (tmp_path / "small.py").write_text("def twice(x):\n    return x + x\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "small", raising=False)
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(config, "CACHE_LOCATOR_CLASSES", "numba.core.caching.UserProvidedCacheLocator")
    return importlib.import_module("small").twice


def test_a_cache_that_cannot_be_written_is_no_error(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert numba_cache.compile_kernel(small, float64(float64))(21.0) == 42.0
    assert "cache cannot be used" in caplog.text


def test_a_torn_cache_is_no_error(small: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    numba_cache.compile_kernel(small, float64(float64))
    assert caplog.text == ""
    for kept in (tmp_path / "cache").rglob("*.nbc"):
        kept.write_bytes(kept.read_bytes()[:100])
    assert numba_cache.compile_kernel(small, float64(float64))(21.0) == 42.0
    assert "cache cannot be used" in caplog.text


@pytest.mark.usefixtures("small")
def test_two_processes_that_compile_at_the_same_time_leave_one_good_cache(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from numba import float64; from numba.core import config; from scorer.kernels import numba_cache\n"
        "import small\n"
        f"config.CACHE_DIR = {str(tmp_path / 'cache')!r}; config.DEBUG_CACHE = 1\n"
        "print(numba_cache.compile_kernel(small.twice, float64(float64))(21.0))"
    )

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE)

    said = [process.communicate(timeout=120)[0].splitlines() for process in [start() for _ in range(2)]]
    assert [lines[-1] for lines in said] == ["42.0"] * 2
    last = start().communicate(timeout=120)[0]
    assert "data loaded from" in last
    assert "saved" not in last


@pytest.mark.parametrize("module", ["numba_arithmetic", "numba_outputs", "numba_trees", "numba_backend", "numba_steps"])
def test_whichever_kernels_come_first_are_compiled_for_the_level(module: str) -> None:
    """numba 0.68 takes the features of its target once; a key of the cache has them beside the name of the level."""
    code = (
        f"import scorer.kernels.{module}\n"
        "from numba.core import config; from numba.core.registry import cpu_target\n"
        "features = cpu_target.target_context.codegen().magic_tuple()[2]\n"
        "print(config.CPU_FEATURES is None or features == config.CPU_FEATURES)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout == "True\n"

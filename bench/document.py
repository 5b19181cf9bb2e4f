"""The document that a benchmark writes its tables into, and what is said there of the machine."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

_MODULES = {
    "adbc-driver-postgresql": "adbc_driver_postgresql",
    "scikit-learn": "sklearn",
    "azure-storage-blob": "azure.storage.blob",
    "azure-data-tables": "azure.data.tables",
}


def describe_machine(packages: Sequence[str]) -> str:
    """The day, the machine, and which versions of *packages* are there."""
    installed = [name for name in packages if find_spec(_MODULES.get(name, name))]
    versions = ", ".join(f"{name} {version(name)}" for name in installed)
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} on {os.cpu_count()} cores ({_name_processor()}), "
        f"{platform.system()}, Python {platform.python_version()}, {versions}; "
        f"load at the beginning {os.getloadavg()[0]:.1f}."
    )


def _name_processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def split_document(begin: str, end: str, document: str) -> tuple[str, str]:
    """What stands before the tables of a document, and what behind; exits where it has no marks for them."""
    before, marker, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not closed:
        sys.exit(f"expected a document with {begin.strip()} and {end}, got none of them")
    return before + marker, closed + after


def write_table(path: Path | None, begin: str, end: str, text: str) -> None:
    """Print *text*, and put it in the place of what stands between the marks of a document, if one is given."""
    print(text)
    if path:
        before, after = split_document(begin, end, path.read_text())
        path.write_text(f"{before}{text}{after}")

"""The versions of the libraries that scores depend on, which a report names."""

from __future__ import annotations

import platform
import re
import sys
from collections import defaultdict
from contextlib import suppress
from functools import cache
from pathlib import Path

LIBRARIES = ("scikit-learn", "numpy", "scipy", "pyarrow", "skops", "joblib")  # whose versions a report names
UNKNOWN = "unknown"  # the scikit-learn of a model's file that does not say one
_DIST_INFO = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)\.dist-info")


def read_library_versions() -> dict[str, str]:
    """The versions of the libraries that scores depend on, and of Python."""
    versions = {name: find_version(name) for name in LIBRARIES}
    return {"python": platform.python_version(), **versions}


def get_installed_version() -> str:
    """The installed version of scikit-learn, without importing it."""
    return find_version("scikit-learn")


@cache
def find_version(name: str) -> str:
    """The installed version of a package, without importing it. Raises importlib.metadata.PackageNotFoundError.

    By the name of its folder, which has both (https://packaging.python.org/en/latest/specifications/binary-distribution-format/):
    importlib.metadata, which is asked where that does not say it, takes 10 ms to import.
    """
    versions = _list_folders().get(re.sub(r"[-_.]+", "_", name).lower(), [])
    if len(versions) == 1:
        return versions[0]
    from importlib import metadata

    return metadata.version(name)


@cache
def _list_folders() -> dict[str, list[str]]:
    """The versions of each package, by its name as folders have it."""
    versions = defaultdict[str, list[str]](list)
    for folder in dict.fromkeys(sys.path):
        with suppress(OSError):
            for match in filter(None, (_DIST_INFO.fullmatch(path.name) for path in Path(folder).iterdir())):
                versions[re.sub(r"[-_.]+", "_", match["name"]).lower()].append(match["version"])
    return versions

"""The versions of the libraries that scores depend on, which a report names."""

from __future__ import annotations

import importlib.metadata
import platform

LIBRARIES = ("scikit-learn", "numpy", "scipy", "pyarrow", "skops", "joblib")  # whose versions a report names


def read_library_versions() -> dict[str, str]:
    """The versions of the libraries that scores depend on, and of Python."""
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"python": platform.python_version(), **versions}

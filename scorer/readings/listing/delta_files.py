"""A Delta table as readings: the files of its present version that may hold rows of the window."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from scorer.readings.layouts import DELTA_LOG
from scorer.storage.blob_store import Container
from scorer.storage.delta_log import DeltaFile, read_delta_version
from shared.contract.model_names import Columns
from shared.contract.readings.zones import is_utc
from shared.contract.windows import Window

log = logging.getLogger(__name__)
MILLISECOND = timedelta(milliseconds=1)  # to which the log cuts times: PROTOCOL.md of Delta, "Per-file Statistics"


def is_delta_table(container: Container, paths: Sequence[str]) -> bool:
    """Whether the paths of READINGS_PATH are one folder, and that is a Delta table. Raises Unavailable."""
    if len(paths) != 1 or (paths[0] and not paths[0].endswith("/")):
        return False
    return bool(container.list(f"{paths[0]}{DELTA_LOG}", 1))


def list_delta_files(
    container: Container, folder: str, columns: Columns, window: Window | None, zone: str
) -> list[DeltaFile]:
    """The files of the present version of the table in *folder* that may hold rows of *window*, by name.

    Raises Unscorable, Unavailable.
    """
    version = read_delta_version(container, folder, columns.time)
    files = [file for file in version.files if window is None or _may_be_within(file, window, zone)]
    log.info(
        "readings: version %s of the Delta table %s, %s of %s files",
        version.number, folder or "of the container", len(files), len(version.files),
    )  # fmt: skip
    return sorted(files, key=lambda file: file.name)


def _may_be_within(file: DeltaFile, window: Window, zone: str) -> bool:
    """Whether a file may hold rows of the window, by the bounds that the log has of its times."""
    first, last = _read_bound(file.first, window, zone), _read_bound(file.last, window, zone)
    if first is None or last is None:
        return True
    return last + MILLISECOND >= window.start and first < window.end


def _read_bound(bound: Any, window: Window, zone: str) -> datetime | None:
    """An instant, or None where nothing says which one it is."""
    if not isinstance(bound, datetime):
        return None
    if bound.tzinfo:
        return bound
    return bound.replace(tzinfo=window.start.tzinfo) if is_utc(zone) else None

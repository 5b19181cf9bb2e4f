"""What readings of each form take in memory, beside what a node expects of them before it reads (READINGS_MEMORY_MIB).

A node reads in as many passes as the estimate holds of the setting, each for its share of the devices. *In one pass* is
the peak of reading all devices at once, *in four* that of the same files with a quarter of the setting. Each in a
process of its own, over what it held after a read of a few devices. Not in the estimate, and in each peak: the bytes of
small files, which stay in memory from listing to reading, up to `file_listing.CACHE_LIMIT`.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scorer.readings import source
from scorer.storage.blob_store import Folder
from shared.contract.readings.paths import list_paths
from shared.contract.scoring_options import ReadingOptions

from .measure import format_table, measure_cost, run_alone
from .readings_forms import FORMS, WINDOW, Form

FILES, PASSES, WARMED = 16, 4, 8
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Peak:
    """What reading took. *kept*: the bytes of files that stayed in memory; *mebibytes*: None where nothing tells."""

    estimate: int
    kept: int
    mebibytes: float | None
    rows: int


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """One form."""

    form: Form
    n_bytes: int  # of its files
    at_once: Peak
    in_passes: Peak

    def list_cells(self) -> list[object]:
        """A line of the table."""
        peak, estimate, kept = self.at_once.mebibytes, self.at_once.estimate / MIB, self.at_once.kept / MIB
        ratio = None if peak is None else peak / (estimate + kept)
        return [self.form.name, self.n_bytes / MIB, kept, estimate, peak, ratio, self.in_passes.mebibytes]


def read_devices(form_name: str, root: str, devices: int, passes: int) -> Peak:
    """All readings of all devices in some passes, after a read of a few that loads what is loaded once."""
    form = FORMS[form_name]
    _open(form, Path(root) / "few", WARMED).read_devices([form.name_device(index) for index in range(WARMED)])
    ids = [form.name_device(index) for index in range(devices)]
    size, n_rows = math.ceil(devices / passes), 0
    with measure_cost(Counter()) as cost:
        opened = _open(form, Path(root) / "all", devices)
        estimate, kept = opened.estimate_memory(), sum(len(file.data or b"") for file in opened.files)
        for start in range(0, devices, size):
            n_rows += opened.read_devices(ids[start : start + size]).rows
        opened.close()
    return Peak(estimate, kept, cost.mebibytes, n_rows)


def _open(form: Form, root: Path, devices: int) -> source.Source:
    ids = [form.name_device(index) for index in range(devices)]
    paths = list_paths(form.pattern, WINDOW)
    return source.open_readings(Folder(root), paths, form.columns, WINDOW, ReadingOptions(), form.pattern, ids)


def measure_memory(form: Form, devices: int, passes: int = PASSES) -> MemoryRow:
    """The peaks of a form, whose rows are in sixteen files or in one for each device."""
    with tempfile.TemporaryDirectory() as root:
        form.write(Path(root) / "few", WARMED, FILES)
        form.write(Path(root) / "all", devices, FILES)
        n_bytes = sum(path.stat().st_size for path in (Path(root) / "all").rglob("*") if path.is_file())
        at_once, in_passes = (run_alone(read_devices, form.name, root, devices, number) for number in (1, passes))
    assert at_once.rows == in_passes.rows == devices * form.rows, form.name
    return MemoryRow(form, n_bytes, at_once, in_passes)


def format_memory(rows: Sequence[MemoryRow]) -> str:
    """The table, in MiB."""
    head = ["MiB", "files", "kept", "estimate", "peak", "peak / (estimate + kept)", "peak in four passes"]
    return format_table(head, [row.list_cells() for row in rows])

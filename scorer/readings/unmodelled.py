"""Counts the devices that have readings in the window and no model, of those that a chunk answers for.

Tables that are read for the models show such devices by the way. What no model needs is looked into once, at the end:
row groups and folders that may hold devices of the chunk's range, and of them only the times and ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from scorer.errors import Unscorable
from scorer.storage.blob_store import Container
from scorer.storage.range_reader import AccessDenied
from shared.contract.domain import EXAMPLES, Unmodelled
from shared.contract.errors import NotFound
from shared.contract.manifest import DeviceRange
from shared.contract.model_names import ModelNames
from shared.contract.text import clip_text

from .cells import BROKEN, read_ids
from .files import FETCHERS, File, ReadRequest, read_other_rows
from .formats.parquet_reader import RowGroup
from .formats.text_reader import Table
from .timestamps import read_instants


@dataclass(slots=True)
class UnmodelledCounter:
    """The devices of a range that were found in readings and have no model. A device counts once.

    In an hour that clocks show twice, rows without an offset are taken as those of the first pass.
    """

    modelled: frozenset[str]  # the devices of the chunk's models
    devices: DeviceRange
    names: ModelNames
    found: set[str] = field(default_factory=set)
    problems: dict[str, str] = field(default_factory=dict)  # why a file could not be looked into, by its name
    low: str = field(init=False)  # no device that counts sorts before it, as a plain text
    high: str | None = field(init=False)  # nor at or after it; None: no bound

    def __post_init__(self) -> None:
        first, end = self.devices.first, self.devices.end
        beginnings = (first[:length] for length in range(1, len(first)))
        self.low = next((text for text in beginnings if self.devices.settles(text, self.names)), first)
        self.high = f"{end}\U0010ffff" if end else None

    def may_hold(self, group: RowGroup) -> bool:
        """Whether a row group may hold rows of a device that counts and was not found yet."""
        if group.low is None or group.high is None:
            return True
        is_known = group.low == group.high and (group.low in self.modelled or group.low in self.found)
        return not is_known and group.high >= self.low and (self.high is None or group.low < self.high)

    def find_candidates(self, ids: Sequence[str]) -> list[int]:
        """The indices of the devices that count if they have rows, and were not found yet; "" is no device."""
        low, high, modelled = self.low, self.high, self.modelled
        return [
            index
            for index, device in enumerate(ids)
            if low <= device
            and (high is None or device < high)
            and device not in modelled
            and device not in self.found
            and device
            and self.devices.settles(device, self.names)
        ]

    def add_table(
        self,
        table: Table,
        file: str,
        ids: Sequence[str],
        indices: np.ndarray,
        time_range: tuple[int, int],
        micros: np.ndarray | None = None,
    ) -> None:
        """Count the devices that have a row of the table in the time range.

        *indices*: of each row's device among *ids*; *micros*: the times, where they are known to be readable.
        """
        candidates = self.find_candidates(ids)
        if not candidates:
            return
        try:
            micros = _read_micros(table) if micros is None else micros
        except (Unscorable, *BROKEN) as error:
            self.problems.setdefault(file, str(error))
            return
        is_candidate = np.zeros(len(ids), bool)
        is_candidate[candidates] = True
        inside = is_candidate[indices] & (micros >= time_range[0]) & (micros < time_range[1])
        n_rows = np.bincount(indices[inside], minlength=len(ids))
        self.found.update(ids[index] for index in candidates if n_rows[index])

    def search_files(
        self, container: Container, files: Sequence[File], other_files: Sequence[File], request: ReadRequest
    ) -> None:
        """Look into what was not read of *files*, and into *other_files*, which were not opened. Raises Unavailable."""
        device = request.columns.device
        unread = [file for file in files if file.size and not file.problem and device not in file.keys]
        unread += (file for file in other_files if self.find_candidates([file.keys[device] or ""]))
        with ThreadPoolExecutor(FETCHERS) as pool:
            for _ in pool.map(lambda file: self._search_file(container, file, request), unread):
                pass

    def _search_file(self, container: Container, file: File, request: ReadRequest) -> None:
        device = request.columns.device
        if device in file.keys and not self.find_candidates([file.keys[device] or ""]):
            return  # another file of its folder had a row
        try:
            for table in read_other_rows(container, file, request, self.may_hold):
                ids, indices = read_ids(table.rows[table.columns.device], table.columns.device)
                self.add_table(table, file.name, ids, indices, request.time_range)
        except NotFound:
            pass  # it was removed after it was listed
        except (AccessDenied, Unscorable, *BROKEN) as error:
            self.problems.setdefault(file.name, str(error))
        file.data = None

    def count(self) -> Unmodelled:
        """How many were found, and the first of them."""
        return Unmodelled(len(self.found), tuple(map(clip_text, sorted(self.found)[:EXAMPLES])))

    def list_warnings(self) -> Iterator[tuple[int, str]]:
        """Warnings for the report: each a count, and the rest of its sentence."""
        for file, problem in sorted(self.problems.items())[:1]:
            text = f"files could not be searched for devices without a model, such as {file}: {problem}"
            yield len(self.problems), text


def _read_micros(table: Table) -> np.ndarray:
    columns = table.columns
    return read_instants(table.rows[columns.time], columns.time, table.time_format, table.time_zone).micros

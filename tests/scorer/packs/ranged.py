"""A folder that is read as a container in Azure is: blobs by ranges, each of which is counted."""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scorer.storage.blob_store import Content, Folder
from scorer.storage.range_reader import OpenFile, join_ranges
from shared.contract.errors import Unavailable

JUNK = 0xA5  # what is in memory where nothing was loaded


@dataclass
class Counts:
    """What was read of blobs, by ranges, and which of them are in memory."""

    requests: list[tuple[str, int, int]] = field(default_factory=list)  # (name, start, end)
    in_memory: "weakref.WeakSet[RangedBlob]" = field(default_factory=weakref.WeakSet)
    most_in_memory: int = 0
    most_bytes: int = 0  # of those that were in memory at once

    @property
    def n_bytes(self) -> int:
        return sum(end - start for _, start, end in self.requests)

    def notice(self) -> None:
        blobs = list(self.in_memory)
        self.most_in_memory = max(self.most_in_memory, len(blobs))
        self.most_bytes = max(self.most_bytes, sum(blob.n_loaded for blob in blobs))


@dataclass(eq=False)
class RangedBlob:
    """See MappedBlob."""

    folder: Folder
    path: str
    state: str
    data: memoryview
    counts: Counts
    n_loaded: int = 0

    def load(self, ranges: Sequence[tuple[int, int]]) -> None:
        file = self.folder.map(self.path)
        for start, end in join_ranges(ranges):
            if file.state != self.state:
                raise Unavailable(f"{self.path!r} has changed")
            self.counts.requests.append((self.path, start, end))
            self.data[start:end] = file.data[start:end]
            self.n_loaded += end - start
        self.counts.notice()


@dataclass
class Ranged:
    """See Container."""

    folder: Folder
    counts: Counts = field(default_factory=Counts)

    def map(self, path: str) -> RangedBlob:
        file = self.folder.map(path)
        data = np.full(len(file.data), JUNK, np.uint8).data
        blob = RangedBlob(self.folder, path, file.state, data, self.counts)
        self.counts.in_memory.add(blob)
        self.counts.notice()
        return blob

    def read(self, path: str, limit: int | None = None) -> Content:
        return self.folder.read(path, limit)

    def open(self, path: str) -> OpenFile:
        return self.folder.open(path)

    def exchange(self, path: str, data: bytes, state: str | None, metadata: Mapping[str, str] | None = None) -> bool:
        self.counts.notice()
        return self.folder.exchange(path, data, state, metadata)

    def list(self, prefix: str, limit: int | None = None) -> list[str]:
        return self.folder.list(prefix, limit)

    def write(self, path: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        self.folder.write(path, data, metadata)

    def create(self, path: str, data: bytes) -> bool:
        return self.folder.create(path, data)

"""The nouns that the app and its nodes share, as frozen values: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from .reasons import Outcome, Reason

EXAMPLES = 20  # devices that are named


class Task(StrEnum):
    """What a model does with a row of readings. It follows from the model itself."""

    DETECTOR = "detector"  # a score, and whether it is an anomaly
    REGRESSOR = "regressor"  # a prediction, or one for each of several outputs
    CLASSIFIER = "classifier"  # a label, and its probability where the model gives one
    CLUSTERER = "clusterer"  # a label, and a score: minus the distance to the centre of the cluster


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One of several files of a model."""

    name: str  # of its blob, within the models' container
    etag: str  # at planning


@dataclass(frozen=True, slots=True)
class Model:
    """A trained estimator that scores one signal of one device; the unit of scoring."""

    device: str
    sensor: str  # "" where the model scores the whole device
    name: str  # of its blob, within the models' container
    etag: str  # of its content at planning; of several files see `make_files_etag`
    refused: Reason | None = None  # at planning; a node does not read its file
    size: int = field(default=0, compare=False)  # bytes of its files, as the listing says; a manifest does not keep it
    files: tuple[ModelFile, ...] = ()  # sorted by name, *name* among them; () where that is its only file

    @property
    def id(self) -> str:
        """`device`, or `device/sensor`."""
        return f"{self.device}/{self.sensor}" if self.sensor else self.device


@dataclass(frozen=True, slots=True)
class Tally:
    """Models by outcome, and their rows. The outcomes of a closed run sum to its plan's total."""

    scored: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0
    not_attempted: int = 0
    rows: int = 0
    anomalies: int = 0
    seconds: float = 0.0  # of work on nodes, summed over chunks

    @property
    def models(self) -> int:
        """How many models have ended."""
        return self.scored + self.failed + self.skipped + self.cancelled + self.not_attempted

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Failure:
    """The models of a chunk or a run that share one reason, with one of them as the example."""

    reason: Reason
    outcome: Outcome
    models: int
    example: str  # a model's id, or a job's name
    message: str


def merge_failures(groups: Iterable[Failure]) -> tuple[Failure, ...]:
    """One group a reason, the largest first; the first example of each stands."""
    merged: dict[Reason, Failure] = {}
    for failure in groups:
        earlier = merged.get(failure.reason)
        count = failure.models + (earlier.models if earlier else 0)
        first = earlier or failure
        merged[failure.reason] = Failure(first.reason, first.outcome, count, first.example, first.message)
    return tuple(sorted(merged.values(), key=lambda f: (-f.models, f.reason)))


@dataclass(frozen=True, slots=True)
class Unmodelled:
    """Devices that have readings in the window and no model: how many, and the first of them, sorted."""

    devices: int = 0
    examples: tuple[str, ...] = ()


def merge_unmodelled(counts: Iterable[Unmodelled | None]) -> Unmodelled | None:
    """The sum of those that are known, which have no device in common; None where none is known."""
    entries = [count for count in counts if count]
    if not entries:
        return None
    examples = sorted(example for entry in entries for example in entry.examples)
    return Unmodelled(sum(entry.devices for entry in entries), tuple(examples[:EXAMPLES]))


@dataclass(frozen=True, slots=True)
class Late:
    """Rows in the folders of a window that are of before it: they came when their own window had ended."""

    rows: int = 0  # of the window before, in a folder that its run reads too: it has them if they came before it
    devices: int = 0  # of these rows
    examples: tuple[str, ...] = ()  # the first of the devices, sorted
    unread_rows: int = 0  # the others: no run reads them, since they came later than in the folder after their window's

    def shorten(self) -> Late:
        """With as many examples as a row of the ledger holds."""
        return replace(self, examples=self.examples[:EXAMPLES])


def merge_late(counts: Iterable[Late | None]) -> Late | None:
    """The sum of those that are known; None where none is known."""
    entries = [count for count in counts if count]
    if not entries:
        return None
    return Late(
        sum(entry.rows for entry in entries),
        sum(entry.devices for entry in entries),
        tuple(sorted({example for entry in entries for example in entry.examples})[:EXAMPLES]),
        sum(entry.unread_rows for entry in entries),
    )


@dataclass(frozen=True, slots=True)
class PartStatistics:
    """What a reader may know of a part, which has a row at least, without opening it."""

    first_time: int  # microseconds since 1970
    last_time: int
    first_device: str  # the least and the greatest, by code points
    last_device: str
    nulls: Mapping[str, int]  # by column


@dataclass(frozen=True, slots=True)
class Part:
    """Predictions of one process for one chunk, as the report names them."""

    path: str  # within the working container
    bytes: int
    md5: str  # base64, as in the store
    rows: int
    etag: str = ""  # of its copy in the predictions, once it is committed


@dataclass(frozen=True, slots=True)
class Original:
    """What a file of predictions was before `fleetscore predictions upgrade` rewrote it.

    The ledger knows a committed part by its etag, and a report knows it by its bytes and MD5. Rewriting changes all
    three, and the rows stay. So the rewritten blob says in its metadata what it was, and a commit or a rebuild takes it
    for that.
    """

    etag: str
    bytes: int
    md5: str  # base64

    def to_metadata(self) -> dict[str, str]:
        """For the rewritten blob. Metadata values are text everywhere."""
        return {"original_etag": self.etag, "original_bytes": str(self.bytes), "original_md5": self.md5}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self | None:
        """None for a blob that was not rewritten."""
        etag, size, md5 = (metadata.get(f"original_{name}", "") for name in cls.__slots__)
        return cls(etag, int(size), md5) if etag and size.isdecimal() else None

"""The task of a job that publishes runs to one sink, and its report. Pure. docs/contract.md has the fields.

A job reads all that it needs from its manifest, and leaves a report, last and create-once. Only the tick writes rows.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from shared.contract.documents import check_needs, parse_count, parse_document
from shared.contract.domain import Part
from shared.contract.errors import Malformed
from shared.contract.text import clip_text, make_digest
from shared.contract.windows import Window

from .sinks import SinkKind, SinkReason

SCHEMA = 2  # the only one: nodes of schema 1 publish nothing


def build_publish_command(manifest_url: str) -> tuple[str, ...]:
    """The command of a publishing job, on every cluster."""
    return ("python", "-m", "scorer", "publish", "--manifest", manifest_url)


@dataclass(frozen=True, slots=True)
class PublishedPart:
    """A committed part: which attempt at which chunk wrote it, and where it is."""

    chunk: str
    attempt: int
    part: Part  # its path is within the working container

    def make_name(self, run: str, index: int) -> str:
        """A file name that no other content ever has.

        A further attempt has a further number; of a run that was pruned and asked for again, the hash tells it apart.
        """
        content = base64.b64decode(self.part.md5).hex()[:16]
        return f"{run}-{self.chunk}-{self.attempt}-{index}-{content}.parquet"


@dataclass(frozen=True, slots=True)
class PublicationItem:
    """One run that a sink is to hold, or to hold no longer.

    *revision*: of this run within the sink. It only grows, and an item never replaces one with a greater revision.
    """

    run: str
    round: int
    revision: int
    is_removal: bool = False
    asked_by: str = ""  # as the run's row has it
    parts: tuple[PublishedPart, ...] = ()
    earlier: tuple[PublishedPart, ...] = ()  # of the window before, for sinks that look for changes

    @property
    def window(self) -> Window:
        """The run's window."""
        return Window.parse(self.run)

    @property
    def version(self) -> int:
        """What the sink stores of it: a removal comes after what it removes."""
        return 2 * self.revision + self.is_removal

    @property
    def rows(self) -> int:
        """The rows that the sink is to hold of this run."""
        return sum(entry.part.rows for entry in self.parts)

    @property
    def digest(self) -> str:
        """A hash of what the sink is to hold of this run: 16 hex digits."""
        contents = [(entry.chunk, entry.attempt, entry.part.bytes, entry.part.md5) for entry in self.parts]
        return make_digest(json.dumps([self.is_removal, contents]).encode())


@dataclass(frozen=True, slots=True)
class PublishingManifest:
    """The task of a publishing job. *target*: what the sink needs, without any password."""

    sink: SinkKind
    number: int
    app: str
    work_url: str
    items: tuple[PublicationItem, ...]
    target: Mapping[str, str] = field(default_factory=dict)

    def read_option(self, name: str) -> str:
        """What *target* says of an option. Raises Malformed where it says nothing."""
        if name not in self.target:
            names = ", ".join(self.target) or "none"
            raise Malformed(f"expected the option {name} in the target of {self.sink} {self.number}, got {names}")
        return self.target[name]

    def to_bytes(self) -> bytes:
        """The same manifest gives the same bytes."""
        doc = {"schema": SCHEMA, **asdict(self), "needs": []}
        return json.dumps(doc, separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> PublishingManifest:
        """Raises Malformed."""
        return parse_document(data, "publishing manifest", _parse_manifest)


@dataclass(frozen=True, slots=True)
class PublicationResult:
    """What became of one item: done where *reason* is None."""

    run: str
    round: int
    revision: int
    is_removal: bool = False
    reason: SinkReason | None = None
    message: str = ""
    rows: int = 0
    stored: str = ""  # the sink's own name of what it holds: a table's version, a transaction
    ahead: int = 0  # of AHEAD: the revision that the sink has

    @classmethod
    def for_item(cls, item: PublicationItem, **fields: Any) -> PublicationResult:
        """The result of *item*."""
        return cls(item.run, item.round, item.revision, item.is_removal, **fields)


@dataclass(frozen=True, slots=True)
class PublishingReport:
    """What a publishing job did: a result for each item that it came to."""

    sink: SinkKind
    number: int
    results: tuple[PublicationResult, ...]
    seconds: float = 0.0
    version: str = ""  # of the scorer

    def to_bytes(self) -> bytes:
        """The same report gives the same bytes."""
        doc = {"schema": SCHEMA, **asdict(self), "needs": []}
        return json.dumps(doc, separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> PublishingReport:
        """Raises Malformed."""
        return parse_document(data, "publishing report", _parse_report)

    def check_against(self, sink: SinkKind, number: int) -> None:
        """Check that this is the expected report; raises Malformed."""
        if (self.sink, self.number) != (sink, number):
            raise Malformed(f"expected the report of {sink} {number}, got that of {self.sink} {self.number}")


def _parse_manifest(doc: dict[str, Any]) -> PublishingManifest:
    check_needs(doc, ())
    return PublishingManifest(
        sink=SinkKind(doc["sink"]),
        number=parse_count(doc["number"]),
        app=str(doc["app"]),
        work_url=str(doc["work_url"]),
        items=tuple(map(_parse_item, doc["items"])),
        target={str(name): str(text) for name, text in doc["target"].items()},
    )


def _parse_item(doc: dict[str, Any]) -> PublicationItem:
    item = PublicationItem(
        run=str(doc["run"]),
        round=parse_count(doc["round"]),
        revision=parse_count(doc["revision"]),
        is_removal=bool(doc["is_removal"]),
        asked_by=str(doc["asked_by"]),
        parts=tuple(map(_parse_part, doc["parts"])),
        earlier=tuple(map(_parse_part, doc["earlier"])),
    )
    Window.parse(item.run)
    return item


def _parse_part(doc: dict[str, Any]) -> PublishedPart:
    part = doc["part"]
    sizes = parse_count(part["bytes"]), str(part["md5"]), parse_count(part["rows"])
    return PublishedPart(str(doc["chunk"]), parse_count(doc["attempt"]), Part(str(part["path"]), *sizes))


def _parse_report(doc: dict[str, Any]) -> PublishingReport:
    check_needs(doc, ())
    return PublishingReport(
        sink=SinkKind(doc["sink"]),
        number=parse_count(doc["number"]),
        results=tuple(map(_parse_result, doc["results"])),
        seconds=float(doc["seconds"]),
        version=clip_text(str(doc["version"])),
    )


def _parse_result(doc: dict[str, Any]) -> PublicationResult:
    return PublicationResult(
        run=str(doc["run"]),
        round=parse_count(doc["round"]),
        revision=parse_count(doc["revision"]),
        is_removal=bool(doc["is_removal"]),
        reason=None if doc["reason"] is None else SinkReason(doc["reason"]),
        message=clip_text(str(doc["message"])),
        rows=parse_count(doc["rows"]),
        stored=clip_text(str(doc["stored"])),
        ahead=parse_count(doc["ahead"]),
    )

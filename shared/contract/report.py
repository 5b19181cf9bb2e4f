"""What a node reports about a chunk: its progress, and at the end the report. Pure. docs/contract.md has the fields."""

from __future__ import annotations

import json
import operator
import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Self

from .columns import Column, dump_document, make_integers, make_texts, parse_columns, split_document
from .documents import NEWEST, SCHEMAS, check_needs, parse_count, parse_document, parse_instant, parse_integer
from .domain import EXAMPLES, Failure, Late, Part, PartStatistics, Tally, Unmodelled
from .errors import Malformed
from .outcomes import ModelResult, Outcomes
from .paths import parts_prefix
from .reasons import Reason
from .summaries.predicted import Predicted
from .text import clip_lines, clip_text

LATE_DEVICES = 1000  # with late rows, that a report names
PARTS_LIMIT = 100  # of one report: the chunk's row holds them all
KNOWN_NEEDS = frozenset[str]()  # what a report may name in `needs` (see `check_needs`)
_PART = re.compile(r"results/[\w-]+/[\w-]+/[\w-]+(\.[\w-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Summary:
    """The place of a chunk's summary beside its parts."""

    path: str  # within the working container
    bytes: int
    md5: str  # base64


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a finished chunk: every model's outcome, in the manifest's order, and the parts.

    `warnings` are sentences for people about what did not fail: columns left out, rows ignored. *libraries* are the
    versions on the node, by name; *reads* the schemas that it reads, empty for nodes before 0.2.0.
    """

    run: str
    chunk: str
    attempt: int
    started_at: datetime
    ended_at: datetime
    outcomes: Outcomes
    parts: tuple[Part, ...]
    warnings: tuple[str, ...] = ()
    version: str = ""  # of the scorer that wrote it; nodes before 0.2.0 did not say
    schema: int = NEWEST
    reads: tuple[int, ...] = SCHEMAS
    libraries: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    summary: Summary | None = None
    statistics: tuple[PartStatistics, ...] = ()  # of each part, or none at all
    unmodelled: Unmodelled | None = None  # of the chunk's range of devices; None: not counted
    predicted: Predicted | None = None  # None: all models that were scored are detectors
    late: Late | None = None  # of the chunk's devices; None: not counted

    @property
    def results(self) -> tuple[ModelResult, ...]:
        """The result of each model: an object each, for reports that are looked into."""
        return tuple(self.outcomes)

    @property
    def tally(self) -> Tally:
        """The results, counted."""
        return self.outcomes.make_tally(max(0.0, (self.ended_at - self.started_at).total_seconds()))

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The models that were not scored, grouped by reason."""
        return self.outcomes.group_failures()

    def to_bytes(self) -> bytes:
        """The same report gives the same bytes."""
        return self._to_json() if self.schema == 1 else self._to_columns()

    def _make_head(self) -> dict[str, Any]:
        return {
            "schema": self.schema,
            "run": self.run,
            "chunk": self.chunk,
            "attempt": self.attempt,
            "started_at": self.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
        }

    def _to_json(self) -> bytes:
        """Schema 1, for an app that planned in it. It ignores `reads`, which tells the next version what to plan in."""
        outcomes = self.outcomes
        doc = {
            **self._make_head(),
            "models": list(outcomes.ids),
            "rows": [*map(int, outcomes.rows)],
            "anomalies": [*map(int, outcomes.anomalies)],
            "reasons": {i: _spell_first(*outcomes.reasons[i]) for i in sorted(outcomes.reasons)},
            "etags": {i: outcomes.etags[i] for i in sorted(outcomes.etags)},
            "parts": [_make_part_json(part) for part in self.parts],
            "warnings": self.warnings,
            "version": self.version,
            "reads": self.reads,
        }
        return json.dumps(doc, separators=(",", ":"), allow_nan=False).encode()

    def _to_columns(self) -> bytes:
        outcomes = self.outcomes
        unscored = sorted(outcomes.reasons)
        head = {
            **self._make_head(),
            "version": self.version,
            "reads": self.reads,
            "libraries": dict(self.libraries),
            "models": len(outcomes),
            "parts": [_make_part_json(part) for part in self.parts],
            "statistics": [asdict(statistics) for statistics in self.statistics],
            "summary": asdict(self.summary) if self.summary else None,
            "warnings": self.warnings,
            "etags": {i: outcomes.etags[i] for i in sorted(outcomes.etags)},
            "tracebacks": {i: outcomes.tracebacks[i] for i in sorted(outcomes.tracebacks)},
            "remarks": {i: outcomes.remarks[i] for i in sorted(outcomes.remarks)},
            **_make_unmodelled_json(self.unmodelled),
            **({"predicted": self.predicted.to_json()} if self.predicted else {}),
            **({"late": asdict(self.late)} if self.late else {}),
            "needs": [],
        }
        columns = {
            "rows": make_integers(outcomes.rows),
            "anomalies": make_integers(outcomes.anomalies),
            **({} if outcomes.readings is None else {"readings": make_integers(outcomes.readings)}),
            "unscored": make_integers(array("Q", unscored)),
            "unscored_ids": make_texts([outcomes.ids[index] for index in unscored]),
            "reasons": make_texts([str(outcomes.reasons[index][0]) for index in unscored]),
            "messages": make_texts([outcomes.reasons[index][1] for index in unscored]),
        }
        return dump_document(head, columns)

    @classmethod
    def from_bytes(cls, data: bytes, models: int | None = None) -> Report:
        """The report of a chunk of so many *models*, where they are known. Raises Malformed.

        A short document may say that it is of very many models: it is refused before it takes memory for them.
        """
        text, blocks = split_document(data)

        def build_report(doc: dict[str, Any]) -> Report:
            first = doc["schema"] == 1
            count = len(doc["models"]) if first else parse_count(doc["models"])
            if models is not None and count != models:
                raise ValueError(f"expected {models} models, got {count}")
            fields: dict[str, Any] = {} if first else _parse_second(doc)
            return cls(
                run=doc["run"],
                chunk=doc["chunk"],
                attempt=parse_count(doc["attempt"]),
                started_at=parse_instant(doc["started_at"]),
                ended_at=parse_instant(doc["ended_at"]),
                outcomes=_parse_lists(doc) if first else _parse_columns(doc, parse_columns(doc, blocks)),
                parts=tuple(map(_parse_part, doc["parts"])),
                warnings=tuple(map(str, doc["warnings"])),
                version=clip_text(str(doc.get("version", ""))),
                schema=doc["schema"],
                reads=tuple(map(parse_count, doc.get("reads", ()))),
                **fields,
            )

        return parse_document(text, "report", build_report)

    def check_against(self, run: str, chunk: str, attempt: int, models: int) -> None:
        """Check that this is the expected report and that it is consistent; raises Malformed. Reads no storage."""
        identity = (self.run, self.chunk, self.attempt, len(self.outcomes))
        if identity != (run, chunk, attempt, models):
            raise Malformed(f"expected the report of {run} {chunk}-{attempt} over {models} models, got {identity}")
        written, reported = sum(p.rows for p in self.parts), sum(self.outcomes.rows)
        if written != reported:
            raise Malformed(f"report of {run} {chunk}-{attempt}: its parts hold {written} rows, its models {reported}")
        if len(self.parts) > PARTS_LIMIT:
            raise Malformed(
                f"report of {run} {chunk}-{attempt}: expected at most {PARTS_LIMIT} parts, got {len(self.parts)}"
            )
        for place in (*(part.path for part in self.parts), *((self.summary.path,) if self.summary else ())):
            if not _PART.fullmatch(place) or not place.startswith(parts_prefix(run, chunk)):
                raise Malformed(f"report of {run} {chunk}-{attempt}: names a part outside its folder, {place!r}")


def _spell_first(reason: Reason, message: str) -> list[str]:
    """A reason as readers of schema 1 know it."""
    return [reason.first_code, message]


def _make_part_json(part: Part) -> dict[str, Any]:
    return {"path": part.path, "bytes": part.bytes, "md5": part.md5, "rows": part.rows, "etag": part.etag}


def _make_unmodelled_json(unmodelled: Unmodelled | None) -> dict[str, Any]:
    """Nothing where they were not counted."""
    if unmodelled is None:
        return {}
    return {"unmodelled": unmodelled.devices, "unmodelled_examples": unmodelled.examples}


def _parse_unmodelled(doc: dict[str, Any]) -> Unmodelled | None:
    if "unmodelled" not in doc:
        return None
    examples = [clip_text(str(example)) for example in doc.get("unmodelled_examples", ())[:EXAMPLES]]
    return Unmodelled(parse_count(doc["unmodelled"]), tuple(examples))


def _parse_late(doc: dict[str, Any]) -> Late:
    examples = [clip_text(str(example)) for example in doc["examples"][:LATE_DEVICES]]
    rows, devices, unread = (parse_count(doc[name]) for name in ("rows", "devices", "unread_rows"))
    return Late(rows, devices, tuple(examples), unread)


def _parse_part(doc: dict[str, Any]) -> Part:
    return Part(str(doc["path"]), parse_count(doc["bytes"]), str(doc["md5"]), parse_count(doc["rows"]))


def _parse_statistics(doc: dict[str, Any]) -> PartStatistics:
    nulls = {str(name): parse_count(count) for name, count in doc["nulls"].items()}
    first_time, last_time = parse_integer(doc["first_time"]), parse_integer(doc["last_time"])
    return PartStatistics(first_time, last_time, str(doc["first_device"]), str(doc["last_device"]), nulls)


def _parse_lists(doc: dict[str, Any]) -> Outcomes:
    """The outcomes of a report of schema 1."""
    ids = [str(model) for model in doc["models"]]
    rows, anomalies = (array("Q", map(parse_count, doc[name])) for name in ("rows", "anomalies"))
    if not len(ids) == len(rows) == len(anomalies):
        raise ValueError(f"expected lists of one length, got {len(ids)}, {len(rows)}, {len(anomalies)}")
    reasons = {int(i): (Reason(reason), clip_text(message)) for i, (reason, message) in doc["reasons"].items()}
    etags = {int(i): str(etag) for i, etag in doc["etags"].items()}
    _check_indices([*reasons, *etags], len(ids))
    return Outcomes(ids, rows, anomalies, reasons, etags)


def _parse_columns(doc: dict[str, Any], columns: Mapping[str, Column]) -> Outcomes:
    """The outcomes of a report of schema 2."""
    count = parse_count(doc["models"])
    counts = {name: columns[name].count for name in ("rows", "anomalies", "readings") if name in columns}
    if any(size != count for size in counts.values()) or columns["unscored"].count > count:
        raise ValueError(f"expected columns of {count} models, got {counts}")
    numbers = {name: columns[name].integers for name in counts}
    unscored = columns["unscored"].integers
    if not all(map(operator.lt, unscored, unscored[1:])):
        raise ValueError("expected each model that was not scored once, in the manifest's order")
    texts = [columns[name].texts for name in ("unscored_ids", "reasons", "messages")]
    entries = list(zip(unscored, *texts, strict=True))
    etags = {int(i): str(etag) for i, etag in doc["etags"].items()}
    tracebacks = {int(i): clip_lines(text) for i, text in doc["tracebacks"].items()}
    remarks = {int(i): clip_text(text) for i, text in doc["remarks"].items()}
    _check_indices([*unscored, *etags, *tracebacks, *remarks], count)
    return Outcomes(
        ids=_SparseIds({index: model for index, model, _, _ in entries}, count),
        rows=numbers["rows"],
        anomalies=numbers["anomalies"],
        reasons={index: (Reason(reason), clip_text(message)) for index, _, reason, message in entries},
        etags=etags,
        readings=numbers.get("readings"),
        tracebacks=tracebacks,
        remarks=remarks,
    )


class _SparseIds(Sequence[str]):
    """The ids of the models that were not scored, by index; "" for the others."""

    def __init__(self, id_of: Mapping[int, str], count: int) -> None:
        self._id_of, self._count = id_of, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._id_of.get(i, "") for i in range(*index.indices(self._count))]
        return self._id_of.get(range(self._count)[index], "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


def _check_indices(indices: Sequence[int], count: int) -> None:
    if indices and not 0 <= min(indices) <= max(indices) < count:
        raise ValueError(f"expected indices of {count} models, got {min(indices)} to {max(indices)}")


def _parse_second(doc: dict[str, Any]) -> dict[str, Any]:
    """The fields that schema 1 did not have."""
    check_needs(doc, KNOWN_NEEDS)
    summary = doc["summary"]
    statistics = tuple(map(_parse_statistics, doc["statistics"]))
    if statistics and len(statistics) != len(doc["parts"]):
        raise ValueError(f"expected statistics of {len(doc['parts'])} parts, got {len(statistics)}")
    return {
        "statistics": statistics,
        "libraries": MappingProxyType({clip_text(name): clip_text(text) for name, text in doc["libraries"].items()}),
        "summary": None if summary is None else _parse_summary(summary),
        "unmodelled": _parse_unmodelled(doc),
        "predicted": Predicted.from_json(doc["predicted"]) if "predicted" in doc else None,
        "late": _parse_late(doc["late"]) if "late" in doc else None,
    }


def _parse_summary(doc: dict[str, Any]) -> Summary:
    return Summary(str(doc["path"]), parse_count(doc["bytes"]), str(doc["md5"]))


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an attempt as the node reports it: the metadata of its progress blob."""

    done: int
    models: int

    def to_metadata(self) -> dict[str, str]:
        """Metadata values are text everywhere."""
        return {"done": str(self.done), "models": str(self.models)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """Never raises: progress decides nothing, so values that cannot be read count as 0."""
        values = [metadata.get(key, "") for key in ("done", "models")]
        count, models = (int(v) if v.isdecimal() else 0 for v in values)
        return cls(min(count, models), models)

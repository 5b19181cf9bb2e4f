"""Devices whose state has changed, as CloudEvents: at least once, and known by their ids and revisions.

What was sent for a run is kept in the working container, with the revision of its publication: a further publication
sends only what is another than before, with the same ids and its own, greater `revision`. Only runs of the schedule
have events, unless the target says `all`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scorer.storage.blob_store import Container
from shared.contract.errors import Malformed, NotFound
from shared.contract.paths import events_path
from shared.contract.publishing.cloud_events import make_event
from shared.contract.publishing.documents import PublicationItem, PublicationResult, PublishingManifest

from .base import make_ahead_error
from .event_sender import EventSender, open_sender
from .event_states import Change, find_changes, observe_devices
from .parts import PartMissing, Parts

MOST_EVENTS = 10_000  # of one publication; then one that says how many more there are
SCHEDULE, ALL = "schedule", "all"  # the first as a run's `asked_by` has it too
_FORM = 2  # of what is kept; form 1 had `sent` in place of `known`, and no count

log = logging.getLogger(__name__)


def open_event_sink(manifest: PublishingManifest, work: Container, key: str = "") -> EventSink:
    """The receiver that a manifest names. *work* keeps what was sent, *key* signs it. Raises Malformed, Misconfigured.

    Its options: `url`; `percent`, see EventSink; `runs`: `schedule` or `all`.
    """
    url, percent, runs = map(manifest.read_option, ("url", "percent", "runs"))
    if runs not in (SCHEDULE, ALL):
        raise Malformed(f"expected runs to be {SCHEDULE} or {ALL} in the target of {manifest.sink}, got {runs!r}")
    return EventSink(manifest.app, work, open_sender(url, key), _parse_percent(percent), sends_all=runs == ALL)


def _parse_percent(text: str) -> float:
    try:
        percent = float(text)
    except ValueError:
        percent = 0.0
    if not 0 < percent <= 100:  # noqa: PLR2004  # NaN is refused too
        raise Malformed(f"expected percent to be a number above 0 and up to 100 in the target of events, got {text!r}")
    return percent


@dataclass(frozen=True, slots=True)
class EventRecord:
    """What is kept of a run: the version and the digest that were published, and what receivers know.

    *known*: by the id of an event what makes it another one, also of those that only `more` has counted. *count*: the
    events that were sent.
    """

    version: int = -1
    digest: str = ""
    known: Mapping[str, list[Any]] = field(default_factory=dict)
    count: int = 0

    def to_bytes(self) -> bytes:
        """Its form."""
        document = {"version": self.version, "digest": self.digest, "known": self.known, "count": self.count}
        return json.dumps({"form": _FORM, **document}, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes, path: str) -> EventRecord:
        """Raises Malformed."""
        try:
            document = json.loads(data)
            form = document["form"]
            if form == 1:
                states = document["sent"]
                return cls(document["version"], document["digest"], states, len(states))
            if form == _FORM:
                return cls(document["version"], document["digest"], document["known"], document["count"])
        except (ValueError, LookupError, TypeError) as error:
            raise Malformed(f"{path}: expected what was sent, got {type(error).__name__}: {error}") from error
        raise Malformed(f"{path}: expected form 1 or {_FORM}, got {form!r}: another version of fleetscore wrote it")


@dataclass(frozen=True, slots=True)
class EventSink:
    """See Sink. *percent*: of a device's rows, from which on it is anomalous."""

    app: str
    work: Container
    sender: EventSender
    percent: float
    sends_all: bool  # runs of backfills and requests too

    def publish(self, item: PublicationItem, parts: Parts) -> PublicationResult:
        """See Sink."""
        path = events_path(item.run)
        record = self._read_record(path)
        if record.version >= item.version:
            if record.digest == item.digest:
                return _make_result(item, record)
            raise make_ahead_error(path, item, record.version)
        states, count = dict(record.known), record.count
        if not item.is_removal and (self.sends_all or item.asked_by == SCHEDULE):
            changes = self._find_changes(item, parts, states)
            news = {name: change for name, change in changes.items() if states.get(name) != _summarize(change)}
            events = [self._make_change(item, name, change) for name, change in sorted(news.items())[:MOST_EVENTS]]
            if len(news) > MOST_EVENTS:
                events.append(self._make_rest(item, len(news) - MOST_EVENTS))
            self.sender.send_events(events)
            states |= {name: _summarize(change) for name, change in news.items()}
            count += len(events)
        record = EventRecord(item.version, item.digest, states, count)
        self.work.write(path, record.to_bytes())
        return _make_result(item, record)

    def close(self) -> None:
        """See Sink."""

    def _find_changes(self, item: PublicationItem, parts: Parts, names: Collection[str]) -> Mapping[str, Change]:
        """What has changed since the window before, and the events of these *names* once more, by their ids."""
        now = observe_devices(parts.iterate_tables(item.parts), self.percent)
        try:
            before = observe_devices(parts.iterate_tables(item.earlier), self.percent)
        except PartMissing as error:  # the window before was pruned
            log.warning("run=%s: the states before are not known: %s", item.run, error)
            before = {}
        ids = {key: f"{item.run}/{'/'.join(key)}" for key in now}
        also = {key for key, name in ids.items() if name in names}
        changes = find_changes(now, before, also)
        return {ids[change.device, change.sensor]: change for change in changes}

    def _read_record(self, path: str) -> EventRecord:
        try:
            return EventRecord.from_bytes(self.work.read(path).data, path)
        except NotFound:
            return EventRecord()

    def _make_change(self, item: PublicationItem, name: str, change: Change) -> Mapping[str, Any]:
        data = {
            "device": change.device,
            "sensor": change.sensor or None,
            "state": change.now.state,
            "before": change.before,
            "rows": change.now.rows,
            "anomalies": change.now.anomalies,
            "run": item.run,
        }
        subject = f"{change.device}/{change.sensor}".rstrip("/")
        return self._make_event(item, name, f"device.{change.now.state}", subject, change.now.last_time, data)

    def _make_rest(self, item: PublicationItem, count: int) -> Mapping[str, Any]:
        data = {"run": item.run, "more": count}
        return self._make_event(item, f"{item.run}/more", "device.more", item.run, item.window.end, data)

    def _make_event(
        self, item: PublicationItem, name: str, kind: str, subject: str, time: datetime, data: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        revision = {"revision": item.revision}  # an extension attribute too, by which receivers know a correction
        return make_event(self.app, name, kind, subject, time, {**data, **revision}, revision)


def _make_result(item: PublicationItem, record: EventRecord) -> PublicationResult:
    return PublicationResult.for_item(item, rows=item.rows, stored=f"{record.count} events")


def _summarize(change: Change) -> list[Any]:
    """What makes an event another one: whoever receives both takes the later."""
    return [str(change.now.state), None if change.before is None else str(change.before)]

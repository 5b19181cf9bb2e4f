"""Devices whose state has changed, as CloudEvents: at least once, and known by their ids and revisions.

What was sent for a run is kept in the working container: a further round sends only what is another than before, with
the same ids and a greater `revision`, that of the publication: rounds begin again where a run was pruned. Only runs of
the schedule are news.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from scorer.storage.blob_store import Container
from shared.contract.errors import NotFound
from shared.contract.publishing.documents import PublicationItem, PublicationResult, PublishingManifest
from shared.contract.publishing.sinks import SinkReason

from .base import SinkError
from .event_sender import EventSender, open_sender
from .event_states import Change, find_changes, observe_devices
from .parts import PartMissing, Parts

MOST_EVENTS = 10_000  # of one publication; then one that says how many more there are
SCHEDULE = "schedule"  # as a run's `asked_by` has it
_FORM = 1  # of what is kept

log = logging.getLogger(__name__)


def open_event_sink(manifest: PublishingManifest, work: Container, key: str = "") -> EventSink:
    """The receiver that a manifest names by `url`. *work* keeps what was sent, *key* signs it."""
    target = manifest.target
    sender = open_sender(target["url"], key)
    percent = float(target.get("percent", "50"))
    return EventSink(manifest.app, work, sender, percent, sends_all=target.get("runs") == "all")


@dataclass(frozen=True, slots=True)
class EventSink:
    """See Sink. *percent*: of a device's rows, from which on it is anomalous."""

    app: str
    work: Container
    sender: EventSender
    percent: float = 50.0
    sends_all: bool = False  # runs of backfills and requests too

    def publish(self, item: PublicationItem, parts: Parts) -> PublicationResult:
        """See Sink."""
        path = f"events/{item.run}.json"
        record = self._read_kept(path)
        version = 2 * item.revision + item.is_removal
        if record["digest"] == item.digest and record["version"] >= version:
            return self._make_result(item, record)
        if record["version"] >= version:
            message = f"revision {record['version'] // 2} of {item.run} was sent, expected at most {item.revision}"
            raise SinkError(SinkReason.AHEAD, message, ahead=record["version"] // 2)
        sent: dict[str, list[Any]] = dict(record["sent"])
        if not item.is_removal and (self.sends_all or item.asked_by == SCHEDULE):
            changes = self._find_changes(item, parts, sent)
            news = {name: change for name, change in changes.items() if sent.get(name) != _summarize(change)}
            events = [self._make_event(item, name, change) for name, change in sorted(news.items())[:MOST_EVENTS]]
            if len(news) > MOST_EVENTS:
                events.append(self._make_rest(item, len(news) - MOST_EVENTS))
            self.sender.send_events(events)
            sent |= {name: _summarize(change) for name, change in news.items()}
        record = {"form": _FORM, "version": version, "digest": item.digest, "sent": sent}
        self.work.write(path, json.dumps(record, separators=(",", ":")).encode())
        return self._make_result(item, record)

    def close(self) -> None:
        """See Sink."""

    def _find_changes(self, item: PublicationItem, parts: Parts, sent: Collection[str]) -> Mapping[str, Change]:
        """What has changed since the window before, and what was *sent*, by the ids of the events."""
        now = observe_devices(parts.iterate_tables(item.parts), self.percent)
        try:
            before = observe_devices(parts.iterate_tables(item.earlier), self.percent)
        except PartMissing as error:  # the window before was pruned
            log.warning("run=%s: the states before are not known: %s", item.run, error)
            before = {}
        names = {key: f"{item.run}/{'/'.join(key)}" for key in now}
        also = {key for key, name in names.items() if name in sent}
        changes = find_changes(now, before, also)
        return {names[change.device, change.sensor]: change for change in changes}

    def _read_kept(self, path: str) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(self.work.read(path).data)
        except NotFound:
            return {"version": -1, "digest": "", "sent": {}}
        return record

    def _make_event(self, item: PublicationItem, name: str, change: Change) -> Mapping[str, Any]:
        data = {
            "device": change.device,
            "sensor": change.sensor or None,
            "state": change.now.state,
            "before": change.before,
            "rows": change.now.rows,
            "anomalies": change.now.anomalies,
            "run": item.run,
            "revision": item.revision,
        }
        kind = f"fleetscore.device.{change.now.state}"
        return self._make_envelope(name, kind, name.partition("/")[2], change.now.last_time, data)

    def _make_rest(self, item: PublicationItem, count: int) -> Mapping[str, Any]:
        data = {"run": item.run, "revision": item.revision, "more": count}
        time = item.window.end.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return self._make_envelope(f"{item.run}/more", "fleetscore.device.more", item.run, time, data)

    def _make_envelope(
        self, name: str, kind: str, subject: str, time: str, data: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        return {
            "specversion": "1.0",
            "id": name,
            "source": f"/fleetscore/{self.app}",
            "type": kind,
            "subject": subject.rstrip("/"),
            "time": time,
            "datacontenttype": "application/json",
            "revision": data["revision"],  # an extension attribute, by which receivers know a correction
            "data": data,
        }

    def _make_result(self, item: PublicationItem, record: Mapping[str, Any]) -> PublicationResult:
        return PublicationResult.for_item(item, rows=item.rows, stored=f"{len(record['sent'])} events")


def _summarize(change: Change) -> list[Any]:
    """What makes an event another one: whoever receives both takes the later."""
    return [str(change.now.state), None if change.before is None else str(change.before)]

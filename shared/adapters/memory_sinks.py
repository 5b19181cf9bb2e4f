"""The record of what sinks hold, in memory: for tests, and for trying the control plane without servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from shared.contract.errors import Conflict, Malformed, NotFound
from shared.contract.publishing.sinks import SinkKind
from shared.contract.windows import Window
from shared.ports import Page
from shared.state.notices import Notice
from shared.state.publications import Publication, Sink

from .memory import SHARED_TOKENS, Tokens


@dataclass(slots=True)
class MemorySinkLedger:
    """What `SinkLedger` says, in memory."""

    tokens: Tokens = field(default_factory=lambda: SHARED_TOKENS)
    _sinks: dict[SinkKind, Sink] = field(default_factory=dict)
    _publications: dict[tuple[SinkKind, str], Publication] = field(default_factory=dict)
    _notices: dict[str, Notice] = field(default_factory=dict)

    def read_sink(self, kind: SinkKind) -> Sink:
        return self._sinks.get(kind, Sink(kind))

    def save_sink(self, sink: Sink) -> Sink:
        stored = self.read_sink(sink.kind)
        if stored.version != sink.version:
            raise Conflict(f"sink {sink.kind}: expected version {sink.version!r}, got {stored.version!r}")
        self._sinks[sink.kind] = replace(sink, version=self.tokens.make())
        return self._sinks[sink.kind]

    def read_publication(self, kind: SinkKind, run_id: str) -> Publication:
        try:
            return self._publications[kind, run_id]
        except KeyError:
            raise NotFound(f"no publication of {run_id} to {kind}") from None

    def list_open_publications(self) -> Sequence[Publication]:
        entries = [entry for entry in self._publications.values() if entry.state.is_open]
        newest = sorted(entries, key=lambda entry: (Window.parse(entry.run).start, entry.run), reverse=True)
        return sorted(newest, key=lambda entry: entry.sink)

    def list_publications(self, kind: SinkKind, limit: int, cursor: str | None = None) -> Page[Publication]:
        entries = [entry for entry in self._publications.values() if entry.sink is kind and not entry.state.is_open]
        entries.sort(key=_get_order, reverse=True)
        if cursor is not None:
            start, _, run_id = cursor.partition("|")
            if not run_id:
                raise Malformed(f"expected a cursor of an earlier page, got {cursor!r}")
            entries = [entry for entry in entries if _get_order(entry) < (start, run_id)]
        page = tuple(entries[:limit])
        return Page(page, "|".join(_get_order(page[-1])) if len(entries) > limit else None)

    def save_publications(self, publications: Sequence[Publication]) -> Sequence[Publication]:
        saved = []
        for entry in publications:
            stored = self._publications.get((entry.sink, entry.run))
            version = stored.version if stored else ""
            if version != entry.version:
                raise Conflict(f"{entry.run} at {entry.sink}: expected version {entry.version!r}, got {version!r}")
            self._publications[entry.sink, entry.run] = replace(entry, version=self.tokens.make())
            saved.append(self._publications[entry.sink, entry.run])
        return saved

    def add_notice(self, notice: Notice) -> bool:
        if notice.id in self._notices:
            return False
        self._notices[notice.id] = replace(notice, version=self.tokens.make())
        return True

    def list_notices(self) -> Sequence[Notice]:
        return sorted(self._notices.values(), key=lambda notice: (notice.at, notice.id))

    def save_notice(self, notice: Notice) -> Notice:
        stored = self._notices.get(notice.id)
        if stored is None or stored.version != notice.version:
            raise Conflict(f"notification {notice.id} was changed since it was read")
        self._notices[notice.id] = replace(notice, version=self.tokens.make())
        return self._notices[notice.id]

    def remove_notice(self, notice_id: str) -> None:
        self._notices.pop(notice_id, None)

    def remove_publications(self, run_id: str) -> None:
        for kind in SinkKind:
            self._publications.pop((kind, run_id), None)


@dataclass(slots=True)
class MemoryNotifier:
    """Keeps what is sent."""

    sent: list[Notice] = field(default_factory=list)

    def send(self, notice: Notice) -> None:
        self.sent.append(replace(notice, version=""))


def _get_order(entry: Publication) -> tuple[str, str]:
    return Window.parse(entry.run).start.isoformat(), entry.run

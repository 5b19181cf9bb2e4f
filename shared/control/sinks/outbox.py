"""Notifies people: what is worth a notification is recorded first, and sent by this tick or by a later one.

At least once: a tick that is killed after it sent a notification sends it again, with the same id.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.contract.errors import Conflict, FleetError, NotFound
from shared.contract.publishing.sinks import SinkKind
from shared.contract.windows import Window
from shared.control.tick import Tick
from shared.ports import Ledger, Notifier, SinkLedger
from shared.publishing import notices
from shared.publishing.notices import NotifyOptions
from shared.state.notices import Notice
from shared.state.publications import Publication
from shared.state.runs import Phase, Run

log = logging.getLogger(__name__)

SEND = 10  # of one tick: a receiver that does not answer costs its time limit once


@dataclass(frozen=True, slots=True)
class Outbox:
    """The ports that it acts on."""

    ledger: Ledger
    sinks: SinkLedger
    notifier: Notifier
    options: NotifyOptions

    def note_run(self, run: Run, now: datetime) -> None:
        """Record what the end of a round is worth. Safe to repeat."""
        if self.options.is_set and (notice := notices.notice_run(run, self._find_earlier(run), self.options, now)):
            self.sinks.add_notice(notice)

    def note_missed(self, since: datetime | None, until: datetime | None, now: datetime) -> None:
        """Record the windows between two watermarks that were missed. Safe to repeat."""
        if not self.options.is_set or since is None or until is None or since == until:
            return
        for run in self.ledger.list_runs_in(since, until):
            if run.phase is Phase.MISSED:
                self.note_run(run, now)

    def note_sinks(self, kinds: Sequence[SinkKind], entries: Sequence[Publication], now: datetime) -> None:
        """Record that a sink is stuck, and that it is so no longer: each once."""
        if not self.options.is_set:
            return
        for kind in kinds:
            sink, stuck = self.sinks.read_sink(kind), notices.find_stuck(entries, kind, now)
            if bool(stuck) == sink.is_stuck:
                continue
            self.sinks.add_notice(notices.notice_stuck(stuck, now) if stuck else notices.notice_unstuck(kind, now))
            self.sinks.save_sink(replace(sink, is_stuck=bool(stuck)))

    def send_notices(self, tick: Tick) -> None:
        """Send what is recorded. What cannot be sent waits for a later tick."""
        if not self.options.is_set:
            return
        for notice in [entry for entry in self.sinks.list_notices() if entry.not_before <= tick.now][:SEND]:
            if not tick.in_time():
                return
            try:
                self.notifier.send(notice)
            except FleetError as error:
                log.warning("notification %s is not sent: %s", notice.id, error)
                later = notices.retry_notice(notice, tick.now)
                if later:
                    self._save_later(later)
                    return  # a receiver that does not answer gets no more at this tick
                log.error("notification %s is dropped: %s", notice.id, error)  # noqa: TRY400  # the trace says no more
            self.sinks.remove_notice(notice.id)

    def _save_later(self, notice: Notice) -> None:
        try:
            self.sinks.save_notice(notice)
        except Conflict as error:  # another host sends it
            log.info("%s", error)

    def _find_earlier(self, run: Run) -> Run | None:
        window = Window(run.window.start - run.window.length, run.window.length)
        try:
            return self.ledger.read_run(window.id)
        except NotFound:
            return None

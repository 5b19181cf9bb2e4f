"""Notifies people: what is worth a notification is recorded first, and sent by this tick or by a later one.

At least once: a tick that is killed after it sent a notification sends it again, with the same id.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile

from shared.contract.errors import Conflict, FleetError, Malformed, NotFound
from shared.contract.publishing.sinks import SinkKind
from shared.contract.windows import EPOCH
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

    def note_run(self, run: Run, now: datetime) -> Run:
        """Record what the end of a round is worth; returns the run to save after that. Safe to repeat."""
        if not self.options.is_set:
            return run
        notice = notices.notice_run(run, self._find_earlier(run), self.options, now)
        if notice:
            self.sinks.add_notice(notice)
        return notices.mark_run(run, notice)

    def note_missed(self, since: datetime | None, until: datetime | None, now: datetime) -> None:
        """Record the windows between two watermarks that were missed. Safe to repeat. Raises Conflict."""
        if not self.options.is_set or since is None or until is None or since == until:
            return
        for run in self.ledger.list_runs_in(since, until):
            if run.phase is Phase.MISSED:
                noted = self.note_run(run, now)
                if noted != run:
                    self.ledger.save_run(noted)

    def note_sinks(self, kinds: Sequence[SinkKind], entries: Sequence[Publication], now: datetime) -> None:
        """Record that a sink is stuck, and that it is so no longer: each once."""
        if not self.options.is_set:
            return
        for kind in kinds:
            sink, stuck = self.sinks.read_sink(kind), notices.find_stuck(entries, kind, now)
            if stuck and sink.stuck_since is None:
                self.sinks.add_notice(notices.notice_stuck(stuck, now))
                self.sinks.save_sink(replace(sink, stuck_since=stuck.asked_at))
            elif not stuck and sink.stuck_since:
                self.sinks.add_notice(notices.notice_unstuck(kind, sink.stuck_since, now))
                self.sinks.save_sink(replace(sink, stuck_since=None))

    def send_notices(self, tick: Tick) -> None:
        """Send what is recorded. What cannot be sent waits for a later tick."""
        if not self.options.is_set:
            return
        sent = 0
        for notice in self.sinks.list_notices():
            if not tick.in_time() or sent == SEND:
                return
            if notices.is_too_old(notice, tick.now):
                self._drop_notice(notice, "it could not be sent for a day, or there was no NOTIFY_URL")
            elif notice.not_before <= tick.now:
                sent += 1
                if not self._send_notice(notice, tick):
                    return  # a receiver that does not answer gets no more at this tick

    def _send_notice(self, notice: Notice, tick: Tick) -> bool:
        """Whether the receiver answered."""
        try:
            self.notifier.send(notice)
        except Malformed as error:
            self._drop_notice(notice, str(error))
            return True
        except FleetError as error:
            log.warning("notification %s is not sent: %s", notice.id, error)
            self._save_later(notices.retry_notice(notice, tick.now))
            return False
        self.sinks.remove_notice(notice.id)
        return True

    def _drop_notice(self, notice: Notice, problem: str) -> None:
        log.error("notification %s is dropped: %s", notice.id, problem)
        self.sinks.remove_notice(notice.id)

    def _save_later(self, notice: Notice) -> None:
        try:
            self.sinks.save_notice(notice)
        except Conflict as error:  # another host sends it
            log.info("%s", error)

    def _find_earlier(self, run: Run) -> Run | None:
        try:
            return self.ledger.read_run(run.window.previous.id)
        except NotFound:  # windows that were missed in a row are one run
            older = self.ledger.list_runs_in(EPOCH, run.window.start)
            runs = takewhile(lambda entry: entry.window.end >= run.window.start, older)  # the newest first
        try:
            return next((entry for entry in runs if entry.window.end == run.window.start), None)
        except Malformed as error:  # a row of any time, which must not keep this run open
            log.warning("run=%s: the run before it is not known: %s", run.id, error)
            return None

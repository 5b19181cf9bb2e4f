"""Opens runs that are requested, due, or part of a backfill. Writes rows of the ledger only.

Each step writes the run's row first, and then its own marker (request, watermark, cursor). If it is killed between the
two, the next tick finds the row and only moves the marker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.contract.errors import Malformed, NotFound
from shared.contract.reasons import Reason
from shared.contract.windows import EPOCH, Window
from shared.planning import due_windows
from shared.planning.backfill import decide_window
from shared.planning.completeness import Wait
from shared.ports import Ledger
from shared.state.requests import Backfill, BackfillState, Request, RequestKind
from shared.state.runs import Phase, Run

from .options import ControlOptions
from .window_gate import WindowGate

log = logging.getLogger(__name__)

UNKNOWN_LIMIT = timedelta(hours=1)  # a request may wait so long for a run without a row: it had one when it was made
_SECOND = timedelta(seconds=1)
DECISIONS = 100  # windows that a backfill decides in one tick, at most


def reopen_run(
    run: Run, kind: RequestKind, asked_at: datetime, asked_by: str, now: datetime, node_schema: int = 1
) -> Run:
    """The run, which is over, in a further round of this kind.

    Where nodes read schema 2, a reprocess lists the models once more, and a redrive scores them as they are now.
    """
    planning = not run.plans or kind.writes_manifests(node_schema)
    read_at = run.read_at or run.planned_at  # a row from before there was a `read_at` has only the other
    return replace(
        run,
        phase=Phase.PLANNING if planning else Phase.RUNNING,
        opened_at=now,
        asked_by=asked_by,
        round=run.round + 1,
        redo=kind,
        granted=asked_at,
        planned_at=None if planning else now,
        read_at=now if kind.rereads and not planning else read_at,
        ended_at=None,
        cancelled_at=None,
        stopped=None,
        progress_at=None,
        doubted_fleet=None,
        max_in_flight=None,
        tolerated_failures=None,
        own_manifests=False,
        current_files=node_schema > 1 and kind.carries,
        done=0,
        reason=None,
        message="",
    )


@dataclass(frozen=True, slots=True)
class RunOpener:
    """The ledger, and the options by which runs are opened."""

    ledger: Ledger
    options: ControlOptions
    node_schema: int = 1  # of the contract, that nodes read
    gate: WindowGate | None = None  # None: windows that are due do not wait for their readings

    def grant_requests(self, requests: Sequence[Request], now: datetime) -> Sequence[Request]:
        """Open or reopen the runs that people requested, while places are free; they go before those of the schedule.

        Returns the requests that still wait.
        """
        finished: list[Request] = []
        for request in requests:
            cancels = [r for r in requests if r.kind is RequestKind.CANCEL and r.target == request.target]
            try:
                if request.kind is RequestKind.RUN:
                    finished += self._grant_run(request, cancels, now)
                elif request.kind.reopens:
                    finished += self._grant_round(request, cancels, now)
            except NotFound as error:
                if now - request.asked_at < UNKNOWN_LIMIT:
                    log.warning("request=%s waits for the next tick: %s", request.id, error)
                    continue
                log.error("request=%s dropped: %s", request.id, error)  # noqa: TRY400  # no trace
                finished.append(request)
            except Malformed as error:  # the table was edited by hand; a bad row must not stop the tick
                log.error("request=%s dropped: %s", request.id, error)  # noqa: TRY400
                finished.append(request)
        for request in finished:
            self.ledger.remove_request(request)
        return [request for request in requests if request not in finished]

    def _grant_run(self, request: Request, cancels: Sequence[Request], now: datetime) -> Sequence[Request]:
        """Open the run of a request, or record that it was cancelled; returns the requests that are finished."""
        run = Run(Window.parse(request.target), Phase.PLANNING, now, asked_by="request")
        if cancels:
            if self.ledger.add_run(_withdraw_run(run)):
                log.info("run=%s requested->%s", run.id, Phase.CANCELLED)
            return [request, *cancels]
        if not self.has_room():
            return []
        if not self.ledger.add_run(run):
            stored = self.ledger.read_run(run.id)
            if stored.phase is Phase.MISSED or stored.is_withdrawn:
                self.ledger.save_run(_begin_run(run, stored))
        log.info("run=%s requested->%s", run.id, run.phase)
        return [request]

    def _grant_round(self, request: Request, cancels: Sequence[Request], now: datetime) -> Sequence[Request]:
        """Open a further round of a run that is over. While the run is open for another kind of round, it waits.

        Returns the requests that are finished, with the cancels that came too late for the previous round.
        """
        run = self.ledger.read_run(request.target)
        if run.phase is Phase.MISSED:
            raise Malformed(f"expected a run to {request.kind}, but {run.id} was missed: request the run itself")
        if not run.phase.terminal:
            return [request] if run.redo is request.kind else []
        if (
            run.granted == request.asked_at and run.redo is request.kind
        ):  # a tick was killed before it removed the request
            return [request]
        if not self.has_room():
            return []
        for cancel in cancels:  # before the round, or they would cancel it
            self.ledger.remove_request(cancel)
        run = self.ledger.save_run(reopen_run(run, request.kind, request.asked_at, "request", now, self.node_schema))
        log.info("run=%s reopened to %s: round %d", run.id, request.kind, run.round)
        return [request, *cancels]

    def open_due_windows(self, watermark: datetime | None, now: datetime) -> tuple[datetime | None, bool]:
        """Open the windows that are due, oldest first, while places are free.

        Returns the end of the last decided window, and whether none is left that needs a place. A window that waits
        for its readings needs none; those after it wait too.
        """
        due = due_windows.find_due_windows(
            self.options.schedule,
            self.options.window,
            watermark,
            now,
            self.options.catch_up,
            self.options.window_origin or EPOCH,
            self.options.wait_limit if self.gate else timedelta(),
        )
        for stretch in due.missed:
            message = f"{stretch.start:%Y-%m-%d %H:%M} to {stretch.end:%Y-%m-%d %H:%M} UTC: too late to catch up"
            missed = Run(stretch, Phase.MISSED, now, ended_at=now, reason=Reason.TOO_LATE, message=message)
            if self.ledger.add_run(missed):
                log.error("run=%s missed: %s", stretch.id, message)
            watermark = stretch.end
        for window in due.waiting:
            if not self.has_room():
                return watermark, False
            wait = self.gate.check_window(window, now) if self.gate else Wait.NOT_ASKED
            if wait is Wait.GOES_ON and not self._has_run(window):
                return watermark or window.start, True  # so that a first window stays the one that is due
            run = self._open_due(Run(window, Phase.PLANNING, now, waited=wait.waited))
            if self.gate:
                self.gate.note_opened(run)
            watermark = window.end
        return watermark, True

    def _open_due(self, run: Run) -> Run:
        """Open the run of a window that is due, unless it has one; returns the run that it has then.

        A request that a person made and cancelled before the window was due keeps nothing from being scored.
        """
        if not self.ledger.add_run(run):
            stored = self.ledger.read_run(run.id)
            if not self._is_replaced(stored):
                return stored
            self.ledger.save_run(_begin_run(run, stored))
        log.info("run=%s due->planning", run.id)
        return run

    def _is_replaced(self, stored: Run) -> bool:
        """Whether a run does not count when its window is due: it was requested and cancelled before."""
        due_at = self.options.schedule.next_fire(stored.window.end - _SECOND)
        return stored.is_withdrawn and stored.opened_at < due_at

    def _has_run(self, window: Window) -> bool:
        """Whether a window that is due and waits has a run all the same, such as one that a person requested."""
        try:
            return not self._is_replaced(self.ledger.read_run(window.id))
        except NotFound:
            return False

    def advance_backfills(self, requests: Sequence[Request], now: datetime, in_time: Callable[[], bool]) -> None:
        """Advance the open backfills, the oldest first, by a few windows in one tick."""
        cancels = {request.target: request for request in requests if request.kind is RequestKind.CANCEL}
        for backfill in self.ledger.list_backfills():
            if backfill.state is BackfillState.OPEN and backfill.id in cancels:
                log.info("backfill=%s cancelled", backfill.id)
                over = replace(backfill, state=BackfillState.CANCELLED, ended_at=now)
                backfill = self.ledger.save_backfill(over)  # noqa: PLW2901  # the saved one
            if backfill.state is BackfillState.OPEN:
                self._advance_backfill(backfill, now, in_time)
            elif backfill.id in cancels and not self._count_open_runs(backfill):  # its runs read the request too
                self.ledger.remove_request(cancels[backfill.id])

    def _advance_backfill(self, backfill: Backfill, now: datetime, in_time: Callable[[], bool]) -> None:
        for _ in range(DECISIONS):
            if not in_time() or self._count_open_runs(backfill) >= backfill.max_open:
                return
            if backfill.cursor >= backfill.span.end:
                self.ledger.save_backfill(replace(backfill, state=BackfillState.DONE, ended_at=now))
                log.info("backfill=%s done: %d opened, %d passed", backfill.id, backfill.opened, backfill.passed)
                return
            window = Window(backfill.cursor, self.options.window)
            tile = Window.containing(window.start, window.length, self.options.window_origin or EPOCH)
            if window != tile or window.end > backfill.span.end:
                log.error("backfill=%s ended: its windows no longer match WINDOW", backfill.id)
                self.ledger.save_backfill(replace(backfill, state=BackfillState.CANCELLED, ended_at=now))
                return
            opened = self._open_window(backfill, window, now)
            if opened is None:
                return
            backfill = self.ledger.save_backfill(
                replace(
                    backfill,
                    cursor=window.end,
                    opened=backfill.opened + opened,
                    passed=backfill.passed + (not opened),
                )
            )

    def _open_window(self, backfill: Backfill, window: Window, now: datetime) -> bool | None:
        """Open the run of a window, if it is in the backfill's scope. True also if an earlier tick opened it.

        None if another host opened it at this moment: the next tick decides it.
        """
        try:
            run = self.ledger.read_run(window.id)
        except NotFound:
            run = None
        if run and run.granted == backfill.asked_at:
            return True
        kind = decide_window(run, backfill.scope)
        if kind is None:
            return False
        new = Run(window, Phase.PLANNING, now, asked_by=backfill.id, granted=backfill.asked_at)
        if run is None:
            if not self.ledger.add_run(new):
                return None
        elif kind is RequestKind.RUN:
            self.ledger.save_run(replace(new, version=run.version))
        else:
            self.ledger.save_run(reopen_run(run, kind, backfill.asked_at, backfill.id, now, self.node_schema))
        log.info("run=%s opened by %s: %s", window.id, backfill.id, kind)
        return True

    def drop_idle_requests(self, requests: Sequence[Request]) -> None:
        """Remove cancels and limits of runs that are no longer watched or never existed; they would wait for ever."""
        idle = [request for request in requests if request.kind.is_for_open]
        if not idle:
            return
        targets = {run.id for run in self.ledger.list_watched_runs()} | {b.id for b in self.ledger.list_backfills()}
        targets |= {request.target for request in requests if request.kind is RequestKind.RUN}
        for request in idle:
            if request.target not in targets:
                log.info("request=%s has no run to act on", request.id)
                self.ledger.remove_request(request)

    def has_room(self) -> bool:
        """Whether a further run may open; runs of backfills have their own limit and do not count."""
        runs = [run for run in self.ledger.list_watched_runs() if not run.phase.terminal and not _is_backfill_run(run)]
        return len(runs) < self.options.max_open_runs

    def _count_open_runs(self, backfill: Backfill) -> int:
        return sum(not r.phase.terminal and r.asked_by == backfill.id for r in self.ledger.list_watched_runs())


def _withdraw_run(run: Run) -> Run:
    """The run of a request that was cancelled before a tick opened it."""
    now = run.opened_at
    return replace(
        run,
        phase=Phase.CANCELLED,
        cancelled_at=now,
        ended_at=now,
        reason=Reason.CANCELLED,
        message="cancelled before it was opened",
    )


def _begin_run(run: Run, stored: Run) -> Run:
    """The run in place of one that never began."""
    return replace(run, round=stored.round + stored.is_withdrawn, alarmed=stored.alarmed, version=stored.version)


def _is_backfill_run(run: Run) -> bool:
    return run.asked_by.startswith("backfill-")

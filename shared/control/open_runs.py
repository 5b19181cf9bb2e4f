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
from shared.contract.windows import Window
from shared.planning import due_windows
from shared.planning.backfill import decide_window
from shared.ports import Ledger
from shared.state.requests import Backfill, BackfillState, Request, RequestKind
from shared.state.runs import Phase, Run

from .options import ControlOptions

log = logging.getLogger(__name__)

UNKNOWN_LIMIT = timedelta(hours=1)  # a request may wait so long for a run without a row: it had one when it was made
DECISIONS = 100  # windows that a backfill decides in one tick, at most


def reopen_run(
    run: Run, kind: RequestKind, asked_at: datetime, asked_by: str, now: datetime, node_schema: int = 1
) -> Run:
    """The run, which is over, in a further round of this kind.

    Where nodes read schema 2, a reprocess lists the models once more, and a redrive scores them as they are now.
    """
    newer = node_schema > 1
    planning = not run.plans or kind is RequestKind.EXTEND or (newer and kind is RequestKind.REPROCESS)
    return replace(
        run,
        phase=Phase.PLANNING if planning else Phase.RUNNING,
        opened_at=now,
        asked_by=asked_by,
        round=run.round + 1,
        redo=kind,
        granted=asked_at,
        planned_at=None if planning else now,
        ended_at=None,
        cancelled_at=None,
        stopped=None,
        progress_at=None,
        doubted_fleet=None,
        max_in_flight=None,
        tolerated_failures=None,
        own_manifests=False,
        current_files=newer and kind is RequestKind.REDRIVE,
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

    def grant_requests(self, requests: Sequence[Request], now: datetime) -> Sequence[Request]:
        """Open or reopen the runs that people requested, while there is room; they go before those of the schedule.

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
        """Open the run of a request; returns the requests that are finished."""
        run = Run(Window.parse(request.target), Phase.PLANNING, now, asked_by="request")
        if cancels:  # cancelled before it began: no run is opened
            log.info("run=%s no longer requested", run.id)
            return [request]
        if not self._has_room():
            return []
        if not self.ledger.add_run(run):
            stored = self.ledger.read_run(run.id)
            if stored.phase is Phase.MISSED:
                self.ledger.save_run(replace(run, version=stored.version))
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
        if not self._has_room():
            return []
        for cancel in cancels:  # before the round, or they would cancel it
            self.ledger.remove_request(cancel)
        run = self.ledger.save_run(reopen_run(run, request.kind, request.asked_at, "request", now, self.node_schema))
        log.info("run=%s reopened to %s: round %d", run.id, request.kind, run.round)
        return [request, *cancels]

    def open_due_windows(self, watermark: datetime | None, now: datetime) -> tuple[datetime | None, bool]:
        """Open the windows that are due, oldest first, while there is room.

        Returns the end of the last decided window, and whether all due windows were decided.
        """
        due = due_windows.find_due_windows(
            self.options.schedule, self.options.window, watermark, now, self.options.catch_up
        )
        for stretch in due.missed:
            message = f"{stretch.start:%Y-%m-%d %H:%M} to {stretch.end:%Y-%m-%d %H:%M} UTC: too late to catch up"
            missed = Run(stretch, Phase.MISSED, now, ended_at=now, reason=Reason.TOO_LATE, message=message)
            if self.ledger.add_run(missed):
                log.error("run=%s missed: %s", stretch.id, message)
            watermark = stretch.end
        for window in due.waiting:
            if not self._has_room():
                return watermark, False
            if self.ledger.add_run(Run(window, Phase.PLANNING, now)):
                log.info("run=%s due->planning", window.id)
            watermark = window.end
        return watermark, True

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
            if window != Window.containing(window.start, window.length) or window.end > backfill.span.end:
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
        idle = [request for request in requests if request.kind in (RequestKind.CANCEL, RequestKind.LIMITS)]
        if not idle:
            return
        targets = {run.id for run in self.ledger.list_watched_runs()} | {b.id for b in self.ledger.list_backfills()}
        targets |= {request.target for request in requests if request.kind is RequestKind.RUN}
        for request in idle:
            if request.target not in targets:
                log.info("request=%s has no run to act on", request.id)
                self.ledger.remove_request(request)

    def _has_room(self) -> bool:
        """Whether a further run may open; runs of backfills have their own limit and do not count."""
        runs = [run for run in self.ledger.list_watched_runs() if not run.phase.terminal and not _is_backfill_run(run)]
        return len(runs) < self.options.max_open_runs

    def _count_open_runs(self, backfill: Backfill) -> int:
        return sum(not r.phase.terminal and r.asked_by == backfill.id for r in self.ledger.list_watched_runs())


def _is_backfill_run(run: Run) -> bool:
    return run.asked_by.startswith("backfill-")

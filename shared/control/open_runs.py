"""Opens runs: those that people wish for, those that fall due, and those of backfills. Writes rows of the ledger only.

Each step writes the run's row first and moves its own mark (wish, watermark, cursor) after it: killed between the two,
the next tick finds the row and only moves the mark.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.contract.domain import Reason
from shared.contract.errors import Malformed, NotFound
from shared.contract.windows import Window
from shared.planning import due_windows
from shared.planning.backfill import backfill_decision
from shared.ports import Ledger
from shared.state.requests import Backfill, BackfillState, Wish, WishKind
from shared.state.runs import Phase, Run

from .options import Rules

log = logging.getLogger(__name__)

UNKNOWN = timedelta(hours=1)  # that a wish may wait for a run that nobody knows: it was there when it was asked for
DECISIONS = 100  # windows that a backfill decides in one tick, at most


def reopened(run: Run, kind: WishKind, asked_at: datetime, asked_by: str, now: datetime) -> Run:
    """The run that is over, in a further round that does what *kind* says."""
    planning = not run.plans or kind is WishKind.EXTEND
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
        done=0,
        reason=None,
        message="",
    )


@dataclass(frozen=True, slots=True)
class Opening:
    """The ledger, and the rules by which runs are opened."""

    ledger: Ledger
    rules: Rules

    def grant(self, wishes: Sequence[Wish], now: datetime) -> Sequence[Wish]:
        """Open, or open again, the runs that people asked for, while there is room; they go before the schedule's.

        Returns the wishes that stand still.
        """
        done: list[Wish] = []
        for wish in wishes:
            cancels = [w for w in wishes if w.kind is WishKind.CANCEL and w.target == wish.target]
            try:
                if wish.kind is WishKind.RUN:
                    done += self._grant_run(wish, cancels, now)
                elif wish.kind.reopens:
                    done += self._grant_round(wish, cancels, now)
            except NotFound as error:
                if now - wish.asked_at < UNKNOWN:
                    log.warning("wish=%s waits for the next tick: %s", wish.id, error)
                    continue
                log.error("wish=%s dropped: %s", wish.id, error)  # noqa: TRY400  # no trace
                done.append(wish)
            except Malformed as error:  # somebody wrote into the table; a bad row must not stop the tick
                log.error("wish=%s dropped: %s", wish.id, error)  # noqa: TRY400
                done.append(wish)
        for wish in done:
            self.ledger.remove_wish(wish)
        return [wish for wish in wishes if wish not in done]

    def _grant_run(self, wish: Wish, cancels: Sequence[Wish], now: datetime) -> Sequence[Wish]:
        """Returns the wishes that are done with."""
        run = Run(Window.parse(wish.target), Phase.PLANNING, now, asked_by="request")
        if cancels:  # taken back before it began: as if it had never been asked for
            log.info("run=%s no longer requested", run.id)
            return [wish]
        if not self._room():
            return []
        if not self.ledger.add_run(run):
            there = self.ledger.run(run.id)
            if there.phase is Phase.MISSED:
                self.ledger.save_run(replace(run, version=there.version))
        log.info("run=%s requested->%s", run.id, run.phase)
        return [wish]

    def _grant_round(self, wish: Wish, cancels: Sequence[Wish], now: datetime) -> Sequence[Wish]:
        """Give a run that is over a further round. One that is open for the same has it; for another, it waits.

        Returns the wishes that are done with: with it the cancels that came too late for the round before.
        """
        run = self.ledger.run(wish.target)
        if run.phase is Phase.MISSED:
            raise Malformed(f"expected a run to {wish.kind}, but {run.id} was missed: ask for the run itself")
        if not run.phase.terminal:
            return [wish] if run.redo is wish.kind else []
        if run.granted == wish.asked_at and run.redo is wish.kind:  # killed before the wish was removed
            return [wish]
        if not self._room():
            return []
        for cancel in cancels:  # before the round: after it they would end it
            self.ledger.remove_wish(cancel)
        run = self.ledger.save_run(reopened(run, wish.kind, wish.asked_at, "request", now))
        log.info("run=%s opened again to %s: round %d", run.id, wish.kind, run.round)
        return [wish, *cancels]

    def open_due(self, watermark: datetime | None, now: datetime) -> tuple[datetime | None, bool]:
        """Open the windows that fell due, oldest first, while there is room.

        Returns the end of the last window that was decided, and whether all that are due were.
        """
        found = due_windows.due(self.rules.schedule, self.rules.window, watermark, now, self.rules.catch_up)
        for stretch in found.missed:
            message = f"{stretch.start:%Y-%m-%d %H:%M} to {stretch.end:%Y-%m-%d %H:%M} UTC: too late to catch up"
            missed = Run(stretch, Phase.MISSED, now, ended_at=now, reason=Reason.TOO_LATE, message=message)
            if self.ledger.add_run(missed):
                log.error("run=%s missed: %s", stretch.id, message)
            watermark = stretch.end
        for window in found.waiting:
            if not self._room():
                return watermark, False
            if self.ledger.add_run(Run(window, Phase.PLANNING, now)):
                log.info("run=%s due->planning", window.id)
            watermark = window.end
        return watermark, True

    def fill_back(self, wishes: Sequence[Wish], now: datetime, in_time: Callable[[], bool]) -> None:
        """Move the open backfills on, the first that was asked for first; a few windows in one tick."""
        cancels = {wish.target: wish for wish in wishes if wish.kind is WishKind.CANCEL}
        for backfill in self.ledger.backfills():
            if backfill.state is BackfillState.OPEN and backfill.id in cancels:
                log.info("backfill=%s cancelled", backfill.id)
                over = replace(backfill, state=BackfillState.CANCELLED, ended_at=now)
                backfill = self.ledger.save_backfill(over)  # noqa: PLW2901  # as it stands now
            if backfill.state is BackfillState.OPEN:
                self._decide(backfill, now, in_time)
            elif backfill.id in cancels and not self._open_of(backfill):  # its runs read the wish too
                self.ledger.remove_wish(cancels[backfill.id])

    def _decide(self, backfill: Backfill, now: datetime, in_time: Callable[[], bool]) -> None:
        for _ in range(DECISIONS):
            if not in_time() or self._open_of(backfill) >= backfill.max_open:
                return
            if backfill.cursor >= backfill.span.end:
                self.ledger.save_backfill(replace(backfill, state=BackfillState.DONE, ended_at=now))
                log.info("backfill=%s done: %d opened, %d passed", backfill.id, backfill.opened, backfill.passed)
                return
            window = Window(backfill.cursor, self.rules.window)
            if window != Window.containing(window.start, window.length) or window.end > backfill.span.end:
                log.error("backfill=%s ended: its windows are no tiles of WINDOW any more", backfill.id)
                self.ledger.save_backfill(replace(backfill, state=BackfillState.CANCELLED, ended_at=now))
                return
            opened = self._fill(backfill, window, now)
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

    def _fill(self, backfill: Backfill, window: Window, now: datetime) -> bool | None:
        """Open the run of a window, if the backfill's scope wants it. True too where an earlier tick did it for us.

        None where somebody else opened it in this moment: then it is decided at the next tick.
        """
        try:
            run = self.ledger.run(window.id)
        except NotFound:
            run = None
        if run and run.granted == backfill.asked_at:
            return True
        expected = backfill_decision(run, backfill.scope)
        if expected is None:
            return False
        new = Run(window, Phase.PLANNING, now, asked_by=backfill.id, granted=backfill.asked_at)
        if run is None:
            if not self.ledger.add_run(new):
                return None
        elif expected is WishKind.RUN:
            self.ledger.save_run(replace(new, version=run.version))
        else:
            self.ledger.save_run(reopened(run, expected, backfill.asked_at, backfill.id, now))
        log.info("run=%s opened by %s: %s", window.id, backfill.id, expected)
        return True

    def drop_idle(self, wishes: Sequence[Wish]) -> None:
        """Forget cancels and limits of runs that are over for long, or that never were; they would wait for ever."""
        idle = [wish for wish in wishes if wish.kind in (WishKind.CANCEL, WishKind.LIMITS)]
        if not idle:
            return
        known = {run.id for run in self.ledger.watched_runs()} | {b.id for b in self.ledger.backfills()}
        known |= {wish.target for wish in wishes if wish.kind is WishKind.RUN}
        for wish in idle:
            if wish.target not in known:
                log.info("wish=%s has nothing to act on", wish.id)
                self.ledger.remove_wish(wish)

    def _room(self) -> bool:
        """Whether a run may open that no backfill asked for: those have bounds of their own."""
        mine = [run for run in self.ledger.watched_runs() if not run.phase.terminal and not _of_backfill(run)]
        return len(mine) < self.rules.max_open_runs

    def _open_of(self, backfill: Backfill) -> int:
        return sum(not r.phase.terminal and r.asked_by == backfill.id for r in self.ledger.watched_runs())


def _of_backfill(run: Run) -> bool:
    return run.asked_by.startswith("backfill-")

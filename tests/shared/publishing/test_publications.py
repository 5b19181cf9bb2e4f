"""What a sink is to hold of a run, and what becomes of that: rows that one can check by eye."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.contract.domain import Tally
from shared.contract.publishing.documents import PublicationResult
from shared.contract.publishing.sinks import SinkKind, SinkReason
from shared.contract.windows import EPOCH, Window
from shared.publishing import publications
from shared.state.publications import PUBLICATION_FOLLOWS, Publication, PublicationState
from shared.state.runs import Phase, Run

NOON = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
RUN = Run(Window(NOON - HOUR - 5 * MINUTE, HOUR), Phase.PARTIAL, NOON, tally=Tally(scored=2, rows=120))
STORED = Publication(
    SinkKind.DELTA, RUN.id, 2, 5, since=NOON - HOUR, asked_at=NOON - HOUR, state=PublicationState.DONE, job=7,
    published_round=2, published_at=NOON - HOUR, rows=120, stored="version 3", version="v",
)  # fmt: skip
RUNNING = replace(STORED, state=PublicationState.RUNNING, published_round=None, published_at=None, rows=0, stored="")
DONE = PublicationResult(RUN.id, 2, 5, rows=120, stored="version 4")


def ask(stored: Publication | None, number: int = 0, run: Run = RUN) -> Publication | None:
    return publications.ask_publication(stored, SinkKind.DELTA, replace(run, round=number), NOON)


def test_a_run_is_asked_for_when_its_round_has_ended() -> None:
    assert ask(None) == Publication(SinkKind.DELTA, RUN.id, 0, 0, since=NOON, asked_at=NOON)
    assert ask(None, 3) == Publication(SinkKind.DELTA, RUN.id, 3, 3, since=NOON, asked_at=NOON)


def test_a_run_without_rows_is_asked_for_only_where_the_sink_has_some() -> None:
    empty = replace(RUN, tally=Tally(failed=2))

    assert ask(None, run=empty) is None
    further = ask(STORED, 3, empty)
    assert further
    assert (further.round, further.state) == (3, PublicationState.PENDING)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_round_that_the_row_has_is_not_asked_for_again(number: int) -> None:
    assert ask(STORED, number) is None


def test_a_further_round_has_a_greater_revision_than_anything_before() -> None:
    failed = replace(STORED, state=PublicationState.FAILED, failures=4, not_before=NOON + HOUR, message="full")

    assert ask(STORED, 3) == replace(
        STORED, round=3, revision=6, state=PublicationState.PENDING, since=NOON, asked_at=NOON
    )
    assert ask(STORED, 9) == replace(
        STORED, round=9, revision=9, state=PublicationState.PENDING, since=NOON, asked_at=NOON
    )
    further = ask(failed, 3)
    assert further
    assert (further.asked_at, further.failures, further.not_before) == (NOON - HOUR, 0, EPOCH)  # it lacked one before


def test_a_run_that_was_to_be_removed_and_has_a_further_round_is_to_be_held() -> None:
    further = ask(replace(STORED, is_removal=True), 2)

    assert further
    assert (further.is_removal, further.revision, further.state) == (False, 6, PublicationState.PENDING)


def test_before_a_run_is_pruned_the_sink_has_it_or_has_nothing_of_it() -> None:
    def ask_before(stored: Publication | None, *, removes: bool, **changes: Any) -> Publication | None:
        run = replace(RUN, **{"round": 2, "offered_sinks": ("delta",), **changes})
        return publications.ask_before_pruning(stored, SinkKind.DELTA, run, NOON, removes=removes)

    assert ask_before(STORED, removes=False) is None
    assert ask_before(None, removes=False) == ask(None, 2)
    removal = ask_before(STORED, removes=True)
    assert removal == replace(STORED, is_removal=True, state=PublicationState.PENDING, since=NOON, asked_at=NOON)
    assert ask_before(removal, removes=True) is None
    unknown = ask_before(None, removes=True)
    assert unknown
    assert (unknown.is_removal, unknown.revision) == (True, 2)
    for removes in (False, True):  # a sink that was set since is asked nothing
        assert ask_before(None, removes=removes, offered_sinks=("sql",)) is None


def test_what_failed_before_shares_no_job_with_the_others() -> None:
    fresh = [replace(STORED, run=run, state=PublicationState.PENDING) for run in ("a", "c")]
    blamed = publications.blame(replace(STORED, run="b", state=PublicationState.RUNNING), "killed", NOON)

    assert (blamed.state, blamed.failures, blamed.not_before, blamed.reason, blamed.message) == (
        PublicationState.FAILED,
        1,
        NOON + MINUTE,
        "sink_failed",
        "killed",
    )
    assert publications.select_together([fresh[0], blamed, fresh[1]]) == fresh
    assert publications.select_together([blamed]) == [blamed]


def test_what_waits_longest_is_due_first_and_what_failed_waits() -> None:
    entries = [
        replace(STORED, run="b", state=PublicationState.PENDING, asked_at=NOON - MINUTE),
        replace(STORED, run="a", state=PublicationState.PENDING, asked_at=NOON - MINUTE),
        replace(STORED, run="c", state=PublicationState.FAILED, asked_at=NOON - HOUR, not_before=NOON),
        replace(STORED, run="d", state=PublicationState.FAILED, not_before=NOON + MINUTE),
        replace(STORED, run="e"),
        replace(STORED, run="f", state=PublicationState.PENDING, sink=SinkKind.SQL),
    ]

    assert [entry.run for entry in publications.select_due(entries, SinkKind.DELTA, NOON)] == ["c", "a", "b"]


def test_a_result_of_what_is_asked_for_is_done() -> None:
    failed_before = replace(RUNNING, failures=3, not_before=NOON, reason="sink_full", message="full")

    assert publications.settle(failed_before, DONE, NOON) == replace(
        STORED, since=NOON, published_at=NOON, stored="version 4"
    )


def test_a_result_of_an_earlier_round_is_kept_and_the_newer_one_waits() -> None:
    newer = ask(RUNNING, 3)
    assert newer

    settled = publications.settle(newer, DONE, NOON)

    assert (settled.state, settled.published_round, settled.round) == (PublicationState.PENDING, 2, 3)


def test_a_removal_that_is_done_leaves_nothing() -> None:
    removal = replace(RUNNING, is_removal=True, published_round=2, rows=120)

    settled = publications.settle(removal, replace(DONE, is_removal=True), NOON)

    assert (settled.state, settled.published_round, settled.rows) == (PublicationState.DONE, None, 0)


def test_a_sink_that_is_ahead_gets_a_greater_revision_at_once() -> None:
    settled = publications.settle(RUNNING, replace(DONE, reason=SinkReason.AHEAD, ahead=11), NOON)

    assert (settled.state, settled.revision, settled.not_before) == (PublicationState.PENDING, 12, EPOCH)
    assert publications.settle(settled, replace(DONE, reason=SinkReason.AHEAD, ahead=11), NOON).revision == 12


@pytest.mark.parametrize(("failures", "minutes"), [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (99, 60)])
def test_a_failure_waits_longer_each_time_up_to_an_hour(failures: int, minutes: int) -> None:
    result = replace(DONE, reason=SinkReason.FULL, message="no space\nleft")

    settled = publications.settle(replace(RUNNING, failures=failures), result, NOON)

    assert (settled.state, settled.failures) == (PublicationState.FAILED, failures + 1)
    assert settled.not_before - NOON == minutes * MINUTE
    assert (settled.reason, settled.message) == ("sink_full", "no space left")


def test_every_move_is_one_that_the_table_allows() -> None:
    """The table is what the documents draw."""
    waiting = ask(None)
    assert waiting
    running = publications.give_to_job(waiting, 7, NOON)
    failed = publications.settle(running, PublicationResult(RUN.id, 0, 0, reason=SinkReason.DENIED), NOON)
    done = publications.settle(running, PublicationResult(RUN.id, 0, 0), NOON)
    moves = [
        (waiting, running), (running, failed), (running, done), (running, publications.take_back(running, NOON)),
        (failed, publications.give_to_job(failed, 8, NOON)), (failed, ask(failed, 1)), (done, ask(done, 1)),
        (waiting, publications.note_absence(waiting, NOON)),
        (waiting, publications.settle(waiting, PublicationResult(RUN.id, 0, 0), NOON)),
    ]  # fmt: skip

    assert {(before.state, after.state) for before, after in moves if after} == {
        (before, after) for before, states in PUBLICATION_FOLLOWS.items() for after in states
    }


def test_a_move_that_the_table_does_not_allow_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="done -> running"):
        publications.give_to_job(STORED, 8, NOON)


@pytest.mark.parametrize("state", PublicationState)
def test_a_person_asks_again_for_all_but_what_waits_for_a_job(
    state: PublicationState,
) -> None:
    stored = replace(RUNNING, state=state, failures=3, not_before=NOON + HOUR)
    run = replace(RUN, round=2)

    request = publications.ask_once_more(stored, SinkKind.DELTA, run, NOON - MINUTE, NOON)

    if state is PublicationState.PENDING:
        assert request is None
        return
    assert request
    revision = 5 if state is PublicationState.FAILED else 6
    assert (request.state, request.revision, request.not_before) == (PublicationState.PENDING, revision, EPOCH)
    again = publications.ask_once_more(request, SinkKind.DELTA, run, NOON - MINUTE, NOON + MINUTE)
    assert again is None  # as by a tick after one that was killed


def test_what_failed_after_a_person_asked_for_it_keeps_its_wait() -> None:
    failed = replace(RUNNING, state=PublicationState.FAILED, since=NOON, failures=3, not_before=NOON + HOUR)

    assert publications.ask_once_more(failed, SinkKind.DELTA, replace(RUN, round=2), NOON - MINUTE, NOON) is None


def test_a_failure_of_what_a_job_had_before_says_nothing_of_what_is_asked_now() -> None:
    late = replace(DONE, reason=SinkReason.PART_MISSING, message="a part is missing")
    removal = replace(RUNNING, is_removal=True)
    newer = replace(RUNNING, round=3, revision=6)

    assert publications.settle(removal, late, NOON) == publications.take_back(removal, NOON)
    assert publications.settle(newer, late, NOON) == publications.take_back(newer, NOON)
    assert publications.settle(RUNNING, late, NOON).state is PublicationState.FAILED


def test_a_removal_is_the_schedule_s_own_also_of_a_run_that_was_requested() -> None:
    requested = replace(STORED, is_requested=True)

    removal = publications.ask_before_pruning(requested, SinkKind.DELTA, RUN, NOON, removes=True)

    assert removal
    assert (removal.is_removal, removal.is_requested) == (True, False)
    assert publications.find_oldest([removal]) is removal


def test_the_absence_of_a_run_to_be_removed_is_counted() -> None:
    absent = publications.note_absence(replace(RUNNING, is_removal=True), NOON)

    assert absent
    assert (absent.state, absent.failures) == (PublicationState.FAILED, 1)

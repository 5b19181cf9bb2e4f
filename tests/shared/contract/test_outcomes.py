"""Outcomes in columns say what results one by one would say."""

from itertools import pairwise

import pytest

from shared.contract.domain import Failure, Tally
from shared.contract.outcomes import ModelResult, Outcomes, join_outcomes
from shared.contract.reasons import Outcome, Reason

RESULTS = (
    ModelResult("a", 5, 2),
    ModelResult("b", 0, 0, Reason.CRASHED, "its process ended", "e2"),
    ModelResult("c", 3, 0, etag="e3"),
    ModelResult("d", 0, 0, Reason.NO_READINGS, "none"),
    ModelResult("e", 0, 0, Reason.ENDLESS, "no end"),
    ModelResult("f", 0, 0, Reason.NO_READINGS, "none at all"),
)
OUTCOMES = Outcomes.from_results(RESULTS)


def test_results_come_back_as_they_went() -> None:
    assert tuple(OUTCOMES) == RESULTS
    assert len(OUTCOMES) == 6
    assert [OUTCOMES.get_result(index) for index in range(6)] == list(RESULTS)
    assert Outcomes.from_results(list(OUTCOMES)) == OUTCOMES
    assert list(Outcomes.from_results([])) == []


def test_they_are_counted() -> None:
    assert OUTCOMES.make_tally(1.5) == Tally(scored=2, failed=2, skipped=2, rows=8, anomalies=2, seconds=1.5)
    assert Outcomes.from_results([]).make_tally(0) == Tally()


def test_models_that_were_not_scored_are_listed_in_their_order() -> None:
    assert OUTCOMES.list_unscored() == [result for result in RESULTS if result.reason]
    assert OUTCOMES.list_poison() == [result for result in RESULTS if result.reason in (Reason.CRASHED, Reason.ENDLESS)]
    shuffled = Outcomes(OUTCOMES.ids, OUTCOMES.rows, OUTCOMES.anomalies, dict(reversed(OUTCOMES.reasons.items())))
    assert [result.model for result in shuffled.list_unscored()] == ["b", "d", "e", "f"]
    assert [result.model for result in shuffled.list_poison()] == ["b", "e"]


def test_failures_are_grouped_by_reason_with_the_first_as_the_example() -> None:
    assert OUTCOMES.group_failures() == (
        Failure(Reason.NO_READINGS, Outcome.SKIPPED, 2, "d", "none"),
        Failure(Reason.CRASHED, Outcome.FAILED, 1, "b", "its process ended"),
        Failure(Reason.ENDLESS, Outcome.FAILED, 1, "e", "no end"),
    )


@pytest.mark.parametrize("cuts", [(), (0,), (3,), (1, 1, 4), (2, 4, 6)])
def test_the_outcomes_of_packs_are_joined_to_those_of_the_chunk(cuts: tuple[int, ...]) -> None:
    bounds = [0, *cuts, len(RESULTS)]
    packs = [Outcomes.from_results(RESULTS[start:end]) for start, end in pairwise(bounds)]
    assert join_outcomes(packs, OUTCOMES.ids) == OUTCOMES


def test_what_few_models_have_moves_with_them() -> None:
    first = Outcomes(["a", "b"], [5, 1], [0, 0], tracebacks={1: "T"}, remarks={0: "old"})
    second = Outcomes(["c"], [2], [1], {0: (Reason.BAD_SCORES, "")}, {0: "e"}, readings=[9], remarks={0: "new"})
    joined = join_outcomes([first, second], ["a", "b", "c"])
    assert (joined.tracebacks, joined.remarks) == ({1: "T"}, {0: "old", 2: "new"})
    assert (joined.reasons, joined.etags) == ({2: (Reason.BAD_SCORES, "")}, {2: "e"})
    assert list(joined.readings or ()) == [5, 1, 9]  # those of a pack without are its rows
    assert join_outcomes([first, first], ["a", "b", "a", "b"]).readings is None

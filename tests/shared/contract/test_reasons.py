"""The table of reasons: each row is whole, and old codes are read."""

import re

import pytest

from shared.config import settings
from shared.contract.reasons import FROM_SANDBOX, Outcome, Reason, Source, decide_outcome

# The codes of 0.1. Stored rows, reports and clients have them.
CODES = """
ambiguous bad_name empty_model too_large unreadable_model untrusted_model incompatible_model not_a_detector
unfitted_model wrong_features bad_readings unreadable_readings bad_scores estimator_error crashed endless no_readings
model_removed quarantined job_failed no_report job_lost queued_too_long no_sign stalled ran_too_long rejected
commit_conflict worse empty_fleet cancelled deadline too_many_failures circuit_open too_late ledger_lost
"""
FIRST_CODES = CODES.split()
RENAMED = {
    "unsupported_model": "not_a_detector",
    "not_novelty": "not_a_detector",
    "missing_features": "wrong_features",
    "sensor_silent": "no_readings",
}


def test_each_reason_has_a_code_of_version_1_that_was_in_use_then() -> None:
    assert {reason.get_code(1) for reason in Reason} == set(FIRST_CODES)
    assert {reason: reason.get_code(1) for reason in Reason if reason.get_code(1) != reason} == RENAMED
    assert [reason.get_code(2) for reason in Reason] == [reason.value for reason in Reason]


@pytest.mark.parametrize("code", FIRST_CODES)
def test_a_code_of_version_1_is_read(code: str) -> None:
    assert Reason(code).get_code(1) == code
    assert Reason(code) is (Reason.UNSUPPORTED_MODEL if code == "not_a_detector" else Reason[Reason(code).name])


def test_a_code_that_no_version_has_is_refused() -> None:
    with pytest.raises(ValueError, match="'bad_luck' is not a valid Reason"):
        Reason("bad_luck")


def test_skips_are_no_failures() -> None:
    skips = {Reason.NO_READINGS, Reason.SENSOR_SILENT, Reason.MODEL_REMOVED, Reason.QUARANTINED}
    assert {reason for reason in Reason if decide_outcome(reason) is Outcome.SKIPPED} == skips
    assert {reason for reason in Reason if decide_outcome(reason) is Outcome.FAILED} == set(Reason) - skips
    assert decide_outcome(None) is Outcome.SCORED


def test_only_what_ends_or_holds_its_process_is_poison_and_no_sandbox_may_say_so() -> None:
    assert {reason for reason in Reason if reason.is_poison} == {Reason.CRASHED, Reason.ENDLESS}
    assert {reason.source for reason in FROM_SANDBOX} == {Source.MODEL, Source.READINGS}
    assert not any(reason.is_poison or reason.is_of_jobs for reason in FROM_SANDBOX)


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_says_what_to_do_in_a_line_that_names_settings_of_the_app(reason: Reason) -> None:
    assert re.fullmatch(r"[A-Z][^\n]{20,150}[.]", reason.advice)
    assert set(re.findall(r"[A-Z]{2,}(?:_[A-Z]+)+", reason.advice)) <= set(settings.list_names())

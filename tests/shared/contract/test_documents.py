"""Windows, names, and the documents that app and nodes agree on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract import paths
from shared.contract.domain import Failure, Part, Tally, merge_failures
from shared.contract.errors import Malformed
from shared.contract.fleet.formats import EXTENSIONS
from shared.contract.fleet.ignored_files import IgnoredFiles
from shared.contract.fleet.listing import list_fleet
from shared.contract.manifest import build_command
from shared.contract.model_names import Blob, ModelNames, find_id_problem
from shared.contract.outcomes import ModelResult, Outcomes
from shared.contract.reasons import Outcome, Reason
from shared.contract.report import Progress, Report
from shared.contract.text import MESSAGE_LIMIT, clip_text, get_first_line
from shared.contract.windows import EPOCH, Window, format_length, parse_length
from shared.ports import JobSpec
from shared.state.requests import Request, RequestKind

RUN = "20261121T0700Z-PT1H"
NOW = datetime(2026, 11, 21, 8, 5, tzinfo=UTC)


# Windows


@given(st.integers(0, 10**7), st.integers(1, 20_000))
def test_a_window_s_id_comes_back_as_the_window(minute: int, minutes: int) -> None:
    window = Window(EPOCH + timedelta(minutes=minute), timedelta(minutes=minutes))
    assert Window.parse(window.id) == window


@pytest.mark.parametrize(
    ("minutes", "text"), [(15, "PT15M"), (60, "PT1H"), (90, "PT90M"), (1440, "P1D"), (2880, "P2D")]
)
def test_a_length_has_one_spelling(minutes: int, text: str) -> None:
    assert format_length(timedelta(minutes=minutes)) == text
    assert parse_length(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["", "1h", "PT", "P", "PT0H", "PT1S", "P1W", "-PT1H", "PT1H ", "PT1.5H", "P99999D"])
def test_a_length_that_is_none_is_malformed(text: str) -> None:
    with pytest.raises(Malformed, match="expected an ISO 8601 duration"):
        parse_length(text)


@pytest.mark.parametrize(
    "text",
    ["", "now", "20261121T0700Z", "20261321T0700Z-PT1H", "20261121T0700-PT1H", f"{RUN}/..", "99991231T2300Z-P9D"],
)  # fmt: skip
def test_a_window_that_is_none_is_malformed(text: str) -> None:
    with pytest.raises(Malformed, match="expected"):
        Window.parse(text)


@given(st.datetimes(timezones=st.just(UTC)).filter(lambda t: t.year > 1), st.sampled_from([15, 60, 1440, 4320]))
def test_windows_tile_utc_from_midnight(instant: datetime, minutes: int) -> None:
    window = Window.containing(instant, timedelta(minutes=minutes))
    assert window.start <= instant < window.end
    assert (window.start - EPOCH) % timedelta(minutes=minutes) == timedelta()


@pytest.mark.parametrize(
    ("window", "previous"),
    [
        ("20261121T0700Z-PT1H", "20261121T0600Z-PT1H"),
        ("20261121T0000Z-PT15M", "20261120T2345Z-PT15M"),
        ("20260302T0000Z-P7D", "20260223T0000Z-P7D"),
    ],
)
def test_the_window_before_is_as_long_and_ends_where_the_next_one_starts(window: str, previous: str) -> None:
    assert Window.parse(window).previous == Window.parse(previous)


# Names


@pytest.mark.parametrize(
    ("pattern", "name", "device", "sensor", "refused"),
    [
        ("{device}[/{sensor}].{ext}", "pump1.skops", "pump1", "", None),
        ("{device}[/{sensor}].{ext}", "pump1/heat.joblib", "pump1", "heat", None),
        ("{device}[/{sensor}].{ext}", "pump.v2.pkl", "pump.v2", "", None),
        ("{device}[/{sensor}].{ext}", "NA.skops", "NA", "", None),
        ("{device}[/{sensor}].{ext}", "a#b 50%?.skops", "a#b 50%?", "", None),
        ("{device}[/{sensor}].{ext}", "ünï/çödé.skops", "ünï", "çödé", None),
        ("{device}[/{sensor}].{ext}", "a/b/c.skops", ".", "a/b/c.skops", Reason.BAD_NAME),
        ("model_{device}_{sensor}", "model_1_2", "1", "2", None),
        ("model_{device}_{sensor}", "model_1_2.skops", "1", "2", None),
        ("model_{device}_{sensor}", "model_a_b_c", ".", "model_a_b_c", Reason.BAD_NAME),  # or is it a_b, c?
        ("models/{device}.{ext}", "models/7.pickle", "7", "", None),
    ],
)
def test_a_blob_s_name_gives_the_ids(pattern: str, name: str, device: str, sensor: str, refused: Reason | None) -> None:
    found = ModelNames(pattern).parse_model(Blob(name, "etag", 1))
    assert found
    assert (found.device, found.sensor, found.refused) == (device, sensor, refused)


@pytest.mark.parametrize("name", ["README.md", "pump1", "a/b.txt", "pump.skops.bak"])
def test_what_is_named_as_no_model_is_ignored(name: str) -> None:
    assert ModelNames().parse_model(Blob(name, "etag", 1)) is None


@pytest.mark.parametrize(
    "pattern", ["", "model", "{device}{device}", "{dev}", "{device}[", "{device}]{ext}x", "[{sensor}]"]
)
def test_a_pattern_that_cannot_work_is_malformed(pattern: str) -> None:
    with pytest.raises(Malformed, match="expected a pattern"):
        ModelNames(pattern)


def fleet(
    names: list[str], pattern: str = "{device}[/{sensor}].{ext}"
) -> tuple[dict[str, Reason | None], IgnoredFiles]:
    ignored = IgnoredFiles()
    models = list(list_fleet([Blob(n, "etag", 1) for n in sorted(names)], ModelNames(pattern), ignored))
    assert len({m.id for m in models}) == len(models)
    return {m.id: m.refused for m in models}, ignored


def test_two_files_of_one_model_are_refused_together_and_count_once() -> None:
    names = ["a.joblib", "a.b.skops", "a.k/x.skops", "a.skops", "a/b.pkl", "a/b.skops", "a/b.pickle", "ab.skops"]
    found, ignored = fleet(names)
    assert found == {"a": Reason.AMBIGUOUS, "a.b": None, "a.k/x": None, "a/b": Reason.AMBIGUOUS, "ab": None}
    assert ignored == IgnoredFiles()


@given(st.lists(st.tuples(st.text("ab./-", min_size=1, max_size=4), st.sampled_from(["", *EXTENSIONS])), unique=True))
def test_ambiguity_is_found_whatever_lies_between(files: list[tuple[str, str]]) -> None:
    names = sorted({stem + extension for stem, extension in files})
    door = ModelNames("{device}[/{sensor}]")
    ids = [m.id for n in names if (m := door.parse_model(Blob(n, "e", 1))) and not m.refused]
    found, _ = fleet(names, "{device}[/{sensor}]")
    assert {i for i, refused in found.items() if refused is Reason.AMBIGUOUS} >= {i for i in ids if ids.count(i) > 1}
    assert {i for i, refused in found.items() if refused is None} == {i for i in ids if ids.count(i) == 1}


def test_ignored_names_do_not_fill_the_memory() -> None:
    ignored = IgnoredFiles()
    for i in range(1000):
        ignored.append(str(i))
    assert ignored == IgnoredFiles(1000, {"(none)": 1000}, [str(i) for i in range(20)])


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a\\b", "a\n", " a", "a ", "x" * 256, "\x7f", "\ud800"])
def test_a_bad_id_says_why(text: str) -> None:
    assert find_id_problem(text)


# The contract


def report() -> Report:
    verdicts = (
        ModelResult("1/2", 5, 2),
        ModelResult("ü", reason=Reason.AMBIGUOUS, message="two files"),
        ModelResult("x", 1, etag="e"),
    )
    parts = (Part(f"results/{RUN}/c00000/ab.parquet", 9, "md5", 6),)
    outcomes, ended = Outcomes.from_results(verdicts), NOW + timedelta(seconds=3)
    return Report(RUN, "c00000", 2, NOW, ended, outcomes, parts, ("one row left out",), "0.2.0")


def test_progress_comes_back_as_it_went() -> None:
    assert Progress.from_metadata(Progress(3, 9).to_metadata()) == Progress(3, 9)


def test_a_report_is_counted() -> None:
    assert report().tally == Tally(scored=2, failed=1, rows=6, anomalies=2, seconds=3)
    assert report().failures == (Failure(Reason.AMBIGUOUS, Outcome.FAILED, 1, "ü", "two files"),)


@pytest.mark.parametrize("change", [{"run": "x"}, {"chunk": "c00001"}, {"attempt": 3}, {"models": 2}])
def test_a_report_of_something_else_is_refused(change: dict[str, Any]) -> None:
    report().check_against(RUN, "c00000", 2, 3)
    expected: dict[str, Any] = {"run": RUN, "chunk": "c00000", "attempt": 2, "models": 3, **change}
    with pytest.raises(Malformed, match="expected the report of"):
        report().check_against(**expected)


@pytest.mark.parametrize("path", ["models/a", f"results/{RUN}/c00001/x", f"results/{RUN}/c00000/../../x"])
def test_a_report_cannot_name_a_part_outside_its_folder(path: str) -> None:
    hostile = replace(report(), parts=(replace(report().parts[0], path=path),))
    with pytest.raises(Malformed, match="outside its folder"):
        hostile.check_against(RUN, "c00000", 2, 3)


def test_a_report_whose_rows_do_not_add_up_is_refused() -> None:
    with pytest.raises(Malformed, match="its parts hold 7 rows, its models 6"):
        replace(report(), parts=(replace(report().parts[0], rows=7),)).check_against(RUN, "c00000", 2, 3)


def test_names_of_jobs_and_signs_come_apart_as_they_were_put_together() -> None:
    name = paths.make_job_name("fleet-score", RUN, "c00042", 3)
    assert name == f"fleet-score-{RUN}-c00042-3"
    assert paths.parse_job_name(name) == (RUN, "c00042", 3)
    assert paths.parse_job_name("somebody-else-s-job") is None
    assert paths.parse_attempt_path(paths.progress_path(RUN, "c00042", 3)) == ("c00042", 3, "progress")
    assert paths.parse_attempt_path(paths.report_path(RUN, "c00042", 3)) == ("c00042", 3, "report")
    assert paths.parse_attempt_path(paths.log_path(RUN, "c00042", 3)) is None


@pytest.mark.parametrize(
    ("careful", "carry", "words"),
    [(False, 0, ""), (True, 0, " --careful"), (False, 3, " --carry 3"), (True, 3, " --careful --carry 3")],
)
def test_an_order_is_one_command_on_every_cluster(careful: bool, carry: int, words: str) -> None:
    found = " ".join(build_command("https://w/m.json", 4, isolated=careful, carry=carry))
    assert found == f"python -m scorer --manifest https://w/m.json --attempt 4{words}"


def test_two_orders_of_one_name_are_told_apart_by_what_they_do_and_not_by_their_wall_time() -> None:
    plain = JobSpec("a", RUN, build_command("https://w/m.json", 4), timedelta(hours=1))
    assert replace(plain, timeout=timedelta(hours=2)).digest == plain.digest
    assert replace(plain, command=build_command("https://w/m.json", 4, isolated=True)).digest != plain.digest


def test_a_run_has_one_plan_and_one_more_for_each_extension() -> None:
    assert [paths.plan_path(RUN, n) for n in range(3)] == [
        f"runs/{RUN}/plan.json", f"runs/{RUN}/plan-1.json", f"runs/{RUN}/plan-2.json",
    ]  # fmt: skip


def test_everything_of_a_run_lies_under_its_own_prefixes_and_no_other_run_s() -> None:
    window, longer = Window.parse(RUN), Window.parse("20261121T0700Z-PT15H")
    assert paths.parts_prefix(RUN, "c00001") == f"results/{RUN}/c00001/"
    for path in (paths.plan_path, paths.attempts_prefix):
        assert path(RUN).startswith(paths.run_prefix(RUN))
        assert not path(longer.id).startswith(paths.run_prefix(RUN))
    assert paths.prediction_path(window, "c00042", 0).startswith(paths.prediction_prefix(window, "c00042"))
    assert paths.prediction_path(window, "c00042", 0).startswith(paths.predictions_prefix(window))
    assert not paths.prediction_path(longer, "c00042", 0).startswith(paths.predictions_prefix(window))
    assert not paths.prediction_path(window, "c000420", 0).startswith(paths.prediction_prefix(window, "c00042"))


def test_a_prediction_lies_in_the_folder_of_its_window() -> None:
    path = paths.prediction_path(Window.parse(RUN), "c00042", 0)
    assert path == f"date=2026-11-21/hour=07/{RUN}-c00042-0.parquet"


@pytest.mark.parametrize("metadata", [{}, {"done": "x"}, {"done": "-1", "models": "3"}, {"done": "9", "models": "3"}])
def test_a_progress_that_is_none_is_no_harm(metadata: dict[str, str]) -> None:
    found = Progress.from_metadata(metadata)
    assert 0 <= found.done <= found.models


def test_a_message_is_one_line_that_fits() -> None:
    assert clip_text("a\n  b\tc") == "a b c"
    assert len(clip_text("x" * 9999)) == MESSAGE_LIMIT


def test_failures_of_one_reason_are_one_group_and_the_largest_comes_first() -> None:
    one = Failure(Reason.ESTIMATOR_ERROR, Outcome.FAILED, 1, "a", "first")
    many = Failure(Reason.NO_READINGS, Outcome.SKIPPED, 5, "b", "none")
    assert merge_failures([one, many, replace(one, example="z", models=2)]) == (many, replace(one, models=3))


def test_a_wish_of_a_kind_for_a_target_is_one_wish() -> None:
    asked = Request(RequestKind.REDRIVE, RUN, NOW)
    assert asked.id == replace(asked, asked_at=EPOCH, version="x").id == f"redrive-{RUN}"
    assert {kind for kind in RequestKind if kind.reopens} == {
        RequestKind.REDRIVE,
        RequestKind.REPROCESS,
        RequestKind.EXTEND,
    }


def test_tallies_add_up() -> None:
    one, other = Tally(1, 2, 3, 4, 5, 6, 7, 8.0), Tally(10, 20, 30, 40, 50, 60, 70, 80.0)
    assert one + other == Tally(11, 22, 33, 44, 55, 66, 77, 88.0)
    assert one.models == 15


@pytest.mark.parametrize(
    ("error", "line"),
    [(ValueError("a\nb"), "a"), (ValueError(), "ValueError"), (KeyError(""), "''"), (OSError("\nb"), "OSError")],
)
def test_an_error_is_shown_by_the_first_line_of_its_text_or_by_its_kind(error: Exception, line: str) -> None:
    assert get_first_line(error) == line

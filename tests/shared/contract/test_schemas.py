"""Manifest, report and plan in each schema: what was written is read, and what is none is refused."""

import json
from array import array
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.columns import dump_document, make_integers, make_texts, parse_columns, split_document
from shared.contract.documents import NEWEST, SCHEMAS
from shared.contract.domain import Late, Model, Part, PartStatistics, Unmodelled, merge_late, merge_unmodelled
from shared.contract.errors import Malformed, Misconfigured
from shared.contract.fleet.formats import ModelFormats
from shared.contract.manifest import DeviceRange, Manifest, PackRef
from shared.contract.model_list import ModelList
from shared.contract.model_names import Columns, Step
from shared.contract.outcomes import ModelResult, Outcomes
from shared.contract.reasons import Reason
from shared.contract.report import PARTS_LIMIT, Report, Summary
from shared.contract.scoring_options import (
    CsvOptions,
    Features,
    Gaps,
    Limits,
    ReadingOptions,
    ScoringOptions,
    TimeFormat,
    UnmodelledDevices,
)
from shared.contract.summaries.predicted import LabelCount, Predicted, PredictionRange
from shared.contract.text import LINES_LIMIT, MESSAGE_LIMIT
from shared.contract.windows import Window
from shared.planning.plan import Plan, Planner, RoundPlan
from shared.state.runs import Chunk, Phase, Run
from tests.reports import read_report

RUN = "20261121T0700Z-PT1H"
NOW = datetime(2026, 11, 21, 8, 5, tzinfo=UTC)
WINDOW = Window.parse(RUN)

# Written by fleetscore 0.1.0, but for the report's version, which came after it.
OLD_MANIFEST = (
    rb'{"schema":1,"window":"20261121T0700Z-PT1H","chunk":"c00000","models_url":"https://m",'
    rb'"readings_url":"https://r","work_url":"https://w","readings_path":"%H/","columns":{"time":"TS",'
    rb'"device":"device","sensor":"sensor","value":"value"},"policy":{"readings":{"bad_rows":"skip",'
    rb'"time":"iso"},"other_versions":{"skops":"warn","pickle":"warn"},"limits":{"model_bytes":268435456,'
    rb'"model_seconds":60.0,"model_memory":4294967296,"readings_memory":2147483648}},"packs":[["p",2],["q",'
    rb'1]],"models":[["1","\u00fc","x"],["2","",""],["model_1_2","\u00fc.skops","x.skops"],["e1","e2",'
    rb'"e3"]],"refused":{"1":"ambiguous"}}'
)
OLD_REPORT = (
    rb'{"schema":1,"run":"20261121T0700Z-PT1H","chunk":"c00000","attempt":2,'
    rb'"started_at":"2026-11-21T08:05:00+00:00","ended_at":"2026-11-21T08:05:03+00:00","models":["1/2",'
    rb'"\u00fc","x"],"rows":[5,0,1],"anomalies":[2,0,0],"reasons":{"1":["ambiguous","two files"]},'
    rb'"etags":{"2":"e"},"parts":[{"path":"results/20261121T0700Z-PT1H/c00000/ab.parquet","bytes":9,'
    rb'"md5":"md5","rows":6,"etag":""}],"warnings":["one row left out"],"version":"0.2.0"}'
)
OLD_PLAN = (
    rb'{"schema":1,"ignored":3,"chunks":[["c00000","0123456789abcdef",2,"a.skops","b.skops"],["c00001",'
    rb'"fedcba9876543210",1,"c.skops","c.skops"]]}'
)

MODELS = (
    Model("1", "2", "model_1_2", "e1"),
    Model("ü", "", "ü.skops", "e2", Reason.AMBIGUOUS),
    Model("x", "", "x.skops", "e3"),
)
FIRST_MANIFEST = Manifest(
    WINDOW, "c00000", MODELS, "https://m", "https://r", "https://w", "%H/", Columns(time="TS"),
    packs=(PackRef("p", 2), PackRef("q", 1)), schema=1,
)  # fmt: skip
SECOND_MANIFEST = replace(
    FIRST_MANIFEST,
    schema=2,
    app="fleet-score",
    round=3,
    model_formats=("json",),
    devices=DeviceRange("1", "y"),
    predictions_schema=2,
    tasks={0: "detect", 2: "regress"},
)
OUTCOMES = Outcomes.from_results(
    [ModelResult("1/2", 5, 2), ModelResult("ü", 0, 0, Reason.AMBIGUOUS, "two files"), ModelResult("x", 1, etag="e")]
)
PART = Part(f"results/{RUN}/c00000/ab.parquet", 9, "md5", 6)
FIRST_REPORT = Report(
    RUN, "c00000", 2, NOW, NOW + timedelta(seconds=3), OUTCOMES, (PART,), ("one row left out",), "0.2.0", schema=1
)
SECOND_REPORT = replace(
    FIRST_REPORT,
    schema=2,
    outcomes=replace(
        OUTCOMES, readings=array("Q", [6, 0, 2]), tracebacks={1: "Traceback:\n  x"}, remarks={0: "other_version"}
    ),
    libraries={"numpy": "2.4.0", "python": "3.13.1"},
    summary=Summary(f"results/{RUN}/c00000/ab.summary", 7, "md5"),
    statistics=(PartStatistics(1, 2, "1", "x", {"value": 6}),),
    unmodelled=Unmodelled(21, tuple(f"fan-{i:02}" for i in range(20))),
    predicted=Predicted(
        {"classifier": 1, "regressor": 1}, 8, (LabelCount("ü", 4),), 1, PredictionRange(1, -0.5, -0.5, -0.5)
    ),
    late=Late(7, 2, ("pump-1", "ü"), 3),
)
OWNER = Planner("fleet-score", "https://m", "https://p")
PLAN = Plan(
    (
        Chunk(RUN, "c00000", "0123456789abcdef", 2, "a.skops", "b.skops", since=NOW, round=1),
        Chunk(RUN, "c00001", "fedcba9876543210", 1, "c.skops", "c.skops", since=NOW, round=1),
    ),
    3,
    OWNER,
)
ROUND = RoundPlan(2, {"c00000": "0123456789abcdef", "c00001": "fedcba9876543210"})


def read_plan(data: bytes) -> Plan:
    return Plan.from_bytes(Run(WINDOW, Phase.RUNNING, NOW, round=1), data, NOW)


def read_round(data: bytes) -> RoundPlan:
    return RoundPlan.from_bytes(data, RUN, 2)


def edit(data: bytes, **changes: Any) -> bytes:
    """The document with other fields in its head; a change to None takes a field away."""
    head, blocks = split_document(data)
    doc = {**json.loads(head), **changes}
    text = json.dumps({name: value for name, value in doc.items() if value is not None}).encode()
    return text + b"\n" + blocks if b"\n" in data else text


def edit_columns(data: bytes, **changes: Any) -> bytes:
    """The document of schema 2 with other columns; a change to None takes a column away."""
    head, blocks = split_document(data)
    doc = json.loads(head)
    columns = {**parse_columns(doc, blocks), **changes}
    fields = {name: value for name, value in doc.items() if name not in ("columns", "crc32")}
    return dump_document(fields, {name: column for name, column in columns.items() if column is not None})


# What was written is read


@pytest.mark.parametrize("manifest", [FIRST_MANIFEST, SECOND_MANIFEST, replace(SECOND_MANIFEST, devices=None)])
def test_a_manifest_comes_back_as_it_went(manifest: Manifest) -> None:
    data = manifest.to_bytes()
    assert Manifest.from_bytes(data) == manifest
    assert Manifest.from_bytes(data).to_bytes() == data


@pytest.mark.parametrize("report", [FIRST_REPORT, SECOND_REPORT, replace(SECOND_REPORT, summary=None, statistics=())])
def test_a_report_comes_back_as_it_went(report: Report) -> None:
    data = report.to_bytes()
    again = read_report(data, FIRST_MANIFEST)
    assert again == report
    assert again.to_bytes() == data


def test_a_report_of_schema_2_has_the_ids_of_models_that_were_not_scored_only() -> None:
    report = Report.from_bytes(SECOND_REPORT.to_bytes())
    assert list(report.outcomes.ids) == ["", "ü", ""]
    assert report.outcomes.ids[1:] == ["ü", ""]
    assert (report.tally, report.failures) == (SECOND_REPORT.tally, SECOND_REPORT.failures)
    assert report.outcomes.list_unscored() == SECOND_REPORT.outcomes.list_unscored()


def test_the_manifest_of_a_part_of_a_list_is_that_of_these_models_alone() -> None:
    part = replace(SECOND_MANIFEST, models=ModelList.from_models(MODELS)[1:], packs=(), tasks={1: "regress"})
    alone = replace(part, models=MODELS[1:])
    assert part.to_bytes() == alone.to_bytes()
    assert Manifest.from_bytes(part.to_bytes()) == part == alone


def test_an_empty_chunk_is_a_document() -> None:
    manifest = replace(SECOND_MANIFEST, models=(), packs=(), tasks={})
    report = replace(SECOND_REPORT, outcomes=Outcomes.from_results([]), parts=(), statistics=())
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert read_report(report.to_bytes(), manifest) == report


@pytest.mark.parametrize("plan", [PLAN, replace(PLAN, planner=None), replace(PLAN, planner=None, schema=1)])
def test_a_plan_comes_back_as_it_went(plan: Plan) -> None:
    assert read_plan(plan.to_bytes()) == plan


def test_the_plan_of_a_round_comes_back_as_it_went() -> None:
    assert read_round(ROUND.to_bytes()) == ROUND
    assert ROUND.to_bytes() == RoundPlan(2, dict(reversed(ROUND.manifests.items()))).to_bytes()


IDS = st.text(st.characters(exclude_characters="/"), max_size=5)
FIRST: Mapping[Reason | None, Reason] = {
    Reason.SENSOR_SILENT: Reason.NO_READINGS,
    Reason.MISSING_FEATURES: Reason.WRONG_FEATURES,
    Reason.NOT_NOVELTY: Reason.UNSUPPORTED_MODEL,
}
REASONS = st.none() | st.sampled_from(Reason)


@given(st.lists(st.tuples(IDS, IDS, REASONS, st.text(max_size=5), st.integers(0, 2**40)), max_size=6))
def test_any_models_and_outcomes_come_back_in_each_schema(
    rows: list[tuple[str, str, Reason | None, str, int]],
) -> None:
    models = tuple(Model(device, sensor, f"{device}{sensor}", text, why) for device, sensor, why, text, _ in rows)
    results = [
        ModelResult(model.id, 0 if why else count, 0, why, " ".join(text.split()) if why and text.isprintable() else "")
        for model, (_, _, why, text, count) in zip(models, rows, strict=True)
    ]
    for schema in SCHEMAS:
        manifest = replace(FIRST_MANIFEST, models=models, packs=(), schema=schema)
        report = replace(FIRST_REPORT, outcomes=Outcomes.from_results(results), schema=schema)
        if schema == 1:  # its readers know no other words
            assert b"unsupported_model" not in manifest.to_bytes() + report.to_bytes()
            spelled = [one._replace(reason=FIRST.get(one.reason, one.reason)) for one in results]
            outcomes = Outcomes.from_results(spelled)
            refused = tuple(replace(model, refused=FIRST.get(model.refused, model.refused)) for model in models)
            assert Manifest.from_bytes(manifest.to_bytes()) == replace(manifest, models=refused)
            assert read_report(report.to_bytes(), manifest) == replace(report, outcomes=outcomes)
        else:
            assert Manifest.from_bytes(manifest.to_bytes()) == manifest
            assert read_report(report.to_bytes(), manifest) == report


# Schema 1 is what it was


@pytest.mark.parametrize(
    ("path", "needs"),
    [("date=%Y-%m-%d/hour=%H/", []), ("{device}/%Y.csv", ["path_tokens"]), ("*/%H/", ["path_tokens"])],
)
def test_a_manifest_says_that_its_path_has_tokens(path: str, needs: list[str]) -> None:
    manifest = replace(SECOND_MANIFEST, readings_path=path)

    assert json.loads(split_document(manifest.to_bytes())[0])["needs"] == needs
    assert Manifest.from_bytes(manifest.to_bytes()).readings_path == path


@pytest.mark.parametrize("path", [b"{devise}/%Y.csv", b"{/%H/", b"../%Y/%H/%d"])
def test_a_manifest_whose_path_is_no_pattern_is_refused_when_it_is_read(path: bytes) -> None:
    data = FIRST_MANIFEST.to_bytes()
    assert data.count(b'"readings_path":"%H/"') == 1

    with pytest.raises(Malformed, match="manifest: expected "):
        Manifest.from_bytes(data.replace(b'"readings_path":"%H/"', b'"readings_path":"' + path + b'"'))


def test_a_manifest_of_before_one_could_choose_takes_features_in_the_order_of_the_files() -> None:
    assert Manifest.from_bytes(OLD_MANIFEST) == replace(FIRST_MANIFEST, policy=ScoringOptions().assume_features())


def test_a_manifest_of_schema_1_has_three_more_options_than_before() -> None:
    added = (
        b',"features":{"names":["b","a"],"in_file_order":false,"assumed":false},"gaps":"drop","missing_values":[-999.0]'
    )
    readings = ReadingOptions(features=Features(("b", "a")), gaps=Gaps.DROP, missing_values=(-999.0,))
    manifest = replace(FIRST_MANIFEST, policy=ScoringOptions(readings))

    assert manifest.to_bytes() == OLD_MANIFEST.replace(b',"time":"iso"', b',"time":"iso"' + added)
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest


@pytest.mark.parametrize("zone", ["", "UTC", "Europe/Berlin"])
def test_nodes_before_0_2_refuse_a_manifest_that_sets_csv(zone: str) -> None:
    options = ReadingOptions(time_zone=zone, csv=CsvOptions(decimal=","))
    doc = options.to_json(1)
    assert (doc["csv"], doc["time"]) == ({"decimal": ","}, f"iso {zone}")  # no time format of 0.1
    assert ReadingOptions.from_json(doc) == options
    with pytest.raises(Malformed, match="decimal: expected point or comma, got 'x'"):
        ReadingOptions.from_json({**doc, "csv": {"decimal": "x"}})


@pytest.mark.parametrize("zone", ["", "UTC", "Europe/Berlin"])
@pytest.mark.parametrize("path", ["{device}/%Y-%m-%d.csv", "*/%H/"])
def test_nodes_before_0_2_refuse_a_manifest_whose_path_has_tokens(path: str, zone: str) -> None:
    policy = ScoringOptions(ReadingOptions(time_zone=zone))
    manifest = replace(FIRST_MANIFEST, readings_path=path, policy=policy)
    readings = json.loads(manifest.to_bytes())["policy"]["readings"]
    assert readings["time"] == f"iso {zone}"
    with pytest.raises(ValueError, match=f"'iso {zone}' is not a valid TimeFormat"):
        TimeFormat(readings["time"])  # what 0.1.0 does with it
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest


def test_plans_of_schema_1_are_read_and_written_as_ever() -> None:
    assert read_plan(OLD_PLAN) == replace(PLAN, planner=None, schema=1)
    assert read_plan(OLD_PLAN).to_bytes() == OLD_PLAN


def test_a_report_of_schema_1_has_one_more_field_than_before() -> None:
    assert Report.from_bytes(OLD_REPORT) == replace(FIRST_REPORT, reads=())
    assert FIRST_REPORT.to_bytes() == OLD_REPORT[:-1] + b',"reads":[1,2]}'
    assert replace(SECOND_REPORT, schema=1).to_bytes() == FIRST_REPORT.to_bytes()


def test_a_report_of_before_it_said_its_version_is_read() -> None:
    assert Report.from_bytes(edit(OLD_REPORT, version=None)) == replace(FIRST_REPORT, version="", reads=())


# What is to come

DOCUMENTS: Mapping[str, tuple[Callable[[bytes], Any], bytes]] = {
    "manifest 1": (Manifest.from_bytes, FIRST_MANIFEST.to_bytes()),
    "manifest 2": (Manifest.from_bytes, SECOND_MANIFEST.to_bytes()),
    "report 1": (Report.from_bytes, FIRST_REPORT.to_bytes()),
    "report 2": (Report.from_bytes, SECOND_REPORT.to_bytes()),
    "plan 1": (read_plan, replace(PLAN, schema=1).to_bytes()),
    "plan 2": (read_plan, PLAN.to_bytes()),
    "round": (read_round, ROUND.to_bytes()),
}
each_document = pytest.mark.parametrize(("read", "data"), DOCUMENTS.values(), ids=DOCUMENTS)
IN_2 = {name: DOCUMENTS[name] for name in DOCUMENTS if not name.endswith("1")}
OF_2 = pytest.mark.parametrize(("read", "data"), IN_2.values(), ids=IN_2)


@each_document
def test_fields_that_a_reader_does_not_know_are_ignored(read: Callable[[bytes], Any], data: bytes) -> None:
    assert read(edit(data, colour=["of", {"later": 1}])) == read(data)


def test_without_further_formats_a_manifest_has_none_and_those_of_a_later_version_are_read() -> None:
    data = SECOND_MANIFEST.to_bytes()
    assert Manifest.from_bytes(edit(data, model_formats=None)).model_formats == ()
    assert Manifest.from_bytes(edit(data, model_formats=["json", "onnx"])).model_formats == ("json", "onnx")
    assert ModelFormats(("json", "onnx")).get_stem("a.ONNX") == "a"


def test_settings_and_columns_that_a_reader_does_not_know_are_ignored() -> None:
    limits = {"model_bytes": 7, "of_later": 1}
    policy = {**ScoringOptions().to_json(), "limits": limits, "of_later": 1}
    expected = replace(SECOND_MANIFEST, policy=ScoringOptions(limits=Limits(model_bytes=7)))
    data = edit(SECOND_MANIFEST.to_bytes(), policy=policy, readings_columns={"time": "TS", "of_later": "x"})
    assert Manifest.from_bytes(data) == expected
    data = edit_columns(SECOND_MANIFEST.to_bytes(), of_later=make_integers([7, 8]))
    assert Manifest.from_bytes(data) == SECOND_MANIFEST


@pytest.mark.parametrize("zone", ["", "UTC", "Europe/Berlin"])
@pytest.mark.parametrize("manifest", [FIRST_MANIFEST, SECOND_MANIFEST], ids=["1", "2"])
def test_the_zone_of_the_readings_is_in_both_schemas_and_without_it_they_are_utc(zone: str, manifest: Manifest) -> None:
    options = ScoringOptions(readings=ReadingOptions(time_zone=zone))
    data = replace(manifest, policy=options).to_bytes()
    assert Manifest.from_bytes(data).policy == options
    if not zone:
        assert data == replace(manifest, policy=ScoringOptions()).to_bytes()
        assert b"zone" not in split_document(data)[0]


def test_only_a_manifest_that_says_so_lets_devices_without_a_model_be_counted() -> None:
    counting = ScoringOptions(unmodelled=UnmodelledDevices.COUNT)
    assert Manifest.from_bytes(replace(SECOND_MANIFEST, policy=counting).to_bytes()).policy == counting
    assert Manifest.from_bytes(replace(FIRST_MANIFEST, policy=counting).to_bytes()).policy == ScoringOptions()
    assert Manifest.from_bytes(OLD_MANIFEST).policy.unmodelled is UnmodelledDevices.OFF


def test_a_report_that_does_not_count_devices_without_a_model_does_not_say_that_there_are_none() -> None:
    data = SECOND_REPORT.to_bytes()
    assert Report.from_bytes(edit(data, unmodelled=None)).unmodelled is None
    assert Report.from_bytes(edit(data, unmodelled=0, unmodelled_examples=None)).unmodelled == Unmodelled()
    assert Report.from_bytes(FIRST_REPORT.to_bytes()).unmodelled is None


def test_a_report_without_a_summary_is_of_detectors_and_has_the_bytes_of_before() -> None:
    data = SECOND_REPORT.to_bytes()
    assert Report.from_bytes(edit(data, predicted=None)) == replace(Report.from_bytes(data), predicted=None)
    assert b"predicted" not in replace(SECOND_REPORT, predicted=None).to_bytes()
    assert b"predicted" not in replace(SECOND_REPORT, schema=1).to_bytes()
    later = {**Predicted().to_json(), "tasks": {"forecaster": 2}}
    assert Report.from_bytes(edit(data, predicted=later)).predicted == Predicted({"forecaster": 2})


def test_the_examples_of_devices_without_a_model_are_cut_and_legible() -> None:
    data = edit(
        SECOND_REPORT.to_bytes(), unmodelled=99, unmodelled_examples=["a\ud800\n\u202eb", "x" * 10**6, *"abc" * 9]
    )
    unmodelled = Report.from_bytes(data).unmodelled
    assert unmodelled
    assert unmodelled.devices == 99
    assert unmodelled.examples[0] == "a\ufffd \ufffdb"
    assert (len(unmodelled.examples), len(unmodelled.examples[1])) == (20, MESSAGE_LIMIT)


def test_models_that_are_not_carried_over_are_named_only_where_there_are_some_and_a_node_must_know_them() -> None:
    data = replace(SECOND_MANIFEST, rescore=(0, 2)).to_bytes()
    assert Manifest.from_bytes(data).rescore == (0, 2)
    assert json.loads(split_document(data)[0])["needs"] == ["rescore"]
    assert b"rescore" not in SECOND_MANIFEST.to_bytes()
    with pytest.raises(Malformed, match="expected indices of 3 models, got 3"):
        Manifest.from_bytes(edit(data, rescore=[3]))


def test_a_report_without_late_rows_does_not_say_that_there_are_none() -> None:
    data = SECOND_REPORT.to_bytes()
    assert Report.from_bytes(edit(data, late=None)) == replace(Report.from_bytes(data), late=None)
    assert b'"late"' not in replace(SECOND_REPORT, late=None).to_bytes()
    assert b'"late"' not in replace(SECOND_REPORT, schema=1).to_bytes()
    assert Report.from_bytes(replace(SECOND_REPORT, late=Late()).to_bytes()).late == Late()
    devices = [f"pump-{i:04}" for i in range(1001)]
    late = Report.from_bytes(edit(data, late={"rows": 1, "devices": 1001, "examples": devices, "unread_rows": 0})).late
    assert late == Late(1, 1001, tuple(devices[:1000]))
    assert late.shorten() == Late(1, 1001, tuple(devices[:20]))


def test_late_rows_of_chunks_are_added_and_a_device_is_named_once() -> None:
    assert merge_late([Late(1, 2, ("b", "c"), 3), None, Late(4, 1, ("b",))]) == Late(5, 3, ("b", "c"), 3)
    assert (merge_late([None, Late()]), merge_late([None])) == (Late(), None)


def test_counts_of_chunks_are_added_and_the_first_twenty_devices_named() -> None:
    counts = [Unmodelled(21, tuple(f"pump-{i:02}" for i in range(20))), None, Unmodelled(2, ("fan-1", "fan-2"))]
    assert merge_unmodelled(counts) == Unmodelled(23, ("fan-1", "fan-2", *(f"pump-{i:02}" for i in range(18))))
    assert merge_unmodelled([None, Unmodelled()]) == Unmodelled()
    assert merge_unmodelled([None]) is None


def test_a_node_that_knows_no_zone_refuses_the_manifest_and_ignores_none() -> None:
    policy = ScoringOptions(readings=ReadingOptions(time_zone="Europe/Berlin"))
    doc = json.loads(replace(FIRST_MANIFEST, policy=policy).to_bytes())
    with pytest.raises(ValueError, match="'iso Europe/Berlin' is not a valid TimeFormat"):
        TimeFormat(doc["policy"]["readings"]["time"])  # what 0.1.0 does with it
    doc["policy"]["readings"]["time"] = "iso Mars/Olympus"
    with pytest.raises(Malformed, match=r"expected a time zone by its IANA name .* got 'Mars/Olympus'"):
        Manifest.from_bytes(json.dumps(doc).encode())


@OF_2
def test_what_a_reader_must_not_ignore_is_refused_with_the_advice_to_upgrade(
    read: Callable[[bytes], Any], data: bytes
) -> None:
    with pytest.raises(Malformed, match=r"it needs labels, ranks, which only a newer version knows: upgrade this one"):
        read(edit(data, needs=["ranks", "labels"]))


@each_document
@pytest.mark.parametrize("schema", [NEWEST + 1, 0, -1, 1.0, 2.0, True, "1", "2", [1], {}])
def test_any_other_schema_is_refused(read: Callable[[bytes], Any], data: bytes, schema: object) -> None:
    with pytest.raises(Malformed, match="expected schema 1 or 2, got"):
        read(edit(data, schema=schema))


# What is none


@each_document
def test_a_document_that_is_cut_anywhere_is_refused(read: Callable[[bytes], Any], data: bytes) -> None:
    for end in range(len(data)):
        with pytest.raises(Malformed):
            read(data[:end])


@each_document
def test_a_document_without_one_of_its_fields_is_refused(read: Callable[[bytes], Any], data: bytes) -> None:
    optional = {
        "version", "reads", "needs", "ignored_endings", "ignored_examples", "unmodelled", "unmodelled_examples",
        "model_formats", "predicted", "late",
    }  # fmt: skip
    for name in json.loads(split_document(data)[0]).keys() - optional:
        with pytest.raises(Malformed):
            read(edit(data, **{name: None}))


@each_document
@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b"1", b'"a"', b"\n\n", b"[" * 10**5])
def test_what_is_no_document_is_refused(read: Callable[[bytes], Any], data: bytes, junk: bytes) -> None:
    assert read(data)
    with pytest.raises(Malformed):
        read(junk)


STATISTICS = {"first_time": 1, "last_time": 2, "first_device": "1", "last_device": "x", "nulls": {"value": 6}}
WRONG_REPORTS: dict[int, list[dict[str, Any]]] = {
    1: [
        {"rows": [1]}, {"rows": [1, -2, 3]}, {"rows": [1, 2.5, 3]}, {"rows": [1, 2**64, 3]}, {"rows": [1, "2", 3]},
        {"models": ["a", "b"]}, {"models": 3}, {"reasons": {"9": ["ambiguous", ""]}}, {"reasons": {"0": ["mine", ""]}},
        {"reasons": {"-1": ["ambiguous", ""]}}, {"reasons": {"0": ["ambiguous", 7]}}, {"etags": {"3": "e"}},
    ],
    2: [
        {"models": 2}, {"models": 4}, {"models": 2**40}, {"models": ["a", "b", "c"]}, {"crc32": 1},
        {"etags": {"3": "e"}}, {"tracebacks": {"3": "e"}}, {"tracebacks": {"0": 7}}, {"remarks": {"-1": "e"}},
        {"remarks": {"x": "e"}}, {"libraries": ["numpy"]}, {"libraries": {"numpy": 2}}, {"summary": {}},
        {"statistics": [{}]}, {"statistics": 2 * [STATISTICS]}, {"statistics": [{**STATISTICS, "first_time": 1.5}]},
        {"statistics": [{**STATISTICS, "nulls": {"value": -1}}]}, {"needs": 7}, {"unmodelled": -1}, {"unmodelled": "3"},
        {"unmodelled_examples": 7}, {"predicted": 7}, {"predicted": {}},
        {"predicted": {**Predicted().to_json(), "labels": [["a", -1]]}}, {"late": 7}, {"late": {}},
        {"late": {"rows": -1, "devices": 0, "examples": [], "unread_rows": 0}},
        {"late": {"rows": 1, "devices": 1, "examples": 7, "unread_rows": 0}},
    ],
}  # fmt: skip
BOTH: list[dict[str, Any]] = [
    {"attempt": True}, {"attempt": -1}, {"attempt": 2**63}, {"started_at": "2026-11-21T08:05:00"}, {"ended_at": "now"},
    {"ended_at": 7}, {"parts": [{}]}, {"parts": 7}, {"parts": [{**json.loads(OLD_REPORT)["parts"][0], "rows": -1}]},
    {"warnings": 7}, {"reads": ["1"]}, {"reads": 2},
]  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "changes"), [(schema, changes) for schema in SCHEMAS for changes in [*WRONG_REPORTS[schema], *BOTH]]
)
def test_a_report_that_is_none_is_malformed(schema: int, changes: dict[str, Any]) -> None:
    data = {1: FIRST_REPORT, 2: SECOND_REPORT}[schema].to_bytes()
    assert edit(data, **changes) != edit(data)
    with pytest.raises(Malformed, match=r"^report: "):
        Report.from_bytes(edit(data, **changes))


@pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"1e999", b"-1.5", b"1" * 5000])
def test_a_number_that_is_none_is_malformed(text: bytes) -> None:
    for data, field in ((FIRST_REPORT.to_bytes(), b"[5,"), (SECOND_REPORT.to_bytes(), b'"first_time":1,')):
        assert data.count(field) == 1
        spoilt = data.replace(field, field[:-2] + text + b",")
        with pytest.raises(Malformed, match=r"^report: "):
            Report.from_bytes(spoilt)


@pytest.mark.parametrize(
    "columns",
    [
        {"rows": None}, {"anomalies": None}, {"unscored": None}, {"unscored_ids": None}, {"reasons": None},
        {"rows": make_integers([1, 2])}, {"rows": make_texts(["1", "2", "3"])}, {"rows": make_texts(["1"] * 3)},
        {"readings": make_integers([1, 2, 3, 4])}, {"unscored": make_integers([3])},
        {"unscored": make_integers([1, 2])}, {"messages": make_integers([1])}, {"messages": make_texts(["a", "b"])},
        {"reasons": make_texts(["mine"])},
    ],
)  # fmt: skip
def test_a_report_with_wrong_columns_is_malformed(columns: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match=r"^report: "):
        Report.from_bytes(edit_columns(SECOND_REPORT.to_bytes(), **columns))


def test_a_model_that_is_named_twice_or_out_of_order_is_malformed() -> None:
    for indices in ([1, 1], [2, 1]):
        twice = {"unscored_ids": make_texts(["a", "b"]), "reasons": make_texts(["ambiguous"] * 2)}
        with pytest.raises(Malformed, match="once, in the manifest's order"):
            Report.from_bytes(
                edit_columns(
                    SECOND_REPORT.to_bytes(),
                    unscored=make_integers(indices),
                    messages=make_texts(["", "b"]),
                    **twice,
                )
            )


@pytest.mark.parametrize("report", [FIRST_REPORT, SECOND_REPORT])
def test_a_report_of_another_number_of_models_is_refused_before_they_are_read(report: Report) -> None:
    assert Report.from_bytes(report.to_bytes(), 3).tally == report.tally
    with pytest.raises(Malformed, match="expected 4 models, got 3"):
        Report.from_bytes(report.to_bytes(), 4)
    many = replace(
        SECOND_REPORT, unmodelled=None, late=None, outcomes=Outcomes([], [0] * 10**6, [0] * 10**6)
    ).to_bytes()
    assert len(many) < 1_000
    with pytest.raises(Malformed, match="expected 3 models, got 1000000"):
        Report.from_bytes(many, 3)


def test_texts_of_a_node_are_legible_and_of_limited_length() -> None:
    texts = {
        "tracebacks": {"1": "x" * 9_999 + "\n\x1b[31m\ud800 cause"},
        "remarks": {"0": "a\n\x00b"},
        "libraries": {"num\npy": "2\ud800"},
    }
    report = Report.from_bytes(edit(SECOND_REPORT.to_bytes(), **texts))
    traceback = report.outcomes.tracebacks[1]
    assert len(traceback) == LINES_LIMIT
    assert traceback.startswith("…xxx")
    assert traceback.endswith("x\n\ufffd[31m\ufffd cause")
    assert report.outcomes.remarks == {0: "a \ufffdb"}
    assert report.libraries == {"num py": "2\ufffd"}


@pytest.mark.parametrize("place", ["models/a", f"results/{RUN}/c00001/x", f"results/{RUN}/c00000/../../x"])
def test_a_report_cannot_name_a_summary_outside_its_folder(place: str) -> None:
    SECOND_REPORT.check_against(RUN, "c00000", 2, 3)
    hostile = replace(SECOND_REPORT, summary=Summary(place, 1, ""))
    with pytest.raises(Malformed, match="outside its folder"):
        hostile.check_against(RUN, "c00000", 2, 3)


def test_a_report_has_a_limited_number_of_parts() -> None:
    parts = (PART, *[replace(PART, rows=0)] * PARTS_LIMIT)
    with pytest.raises(Malformed, match="expected at most 100 parts, got 101"):
        replace(FIRST_REPORT, parts=parts).check_against(RUN, "c00000", 2, 3)


WRONG_MANIFESTS: dict[int, list[dict[str, Any]]] = {
    1: [
        {"models": [["a"], [""], ["a"]]}, {"models": [["a"], [""], ["a"], ["e", "e"]]}, {"refused": {"3": "ambiguous"}},
        {"refused": {"-1": "ambiguous"}}, {"columns": []},
    ],
    2: [
        {"models": 2}, {"models": -3}, {"refused": {"ambiguous": [3]}}, {"refused": {"ambiguous": [-1]}},
        {"refused": {"ambiguous": 1}}, {"refused": {"mine": [1]}}, {"tasks": {"detect": [3]}}, {"round": -1},
        {"tasks": {"detect": [True]}}, {"devices": ["a"] * 3}, {"devices": 7}, {"predictions_schema": 3}, {"crc32": 1},
        {"predictions_schema": "2"}, {"readings_columns": "x"}, {"needs": 7},
    ],
}  # fmt: skip
BOTH_MANIFESTS: list[dict[str, Any]] = [
    {"window": "now"}, {"window": 7}, {"packs": [["p", 2]]}, {"packs": [["p", -3]]}, {"packs": [["p"]]},
    {"refused": {"1": "mine"}}, {"policy": {}}, {"policy": {**ScoringOptions().to_json(), "limits": 7}},
    {"policy": {**ScoringOptions().to_json(), "limits": {"model_seconds": "60"}}},
    {"policy": {**ScoringOptions().to_json(), "limits": {"model_bytes": 0}}},
]  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "changes"),
    [(schema, changes) for schema in SCHEMAS for changes in [*WRONG_MANIFESTS[schema], *BOTH_MANIFESTS]],
)
def test_a_manifest_that_is_none_is_malformed(schema: int, changes: dict[str, Any]) -> None:
    data = {1: FIRST_MANIFEST, 2: SECOND_MANIFEST}[schema].to_bytes()
    with pytest.raises(Malformed, match=r"^manifest: "):
        Manifest.from_bytes(edit(data, **changes))


@pytest.mark.parametrize(
    "columns",
    [{"device": None}, {"etag": None}, {"sensor": make_texts(["a", "b"])}, {"name": make_texts([])}],
)
def test_a_manifest_with_wrong_columns_is_malformed(columns: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match=r"^manifest: "):
        Manifest.from_bytes(edit_columns(SECOND_MANIFEST.to_bytes(), **columns))


@pytest.mark.parametrize("name", ["manifest 2", "report 2"])
def test_a_flipped_bit_anywhere_in_the_columns_is_seen(name: str) -> None:
    read, data = DOCUMENTS[name]
    for index in range(data.index(b"\n"), len(data)):
        for bit in range(8):
            spoilt = bytearray(data)
            spoilt[index] ^= 1 << bit
            with pytest.raises(Malformed):
                read(bytes(spoilt))


@pytest.mark.parametrize(
    "changes",
    [
        {"chunks": [["c00000", "d", 2, "a"]]}, {"chunks": [["c00000", "d", -2, "a", "b"]]}, {"chunks": 7},
        {"chunks": [["c00000", "d", 2.5, "a", "b"]]}, {"ignored": -1}, {"ignored": "3"}, {"chunks": [7]},
    ],
)  # fmt: skip
def test_a_plan_that_is_none_is_malformed(changes: dict[str, Any]) -> None:
    for schema in SCHEMAS:
        with pytest.raises(Malformed, match=rf"^plan of run {RUN}: "):
            read_plan(edit(replace(PLAN, schema=schema).to_bytes(), **changes))


@pytest.mark.parametrize("changes", [{"round": 3}, {"round": "2"}, {"manifests": ["a"]}, {"manifests": 7}])
def test_the_plan_of_a_round_that_is_none_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match=rf"^plan of round 2 of run {RUN}: "):
        read_round(edit(ROUND.to_bytes(), **changes))


def test_the_plan_of_another_app_is_refused_with_what_to_do() -> None:
    OWNER.check_same(RUN, replace(OWNER))
    for other in (replace(OWNER, app="other"), replace(OWNER, predictions_url="https://q"), Planner()):
        with pytest.raises(Misconfigured, match="give each app a WORK_CONTAINER of its own"):
            OWNER.check_same(RUN, other)


def test_the_same_values_give_the_same_bytes() -> None:
    shuffled = replace(SECOND_MANIFEST, tasks=dict(reversed(SECOND_MANIFEST.tasks.items())))
    assert shuffled.to_bytes() == SECOND_MANIFEST.to_bytes()
    outcomes = replace(SECOND_REPORT.outcomes, tracebacks={2: "b", 1: "a"})
    ordered = replace(SECOND_REPORT.outcomes, tracebacks={1: "a", 2: "b"})
    assert replace(SECOND_REPORT, outcomes=outcomes).to_bytes() == replace(SECOND_REPORT, outcomes=ordered).to_bytes()


def test_a_manifest_of_nested_readings_needs_a_node_that_reads_them() -> None:
    plain, nested = replace(SECOND_MANIFEST, columns=Columns("TS")), Columns.parse("time=m.ts,features=t.*,step=PT10S")

    assert plain.columns.to_json() == {"time": "TS", "device": "device", "sensor": "sensor", "value": "value"}
    assert b'"step"' not in plain.to_bytes()
    assert b'"needs":["nested"]' in replace(plain, columns=nested).to_bytes()
    assert Manifest.from_bytes(replace(plain, columns=nested).to_bytes()).columns == nested
    assert nested.to_json()["features"] == "t"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("features=t", "expected features=NAME"),
        ("features=*", "expected features=NAME"),
        ("features=.*", "expected features=NAME"),
        ("features=t.*,value=v", "which exclude one another"),
        ("step=10", "expected step=10s"),
        ("step=0s", "expected step=10s"),
        ("step=PT", "expected step=10s"),
        ("step=0.1us", "expected step=10s"),
        ("step=9999999h", "expected step=10s"),
        ("time=a,device=a", "expected different names"),
    ],
)
def test_columns_that_cannot_be_meant_are_refused(text: str, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        Columns.parse(text)


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("10s", Step(10_000_000)),
        ("1.5ms", Step(1500)),
        ("PT1H0M0.25S", Step(3_600_250_000)),
        ("a.b:min", Step(60_000_000, "a.b")),
    ],
)
def test_a_step_is_a_length_or_a_field_with_its_unit(text: str, step: Step) -> None:
    assert Step.parse(text) == step
    assert Step.parse(step.format()) == step
    assert Columns.from_json(Columns.parse(f"step={text}").to_json()) == Columns(step=step)


def test_a_manifest_with_a_step_that_is_none_is_refused_when_it_is_read() -> None:
    data = replace(SECOND_MANIFEST, columns=Columns.parse("step=10s")).to_bytes()
    wrong = edit(data, readings_columns={**Columns().to_json(), "step": "soon"})
    with pytest.raises(Malformed, match="expected step=10s, step=PT10S or step=FIELD:s"):
        Manifest.from_bytes(wrong)

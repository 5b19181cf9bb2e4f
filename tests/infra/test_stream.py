"""How readings come by themselves: what Capture, Stream Analytics and Data Factory write is what runs read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.config import settings
from tests.infra import asaql
from tests.infra.checking import BASE, CASES, deployed
from tests.infra.evaluate import INFRA, Resource
from tests.infra.syntax import Wrong
from tests.infra.test_rights import given

QUERY = (INFRA / "stream.asaql").read_text()
FLOW = (INFRA / "static.dataflow").read_text()
EVENT = ("time", "device", "sensor", "value")
HOUR = datetime(2026, 11, 21, 7, tzinfo=UTC)
MOMENT = {
    "Year": "2026",
    "Month": "11",
    "Day": "21",
    "Hour": "07",
    "Minute": "05",
    "Second": "00",
    "Namespace": "evhns-u1",
    "EventHub": "readings",
    "PartitionId": "3",
}
DEFAULTS = settings.load_settings({"STORAGE": "UseDevelopmentStorage=true", "HEARTBEAT": "0 * * * * *"})


def only(case: Mapping[str, Any], place: str) -> Resource:
    """The one resource of a deployment that stands at a place."""
    (resource,) = [each for each in deployed(case) if each.place == place]
    return resource


def capture(case: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the event hub is told of Capture."""
    return dict(only(case, "stream.bicep hub").body["properties"]["captureDescription"])


def output(case: Mapping[str, Any]) -> Mapping[str, Any]:
    """The output of the Stream Analytics job."""
    (found,) = only(case, "analytics.bicep job").body["properties"]["outputs"]
    return dict(found["properties"])


# Capture


def test_the_files_of_capture_lie_in_the_folders_that_runs_read() -> None:
    form = capture(CASES["batch"])["destination"]["properties"]["archiveNameFormat"]
    assert sorted(re.findall(r"\{(\w+)\}", form)) == sorted(MOMENT)  # all nine, or Event Hubs refuses it
    path = form.format(**MOMENT)
    assert path == "date=2026-11-21/hour=07/evhns-u1-readings-3-05-00"
    assert path.startswith(HOUR.strftime(DEFAULTS.readings_path))


def test_capture_makes_no_empty_files_and_writes_by_the_identity_of_the_namespace() -> None:
    told = capture(CASES["batch"])
    assert (told["enabled"], told["skipEmptyArchives"], told["encoding"]) == (True, True, "Avro")
    assert (told["intervalInSeconds"], told["sizeLimitInBytes"]) == (300, 100 * 2**20)
    assert told["destination"]["identity"] == {"type": "SystemAssigned"}
    assert only(CASES["batch"], "stream.bicep events").body["identity"] == {"type": "SystemAssigned"}


def test_an_event_is_filed_by_capture_or_by_the_job_and_not_by_both() -> None:
    for case in CASES.values():
        if "streaming" in case:
            jobs = [each for each in deployed(case) if each.type == "Microsoft.StreamAnalytics/streamingjobs"]
            assert capture(case)["enabled"] is (case["streaming"] == "capture") is (not jobs)
    assert not [each for each in deployed(BASE) if each.type.startswith("Microsoft.EventHub")]


def test_an_iot_hub_passes_all_that_devices_send_to_the_event_hub() -> None:
    hub = only(CASES["batch"], "stream.bicep iotHub")
    routing = hub.body["properties"]["routing"]
    (endpoint,) = routing["endpoints"]["eventHubs"]
    (route,) = routing["routes"]
    identity = only(CASES["batch"], "stream.bicep devices").id
    assert route["endpointNames"] == [endpoint["name"]]
    assert (route["source"], route["condition"], route["isEnabled"]) == ("DeviceMessages", "true", True)
    assert endpoint["entityPath"] == only(CASES["batch"], "stream.bicep hub").name
    assert (endpoint["authenticationType"], endpoint["identity"]) == (
        "identityBased",
        {"userAssignedIdentity": identity},
    )
    assert [*hub.body["identity"]["userAssignedIdentities"]] == [identity]
    assert hub.body["properties"]["disableLocalAuth"] is True


def test_of_an_iot_hub_the_device_is_who_sent_and_not_what_it_says_of_itself() -> None:
    columns = given(CASES["batch"])["READINGS_COLUMNS"]
    assert columns == "device=SystemProperties.iothub-connection-device-id"
    assert "READINGS_COLUMNS" not in given(CASES["dedicated"])


# Stream Analytics


def test_the_query_has_the_columns_that_runs_expect() -> None:
    steps = asaql.read(QUERY, EVENT)
    columns = DEFAULTS.readings_columns
    assert steps[""].columns == (columns.time, columns.device, columns.sensor, columns.value)
    assert [steps["once"].source, steps[""].source] == ["events", "once"]
    assert steps["once"].timestamp_by == "time"  # the time of the payload, not that of its arrival


def test_the_query_counts_an_event_once_in_the_minute_of_its_time() -> None:
    steps = asaql.read(QUERY, EVENT)
    assert steps["once"].grouped == ("device", "sensor", "time")
    assert steps[""].grouped == ("device", "sensor")
    assert {step.window for step in steps.values()} == {
        "TumblingWindow(Duration(minute,1),Offset(millisecond,-1))"  # else 08:00:00 would be in the minute before it
    }


def test_the_query_reads_and_writes_what_the_job_has() -> None:
    properties = only(CASES["azureml"], "analytics.bicep job").body["properties"]
    steps = asaql.read(properties["transformation"]["properties"]["query"], EVENT)
    assert [each["name"] for each in properties["inputs"]] == [steps["once"].source]
    assert [each["name"] for each in properties["outputs"]] == [steps[""].into]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("AVG([value])", "AVG([heat])", "once has no .'heat'"),
        ("AVG([value])", "[value]", "neither grouped nor aggregated: .'value'"),
        ("    AVG([value]) AS [value]", "    AVG([value])", "a column without a name"),
        ("TRY_CAST", "TRY_CATCH", "no function TRY_CATCH"),
        ("GROUP BY", "ORDER BY", "expected GROUP, got 'ORDER'"),
        ("INTO [readings]\nFROM", "INTO [readings]\nFORM", "expected FROM, got 'FORM'"),
        ("Offset(millisecond, -1))\n)", "Offset(millisecond, -1))\n", "expected ., got 'SELECT'"),
    ],
)
def test_a_query_that_is_wrong_is_refused(old: str, new: str, problem: str) -> None:
    assert old in QUERY
    with pytest.raises(Wrong, match=problem):
        asaql.read(QUERY.replace(old, new), EVENT)


def test_the_job_writes_each_row_in_one_whole_file_of_the_hours_folder() -> None:
    told = output(CASES["azureml"])
    place = told["datasource"]["properties"]
    assert (told["serialization"]["type"], place["blobWriteMode"]) == ("Parquet", "Once")
    assert (place["dateFormat"], place["timeFormat"]) == ("yyyy-MM-dd", "HH")
    path = place["pathPattern"].format(date="2026-11-21", time="07")  # both of them: `Once` asks for it
    assert f"{path}/" == HOUR.strftime(DEFAULTS.readings_path)
    assert told["timeWindow"] == "00:05:00"


def test_late_events_are_left_out_and_never_dated_anew() -> None:
    properties = only(CASES["azureml"], "analytics.bicep job").body["properties"]
    names = ("eventsOutOfOrderPolicy", "eventsLateArrivalMaxDelayInSeconds", "eventsOutOfOrderMaxDelayInSeconds")
    assert [properties[name] for name in names] == ["Drop", 300, 60]
    assert properties["outputErrorPolicy"] == "Stop"


# When runs begin


@pytest.mark.parametrize(
    ("parameters", "schedule"),
    [
        ({}, None),
        ({"streaming": "capture"}, "0 10 * * * *"),
        ({"streaming": "analytics"}, "0 15 * * * *"),
        ({"streaming": "analytics", "lateSeconds": 1200}, "0 30 * * * *"),
        ({"streaming": "analytics", "lateSeconds": 2400, "outOfOrderSeconds": 599}, "0 59 * * * *"),  # and no more
        ({"staticData": "copy"}, "0 45 * * * *"),
        ({"staticData": "copy", "streaming": "capture"}, "0 45 * * * *"),
        ({"staticData": "copy", "streaming": "analytics"}, "0 45 * * * *"),
        ({"staticData": "copy", "streaming": "analytics", "lateSeconds": 2400}, "0 50 * * * *"),  # the last of the two
        ({"streaming": "capture", "settings": {"SCHEDULE": "0 20 * * * *"}}, "0 20 * * * *"),
    ],
)
def test_runs_begin_when_the_files_of_their_hour_are_closed(
    parameters: Mapping[str, Any], schedule: str | None
) -> None:
    assert given(BASE | parameters).get("SCHEDULE") == schedule


# Static data


def test_the_data_flow_has_the_columns_that_runs_expect_and_names_what_it_is_given() -> None:
    columns = DEFAULTS.readings_columns
    (fields,) = re.findall(r"output\(([^)]*)\)", FLOW)
    assert re.findall(r"(\w+) as", fields) == [columns.time, columns.device, columns.sensor, columns.value]
    means = only(CASES["azureml"], "factory.bicep means").body["properties"]["typeProperties"]
    assert means["script"] == FLOW
    streams = {*re.findall(r"~> (\w+)", FLOW)}
    assert streams == {each["name"] for kind in ("sources", "sinks", "transformations") for each in means[kind]}
    assert re.findall(r"^(\w+) sink|^hour@(\w+) sink", FLOW, re.MULTILINE) == [("minutes", ""), ("", "outside")]
    (activity,) = only(CASES["azureml"], "factory.bicep pipeline").body["properties"]["activities"]
    flow = activity["typeProperties"]["dataFlow"]
    assert {*flow["parameters"]} == {*re.findall(r"^\t(\w+) as string[,\n]", FLOW.partition("}")[0], re.MULTILINE)}
    assert {*flow["datasetParameters"]} == {"arrived", "readings", "leftOver"}


@pytest.mark.parametrize("case", ["azureml", "dedicated"])
def test_the_pipeline_files_an_hour_below_the_folder_that_its_run_reads(case: str) -> None:
    (activity,) = only(CASES[case], "factory.bicep pipeline").body["properties"]["activities"]
    folders = (
        activity["typeProperties"]["dataFlow"]["datasetParameters"]["readings"]
        if "dataFlow" in activity["typeProperties"]
        else activity["outputs"][0]["parameters"]
    )
    path = re.sub(
        r"formatDateTime\(pipeline\(\)\.parameters\.start, '([^']*)'\)",
        lambda match: {"yyyy-MM-dd": "'2026-11-21'", "HH": "'07'"}[match[1]],
        folders["folder"]["value"],
    )
    parts = re.fullmatch(r"@concat\((.*)\)", path)
    assert parts
    folder = "".join(part.strip("'") for part in parts[1].split(", "))
    assert folder == f"{HOUR.strftime(DEFAULTS.readings_path)}static"


def test_the_trigger_passes_its_window_and_waits_for_late_files() -> None:
    trigger = only(CASES["dedicated"], "factory.bicep hourly").body["properties"]
    pipeline = only(CASES["dedicated"], "factory.bicep pipeline")
    assert trigger["pipeline"]["pipelineReference"]["referenceName"] == pipeline.name
    assert {*trigger["pipeline"]["parameters"]} == {*pipeline.body["properties"]["parameters"]}
    assert trigger["typeProperties"]["delay"] == "00:15:00"


def test_data_of_another_account_is_read_by_a_right_that_its_owner_gives() -> None:
    case = CASES["dedicated"]
    services = [each for each in deployed(case) if each.place == "factory.bicep services"]
    endpoints = {each.name: each.body["properties"]["typeProperties"]["serviceEndpoint"] for each in services}
    assert endpoints["source"] == case["staticEndpoint"]
    assert endpoints["readings"] == given(case)["STORAGE"]
    assert not [each for each in deployed(case) if each.place in {"factory.bicep static", "factory.bicep factoryReads"}]


# Alerts

# https://learn.microsoft.com/azure/azure-monitor/reference/supported-metrics/metrics-index
METRICS = {
    "Microsoft.EventHub/namespaces": {"CaptureBacklog", "CapturedMessages", "IncomingMessages", "ThrottledRequests"},
    "Microsoft.StreamAnalytics/streamingjobs": {
        *("DeserializationError", "DroppedOrAdjustedEvents", "Errors", "OutputWatermarkDelaySeconds"),
    },
    "Microsoft.Devices/IotHubs": {"d2c.telemetry.egress.dropped"},
    "Microsoft.DataFactory/factories": {"PipelineFailedRuns"},
}


def test_every_way_has_alerts_on_what_waits_and_what_fails() -> None:
    names = {}
    for case in ("azureml", "batch", "dedicated"):
        resources = {each.id: each.type for each in deployed(CASES[case])}
        rules = [each for each in deployed(CASES[case]) if each.type == "Microsoft.Insights/metricAlerts"]
        names[case] = [each.name.removeprefix("fleetscore-") for each in rules]
        for rule in rules:
            (scope,) = rule.body["properties"]["scopes"]
            metrics = {each["metricName"] for each in rule.body["properties"]["criteria"]["allOf"]}
            assert metrics <= METRICS[resources[scope]]
    assert names == {
        "azureml": [
            *("events-refused", "stream-behind", "stream-errors", "stream-unreadable", "stream-late"),
            "static-data-failed",
        ],
        "batch": ["events-refused", "capture-behind", "capture-stopped", "iot-hub-drops"],
        "dedicated": ["events-refused", "capture-behind", "capture-stopped", "static-data-failed"],
    }
    assert not [each for each in deployed(BASE) if each.type == "Microsoft.Insights/metricAlerts"]


@pytest.mark.parametrize(
    ("parameters", "seconds"), [({}, 959), ({"lateSeconds": 2400, "outOfOrderSeconds": 599}, 3598)]
)
def test_a_job_is_behind_when_it_lags_by_more_than_runs_wait_for_it(
    parameters: Mapping[str, Any], seconds: int
) -> None:
    case = BASE | {"streaming": "analytics"} | parameters
    (rule,) = [each for each in deployed(case) if each.name == "fleetscore-stream-behind"]
    (criterion,) = rule.body["properties"]["criteria"]["allOf"]
    assert criterion["threshold"] == seconds
    assert given(case)["SCHEDULE"] == f"0 {seconds // 60} * * * *"


def test_alerts_of_a_stream_reach_whoever_is_named() -> None:
    resources = deployed(CASES["azureml"])
    (group,) = [each.id for each in resources if each.type == "Microsoft.Insights/actionGroups"]
    rules = [each for each in resources if each.place.startswith("stream-alerts.bicep")]
    stopped = rules.pop()
    assert {each["actionGroupId"] for rule in rules for each in rule.body["properties"]["actions"]} == {group}
    assert stopped.body["properties"]["actions"] == {"actionGroups": [{"actionGroupId": group}]}
    assert stopped.body["properties"]["scopes"] == [only(CASES["azureml"], "analytics.bicep job").id]
    silent = [each for each in deployed(CASES["batch"]) if each.place == "stream-alerts.bicep alerts"]
    assert [rule.body["properties"]["actions"] for rule in silent] == [[]] * 4

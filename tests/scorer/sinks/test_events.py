"""Changes of devices reach a receiver as CloudEvents: once by their ids, also after kills and further rounds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scorer.sinks.base import SinkError
from scorer.sinks.events import EventSink, open_event_sink
from shared.contract.errors import Malformed
from shared.contract.publishing.documents import PublicationItem, PublishingManifest
from shared.contract.publishing.sinks import SinkKind, SinkReason
from tests.receiver import Receiver, run_receiver
from tests.scorer.sinks.stage import HOUR_7, HOUR_8, Row, Stage


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with run_receiver() as state:
        yield state


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def make_sink(stage: Stage, receiver: Receiver, **options: str) -> EventSink:
    target = {"url": f"{receiver.url}/events?secret=1", "percent": "50", "runs": "schedule", **options}
    manifest = PublishingManifest(SinkKind.EVENTS, 1, "pumps", "file:///work", (), target)
    return open_event_sink(manifest, stage.work)


def make_rows(device: str, anomalies: int, rows: int = 4) -> list[Row]:
    return [(device, -1.0 if minute < anomalies else 1.0, minute) for minute in range(rows)]


def make_item(
    stage: Stage, now: dict[str, int], before: dict[str, int] | None = None, number: int = 0
) -> PublicationItem:
    """Devices with so many anomalies of four rows, in this window and in the one before."""
    earlier = stage.make_item(HOUR_7, *(make_rows(device, n) for device, n in (before or {}).items()))
    item = stage.make_item(HOUR_8, *(make_rows(device, n) for device, n in now.items()), number=number)
    return replace(item, earlier=earlier.parts if before is not None else (), asked_by="schedule")


def summarize(events: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(event["subject"], event["type"].rpartition(".")[2], event["data"]["revision"]) for event in events]


def test_a_device_that_changes_is_an_event_and_others_are_none(stage: Stage, receiver: Receiver) -> None:
    before = {"a": 0, "b": 4, "c": 0, "d": 2}
    result = make_sink(stage, receiver).publish(make_item(stage, {"a": 2, "b": 1, "c": 1, "d": 4}, before), stage.parts)

    first, second = receiver.list_events()
    assert first == {
        "specversion": "1.0",
        "id": "20261121T0800Z-PT1H/a/",
        "source": "/fleetscore/pumps",
        "type": "fleetscore.device.anomalous",
        "subject": "a",
        "time": "2026-11-21T08:03:00.000Z",
        "datacontenttype": "application/json",
        "revision": 0,
        "data": {
            "device": "a",
            "sensor": None,
            "state": "anomalous",
            "before": "normal",
            "rows": 4,
            "anomalies": 2,
            "run": HOUR_8,
            "revision": 0,
        },
    }
    assert (second["subject"], second["type"]) == ("b", "fleetscore.device.normal")
    assert result.stored == "2 events"
    assert receiver.requests[0].headers["Content-Type"] == "application/cloudevents-batch+json; charset=utf-8"


def test_the_share_of_anomalies_is_a_setting(stage: Stage, receiver: Receiver) -> None:
    make_sink(stage, receiver, percent="75").publish(make_item(stage, {"a": 2, "b": 3}, {"a": 0, "b": 0}), stage.parts)

    assert summarize(receiver.list_events()) == [("b", "anomalous", 0)]


def test_without_a_window_before_the_state_of_each_device_is_the_first(stage: Stage, receiver: Receiver) -> None:
    make_sink(stage, receiver).publish(make_item(stage, {"a": 4, "b": 0}), stage.parts)

    assert summarize(receiver.list_events()) == [("a", "anomalous", 0), ("b", "normal", 0)]
    assert [event["data"]["before"] for event in receiver.list_events()] == [None, None]


def test_a_correction_has_the_same_id_and_the_revision_of_its_publication(stage: Stage, receiver: Receiver) -> None:
    sink = make_sink(stage, receiver)
    sink.publish(replace(make_item(stage, {"a": 4}, {"a": 0}), revision=3), stage.parts)
    correction = make_item(stage, {"a": 0}, {"a": 0})  # it was pruned, and requested again: a round 0 once more

    sink.publish(replace(correction, revision=4), stage.parts)

    events = receiver.list_events()
    assert [event["id"] for event in events] == [f"{HOUR_8}/a/"] * 2
    assert [(event["revision"], event["data"]["revision"]) for event in events] == [(3, 3), (4, 4)]


def test_a_window_before_whose_parts_were_pruned_is_as_none(stage: Stage, receiver: Receiver) -> None:
    item = make_item(stage, {"a": 4}, {"a": 4})
    for entry in item.earlier:
        stage.work.remove(entry.part.path)

    make_sink(stage, receiver).publish(item, stage.parts)

    assert summarize(receiver.list_events()) == [("a", "anomalous", 0)]
    assert receiver.list_events()[0]["data"]["before"] is None


def test_a_second_job_sends_nothing_again(stage: Stage, receiver: Receiver) -> None:
    item = make_item(stage, {"a": 4}, {"a": 0})
    results = [make_sink(stage, receiver).publish(item, stage.parts) for _ in range(2)]

    assert results[0] == results[1]
    assert len(receiver.list_events()) == 1


def test_a_job_that_was_killed_after_it_sent_sends_the_same_ids_again(stage: Stage, receiver: Receiver) -> None:
    item = make_item(stage, {"a": 4}, {"a": 0})
    make_sink(stage, receiver).publish(item, stage.parts)
    stage.work.remove(f"events/{HOUR_8}.json")

    make_sink(stage, receiver).publish(item, stage.parts)

    first, second = receiver.list_events()
    assert first == second


def test_a_further_round_sends_only_devices_that_are_others_now(stage: Stage, receiver: Receiver) -> None:
    before = {"a": 0, "b": 0, "c": 0, "d": 0}
    sink = make_sink(stage, receiver)
    sink.publish(make_item(stage, {"a": 4, "b": 4, "c": 0}, before), stage.parts)
    receiver.requests.clear()

    sink.publish(make_item(stage, {"a": 4, "b": 0, "c": 4, "d": 0}, before, number=1), stage.parts)

    assert summarize(receiver.list_events()) == [("b", "normal", 1), ("c", "anomalous", 1)]
    assert [event["id"] for event in receiver.list_events()] == [f"{HOUR_8}/b/", f"{HOUR_8}/c/"]


def test_a_job_that_was_believed_lost_sends_nothing(stage: Stage, receiver: Receiver) -> None:
    old = make_item(stage, {"a": 4}, {"a": 0})
    make_sink(stage, receiver).publish(make_item(stage, {"a": 0}, {"a": 0}, number=1), stage.parts)

    with pytest.raises(SinkError, match="json has revision 1 of 20261121T0800Z-PT1H, expected") as caught:
        make_sink(stage, receiver).publish(old, stage.parts)

    assert (caught.value.reason, caught.value.ahead, receiver.bodies) == (SinkReason.AHEAD, 1, [])


@pytest.mark.parametrize(("target", "count"), [({}, 0), ({"runs": "all"}, 1)])
def test_runs_that_are_none_of_the_schedule_are_no_news(
    target: dict[str, str], count: int, stage: Stage, receiver: Receiver
) -> None:
    item = replace(make_item(stage, {"a": 4}, {"a": 0}), asked_by="backfill-1")

    make_sink(stage, receiver, **target).publish(item, stage.parts)

    assert len(receiver.list_events()) == count


def test_very_many_changes_end_in_one_event_that_counts_the_rest(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scorer.sinks.events.MOST_EVENTS", 3)
    item = stage.make_item(HOUR_8, [row for index in range(8) for row in make_rows(f"p{index}", 4)])

    result = make_sink(stage, receiver).publish(replace(item, asked_by="schedule"), stage.parts)

    assert result.stored == "4 events"  # and not the eight that are known now
    *events, last = receiver.list_events()
    assert [event["subject"] for event in events] == ["p0", "p1", "p2"]
    assert (last["id"], last["type"], last["data"]) == (
        f"{HOUR_8}/more", "fleetscore.device.more", {"run": HOUR_8, "revision": 0, "more": 5},
    )  # fmt: skip


def test_a_removal_sends_nothing(stage: Stage, receiver: Receiver) -> None:
    item = make_item(stage, {"a": 4}, {"a": 0})

    removal = replace(item, is_removal=True)  # with its parts, which the ledger leaves out
    assert make_sink(stage, receiver).publish(removal, stage.parts).reason is None
    assert receiver.bodies == []


@pytest.mark.parametrize("missing", ["url", "percent", "runs"])
def test_an_option_that_is_missing_is_not_guessed(missing: str, stage: Stage) -> None:
    target = {"url": "https://x.example/", "percent": "50", "runs": "all"}
    del target[missing]
    manifest = PublishingManifest(SinkKind.EVENTS, 7, "pumps", "file:///work", (), target)

    with pytest.raises(Malformed, match=f"expected the option {missing} in the target of events 7, got "):
        open_event_sink(manifest, stage.work)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"percent": "half"}, "expected percent to be a number above 0 and up to 100 .*, got 'half'"),
        ({"percent": "nan"}, "expected percent to be a number above 0 and up to 100 .*, got 'nan'"),
        ({"percent": "0"}, "expected percent to be a number above 0 and up to 100 .*, got '0'"),
        ({"runs": "none"}, "expected runs to be schedule or all in the target of events, got 'none'"),
    ],
)
def test_an_option_of_another_form_is_refused(
    options: dict[str, str], message: str, stage: Stage, receiver: Receiver
) -> None:
    with pytest.raises(Malformed, match=message):
        make_sink(stage, receiver, **options)


def test_what_was_sent_as_an_earlier_version_keeps_it_is_not_sent_again(stage: Stage, receiver: Receiver) -> None:
    item = make_item(stage, {"a": 4, "b": 4}, {"a": 0, "b": 0}, number=1)
    kept = {"form": 1, "version": 0, "digest": "", "sent": {f"{HOUR_8}/a/": ["anomalous", "normal"]}}
    stage.work.write(f"events/{HOUR_8}.json", json.dumps(kept).encode())

    result = make_sink(stage, receiver).publish(item, stage.parts)

    assert summarize(receiver.list_events()) == [("b", "anomalous", 1)]
    assert result.stored == "2 events"


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ('{"form": 3, "sent": {}}', "expected form 1 or 2, got 3: another version of fleetscore wrote it"),
        ('{"form": 2}', "expected what was sent, got KeyError: 'version'"),
        ("[]", "expected what was sent, got TypeError"),
        ("{", "expected what was sent, got JSONDecodeError"),
    ],
)
def test_a_record_of_another_form_is_refused_and_nothing_is_sent(
    kept: str, message: str, stage: Stage, receiver: Receiver
) -> None:
    stage.work.write(f"events/{HOUR_8}.json", kept.encode())

    with pytest.raises(Malformed, match=f"^events/{HOUR_8}.json: {message}"):
        make_sink(stage, receiver).publish(make_item(stage, {"a": 4}, {"a": 0}), stage.parts)

    assert receiver.requests == []

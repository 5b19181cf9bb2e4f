"""The first tick settles what the settings leave open before it opens a run, and plans are written with it."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from shared.adapters.memory import MemoryBlobs, MemoryCluster, MemoryLedger, MemoryStopwatch
from shared.adapters.memory_sinks import MemoryNotifier, MemorySinkLedger
from shared.api.run_views import make_health
from shared.contract import paths
from shared.contract.errors import Unavailable
from shared.contract.manifest import Manifest
from shared.contract.scoring_options import Features, ReadingOptions, ScoringOptions
from shared.contract.windows import Window
from shared.control.defaults import settle_defaults
from shared.control.loop import ControlPlane
from shared.control.options import ControlOptions
from shared.planning.plan_writer import PlanOptions, read_plan
from shared.state.requests import Request, RequestKind
from shared.state.runs import Heartbeat, Phase, Run

T = TypeVar("T")

NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
WINDOW = "20261121T1100Z-PT1H"
EARLIER = Run(Window.parse("20261121T1000Z-PT1H"), Phase.SUCCEEDED, NOW, ended_at=NOW, models=1)


class Deployment:
    """An app that ticks, and whose cluster runs nothing."""

    def __init__(self, *earlier: Run) -> None:
        self.ledger, self.work = MemoryLedger(), MemoryBlobs("memory://work")
        self.models = MemoryBlobs("memory://models")
        self.models.write("a.skops", b"a model")
        for run in earlier:
            self.ledger.add_run(run)

    def host(self, setting: int | None) -> ControlPlane:
        return ControlPlane(
            ledger=self.ledger,
            cluster=MemoryCluster(),
            models=self.models,
            readings=MemoryBlobs("memory://readings"),
            work=self.work,
            predictions=MemoryBlobs("memory://predictions"),
            stopwatch=MemoryStopwatch(),
            sinks=MemorySinkLedger(),
            notifier=MemoryNotifier(),
            options=ControlOptions(planning=PlanOptions(predictions_schema=setting)),
        )

    def note_nodes(self) -> None:
        """A node has reported that it reads schema 2 of the contract: a plan of schema 1 knows no other predictions."""
        self.ledger.save_heartbeat(replace(self.ledger.read_heartbeat(), node_schema=2))

    def read_manifests(self, window: str = WINDOW) -> list[Manifest]:
        """The manifests of a run."""
        chunks = read_plan(self.work, self.ledger.read_run(window), 0, NOW).chunks
        documents = [self.work.read(paths.manifest_path(window, chunk.manifest)) for chunk in chunks]
        return [Manifest.from_bytes(data) for data in documents]

    def read_schemas(self, window: str = WINDOW) -> list[int]:
        """The schema of predictions that each manifest of a run names."""
        return [manifest.predictions_schema for manifest in self.read_manifests(window)]


@pytest.mark.parametrize(
    ("earlier", "setting", "schema"),
    [([], None, 2), ([], 1, 1), ([EARLIER], None, 1), ([EARLIER], 2, 2)],
)
def test_the_first_plan_has_the_schema_that_is_decided_and_stored(
    earlier: list[Run], setting: int | None, schema: int
) -> None:
    deployment = Deployment(*earlier)
    deployment.note_nodes()

    deployment.host(setting).tick(NOW)

    assert deployment.read_schemas() == [schema]
    assert deployment.ledger.read_heartbeat().predictions_schema == schema


def test_while_no_node_has_reported_a_deployment_of_before_writes_schema_1_whatever_is_set() -> None:
    deployment = Deployment(EARLIER)
    deployment.host(2).tick(NOW)
    assert deployment.read_schemas() == [1]
    assert deployment.ledger.read_heartbeat().predictions_schema == 2


def test_the_decision_stays_until_a_person_makes_another() -> None:
    deployment = Deployment(EARLIER)
    deployment.note_nodes()
    for hour, (setting, schema) in enumerate([(None, 1), (None, 1), (2, 2), (None, 2), (1, 1), (None, 1)]):
        window = Window.parse(f"20261120T{hour:02}00Z-PT1H")
        deployment.ledger.add_request(Request(RequestKind.RUN, window.id, NOW))
        host = deployment.host(setting)
        host = replace(host, options=replace(host.options, max_open_runs=10))
        host.tick(NOW + timedelta(minutes=hour))
        assert deployment.read_schemas(window.id) == [schema]
        assert host.services.ledger.read_heartbeat().predictions_schema == schema


class Dying(MemoryLedger):
    """A ledger that ends the tick after a number of calls took effect."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.left = limit

    def save_heartbeat(self, beat: Heartbeat) -> Heartbeat:
        return self._count(super().save_heartbeat(beat))

    def add_run(self, run: Run) -> bool:
        return self._count(super().add_run(run))

    def save_run(self, run: Run) -> Run:
        return self._count(super().save_run(run))

    def _count(self, result: T) -> T:
        self.left -= 1
        if self.left == 0:
            raise Unavailable("the tick was killed")
        return result


@pytest.mark.parametrize("limit", range(1, 7))
def test_a_first_tick_that_was_killed_leaves_no_run_that_looks_like_one_from_before(limit: int) -> None:
    deployment = Deployment()
    deployment.ledger = Dying(limit)

    for _ in range(3):
        with suppress(Unavailable):
            deployment.host(None).tick(NOW)

    assert deployment.read_schemas() == [2]


def test_a_heartbeat_of_a_version_from_before_is_history_enough() -> None:
    ledger = MemoryLedger()
    ledger.save_heartbeat(Heartbeat(watermark=NOW))  # its runs are pruned; its predictions stay

    assert settle_defaults(ledger, None).predictions_schema == 1


def test_the_change_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shared.control.defaults")
    ledger = MemoryLedger()
    for setting in (None, None, 1, 1):
        settle_defaults(ledger, setting)

    assert [record.getMessage() for record in caplog.records] == [
        "predictions are written in schema 2",
        "predictions are written in schema 1, as PREDICTIONS_SCHEMA says",
    ]


def test_another_host_that_ticks_at_the_same_time_is_no_trouble() -> None:
    class Contended(MemoryLedger):
        def read_heartbeat(self) -> Heartbeat:
            beat = super().read_heartbeat()
            super().save_heartbeat(replace(beat, ticked_at=NOW))  # the other host, between the two calls
            return beat

    assert settle_defaults(Contended(), None).predictions_schema == 2


# The order of features


@pytest.mark.parametrize(
    ("earlier", "setting", "order"),
    [
        ([], "", "refused"),
        ([], "as-in-file", "as-in-file"),
        ([EARLIER], "", "assumed"),
        ([EARLIER], "as-in-file", "as-in-file"),
        ([EARLIER], "heat,noise", "heat,noise"),
    ],
)
def test_models_without_names_take_the_order_of_the_files_only_where_that_is_set_or_was_always_so(
    earlier: list[Run], setting: str, order: str
) -> None:
    deployment = Deployment(*earlier)
    host = choose_features(deployment.host(None), setting)

    host.tick(NOW)

    (manifest,) = deployment.read_manifests()
    assert manifest.policy.readings.features.describe_order() == order
    health = make_health(deployment.ledger.read_heartbeat(), NOW, NOW, None, host.options)
    assert health.features == order


def choose_features(host: ControlPlane, setting: str) -> ControlPlane:
    """The host with FEATURES set so."""
    scoring = ScoringOptions(ReadingOptions(features=Features.parse(setting)))
    return replace(host, options=replace(host.options, planning=replace(host.options.planning, scoring=scoring)))


def test_a_deployment_of_before_says_once_that_it_assumes_the_order_and_keeps_to_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "shared.control.defaults")
    deployment = Deployment(EARLIER)
    for hour, (setting, order) in enumerate([("", "assumed"), ("as-in-file", "as-in-file"), ("", "assumed")]):
        window = Window.parse(f"20261120T{hour:02}00Z-PT1H")
        deployment.ledger.add_request(Request(RequestKind.RUN, window.id, NOW))
        host = choose_features(deployment.host(1), setting)
        replace(host, options=replace(host.options, max_open_runs=10)).tick(NOW + timedelta(minutes=hour))
        (manifest,) = deployment.read_manifests(window.id)
        assert manifest.policy.readings.features.describe_order() == order

    lines = [record.getMessage() for record in caplog.records if "feature names" in record.getMessage()]
    assert lines == [
        "models without feature names take the order of the files' columns while FEATURES is unset, as before"
    ]


def test_a_new_deployment_does_not_assume_an_order_when_it_has_runs_later() -> None:
    ledger = MemoryLedger()
    assert settle_defaults(ledger, None).assumes_features is False
    ledger.add_run(EARLIER)
    assert settle_defaults(ledger, None).assumes_features is False

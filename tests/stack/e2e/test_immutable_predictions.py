"""Whole runs whose predictions an immutability policy or a legal hold protects, as Azure would."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from local.dask import LocalDask
from shared.api.auth import Authorizer
from shared.contract.paths import prediction_path
from shared.contract.reasons import Reason
from shared.contract.windows import Window
from shared.control.loop import ControlPlane
from shared.state.requests import Request, RequestKind
from shared.state.runs import Phase, Run
from tests.shared.api.served import Client
from tests.stack.e2e.fleets import HOUR, give_models, give_readings
from tests.stack.e2e.place import Place, over, tick_until
from tests.stack.immutable import Policies, Protection, guard_storage

NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
RUN = "20261121T1100Z-PT1H"
DEVICES = ("fan1", "fan2", "pump1", "pump2")  # two chunks


@dataclass
class Guarded:
    """A fleetscore whose storage has policies."""

    place: Place
    policies: Policies
    plane: ControlPlane
    began: float = field(default_factory=time.monotonic)

    def run(self, kind: RequestKind | None = None) -> Run:
        """Tick until the run is over, as it is due or as a person requests it."""
        if kind:
            self.plane.ledger.add_request(Request(kind, RUN, self.move(NOW)))
            self.plane.tick(self.move(NOW))
        tick_until(self.plane, NOW, over(self.plane, RUN), self.move)
        return self.plane.ledger.read_run(RUN)

    def move(self, now: datetime) -> datetime:
        return now + timedelta(seconds=time.monotonic() - self.began)

    def protect(self, protection: Protection, name: str = "") -> None:
        container = self.place.environment["PREDICTIONS_CONTAINER"]
        self.policies.protected[f"{container}/{name}" if name else container] = protection

    def read_etags(self) -> Mapping[str, set[str]]:
        """By device: the etags of the models that its rows are of."""
        rows = self.place.rows()
        return {str(device): set(own["model"]) for device, own in rows.groupby("device", observed=True)}

    def list_model_etags(self) -> Mapping[str, set[str]]:
        """By device: the etag of its model now."""
        models = self.place.container("models").list_blobs()
        return {blob.name.partition(".")[0]: {blob.etag.strip('"')} for blob in models}


@pytest.fixture
def guarded(place: Place, nodes: LocalDask) -> Iterator[Guarded]:
    give_models(place, DEVICES, pickled=True)
    give_readings(place, DEVICES, NOW.replace(minute=0) - HOUR)
    policies = Policies(place.service)
    with guard_storage(place.environment["STORAGE"], policies) as storage:
        options = {"DASK_SCHEDULER": nodes.address, "CHUNK_SIZE": "2", "MAX_RETRIES": "20", "MAX_LOSSES": "20"}
        yield Guarded(place, policies, place.plane(STORAGE=storage, **options))


def name_file(chunk: int) -> str:
    return prediction_path(Window.parse(RUN), f"c{chunk:05}", 0)


def test_a_reprocess_that_may_not_replace_a_file_is_partial_and_says_what_protects_it(guarded: Guarded) -> None:
    assert guarded.run().phase is Phase.SUCCEEDED
    before = guarded.list_model_etags()
    assert guarded.read_etags() == before
    give_models(guarded.place, DEVICES, pickled=True)  # the same models, with other etags
    after = guarded.list_model_etags()
    guarded.protect(Protection.LEGAL_HOLD, name_file(0))

    run = guarded.run(RequestKind.REPROCESS)

    assert (run.phase, run.reason, run.tally.scored) == (Phase.PARTIAL, Reason.COMMIT_CONFLICT, 4)
    kept = "1 of 2 chunks keep the result of an earlier round; c00000: "
    assert run.message == f"{kept}{name_file(0)} is protected by a legal hold (BlobImmutableDueToLegalHold)"
    assert guarded.read_etags() == {d: (before if d.startswith("fan") else after)[d] for d in DEVICES}
    answer = Client(guarded.plane.services, Authorizer(), lambda: NOW).get(f"/api/runs/{RUN}").json()
    assert (answer["reason"], answer["message"]) == ("commit_conflict", run.message)
    assert answer["advice"] == Reason.COMMIT_CONFLICT.advice
    guarded.policies.protected.clear()
    assert guarded.run(RequestKind.REPROCESS).phase is Phase.SUCCEEDED
    assert guarded.read_etags() == after


def test_in_a_container_with_a_policy_each_hour_is_written_once_and_no_round_replaces_it(guarded: Guarded) -> None:
    guarded.protect(Protection.POLICY)
    assert guarded.run().phase is Phase.SUCCEEDED
    assert guarded.policies.refused == []
    before = guarded.list_model_etags()
    give_models(guarded.place, DEVICES, pickled=True)
    run = guarded.run(RequestKind.REPROCESS)
    assert (run.phase, run.reason) == (Phase.PARTIAL, Reason.COMMIT_CONFLICT)
    assert run.message.startswith(f"2 of 2 chunks keep the result of an earlier round; c00000: {name_file(0)} is")
    assert guarded.read_etags() == before


def test_an_immutable_file_of_somebody_else_fails_its_chunk_alone(guarded: Guarded) -> None:
    container, held = guarded.place.container("predictions"), name_file(0)
    container.upload_blob(held, b"somebody else's")
    guarded.protect(Protection.POLICY, held)

    run = guarded.run()

    assert (run.phase, run.tally.scored, run.tally.failed) == (Phase.PARTIAL, 2, 2)
    failed, committed = guarded.plane.ledger.list_chunks(RUN)
    assert (failed.reason, committed.reason) == (Reason.COMMIT_CONFLICT, None)
    assert failed.message == f"{held} is protected by an immutability policy (BlobImmutableDueToPolicy)"
    assert container.download_blob(held).readall() == b"somebody else's"
    guarded.policies.protected.clear()
    container.delete_blob(held)
    assert guarded.run(RequestKind.REDRIVE).phase is Phase.SUCCEEDED
    assert guarded.read_etags() == guarded.list_model_etags()

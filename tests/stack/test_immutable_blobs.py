"""Immutability policies and legal holds, answered as Azure does, behind the real SDKs of the app and of nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from local.azurite import Azurite
from shared.adapters.azure.blobs import AzureBlobs
from shared.adapters.memory import MemoryCluster, MemoryLedger
from shared.adapters.memory_sinks import MemorySinkLedger
from shared.contract.domain import Part, Tally
from shared.contract.errors import Conflict, FleetError, Protected
from shared.contract.paths import prediction_path
from shared.contract.windows import Window
from shared.control.commit import copy_parts, has_earlier_parts
from shared.control.maintenance import prune_runs
from shared.control.options import ControlOptions
from shared.control.sinks.publisher import Publisher
from shared.state.runs import Chunk, Phase, Result, Run
from tests.scorer.commands.test_upgrade_predictions import fill, name, upgrade
from tests.stack.immutable import Policies, Protection, guard_storage


@dataclass(frozen=True, slots=True)
class Account:
    """An account with policies, and two containers in it."""

    policies: Policies
    storage: str
    work: AzureBlobs
    predictions: AzureBlobs

    def protect(self, protection: Protection, name: str = "") -> None:
        container = self.predictions.url.rpartition("/")[2]
        self.policies.protected[f"{container}/{name}" if name else container] = protection


@pytest.fixture(params=[False, True], ids=["policy-first", "conditions-first"])
def account(request: pytest.FixtureRequest, azurite: Azurite, fresh_name: str) -> Iterator[Account]:
    with ExitStack() as stack:
        service = stack.enter_context(
            BlobServiceClient.from_connection_string(azurite.connection_string, api_version="2025-01-05")
        )
        policies = Policies(service, conditions_first=request.param)
        storage = stack.enter_context(guard_storage(azurite.connection_string, policies))
        containers = [AzureBlobs(storage, f"{fresh_name}-{name}") for name in ("work", "predictions")]
        for container in containers:
            container.ensure_container()
        yield Account(policies, storage, *containers)


WORDS = {
    Protection.POLICY: "an immutability policy (BlobImmutableDueToPolicy)",
    Protection.LEGAL_HOLD: "a legal hold (BlobImmutableDueToLegalHold)",
    Protection.EXPIRED_POLICY: "an immutability policy (BlobImmutableDueToPolicy)",
}
SAID = {
    Protection.POLICY: "This operation is not permitted as the blob is immutable due to a policy.",
    Protection.LEGAL_HOLD: "This operation is not permitted as the blob is immutable due to one or more legal holds.",
}


@pytest.mark.parametrize("protection", [Protection.POLICY, Protection.LEGAL_HOLD])
@pytest.mark.parametrize("name", ["", "a b/ü#1.parquet"])  # the whole container, or one blob
def test_an_immutable_blob_is_neither_replaced_nor_deleted_and_what_protects_it_is_named(
    account: Account, protection: Protection, name: str
) -> None:
    work, predictions, blob = account.work, account.predictions, "a b/ü#1.parquet"
    work.create("part", b"new")
    predictions.create(blob, b"old")
    etag = predictions.read_properties(blob).etag
    account.protect(protection, name)
    attempts: list[Callable[[], object]] = [
        lambda: predictions.delete(blob),
        lambda: predictions.delete(blob, etag),
        lambda: predictions.copy(work, "part", blob, replaces=etag),
    ]
    for attempt in attempts:
        with pytest.raises(Protected) as caught:
            attempt()
        assert caught.value.protection == WORDS[protection]
        assert str(caught.value).endswith(f"/{blob}: 409 {protection}: {SAID[protection]}")
    assert len(account.policies.refused) == len(attempts)  # no call was tried again
    assert (predictions.read(blob), predictions.read_properties(blob).etag) == (b"old", etag)
    assert predictions.create(blob, b"new") is False
    account.policies.protected.clear()
    assert predictions.copy(work, "part", blob, replaces=etag).size == 3
    predictions.delete(blob)
    assert list(predictions.list_blobs()) == []


def test_in_a_container_with_a_policy_blobs_are_created_and_copied_to_new_names(account: Account) -> None:
    account.work.create("part", b"new")
    account.protect(Protection.POLICY)
    assert account.predictions.create("a", b"1") is True
    assert account.predictions.copy(account.work, "part", "b", replaces=None).size == 3
    assert [blob.name for blob in account.predictions.list_blobs()] == ["a", "b"]
    assert account.policies.refused == []


def test_a_late_call_on_an_immutable_blob_changes_nothing_whichever_answer_comes_first(account: Account) -> None:
    account.work.create("part", b"new")
    account.predictions.create("a", b"old")
    account.protect(Protection.POLICY)
    late: list[Callable[[], object]] = [
        lambda: account.predictions.copy(account.work, "part", "a", replaces="0x8DE000000000000"),
        lambda: account.predictions.copy(account.work, "part", "a", replaces=None),
    ]
    for call in late:
        with pytest.raises(Conflict) as caught:
            call()
        assert isinstance(caught.value, Protected) is not account.policies.conditions_first
    with suppress(Protected):
        account.predictions.delete("a", "0x8DE000000000000")
    assert account.predictions.read("a") == b"old"


def test_blobs_of_an_expired_policy_are_deleted_and_not_overwritten(account: Account) -> None:
    account.work.create("part", b"new")
    account.predictions.create("a", b"old")
    account.protect(Protection.EXPIRED_POLICY)
    with pytest.raises(Protected, match="BlobImmutableDueToPolicy"):
        account.predictions.copy(account.work, "part", "a", replaces=account.predictions.read_properties("a").etag)
    account.predictions.delete("a")
    assert list(account.predictions.list_blobs()) == []


def test_any_error_of_an_immutable_blob_is_one_of_ours(account: Account) -> None:
    account.predictions.create("a", b"old")
    account.protect(Protection.LEGAL_HOLD)
    with pytest.raises(FleetError, match=r"^http://127.*/a: 409 BlobImmutableDueToLegalHold: This"):
        account.predictions.delete("a")


# What the app does with them

WINDOW = Window.parse("20261121T1100Z-PT1H")
NAME = prediction_path(WINDOW, "c00000", 0)


def make_chunk(account: Account, *contents: bytes, committed: Result | None = None) -> Chunk:
    """A chunk whose chosen parts have these contents."""
    parts = []
    for index, content in enumerate(contents):
        path = f"results/{committed is None}-{index}"
        account.work.create(path, content)
        parts.append(Part(path, len(content), account.work.read_properties(path).md5, 1))
    return Chunk(
        WINDOW.id, "c00000", "digest", 1, "a", "a", chosen=Result(1, tuple(parts), Tally(scored=1)), committed=committed
    )


def commit(account: Account, *contents: bytes) -> Result:
    """A result of an earlier round."""
    chunk = make_chunk(account, *contents)
    assert chunk.chosen
    return replace(chunk.chosen, parts=copy_parts(account.work, account.predictions, WINDOW, chunk))


def test_a_copy_of_ours_that_became_immutable_before_it_was_recorded_is_taken_for_what_it_is(account: Account) -> None:
    chunk = make_chunk(account, b"rows")
    account.protect(Protection.POLICY)
    copies = copy_parts(account.work, account.predictions, WINDOW, chunk)  # killed before it was recorded
    assert copy_parts(account.work, account.predictions, WINDOW, chunk) == copies


@pytest.mark.parametrize("before", [(b"old",), (b"old", b"older")])
def test_a_result_that_is_immutable_is_kept_and_what_protects_it_is_named(
    account: Account, before: tuple[bytes, ...]
) -> None:
    committed = commit(account, *before)
    held = prediction_path(WINDOW, "c00000", len(before) - 1)
    account.protect(Protection.LEGAL_HOLD, held)
    chunk = make_chunk(account, b"new", committed=committed)
    for _ in range(2):
        with pytest.raises(Protected) as caught:
            copy_parts(account.work, account.predictions, WINDOW, chunk)
        assert str(caught.value) == f"{held} is protected by {WORDS[Protection.LEGAL_HOLD]}"
    assert account.predictions.read(held) == before[-1]
    assert has_earlier_parts(account.work, account.predictions, WINDOW, chunk) is (len(before) == 1)
    account.policies.protected.clear()
    copy_parts(account.work, account.predictions, WINDOW, chunk)
    assert [account.predictions.read(blob.name) for blob in account.predictions.list_blobs()] == [b"new"]


def test_an_immutable_file_of_somebody_else_is_told_as_foreign_or_as_protected(account: Account) -> None:
    account.predictions.create(NAME, b"somebody else's")
    account.protect(Protection.POLICY)
    chunk = make_chunk(account, b"new")
    with pytest.raises(FleetError) as caught:
        copy_parts(account.work, account.predictions, WINDOW, chunk)
    foreign = f"{account.predictions.url}/{NAME} is not ours: expected 3 bytes with MD5"
    protected = f"{NAME} is protected by {WORDS[Protection.POLICY]}"
    assert str(caught.value).startswith(foreign if account.policies.conditions_first else protected)
    assert account.predictions.read(NAME) == b"somebody else's"


@pytest.mark.parametrize("protection", [Protection.POLICY, Protection.LEGAL_HOLD])
def test_pruning_leaves_a_run_whose_predictions_are_immutable_and_goes_on_with_the_others(
    account: Account, protection: Protection, caplog: pytest.LogCaptureFixture
) -> None:
    ledger, ended = MemoryLedger(), WINDOW.end
    windows = [Window(WINDOW.start - hours * WINDOW.length, WINDOW.length) for hours in range(3)]
    held = [prediction_path(window, "c00000", 0) for window in windows][1]
    for window in windows:
        ledger.add_run(Run(window, Phase.SUCCEEDED, ended, ended_at=ended))
        account.work.create(f"runs/{window.id}/plan.json", b"{}")
        account.predictions.create(prediction_path(window, "c00000", 0), b"rows")
    account.protect(protection, held)
    options = ControlOptions(keep_runs=timedelta(days=1), prune_predictions=True)
    publisher = Publisher(ledger, MemorySinkLedger(), MemoryCluster(), account.work, options)
    now = ended + timedelta(days=3)

    assert prune_runs(ledger, account.work, account.predictions, publisher, now, lambda: True)

    assert [run.window for run in ledger.list_runs(9).items] == [windows[1]]
    assert [blob.name for blob in account.predictions.list_blobs()] == [held]
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    url = account.predictions.url
    assert warning == f"run={windows[1].id} is not pruned: {url}/{held}: 409 {protection}: {SAID[protection]}"
    account.policies.protected.clear()
    assert prune_runs(ledger, account.work, account.predictions, publisher, now, lambda: True)
    assert (ledger.list_runs(9).items, list(account.predictions.list_blobs())) == ((), [])


@pytest.mark.parametrize("protection", [Protection.POLICY, Protection.LEGAL_HOLD, None])
def test_an_upgrade_refuses_what_is_protected_and_rewrites_the_others(
    account: Account,
    protection: Protection | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STORAGE", account.storage)
    files = fill(tmp_path)
    for path, data in files.items():
        account.predictions.create(path, data)
    container = account.predictions.url.rpartition("/")[2]
    blob = account.policies.service.get_blob_client(container, name(8))
    if protection:
        account.protect(protection, name(8))
    else:
        lease = blob.acquire_lease()
    assert upgrade(account.predictions.url) == 1
    refused, summary = capsys.readouterr().out.splitlines()
    words = WORDS[protection] if protection else "a lease (LeaseIdMissing)"
    assert refused == f"refused: {name(8)}: it is protected by {words}"
    assert summary.startswith("2 files upgraded, 1 were of schema 2, 1 refused, 0 changed meanwhile")
    assert account.predictions.read(name(8)) == files[name(8)]
    account.policies.protected.clear()
    if not protection:
        lease.release()
    assert upgrade(account.predictions.url) == 0
    assert capsys.readouterr().out.startswith("1 files upgraded, 3 were of schema 2, 0 refused, 0 changed")

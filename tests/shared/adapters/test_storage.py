"""What Azure's storage errors become, the account that a setting names, and how long anybody waits for either."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
)

from local.azurite import ACCOUNT_KEY
from shared.adapters.azure.auth import make_default_credential
from shared.adapters.azure.blobs import AzureBlobs
from shared.adapters.azure.storage import Account, translate_errors
from shared.adapters.azure.tables import TableLedger
from shared.adapters.memory import MemoryBlobs
from shared.contract.errors import Conflict, FleetError, Malformed, Misconfigured, NotFound, Protected, Unavailable
from shared.state.requests import Request, RequestKind
from shared.state.runs import Heartbeat


@dataclass(frozen=True)
class Answer:
    """What a service answers, as far as an error of Azure's looks at it."""

    status_code: int
    code: str = "SomeCode"
    reason: str = "Some reason"
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> Mapping[str, str]:
        return {"x-ms-error-code": self.code, **self.more}

    def text(self) -> str:
        return ""


def translate(error: AzureError) -> FleetError:
    with pytest.raises(FleetError) as caught, translate_errors("https://account/models"):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "InvalidInput", Malformed),
        (401, "NoAuthenticationInformation", Unavailable),
        (403, "AuthorizationPermissionMismatch", Unavailable),
        (404, "BlobNotFound", NotFound),
        (404, "TableNotFound", NotFound),
        (408, "OperationTimedOut", Unavailable),
        (409, "BlobAlreadyExists", Conflict),
        (409, "ContainerBeingDeleted", Unavailable),
        (409, "TableBeingDeleted", Unavailable),
        (409, "CannotVerifyCopySource", Unavailable),
        (409, "BlobImmutableDueToLegalHold", Protected),
        (409, "BlobImmutableDueToPolicy", Protected),
        (412, "ConditionNotMet", Conflict),
        (412, "LeaseIdMissing", Protected),
        (412, "LeaseIdMismatchWithBlobOperation", Protected),
        (413, "RequestBodyTooLarge", Malformed),
        (429, "TooManyRequests", Unavailable),
        (500, "InternalError", Unavailable),
        (503, "ServerBusy", Unavailable),
    ],
)
def test_an_answer_is_sorted_by_what_the_caller_should_do(status: int, code: str, expected: type[FleetError]) -> None:
    error = translate(HttpResponseError("No.", response=Answer(status, code)))
    assert type(error) is expected
    assert str(error).startswith(f"https://account/models: {status} {code}: No.")


@pytest.mark.parametrize(
    ("status", "code", "protection"),
    [
        (409, "BlobImmutableDueToLegalHold", "a legal hold (BlobImmutableDueToLegalHold)"),
        (409, "BlobImmutableDueToPolicy", "an immutability policy (BlobImmutableDueToPolicy)"),
        (412, "LeaseIdMissing", "a lease (LeaseIdMissing)"),
    ],
)
def test_what_protects_a_blob_is_named(status: int, code: str, protection: str) -> None:
    error = translate(HttpResponseError("No.", response=Answer(status, code)))
    assert isinstance(error, Protected)
    assert error.protection == protection


@pytest.mark.parametrize("status", [400, 403, 404, 409, 502])
def test_an_answer_that_is_not_of_azure_storage_says_nothing_of_what_lies_there(status: int) -> None:
    error = translate(HttpResponseError("Not here.", response=Answer(status, code="")))
    assert type(error) is Unavailable
    assert f"{status} no code of Azure Storage's: Not here." in str(error)


@pytest.mark.parametrize(
    ("header", "expected"), [({"Retry-After": "7"}, 7.0), ({}, None), ({"Retry-After": "?"}, None)]
)
def test_a_busy_server_says_when_to_come_back(header: Mapping[str, str], expected: float | None) -> None:
    error = translate(HttpResponseError(response=Answer(503, "ServerBusy", more=header)))
    assert isinstance(error, Unavailable)
    assert error.retry_after == expected


def test_who_is_refused_is_told_which_roles_are_missing() -> None:
    error = translate(ClientAuthenticationError("No.", response=Answer(403, "AuthorizationPermissionMismatch")))
    assert "Storage Blob Data Contributor and Storage Table Data Contributor" in str(error)


def test_who_has_no_identity_is_told_to_get_one() -> None:
    error = translate(ClientAuthenticationError("DefaultAzureCredential failed"))
    assert isinstance(error, Unavailable)
    assert "DefaultAzureCredential failed Give the app a managed identity, or sign in with `az login`." in str(error)


def test_an_answer_that_cannot_be_read_is_malformed_and_one_that_broke_off_is_not() -> None:
    assert type(translate(DecodeError("XML is invalid", response=Answer(200)))) is Malformed
    assert type(translate(IncompleteReadError("17 bytes short", response=Answer(200)))) is Unavailable


@pytest.mark.parametrize("kind", [ServiceRequestError, ServiceResponseError])
def test_silence_is_unavailable_and_a_signature_in_a_url_is_not_repeated(kind: type[AzureError]) -> None:
    said = (
        "HTTPConnectionPool(host='account', port=443): Max retries exceeded with url: /models?sv=1&sig=SECRET (refused)"
    )
    error = translate(kind(said))
    assert type(error) is Unavailable
    assert str(error) == (
        "https://account/models did not answer: "
        "HTTPConnectionPool(host='account', port=443): Max retries exceeded with url: /models (refused)"
    )


@pytest.mark.parametrize(
    ("setting", "blob", "table"),
    [
        (
            "https://pumps.blob.core.windows.net",
            "https://pumps.blob.core.windows.net",
            "https://pumps.table.core.windows.net",
        ),
        (
            "https://pumps.blob.core.chinacloudapi.cn/",
            "https://pumps.blob.core.chinacloudapi.cn/",
            "https://pumps.table.core.chinacloudapi.cn/",
        ),
    ],
)
def test_the_url_of_an_account_gives_both_endpoints_and_one_credential(setting: str, blob: str, table: str) -> None:
    account = Account(setting)
    blobs, tables = account.get_connection("blob"), account.get_connection("table")
    assert blobs is not None
    assert tables is not None
    assert (blobs[0], tables[0], blobs[1] is tables[1]) == (blob, table, True)


@pytest.mark.parametrize("setting", ["UseDevelopmentStorage=true", "AccountName=a;AccountKey=c2VjcmV0"])
def test_a_connection_string_holds_all_and_is_never_shown(setting: str) -> None:
    assert Account(setting).get_connection("blob") is None
    assert repr(Account(setting)) == "Account(a connection string)"


@pytest.mark.parametrize("setting", ["", "pumps", "http://pumps.blob.core.windows.net", "https://pumps.example.com/x"])
def test_what_names_no_account_is_refused(setting: str) -> None:
    with pytest.raises(Misconfigured, match=f"expected a storage account .* got {len(setting)} characters"):
        Account(setting)


class Busy(BaseHTTPRequestHandler):
    """Answers whatever is asked: come back in an hour."""

    protocol_version = "HTTP/1.1"
    asked: list[str]  # by whom a server is made
    status: int

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append(self.command)
        self.send_response(self.status)
        self.send_header("x-ms-error-code", "ServerBusy")
        self.send_header("Retry-After", "3600")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815  # so they are called there

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # so it is called there
        """Print nothing."""


@dataclass(frozen=True, slots=True)
class BusyServer:
    """A server that wants to be left alone, and all the waits that somebody took upon himself for its sake."""

    url: str
    asked: list[str]
    waits: list[float]

    @property
    def connection_string(self) -> str:
        place = f"{self.url}/devstoreaccount1"
        account = f"AccountName=devstoreaccount1;AccountKey={ACCOUNT_KEY}"
        return f"{account};BlobEndpoint={place};TableEndpoint={place}"


@pytest.fixture(params=[429, 500, 503])
def busy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[BusyServer]:
    asked: list[str] = []
    waits: list[float] = []
    pause = time.sleep  # a wait that is longer is only written down: a test that fails does not take an hour for it
    handler = type("Handler", (Busy,), {"asked": asked, "status": request.param})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setattr("time.sleep", lambda seconds: pause(seconds) if seconds < 1 else waits.append(seconds))
        yield BusyServer(f"http://127.0.0.1:{server.server_port}", asked, waits)
        monkeypatch.undo()
        server.shutdown()
        thread.join()


def copy(blobs: AzureBlobs) -> object:
    source = MemoryBlobs(blobs.url)
    return blobs.copy(source, "a", "b", replaces=None)


@pytest.mark.parametrize(
    "ask",
    [
        AzureBlobs.ensure_container,
        lambda blobs: list(blobs.list_blobs()),
        lambda blobs: list(blobs.describe_blobs("")),
        lambda blobs: blobs.read_properties("a"),
        lambda blobs: blobs.read("a"),
        lambda blobs: blobs.create("a", b"x"),
        lambda blobs: blobs.delete("a"),
        lambda blobs: blobs.delete("a", "0x8D"),
        copy,
    ],
)
def test_busy_blobs_are_asked_once_and_nobody_waits_for_them(
    busy: BusyServer, ask: Callable[[AzureBlobs], object]
) -> None:
    with pytest.raises(Unavailable) as caught:
        ask(AzureBlobs(busy.connection_string, "models"))
    assert (caught.value.retry_after, len(busy.asked), busy.waits) == (3600, 1, [])


@pytest.mark.parametrize(
    "ask",
    [
        TableLedger.ensure_table,
        TableLedger.read_heartbeat,
        TableLedger.list_watched_runs,
        lambda ledger: ledger.save_heartbeat(Heartbeat()),
        lambda ledger: ledger.remove_backfill("b-0001"),
        lambda ledger: ledger.remove_run("20261121T0700Z-PT1H"),
        lambda ledger: ledger.remove_request(
            Request(RequestKind.PAUSE, "schedule", Heartbeat().ticked_at, version="x")
        ),
    ],
)
def test_a_busy_table_is_asked_once_and_nobody_waits_for_it(
    busy: BusyServer, ask: Callable[[TableLedger], object]
) -> None:
    with pytest.raises(Unavailable) as caught:
        ask(TableLedger(busy.connection_string))
    assert (caught.value.retry_after, len(busy.asked), busy.waits) == (3600, 1, [])


@pytest.mark.parametrize(
    "place",
    [
        {"IDENTITY_ENDPOINT": "{url}/msi", "IDENTITY_HEADER": "secret"},  # of a function app
        {"AZURE_POD_IDENTITY_AUTHORITY_HOST": "{url}"},  # of a virtual machine
    ],
)
def test_a_busy_giver_of_tokens_is_asked_once_and_nobody_waits_for_it(
    busy: BusyServer, place: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")  # not whoever is signed in here
    for name, value in place.items():
        monkeypatch.setenv(name, value.format(url=busy.url))
    with pytest.raises(Unavailable, match="no identity to sign in with"), translate_errors("https://pumps"):
        make_default_credential.__wrapped__().get_token(
            "https://storage.azure.com/.default"
        )  # not one that another test made
    assert (busy.asked, busy.waits) == (["GET"], [])

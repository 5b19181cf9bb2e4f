"""What Azure's storage errors become, and the account that a setting names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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

from shared.adapters.storage import Account, translated
from shared.errors import Conflict, FleetError, Malformed, Misconfigured, NotFound, Unavailable


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
    with pytest.raises(FleetError) as caught, translated("https://account/models"):
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
        (412, "ConditionNotMet", Conflict),
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
    blobs, tables = account.connection("blob"), account.connection("table")
    assert blobs is not None
    assert tables is not None
    assert (blobs[0], tables[0], blobs[1] is tables[1]) == (blob, table, True)


@pytest.mark.parametrize("setting", ["UseDevelopmentStorage=true", "AccountName=a;AccountKey=c2VjcmV0"])
def test_a_connection_string_holds_all_and_is_never_shown(setting: str) -> None:
    assert Account(setting).connection("blob") is None
    assert repr(Account(setting)) == "Account(a connection string)"


@pytest.mark.parametrize("setting", ["", "pumps", "http://pumps.blob.core.windows.net", "https://pumps.example.com/x"])
def test_what_names_no_account_is_refused(setting: str) -> None:
    with pytest.raises(Misconfigured, match=f"wanted a storage account .* found {len(setting)} characters"):
        Account(setting)

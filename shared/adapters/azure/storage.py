"""The storage account by its setting, and the translation of its errors, for blobs and tables.

Azure's packages are imported when they are used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.contract.errors import (
    PROTECTIONS,
    Conflict,
    FleetError,
    Malformed,
    Misconfigured,
    NotFound,
    Protected,
    Unavailable,
    describe_protection,
)
from shared.contract.text import clip_text

from .auth import make_default_credential, make_sign_in_error, parse_retry_after

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError, HttpResponseError
    from azure.identity import DefaultAzureCredential

_URL = re.compile(r"https://[^/?#]+\.(blob|table)\.[^/?#]+/?")
_BUSY = frozenset({"ContainerBeingDeleted", "TableBeingDeleted", "CannotVerifyCopySource"})  # 409, yet no conflict
_DENIED = (401, 403)
_LOST_RACE = (409, 412)
_RETRY_LATER = (408, 429)
_NO_CODE = "no code of Azure Storage's"


@dataclass(frozen=True, slots=True)
class Account:
    """A storage account, by a connection string or by the URL of its blob endpoint.

    With a URL, Azure's default credential signs in. Raises Misconfigured, never repeating a connection string.
    """

    setting: str

    def __post_init__(self) -> None:
        if not self._is_url and not re.search(r"AccountName=|Endpoint=|UseDevelopmentStorage=true", self.setting):
            raise Misconfigured(
                "expected a storage account as https://ACCOUNT.blob.core.windows.net, as a connection string, or as "
                f"UseDevelopmentStorage=true, got {len(self.setting)} characters that are none of these"
            )

    def __repr__(self) -> str:
        return f"Account({self.setting!r})" if self._is_url else "Account(a connection string)"

    @property
    def _is_url(self) -> bool:
        return _URL.fullmatch(self.setting) is not None

    def get_connection(self, service: str) -> tuple[str, DefaultAzureCredential] | None:
        """The endpoint of *service*, `blob` or `table`, and the credential; None where the setting holds both."""
        if not self._is_url:
            return None
        return re.sub(r"\.(blob|table)\.", f".{service}.", self.setting, count=1), make_default_credential()


@contextmanager
def translate_errors(operation: str) -> Iterator[None]:
    """Translate exceptions of Azure into errors of the app; *operation* names the request, by a URL without a query."""
    from azure.core.exceptions import AzureError
    from requests import RequestException

    try:
        yield
    except AzureError as error:
        raise _translate_error(error, operation) from error
    except RequestException as error:  # the SDK reads the response of a transaction outside of its own translation
        raise Unavailable(f"{operation}: the answer was cut off: {type(error).__name__}") from error


def _translate_error(error: AzureError, operation: str) -> FleetError:
    from azure.core.exceptions import ClientAuthenticationError, DecodeError, HttpResponseError, IncompleteReadError

    if isinstance(error, HttpResponseError) and error.status_code and not isinstance(error, IncompleteReadError):
        if isinstance(error, DecodeError):
            return Malformed(f"{operation}: the answer cannot be read: {_describe_error(error)}")
        return _translate_response(error, error.status_code, operation)
    if isinstance(error, ClientAuthenticationError):
        return make_sign_in_error(operation, _describe_error(error))
    return Unavailable(f"{operation} did not answer: {_describe_error(error)}")


def _translate_response(error: HttpResponseError, status: int, operation: str) -> FleetError:
    """The error for an answer of the service, by its status."""
    code = _read_code(error)
    message = f"{operation}: {status} {code}: {_describe_error(error)}"
    if status in _DENIED:
        return Unavailable(
            f"{message} Give this identity the roles Storage Blob Data Contributor and Storage Table Data Contributor "
            "on the account, or check the key in the connection string; then the account's firewall."
        )
    # Without a code a proxy has answered: its 404 must not be taken for an empty ledger.
    if code != _NO_CODE and code not in _BUSY:
        if status == 404:  # noqa: PLR2004
            return NotFound(message)
        if code in PROTECTIONS:
            return Protected(message, describe_protection(code))
        if status in _LOST_RACE:
            return Conflict(message)
        if 400 <= status < 500 and status not in _RETRY_LATER:  # noqa: PLR2004
            return Malformed(message)
    return Unavailable(message, parse_retry_after(getattr(error.response, "headers", {})))


def _read_code(error: HttpResponseError) -> str:
    """The service's error code, such as `BlobNotFound`."""
    code = getattr(error, "error_code", None) or _read_header(error, "x-ms-error-code")
    return str(getattr(code, "value", code)) or _NO_CODE


def _read_header(error: HttpResponseError, name: str) -> str:
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    return headers.get(name, "")


def _describe_error(error: AzureError) -> str:
    """The message in one line, without the queries of URLs, which may hold a signature."""
    text = str(error).split("\nRequestId", 1)[0].split("\nErrorCode", 1)[0]
    return clip_text(re.sub(r"\?[^\s'\")]*", "", text))

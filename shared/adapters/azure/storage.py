"""How both storage adapters reach one account: the setting, and errors translated.

Knows nothing of blobs, rows or runs. Nothing of Azure's is imported before it is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.contract.errors import Conflict, FleetError, Malformed, Misconfigured, NotFound, Unavailable
from shared.contract.text import clip_text

from .auth import default_credential, nobody_signed_in, retry_after

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

    def connection(self, service: str) -> tuple[str, DefaultAzureCredential] | None:
        """The endpoint of *service*, `blob` or `table`, and the credential; None where the setting holds both."""
        if not self._is_url:
            return None
        return re.sub(r"\.(blob|table)\.", f".{service}.", self.setting, count=1), default_credential()


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise what Azure raises inside as an error of ours; *where* says what was asked, by its URL without a query."""
    from azure.core.exceptions import AzureError
    from requests import RequestException

    try:
        yield
    except AzureError as error:
        raise _translate(error, where) from error
    except RequestException as error:  # the SDK reads the answer of a transaction outside of its own translation
        raise Unavailable(f"{where}: the answer broke off: {type(error).__name__}") from error


def _translate(error: AzureError, where: str) -> FleetError:
    from azure.core.exceptions import ClientAuthenticationError, DecodeError, HttpResponseError, IncompleteReadError

    if isinstance(error, HttpResponseError) and error.status_code and not isinstance(error, IncompleteReadError):
        if isinstance(error, DecodeError):
            return Malformed(f"{where}: the answer cannot be read: {_said(error)}")
        return _answered(error, error.status_code, where)
    if isinstance(error, ClientAuthenticationError):
        return nobody_signed_in(where, _said(error))
    return Unavailable(f"{where} did not answer: {_said(error)}")


def _answered(error: HttpResponseError, status: int, where: str) -> FleetError:
    """An answer of the service, by its status."""
    code = _code(error)
    what = f"{where}: {status} {code}: {_said(error)}"
    if status in _DENIED:
        return Unavailable(
            f"{what} Give this identity the roles Storage Blob Data Contributor and Storage Table Data Contributor on "
            "the account, or check the key in the connection string; then the account's firewall."
        )
    # Without a code it was a proxy that answered: its 404 must not pass for an empty ledger.
    if code != _NO_CODE and code not in _BUSY:
        if status == 404:  # noqa: PLR2004
            return NotFound(what)
        if status in _LOST_RACE:
            return Conflict(what)
        if 400 <= status < 500 and status not in _RETRY_LATER:  # noqa: PLR2004
            return Malformed(what)
    return Unavailable(what, retry_after(getattr(error.response, "headers", {})))


def _code(error: HttpResponseError) -> str:
    """The service's own word for what went wrong, such as `BlobNotFound`."""
    code = getattr(error, "error_code", None) or _header(error, "x-ms-error-code")
    return str(getattr(code, "value", code)) or _NO_CODE


def _header(error: HttpResponseError, name: str) -> str:
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    return headers.get(name, "")


def _said(error: AzureError) -> str:
    """The text in one line, without the queries of URLs, which may hold a signature."""
    text = str(error).split("\nRequestId", 1)[0].split("\nErrorCode", 1)[0]
    return clip_text(re.sub(r"\?[^\s'\")]*", "", text))

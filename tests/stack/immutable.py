"""Immutability policies and legal holds in front of Azurite, which has none: what Azure answers for protected blobs.

Codes, status and messages: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
What is forbidden: https://learn.microsoft.com/azure/storage/blobs/immutable-container-level-worm-policies#scenarios
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from enum import StrEnum
from urllib.parse import parse_qs, unquote, urlsplit

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient

from tests.stack.proxy import Fault, Refusal, Weather, proxy


class Protection(StrEnum):
    """Why a blob is immutable, by the code of the answer."""

    POLICY = "BlobImmutableDueToPolicy"
    LEGAL_HOLD = "BlobImmutableDueToLegalHold"
    EXPIRED_POLICY = "expired"  # of a container: its blobs may be deleted, and not overwritten


MESSAGES = {
    Protection.POLICY: "This operation is not permitted as the blob is immutable due to a policy.",
    Protection.LEGAL_HOLD: "This operation is not permitted as the blob is immutable due to one or more legal holds.",
}
# Of the requests with `comp`, those that change a blob; leases, blocks that are not committed, and others do not.
CHANGING = frozenset({"", "metadata", "properties", "snapshot", "blocklist", "appendblock", "page", "incrementalcopy"})


@dataclass(slots=True)
class Policies:
    """A guard of the proxy: it protects blobs that exist. New ones may be written, and all may be read and leased.

    Azure does not say whether it looks at the conditions of a request first, so both are played: then a request whose
    condition does not hold gets Azurite's own answer.
    """

    service: BlobServiceClient  # of Azurite, past the proxy
    conditions_first: bool = False
    protected: dict[str, Protection] = field(default_factory=dict)  # by container, or by container and name
    refused: list[tuple[str, str]] = field(default_factory=list)  # method and name

    def __call__(self, method: str, path: str, headers: Message) -> Refusal | None:
        """Why a request is refused."""
        parts = urlsplit(path)
        container, _, name = unquote(parts.path).removeprefix("/").partition("/")[2].partition("/")
        protection = self.protected.get(f"{container}/{name}", self.protected.get(container))
        if not name or protection is None or not self._changes(method, parts.query, protection):
            return None
        etag = self._read_etag(container, name)
        if etag is None or (self.conditions_first and not _holds(headers, etag)):
            return None
        code = Protection.POLICY if protection is Protection.EXPIRED_POLICY else protection
        self.refused.append((method, f"{container}/{name}"))
        return Refusal(409, code, MESSAGES[code])

    @staticmethod
    def _changes(method: str, query: str, protection: Protection) -> bool:
        if method == "DELETE":
            return protection is not Protection.EXPIRED_POLICY
        return method == "PUT" and parse_qs(query).get("comp", [""])[0] in CHANGING

    def _read_etag(self, container: str, name: str) -> str | None:
        try:
            return str(self.service.get_blob_client(container, name).get_blob_properties().etag)
        except ResourceNotFoundError:
            return None


def _holds(headers: Message, etag: str) -> bool:
    """Whether the conditions of a request on a blob that exists are true."""
    return headers["If-None-Match"] != "*" and headers["If-Match"] in (None, "*", etag)


@contextmanager
def guard_storage(storage: str, policies: Policies) -> Iterator[str]:
    """The setting of an account whose blobs are reached through a proxy with these policies."""
    match = re.search(r"BlobEndpoint=http://127.0.0.1:(\d+)/", storage)
    assert match
    with proxy(("127.0.0.1", int(match[1])), Weather({Fault.NONE: 1}, seed=0), policies) as port:
        yield storage.replace(f"BlobEndpoint=http://127.0.0.1:{match[1]}/", f"BlobEndpoint=http://127.0.0.1:{port}/")

"""The errors of the app, by what the caller should do.

    FleetError
    ├── Misconfigured   a person must change a setting
    ├── Malformed       a document, an id or a request is malformed; a retry cannot help
    ├── NotFound        no such run, chunk or blob
    ├── Conflict        it was changed since it was read; the next tick reads again
    │   └── Protected   a lease or a policy protects it; a person must end that
    └── Unavailable     no answer, or "not now"; the next tick tries again

Adapters translate errors: no exception of a cloud's SDK leaves an adapter.
"""

from collections.abc import Mapping
from types import MappingProxyType

# What protects a blob, by the code of the answer: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
PROTECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "BlobImmutableDueToLegalHold": "a legal hold",
        "BlobImmutableDueToPolicy": "an immutability policy",
        "LeaseIdMismatchWithBlobOperation": "a lease",
        "LeaseIdMissing": "a lease",
    }
)


class FleetError(Exception):
    """Base of every error that this project raises on purpose."""


class Misconfigured(FleetError):
    """Settings are wrong. The message lists every problem, one a line."""


class Malformed(FleetError):
    """A document, an id or a request is malformed. The message says what was expected, what came, and where."""


class NotFound(FleetError):
    """There is no such run, chunk or blob."""


class Conflict(FleetError):
    """It was changed since it was read. The next tick reads again."""


class Protected(Conflict):
    """A blob is not replaced or removed because of its *protection*, such as `a lease (LeaseIdMissing)`."""

    def __init__(self, message: str, protection: str) -> None:
        super().__init__(message)
        self.protection = protection


def describe_protection(code: str) -> str:
    """What protects a blob by a code of PROTECTIONS, with the code: `a lease (LeaseIdMissing)`."""
    return f"{PROTECTIONS[code]} ({code})"


class Unavailable(FleetError):
    """The cluster or a store did not answer, or is throttled. The next tick tries again.

    `retry_after` is in seconds, if the service named it.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after

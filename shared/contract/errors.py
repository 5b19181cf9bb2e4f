"""What can go wrong, sorted by what the caller should do about it.

    FleetError
    ├── Misconfigured   a person must change a setting
    ├── Malformed       a document, an id or a request is malformed; a retry cannot help
    ├── NotFound        no such run, chunk or blob
    ├── Conflict        somebody else wrote it since we read it; the next tick reads again
    └── Unavailable     no answer, or "not now"; the next tick tries again

Adapters translate at the edge: no cloud's own exception passes an adapter.
"""


class FleetError(Exception):
    """Base of every error that this project raises on purpose."""


class Misconfigured(FleetError):
    """Settings are wrong. The message lists every problem, one a line."""


class Malformed(FleetError):
    """A document, an id or a request is malformed. The message says what was expected, what came, and where."""


class NotFound(FleetError):
    """There is no such run, chunk or blob."""


class Conflict(FleetError):
    """Somebody else wrote it since we read it. The next tick reads again."""


class Unavailable(FleetError):
    """The cluster or a store did not answer, or asked to be left alone. The next tick tries again.

    `retry_after` is in seconds, where the other side named one.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after

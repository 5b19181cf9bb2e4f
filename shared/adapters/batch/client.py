"""One call of the cluster's port to Azure Batch: limited in time, and errors of the SDK become Unavailable."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from shared.adapters.azure.auth import make_default_credential
from shared.contract.errors import Unavailable

from .responses import read_code, translate_error
from .tasks import OUTPUT

if TYPE_CHECKING:
    from azure.batch import BatchClient
    from azure.batch.models import BatchTask

API_VERSION = "2025-06-01"
LIMIT = 18.0  # seconds for a whole call
CONNECT_LIMIT = 3.0
READ_LIMIT = 7.0
PAGE = 1000  # tasks, the most that Batch gives
_NO_JOB = ("JobNotFound", "JobBeingDeleted")


def make_client(endpoint: str, credential: Any) -> BatchClient:
    """A client that retries once where no answer came and a retry is safe.

    It never retries after an answer, since the SDK would sleep for as long as its Retry-After says. The SDK's
    `create_tasks` and `begin_delete_job` are not used: the one retries for ever, the other leaves a polling thread.
    """
    from azure.batch import BatchClient

    return BatchClient(
        endpoint, credential or make_default_credential(), api_version=API_VERSION, retry_total=1, retry_status=0
    )


@contextmanager
def open_call(client: BatchClient, account: str) -> Iterator[BatchCall]:
    """Open a call; *account* is its name in messages."""
    from azure.core.exceptions import AzureError

    try:
        yield BatchCall(client, account, time.monotonic() + LIMIT)
    except AzureError as error:
        raise translate_error(error, account) from error


@contextmanager
def ignore_codes(*codes: str) -> Iterator[None]:
    """Ignore these error codes of Batch."""
    from azure.core.exceptions import HttpResponseError

    try:
        yield
    except HttpResponseError as error:
        if read_code(error) not in codes:
            raise


@dataclass(frozen=True, slots=True)
class BatchCall:
    """The requests of one call, up to a deadline of the monotonic clock."""

    client: BatchClient
    account: str
    deadline: float

    @property
    def limits(self) -> dict[str, Any]:
        """The time-outs of a further request. Raises Unavailable after the deadline."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise Unavailable(f"{self.account}: not done within {LIMIT:g} s; the next tick continues")
        return {"timeout": seconds, "connection_timeout": CONNECT_LIMIT, "read_timeout": min(READ_LIMIT, seconds)}

    def list_tasks(self, job: str, fields: Collection[str]) -> Iterator[BatchTask]:
        """The tasks of a Batch job, page by page; none if it was deleted or is being deleted."""
        with ignore_codes(*_NO_JOB):
            listing = self.client.list_tasks(job, select=list(fields), max_results=PAGE, **self.limits)
            pages: Any = listing.by_page()
            for page in pages:
                yield from page
                if pages.continuation_token:
                    _ = self.limits  # raises after the deadline

    def count_completed(self, job: str) -> int | None:
        """The number of ended tasks of a Batch job, by one request; None if some are open, or the job was deleted."""
        from azure.core.exceptions import HttpResponseError

        try:
            counts = self.client.get_job_task_counts(job, **self.limits).task_counts
        except HttpResponseError as error:
            if read_code(error) not in _NO_JOB:
                raise
            return None
        return None if counts.active or counts.running else counts.completed

    def delete_job(self, job: str) -> None:
        """Start the deletion of a Batch job and its tasks. Safe when it was deleted."""
        from azure.core.rest import HttpRequest

        request = HttpRequest("DELETE", f"/jobs/{quote(job, safe='')}", params={"api-version": API_VERSION})
        with ignore_codes(*_NO_JOB):
            self.client.send_request(request, **self.limits)

    def read_output(self, job: str, task: str, limit: int) -> bytes | None:
        """The end of a task's output, at most so many bytes; None if it has no such file.

        Its size comes from a listing: only ranges with a start are documented, and the SDK does not read the error
        code of a failed download.
        """
        files = self.client.list_task_files(job, task, filter=f"startswith(name,'{OUTPUT}')", **self.limits)
        entry = next((file for file in files if file.name == OUTPUT), None)
        if entry is None or entry.properties is None:
            return None
        size = entry.properties.content_length
        if size == 0:
            return b""
        byte_range = f"bytes={max(0, size - limit)}-{size - 1}"
        return b"".join(self.client.download_task_file(job, task, OUTPUT, ocp_range=byte_range, **self.limits))

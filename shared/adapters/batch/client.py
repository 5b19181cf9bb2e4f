"""One call of the cluster's port to Azure Batch: bounded in time, and what the SDK raises comes out as Unavailable."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from shared.adapters.azure.auth import default_credential
from shared.contract.errors import Unavailable

from .responses import code_of, translate
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
    """A client that asks once more where no answer came and asking again is safe.

    Never after an answer, since the SDK would sleep for as long as its Retry-After says. Its own `create_tasks` and
    `begin_delete_job` are used nowhere: the one tries for ever, the other leaves a thread behind that polls.
    """
    from azure.batch import BatchClient

    return BatchClient(
        endpoint, credential or default_credential(), api_version=API_VERSION, retry_total=1, retry_status=0
    )


@contextmanager
def talk(client: BatchClient, where: str) -> Iterator[Talk]:
    """What one call asks; *where* names the account to a person."""
    from azure.core.exceptions import AzureError

    try:
        yield Talk(client, where, time.monotonic() + LIMIT)
    except AzureError as error:
        raise translate(error, where) from error


@contextmanager
def passing_over(*codes: str) -> Iterator[None]:
    """Bear these answers of Batch's, by its code."""
    from azure.core.exceptions import HttpResponseError

    try:
        yield
    except HttpResponseError as error:
        if code_of(error) not in codes:
            raise


@dataclass(frozen=True, slots=True)
class Talk:
    """What is asked between two instants of the monotonic clock."""

    client: BatchClient
    where: str
    deadline: float

    @property
    def limits(self) -> dict[str, Any]:
        """What a further request may take. Raises Unavailable when the time is over."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Unavailable(f"{self.where}: not done within {LIMIT:g} s; the next tick goes on")
        return {"timeout": left, "connection_timeout": CONNECT_LIMIT, "read_timeout": min(READ_LIMIT, left)}

    def tasks(self, job: str, fields: Collection[str]) -> Iterator[BatchTask]:
        """The tasks of a Batch job, page by page; none where it has gone, or is going."""
        with passing_over(*_NO_JOB):
            found = self.client.list_tasks(job, select=list(fields), max_results=PAGE, **self.limits)
            pages: Any = found.by_page()
            for page in pages:
                yield from page
                if pages.continuation_token:
                    _ = self.limits  # raises when the time is over

    def completed(self, job: str) -> int | None:
        """How many tasks of a Batch job have ended, by one request; None where some have not, or the job has gone."""
        from azure.core.exceptions import HttpResponseError

        try:
            counts = self.client.get_job_task_counts(job, **self.limits).task_counts
        except HttpResponseError as error:
            if code_of(error) not in _NO_JOB:
                raise
            return None
        return None if counts.active or counts.running else counts.completed

    def delete(self, job: str) -> None:
        """Let Batch delete a job, and all that belongs to it, in its own time. Safe when it has gone."""
        from azure.core.rest import HttpRequest

        request = HttpRequest("DELETE", f"/jobs/{quote(job, safe='')}", params={"api-version": API_VERSION})
        with passing_over(*_NO_JOB):
            self.client.send_request(request, **self.limits)

    def output(self, job: str, task: str, limit: int) -> bytes | None:
        """The end of what a task printed, at most so many bytes; None where it has no such file.

        Its size comes from a listing: ranges are documented by their start only, and of an error in a download the SDK
        does not read the code.
        """
        files = self.client.list_task_files(job, task, filter=f"startswith(name,'{OUTPUT}')", **self.limits)
        found = next((file for file in files if file.name == OUTPUT), None)
        if found is None or found.properties is None:
            return None
        size = found.properties.content_length
        if size == 0:
            return b""
        span = f"bytes={max(0, size - limit)}-{size - 1}"
        return b"".join(self.client.download_task_file(job, task, OUTPUT, ocp_range=span, **self.limits))

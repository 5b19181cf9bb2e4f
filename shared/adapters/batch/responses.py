"""What Azure Batch says, in our words: how a task stands, and what an error wants of the caller. Asks nothing.

The codes are Batch's own, as its page "Batch status and error codes" lists them
(https://learn.microsoft.com/rest/api/batchservice/batch-status-and-error-codes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.adapters.azure.auth import nobody_signed_in, retry_after
from shared.contract.errors import Unavailable
from shared.contract.text import clip_text
from shared.ports import Sighting
from shared.state.runs import JobState

if TYPE_CHECKING:
    from azure.batch.models import BatchError, BatchTask, BatchTaskExecutionInfo
    from azure.core.exceptions import AzureError, HttpResponseError

_DENIED = (401, 403)

# What a person, or time, does about it. None of these says anything of the job that was asked for.
_ADVICE = {
    "ActiveJobAndScheduleQuotaReached": "Delete Batch jobs that nobody needs, or ask Azure for a higher quota.",
    "PoolNotFound": "Create the pool, or let BATCH_POOL name one that exists.",
    "JobBeingDeleted": "It is made anew when it has gone.",
    "JobBeingTerminated": "It is made anew when it has ended and gone.",
    "JobCompleted": "It is being deleted, and made anew when it has gone.",
    "JobDisabled": "Somebody has disabled it: enable it, or delete it.",
}


def sighting(task: BatchTask) -> Sighting:
    """How a task stands, in our words."""
    info = task.execution_info
    match task.state:
        case "active" if task.previous_state:
            # Nothing of ours puts a task back: its node was pre-empted, removed or rebooted. Batch starts it again by
            # itself (https://learn.microsoft.com/azure/batch/batch-spot-vms), and does not always count it.
            return Sighting(JobState.QUEUED, "its node was taken away; it waits for another")
        case "active":
            return Sighting(JobState.QUEUED, "Batch calls it active")
        case "preparing" | "running":
            where = task.node_info.node_id if task.node_info else "a node that Batch does not name"
            again = f", put back {info.requeue_count} times before" if info and info.requeue_count else ""
            return Sighting(JobState.RUNNING, f"on {where}{again}")
        case "completed" if info:
            return _end(info)
        case other:
            return Sighting(JobState.DOUBTFUL, f"Batch calls it {other}")


def _end(info: BatchTaskExecutionInfo) -> Sighting:
    """How a completed task ended."""
    failure = info.failure_info
    if info.result == "success":
        return Sighting(JobState.SUCCEEDED, f"exit code {info.exit_code}")
    if failure is None or failure.code == "FailureExitCode":
        return Sighting(JobState.FAILED, f"exit code {info.exit_code}")
    details = [detail.value or "" for detail in failure.details or ()]
    container = (info.container_info.error or "") if info.container_info else ""
    what = clip_text(": ".join(filter(None, [failure.code, failure.message, *details, container])))
    if failure.code == "TaskEnded":
        # The same code for a task that somebody ended and for one that took too long; only the text tells them apart.
        late = "maximum execution time" in what or "wall clock" in what.lower()
        return Sighting(JobState.FAILED, f"took too long: {what}") if late else Sighting(JobState.CANCELLED, what)
    if failure.category == "servererror":
        return Sighting(JobState.LOST, f"Batch could not see it through: {what}")
    return Sighting(JobState.FAILED, what)


def code_of(error: HttpResponseError) -> str:
    """Batch's own word for what went wrong, such as `JobNotFound`; "" where it was not Batch that answered."""
    return getattr(error.model, "code", None) or ""


def said(error: BatchError | None) -> str:
    """What Batch says of an error, in one line."""
    if error is None:
        return "no reason given"
    message = ((error.message.value if error.message else "") or "").split("\nRequestId")[0]
    values = [f"{value.key}={value.value}" for value in error.error_values or ()]
    return clip_text(": ".join(filter(None, [error.code, message, ", ".join(values), _ADVICE.get(error.code or "")])))


def translate(error: AzureError, where: str) -> Unavailable:
    """The same as an error of ours. *where* names the account."""
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

    if isinstance(error, HttpResponseError) and error.status_code:
        found = said(error.model) if code_of(error) else _first_line(error)
        what = f"{where}: {error.status_code} {found}"
        if error.status_code in _DENIED:
            what += " Give this identity a role that may submit jobs there and read its pools."
        return Unavailable(what, retry_after(getattr(error.response, "headers", {})))
    if isinstance(error, ClientAuthenticationError):
        return nobody_signed_in(where, _first_line(error))
    return Unavailable(f"{where} did not answer: {_first_line(error)}")


def _first_line(error: AzureError) -> str:
    return clip_text(str(error).split("\nContent:")[0])

"""What Azure Batch says, in our words: how a task stands, and what an error wants of the caller. Asks nothing.

The codes are Batch's own, as its page "Batch status and error codes" lists them
(https://learn.microsoft.com/rest/api/batchservice/batch-status-and-error-codes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.adapters.azure.auth import make_sign_in_error, parse_retry_after
from shared.contract.errors import Unavailable
from shared.contract.text import clip_text
from shared.ports import JobStatus
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


def read_status(task: BatchTask) -> JobStatus:
    """How a task stands, in our words."""
    info = task.execution_info
    match task.state:
        case "active" if task.previous_state:
            # Nothing of ours puts a task back: its node was pre-empted, removed or rebooted. Batch starts it again by
            # itself (https://learn.microsoft.com/azure/batch/batch-spot-vms), and does not always count it.
            return JobStatus(JobState.QUEUED, "its node was taken away; it waits for another")
        case "active":
            return JobStatus(JobState.QUEUED, "Batch calls it active")
        case "preparing" | "running":
            node = task.node_info.node_id if task.node_info else "a node that Batch does not name"
            again = f", put back {info.requeue_count} times before" if info and info.requeue_count else ""
            return JobStatus(JobState.RUNNING, f"on {node}{again}")
        case "completed" if info:
            return _read_end(info)
        case other:
            return JobStatus(JobState.UNRESPONSIVE, f"Batch calls it {other}")


def _read_end(info: BatchTaskExecutionInfo) -> JobStatus:
    """How a completed task ended."""
    failure = info.failure_info
    if info.result == "success":
        return JobStatus(JobState.SUCCEEDED, f"exit code {info.exit_code}")
    if failure is None or failure.code == "FailureExitCode":
        return JobStatus(JobState.FAILED, f"exit code {info.exit_code}")
    details = [detail.value or "" for detail in failure.details or ()]
    container = (info.container_info.error or "") if info.container_info else ""
    message = clip_text(": ".join(filter(None, [failure.code, failure.message, *details, container])))
    if failure.code == "TaskEnded":
        # The same code for a task that somebody ended and for one that took too long; only the text tells them apart.
        late = "maximum execution time" in message or "wall clock" in message.lower()
        return (
            JobStatus(JobState.FAILED, f"took too long: {message}") if late else JobStatus(JobState.CANCELLED, message)
        )
    if failure.category == "servererror":
        return JobStatus(JobState.LOST, f"Batch could not see it through: {message}")
    return JobStatus(JobState.FAILED, message)


def read_code(error: HttpResponseError) -> str:
    """Batch's own word for what went wrong, such as `JobNotFound`; "" where it was not Batch that answered."""
    return getattr(error.model, "code", None) or ""


def describe_error(error: BatchError | None) -> str:
    """What Batch says of an error, in one line."""
    if error is None:
        return "no reason given"
    message = ((error.message.value if error.message else "") or "").split("\nRequestId")[0]
    values = [f"{value.key}={value.value}" for value in error.error_values or ()]
    return clip_text(": ".join(filter(None, [error.code, message, ", ".join(values), _ADVICE.get(error.code or "")])))


def translate_error(error: AzureError, account: str) -> Unavailable:
    """The same as an error of ours. *where* names the account."""
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

    if isinstance(error, HttpResponseError) and error.status_code:
        detail = describe_error(error.model) if read_code(error) else _first_line(error)
        message = f"{account}: {error.status_code} {detail}"
        if error.status_code in _DENIED:
            message += " Give this identity a role that may submit jobs there and read its pools."
        return Unavailable(message, parse_retry_after(getattr(error.response, "headers", {})))
    if isinstance(error, ClientAuthenticationError):
        return make_sign_in_error(account, _first_line(error))
    return Unavailable(f"{account} did not answer: {_first_line(error)}")


def _first_line(error: AzureError) -> str:
    return clip_text(str(error).split("\nContent:")[0])

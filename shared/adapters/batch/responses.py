"""Translates the answers of Azure Batch: the status of a task, and errors. Sends nothing.

The codes are listed in Batch's page "Batch status and error codes"
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

# What helps, by error code. None of these errors is about the submitted job.
_ADVICE = {
    "ActiveJobAndScheduleQuotaReached": "Delete Batch jobs that are not needed, or request a higher quota from Azure.",
    "PoolNotFound": "Create the pool, or set BATCH_POOL to one that exists.",
    "JobBeingDeleted": "It is created again after the deletion.",
    "JobBeingTerminated": "It is created again after it has ended and is deleted.",
    "JobCompleted": "It is being deleted, and is created again after that.",
    "JobDisabled": "It was disabled: enable it, or delete it.",
}


def read_status(task: BatchTask) -> JobStatus:
    """The status of a task in the terms of the port."""
    info = task.execution_info
    match task.state:
        case "active" if task.previous_state:
            # The app never requeues a task: its node was pre-empted, removed or rebooted. Batch starts it again by
            # itself (https://learn.microsoft.com/azure/batch/batch-spot-vms), and does not always count it.
            return JobStatus(JobState.QUEUED, "its node was lost; it waits for another")
        case "active":
            return JobStatus(JobState.QUEUED, "Batch reports active")
        case "preparing" | "running":
            node = task.node_info.node_id if task.node_info else "an unknown node"
            again = f", requeued {info.requeue_count} times before" if info and info.requeue_count else ""
            return JobStatus(JobState.RUNNING, f"on {node}{again}")
        case "completed" if info:
            return _read_end(info)
        case other:
            return JobStatus(JobState.UNRESPONSIVE, f"Batch reports {other}")


def _read_end(info: BatchTaskExecutionInfo) -> JobStatus:
    """The status of a completed task."""
    failure = info.failure_info
    if info.result == "success":
        return JobStatus(JobState.SUCCEEDED, f"exit code {info.exit_code}")
    if failure is None or failure.code == "FailureExitCode":
        return JobStatus(JobState.FAILED, f"exit code {info.exit_code}")
    details = [detail.value or "" for detail in failure.details or ()]
    container = (info.container_info.error or "") if info.container_info else ""
    message = clip_text(": ".join(filter(None, [failure.code, failure.message, *details, container])))
    if failure.code == "TaskEnded":
        # A cancelled task and one that took too long have the same code; only the text differs.
        late = "maximum execution time" in message or "wall clock" in message.lower()
        return (
            JobStatus(JobState.FAILED, f"took too long: {message}") if late else JobStatus(JobState.CANCELLED, message)
        )
    if failure.category == "servererror":
        return JobStatus(JobState.LOST, f"Batch could not run it: {message}")
    return JobStatus(JobState.FAILED, message)


def read_code(error: HttpResponseError) -> str:
    """Batch's error code, such as `JobNotFound`; "" if the answer is not from Batch."""
    return getattr(error.model, "code", None) or ""


def describe_error(error: BatchError | None) -> str:
    """The message of an error of Batch, in one line."""
    if error is None:
        return "no reason given"
    message = ((error.message.value if error.message else "") or "").split("\nRequestId")[0]
    values = [f"{value.key}={value.value}" for value in error.error_values or ()]
    return clip_text(": ".join(filter(None, [error.code, message, ", ".join(values), _ADVICE.get(error.code or "")])))


def translate_error(error: AzureError, account: str) -> Unavailable:
    """The error of the app for an error of the SDK. *account* is its name in messages."""
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

"""Azure Batch as the cluster: a run is a Batch job, an attempt at a chunk a task in a container on a pool.

job    `{app}-{run}`: created with its first task, deleted by `release`, since an account may have few hundred active
task   `{chunk}-{attempt}`: an id is used once; a variable of its environment holds the digest
pool   created by the deployment; it scales by a formula of its own

Closed runs are observed for hours, while their tasks no longer change: if one request for the counts confirms it, the
earlier listing is returned again. Counts may lag, so a run is always listed again after this object submits to it.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shared.contract.errors import NotFound, Unavailable
from shared.contract.text import clip_text
from shared.ports import JobSpec, JobStatus, Refusal
from shared.state.runs import JobState, Nodes

from .client import BatchCall, ignore_codes, make_client, open_call
from .responses import describe_error, read_code, read_status
from .tasks import DIGEST, TaskFactory

if TYPE_CHECKING:
    from azure.batch import BatchClient
    from azure.batch.models import BatchTaskCreateResult

TASKS_PER_REQUEST = 100  # the most tasks of one request
LOG_LIMIT = 256 * 1024  # bytes of output that are returned: its end
LAST_LINE_BYTES = 16 * 1024  # bytes of it in which the last line is searched
LAST_LINES_AT_ONCE = 20  # failed tasks whose last line one call reads
LAST_LINES_KEPT = 1000
ENDED_KEPT = 100  # runs whose tasks have all ended, in the cache

_GONE = (404, 409)  # no such task, file or node; or a task without files


class BatchCluster:
    """The jobs of one Batch account, on one of its pools."""

    def __init__(
        self,
        endpoint: str,
        pool: str,
        image: str,
        app: str,
        work_url: str,
        identity: str = "",
        client_id: str = "",
        credential: Any = None,
    ) -> None:
        """*endpoint* is a URL. *identity* (an ARM id) brings output into *work_url*; jobs sign in as *client_id*."""
        self._endpoint = endpoint
        self._credential = credential
        self._orders = TaskFactory(pool, image, app, work_url, identity, client_id)
        self._words: dict[str, str] = {}  # the last lines of the output of failed jobs
        self._ended: dict[str, Mapping[str, JobStatus]] = {}  # by run: the last listing, once all tasks have ended

    def submit(self, jobs: Sequence[JobSpec]) -> Mapping[str, Refusal]:
        runs: dict[str, dict[str, JobSpec]] = {}
        for job in jobs:
            place = self._orders.find_task(job.name)
            assert place, job.name
            runs.setdefault(place[0], {}).setdefault(place[1], job)
        refusals: dict[str, Refusal] = {}
        with self._open_call() as call:
            for tasks in runs.values():
                run, names = next(iter(tasks.values())).run, list(tasks)
                self._ended.pop(run, None)
                for start in range(0, len(names), TASKS_PER_REQUEST):
                    refusals |= self._add_tasks(
                        call, run, {name: tasks[name] for name in names[start : start + TASKS_PER_REQUEST]}
                    )
        return refusals

    def observe(self, runs: Collection[str]) -> Mapping[str, JobStatus]:
        statuses: dict[str, JobStatus] = {}
        with self._open_call() as call:
            for run in sorted(set(runs)):
                statuses |= self._observe_run(call, run)
            failed = [name for name, status in statuses.items() if status.state is JobState.FAILED]
            self._fetch_last_lines(call, failed)
        for name in failed:
            if last_line := self._words.get(name):
                statuses[name] = replace(statuses[name], detail=clip_text(f"{statuses[name].detail}: {last_line}"))
        return statuses

    def cancel(self, names: Collection[str]) -> None:
        from azure.core.exceptions import HttpResponseError

        with self._open_call() as call:
            for job, task in filter(None, map(self._orders.find_task, names)):
                try:
                    call.client.terminate_task(job, task, **call.limits)
                except HttpResponseError as error:
                    if error.status_code not in _GONE or not read_code(error):
                        raise

    def read_log(self, name: str) -> str:
        from azure.core.exceptions import HttpResponseError

        if place := self._orders.find_task(name):
            with self._open_call() as call:
                try:
                    output = call.read_output(*place, LOG_LIMIT)
                    if output is not None:
                        return output.decode(errors="replace")
                except HttpResponseError as error:
                    if error.status_code not in _GONE or not read_code(error):
                        raise
        raise NotFound(f"{self._account} has no output of job {name}: no such task, or its node was removed")

    def count_nodes(self) -> Nodes:
        with self._open_call() as call:
            fields = ["id", "targetDedicatedNodes", "targetLowPriorityNodes"]
            pool = call.client.get_pool(self._orders.pool, select=fields, **call.limits)
            listing = call.client.list_pool_node_counts(filter=f"poolId eq '{self._orders.pool}'", **call.limits)
            counts = [kind.as_dict() for entry in listing for kind in (entry.dedicated, entry.low_priority) if kind]
        states: dict[str, int] = {}
        for state, count in (item for kind in counts for item in kind.items()):
            if count and state != "total":
                word = "".join(f" {c.lower()}" if c.isupper() else c for c in state)  # leavingPool
                states[word] = states.get(word, 0) + count
        target = (pool.target_dedicated_nodes or 0) + (pool.target_low_priority_nodes or 0)
        return Nodes(sum(kind["total"] for kind in counts), target, states)

    def release(self, run: str) -> None:
        with self._open_call() as call:
            call.delete_job(self._orders.make_job_id(run))

    @property
    def _account(self) -> str:
        return f"Azure Batch at {self._endpoint}"

    @functools.cached_property
    def _client(self) -> BatchClient:
        return make_client(self._endpoint, self._credential)

    def _open_call(self) -> AbstractContextManager[BatchCall]:
        return open_call(self._client, self._account)

    def _observe_run(self, call: BatchCall, run: str) -> Mapping[str, JobStatus]:
        """The statuses of the jobs of one run, by name."""
        job, ended = self._orders.make_job_id(run), self._ended.get(run)
        if ended and call.count_completed(job) == len(ended):
            return ended
        fields = ("id", "state", "previousState", "executionInfo", "nodeInfo")
        listed = {f"{job}-{task.id}": read_status(task) for task in call.list_tasks(job, fields)}
        statuses = {name: status for name, status in listed.items() if self._orders.find_task(name)}
        self._ended.pop(run, None)
        if len(statuses) == len(listed) and all(status.state.over for status in statuses.values()):
            _drop_oldest(self._ended, ENDED_KEPT)
            self._ended[run] = statuses
        return statuses

    def _add_tasks(self, call: BatchCall, run: str, tasks: Mapping[str, JobSpec]) -> dict[str, Refusal]:
        """Add tasks, by their ids, by one request, of which Batch may accept a part."""
        from azure.core.exceptions import HttpResponseError

        try:
            results = self._request_tasks(call, run, tasks)
        except HttpResponseError as error:
            if read_code(error) == "RequestBodyTooLarge" and len(tasks) > 1:
                pairs = list(tasks.items())
                first, second = pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]
                return self._add_tasks(call, run, dict(first)) | self._add_tasks(call, run, dict(second))
            if error.status_code in (400, 413) and read_code(error):
                return {job.name: self._make_refusal(job, describe_error(error.model)) for job in tasks.values()}
            if read_code(error) == "JobCompleted":  # by its age, or by hand; its name is needed for further tasks
                call.delete_job(self._orders.make_job_id(run))
            raise
        return self._read_results(call, run, tasks, results)

    def _request_tasks(
        self, call: BatchCall, run: str, tasks: Mapping[str, JobSpec]
    ) -> Sequence[BatchTaskCreateResult]:
        """Batch's result for each task, in any order. Creates the Batch job if there is none."""
        from azure.batch.models import BatchTaskGroup
        from azure.core.exceptions import ResourceNotFoundError

        job = self._orders.make_job_id(run)
        group = BatchTaskGroup(task_values=[self._orders.build_task(task, spec) for task, spec in tasks.items()])
        try:
            return call.client.create_task_collection(job, group, **call.limits).result_values or []
        except ResourceNotFoundError as error:
            if read_code(error) != "JobNotFound":
                raise
        with ignore_codes("JobExists"):  # another host has created it
            call.client.create_job(self._orders.build_job(run), **call.limits)
        return call.client.create_task_collection(job, group, **call.limits).result_values or []

    def _read_results(
        self, call: BatchCall, run: str, tasks: Mapping[str, JobSpec], results: Sequence[BatchTaskCreateResult]
    ) -> dict[str, Refusal]:
        """The tasks that are rejected for good. Raises Unavailable if a task was neither accepted nor rejected."""
        pending, refusals, duplicates = dict(tasks), dict[str, Refusal](), dict[str, JobSpec]()
        reason = "Batch returned no result"
        for result in results:
            code = (result.error.code if result.error else None) or ""
            if result.status == "success":
                pending.pop(result.task_id, None)
            elif code == "TaskExists" and result.task_id in pending:
                duplicates[result.task_id] = pending.pop(result.task_id)
            elif result.status == "clienterror" and not code.startswith("Job") and result.task_id in pending:
                job = pending.pop(result.task_id)
                refusals[job.name] = self._make_refusal(job, describe_error(result.error))
            else:  # an error of Batch or of its job
                reason = describe_error(result.error)
        refusals |= self._compare_digests(call, run, duplicates)
        if pending:
            raise Unavailable(
                f"{self._account}: {len(pending)} of {len(tasks)} tasks of {run} are not accepted yet: {reason}"
            )
        return refusals

    def _compare_digests(self, call: BatchCall, run: str, duplicates: Mapping[str, JobSpec]) -> dict[str, Refusal]:
        """Refuse tasks that exist with another digest. One listing for all of them."""
        digests: dict[str, str | None] = {}
        if duplicates:
            for task in call.list_tasks(self._orders.make_job_id(run), ("id", "environmentSettings")):
                settings = {setting.name: setting.value for setting in task.environment_settings or ()}
                digests[task.id] = settings.get(DIGEST)
        return {
            job.name: Refusal(f"{self._account} has a task {job.name} of other content", name_taken=True)
            for task_id, job in duplicates.items()
            if digests.get(task_id) != job.digest
        }

    def _make_refusal(self, job: JobSpec, reason: str) -> Refusal:
        return Refusal(f"{self._account} rejects {job.name}: {reason}")

    def _fetch_last_lines(self, call: BatchCall, failed: Collection[str]) -> None:
        """Read the last line of the output of failed jobs. It may be missing: the node may be removed."""
        from azure.core.exceptions import AzureError, HttpResponseError

        for name in [name for name in failed if name not in self._words][:LAST_LINES_AT_ONCE]:
            place = self._orders.find_task(name)
            assert place, name
            try:
                output = call.read_output(*place, LAST_LINE_BYTES) or b""
            except HttpResponseError as error:
                if error.status_code not in _GONE:
                    return
                output = b""
            except (AzureError, Unavailable):
                return
            _drop_oldest(self._words, LAST_LINES_KEPT)
            lines = output.decode(errors="replace").strip().splitlines()
            self._words[name] = clip_text(lines[-1]) if lines else ""


def _drop_oldest(cache: dict[str, Any], limit: int) -> None:
    """Make space for one entry by dropping the oldest."""
    while len(cache) >= limit:
        del cache[next(iter(cache))]

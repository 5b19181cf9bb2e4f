"""Azure Batch as the cluster: a run is a Batch job, an attempt at a chunk a task in a container on a pool.

job    `{app}-{run}`: made with its first task, deleted by `release`, since an account may have some hundred active ones
task   `{chunk}-{attempt}`: an id that exists is spent; a setting in its environment says what it was asked for
pool   made by whoever deploys, and grows and shrinks by a formula of its own

Closed runs are looked at for hours, and their tasks change no more: where one request for the counts says so, what was
listed before is told again. Counts may lag, so that what this object submits is listed anew in any case.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shared.contract.errors import NotFound, Unavailable
from shared.contract.text import clip_text
from shared.ports import JobSpec, Refusal, Sighting
from shared.state.runs import JobState, Nodes

from .client import Talk, make_client, passing_over, talk
from .responses import code_of, said, sighting
from .tasks import DIGEST, Orders

if TYPE_CHECKING:
    from azure.batch import BatchClient
    from azure.batch.models import BatchTaskCreateResult

TOGETHER = 100  # tasks that Batch takes in one request
LOG_LIMIT = 256 * 1024  # bytes of output that are shown: its end
WORDS_LIMIT = 16 * 1024  # bytes of it in which the last line is looked for
WORDS_AT_ONCE = 20  # failed tasks whose last line one call looks for
WORDS_KEPT = 1000
ENDED_KEPT = 100  # runs whose tasks have all ended, and are remembered

_GONE = (404, 409)  # no such task, file or node; or it is there, and its files are not


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
        self._orders = Orders(pool, image, app, work_url, identity, client_id)
        self._words: dict[str, str] = {}  # the last line of what failed jobs printed, as found before
        self._ended: dict[str, Mapping[str, Sighting]] = {}  # by run: as they were listed when all had ended

    def submit(self, jobs: Sequence[JobSpec]) -> Mapping[str, Refusal]:
        runs: dict[str, dict[str, JobSpec]] = {}
        for job in jobs:
            place = self._orders.place(job.name)
            assert place, job.name
            runs.setdefault(place[0], {}).setdefault(place[1], job)
        refusals: dict[str, Refusal] = {}
        with self._talk() as t:
            for tasks in runs.values():
                run, names = next(iter(tasks.values())).run, list(tasks)
                self._ended.pop(run, None)
                for at in range(0, len(names), TOGETHER):
                    refusals |= self._add(t, run, {name: tasks[name] for name in names[at : at + TOGETHER]})
        return refusals

    def observe(self, runs: Collection[str]) -> Mapping[str, Sighting]:
        seen: dict[str, Sighting] = {}
        with self._talk() as t:
            for run in sorted(set(runs)):
                seen |= self._look(t, run)
            failed = [name for name, found in seen.items() if found.state is JobState.FAILED]
            self._find_words(t, failed)
        for name in failed:
            if words := self._words.get(name):
                seen[name] = replace(seen[name], detail=clip_text(f"{seen[name].detail}: {words}"))
        return seen

    def cancel(self, names: Collection[str]) -> None:
        from azure.core.exceptions import HttpResponseError

        with self._talk() as t:
            for job, task in filter(None, map(self._orders.place, names)):
                try:
                    t.client.terminate_task(job, task, **t.limits)
                except HttpResponseError as error:
                    if error.status_code not in _GONE or not code_of(error):
                        raise

    def log(self, name: str) -> str:
        from azure.core.exceptions import HttpResponseError

        if place := self._orders.place(name):
            with self._talk() as t:
                try:
                    output = t.output(*place, LOG_LIMIT)
                    if output is not None:
                        return output.decode(errors="replace")
                except HttpResponseError as error:
                    if error.status_code not in _GONE or not code_of(error):
                        raise
        raise NotFound(f"{self._where} has no output of job {name}: no such task, or its node has gone")

    def nodes(self) -> Nodes:
        with self._talk() as t:
            fields = ["id", "targetDedicatedNodes", "targetLowPriorityNodes"]
            pool = t.client.get_pool(self._orders.pool, select=fields, **t.limits)
            found = t.client.list_pool_node_counts(filter=f"poolId eq '{self._orders.pool}'", **t.limits)
            counts = [kind.as_dict() for one in found for kind in (one.dedicated, one.low_priority) if kind]
        states: dict[str, int] = {}
        for state, count in (item for kind in counts for item in kind.items()):
            if count and state != "total":
                word = "".join(f" {c.lower()}" if c.isupper() else c for c in state)  # leavingPool
                states[word] = states.get(word, 0) + count
        target = (pool.target_dedicated_nodes or 0) + (pool.target_low_priority_nodes or 0)
        return Nodes(sum(kind["total"] for kind in counts), target, states)

    def release(self, run: str) -> None:
        with self._talk() as t:
            t.delete(self._orders.job_id(run))

    @property
    def _where(self) -> str:
        return f"Azure Batch at {self._endpoint}"

    @functools.cached_property
    def _client(self) -> BatchClient:
        return make_client(self._endpoint, self._credential)

    def _talk(self) -> AbstractContextManager[Talk]:
        return talk(self._client, self._where)

    def _look(self, t: Talk, run: str) -> Mapping[str, Sighting]:
        """The jobs of one run, by their names."""
        job, ended = self._orders.job_id(run), self._ended.get(run)
        if ended and t.completed(job) == len(ended):
            return ended
        fields = ("id", "state", "previousState", "executionInfo", "nodeInfo")
        listed = {f"{job}-{task.id}": sighting(task) for task in t.tasks(job, fields)}
        seen = {name: found for name, found in listed.items() if self._orders.place(name)}
        self._ended.pop(run, None)
        if len(seen) == len(listed) and all(found.state.over for found in seen.values()):
            _make_room(self._ended, ENDED_KEPT)
            self._ended[run] = seen
        return seen

    def _add(self, t: Talk, run: str, tasks: Mapping[str, JobSpec]) -> dict[str, Refusal]:
        """Add tasks, by their ids, by one request, which Batch may fulfil in part."""
        from azure.core.exceptions import HttpResponseError

        try:
            results = self._collect(t, run, tasks)
        except HttpResponseError as error:
            if code_of(error) == "RequestBodyTooLarge" and len(tasks) > 1:
                both = list(tasks.items())
                first, second = both[: len(both) // 2], both[len(both) // 2 :]
                return self._add(t, run, dict(first)) | self._add(t, run, dict(second))
            if error.status_code in (400, 413) and code_of(error):
                return {job.name: self._refusal(job, said(error.model)) for job in tasks.values()}
            if code_of(error) == "JobCompleted":  # by its age, or by hand; its name is needed for the tasks to come
                t.delete(self._orders.job_id(run))
            raise
        return self._read(t, run, tasks, results)

    def _collect(self, t: Talk, run: str, tasks: Mapping[str, JobSpec]) -> Sequence[BatchTaskCreateResult]:
        """What Batch says of each task, in any order. Makes the Batch job where there is none."""
        from azure.batch.models import BatchTaskGroup
        from azure.core.exceptions import ResourceNotFoundError

        job = self._orders.job_id(run)
        group = BatchTaskGroup(task_values=[self._orders.task(task, spec) for task, spec in tasks.items()])
        try:
            return t.client.create_task_collection(job, group, **t.limits).result_values or []
        except ResourceNotFoundError as error:
            if code_of(error) != "JobNotFound":
                raise
        with passing_over("JobExists"):  # somebody else has made it meanwhile
            t.client.create_job(self._orders.batch_job(run), **t.limits)
        return t.client.create_task_collection(job, group, **t.limits).result_values or []

    def _read(
        self, t: Talk, run: str, tasks: Mapping[str, JobSpec], results: Sequence[BatchTaskCreateResult]
    ) -> dict[str, Refusal]:
        """Who is refused for good. Raises Unavailable when a task was neither taken nor refused."""
        left, refusals, there = dict(tasks), dict[str, Refusal](), dict[str, JobSpec]()
        why = "Batch says nothing of it"
        for result in results:
            code = (result.error.code if result.error else None) or ""
            if result.status == "success":
                left.pop(result.task_id, None)
            elif code == "TaskExists" and result.task_id in left:
                there[result.task_id] = left.pop(result.task_id)
            elif result.status == "clienterror" and not code.startswith("Job") and result.task_id in left:
                job = left.pop(result.task_id)
                refusals[job.name] = self._refusal(job, said(result.error))
            else:  # Batch's own trouble, or its job's
                why = said(result.error)
        refusals |= self._compare(t, run, there)
        if left:
            raise Unavailable(f"{self._where}: {len(left)} of {len(tasks)} tasks of {run} are not taken yet: {why}")
        return refusals

    def _compare(self, t: Talk, run: str, there: Mapping[str, JobSpec]) -> dict[str, Refusal]:
        """Refuse those whose tasks were asked for with another digest. One listing, however many there are."""
        digests: dict[str, str | None] = {}
        if there:
            for task in t.tasks(self._orders.job_id(run), ("id", "environmentSettings")):
                settings = {setting.name: setting.value for setting in task.environment_settings or ()}
                digests[task.id] = settings.get(DIGEST)
        return {
            job.name: Refusal(f"{self._where} has a task {job.name} of other content", taken=True)
            for task_id, job in there.items()
            if digests.get(task_id) != job.digest
        }

    def _refusal(self, job: JobSpec, why: str) -> Refusal:
        return Refusal(f"{self._where} refuses {job.name}: {why}")

    def _find_words(self, t: Talk, failed: Collection[str]) -> None:
        """Look for the last line of what failed jobs printed. Finding none is no failure: the node may have gone."""
        from azure.core.exceptions import AzureError, HttpResponseError

        for name in [name for name in failed if name not in self._words][:WORDS_AT_ONCE]:
            place = self._orders.place(name)
            assert place, name
            try:
                output = t.output(*place, WORDS_LIMIT) or b""
            except HttpResponseError as error:
                if error.status_code not in _GONE:
                    return
                output = b""
            except (AzureError, Unavailable):
                return
            _make_room(self._words, WORDS_KEPT)
            lines = output.decode(errors="replace").strip().splitlines()
            self._words[name] = clip_text(lines[-1]) if lines else ""


def _make_room(kept: dict[str, Any], limit: int) -> None:
    """For one more, by forgetting the oldest."""
    while len(kept) >= limit:
        del kept[next(iter(kept))]

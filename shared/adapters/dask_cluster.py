"""Jobs on a Dask cluster: any scheduler that `distributed` can reach. No state is kept between two calls.

A job is a task whose key is the job's name, published under that name: so it outlives the client that submitted it, and
a name is used once, as long as the scheduler knows it. The worker runs `scorer.commands.dask_launcher`, which explains
why a job always ends by an exception. A scheduler that restarts knows no jobs; `observe` then leaves the names out.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from shared.contract.errors import NotFound, Unavailable
from shared.contract.paths import parse_job_name
from shared.ports import JobSpec, JobStatus, Refusal
from shared.state.runs import JobState, Nodes

T = TypeVar("T")
Client: TypeAlias = Any  # distributed.Client: many of its methods have no types

CONNECT_LIMIT = 5  # seconds to reach the scheduler
LIMIT = 9  # seconds for a whole call: a frozen scheduler accepts connections, but never answers
REMEMBERED = 3600  # seconds for which `observe` still returns a job that has ended


@dataclass(frozen=True, slots=True)
class _Task:
    """A published job, as the scheduler knows it."""

    name: str
    state: str
    executing: bool  # by the worker's last heartbeat; else it waits in the worker's queue
    error: str | None  # the text of the exception that the job raised; None also when the scheduler gave up the task
    workers: tuple[str, ...]  # those that run it, or on which it ended

    @property
    def end(self) -> tuple[bool, str, str] | None:
        """The arguments of `scorer.commands.dask_launcher.JobEnded`: success, detail, and the end of the output."""
        is_ours = (self.error or "").startswith("JobEnded(")
        return ast.literal_eval(self.error.removeprefix("JobEnded")) if self.error and is_ours else None

    @property
    def status(self) -> JobStatus:
        """The state in the terms of the port."""
        if self.end:
            well, detail, _ = self.end
            return JobStatus(JobState.SUCCEEDED if well else JobState.FAILED, detail)
        match self.state:
            case "erred" if self.error:
                return JobStatus(JobState.FAILED, f"the worker {self._addresses} could not run it: {self.error}")
            case "erred":
                return JobStatus(JobState.LOST, f"Dask lost its worker {self._addresses}")
            case "processing" if self.executing:
                return JobStatus(JobState.RUNNING, f"on {self._addresses}")
            case _:
                return JobStatus(JobState.QUEUED, f"Dask calls it {self.state}")

    @property
    def _addresses(self) -> str:
        return ", ".join(self.workers)


class DaskCluster:
    """The jobs of one scheduler, `tcp://host:port`."""

    def __init__(self, address: str) -> None:
        self._address = address

    def submit(self, jobs: Sequence[JobSpec]) -> Mapping[str, Refusal]:
        # Between map and publish only this client holds the tasks. If it dies there they are released, the launcher
        # stops what had started, and the next tick finds the names unknown. A key that the scheduler already has,
        # ended or not, stays the same task with the same arguments: so two clients may submit at the same time, or one
        # twice. The digests are compared only after that, so the second client sees the difference.
        async def submit_tasks(client: Client) -> list[str]:
            digests = {job.name: job.digest for job in jobs}
            jobs_by_name = {job.name: job for job in jobs}
            commands = [job.command for job in jobs_by_name.values()]
            seconds = [job.timeout.total_seconds() for job in jobs_by_name.values()]
            futures = client.map(
                launch_job,
                list(jobs_by_name),
                list(digests.values()),
                commands,
                seconds,
                key=list(jobs_by_name),
                pure=False,
            )
            await client.publish_dataset(dict(zip(jobs_by_name, futures, strict=True)), override=True)
            names: list[str] = await client.run_on_scheduler(find_different, digests)
            return names

        def launch_job(name: str, digest: str, command: Sequence[str], timeout: float) -> None:
            # A nested function is sent by value: the scheduler also unpickles it, and need not have this code.
            import importlib

            try:
                run_job = importlib.import_module("scorer.commands.dask_launcher").run_job
            except ModuleNotFoundError:  # the worker still has release 0.1, or no scorer at all
                run_job = importlib.import_module("scorer.launch").run
            run_job(name, digest, command, timeout)

        def find_different(digests: Mapping[str, str], dask_scheduler: Any) -> list[str]:
            tasks = dask_scheduler.tasks
            return [name for name, digest in digests.items() if tasks[name].run_spec.args[1:2] != (digest,)]

        return {
            name: Refusal(f"Dask scheduler at {self._address} has a job {name} of other content", name_taken=True)
            for name in self._run_request(submit_tasks)
        }

    def observe(self, runs: Collection[str]) -> Mapping[str, JobStatus]:
        tasks = self._run_request(lambda client: _list_tasks(client, [f"-{run}-" for run in runs]))
        jobs = {task.name: parse_job_name(task.name) for task in tasks}
        return {task.name: task.status for task in tasks if (job := jobs[task.name]) and job[0] in runs}

    def cancel(self, names: Collection[str]) -> None:
        # Without its publication the task has no client left; the launcher sees that on the worker.
        self._run_request(lambda client: client.unpublish_dataset(list(names)))

    def read_log(self, name: str) -> str:
        async def fetch_log(client: Client) -> str | None:
            task = next((task for task in await _list_tasks(client, [name]) if task.name == name), None)
            if task is None or task.end or not task.workers:
                return task.end[2] if task and task.end else None
            texts = await client.run(read_output, name, workers=list(task.workers), on_error="ignore")
            return next(iter(texts.values()), None)

        def read_output(name: str, dask_worker: Any) -> str:
            import importlib

            path = importlib.import_module("scorer.commands.dask_launcher").output_path(dask_worker, name)
            return str(path.read_text(errors="replace"))

        text = self._run_request(fetch_log)
        if text is None:
            raise NotFound(f"Dask scheduler at {self._address} has no log of job {name}")
        return text

    def count_nodes(self) -> Nodes:
        # The scheduler does not know the size that the cluster is scaled to.
        def count_workers(dask_scheduler: Any) -> tuple[int, int]:
            workers = dask_scheduler.workers.values()
            return len(workers), sum(bool(worker.processing) for worker in workers)

        async def ask_scheduler(client: Client) -> tuple[int, int]:
            counts: tuple[int, int] = await client.run_on_scheduler(count_workers)
            return counts

        total, busy = self._run_request(ask_scheduler)
        states = {"running": busy, "idle": total - busy}
        return Nodes(total, total, {state: n for state, n in states.items() if n})

    def release(self, run: str) -> None:
        names = list(self.observe([run]))
        if names:
            self.cancel(names)

    def _run_request(self, request: Callable[[Client], Awaitable[T]]) -> T:
        """Run one call with its own client and event loop: it costs some 20 ms, and leaves nothing behind."""
        import distributed

        async def run_request() -> T:
            client: Client = distributed.Client(
                self._address, asynchronous=True, timeout=CONNECT_LIMIT, set_as_default=False
            )
            try:
                async with asyncio.timeout(LIMIT), client:
                    return await request(client)
            finally:
                await client.close()  # a client that never connected is not closed otherwise

        try:
            return asyncio.run(run_request())
        except Exception as error:  # exceptions of the scheduler are raised here: they may be of any type
            problem = str(error) or f"{type(error).__name__} within {LIMIT} s"
            raise Unavailable(f"expected an answer of the Dask scheduler at {self._address}, got: {problem}") from error


async def _list_tasks(client: Client, marks: Sequence[str]) -> list[_Task]:
    """The published jobs whose names contain one of *marks*; jobs that ended long ago are unpublished.

    One call to the scheduler: no other part of Dask's API separates waiting from running tasks, or says how a job
    ended, without waiting for each future or asking the workers.
    """

    def list_published(marks: Sequence[str], seconds: float, dask_scheduler: Any) -> tuple[list[Any], list[str]]:
        # Sent by value and run on the scheduler, so it may use nothing of this module.
        import time

        now, rows, old = time.time(), [], []
        for name in dask_scheduler.extensions["publish"].datasets:
            task = dask_scheduler.tasks.get(name)
            if task is None:
                continue
            # Dask drops the metadata of a task together with the task.
            if dask_scheduler.task_metadata.get(name, now) < now - seconds:
                old.append(name)
            elif any(mark in name for mark in marks):
                worker = task.processing_on
                workers = [worker.address] if worker else sorted(task.erred_on or ())
                executing = worker is not None and task in worker.executing
                rows.append((name, task.state, executing, task.exception_text, workers))
                if task.state == "erred":
                    dask_scheduler.task_metadata.setdefault(name, now)
        return rows, old

    rows, old = await client.run_on_scheduler(list_published, marks, REMEMBERED)
    if old:
        await client.unpublish_dataset(old)
    return [_Task(name, state, executing, error, tuple(workers)) for name, state, executing, error, workers in rows]

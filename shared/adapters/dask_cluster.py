"""Jobs on a Dask cluster: any scheduler that `distributed` can reach. Nothing is kept here between two calls.

A job is a task whose key is the job's name, published under that name: so it outlives the client that submitted it,
and a name is spent as long as the scheduler knows it. What runs on the worker is `scorer.commands.dask_launcher`, which
says why the end of a job is always an exception. A scheduler that restarts has forgotten all; then the names are left
out.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from shared.contract.errors import NotFound, Unavailable
from shared.contract.paths import parse_job_name
from shared.ports import JobSpec, Refusal, Sighting
from shared.state.runs import JobState, Nodes

T = TypeVar("T")
Client: TypeAlias = Any  # distributed.Client: only half of its methods have types

CONNECT_LIMIT = 5  # seconds to reach the scheduler
LIMIT = 9  # seconds for a whole conversation: a frozen scheduler takes connections, but never answers
REMEMBERED = 3600  # seconds that an end is told again after it was first told, for those who ask later


@dataclass(frozen=True, slots=True)
class _Task:
    """A published job, as the scheduler has it."""

    name: str
    state: str
    executing: bool  # by the worker's last heartbeat; else it waits in the worker's queue
    error: str | None  # the text of what the job raised; None too when the scheduler itself gave the task up
    workers: tuple[str, ...]  # where it runs, or where it ended

    @property
    def end(self) -> tuple[bool, str, str] | None:
        """What `scorer.commands.dask_launcher.JobEnded` says: whether well, how, and the end of the output."""
        told = (self.error or "").startswith("JobEnded(")
        return ast.literal_eval(self.error.removeprefix("JobEnded")) if self.error and told else None

    @property
    def sighting(self) -> Sighting:
        """The same in our words."""
        if self.end:
            well, detail, _ = self.end
            return Sighting(JobState.SUCCEEDED if well else JobState.FAILED, detail)
        match self.state:
            case "erred" if self.error:
                return Sighting(JobState.FAILED, f"the worker {self._where} could not run it: {self.error}")
            case "erred":
                return Sighting(JobState.LOST, f"Dask lost its worker {self._where}")
            case "processing" if self.executing:
                return Sighting(JobState.RUNNING, f"on {self._where}")
            case _:
                return Sighting(JobState.QUEUED, f"Dask calls it {self.state}")

    @property
    def _where(self) -> str:
        return ", ".join(self.workers)


class DaskCluster:
    """The jobs of one scheduler, `tcp://host:port`."""

    def __init__(self, address: str) -> None:
        self._address = address

    def submit(self, jobs: Sequence[JobSpec]) -> Mapping[str, Refusal]:
        # Between map and publish only this client holds the tasks. If it dies there they are released, `launch` stops
        # what had begun, and the next tick finds the names unknown. A key that the scheduler has already, ended or
        # not, stays the task that it is: so two clients may ask at the same time, and one may ask again. What the
        # task was made with stays too: we look at it only after that, and so whoever came second finds out.
        async def send(client: Client) -> list[str]:
            digests = {job.name: job.digest for job in jobs}
            named = {job.name: job for job in jobs}
            commands = [job.command for job in named.values()]
            seconds = [job.timeout.total_seconds() for job in named.values()]
            futures = client.map(
                launch, list(named), list(digests.values()), commands, seconds, key=list(named), pure=False
            )
            await client.publish_dataset(dict(zip(named, futures, strict=True)), override=True)
            others: list[str] = await client.run_on_scheduler(differ, digests)
            return others

        def launch(name: str, digest: str, command: Sequence[str], timeout: float) -> None:
            # A nested function is sent by value: the scheduler, which unpacks it too, need not have our code.
            import importlib

            importlib.import_module("scorer.commands.dask_launcher").run_job(name, digest, command, timeout)

        def differ(digests: Mapping[str, str], dask_scheduler: Any) -> list[str]:
            tasks = dask_scheduler.tasks
            return [name for name, digest in digests.items() if tasks[name].run_spec.args[1:2] != (digest,)]

        return {
            name: Refusal(f"Dask scheduler at {self._address} has a job {name} of other content", taken=True)
            for name in self._ask(send)
        }

    def observe(self, runs: Collection[str]) -> Mapping[str, Sighting]:
        tasks = self._ask(lambda client: _look(client, [f"-{run}-" for run in runs]))
        jobs = {task.name: parse_job_name(task.name) for task in tasks}
        return {task.name: task.sighting for task in tasks if (job := jobs[task.name]) and job[0] in runs}

    def cancel(self, names: Collection[str]) -> None:
        # With its publication a task loses the last who wants it; `launch` sees that on the worker.
        self._ask(lambda client: client.unpublish_dataset(list(names)))

    def log(self, name: str) -> str:
        async def fetch(client: Client) -> str | None:
            task = next((task for task in await _look(client, [name]) if task.name == name), None)
            if task is None or task.end or not task.workers:
                return task.end[2] if task and task.end else None
            texts = await client.run(read, name, workers=list(task.workers), on_error="ignore")
            return next(iter(texts.values()), None)

        def read(name: str, dask_worker: Any) -> str:
            import importlib

            path = importlib.import_module("scorer.commands.dask_launcher").output_path(dask_worker, name)
            return str(path.read_text(errors="replace"))

        text = self._ask(fetch)
        if text is None:
            raise NotFound(f"Dask scheduler at {self._address} has no log of job {name}")
        return text

    def nodes(self) -> Nodes:
        # Whoever adapts the cluster knows how far it is to grow; the scheduler does not.
        def count(dask_scheduler: Any) -> tuple[int, int]:
            workers = dask_scheduler.workers.values()
            return len(workers), sum(bool(worker.processing) for worker in workers)

        async def ask(client: Client) -> tuple[int, int]:
            counts: tuple[int, int] = await client.run_on_scheduler(count)
            return counts

        there, busy = self._ask(ask)
        states = {"running": busy, "idle": there - busy}
        return Nodes(there, there, {state: n for state, n in states.items() if n})

    def release(self, run: str) -> None:
        names = list(self.observe([run]))
        if names:
            self.cancel(names)

    def _ask(self, question: Callable[[Client], Awaitable[T]]) -> T:
        """One conversation, with a client and an event loop of its own: costs some 20 ms, and leaves nothing behind."""
        import distributed

        async def converse() -> T:
            client: Client = distributed.Client(
                self._address, asynchronous=True, timeout=CONNECT_LIMIT, set_as_default=False
            )
            try:
                async with asyncio.timeout(LIMIT), client:
                    return await question(client)
            finally:
                await client.close()  # for the client that was never connected: nobody else closes it

        try:
            return asyncio.run(converse())
        except Exception as error:  # what a scheduler raises is sent back and raised here: it may be anything
            what = str(error) or f"{type(error).__name__} within {LIMIT} s"
            raise Unavailable(f"expected an answer of the Dask scheduler at {self._address}, got: {what}") from error


async def _look(client: Client, marks: Sequence[str]) -> list[_Task]:
    """The published jobs whose names hold one of *marks*; forgets what ended and was told long ago.

    One question to the scheduler itself: no other part of Dask's API tells what waits from what runs, or how a job
    ended, without waiting for each future or bothering the workers.
    """

    def look(marks: Sequence[str], remembered: float, dask_scheduler: Any) -> tuple[list[Any], list[str]]:
        # Sent by value and run there, so it may use nothing of this module.
        import time

        now, found, old = time.time(), [], []
        for name in dask_scheduler.extensions["publish"].datasets:
            task = dask_scheduler.tasks.get(name)
            if task is None:
                continue
            # Dask drops the metadata of a task together with the task.
            if dask_scheduler.task_metadata.get(name, now) < now - remembered:
                old.append(name)
            elif any(mark in name for mark in marks):
                worker = task.processing_on
                where = [worker.address] if worker else sorted(task.erred_on or ())
                executing = worker is not None and task in worker.executing
                found.append((name, task.state, executing, task.exception_text, where))
                if task.state == "erred":
                    dask_scheduler.task_metadata.setdefault(name, now)
        return found, old

    found, old = await client.run_on_scheduler(look, marks, REMEMBERED)
    if old:
        await client.unpublish_dataset(old)
    return [_Task(name, state, executing, error, tuple(where)) for name, state, executing, error, where in found]

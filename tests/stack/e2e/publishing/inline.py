"""A cluster that runs each job when it is submitted: scoring in this process, publishing as a test says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from scorer.commands.score_chunk import run_attempt
from shared.adapters.memory import MemoryCluster
from shared.ports import JobSpec, JobStatus, Refusal
from shared.state.runs import JobState, Nodes


@dataclass(slots=True)
class InlineCluster:
    """See Cluster. *publish* gets the URL of a manifest, and returns how the job has ended."""

    storage: str
    publish: Callable[[str], JobState]
    memory: MemoryCluster = field(default_factory=MemoryCluster)

    def submit(self, jobs: Sequence[JobSpec]) -> Mapping[str, Refusal]:
        fresh = [job for job in jobs if job.name not in self.memory.jobs]
        refusals = self.memory.submit(jobs)
        for job in fresh:
            self.memory.set_state(job.name, self._run(job.command))
        return refusals

    def _run(self, command: tuple[str, ...]) -> JobState:
        manifest = command[command.index("--manifest") + 1]
        if "publish" in command:
            return self.publish(manifest)
        run_attempt(manifest, int(command[command.index("--attempt") + 1]), self.storage)
        return JobState.SUCCEEDED

    def observe(self, runs: Collection[str]) -> Mapping[str, JobStatus]:
        return self.memory.observe(runs)

    def cancel(self, names: Collection[str]) -> None:
        self.memory.cancel(names)

    def read_log(self, name: str) -> str:
        return self.memory.read_log(name)

    def count_nodes(self) -> Nodes:
        return self.memory.count_nodes()

    def release(self, run: str) -> None:
        self.memory.release(run)

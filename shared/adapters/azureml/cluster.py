"""Jobs on an AmlCompute cluster of an Azure Machine Learning workspace. Knows nothing of what a job computes.

Spoken through the client that `azure-ai-ml` was generated with, and not through its MLClient. That one, of 1.35.2,
writes the names of listed jobs in lower case, fetches two tokens for each, starts git for each submission and sends
what it says, and drops the counts of nodes. The import costs a second: it happens at the first call of a port.
"""

from __future__ import annotations

import logging
import shlex
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from shared.adapters.azure.arm import translated
from shared.adapters.azure.auth import PATIENCE, default_credential
from shared.contract.errors import Conflict, Malformed, Misconfigured, NotFound, Unavailable
from shared.contract.paths import parse_job_name
from shared.ports import JobSpec, Refusal, Sighting
from shared.state.runs import JobState, Nodes

from .run_history import RunHistory, Workspace

if TYPE_CHECKING:
    from azure.ai.ml._restclient.arm_ml_service import MachineLearningServicesMgmtClient

S = TypeVar("S")
T = TypeVar("T")

API_VERSION = "2024-10-01"  # the stable one that the official examples are of
RIGHTS = "Give this identity the role that the deployment makes for the control plane, on the workspace."
THREADS = 8  # that submit and cancel: a PUT takes Azure more than a second, and SUBMIT_RATE is the limit that counts
LISTING_LIMIT = 60  # seconds that a listing may go on, as long as each of its pages comes in time
WHYS_LIMIT = 32  # failed jobs whose run details are asked for at one look
WHYS_SECONDS = 6  # after which no more are begun
REMEMBERED = 2_000  # ends of failed jobs that are not asked for again

# What tells our jobs. A listing can be filtered by a property. What a job is made of is told by a variable of its
# environment: that cannot be changed, while of a second request with other content a property could become ours. The
# property is read only where Azure shows no variables.
RUN, DIGEST = "fleetscore_run", "FLEETSCORE_DIGEST"

# https://learn.microsoft.com/rest/api/azureml/jobs/get#jobstatus. The SDK calls NotResponding an end; the service does
# not. Paused, Unknown and words that do not exist yet are taken for waiting: that is given up without charge to the
# retries, and a sign of life makes it running.
STATES: Mapping[str, JobState] = {
    "NotStarted": JobState.QUEUED,
    "Starting": JobState.QUEUED,
    "Provisioning": JobState.QUEUED,
    "Preparing": JobState.QUEUED,
    "Queued": JobState.QUEUED,
    "Running": JobState.RUNNING,
    "Finalizing": JobState.RUNNING,
    "CancelRequested": JobState.RUNNING,
    "NotResponding": JobState.DOUBTFUL,
    "Completed": JobState.SUCCEEDED,
    "Failed": JobState.FAILED,
    "Canceled": JobState.CANCELLED,
}


class AzureMLCluster:
    """The jobs of one compute cluster; *workspace* is its workspace's ARM id, *environment* a registered NAME:VERSION.

    *client_id* names the identity, one of the cluster's own, that jobs sign in with. *arm*: Resource Manager's URL.
    """

    def __init__(
        self,
        workspace: str,
        compute: str,
        environment: str,
        client_id: str = "",
        arm: str = "https://management.azure.com",
        credential: Any = None,
    ) -> None:
        self._workspace = Workspace.parse(workspace)
        self._compute, self._client_id, self._arm, self._given = compute, client_id, arm.rstrip("/"), credential
        name, colon, version = environment.partition(":")
        if not (name and colon and version):
            raise Misconfigured(f"expected a registered environment as NAME:VERSION, got {environment!r}")
        self._environment = f"{self._workspace.id}/environments/{name}/versions/{version}"
        self._ends: dict[str, Sighting] = {}  # of failed jobs, as the run history told them

    def submit(self, jobs: Sequence[JobSpec]) -> Mapping[str, Refusal]:
        # One PUT each; no code to upload, nothing to resolve. Who is told Unavailable asks again for all of them, and
        # what was taken is then found to be the same.
        named = {job.name: job for job in jobs}
        refusals = self._all(self._submit, named.values())
        return {name: refusal for name, refusal in zip(named, refusals, strict=True) if refusal}

    def _submit(self, job: JobSpec) -> Refusal | None:
        try:
            with self._asked(f"to take job {job.name}"):
                made = self._client.jobs.create_or_update(*self._workspace.scope, job.name, self._order(job))
                return self._difference(job, made)  # 201 is a new job; 200 is one that was there
        except (Malformed, Conflict, NotFound) as error:
            # It may be there all the same: Azure answers a name that exists with 400 where it finds a difference, and
            # is picky. So we look ourselves, rather than trust the wording of that.
            with suppress(NotFound, Malformed), self._asked(f"for job {job.name}"):
                there = self._client.jobs.get(*self._workspace.scope, job.name)
                return self._difference(job, there)
            if isinstance(error, Conflict):
                raise Unavailable(str(error)) from error
            return Refusal(str(error))

    def _difference(self, job: JobSpec, there: Any) -> Refusal | None:
        job_there = there["properties"]
        kept = job_there.get("environmentVariables") or job_there.get("properties") or {}
        if kept.get(DIGEST) == job.digest:
            return None
        return Refusal(f"{self._workspace.name} has a job {job.name} of other content", taken=True)

    def _order(self, job: JobSpec) -> Any:
        """The job as a body of ARM's; `Managed` is the identity of the compute cluster, which a variable chooses from.

        https://learn.microsoft.com/azure/machine-learning/how-to-identity-based-service-authentication#compute-cluster
        """
        from azure.ai.ml._restclient.arm_ml_service import models

        signing_in = {"AZURE_CLIENT_ID": self._client_id} if self._client_id else {}
        order = models.CommandJob(
            command=shlex.join(job.command),
            environment_id=self._environment,
            compute_id=f"{self._workspace.id}/computes/{self._compute}",
            display_name=job.name,
            experiment_name=job.name.partition(f"-{job.run}-")[0],
            environment_variables={**signing_in, DIGEST: job.digest},
            properties={RUN: job.run, DIGEST: job.digest},
            identity=models.ManagedIdentity(),
            limits=models.CommandJobLimits({"jobLimitsType": "Command", "timeout": _seconds(job.timeout)}),
        )
        return models.JobBase(properties=order)

    def observe(self, runs: Collection[str]) -> Mapping[str, Sighting]:
        # One listing a run: Azure filters by a property, but by one value of it; and neither by state nor by names.
        found = dict(job for jobs in self._all(self._listed, sorted(runs)) for job in jobs)
        self._find_out([name for name, state in found.items() if state == "Failed" and name not in self._ends])
        return {name: self._sighting(name, state) for name, state in found.items()}

    def _listed(self, run: str) -> list[tuple[str, str]]:
        """Name and state of each job of a run; also of those that a person has archived."""
        found: list[tuple[str, str]] = []
        until = time.monotonic() + LISTING_LIMIT
        what = f"for the jobs of {run}"
        try:
            with self._asked(what):
                listing: Iterable[Any] = self._client.jobs.list(
                    *self._workspace.scope, properties=f"{RUN}={run}", list_view_type="All", cls=_names_and_states
                )
                for job in listing:  # fetches page after page
                    found.append(job)
                    if time.monotonic() > until:
                        raise Unavailable(f"{self._workspace.name}, asked {what}: {len(found)} in {LISTING_LIMIT} s")
        except (NotFound, Malformed, Conflict) as error:
            raise Unavailable(str(error)) from error
        return [(name, state) for name, state in found if (parsed := parse_job_name(name)) and parsed[0] == run]

    def _find_out(self, names: Sequence[str]) -> None:
        """Learn why jobs have failed, as many as time allows. Those left are in doubt until the next look."""
        if not names:
            return
        until = time.monotonic() + WHYS_SECONDS

        def why(name: str) -> None:
            if time.monotonic() < until:
                self._ends[name] = self._history.why(name)

        self._all(why, names[:WHYS_LIMIT])
        while len(self._ends) > REMEMBERED:
            del self._ends[next(iter(self._ends))]

    def _sighting(self, name: str, state: str) -> Sighting:
        told = f"Azure ML calls it {state}"
        if state != "Failed":
            return Sighting(STATES.get(state, JobState.QUEUED), told)
        return self._ends.get(name) or Sighting(JobState.DOUBTFUL, f"{told}; why is asked at the next look")

    def cancel(self, names: Collection[str]) -> None:
        self._all(self._cancel, list(names))

    def _cancel(self, name: str) -> None:
        with suppress(NotFound, Conflict, Malformed), self._asked(f"to cancel job {name}"):  # over, or never was
            self._client.jobs.begin_cancel(*self._workspace.scope, name, polling=False)

    def log(self, name: str) -> str:
        return self._history.log(name)

    def nodes(self) -> Nodes:
        try:
            with self._asked(f"for compute {self._compute}"):
                found = self._client.compute.get(*self._workspace.scope, self._compute)["properties"]
                if found["computeType"] != "AmlCompute":
                    raise Unavailable(
                        f"expected {self._compute} to be an AmlCompute cluster, got {found['computeType']}"
                    )
                counts = found.get("properties") or {}  # none while it is being made
                states = (counts.get("nodeStateCounts") or {}).items()
                there = {state.removesuffix("NodeCount"): n for state, n in states if n}
                return Nodes(counts.get("currentNodeCount") or 0, counts.get("targetNodeCount") or 0, there)
        except (NotFound, Malformed, Conflict) as error:
            raise Unavailable(str(error)) from error

    def release(self, run: str) -> None:
        """Nothing: ended jobs cost nothing and crowd nobody out, and their names are spent for ever in any case."""

    def _asked(self, what: str) -> Any:
        return translated(f"{self._workspace.name}, asked {what}", RIGHTS)

    def _all(self, act: Callable[[S], T], those: Iterable[S]) -> list[T]:
        """Act on each, by a few threads. The first that is Unavailable keeps those back that were not begun."""
        stop, errors, _ = Event(), list[Unavailable](), self._client  # made once, and not by a thread

        def one(it: S) -> T | None:
            try:
                return None if stop.is_set() else act(it)
            except Unavailable as error:
                stop.set()
                errors.append(error)
                return None

        with ThreadPoolExecutor(THREADS) as pool:
            done = list(pool.map(one, those))
        if errors:
            raise max(errors, key=lambda error: error.retry_after or 0)
        return done  # type: ignore[return-value]  # None only beside an error, or where act gives that

    @cached_property
    def _credential(self) -> Any:
        return self._given or default_credential()

    @cached_property
    def _scopes(self) -> list[str]:
        return [f"{self._arm}/.default"]

    @cached_property
    def _client(self) -> MachineLearningServicesMgmtClient:
        logging.getLogger("azure.ai.ml").setLevel(logging.ERROR)  # it prints by a handler of its own
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the SDK's own dependencies will drop: nothing that we can mend
            from azure.ai.ml._restclient.arm_ml_service import MachineLearningServicesMgmtClient

        return MachineLearningServicesMgmtClient(
            self._credential,
            self._workspace.subscription,
            base_url=self._arm,
            api_version=API_VERSION,
            credential_scopes=self._scopes,
            **PATIENCE,
        )

    @cached_property
    def _history(self) -> RunHistory:
        return RunHistory(self._client, self._workspace, self._credential, self._scopes, RIGHTS)


def _names_and_states(jobs: Sequence[Any]) -> list[tuple[str, str]]:
    """What we want of a page; making the SDK's objects of all the rest would cost more than the page."""
    return [(str(job["name"]), str(job["properties"].get("status"))) for job in jobs]


def _seconds(time: timedelta) -> str:
    """In ISO 8601. The SDK's own way of writing it, PT01H00M00S, is not what the official examples show."""
    return f"PT{round(time.total_seconds())}S"

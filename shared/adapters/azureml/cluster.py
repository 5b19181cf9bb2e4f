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

from shared.adapters.azure.arm import translate_errors
from shared.adapters.azure.auth import TIME_OUTS, make_default_credential
from shared.contract.errors import Conflict, Malformed, Misconfigured, NotFound, Unavailable
from shared.contract.paths import parse_job_name
from shared.ports import JobSpec, JobStatus, Refusal
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
DETAILS_LIMIT = 32  # failed jobs whose run details are asked for at one look
DETAILS_SECONDS = 6  # after which no more are begun
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
    "NotResponding": JobState.UNRESPONSIVE,
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
        self._ends: dict[str, JobStatus] = {}  # of failed jobs, as the run history told them

    def submit(self, jobs: Sequence[JobSpec]) -> Mapping[str, Refusal]:
        # One PUT each; no code to upload, nothing to resolve. Who is told Unavailable asks again for all of them, and
        # what was taken is then found to be the same.
        jobs_by_name = {job.name: job for job in jobs}
        refusals = self._run_in_threads(self._submit_job, jobs_by_name.values())
        return {name: refusal for name, refusal in zip(jobs_by_name, refusals, strict=True) if refusal}

    def _submit_job(self, job: JobSpec) -> Refusal | None:
        try:
            with self._translate_errors(f"to take job {job.name}"):
                body = self._client.jobs.create_or_update(*self._workspace.scope, job.name, self._build_body(job))
                return self._compare_job(job, body)  # 201 is a new job; 200 is one that was there
        except (Malformed, Conflict, NotFound) as error:
            # It may be there all the same: Azure answers a name that exists with 400 where it finds a difference, and
            # is picky. So we look ourselves, rather than trust the wording of that.
            with suppress(NotFound, Malformed), self._translate_errors(f"for job {job.name}"):
                body = self._client.jobs.get(*self._workspace.scope, job.name)
                return self._compare_job(job, body)
            if isinstance(error, Conflict):
                raise Unavailable(str(error)) from error
            return Refusal(str(error))

    def _compare_job(self, job: JobSpec, body: Any) -> Refusal | None:
        properties = body["properties"]
        marks = properties.get("environmentVariables") or properties.get("properties") or {}
        if marks.get(DIGEST) == job.digest:
            return None
        return Refusal(f"{self._workspace.name} has a job {job.name} of other content", name_taken=True)

    def _build_body(self, job: JobSpec) -> Any:
        """The job as a body of ARM's; `Managed` is the identity of the compute cluster, which a variable chooses from.

        https://learn.microsoft.com/azure/machine-learning/how-to-identity-based-service-authentication#compute-cluster
        """
        from azure.ai.ml._restclient.arm_ml_service import models

        identity_variables = {"AZURE_CLIENT_ID": self._client_id} if self._client_id else {}
        command_job = models.CommandJob(
            command=shlex.join(job.command),
            environment_id=self._environment,
            compute_id=f"{self._workspace.id}/computes/{self._compute}",
            display_name=job.name,
            experiment_name=job.name.partition(f"-{job.run}-")[0],
            environment_variables={**identity_variables, DIGEST: job.digest},
            properties={RUN: job.run, DIGEST: job.digest},
            identity=models.ManagedIdentity(),
            limits=models.CommandJobLimits({"jobLimitsType": "Command", "timeout": _format_seconds(job.timeout)}),
        )
        return models.JobBase(properties=command_job)

    def observe(self, runs: Collection[str]) -> Mapping[str, JobStatus]:
        # One listing a run: Azure filters by a property, but by one value of it; and neither by state nor by names.
        states = dict(job for jobs in self._run_in_threads(self._list_jobs, sorted(runs)) for job in jobs)
        self._fetch_failures([name for name, state in states.items() if state == "Failed" and name not in self._ends])
        return {name: self._make_status(name, state) for name, state in states.items()}

    def _list_jobs(self, run: str) -> list[tuple[str, str]]:
        """Name and state of each job of a run; also of those that a person has archived."""
        pairs: list[tuple[str, str]] = []
        until = time.monotonic() + LISTING_LIMIT
        operation = f"for the jobs of {run}"
        try:
            with self._translate_errors(operation):
                listing: Iterable[Any] = self._client.jobs.list(
                    *self._workspace.scope, properties=f"{RUN}={run}", list_view_type="All", cls=_parse_page
                )
                for job in listing:  # fetches page after page
                    pairs.append(job)
                    if time.monotonic() > until:
                        raise Unavailable(
                            f"{self._workspace.name}, asked {operation}: {len(pairs)} in {LISTING_LIMIT} s"
                        )
        except (NotFound, Malformed, Conflict) as error:
            raise Unavailable(str(error)) from error
        return [(name, state) for name, state in pairs if (parsed := parse_job_name(name)) and parsed[0] == run]

    def _fetch_failures(self, names: Sequence[str]) -> None:
        """Learn why jobs have failed, as many as time allows. Those left are in doubt until the next look."""
        if not names:
            return
        until = time.monotonic() + DETAILS_SECONDS

        def fetch_status(name: str) -> None:
            if time.monotonic() < until:
                self._ends[name] = self._history.read_failure(name)

        self._run_in_threads(fetch_status, names[:DETAILS_LIMIT])
        while len(self._ends) > REMEMBERED:
            del self._ends[next(iter(self._ends))]

    def _make_status(self, name: str, state: str) -> JobStatus:
        detail = f"Azure ML calls it {state}"
        if state != "Failed":
            return JobStatus(STATES.get(state, JobState.QUEUED), detail)
        return self._ends.get(name) or JobStatus(JobState.UNRESPONSIVE, f"{detail}; why is asked at the next look")

    def cancel(self, names: Collection[str]) -> None:
        self._run_in_threads(self._cancel_job, list(names))

    def _cancel_job(self, name: str) -> None:
        with (
            suppress(NotFound, Conflict, Malformed),
            self._translate_errors(f"to cancel job {name}"),
        ):  # over, or never was
            self._client.jobs.begin_cancel(*self._workspace.scope, name, polling=False)

    def read_log(self, name: str) -> str:
        return self._history.read_log(name)

    def count_nodes(self) -> Nodes:
        try:
            with self._translate_errors(f"for compute {self._compute}"):
                compute = self._client.compute.get(*self._workspace.scope, self._compute)["properties"]
                if compute["computeType"] != "AmlCompute":
                    raise Unavailable(
                        f"expected {self._compute} to be an AmlCompute cluster, got {compute['computeType']}"
                    )
                counts = compute.get("properties") or {}  # none while it is being made
                states = (counts.get("nodeStateCounts") or {}).items()
                counts_by_state = {state.removesuffix("NodeCount"): n for state, n in states if n}
                return Nodes(counts.get("currentNodeCount") or 0, counts.get("targetNodeCount") or 0, counts_by_state)
        except (NotFound, Malformed, Conflict) as error:
            raise Unavailable(str(error)) from error

    def release(self, run: str) -> None:
        """Nothing: ended jobs cost nothing and crowd nobody out, and their names are spent for ever in any case."""

    def _translate_errors(self, operation: str) -> Any:
        return translate_errors(f"{self._workspace.name}, asked {operation}", RIGHTS)

    def _run_in_threads(self, act: Callable[[S], T], items: Iterable[S]) -> list[T]:
        """Act on each, by a few threads. The first that is Unavailable keeps those back that were not begun."""
        stop, errors, _ = Event(), list[Unavailable](), self._client  # made once, and not by a thread

        def run_item(item: S) -> T | None:
            try:
                return None if stop.is_set() else act(item)
            except Unavailable as error:
                stop.set()
                errors.append(error)
                return None

        with ThreadPoolExecutor(THREADS) as pool:
            results = list(pool.map(run_item, items))
        if errors:
            raise max(errors, key=lambda error: error.retry_after or 0)
        return results  # type: ignore[return-value]  # None only beside an error, or where act gives that

    @cached_property
    def _credential(self) -> Any:
        return self._given or make_default_credential()

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
            **TIME_OUTS,
        )

    @cached_property
    def _history(self) -> RunHistory:
        return RunHistory(self._client, self._workspace, self._credential, self._scopes, RIGHTS)


def _parse_page(jobs: Sequence[Any]) -> list[tuple[str, str]]:
    """What we want of a page; making the SDK's objects of all the rest would cost more than the page."""
    return [(str(job["name"]), str(job["properties"].get("status"))) for job in jobs]


def _format_seconds(time: timedelta) -> str:
    """In ISO 8601. The SDK's own way of writing it, PT01H00M00S, is not what the official examples show."""
    return f"PT{round(time.total_seconds())}S"

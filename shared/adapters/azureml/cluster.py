"""Jobs on an AmlCompute cluster of an Azure Machine Learning workspace. Knows nothing of what a job computes.

It uses the generated client inside `azure-ai-ml`, and not its MLClient. The MLClient of 1.35.2 writes the names of
listed jobs in lower case, fetches two tokens for each, starts git for each submission and sends its output, and drops
the counts of nodes. The import takes a second: it happens at the first call.
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
RIGHTS = "Give this identity the role that the deployment creates for the control plane, on the workspace."
THREADS = 8  # for submit and cancel: a PUT takes more than a second; SUBMIT_RATE is the limit that counts
LISTING_LIMIT = 60  # seconds for a listing, if each of its pages comes in time
DETAILS_LIMIT = 32  # failed jobs whose run details one observation reads
DETAILS_SECONDS = 6  # after which no more are started
REMEMBERED = 2_000  # ends of failed jobs that are not read again

# The marks of the app's jobs. A listing can be filtered by a property. The digest stands in a variable of the job's
# environment, which cannot be changed, while a second request with other content could change a property. The property
# is read only where Azure shows no variables.
RUN, DIGEST = "fleetscore_run", "FLEETSCORE_DIGEST"

# https://learn.microsoft.com/rest/api/azureml/jobs/get#jobstatus. The SDK treats NotResponding as an end; the service
# does not. Paused, Unknown and future states are taken for waiting: a time-out of that does not count as a retry, and
# progress makes the attempt running.
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
        self._ends: dict[str, JobStatus] = {}  # of failed jobs, by the run history

    def submit(self, jobs: Sequence[JobSpec]) -> Mapping[str, Refusal]:
        # One PUT each; no code to upload, nothing to resolve. After Unavailable the caller submits all of them again,
        # and those that were accepted are then the same.
        jobs_by_name = {job.name: job for job in jobs}
        refusals = self._run_in_threads(self._submit_job, jobs_by_name.values())
        return {name: refusal for name, refusal in zip(jobs_by_name, refusals, strict=True) if refusal}

    def _submit_job(self, job: JobSpec) -> Refusal | None:
        try:
            with self._translate_errors(f"to take job {job.name}"):
                body = self._client.jobs.create_or_update(*self._workspace.scope, job.name, self._build_body(job))
                return self._compare_job(job, body)  # 201 is a new job; 200 one that existed
        except (Malformed, Conflict, NotFound) as error:
            # The job may exist all the same: Azure answers 400 for an existing name with any difference. The job is
            # read, rather than the wording of the error.
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
        """The job as ARM's request body; `Managed` is an identity of the compute cluster, which a variable selects.

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
        # One listing a run: Azure filters by one value of a property, and neither by state nor by name.
        states = dict(job for jobs in self._run_in_threads(self._list_jobs, sorted(runs)) for job in jobs)
        self._fetch_failures([name for name, state in states.items() if state == "Failed" and name not in self._ends])
        return {name: self._make_status(name, state) for name, state in states.items()}

    def _list_jobs(self, run: str) -> list[tuple[str, str]]:
        """Name and state of each job of a run, including archived ones."""
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
        """Read why jobs have failed, as many as time allows. The others are unresponsive until the next observation."""
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
        detail = f"Azure ML reports {state}"
        if state != "Failed":
            return JobStatus(STATES.get(state, JobState.QUEUED), detail)
        return self._ends.get(name) or JobStatus(
            JobState.UNRESPONSIVE, f"{detail}; the reason is read at the next observation"
        )

    def cancel(self, names: Collection[str]) -> None:
        self._run_in_threads(self._cancel_job, list(names))

    def _cancel_job(self, name: str) -> None:
        with (
            suppress(NotFound, Conflict, Malformed),
            self._translate_errors(f"to cancel job {name}"),
        ):  # over, or unknown
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
                counts = compute.get("properties") or {}  # none while it is being created
                states = (counts.get("nodeStateCounts") or {}).items()
                counts_by_state = {state.removesuffix("NodeCount"): n for state, n in states if n}
                return Nodes(counts.get("currentNodeCount") or 0, counts.get("targetNodeCount") or 0, counts_by_state)
        except (NotFound, Malformed, Conflict) as error:
            raise Unavailable(str(error)) from error

    def release(self, run: str) -> None:
        """Do nothing: ended jobs cost nothing and count against no quota, and their names cannot be used again."""

    def _translate_errors(self, operation: str) -> Any:
        return translate_errors(f"{self._workspace.name}, asked {operation}", RIGHTS)

    def _run_in_threads(self, act: Callable[[S], T], items: Iterable[S]) -> list[T]:
        """Act on each item, in a few threads. After the first Unavailable no further item is started."""
        stop, errors, _ = Event(), list[Unavailable](), self._client  # created once, and not in a thread

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
        return results  # type: ignore[return-value]  # None only after an error, or as a result of act

    @cached_property
    def _credential(self) -> Any:
        return self._given or make_default_credential()

    @cached_property
    def _scopes(self) -> list[str]:
        return [f"{self._arm}/.default"]

    @cached_property
    def _client(self) -> MachineLearningServicesMgmtClient:
        logging.getLogger("azure.ai.ml").setLevel(logging.ERROR)  # it has its own handler that prints
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the SDK's own dependencies: nothing to fix here
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
    """Name and state of each job in a page; the SDK's objects of the rest would cost more than the page."""
    return [(str(job["name"]), str(job["properties"].get("status"))) for job in jobs]


def _format_seconds(time: timedelta) -> str:
    """The duration in ISO 8601; the SDK's own form, PT01H00M00S, is not that of the official examples."""
    return f"PT{round(time.total_seconds())}S"

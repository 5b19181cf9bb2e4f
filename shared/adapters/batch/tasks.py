"""The requests to Azure Batch: names, a run's Batch job, and a task for an attempt at a chunk. Sends nothing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.contract.paths import log_path, make_job_name, parse_job_name
from shared.ports import JobSpec

if TYPE_CHECKING:
    from azure.batch.models import BatchJobCreateOptions, BatchTaskCreateOptions, OutputFile

LIFETIME = timedelta(days=7)  # of a Batch job that is never released: longer than any run is open
FILES_KEPT = timedelta(hours=3)  # on the node: longer than a closed run is observed
OUTPUT = "stdout.txt"  # written by Batch, beside the task's working directory
DIGEST = "FLEETSCORE_DIGEST"


@dataclass(frozen=True, slots=True)
class TaskFactory:
    """Builds the requests for this app's jobs; `BatchCluster` describes the fields."""

    pool: str
    image: str
    app: str
    work_url: str
    identity: str
    client_id: str

    def make_job_id(self, run: str) -> str:
        """The Batch job of a run."""
        return f"{self.app}-{run}"

    def find_task(self, name: str) -> tuple[str, str] | None:
        """The Batch job and the task of a job's name; None if it is not a name of this app."""
        job = parse_job_name(name)
        if job is None or name != make_job_name(self.app, *job):
            return None
        run, chunk, attempt = job
        return self.make_job_id(run), f"{chunk}-{attempt}"

    def build_job(self, run: str) -> BatchJobCreateOptions:
        """A Batch job that accepts tasks until it is deleted, or for LIFETIME."""
        from azure.batch import models

        return models.BatchJobCreateOptions(
            id=self.make_job_id(run),
            pool_info=models.BatchPoolInfo(pool_id=self.pool),
            constraints=models.BatchJobConstraints(max_wall_clock_time=LIFETIME, max_task_retry_count=0),
        )

    def build_task(self, task_id: str, job: JobSpec) -> BatchTaskCreateOptions:
        """A task that runs once, unless its node is lost, as a user of the node who is not an administrator."""
        from azure.batch import models

        environment = {DIGEST: job.digest, **({"AZURE_CLIENT_ID": self.client_id} if self.client_id else {})}
        return models.BatchTaskCreateOptions(
            id=task_id,
            command_line=build_command_line(job.command),
            # Batch maps that user into the container, whatever user the image names; the scorer is in the image's
            # working directory (https://learn.microsoft.com/azure/batch/batch-docker-container-workloads).
            container_settings=models.BatchTaskContainerSettings(
                image_name=self.image, container_run_options="--rm", working_directory="containerImageDefault"
            ),
            environment_settings=[
                models.EnvironmentSetting(name=name, value=environment[name]) for name in environment
            ],
            constraints=models.BatchTaskConstraints(
                max_wall_clock_time=job.timeout, retention_time=FILES_KEPT, max_task_retry_count=0
            ),
            output_files=[self._build_upload(job.name)] if self.identity else None,
        )

    def _build_upload(self, name: str) -> OutputFile:
        """The node uploads the output to where the API reads logs.

        If that fails, Batch reports the task as failed although its command succeeded; its report still counts.
        """
        from azure.batch import models

        job = parse_job_name(name)
        assert job, name
        container = models.OutputFileBlobContainerDestination(
            container_url=self.work_url,
            path=log_path(*job),
            identity_reference=models.BatchNodeIdentityReference(resource_id=self.identity),
        )
        return models.OutputFile(
            file_pattern=f"../{OUTPUT}",
            destination=models.OutputFileDestination(container=container),
            upload_options=models.OutputFileUploadConfiguration(upload_condition="taskcompletion"),
        )


def build_command_line(command: Sequence[str]) -> str:
    """The command line for Batch: run by the image's shell, with both streams in one file.

    Batch itself runs no shell, but splits the line as one would
    (https://learn.microsoft.com/azure/batch/batch-compute-node-environment-variables). Its rules for quotes within
    quotes are not documented; the commands of `contract.manifest` need none.
    """
    return f"/bin/sh -c {shlex.quote(f'exec {shlex.join(command)} 2>&1')}"

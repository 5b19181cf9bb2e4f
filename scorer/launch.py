"""Where an app of release 0.1 looks for the launcher of jobs on a Dask worker. App and workers are upgraded apart."""

from scorer.commands.dask_launcher import output_path
from scorer.commands.dask_launcher import run_job as run

__all__ = ["output_path", "run"]

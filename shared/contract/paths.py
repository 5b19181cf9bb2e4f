"""All paths in storage and names of jobs that app and nodes share. Pure.

Paths are in the working container (`fleetscore`) unless stated otherwise.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .windows import Window

_JOB = re.compile(
    r"(?P<app>.+)-(?P<run>\d{8}T\d{4}Z-P[0-9DTHM]+|publish-[a-z]+-\d{6,})-(?P<chunk>c\d+)-(?P<attempt>\d+)"
)
_SIGN = re.compile(r"runs/[^/]+/signs/(?P<chunk>c\d+)-(?P<attempt>\d+)\.(?P<kind>progress|report)")

_PREDICTION = re.compile(r"(?:.+/)?\d{8}T\d{4}Z-P[0-9DTHM]+-c\d+-\d+\.parquet", re.DOTALL)


def make_chunk_id(index: int) -> str:
    """`c00042`: sorts by index up to the most chunks that a run may have."""
    return f"c{index:05d}"


def make_job_name(app: str, run: str, chunk: str, attempt: int) -> str:
    """The idempotency key of an attempt, at every cluster."""
    return f"{app}-{run}-{chunk}-{attempt}"


def parse_job_name(name: str) -> tuple[str, str, int] | None:
    """(run, chunk, attempt) of a name of `make_job_name`; None for any other."""
    match = _JOB.fullmatch(name)
    return (match["run"], match["chunk"], int(match["attempt"])) if match else None


RUNS_PREFIX = "runs/"


def run_prefix(run: str) -> str:
    """The folder of a run, without its parts: plans, manifests, progress, reports, logs."""
    return f"{RUNS_PREFIX}{run}/"


def plan_path(run: str, number: int = 0) -> str:
    """Create-once: this blob makes the manifests a plan. Each extension of the run has its own plan."""
    return f"{run_prefix(run)}plan{f'-{number}' if number else ''}.json"


def round_path(run: str, number: int) -> str:
    """Create-once: names the manifests of a reprocess, which is round *number* of the run."""
    return f"{run_prefix(run)}round-{number}.json"


def manifest_path(run: str, digest: str) -> str:
    """Named by its content, so that a second write changes nothing."""
    return f"{run_prefix(run)}manifests/{digest}.json"


def attempts_prefix(run: str) -> str:
    """The folder of every progress and report of a run."""
    return f"{run_prefix(run)}signs/"


def progress_path(run: str, chunk: str, attempt: int) -> str:
    """An empty blob: its metadata is the progress, and its etag changes while the node is alive."""
    return f"{attempts_prefix(run)}{chunk}-{attempt}.progress"


def report_path(run: str, chunk: str, attempt: int) -> str:
    """Create-once, written last."""
    return f"{attempts_prefix(run)}{chunk}-{attempt}.report"


def parse_attempt_path(path: str) -> tuple[str, int, str] | None:
    """(chunk, attempt, "progress" or "report") of a path under `attempts_prefix`; None for any other."""
    match = _SIGN.fullmatch(path)
    return (match["chunk"], int(match["attempt"]), match["kind"]) if match else None


def log_path(run: str, chunk: str, attempt: int) -> str:
    """The output of the job, where the cluster does not store it."""
    return f"{run_prefix(run)}logs/{chunk}-{attempt}.log"


def publishing_manifest_path(run: str) -> str:
    """Create-once: the task of a publishing job, whose id is in place of a run's."""
    return f"{run_prefix(run)}publish.json"


def events_path(run: str) -> str:
    """What the sink of events has sent for a run."""
    return f"events/{run}.json"


def pack_path(name: str) -> str:
    """A pack. Packs are a cache: they outlive runs, and may be deleted at any time."""
    return f"packs/{name}.pack"


def results_prefix(run: str) -> str:
    """The folder of all parts of a run, chosen or not."""
    return f"results/{run}/"


def parts_prefix(run: str, chunk: str) -> str:
    """The folder of the parts of a chunk: each process writes under a random name."""
    return f"{results_prefix(run)}{chunk}/"


@lru_cache(maxsize=4096)  # a tick asks for the same few thousands of times
def predictions_prefix(window: Window) -> str:
    """The prefix of a run's committed parts in the predictions' container, and of no other run's."""
    return f"date={window.start:%Y-%m-%d}/hour={window.start:%H}/{window.id}-"


def prediction_prefix(window: Window, chunk: str) -> str:
    """The same for one chunk."""
    return f"{predictions_prefix(window)}{chunk}-"


def prediction_path(window: Window, chunk: str, index: int) -> str:
    """The path of a chunk's committed part *index* in the predictions' container."""
    return f"{prediction_prefix(window, chunk)}{index}.parquet"


def is_prediction_path(path: str) -> bool:
    """Whether the last segment is that of a `prediction_path`: folders may be moved, the names of files stay."""
    return _PREDICTION.fullmatch(path) is not None

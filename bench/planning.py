"""What it costs to plan a fleet: list it, cut it, write the manifests and the plan."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import cast

from local.azurite import ACCOUNT, ACCOUNT_KEY
from local.processes import DIE_WITH_PARENT
from shared.adapters.azure.blobs import AzureBlobs
from shared.adapters.memory import MemoryLedger
from shared.contract.domain import Tally
from shared.contract.windows import Window
from shared.planning.chunking import ChunkSize
from shared.planning.plan_writer import PlanOptions, PlanWriter, read_plan
from shared.ports import Blobs
from shared.state.runs import Phase, Run

from .fleet import Stream
from .measure import Cost, count_calls, measure_cost

NOON = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
CORES = 4


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan's chunks, and what it took."""

    chunks: int
    largest: int  # models of a chunk
    cost: Cost


def in_memory(models: int, size: int | None, rate: float | None) -> Planned:
    """Plan from names that are made up in this process. See `_plan`."""
    return _measure_plan(lambda count: cast("Blobs", Stream(count)), models, size, rate)


def over_http(models: int, size: int | None, rate: float | None) -> Planned:
    """Plan through the adapter of Blob Storage, from a container of another process. See `_plan`."""
    with _serve_listing(1) as small, _serve_listing(models) as large:
        return _measure_plan(lambda count: AzureBlobs(small if count == 1 else large, "models"), models, size, rate)


def _measure_plan(container: Callable[[int], Blobs], models: int, size: int | None, rate: float | None) -> Planned:
    """Plan with so many models a chunk, or with `auto` where *size* is None.

    *rate* is that of the last run, in models a second and process; None: there was no last run.
    """
    calls = Counter[str]()
    rules = PlanOptions(ChunkSize(size), cores=CORES)
    run = Run(Window(NOON - timedelta(minutes=65), HOUR), Phase.PLANNING, NOON)
    last = Run(Window(NOON - timedelta(minutes=125), HOUR), Phase.SUCCEEDED, NOON - HOUR, models=models)
    earlier = [replace(last, tally=Tally(scored=models, seconds=models / rate))] if rate else []
    small = container(1)
    PlanWriter(small, small, small, small, MemoryLedger(), rules).write_plan(
        run, [], NOON
    )  # loads what is loaded when it is first used
    fleet = count_calls(container(models), "blobs", calls)
    drafting = PlanWriter(fleet, fleet, fleet, fleet, count_calls(MemoryLedger(), "ledger", calls), rules)
    with measure_cost(calls) as cost:
        planned = drafting.write_plan(run, earlier, NOON)
    assert planned.models == models, f"expected a plan of {models} models, got {planned.models}"
    chunks = read_plan(fleet, run, 0, NOON).chunks
    return Planned(len(chunks), max(chunk.models for chunk in chunks), cost)


@contextmanager
def _serve_listing(models: int) -> Iterator[str]:
    """The connection string of a container that lists so many models."""
    command = [sys.executable, "-m", "bench.listing", str(models)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=DIE_WITH_PARENT) as process:  # noqa: PLW1509  # one system call
        try:
            assert process.stdout
            port = process.stdout.readline().strip()
            yield (
                f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
                f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
            )
        finally:
            process.terminate()

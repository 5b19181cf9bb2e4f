"""What a status and a tick cost while many past runs lie in the ledger."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

from starlette.testclient import TestClient

from local import azurite
from shared.adapters.azure.blobs import AzureBlobs
from shared.adapters.azure.table_batches import Table, make_insert, split_into_batches
from shared.adapters.azure.table_rows import dump_row, make_run_key, shorten_texts
from shared.adapters.azure.tables import RUNS, TableLedger
from shared.adapters.memory import MemoryCluster, MemoryStopwatch
from shared.adapters.memory_sinks import MemoryNotifier, MemorySinkLedger
from shared.api.app import create_api
from shared.api.auth import Authorizer
from shared.contract import paths
from shared.contract.domain import Failure, Tally
from shared.contract.reasons import Outcome, Reason
from shared.contract.windows import Window
from shared.control.loop import ControlPlane
from shared.control.options import ControlOptions
from shared.ports import Blobs
from shared.state.runs import Chunk, ChunkState, Heartbeat, Phase, Run

from .fleet import Stream
from .measure import Cost, count_calls, measure_cost, take_median

NOON = datetime(2026, 11, 21, 12, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
NEWEST = Window(datetime(2026, 11, 21, 11, tzinfo=UTC), HOUR)  # all others are over
OPEN_CHUNKS = 100
REPEATS = 9
FOR_EVER, QUARTER = timedelta(days=10_000), timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for while so many runs lay in the ledger, and the median cost."""

    name: str
    runs: int
    cost: Cost


def measure_history(sizes: Sequence[int]) -> list[Asked]:
    """Fill a ledger on Azurite to each size in turn, and ask. Then let a tick prune it."""
    server = azurite.start(die_with_parent=True)
    try:
        return list(_measure_queries(server.connection_string, sizes))
    finally:
        server.stop()


def _measure_queries(setting: str, sizes: Sequence[int]) -> Iterator[Asked]:
    table, ledger, calls = Table(setting, "bench"), TableLedger(setting, "bench"), Counter[str]()
    table.ensure_table()
    ledger.save_heartbeat(Heartbeat(watermark=NEWEST.end))
    work = AzureBlobs(setting, "work")
    work.ensure_container()
    plane = _build_plane(ledger, work, calls, FOR_EVER)
    api = TestClient(create_api(plane.services, Authorizer(), lambda: NOON))
    beats = (NOON + timedelta(seconds=second) for second in itertools.count())
    n_runs = 0
    for size in sizes:
        rows = (dump_row(shorten_texts(run), RUNS, make_run_key(run.id)) for run in _make_past_runs(n_runs, size))
        for batch in split_into_batches(map(make_insert, rows)):
            table.write_rows(batch)
        n_runs = size
        middle = next(_make_past_runs(size // 2, size // 2 + 1)).id
        yield Asked("GET /api/runs/{id}", size, _repeat_action(_make_request(api, f"/api/runs/{middle}"), calls))
        yield Asked("GET /api/runs?limit=10", size, _repeat_action(_make_request(api, "/api/runs?limit=10"), calls))
        yield Asked("a tick, nothing open", size, _repeat_action(lambda: plane.tick(next(beats)), calls))
        ledger.add_run(Run(NEWEST, Phase.RUNNING, NOON, planned_at=NOON, plans=1, models=10_000, chunks=OPEN_CHUNKS))
        ledger.add_chunks([_make_waiting(index) for index in range(OPEN_CHUNKS)])
        yield Asked(
            f"a tick, one run of {OPEN_CHUNKS} chunks open",
            size,
            _repeat_action(lambda: plane.tick(next(beats)), calls),
        )
        ledger.remove_run(NEWEST.id)
    pruning = _build_plane(ledger, work, calls, QUARTER)
    with measure_cost(calls) as cost:
        pruning.tick(next(beats))
    yield Asked("a tick, 20 runs of more than 90 days ago to prune", n_runs, cost)


def _build_plane(ledger: TableLedger, work: AzureBlobs, calls: Counter[str], keep: timedelta) -> ControlPlane:
    blobs = count_calls(work, "work", calls)
    return ControlPlane(
        ledger=count_calls(ledger, "ledger", calls),
        cluster=count_calls(MemoryCluster(), "cluster", calls),
        models=cast("Blobs", Stream(0)),
        readings=blobs,
        work=blobs,
        predictions=blobs,
        stopwatch=MemoryStopwatch(),
        sinks=MemorySinkLedger(),
        notifier=MemoryNotifier(),
        options=ControlOptions(keep_runs=keep),
    )


def _make_waiting(index: int) -> Chunk:
    """A chunk for which a tick has nothing to do."""
    name = paths.make_chunk_id(index)
    return Chunk(NEWEST.id, name, "0" * 16, 100, "pump-0000000", "pump-0000099", not_before=NOON + HOUR)


def _make_past_runs(first: int, last: int) -> Iterator[Run]:
    """Runs that are over: number 0 is of the window before the newest."""
    for number in range(first, last):
        window = Window(NEWEST.start - (number + 1) * HOUR, HOUR)
        over = window.end + timedelta(minutes=12)
        off = Failure(Reason.NO_READINGS, Outcome.SKIPPED, 1_800, "pump-0000007", "no readings in the window")
        bad = Failure(Reason.UNREADABLE_MODEL, Outcome.FAILED, 200, "pump-0000042", "not a zip file")
        yield Run(
            window,
            Phase.PARTIAL,
            window.end + timedelta(minutes=5),
            planned_at=window.end + timedelta(minutes=6),
            ended_at=over,
            observed_at=over,
            progress_at=over,
            plans=1,
            models=100_000,
            chunks=40,
            done=100_000,
            tally=Tally(98_000, 200, 1_800, rows=5_880_000, anomalies=61_002, seconds=3_204.5),
            chunk_states={ChunkState.COMMITTED: 40},
            failures=(off, bad),
        )


def _make_request(api: TestClient, path: str) -> Callable[[], None]:
    def ask() -> None:
        answer = api.get(path)
        assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text}"  # noqa: PLR2004

    return ask


def _repeat_action(act: Callable[[], None], calls: Counter[str]) -> Cost:
    costs = []
    act()  # the first one opens connections
    for _ in range(REPEATS):
        with measure_cost(calls) as cost:
            act()
        costs.append(cost)
    return take_median(costs)

"""A fleet of all tasks through the whole stack: run, redrive with a job that is killed, reprocess, a lost ledger."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import Ridge
from starlette.testclient import TestClient

from local.dask import LocalDask
from shared.api.app import create_api
from shared.api.auth import Authorizer
from shared.contract.reasons import Reason
from shared.control.loop import ControlPlane
from shared.control.maintenance import rebuild_ledger
from shared.state.requests import Request, RequestKind
from shared.state.runs import Phase
from tests.stack.e2e.fleets import HOUR
from tests.stack.e2e.mixed import BROKEN, CLASSES, MINUTES, check_rows, count_tasks, give_mixed_fleet, train_models
from tests.stack.e2e.place import Place, jobs_of, over, tick_until

NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
START = NOW.replace(minute=0) - HOUR
RUN = "20261121T1100Z-PT1H"
CHUNK = "8"  # models


@pytest.fixture(scope="module")
def models() -> Mapping[str, Any]:
    return train_models()


def ask(plane: ControlPlane, path: str) -> Any:
    with TestClient(create_api(plane.services, Authorizer(), lambda: NOW)) as client:
        return client.get(path).json()


def finish(plane: ControlPlane, kind: RequestKind | None = None, later: timedelta = timedelta()) -> None:
    """Tick until the run, or the further round that is requested, is over."""
    round_before = plane.ledger.read_run(RUN).round if kind else -1
    if kind:
        plane.ledger.add_request(Request(kind, RUN, NOW))
    start = time.monotonic()

    def ended() -> bool:
        return over(plane, RUN)() and plane.ledger.read_run(RUN).round > round_before

    tick_until(plane, NOW + later, ended, lambda now: now + timedelta(seconds=time.monotonic() - start))


def expect_summary(rows: pd.DataFrame, tasks: dict[str, int]) -> dict[str, Any]:
    """The summary of these rows, counted by a consumer."""
    labels = Counter(rows["label"].dropna())
    numbers = rows["prediction"].dropna()
    return {
        "tasks": tasks,
        "readings": sum(tasks.values()) * MINUTES,
        "labels": [{"label": k, "rows": n} for k, n in sorted(labels.items(), key=lambda item: (-item[1], item[0]))],
        "other_labels": 0,
        "predictions": {
            "rows": len(numbers),
            "least": numbers.min(),
            "mean": pytest.approx(numbers.mean(), rel=1e-12),
            "greatest": numbers.max(),
        },
    }


def test_a_mixed_fleet_is_scored_redriven_with_a_killed_job_reprocessed_and_rebuilt(
    place: Place, dask_cluster: LocalDask, models: Mapping[str, Any]
) -> None:
    readings, tasks = give_mixed_fleet(place, models, START), count_tasks(models)
    plane = place.plane(CHUNK_SIZE=CHUNK)
    finish(plane)
    first = place.rows()
    check_rows(first, models, readings)
    answer = ask(plane, f"/api/runs/{RUN}")
    assert (answer["phase"], answer["models"]["scored"], answer["rows"]) == (
        "partial",
        len(models),
        (len(models) + 1) * MINUTES,
    )
    assert answer["predicted"] == expect_summary(first, tasks)
    assert answer["anomalies"] == first["anomaly"].sum()
    chunks = ask(plane, f"/api/runs/{RUN}/chunks")["items"]
    fleet = sorted([*models, BROKEN])
    assert [chunk["predicted"]["tasks"] for chunk in chunks] == [
        count_tasks(name for name in fleet[first : first + int(CHUNK)] if name != BROKEN)
        for first in range(0, len(fleet), int(CHUNK))
    ]

    mended = Ridge().fit(readings[["heat", "noise"]], readings["heat"])
    place.upload("models", {f"{BROKEN}.skops": skops.io.dumps(mended)})
    plane.ledger.add_request(Request(RequestKind.REDRIVE, RUN, NOW))
    tick_until(plane, NOW, lambda: jobs_of(dask_cluster))
    for job in jobs_of(dask_cluster):
        job.kill()
    start = time.monotonic()
    tick_until(
        plane,
        NOW,
        lambda: over(plane, RUN)() and plane.ledger.read_run(RUN).round == 1,
        lambda now: now + timedelta(seconds=time.monotonic() - start),
    )
    rows = place.rows()
    carried = rows[rows["device"] != BROKEN].reset_index(drop=True)
    pd.testing.assert_frame_equal(carried, first, check_exact=True)
    more = {**tasks, "regressor": tasks["regressor"] + 1}
    redriven = ask(plane, f"/api/runs/{RUN}")
    assert (redriven["phase"], redriven["models"]["scored"], redriven["rows"]) == (
        "succeeded",
        len(models) + 1,
        (len(models) + 2) * MINUTES,
    )
    assert redriven["predicted"] == expect_summary(rows, more)
    attempts = sum(chunk.next_attempt for chunk in plane.ledger.list_chunks(RUN))
    assert attempts >= len(chunks) + 3  # the killed job was replaced

    finish(plane, RequestKind.REPROCESS, timedelta(minutes=10))
    reprocessed = ask(plane, f"/api/runs/{RUN}")
    # What the killed job's successor scored in worker processes, kernels score now: sums may differ in their last bit.
    pd.testing.assert_frame_equal(place.rows(), rows, rtol=1e-12, atol=0)
    assert (reprocessed["round"], reprocessed["predicted"]["tasks"]) == (2, redriven["predicted"]["tasks"])
    assert reprocessed["predicted"] == expect_summary(place.rows(), more)

    lost = place.plane(CHUNK_SIZE=CHUNK, LEDGER_TABLE=place.environment["LEDGER_TABLE"] + "two")
    (restored,) = rebuild_ledger(lost.publisher, lost.predictions, lost.planner, NOW)
    assert restored.phase is Phase.SUCCEEDED
    rebuilt = ask(lost, f"/api/runs/{RUN}")
    assert (rebuilt["rows"], rebuilt["predicted"]) == (reprocessed["rows"], reprocessed["predicted"])
    assert [chunk["predicted"] for chunk in ask(lost, f"/api/runs/{RUN}/chunks")["items"]] == [
        chunk["predicted"] for chunk in ask(plane, f"/api/runs/{RUN}/chunks")["items"]
    ]


def test_all_probabilities_are_written_where_it_is_set_and_only_a_reprocess_changes_it(
    place: Place, models: Mapping[str, Any]
) -> None:
    readings = give_mixed_fleet(place, models, START)
    finish(place.plane(PROBABILITIES="all"))
    rows = place.rows()
    check_rows(rows, models, readings)
    probable = [name for name in models if name.endswith("classifier")]
    for device in probable:
        assert len(rows[rows["device"] == device]) == (1 + len(CLASSES)) * MINUTES
    answer = ask(place.plane(), f"/api/runs/{RUN}")
    assert answer["predicted"] == expect_summary(rows, count_tasks(models))
    assert answer["rows"] == len(rows) == (len(models) + 1 + len(probable) * len(CLASSES)) * MINUTES

    place.upload("models", {f"{BROKEN}.skops": skops.io.dumps(models["b-regressor"])})
    finish(place.plane(), RequestKind.REDRIVE)
    kept = place.rows()
    pd.testing.assert_frame_equal(kept[kept["device"] != BROKEN].reset_index(drop=True), rows, check_exact=True)
    finish(place.plane(), RequestKind.REPROCESS, timedelta(minutes=10))
    assert set(place.rows()["device"].value_counts()[probable]) == {MINUTES}


def test_in_schema_1_each_model_that_is_no_detector_is_refused_alone(place: Place, models: Mapping[str, Any]) -> None:
    give_mixed_fleet(place, models, START)
    plane = place.plane(PREDICTIONS_SCHEMA="1")
    finish(plane)
    answer = ask(plane, f"/api/runs/{RUN}")
    failures = ask(plane, f"/api/runs/{RUN}/failures/{Reason.UNSUPPORTED_MODEL}")["items"]
    detectors = [name for name in models if name.endswith("detector")]
    assert (answer["models"]["scored"], answer["models"]["failed"], answer["predicted"]) == (
        len(detectors),
        len(models) + 1 - len(detectors),
        None,
    )
    assert [failure["model"] for failure in failures] == [name for name in models if name not in detectors]
    assert all("predictions are written in schema 1" in failure["message"] for failure in failures)
    rows = place.rows()
    assert set(rows["device"]) == set(detectors)
    assert "label" not in rows.columns

"""Clients of 0.1 may ask for the codes of the reasons that they know."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from shared.contract.reasons import Reason
from tests.shared.api.test_app import client, is_problem
from tests.storm.world import WINDOW, World

HERE = f"/api/runs/{WINDOW}"
FLEET: dict[str, Reason | None] = {
    "pump1": None,
    "pump2": Reason.SENSOR_SILENT,
    "pump3": Reason.NO_READINGS,
    "pump4": Reason.NOT_NOVELTY,
    "pump5": Reason.UNSUPPORTED_MODEL,
    "pump6": Reason.MISSING_FEATURES,
    "pump7": Reason.SENSOR_SILENT,
}
SECOND = {"sensor_silent": 2, "missing_features": 1, "no_readings": 1, "not_novelty": 1, "unsupported_model": 1}
FIRST = {"no_readings": 3, "not_a_detector": 2, "wrong_features": 1}


@pytest.fixture
def http() -> TestClient:
    world = World(dict(FLEET))
    world.beat_until_over()
    return client(world)


def counts(groups: list[dict[str, Any]]) -> dict[str, int]:
    return {group["reason"]: group["models"] for group in groups}


@pytest.mark.parametrize(("query", "expected"), [("", SECOND), ("?reasons=2", SECOND), ("?reasons=1", FIRST)])
def test_groups_of_failures_have_the_codes_that_were_asked_for(
    http: TestClient, query: str, expected: dict[str, int]
) -> None:
    run = http.get(f"{HERE}{query}")
    listed = http.get(f"/api/runs{query}").json()["items"]

    groups = http.get(f"{HERE}/failures{query}").json()
    assert list(counts(groups).items()) == list(expected.items())
    assert run.json()["failures"] == groups == next(one["failures"] for one in listed if one["id"] == WINDOW)


@pytest.mark.parametrize(
    ("path", "reason", "models"),
    [
        ("failures/sensor_silent", "sensor_silent", ["pump2", "pump7"]),
        ("failures/no_readings", "no_readings", ["pump3"]),
        ("failures/no_readings?reasons=1", "no_readings", ["pump2", "pump3", "pump7"]),
        ("failures/not_a_detector?reasons=1", "not_a_detector", ["pump4", "pump5"]),
        ("failures/not_a_detector", "unsupported_model", ["pump5"]),
        ("failures/wrong_features?reasons=1", "wrong_features", ["pump6"]),
        ("failures/wrong_features", None, []),
    ],
)
def test_models_are_listed_by_the_reasons_that_a_code_meant(
    http: TestClient, path: str, reason: str | None, models: list[str]
) -> None:
    page = http.get(f"{HERE}/{path}").json()
    assert [one["model"] for one in page["items"]] == models
    assert {one["reason"] for one in page["items"]} == ({reason} if reason else set())


def test_each_group_says_what_to_do(http: TestClient) -> None:
    groups = http.get(f"{HERE}/failures").json()
    assert {group["reason"]: group["advice"] for group in groups} == {code: Reason(code).advice for code in SECOND}


def test_another_version_is_refused(http: TestClient) -> None:
    assert is_problem(http.get(f"{HERE}?reasons=3"), 400, "query.reasons: Input should be less than or equal to 2")


def test_a_run_that_is_unchanged_has_no_content_in_either_version(http: TestClient) -> None:
    etag = http.get(f"{HERE}?reasons=1").headers["ETag"]
    assert http.get(f"{HERE}?reasons=1", headers={"If-None-Match": etag}).status_code == 304

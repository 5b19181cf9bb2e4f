"""A file that fits a template gives what the reader gives, to the last bit; any other is left to the reader."""

from __future__ import annotations

import io
import os
import pickle
import time
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, IsolationForest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from scorer.model_files import pickle_reader
from scorer.model_files.parsed import ObjectArray, ParsedObject
from scorer.model_files.templates import known
from scorer.model_files.templates.known import KnownTemplates

SECONDS = float(os.environ.get("FLEETSCORE_FUZZ", "15")) / 5
KINDS: dict[str, Callable[[int], Any]] = {
    "svm": lambda _: make_pipeline(StandardScaler(), OneClassSVM()),
    "ridge": lambda _: Ridge(),
    "forest": lambda seed: IsolationForest(n_estimators=8, random_state=seed),
    "boosting": lambda _: GradientBoostingRegressor(n_estimators=6),
    "histograms": lambda _: HistGradientBoostingRegressor(
        max_iter=6, max_leaf_nodes=4, early_stopping=False, max_bins=8
    ),
}
SAVED = ["pickle 2", "pickle 4", "pickle 5", "joblib"]


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test has the templates of another one."""
    monkeypatch.setattr(known, "_FILES", KnownTemplates())
    monkeypatch.setattr(known, "_PARTS", KnownTemplates())


def save(model: Any, form: str) -> bytes:
    if form == "joblib":
        joblib.dump(model, target := io.BytesIO())
        return target.getvalue()
    return pickle.dumps(model, protocol=int(form[-1]))


def train(kind: str, seed: int) -> Any:
    random = np.random.default_rng(seed)
    readings = random.normal(size=(60 + 7 * seed, 3))
    return KINDS[kind](seed).fit(readings, readings.sum(axis=1))


def describe(value: Any, seen: dict[int, int] | None = None) -> Any:
    """A value with all types, bits and shared parts, to be compared."""
    seen = {} if seen is None else seen
    if id(value) in seen:
        return "again", seen[id(value)]
    if isinstance(value, dict | list | ParsedObject):
        seen[id(value)] = len(seen)
    match value:
        case ParsedObject():
            return "object", value.kind, describe(value.state, seen)
        case dict():
            return "dict", [(type(key), key, describe(item, seen)) for key, item in value.items()]
        case list() | tuple():
            shape = value.shape if isinstance(value, ObjectArray) else None
            return type(value), shape, [describe(item, seen) for item in value]
        case np.ndarray():
            return value.dtype.descr, value.shape, value.strides, value.flags.writeable, value.tobytes()
        case float():
            return value.hex()
    return type(value), str(value)


def read(data: bytes, *, uses_templates: bool) -> Any:
    """What comes of a file: its value, or the error; and the names of classes that are not supported."""
    foreign: list[str] = []
    try:
        outcome = describe(pickle_reader.read_pickle(data, foreign, uses_templates=uses_templates))
    except Exception as error:  # noqa: BLE001  # of any kind: both ways must have the same one
        outcome = type(error), str(error)
    return outcome, foreign


def check_equal(data: bytes) -> None:
    assert read(data, uses_templates=True) == read(data, uses_templates=False)


def count_fits(templates: KnownTemplates) -> int:
    return sum(shelf.n_fitted for shelf in templates._shelves.values())


@pytest.mark.parametrize("form", SAVED)
@pytest.mark.parametrize("kind", KINDS)
def test_further_files_give_what_the_reader_gives(kind: str, form: str) -> None:
    for seed in range(3):
        check_equal(save(train(kind, seed), form))


@pytest.mark.parametrize("form", ["pickle 3", "pickle 4", "pickle 5", "joblib"])
@pytest.mark.parametrize("kind", ["svm", "ridge"])
def test_small_files_of_a_fleet_soon_fit_a_template(kind: str, form: str) -> None:
    for seed in range(6):
        check_equal(save(train(kind, seed), form))
    assert count_fits(known._FILES) >= 3


@pytest.mark.parametrize("form", ["pickle 4", "pickle 5", "joblib"])
@pytest.mark.parametrize("kind", ["forest", "boosting", "histograms"])
def test_the_trees_of_one_file_fit_a_template(kind: str, form: str) -> None:
    check_equal(save(train(kind, 0), form))
    assert count_fits(known._PARTS) >= 3


def test_frames_between_the_trees_of_a_large_file_are_passed_over() -> None:
    forest = IsolationForest(n_estimators=60, random_state=0).fit(np.random.default_rng(0).normal(size=(300, 3)))
    data = pickle.dumps(forest, protocol=5)
    assert len(data) > 4 * 2**16  # as many frames
    check_equal(data)
    assert count_fits(known._PARTS) >= 150


def test_texts_beside_a_model_may_differ() -> None:
    for name in ("a", "bc", "d" * 300, "\u00e4"):
        check_equal(pickle.dumps({"model": train("ridge", 0), "device": name, "accuracy": 0.5}, protocol=5))
    assert count_fits(known._FILES) == 2


def test_numbers_that_are_keys_are_never_left_open() -> None:
    for key in range(4):
        check_equal(pickle.dumps({key: 1, 7: key}, protocol=5))


def test_a_container_that_holds_itself_is_read() -> None:
    for number in range(3):
        circle: list[Any] = [number]
        circle.append(circle)
        data = pickle.dumps(circle, protocol=5)
        assert pickle_reader.read_pickle(data, [])[1][0] == number


def test_parts_of_one_file_share_what_the_file_shares() -> None:
    shared = [1, 2]
    data = pickle.dumps({"model": [train("ridge", seed) for seed in range(5)], "x": [shared, shared]}, protocol=5)
    check_equal(data)
    values = pickle_reader.read_pickle(data, [])
    assert values["x"][0] is values["x"][1]
    assert values["model"][3].state is not pickle_reader.read_pickle(data, [])["model"][3].state


def test_a_reference_into_a_part_that_fitted_is_found() -> None:
    models = [train("ridge", seed) for seed in range(6)]
    data = pickle.dumps({"model": models, "best": models[4], "shape": models[3].coef_}, protocol=5)
    check_equal(data)
    values = pickle_reader.read_pickle(data, [])
    assert values["best"] is values["model"][4]


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_give_what_the_reader_gives(kind: str) -> None:
    random = np.random.default_rng(len(kind))
    files = [save(train(kind, seed), form) for form in SAVED for seed in range(3)]
    deadline = time.monotonic() + SECONDS / len(KINDS)
    for data in files:
        check_equal(data)
    while time.monotonic() < deadline:
        changed = bytearray(files[random.integers(len(files))])
        for _ in range(random.integers(1, 3)):
            place, width = int(random.integers(len(changed))), int(random.integers(0, 9))
            match int(random.integers(4)):
                case 0 | 1:
                    changed[place] = int(random.integers(256))
                case 2:
                    del changed[place : place + width]
                case 3:
                    changed[place:place] = changed[place + width : place + 2 * width]
        check_equal(bytes(changed))

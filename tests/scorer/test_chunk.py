"""One model's trouble is its own verdict; all others are scored."""

import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fleets import DETECTORS
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer, StandardScaler

from scorer import chunk, readings
from scorer.chunk import AHEAD
from scorer.stores import Content, Folder
from shared.domain import Model, Reason
from shared.errors import Unavailable
from shared.names import Columns


def fleet(root: Path, files: dict[str, bytes]) -> list[Model]:
    """Models, and a reading of three features for each of their devices."""
    (root / "readings.csv").write_text(
        "time,device,a,b,c\n" + "".join(f"2026-11-21T07:00,{device},10,20,30\n" for device in files)
    )
    (root / "models").mkdir()
    for device, data in files.items():
        (root / "models" / device).write_bytes(data)
    return [Model(device, "", device, "") for device in files]


def score(root: Path, models: list[Model]) -> list[tuple[Reason | None, str]]:
    found = readings.read(Folder(root), ["readings.csv"], Columns(), [m.device for m in models], None)
    ended = list(chunk.score(models, Folder(root / "models"), found))
    assert [one.verdict.model for one in ended] == [m.id for m in models]
    return [(one.verdict.reason, one.verdict.message) for one in ended]


def _nan_scores(estimator: Any) -> None:
    estimator.coef_[:] = np.nan


def _too_many_scores(estimator: Any) -> None:
    estimator.coef_ = np.ones((2, 3))


def _wrong_shape(estimator: Any) -> None:
    estimator.location_ = np.ones(7)


@pytest.mark.parametrize(
    ("name", "damage", "reason", "says"),
    [
        ("SGDOneClassSVM", _nan_scores, Reason.BAD_SCORES, "1 of 1 scores are no numbers"),
        ("SGDOneClassSVM", _too_many_scores, Reason.BAD_SCORES, "wanted 1 scores for 1 rows, found an array of (2,)"),
        ("EllipticEnvelope", _wrong_shape, Reason.ESTIMATOR_ERROR, "ValueError: "),
    ],
)
def test_what_goes_wrong_while_scoring_hurts_no_neighbour(
    name: str, damage: Callable[[Any], None], reason: Reason, says: str, normal: np.ndarray, tmp_path: Path
) -> None:
    good = clone(DETECTORS[name]).fit(normal)
    bad = clone(good).fit(normal)
    damage(bad)

    first, second, third = score(
        tmp_path, fleet(tmp_path, {"a": pickle.dumps(good), "b": pickle.dumps(bad), "c": pickle.dumps(good)})
    )

    assert (first, third) == ((None, ""), (None, ""))
    assert second[0] is reason
    assert second[1].startswith(says)


def test_an_old_model_that_fails_while_scoring_is_incompatible(normal: np.ndarray, tmp_path: Path) -> None:
    bad = clone(DETECTORS["EllipticEnvelope"]).fit(normal)
    _wrong_shape(bad)

    ((reason, message),) = score(tmp_path, fleet(tmp_path, {"a": pickle.dumps(bad).replace(b"1.9.1", b"1.8.0")}))

    assert reason is Reason.INCOMPATIBLE_MODEL
    assert message.startswith("ValueError: ")


def test_an_estimator_that_warns_leaves_no_line(
    normal: np.ndarray, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    # Warnings are errors in these tests: one that got out would be a verdict.
    caplog.set_level(logging.INFO)
    noisy = make_pipeline(PowerTransformer(), StandardScaler(), clone(DETECTORS["SGDOneClassSVM"])).fit(normal)
    noisy[0].lambdas_[:] = 1e5  # overflows

    ((reason, _),) = score(tmp_path, fleet(tmp_path, {"a": pickle.dumps(noisy)}))

    assert reason in (Reason.BAD_SCORES, Reason.ESTIMATOR_ERROR)
    assert capfd.readouterr() == ("", "")
    assert len(caplog.messages) == 1


def test_more_models_than_are_fetched_ahead_come_in_their_order(normal: np.ndarray, tmp_path: Path) -> None:
    data = pickle.dumps(clone(DETECTORS["OneClassSVM"]).fit(normal))
    files = {f"d{i}": data if i % 3 else b"" for i in range(2 * AHEAD + 5)}

    found = score(tmp_path, fleet(tmp_path, files))

    assert [reason for reason, _ in found] == [None if i % 3 else Reason.EMPTY_MODEL for i in range(len(files))]


class Gone(Folder):
    """A store that stops answering."""

    def read(self, path: str) -> Content:
        raise Unavailable(f"no answer for {path}")


def test_a_store_that_stops_answering_is_no_models_fault(normal: np.ndarray, tmp_path: Path) -> None:
    models = fleet(tmp_path, {"a": pickle.dumps(clone(DETECTORS["OneClassSVM"]).fit(normal))})
    found = readings.read(Folder(tmp_path), ["readings.csv"], Columns(), ["a"], None)

    with pytest.raises(Unavailable, match="no answer for a"):
        list(chunk.score(models, Gone(tmp_path), found))

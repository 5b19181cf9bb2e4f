"""Boosters with what was saved beside them: names with blanks, classes, a scaler, a threshold."""

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.preprocessing import LabelEncoder, StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from scorer.errors import Unscorable
from scorer.estimators.score_model import score_model_file
from scorer.families.base import Family
from scorer.packs.cache import judge_file
from scorer.storage.blob_store import Content
from shared.contract.domain import Model
from shared.contract.reasons import Reason
from tests.scorer.kernels.chains import BACKENDS, run_chain
from tests.scorer.sandbox import misdeeds

NAMES = ["flow rate", "heat"]
ROWS = np.random.default_rng(0).normal([5, 60], [1, 9], (80, 2))
TARGET = ROWS @ [2, 0.1]
FRAME = pd.DataFrame(ROWS, columns=NAMES)
KINDS = np.where(np.median(TARGET) < TARGET, "worn", "good")
CODES = LabelEncoder().fit(KINDS)
SMALL: dict[str, Any] = {"n_estimators": 4, "n_jobs": 1}
QUIET = {**SMALL, "verbose": -1}


def score(content: Any, columns: dict[str, np.ndarray]) -> Any:
    rows = np.stack(list(columns.values()), axis=1)
    readings = misdeeds.readings("d", rows, tuple(columns))
    return score_model_file(Model("d", "", "d.pkl", "planned"), Content(pickle.dumps(content), "e"), readings)


def test_lightgbm_writes_underscores_for_blanks_and_a_bundle_says_which_are_blanks() -> None:
    model = LGBMRegressor(**QUIET).fit(FRAME, TARGET)
    bundle = {"model": model, "features": NAMES}

    packed, _ = judge_file(pickle.dumps(bundle))
    outcome = score(bundle, {"heat": ROWS[:, 1], "flow rate": ROWS[:, 0]})

    assert model.booster_.feature_name() == ["flow_rate", "heat"]
    assert packed.features == ("flow rate", "heat")
    np.testing.assert_array_equal(outcome.predictions.prediction, model.predict(FRAME))


def test_other_names_than_its_own_are_a_contradiction() -> None:
    model = LGBMRegressor(**QUIET).fit(FRAME, TARGET)

    with pytest.raises(Unscorable, match="it was fitted on 'flow_rate', which is not among the columns beside it"):
        judge_file(pickle.dumps({"model": model, "features": ["flow-rate", "heat"]}))


@pytest.mark.parametrize("kind", [LGBMClassifier, XGBClassifier])
def test_codes_of_a_label_encoder_are_the_names_of_classes(kind: Any) -> None:
    model = kind(**(QUIET if kind is LGBMClassifier else SMALL)).fit(ROWS, CODES.transform(KINDS))

    packed, _ = judge_file(pickle.dumps({"model": model, "label_encoder": CODES, "features": ["a", "b"]}))

    assert packed.family is Family.STEPS
    assert packed.predicted is not None
    assert packed.predicted.classes == ("good", "worn")
    _, labels = run_chain(BACKENDS["numba"], packed, ROWS)
    assert labels.tolist() == model.predict(ROWS).tolist()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_scaler_beside_a_booster_is_a_step_before_it(backend: str) -> None:
    scaler = StandardScaler().fit(ROWS)
    model = XGBRegressor(**SMALL).fit(scaler.transform(ROWS), TARGET)

    packed, _ = judge_file(pickle.dumps((model, scaler, ["a", "b"])))

    outputs, _ = run_chain(BACKENDS[backend], packed, ROWS)
    np.testing.assert_array_equal(outputs[:, 0], model.predict(scaler.transform(ROWS)))


@pytest.mark.parametrize("kind", [LGBMRegressor, XGBRegressor])
def test_a_threshold_of_its_error_makes_a_booster_a_detector(kind: Any) -> None:
    model = kind(**(QUIET if kind is LGBMRegressor else SMALL)).fit(ROWS, TARGET)
    bundle = {"model": model, "features": ["a", "b"], "threshold": 0.5, "threshold_of": "absolute_error", "target": "y"}
    columns = {"a": ROWS[:, 0], "b": ROWS[:, 1], "y": TARGET + np.where(np.arange(80) % 9 == 0, 3, 0)}

    outcome = score(bundle, columns)

    errors = np.abs(columns["y"] - model.predict(ROWS))
    np.testing.assert_allclose(outcome.predictions.score, 0.5 - errors, atol=1e-6)
    assert outcome.predictions.anomaly.tolist() == (errors > 0.5).tolist()


def test_a_number_that_float32_cannot_hold_is_a_bad_reading() -> None:
    model = XGBRegressor(**SMALL).fit(ROWS, TARGET)

    outcome = score({"model": model, "features": ["a", "b"]}, {"a": np.array([1.0, 1e39]), "b": np.array([1.0, 2.0])})

    assert outcome.result.reason is Reason.BAD_READINGS
    assert outcome.result.message == "expected numbers that float32 holds, got 1e+39"

"""Boosters of every objective, boosting, missing type and shape, and rows at the edges of their splits."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np

from scorer.families.trees.ensemble import Ensemble
from scorer.families.trees.lightgbm import read_lightgbm
from scorer.model_files.boosters.lightgbm_text import read_text
from tests.scorer.families.reference_trees import sum_leaves

QUIET: dict[str, Any] = {
    "verbose": -1,
    "num_threads": 1,
    "num_leaves": 7,
    "min_data_in_leaf": 3,
    "seed": 1,
    "min_data_per_group": 3,
    "cat_smooth": 1,
}
RANDOM = np.random.default_rng(5)
ROWS = RANDOM.normal(size=(240, 5)) * [1, 10, 1e-3, 1e9, 1]
ROWS[:, 4] = RANDOM.integers(0, 40, 240)
WITH_GAPS = np.where(RANDOM.random(ROWS.shape) < 0.1, np.nan, ROWS)
TARGET = ROWS[:, 0] ** 2 + np.sin(ROWS[:, 1]) + 5 * (ROWS[:, 4] % 3)
CLASS = np.digitize(TARGET, np.quantile(TARGET, [0.3, 0.7]))
KINDS: dict[str, dict[str, Any]] = {
    **{
        name: {"objective": name}
        for name in (
            *("regression", "regression_l1", "huber", "fair", "quantile", "mape", "poisson", "gamma", "tweedie"),
            *("binary", "cross_entropy", "cross_entropy_lambda", "lambdarank", "rank_xendcg"),
        )
    },
    "sqrt": {"objective": "regression", "reg_sqrt": True},
    "sqrt-l1": {"objective": "regression_l1", "reg_sqrt": True},
    "sigmoid": {"objective": "binary", "sigmoid": 1.7},
    "multiclass": {"objective": "multiclass", "num_class": 3},
    "one-vs-all": {"objective": "multiclassova", "num_class": 3, "sigmoid": 0.8},
    "dart": {"objective": "regression", "boosting": "dart", "drop_rate": 0.5},
    "goss": {"objective": "regression", "data_sample_strategy": "goss", "learning_rate": 0.9},
    "forest": {"objective": "regression", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
    "forest-of-classes": {
        "objective": "multiclass",
        "num_class": 3,
        "boosting": "rf",
        "bagging_freq": 1,
        "bagging_fraction": 0.6,
    },
    "linear": {"objective": "regression", "linear_tree": True},
    "linear-dart": {"objective": "regression", "linear_tree": True, "boosting": "dart"},
    "zero-as-missing": {"objective": "regression", "zero_as_missing": True},
    "gaps-ignored": {"objective": "regression", "use_missing": False},
    "monotone": {"objective": "regression", "monotone_constraints": [1, 0, 0, 0, 0]},
    "leaf-wise-deep": {"objective": "regression", "num_leaves": 60, "min_data_in_leaf": 1},
    "no-split": {"objective": "regression", "min_data_in_leaf": 1000},
}
# fmt: off
EDGES = np.array([
    0.0, -0.0, 5e-324, -5e-324, 1e-35, -1e-35, 1.0000000180025095e-35, -1.0000000180025095e-35, 2e-35, -2e-35, -0.5,
    -0.99, -1, 0.5, 1.5, 31, 32, 39, 40, 63, 64, 1e5, 2147483647, 2147483648, 1e18, 1e300, -1e300, np.nan,
])
# fmt: on


def train(name: str, rows: np.ndarray = ROWS, categories: Any = "auto", rounds: int = 6) -> lightgbm.Booster:
    params = {**QUIET, **KINDS[name]}
    objective = params["objective"]
    is_high = np.digitize(TARGET, [np.median(TARGET)])
    target = CLASS if objective.startswith("multi") else is_high if objective in TWO else TARGET
    target = np.abs(target) + 0.1 if objective in ("poisson", "gamma", "tweedie") else np.asarray(target, float)
    is_ranked = objective in ("lambdarank", "rank_xendcg")
    data = lightgbm.Dataset(
        rows, CLASS if is_ranked else target, group=[60] * 4 if is_ranked else None, categorical_feature=categories
    )
    return lightgbm.train(params, data, rounds)


TWO = ("binary", "cross_entropy", "cross_entropy_lambda")


def list_edges(booster: lightgbm.Booster) -> np.ndarray:
    """Rows whose values are thresholds, the numbers beside them, and `EDGES`."""
    arrays = read_text(booster.model_to_string().encode()).state["trees"]
    bounds = arrays["threshold"][arrays["decision_type"] % 2 == 0]
    values = np.concatenate((EDGES, bounds, np.nextafter(bounds, np.inf), np.nextafter(bounds, -np.inf)))
    random = np.random.default_rng(2)
    return random.choice(values, (300, booster.num_feature()))


def sum_raw(text: str, rows: np.ndarray) -> tuple[Ensemble, np.ndarray]:
    """The ensemble of a text, and its raw scores."""
    parsed = read_text(text.encode())
    ensemble = read_lightgbm(parsed.state)
    return ensemble, sum_leaves(ensemble, rows)

"""Fits small models with the XGBoost that is installed, and writes their files and their own margins.

Run by hand, in an environment of each release with scikit-learn: `python make_xgboost.py FOLDER` writes
FOLDER/<release>.zip: of each model X.ubj and X.json as `save_model` of its Booster writes them, X.wrapper.ubj as that
of the wrapper does, X.pkl, and expected.npz with `predict(SEEN, output_margin=True)`.
"""

import io
import pickle
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import xgboost
from xgboost import XGBClassifier, XGBRegressor, XGBRFRegressor

RELEASE = tuple(int(part) for part in xgboost.__version__.split(".")[:2])


def make_rows(seed: int, count: int) -> np.ndarray:
    """Four features, the last a category, with gaps."""
    random = np.random.RandomState(seed)
    rows = random.normal(size=(count, 4)) * [1, 2, 40, 1] + [10, 20, 300, 0]
    rows[:, 3] = random.randint(0, 7, count)
    rows[random.uniform(size=(count, 4)) < 0.05] = np.nan
    return rows


FITTED = make_rows(5, 120)
SEEN = make_rows(9, 30)
SEEN[:2, 3] = [-3, 50]  # categories that no row of FITTED has
FILLED = np.nan_to_num(FITTED)
NUMBER = FILLED.dot([3.0, 2.0, 0.1, 0.0]) + (FILLED[:, 3] % 3) * 5
CLASS = np.digitize(NUMBER, np.percentile(NUMBER, [30, 70]))
SMALL = {"n_estimators": 4, "max_depth": 3, "n_jobs": 1, "learning_rate": 0.7}
BY_SETS = {**SMALL, "tree_method": "hist", "enable_categorical": True, "feature_types": ["q", "q", "q", "c"]}


def fit_models() -> dict:
    pairs = np.stack([NUMBER, -NUMBER], axis=1)
    halves = {"eval_set": [(FITTED[60:], NUMBER[60:])], "verbose": False}
    stopped = XGBRegressor(n_estimators=60, learning_rate=0.9, early_stopping_rounds=2, n_jobs=1)
    models = {
        "number": XGBRegressor(**SMALL).fit(FITTED, NUMBER),
        "count": XGBRegressor(objective="count:poisson", **SMALL).fit(FITTED, NUMBER),
        "base": XGBRegressor(base_score=77.7, **SMALL).fit(FITTED, NUMBER),
        "share": XGBRegressor(objective="reg:logistic", base_score=0.2, **SMALL).fit(FITTED, NUMBER / 1000),
        "stopped": stopped.fit(FITTED[:60], NUMBER[:60], **halves),
        "dart": XGBRegressor(booster="dart", rate_drop=0.5, **SMALL).fit(FITTED, NUMBER),
        "linear": XGBRegressor(booster="gblinear", updater="coord_descent", **SMALL).fit(FITTED, NUMBER),
        "pruned": XGBRegressor(**{**SMALL, "max_depth": 5}, gamma=900, tree_method="exact").fit(FITTED, NUMBER),
        "targets": XGBRegressor(**SMALL, tree_method="hist").fit(FITTED, pairs),
        "forest": XGBRFRegressor(n_estimators=4, max_depth=3, n_jobs=1).fit(FITTED, NUMBER),
        "two": XGBClassifier(**SMALL).fit(FITTED, (CLASS > 1).astype(int)),
        "hinge": XGBClassifier(objective="binary:hinge", **SMALL).fit(FITTED, (CLASS > 1).astype(int)),
        "three": XGBClassifier(num_parallel_tree=2, subsample=0.7, **SMALL).fit(FITTED, CLASS),
        "partitions": XGBRegressor(max_cat_to_onehot=1, **BY_SETS).fit(FITTED, NUMBER),
        "onehot": XGBClassifier(max_cat_to_onehot=20, **BY_SETS).fit(FITTED, CLASS),
    }
    if RELEASE >= (2, 0):
        models["vectors"] = XGBRegressor(multi_strategy="multi_output_tree", tree_method="hist", **SMALL).fit(
            FITTED, pairs
        )
        models["quantiles"] = XGBRegressor(objective="reg:quantileerror", quantile_alpha=[0.1, 0.9], **SMALL).fit(
            FITTED, NUMBER
        )
    return models


def save_wrapper(model: object) -> bytes:
    """What the wrapper's `save_model` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.ubj"
        model.save_model(str(path))
        return path.read_bytes()


def main(folder: str) -> None:
    margins = {}
    with zipfile.ZipFile(Path(folder) / "{}.{}.zip".format(*RELEASE), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, model in sorted(fit_models().items()):
            for extension in ("ubj", "json"):
                archive.writestr(f"{name}.{extension}", bytes(model.get_booster().save_raw(extension)))
            archive.writestr(f"{name}.wrapper.ubj", save_wrapper(model))
            archive.writestr(f"{name}.pkl", pickle.dumps(model, 4))
            margins[name] = model.predict(SEEN, output_margin=True).astype(np.float32)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **margins)
        archive.writestr("expected.npz", buffer.getvalue())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1])

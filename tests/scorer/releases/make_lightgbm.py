"""Fits boosters with the LightGBM that is installed, and writes their texts, pickles and raw scores.

Run by hand, in an environment of each release: `python make_lightgbm.py FOLDER` writes FOLDER/<release>.zip.
"""

import io
import json
import pickle
import sys
import warnings
import zipfile

import lightgbm
import numpy as np

RANDOM = np.random.RandomState(5)
FITTED = RANDOM.normal(size=(120, 4)) * [1, 10, 1e6, 1] + [0, 20, 0, 0]
FITTED[:, 3] = RANDOM.randint(0, 9, 120)
WITH_GAPS = np.where(RANDOM.uniform(size=FITTED.shape) < 0.1, np.nan, FITTED)
NUMBER = FITTED[:, 0] ** 2 + FITTED[:, 1] / 9 + 4 * (FITTED[:, 3] % 3)
CLASS = np.digitize(NUMBER, np.percentile(NUMBER, [30, 70]))
NAMES = np.array(["low", "mid", "high"])
SEEN = np.random.RandomState(9).normal(size=(40, 4)) * [1.5, 12, 2e6, 4] + [0, 20, 0, 4]
SEEN[:, 3] = SEEN[:, 3].round()
SEEN[::9, 0] = 0
SEEN_GAPS = np.where(np.random.RandomState(3).uniform(size=SEEN.shape) < 0.1, np.nan, SEEN)
PARAMS = {"verbose": -1, "num_leaves": 6, "min_data_in_leaf": 4, "num_threads": 1, "seed": 1, "min_data_per_group": 4}
BAGGING = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}
RELEASE = tuple(int(part) for part in lightgbm.__version__.split(".")[:2])


def list_boosters() -> dict:
    kinds = {
        "regression": {"objective": "regression"},
        "sqrt": {"objective": "regression", "reg_sqrt": True},
        "poisson": {"objective": "poisson"},
        "binary": {"objective": "binary", "sigmoid": 1.3},
        "multiclass": {"objective": "multiclass", "num_class": 3},
        "one-vs-all": {"objective": "multiclassova", "num_class": 3},
        "cross-entropy": {"objective": "cross_entropy"},
        "dart": {"objective": "regression", "boosting": "dart", "drop_rate": 0.5},
        "forest": dict(objective="regression", **BAGGING),
        "zero-as-missing": {"objective": "regression", "zero_as_missing": True},
    }
    if RELEASE >= (3, 2):
        kinds["linear"] = {"objective": "regression", "linear_tree": True}
    boosters = {}
    for name, kind in kinds.items():
        target = CLASS if "num_class" in kind else NUMBER
        target = NUMBER > 5 if kind["objective"] in ("binary", "cross_entropy") else target
        for suffix, rows in (("", FITTED), ("-gaps", WITH_GAPS)):
            data = lightgbm.Dataset(rows, np.array(target, float), categorical_feature=[3])
            boosters[name + suffix] = lightgbm.train(dict(PARAMS, **kind), data, 4)
    return boosters


def list_wrappers() -> dict:
    small = {"n_estimators": 4, "num_leaves": 5, "min_child_samples": 4, "n_jobs": 1}
    return {
        "regressor": lightgbm.LGBMRegressor(**small).fit(FITTED, NUMBER),
        "classifier": lightgbm.LGBMClassifier(**small).fit(FITTED, NAMES[CLASS]),
        "classifier-of-two": lightgbm.LGBMClassifier(**small).fit(FITTED, NUMBER > 5),
        "ranker": lightgbm.LGBMRanker(**small).fit(FITTED, CLASS, group=[60, 60]),
        "booster": lightgbm.LGBMRegressor(**small).fit(FITTED, NUMBER).booster_,
    }


def main(folder: str) -> None:
    answers = {}
    with zipfile.ZipFile("{}/{}.{}.zip".format(folder, *RELEASE), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, booster in sorted(list_boosters().items()):
            archive.writestr(name + ".txt", booster.model_to_string())
            rows = SEEN_GAPS if name.endswith("-gaps") else SEEN
            is_forest = name.startswith("forest")  # whose raw scores are sums
            answers[name] = {"raw": booster.predict(rows, raw_score=not is_forest).tolist()}
        for name, wrapper in sorted(list_wrappers().items()):
            buffer = io.BytesIO()
            pickle.dump(wrapper, buffer, 2)
            archive.writestr(name + ".pkl", buffer.getvalue())
            answers[name] = {"raw": wrapper.predict(SEEN, raw_score=True).tolist()}
            if name.startswith("classifier"):
                answers[name]["label"] = wrapper.predict(SEEN).tolist()
        archive.writestr("expected.json", json.dumps({"release": lightgbm.__version__, "answers": answers}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1])

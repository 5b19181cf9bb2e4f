"""Fits regressors, classifiers and clusterers with the scikit-learn that is installed, and writes files and answers.

Run by hand, in an environment of each release: `python make_models.py FOLDER` writes FOLDER/<release>.zip.
"""

import io
import json
import pickle
import sys
import warnings
import zipfile

import numpy as np
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import Birch, KMeans
from sklearn.cross_decomposition import PLSRegression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, SGDClassifier
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier

RANDOM = np.random.RandomState(5)
FITTED = RANDOM.normal(size=(60, 3)) * [1, 2, 4] + [10, 20, 30]
FITTED[:, 2] = FITTED[:, 2].round() % 5
NUMBER = np.abs(FITTED.dot([1.0, 2.0, -1.0]) + RANDOM.normal(size=60) / 10)
CLASS = np.array(["low", "mid", "high"])[np.digitize(NUMBER, np.percentile(NUMBER, [30, 70]))]
SEEN = np.random.RandomState(9).normal(size=(30, 3)) * [1.5, 3, 4] + [10, 20, 30]
SEEN[:, 2] = SEEN[:, 2].round() % 5
RELEASE = tuple(int(part) for part in sklearn.__version__.split(".")[:2])


def list_models() -> dict:
    small = {"n_estimators": 3, "random_state": 0}
    curve = LogisticRegression(max_iter=300)
    regressors = {
        "ridge": make_pipeline(StandardScaler(), Ridge()),
        "poisson": PoissonRegressor(),
        "svr": SVR(),
        "forest": RandomForestRegressor(**small),
        "boosting": GradientBoostingRegressor(**small),
        "histogram": HistGradientBoostingRegressor(max_iter=3, random_state=0),
        "bagging": BaggingRegressor(**small),
        "process": GaussianProcessRegressor(normalize_y=True),
        "partial-least-squares": PLSRegression(2),
    }
    classifiers = {
        "logistic": curve,
        "svc": SVC(random_state=0),
        "svc-shares": SVC(probability=True, random_state=0),
        "neighbours": KNeighborsClassifier(),
        "neighbours-brute": KNeighborsClassifier(algorithm="brute"),
        "tree-classes": DecisionTreeClassifier(max_depth=2, random_state=0),
        "forest-classes": RandomForestClassifier(max_depth=2, **small),
        "boosting-classes": GradientBoostingClassifier(**small),
        "histogram-classes": HistGradientBoostingClassifier(max_iter=3, random_state=0),
        "votes": AdaBoostClassifier(DecisionTreeClassifier(max_depth=2), **small),
        "network": MLPClassifier(hidden_layer_sizes=(4,), max_iter=20, random_state=0),
        "bayes": GaussianNB(),
        "linear-discriminant": LinearDiscriminantAnalysis(),
        "quadratic-discriminant": QuadraticDiscriminantAnalysis(),
        "calibrated": CalibratedClassifierCV(curve, cv=2),
        "stacking": StackingClassifier([("a", curve), ("b", GaussianNB())], cv=2),
        "voting": VotingClassifier([("a", curve), ("b", GaussianNB())], voting="soft"),
        "descent": make_pipeline(StandardScaler(), SGDClassifier(loss=_name_loss(), random_state=0)),
    }
    if RELEASE < (1, 8):
        classifiers["logistic-apart"] = LogisticRegression(solver="liblinear")
    if RELEASE >= (1, 0):
        regressors["histogram-categories"] = HistGradientBoostingRegressor(
            max_iter=3, min_samples_leaf=3, categorical_features=[2], random_state=0
        )
    clusterers = {
        "means": KMeans(2, n_init=1, random_state=0),
        "birch": Birch(n_clusters=None),
        "mixture": GaussianMixture(2, random_state=0),
    }
    targets = [(regressors, NUMBER), (classifiers, CLASS), (clusterers, None)]
    models = {name: model.fit(FITTED, target) for kinds, target in targets for name, model in kinds.items()}
    models["isotonic"] = IsotonicRegression(out_of_bounds="clip").fit(FITTED[:, 0], NUMBER)
    return models


def _name_loss() -> str:
    return "log_loss" if RELEASE >= (1, 1) else "log"


def main(folder: str) -> None:
    answers = {}
    with zipfile.ZipFile("{}/{}.{}.zip".format(folder, *RELEASE), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, model in sorted(list_models().items()):
            buffer = io.BytesIO()
            pickle.dump(model, buffer, 2)
            archive.writestr(name + ".pkl", buffer.getvalue())
            rows = SEEN[:, 0] if name == "isotonic" else SEEN
            answers[name] = {"predict": np.ravel(model.predict(rows)).tolist()}
            if hasattr(model, "predict_proba") and name != "mixture":
                shares = model.predict_proba(rows)
                index = np.searchsorted(model.classes_, model.predict(rows))
                answers[name]["shares"] = shares[np.arange(len(rows)), index].tolist()
        archive.writestr("expected.json", json.dumps({"release": sklearn.__version__, "answers": answers}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1])

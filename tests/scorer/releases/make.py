"""Fits one detector of each kind with the scikit-learn that is installed, and writes its file and its own answers.

Run by hand, in an environment of each release, from Python 3.6 on: `python make.py FOLDER` writes FOLDER/<release>.zip.
"""

import io
import json
import pickle
import sys
import warnings
import zipfile

import numpy as np
import sklearn
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import OneClassSVM

FITTED = np.random.RandomState(5).normal(size=(60, 3)) * [1, 2, 40] + [10, 20, 300]
SEEN = np.random.RandomState(9).normal(size=(30, 3)) * [1.5, 3, 60] + [10, 20, 300]
RELEASE = tuple(int(part) for part in sklearn.__version__.split(".")[:2])


def list_models() -> dict:
    forest = {"n_estimators": 3, "max_samples": 16, "contamination": 0.1, "random_state": 0}
    svm = OneClassSVM(nu=0.1, gamma=0.01)
    models = {
        "forest": IsolationForest(**forest),
        "forest-features": IsolationForest(max_features=2, **forest),
        "forest-pca": make_pipeline(PCA(2), IsolationForest(**forest)),
        "svm": svm,
        "svm-standard": make_pipeline(StandardScaler(), svm),
        "svm-minmax": make_pipeline(MinMaxScaler(), OneClassSVM(kernel="poly", degree=2, nu=0.1, gamma=0.5)),
        "svm-robust": make_pipeline(RobustScaler(), OneClassSVM(kernel="linear", nu=0.1)),
        "svm-pca": make_pipeline(PCA(2), OneClassSVM(nu=0.1, gamma=0.01)),
        "envelope": EllipticEnvelope(contamination=0.1, random_state=0),
        "lof": LocalOutlierFactor(n_neighbors=5),
    }
    if RELEASE >= (0, 20):
        models["lof-novelty"] = LocalOutlierFactor(n_neighbors=5, novelty=True, contamination=0.1)
        models["lof-manhattan"] = LocalOutlierFactor(n_neighbors=5, novelty=True, contamination=0.1, metric="manhattan")
    if (0, 20) <= RELEASE <= (0, 21):
        models["forest-new"] = IsolationForest(behaviour="new", **forest)
    if RELEASE >= (1, 0):
        from sklearn.linear_model import SGDOneClassSVM

        models["sgd"] = make_pipeline(StandardScaler(), SGDOneClassSVM(nu=0.1, random_state=0))
    return models


def main(folder: str) -> None:
    answers = {}
    with zipfile.ZipFile("{}/{}.{}.zip".format(folder, *RELEASE), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, model in sorted(list_models().items()):
            model.fit(FITTED)
            buffer = io.BytesIO()
            pickle.dump(model, buffer, 2)
            archive.writestr(name + ".pkl", buffer.getvalue())
            if name != "lof":
                answers[name] = {
                    "score": [float(score) for score in np.ravel(model.decision_function(SEEN))],
                    "anomaly": [int(label == -1) for label in model.predict(SEEN)],
                }
        archive.writestr("expected.json", json.dumps({"release": sklearn.__version__, "answers": answers}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1])

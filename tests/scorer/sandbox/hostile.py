"""Files that misbehave once scikit-learn has them, and a scoring that does what stands behind a good model in its file.

Whatever lies behind the end of a pickle is read by nobody, so such a file passes the door as a good one does.
"""

from __future__ import annotations

import pickle

from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.svm import OneClassSVM

from scorer.estimators.score_model import score_model_file
from scorer.model_files.file_formats import SIZE_LIMIT
from scorer.predictions.outcome import ModelOutcome
from scorer.readings.device_readings import Readings
from scorer.storage.blob_store import Content
from shared.contract.domain import Model
from shared.contract.scoring_options import Probabilities
from tests.scorer.corpus.corpus_formats import DATA
from tests.scorer.sandbox.misdeeds import DEEDS

BEHIND = b"what it does: "


def scoring(
    model: Model,
    content: Content,
    found: Readings,
    *,
    size_limit: int = SIZE_LIMIT,
    probabilities: str = Probabilities.LABEL,
) -> ModelOutcome:
    """Do what stands behind the model; then score it."""
    deed = content.data.partition(BEHIND)[2].decode()
    if deed:
        DEEDS[deed]()
    return score_model_file(model, content, found, size_limit=size_limit, probabilities=probabilities)


def kept() -> bytes:
    """A good model that no kernel knows."""
    return pickle.dumps(LocalOutlierFactor(metric="canberra", novelty=True, n_neighbors=5, leaf_size=5).fit(DATA))


def that(deed: str) -> bytes:
    """A file that does this."""
    return kept() + BEHIND + deed.encode()


def that_takes_for_ever() -> bytes:
    """One tree, named very often: a small file, and half a minute a prediction; of more, memory may end first."""
    model = IsolationForest(n_estimators=1, max_samples=16, random_state=0).fit(DATA)
    model.estimators_, model.estimators_features_ = model.estimators_ * 450_000, model.estimators_features_ * 450_000
    del model._decision_path_lengths, model._average_path_length_per_tree
    return pickle.dumps(model)


def that_wants_memory() -> bytes:
    """Features by the billion."""
    model = make_pipeline(PolynomialFeatures(2), OneClassSVM()).fit(DATA)
    model[0]._n_out_full = 2**33
    return pickle.dumps(model)

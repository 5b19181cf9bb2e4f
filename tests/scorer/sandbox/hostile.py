"""Files that misbehave once scikit-learn has them, and a scoring that does what a good model says in an attribute.

An attribute that no class has is used by nobody, so such a file is read, judged and kept in a pack as a good one is.
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
from scorer.sandbox.requests import Sent
from shared.contract.domain import Model
from shared.contract.scoring_options import Probabilities
from tests.scorer.corpus.corpus_formats import DATA
from tests.scorer.sandbox.misdeeds import DEEDS

DEED, END = b"what it does: ", b"."


def scoring(
    model: Model,
    content: Sent,
    found: Readings,
    *,
    size_limit: int = SIZE_LIMIT,
    probabilities: str = Probabilities.LABEL,
) -> ModelOutcome:
    """Do what the model says; then score it."""
    deed = bytes(content.data).partition(DEED)[2].partition(END)[0].decode()
    if deed:
        DEEDS[deed]()
    return score_model_file(model, content, found, size_limit=size_limit, probabilities=probabilities)


def kept(deed: bytes = b"") -> bytes:
    """A good model that no kernel knows."""
    model = LocalOutlierFactor(metric="canberra", novelty=True, n_neighbors=5, leaf_size=5).fit(DATA)
    if deed:
        model.deed = deed.decode()
    return pickle.dumps(model)


def that(deed: str) -> bytes:
    """A file that does this."""
    return kept(DEED + deed.encode() + END)


def that_takes_for_ever() -> bytes:
    """One tree, named very often: a small file, and many seconds a prediction; of more, memory may end first."""
    model = IsolationForest(n_estimators=1, max_samples=16, random_state=0).fit(DATA)
    model.estimators_, model.estimators_features_ = model.estimators_ * 300_000, model.estimators_features_ * 300_000
    del model._decision_path_lengths, model._average_path_length_per_tree
    return pickle.dumps(model)


def that_wants_memory() -> bytes:
    """Features by the billion."""
    model = make_pipeline(PolynomialFeatures(2), OneClassSVM()).fit(DATA)
    model[0]._n_out_full = 2**33
    return pickle.dumps(model)

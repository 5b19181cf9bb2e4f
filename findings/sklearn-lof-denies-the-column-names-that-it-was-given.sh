#!/usr/bin/env bash
# What is done: an IsolationForest, a OneClassSVM, an EllipticEnvelope and a
#   LocalOutlierFactor(novelty=True) are fitted on a data frame of two named columns, and
#   score rows of the same frame.
# Packages: scikit-learn 1.9.1, pandas 3.1.1 (numpy 2.4.6)
# A good guess: the warning "X does not have valid feature names" comes where a model that
#   was fitted on a frame is given an array; a frame with its own columns gives none.
# What is seen: LocalOutlierFactor gives that warning at each call of decision_function,
#   score_samples and predict, for exactly the frame that it was fitted on. The others
#   give none. The scores are those of the array, so the warning is about nothing.
# Output seen:
#   IsolationForest 0, OneClassSVM 0, EllipticEnvelope 0, LocalOutlierFactor 1
# Why it matters: a fleet that turns warnings into errors, to find devices whose columns
#   were lost, refuses every LocalOutlierFactor; one that mutes it for them misses the rest.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check scikit-learn==1.9.1 pandas==3.1.1 numpy==2.4.6
"$tmp/v/bin/python" - <<'P'
import sys
import warnings

import numpy as np
import pandas as pd
import sklearn
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

print("scikit-learn", sklearn.__version__, "pandas", pd.__version__)
rows = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["temp", "amps"])
seen = {}
for model in (IsolationForest(), OneClassSVM(), EllipticEnvelope(), LocalOutlierFactor(novelty=True)):
    model.fit(rows)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scores = model.decision_function(rows.tail(5))
        same = np.array_equal(scores, model.decision_function(rows.tail(5).to_numpy()))
    texts = [str(item.message) for item in caught]
    # one of them is due for the array
    seen[type(model).__name__] = sum("does not have valid feature names" in text for text in texts) - 1, same
print(seen)
expected = {"IsolationForest": (0, True), "OneClassSVM": (0, True), "EllipticEnvelope": (0, True)}
sys.exit(seen != expected | {"LocalOutlierFactor": (1, True)})
P

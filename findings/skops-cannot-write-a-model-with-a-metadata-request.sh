#!/usr/bin/env bash
# What is done: with metadata routing switched on, as its manual says, a OneClassSVM
#   asks for sample weights by set_fit_request(sample_weight=True), is fitted, and is
#   saved by skops, joblib and pickle, and read again.
# Packages: skops 0.16.0, scikit-learn 1.9.1 (numpy 2.4.6)
# A good guess: skops.io writes every estimator of scikit-learn that joblib writes;
#   what it cannot write it refuses by name (UnsupportedTypeException).
# What is seen: joblib and pickle write and read it. skops.io.dumps raises
#   RecursionError. Without the request all three work, also with routing switched on.
# Output seen:
#   without a request: skops ok, joblib ok, pickle ok
#   with a request:    skops RecursionError, joblib ok, pickle ok
# Why it matters: a fleet that weighs its training rows by the documented way cannot be
#   saved in the format that runs no code, and the error says nothing of the request.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check skops==0.16.0 scikit-learn==1.9.1 numpy==2.4.6
"$tmp/v/bin/python" -W ignore - <<'P'
import io
import pickle
import sys

import joblib
import numpy as np
import sklearn
import skops
import skops.io
from sklearn.svm import OneClassSVM

sklearn.set_config(enable_metadata_routing=True)
rows = np.random.default_rng(0).normal(size=(50, 2))


def by_joblib(model):
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    return joblib.load(io.BytesIO(buffer.getvalue()))


WAYS = {
    "skops": lambda model: skops.io.loads(skops.io.dumps(model)),
    "joblib": by_joblib,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


def attempt(way, model):
    try:
        same = (WAYS[way](model).decision_function(rows) == model.decision_function(rows)).all()
        return "ok" if same else "other scores"
    except Exception as error:
        return type(error).__name__


print("skops", skops.__version__, "scikit-learn", sklearn.__version__)
plain = OneClassSVM(nu=0.1).fit(rows)
asking = OneClassSVM(nu=0.1).set_fit_request(sample_weight=True).fit(rows, sample_weight=np.ones(50))
without, with_request = ({way: attempt(way, model) for way in WAYS} for model in (plain, asking))
print("without a request:", without)
print("with a request:", with_request)
expected = {"skops": "RecursionError", "joblib": "ok", "pickle": "ok"}
sys.exit(not (set(without.values()) == {"ok"} and with_request == expected))
P

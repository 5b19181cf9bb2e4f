"""Bundles that are hostile, broken, or could be meant in two ways. See `corpus`."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from typing import Any

from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.svm import OneClassSVM

from shared.contract.reasons import Reason
from tests.scorer.corpus.corpus import MARKER
from tests.scorer.corpus.corpus_formats import DATA, FORMATS

SCALER = StandardScaler().fit(DATA)
UNREADABLE, UNSUPPORTED, UNTRUSTED = Reason.UNREADABLE_MODEL, Reason.UNSUPPORTED_MODEL, Reason.UNTRUSTED_MODEL
Row = tuple[str, bytes, Reason | None, str]


class _Command:
    """Pickles as the call of a function that would make a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"echo > {MARKER}",)


def _double(value: Any, times: int) -> Any:
    """Lists in lists, each with the same list twice: few in memory, and without end when they are copied."""
    for _ in range(times):
        value = [value, value]
    return value


def list_rows(svm: OneClassSVM) -> Iterator[Row]:
    """The files; *svm* is a good model of three features."""
    scaled = OneClassSVM(nu=0.1).fit(SCALER.transform(DATA))
    good: dict[str, Any] = {
        "dict": {"model": svm},
        "dict-with-scaler": {"clf": scaled, "scaler": SCALER, "features": ["a", "b", "c"], "version": 3},
        "tuple-with-scaler": (scaled, SCALER, ["a", "b", "c"]),
        "list-with-scaler": [SCALER, scaled, ["a", "b", "c"]],
        "with-shared-remarks": {"model": svm, "metrics": _double([0.5], 30)},
        "with-threshold": {"model": svm, "threshold": 0.5, "threshold_of": "score_samples"},
    }
    for name, thing in good.items():
        for kind in ("pickle-4", "skops"):
            if (name, kind) != ("with-shared-remarks", "skops"):  # skops would write all of it
                yield f"bundle-{name}-{kind}", FORMATS[kind](thing), None, ""
    encoder = LabelEncoder().fit(["a", "b"])
    encoder.classes_ = _double(["a"], 30)
    unsupported: dict[str, tuple[Any, str]] = {
        "empty": ({}, "expected a model under one of the keys"),
        "of-two-models": ({"model": svm, "estimator": svm}, "expected one model, got 'model' and 'estimator'"),
        "of-a-model-for-each-sensor": ({"temp": svm, "amps": svm}, "got the key 'temp'"),
        "with-an-unknown-key": ({"model": svm, "pca_components": 3}, "got the key 'pca_components'"),
        "with-a-number-as-key": ({7: svm}, "got the key 7"),
        "with-a-scaler-of-the-target": ({"model": svm, "y_scaler": SCALER}, "got the key 'y_scaler'"),
        "with-a-model-in-a-remark": ({"model": svm, "notes": {"old": [svm]}}, "got the key 'notes'"),
        "with-a-model-as-scaler": ({"model": svm, "scaler": svm}, "expected a transformer as the scaler"),
        "with-a-number-as-scaler": ({"model": svm, "scaler": 3}, "expected a transformer as the scaler, got a int"),
        "with-two-scalers": ((svm, SCALER, SCALER), "expected one scaler"),
        "with-its-scaler-twice": (
            {"pipeline": make_pipeline(StandardScaler(), OneClassSVM()).fit(DATA), "scaler": SCALER},
            "got a StandardScaler in both",
        ),
        "with-a-path-as-model": ({"model": "model.keras"}, "expected an estimator that predicts as 'model', got a str"),
        "with-no-model": ({"model": None, "scaler": SCALER}, "expected a model under one of the keys"),
        "in-a-bundle": ({"model": {"model": svm}}, "expected an estimator that predicts as 'model', got a dict"),
        "with-a-threshold-of-what": ({"model": svm, "threshold": 0.5}, "expected threshold_of, one of"),
        "with-an-endless-threshold": (
            {"model": svm, "threshold": _double(0.5, 30), "threshold_of": "score_samples"}, "got list"
        ),
        "with-an-endless-kind-of-threshold": (
            {"model": svm, "threshold": 1, "threshold_of": _double("x", 30)}, "got list"
        ),
        "with-an-endless-target": (
            {"model": svm, "threshold": 1, "threshold_of": "absolute_error", "target": _double("x", 30)}, "got list"
        ),
        "with-endless-names": ({"model": svm, "features": _double("x", 30)}, "expected a list of names as 'features'"),
        "with-a-threshold-that-is-not-finite": ({"model": svm, "threshold": float("inf")}, "a finite number"),
        "with-a-threshold-of-another-task": (
            {"model": svm, "threshold": 1, "threshold_of": "predict_proba"}, "expected a classifier for a threshold of"
        ),
        "with-a-column-twice": ({"model": svm, "columns": ["a", "a", "b"]}, "expected different names as 'columns'"),
        "with-empty-names": ({"model": svm, "columns": ["", "a", "b"]}, "expected a list of names as 'columns'"),
        "with-numbers-as-names": ({"model": svm, "columns": [0, 1, 2]}, "expected a list of names as 'columns'"),
    }  # fmt: skip
    for name, (thing, says) in unsupported.items():
        yield f"bundle-{name}", pickle.dumps(thing), UNSUPPORTED, says
    contradictory: dict[str, tuple[Any, str]] = {
        "with-too-few-names": ({"model": svm, "columns": ["a", "b"]}, "it was fitted on 3 features"),
        "with-classes": ({"model": svm, "classes": ["a", "b"]}, "names of classes, and is a detector"),
        "with-an-endless-encoder": ({"model": svm, "le": encoder}, "its LabelEncoder has no list of classes"),
    }
    for name, (thing, says) in contradictory.items():
        yield f"bundle-{name}", pickle.dumps(thing), UNREADABLE, says
    for key in ("scaler", "features", "threshold", "metrics", "an unknown key"):
        thing = {"model": svm, key: _Command()}
        yield f"bundle-hostile-{key.replace(' ', '-')}", pickle.dumps(thing), UNTRUSTED, "not on the allow-list"
    yield "bundle-unfitted-scaler", pickle.dumps({"model": svm, "scaler": StandardScaler()}), Reason.UNFITTED_MODEL, ""

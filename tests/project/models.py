"""Which models are read, and how they are scored: fitted, saved, read and scored here, for docs/models.md.

`python -m tests.project.models --into docs/models.md` runs all of it and writes the tables between the page's marks.
"""

from __future__ import annotations

import argparse
import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import sklearn
import skops.io
from sklearn.base import OutlierMixin, clone
from sklearn.cluster import MiniBatchKMeans
from sklearn.compose import ColumnTransformer
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA, DictionaryLearning, MiniBatchDictionaryLearning, SparseCoder
from sklearn.ensemble import IsolationForest, RandomTreesEmbedding
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # so that it is among scikit-learn's estimators
from sklearn.linear_model import SGDOneClassSVM
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection
from sklearn.svm import OneClassSVM
from sklearn.utils import all_estimators

from scorer.errors import Unscorable
from scorer.estimators import loader, outlier_detector, registry
from scorer.estimators.loader import FittedModel
from scorer.families.base import Family, Packed
from scorer.kernels.native import backend as compiled
from scorer.packs.cache import pack_file
from shared.contract.domain import Task
from shared.contract.scoring_options import Probabilities
from tests.project import predictors
from tests.scorer.families.layout import anomalies, decision
from tests.scorer.kernels.chains import run_chain
from tests.scorer.releases.make import SEEN as SEEN_BY_RELEASES
from tests.scorer.releases.test_releases import RELEASES, read_release

NAMES = ["a", "b", "c", "d"]
_RANDOM = np.random.default_rng(3)
FITTED, SEEN = (_RANDOM.normal([10, 20, 30, 5], [1, 2, 3, 0.5], (rows, 4)).clip(0.1) for rows in (60, 25))
EQUAL = 1e-9  # of scores, compared with scikit-learn's
SAME = 1e-12  # of predictions and probabilities, of the largest
PACKED_EQUAL = 1e-11  # of sums that kernels add in another order
SINGLE = 4e-7  # of probabilities that a library computes in float32
PACKED, CHILD = "packed", "in the child"


def dump_joblib(model: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer, compress=3)
    return buffer.getvalue()


FORMATS: dict[str, Callable[[Any], bytes]] = {"joblib": dump_joblib, "pickle": pickle.dumps, "skops": skops.io.dumps}
FRAMES: dict[str, Callable[[np.ndarray], Any]] = {
    "array": lambda rows: rows,
    "frame": lambda rows: pd.DataFrame(rows, columns=NAMES),
}
VARIANTS = [(frame, kind) for frame in FRAMES for kind in FORMATS]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model, not fitted yet."""

    section: str
    name: str
    model: Any
    target: str = ""  # of `predictors.TARGETS`; a detector has none, but a search wants one


def list_kinds() -> list[Kind]:
    """All kinds, in the page's order."""
    sections = {
        "Detectors": _list_detectors(),
        "Transformers before a OneClassSVM": _list_transformers(),
        "Other forms": _list_forms(),
    }
    kinds = [Kind(section, name, model) for section, models in sections.items() for name, model in models.items()]
    tasks = {
        "Regressors": predictors.list_regressors(),
        "Classifiers": predictors.list_classifiers(),
        "Clusterers and mixtures": predictors.list_clusterers(),
        "Boosters of other libraries": predictors.list_boosters(),
    }
    return kinds + [Kind(task, name, *row) for task, rows in tasks.items() for name, row in rows.items()]


def _list_detectors() -> dict[str, Any]:
    lof = {"novelty": True, "n_neighbors": 5}
    detectors = {
        **{f"OneClassSVM, {kernel}": OneClassSVM(kernel=kernel, nu=0.1, gamma=0.01) for kernel in _KERNELS},
        "SGDOneClassSVM": SGDOneClassSVM(random_state=0),
        "IsolationForest": IsolationForest(n_estimators=5, max_samples=16, random_state=0),
        "EllipticEnvelope": EllipticEnvelope(random_state=0),
        "EllipticEnvelope without its precision": EllipticEnvelope(store_precision=False, random_state=0),
        **{f"LocalOutlierFactor, {way}": LocalOutlierFactor(algorithm=way, **lof) for way in _SEARCHES},
        **{f"LocalOutlierFactor, {metric}": LocalOutlierFactor(metric=metric, **lof) for metric in _METRICS},
        "LocalOutlierFactor, Minkowski with p=3": LocalOutlierFactor(p=3, **lof),
        "LocalOutlierFactor without novelty": LocalOutlierFactor(),
    }
    names = {name for name, kind in all_estimators() if issubclass(kind, OutlierMixin)}
    assert names == {name.partition(",")[0].partition(" ")[0] for name in detectors}, names
    behind = {
        f"{name} behind a {type(scaler).__name__}": make_pipeline(scaler, detectors[name])
        for name in (
            "OneClassSVM, rbf",
            "SGDOneClassSVM",
            "IsolationForest",
            "EllipticEnvelope",
            "LocalOutlierFactor, auto",
        )
        for scaler in (StandardScaler(), MinMaxScaler(), RobustScaler())
    }
    return detectors | behind


_KERNELS = ("rbf", "linear", "poly", "sigmoid")
_SEARCHES = ("auto", "kd_tree", "ball_tree", "brute")
_METRICS = ("manhattan", "chebyshev", "canberra", "braycurtis", "cosine")
_PARAMETERS: dict[str, Any] = {
    "ColumnTransformer": ColumnTransformer([("scaled", StandardScaler(), [0, 2])], remainder="passthrough"),
    "FeatureUnion": FeatureUnion([("scaled", StandardScaler()), ("pca", PCA(2))]),
    "FunctionTransformer": FunctionTransformer(np.log1p),
    "GaussianRandomProjection": GaussianRandomProjection(2, random_state=0),
    "SparseRandomProjection": SparseRandomProjection(2, random_state=0),
    "SparseCoder": SparseCoder(np.eye(4)),
    # These take seconds otherwise.
    "DictionaryLearning": DictionaryLearning(max_iter=2),
    "MiniBatchDictionaryLearning": MiniBatchDictionaryLearning(max_iter=2),
    "MiniBatchKMeans": MiniBatchKMeans(3, n_init=1, max_iter=5),
    "RandomTreesEmbedding": RandomTreesEmbedding(5),
}


def _list_transformers() -> dict[str, Any]:
    """Every transformer of scikit-learn that can be fitted on four columns of numbers without a target."""
    found = {}
    for name, kind in all_estimators("transformer"):
        try:
            transformer = _PARAMETERS[name] if name in _PARAMETERS else kind()
            if "random_state" in transformer.get_params():
                transformer.set_params(random_state=0)
            model = make_pipeline(transformer, OneClassSVM(nu=0.1))
            with warnings.catch_warnings(action="ignore"):
                clone(model).fit(FITTED).decision_function(SEEN)
        except (TypeError, ValueError, AttributeError, NotImplementedError):
            continue
        found[name] = model
    return found


def _list_forms() -> dict[str, Any]:
    svm = OneClassSVM(nu=0.1)
    search = GridSearchCV(svm, {"nu": [0.1, 0.2]}, scoring="accuracy", cv=2)
    return {
        "a Pipeline in a Pipeline": make_pipeline(StandardScaler(), make_pipeline(PCA(2), svm)),
        "two scalers": make_pipeline(StandardScaler(), MinMaxScaler(), svm),
        "steps as lists": Pipeline([["scaler", StandardScaler()], ["detector", svm]]),
        "a step that is passed through": make_pipeline("passthrough", svm),
        "a Pipeline with a cache (`memory`)": Pipeline([("pca", PCA(2)), ("svm", svm)], memory=joblib.Memory(None)),
        "GridSearchCV around a detector": search,
        "GridSearchCV around a Pipeline": GridSearchCV(
            make_pipeline(PCA(), svm), {"pca__n_components": [2, 3]}, scoring="accuracy", cv=2
        ),
        "a Pipeline around GridSearchCV": make_pipeline(StandardScaler(), search),
        "GridSearchCV as a step": make_pipeline(GridSearchCV(PCA(), {"n_components": [2, 3]}, cv=2), svm),
        "a kernel that is a `numpy.str_`": OneClassSVM(kernel=np.array(["rbf"])[0], nu=np.float64(0.1)),
        "a random state that is an object": IsolationForest(n_estimators=5, random_state=np.random.RandomState(0)),
        "FunctionTransformer of a function of one's own": make_pipeline(FunctionTransformer(_halve), svm),
        "a kernel that is a function": OneClassSVM(kernel=_multiply),
        "metadata requests (`set_fit_request`)": make_pipeline(_request_weights(StandardScaler()), svm),
        "set_output to pandas": make_pipeline(StandardScaler().set_output(transform="pandas"), svm),
    }


def _request_weights(estimator: Any) -> Any:
    with sklearn.config_context(enable_metadata_routing=True):
        return estimator.set_fit_request(sample_weight=True)


def _halve(rows: Any) -> Any:
    return rows / 2


def _multiply(rows: Any, others: Any) -> Any:
    return rows @ others.T


def fit(model: Any, frame: str, target: str = "", name: str = "") -> Any:
    """A fitted copy. A search of a detector gets a target too, for its score."""
    fitted = Pipeline([*model.steps], memory=model.memory) if isinstance(model, Pipeline) else clone(model)
    if not target:
        return fitted.fit(FRAMES[frame](FITTED), np.ones(len(FITTED)))
    return fitted.fit(_make_rows(predictors.FITTED, frame, name), predictors.TARGETS[target])


def _make_rows(rows: np.ndarray, frame: str, name: str) -> Any:
    selected = predictors.select_rows(name, rows)
    return selected if frame == "array" else pd.DataFrame(selected, columns=NAMES[: selected.shape[1]])


def judge(model: Any, frame: str, kind: str) -> str:
    """What becomes of a fitted model in a format: PACKED, CHILD, or its reason.

    AssertionError where it scores or labels otherwise than scikit-learn.
    """
    try:
        data = FORMATS[kind](model)
    except Exception as error:  # noqa: BLE001  # whatever the format cannot write
        return f"not written: {type(error).__name__}"
    try:
        packed = pack_file(data)
        detector = loader.load_model(data)
    except Unscorable as error:
        return str(error.reason)
    if detector.task is not Task.DETECTOR:
        rows = _make_rows(predictors.SEEN, frame, type(model).__name__)
        _compare(model, detector, rows if detector.feature_names else np.asarray(rows), rows)
        if packed.family is Family.KEPT:
            return CHILD
        _compare_packed(model, packed, np.asarray(rows), rows)
        return PACKED
    rows = FRAMES[frame](SEEN)
    expected = np.ravel(model.decision_function(rows)), model.predict(rows) == -1
    answers = outlier_detector.predict_rows(detector.estimator, rows if detector.feature_names else SEEN, detector.rule)
    results = [(answers.score, answers.anomaly)]
    if packed.family is not Family.KEPT:
        results.append(_score_packed(packed, SEEN))
    for scores, labels in results:
        np.testing.assert_allclose(scores, expected[0], atol=EQUAL * max(1, np.abs(expected[0]).max()))
        clear = np.abs(scores - detector.rule.border) > EQUAL
        np.testing.assert_array_equal(labels[clear], expected[1][clear])
    return PACKED if packed.family is not Family.KEPT else CHILD


def _compare(model: Any, loaded: FittedModel, features: Any, rows: Any) -> None:
    """AssertionError where what is made of a file says something else than the model itself."""
    answers = registry.predict_rows(loaded, features, Probabilities.LABEL)
    predicted = np.ravel(model.predict(rows))
    if answers.prediction is not None:
        np.testing.assert_allclose(answers.prediction, predicted, rtol=SAME, atol=SAME * np.abs(predicted).max())
        return
    assert answers.label is not None
    labels = [answers.label.names[code] for code in answers.label.codes]
    classes = getattr(model, "classes_", np.unique(predicted))
    of_output = classes if isinstance(classes, list) else [classes]
    texts = {item: str(item) for names in of_output for item in np.asarray(names).tolist()}
    assert labels == [texts.get(item, str(item)) for item in predicted.tolist()]
    if answers.probability is not None and predicted.shape == (len(rows),) and not isinstance(classes, list):
        index = [np.asarray(classes).tolist().index(item) for item in predicted.tolist()]
        shares = model.predict_proba(rows)[np.arange(len(rows)), index]
        np.testing.assert_allclose(answers.probability, shares, rtol=0, atol=_get_tolerance(model, SAME))
    assert (answers.probability is not None) == (loaded.task is Task.CLASSIFIER and hasattr(model, "predict_proba"))
    if loaded.task is Task.CLUSTERER and hasattr(model, "transform"):
        distances = np.asarray(model.transform(rows)).min(axis=1)
        np.testing.assert_allclose(answers.score, -distances, rtol=SAME, atol=SAME)
    if loaded.task is Task.CLUSTERER and hasattr(model, "score_samples"):
        np.testing.assert_allclose(answers.score, model.score_samples(rows), rtol=SAME, atol=SAME)


def _compare_packed(model: Any, packed: Packed, features: np.ndarray, rows: Any) -> None:
    """AssertionError where the kernels say something else than the model itself."""
    assert packed.predicted is not None
    outputs, labels = run_chain(compiled, packed, features)
    predicted = np.asarray(model.predict(rows))
    if packed.predicted.task is Task.REGRESSOR:
        scale = np.abs(predicted).max()
        np.testing.assert_allclose(np.ravel(outputs), np.ravel(predicted), rtol=SAME, atol=PACKED_EQUAL * scale)
        return
    assert [packed.predicted.classes[place] for place in labels] == [str(item) for item in predicted.tolist()]
    if packed.predicted.has_probability:
        np.testing.assert_allclose(outputs, model.predict_proba(rows), rtol=0, atol=_get_tolerance(model, PACKED_EQUAL))


def _get_tolerance(model: Any, usual: float) -> float:
    """Of probabilities: XGBoost's are float32."""
    return SINGLE if type(model).__name__.startswith("XGB") else usual


def _score_packed(packed: Packed, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if packed.family is Family.STEPS:
        outputs, labels = run_chain(compiled, packed, rows)
        return outputs[:, 0], labels == 1
    scores = decision(packed, rows)
    return scores, anomalies(packed, scores)


def judge_kind(kind: Kind, variants: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """What becomes of a kind, fitted and saved in these ways."""
    verdicts = {}
    for frame in FRAMES:
        formats = [variant for variant in variants if variant[0] == frame]
        if formats:
            with warnings.catch_warnings(action="ignore"):
                model = fit(kind.model, frame, kind.target, kind.name)
                verdicts |= {(frame, name): judge(model, frame, name) for _, name in formats}
    return verdicts


def format_verdicts(verdicts: dict[tuple[str, str], str]) -> str:
    """One word where all ways agree; else each word with the formats that it holds for."""
    words = list(dict.fromkeys(verdicts.values()))
    if len(words) == 1:
        return words[0]
    formats = {word: sorted({kind for (_, kind), other in verdicts.items() if other == word}) for word in words}
    return "; ".join(f"{word} ({', '.join(names)})" for word, names in formats.items())


def list_release_rows() -> Iterator[str]:
    """A row for each model that a release made: what becomes of it."""
    kinds: dict[str, dict[str, str]] = {}
    for release in sorted(RELEASES, key=lambda text: tuple(map(int, text.split(".")))):
        files, answers = read_release(release)
        for name, data in files.items():
            kinds.setdefault(name, {})[release] = _judge_release(data, answers.get(name))
    releases = list(dict.fromkeys(release for verdicts in kinds.values() for release in verdicts))
    releases.sort(key=lambda text: tuple(map(int, text.split("."))))
    yield f"| | {' | '.join(releases)} |"
    yield "|---" * (len(releases) + 1) + "|"
    for name, verdicts in sorted(kinds.items()):
        yield f"| {name} | {' | '.join(verdicts.get(release, '') for release in releases)} |"


def _judge_release(data: bytes, answer: dict[str, Any] | None) -> str:
    try:
        packed, detector = pack_file(data), loader.load_model(data)
    except Unscorable as error:
        return str(error.reason)
    assert answer
    scores = outlier_detector.predict_rows(detector.estimator, SEEN_BY_RELEASES, detector.rule).score
    np.testing.assert_allclose(scores, answer["score"], atol=EQUAL)
    return PACKED if packed.family is not Family.KEPT else CHILD


def list_kind_rows() -> Iterator[str]:
    """The tables of all kinds, each fitted and saved in all ways."""
    section = ""
    for kind in list_kinds():
        if kind.section != section:
            section = kind.section
            yield from ("", f"### {section}", "", "| Model | Scored |", "|---|---|")
        yield f"| {kind.name} | {format_verdicts(judge_kind(kind, VARIANTS))} |"


def fill_page(page: str) -> str:
    """The page with its tables made again."""
    tables = {"kinds": list_kind_rows(), "releases": list_release_rows()}
    for name, rows in tables.items():
        before, mark, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        page = "".join((before, mark, "\n".join(rows).strip(), "\n", end, after))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, required=True)
    path = parser.parse_args().into
    path.write_text(fill_page(path.read_text()))


if __name__ == "__main__":
    main()

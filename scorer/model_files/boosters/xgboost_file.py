"""A model that XGBoost saved, as UBJSON or JSON -> what it says: its trees as arrays, its objective, its names.

The schema: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html; what each value means: `Learner` in
XGBoost's src/learner.cc. `families.trees.xgboost` makes numbers for the kernels of it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from scorer.errors import Unscorable
from scorer.model_files.parsed import ParsedObject
from shared.contract.reasons import Reason

from . import xgboost_trees
from .ubjson import read_ubjson

REGRESSOR, CLASSIFIER = "xgboost.regressor", "xgboost.classifier"
NEWEST = (3, 2)  # the newest release whose files are read
FIRST_WITH_SETS = (1, 7)  # before, splits by categories were an experiment with another form
FIRST_WITH_CATEGORIES = (3, 1)  # whose files hold the categories of the frame that the model was fitted on
MOST_OUTPUTS = 2**12
JSON_LIMIT = 64 * 2**20  # bytes, which take twenty times as much after parsing
_CLASSIFIES = frozenset({"binary:logistic", "binary:hinge", "multi:softmax", "multi:softprob"})
_REGRESSES = frozenset(
    {
        "binary:logistic", "binary:logitraw", "count:poisson", "rank:map", "rank:ndcg", "rank:pairwise",
        "reg:absoluteerror", "reg:gamma", "reg:linear", "reg:logistic", "reg:pseudohubererror", "reg:quantileerror",
        "reg:squarederror", "reg:squaredlogerror", "reg:tweedie", "survival:aft", "survival:cox",
    }
)  # fmt: skip
_NUMBER = re.compile(r"[-+0-9.eE]{1,40}")
_WHOLE = re.compile(r"\d{1,9}")
# What loading does not need, in XGBoost's own JSON. No bracket is passed over, so the search is as long as the text.
_UNUSED = re.compile(rb'(?<!\\)"(?:loss_changes|parents|sum_hessian)":\[[^\[\]]*\]')
_WEIGHTS = re.compile(rb'(?<!\\)"base_weights":\[[^\[\]]*\]')
_SCALAR_LEAVES = re.compile(rb'"size_leaf_vector":"(?![01]")')


def read_xgboost_file(data: bytes) -> ParsedObject:
    """The model in a file that begins as XGBoost's UBJSON or JSON.

    Raises Unscorable: INCOMPATIBLE_MODEL for a file of a newer release, UNSUPPORTED_MODEL, UNFITTED_MODEL, TOO_LARGE;
    or LookupError, ValueError and such for a broken file.
    """
    is_ubjson = data[:2] == b"{L"
    document = read_booster(data) if is_ubjson else _read_json(data)
    return make_model(document)


def read_booster(data: bytes) -> Any:
    """The document in UBJSON, with its trees as arrays already where they are plain. Raises as `read_ubjson`."""
    return read_ubjson(data, {"trees": xgboost_trees.read_plain_trees})


def _read_json(data: bytes) -> Any:
    if len(data) > JSON_LIMIT:
        message = f"expected JSON of at most {JSON_LIMIT // 2**20} MiB, got more: save the model as .ubj"
        raise Unscorable(Reason.TOO_LARGE, message)
    data = _UNUSED.sub(b'"":0', data)
    if not _SCALAR_LEAVES.search(data):
        data = _WEIGHTS.sub(b'"":0', data)
    return json.loads(data)


def make_model(document: Any, estimator_type: str = "") -> ParsedObject:
    """The model that a document describes. *estimator_type*: scikit-learn's word for the wrapper around it, or "".

    Raises as `read_xgboost_file`.
    """
    version = _read_version(document)
    learner = _get_dict(document, "learner")
    attributes = _get_dict(learner, "attributes") if "attributes" in learner else {}
    wrapper = _read_wrapper(attributes)
    objective = _get_text(_get_dict(learner, "objective"), "name")
    sizes = _get_dict(learner, "learner_model_param")
    n_features, n_classes = _read_whole(sizes, "num_feature"), _read_whole(sizes, "num_class")
    n_targets = _read_whole(sizes, "num_target") if "num_target" in sizes else 1
    n_outputs = max(n_classes, n_targets, 1)
    if not n_features:
        raise Unscorable(Reason.UNFITTED_MODEL, "this Booster was never fitted")
    if n_outputs > MOST_OUTPUTS:
        raise Unscorable(Reason.TOO_LARGE, f"expected at most {MOST_OUTPUTS} outputs, got {n_outputs}")
    is_classifier = _choose_task(objective, estimator_type or wrapper, n_classes, n_targets)
    state: dict[str, Any] = {
        "n_features_in_": n_features,
        "objective": objective,
        "version": version,
        "base_score": _read_base_score(sizes, n_outputs),
        "is_classifier": is_classifier,
        **_read_gradient_booster(_get_dict(learner, "gradient_booster")),
    }
    if is_classifier:
        state["classes_"] = np.arange(max(n_classes, 2))
    if attributes.get("best_iteration") is not None:
        state["best_iteration"] = _read_whole(attributes, "best_iteration")
        _check_rounds(state)
    names = _read_texts(learner, "feature_names", n_features)
    if names:
        state["feature_names_in_"] = names
    _check_categories(learner, state, names)
    return ParsedObject(CLASSIFIER if is_classifier else REGRESSOR, state)


def _read_version(document: Any) -> tuple[int, ...]:
    """The release that wrote the file. Raises Unscorable, INCOMPATIBLE_MODEL, for one that is newer than `NEWEST`."""
    if type(document) is not dict or "learner" not in document:
        raise Unscorable(Reason.UNSUPPORTED_MODEL, "expected a model of XGBoost with a learner, got other JSON")
    version = document["version"]
    numbers = version.tolist() if isinstance(version, np.ndarray) else version
    if type(numbers) is not list or not 2 <= len(numbers) <= 4 or not all(type(number) is int for number in numbers):  # noqa: PLR2004  # as in 3.2.0
        raise ValueError("expected a version of numbers")
    if tuple(numbers[:2]) > NEWEST:
        release = ".".join(str(number)[:9] for number in numbers)
        raise Unscorable(
            Reason.INCOMPATIBLE_MODEL,
            f"made by xgboost {release}, expected {NEWEST[0]}.{NEWEST[1]} or older: its files may mean something else",
        )
    return tuple(numbers)


def _read_wrapper(attributes: dict[str, Any]) -> str:
    """What scikit-learn's wrapper, where one wrote the file, calls itself: classifier, regressor, ranker; else "".

    Up to 1.7 it also wrote its parameters, `missing` among them. Raises Unscorable for another one than NaN.
    """
    text = attributes.get("scikit_learn")
    if text is None:
        return ""
    wrapper = json.loads(text) if type(text) is str else None
    if type(wrapper) is not dict:
        raise ValueError("expected the attribute scikit_learn as an object of JSON")
    check_missing(wrapper.get("missing"))
    return str(wrapper.get("_estimator_type", ""))[:40]


def check_missing(missing: Any) -> None:
    """Raises Unscorable, UNSUPPORTED_MODEL, where a wrapper takes another number than NaN for a gap."""
    if missing is None or (type(missing) is float and math.isnan(missing)):
        return
    shown = repr(missing)[:40] if type(missing) in (int, float) else f"a {type(missing).__name__}"
    raise Unscorable(
        Reason.UNSUPPORTED_MODEL,
        f"expected a model with missing=nan, got missing={shown}, which XGBoost's own files lose: make this value a "
        "gap in the readings, and fit with missing=nan",
    )


def _choose_task(objective: str, estimator_type: str, n_classes: int, n_targets: int) -> bool:
    """Whether it is a classifier: the wrapper decides, else the objective. Raises Unscorable, UNSUPPORTED_MODEL."""
    is_classifier = estimator_type == "classifier" or (not estimator_type and objective in _CLASSIFIES)
    supported = _CLASSIFIES | {"reg:logistic"} if is_classifier else _REGRESSES
    task = "classifier" if is_classifier else "regressor"
    if objective not in supported:
        _refuse(f"expected an objective of a {task} ({', '.join(sorted(supported))}), got {objective[:40]!r}")
    if is_classifier and n_targets > 1:
        _refuse(f"expected a classifier with one label for a row, got one with {n_targets}")
    if objective.startswith("multi:") != (n_classes > 1):
        raise ValueError(f"expected num_class of the objective {objective[:40]!r}, got {n_classes}")
    return is_classifier


def _read_base_score(sizes: dict[str, Any], n_outputs: int) -> np.ndarray:
    """The base score of each output, float32: one number up to 3.0, a list in brackets since."""
    text = _get_text(sizes, "base_score")
    items = text[1:-1].split(",") if text[:1] == "[" and text[-1:] == "]" else [text]
    if len(items) not in (1, n_outputs) or not all(_NUMBER.fullmatch(item.strip()) for item in items):
        raise ValueError(f"expected base_score as 1 or {n_outputs} numbers, got {text[:80]!r}")
    scores = np.array([float(item) for item in items]).astype(np.float32)
    if not np.isfinite(scores).all():
        raise ValueError("expected base_score as finite numbers")
    return np.resize(scores, n_outputs)


def _read_gradient_booster(booster: dict[str, Any]) -> dict[str, Any]:
    """The parts of a state that depend on the kind of booster. Raises Unscorable, LookupError, ValueError."""
    name = _get_text(booster, "name")
    if name == "gblinear":
        return {"booster": name, "weights": _make_numbers(_get_dict(booster, "model")["weights"], "f4")}
    if name not in ("gbtree", "dart"):
        _refuse(f"expected the booster gbtree, dart or gblinear, got {name[:40]!r}")
    model = _get_dict(_get_dict(booster, "gbtree") if name == "dart" else booster, "model")
    trees = model["trees"]
    state: dict[str, Any] = {
        "booster": name,
        "trees": trees if type(trees) is dict and "n_nodes" in trees else xgboost_trees.join_trees(trees),
        "tree_info": _make_numbers(model["tree_info"], "i8"),
        "cats": model.get("cats"),
    }
    sizes = _get_dict(model, "gbtree_model_param")
    if "num_parallel_tree" in sizes:
        state["num_parallel_tree"] = _read_whole(sizes, "num_parallel_tree")
    if "iteration_indptr" in model:
        state["iteration_indptr"] = _make_numbers(model["iteration_indptr"], "i8")
    if name == "dart":
        state["weight_drop"] = _make_numbers(booster["weight_drop"], "f4")
    return state


def _check_rounds(state: dict[str, Any]) -> None:
    """Raises Unscorable, INCOMPATIBLE_MODEL, where a file names a best round and not how many trees a round has."""
    if state["booster"] != "gblinear" and not {"num_parallel_tree", "iteration_indptr"} & state.keys():
        release = ".".join(str(number) for number in state["version"])
        raise Unscorable(
            Reason.INCOMPATIBLE_MODEL,
            f"made by xgboost {release} with early stopping, whose files do not say how many trees a round has: load "
            "and save it with 1.7 or later",
        )


def _check_categories(learner: dict[str, Any], state: dict[str, Any], names: list[str]) -> None:
    """Raises Unscorable unless the readings of features with categories are their codes, as the trees ask for them.

    A frame's categories are numbered by the library. Since 3.1 the file says which they are; before, nothing does, so
    named features, which are a frame's, are refused there.
    """
    cats = state.pop("cats", None)
    enc = cats.get("enc") if type(cats) is dict else None
    types = _read_texts(learner, "feature_types", state["n_features_in_"])
    has_sets = "c" in types or "categories" in state.get("trees", {})
    is_old = state["version"][:2] < FIRST_WITH_CATEGORIES
    if state["version"][:2] < FIRST_WITH_SETS and has_sets:
        release = ".".join(str(number) for number in state["version"])
        message = f"made by xgboost {release}, whose splits by categories were an experiment: fit it with 1.7 or later"
        raise Unscorable(Reason.INCOMPATIBLE_MODEL, message)
    if enc or (is_old and has_sets and names):
        feature = next((name for name, kind in zip(names, types, strict=False) if kind == "c"), "of a frame")
        _refuse(
            f"expected features that are numbers, got the categories of a frame ({feature[:40]!r}): fit the model on "
            "whole numbers from 0 as an array, with feature_types"
        )


def _read_texts(learner: dict[str, Any], name: str, n_features: int) -> list[str]:
    """A text for each feature, or none at all."""
    texts = learner.get(name, [])
    if isinstance(texts, np.ndarray) and not len(texts):
        return []
    if type(texts) is not list or not all(type(text) is str for text in texts) or len(texts) not in (0, n_features):
        raise ValueError(f"expected {name} as {n_features} texts or none")
    return texts


def _make_numbers(value: Any, kind: str) -> np.ndarray:
    """One dimension of numbers from an array or a list. Raises ValueError, TypeError, OverflowError."""
    array = np.array(value) if len(value) else np.empty(0)
    if array.ndim != 1 or (len(array) and array.dtype.kind not in ("iu" if kind[0] == "i" else "iuf")):
        raise ValueError("expected a list of numbers")
    with np.errstate(over="ignore"):
        return array.astype(kind)


def _get_dict(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = parent[name]
    if type(value) is not dict:
        raise ValueError(f"expected {name} as an object, got a {type(value).__name__}")
    return value


def _get_text(parent: Mapping[str, Any], name: str) -> str:
    value = parent[name]
    if type(value) is not str:
        raise ValueError(f"expected {name} as text, got a {type(value).__name__}")
    return value


def _read_whole(parent: Mapping[str, Any], name: str) -> int:
    """A number of 0 or more, which XGBoost writes as text. Raises KeyError, ValueError."""
    text = _get_text(parent, name)
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"expected {name} as a whole number, got {text[:40]!r}")
    return int(text)


def _refuse(message: str) -> NoReturn:
    raise Unscorable(Reason.UNSUPPORTED_MODEL, message)

"""What models need of the readings, as their packs say it."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from scorer.packs.cache import load_models
from scorer.packs.fetch import Stores
from scorer.readings.projection import Projection
from scorer.scoring.needed_columns import find_needed_columns
from scorer.storage.blob_store import Folder
from shared.contract.domain import Model
from shared.contract.model_list import ModelList

ROWS = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=["a", "b"])
NAMED = make_pipeline(StandardScaler(), OneClassSVM()).fit(ROWS)
ALONE = OneClassSVM().fit(ROWS[["b"]])
UNNAMED = OneClassSVM().fit(ROWS.to_numpy())
KEPT = LocalOutlierFactor(metric="canberra", novelty=True).fit(ROWS.rename(columns={"a": "kept"}))
KEPT_WITHOUT = LocalOutlierFactor(metric="canberra", novelty=True).fit(ROWS.to_numpy())
OTHER = StandardScaler().fit(ROWS)  # no model


@pytest.mark.parametrize(
    ("files", "needed"),
    [
        ({"p": NAMED, "q": ALONE}, Projection(frozenset({"a", "b"}))),
        ({"p/rpm": ALONE, "q": ALONE}, Projection(frozenset({"b", "rpm"}))),
        ({"p": UNNAMED, "q": ALONE}, Projection(frozenset({"b"}), in_order=True)),
        ({"p/rpm": UNNAMED, "q": ALONE}, Projection(frozenset({"b", "rpm"}), sensors_in_order=True)),
        ({"p": KEPT, "q": ALONE}, Projection(frozenset({"kept", "b"}))),
        ({"p": KEPT_WITHOUT}, Projection(in_order=True, unknown=True)),
        ({"p": OTHER, "q": ALONE}, Projection(frozenset({"b"}))),  # refused: it is not scored
        ({"p": None, "q": ALONE}, Projection(frozenset({"b"}))),  # removed
        ({"p": OTHER}, Projection()),
    ],
)
def test_models_need_what_they_name_and_those_without_names_all(
    files: dict[str, Any], needed: Projection, tmp_path: Path
) -> None:
    models = []
    for name, estimator in files.items():
        device, _, sensor = name.partition("/")
        models.append(Model(device, sensor, f"{name}.pkl", "e"))
        (tmp_path / f"{name}.pkl").parent.mkdir(exist_ok=True)
        if estimator is not None:
            (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(estimator))
    fleet = ModelList.from_models(models)
    loaded = load_models(Stores(Folder(tmp_path), Folder(tmp_path)), "", fleet)

    assert find_needed_columns(fleet, loaded) == needed
    assert find_needed_columns(fleet, loaded, range(len(fleet))) == Projection()

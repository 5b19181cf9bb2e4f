"""Small fleets with their readings, for whole runs."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import skops.io
from sklearn.svm import OneClassSVM

from tests.stack.e2e.place import Place

HOUR = timedelta(hours=1)


def give_models(place: Place, devices: Sequence[str], *, pickled: bool = False) -> None:
    """The same one-class SVM of two features for each device. Pickled, it saves a node a third of a small job."""
    normal = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=["heat", "noise"])
    model = OneClassSVM(nu=0.1).fit(normal)
    data, ending = (pickle.dumps(model), "pkl") if pickled else (skops.io.dumps(model), "skops")
    place.upload("models", {f"{device}.{ending}": data for device in devices})


def give_readings(place: Place, devices: Sequence[str], start: datetime) -> None:
    """A reading a minute of each device, for the hour from *start*."""
    rng = np.random.default_rng(1)
    rows = [(start + timedelta(minutes=m), device, *rng.normal(size=2)) for device in devices for m in range(60)]
    sink = io.BytesIO()
    pd.DataFrame(rows, columns=["time", "device", "heat", "noise"]).to_parquet(sink, index=False)
    place.upload("readings", {f"{start:date=%Y-%m-%d/hour=%H}/part.parquet": sink.getvalue()})

"""A model in each format that people save it in, the same bytes each time."""

from __future__ import annotations

import functools
import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import joblib
import numpy as np
import skops.io
from sklearn.base import BaseEstimator

DATA = np.random.default_rng(7).normal([10.0, 20.0, 30.0], [1.0, 2.0, 3.0], (60, 3))  # what all models are fitted on


def to_joblib(model: Any, compress: Any = 0) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer, compress=compress)
    return buffer.getvalue()


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these, with the same dates each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def to_skops(model: Any) -> bytes:
    """As skops has it, with the same dates and names of arrays each time."""
    entries = unzipped(skops.io.dumps(model))
    schema = entries.pop("schema.json").decode()
    named: dict[str, bytes] = {}
    for i, (name, content) in enumerate(entries.items()):
        schema, named[f"{i}.npy"] = schema.replace(name, f"{i}.npy"), content
    ids: dict[int, int] = {}

    def numbered(node: dict[str, Any]) -> dict[str, Any]:
        if "__id__" in node:
            node["__id__"] = ids.setdefault(node["__id__"], len(ids))
        return node

    tree = json.loads(schema, object_hook=numbered)
    return zipped({"schema.json": json.dumps(tree).encode(), **named})


FORMATS: dict[str, Callable[[Any], bytes]] = {
    "skops": to_skops,
    **{f"pickle-{n}": functools.partial(pickle.dumps, protocol=n) for n in range(6)},
    "joblib": to_joblib,
    **{f"joblib-{kind}": functools.partial(to_joblib, compress=(kind, 3)) for kind in ("zlib", "gzip", "bz2", "xz")},
}


def tidied(model: Any) -> Any:
    """The model with nothing in the gaps of its trees' nodes, where scikit-learn leaves what lay in memory before."""
    for tree in _list_trees(model):
        nodes = tree.__getstate__()["nodes"]
        used = max(offset + kind.itemsize for kind, offset in nodes.dtype.fields.values())
        nodes.view(np.uint8).reshape(len(nodes), -1)[:, used:] = 0
    return model


def _list_trees(value: Any) -> Iterator[Any]:
    """The trees in an estimator and in what it holds."""
    if hasattr(value, "tree_"):
        yield value.tree_
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.ravel().tolist()
    inner = (
        vars(value).values() if isinstance(value, BaseEstimator) else value if isinstance(value, list | tuple) else ()
    )
    for item in inner:
        yield from _list_trees(item)

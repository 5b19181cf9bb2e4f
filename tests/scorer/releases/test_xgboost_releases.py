"""A model of XGBoost has the margins that the release that made it computed, to the bit.

The files and margins were made by `make_xgboost.py` with the real releases.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from scorer.families.trees.xgboost import read_xgboost
from scorer.model_files import reader
from tests.scorer.families.reference_trees import sum_leaves
from tests.scorer.releases.make_xgboost import SEEN

FOLDER = Path(__file__).parent / "xgboost"
RELEASES = sorted(path.stem for path in FOLDER.glob("*.zip"))


def read_release(release: str) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """The model files of a release, by name, and its own margins for `SEEN`, float32[rows] or [rows, outputs]."""
    with zipfile.ZipFile(FOLDER / f"{release}.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with np.load(io.BytesIO(files.pop("expected.npz"))) as margins:
        return files, dict(margins)


def test_four_releases_are_kept() -> None:
    assert RELEASES == ["1.7", "2.1", "3.0", "3.2"]


@pytest.mark.parametrize("release", RELEASES)
def test_margins_are_those_of_the_release_that_made_the_file(release: str) -> None:
    files, margins = read_release(release)

    assert len(files) >= 4 * 15
    for name, data in files.items():
        model = reader.read_model(data)
        totals = sum_leaves(read_xgboost(model.state), SEEN).astype(np.float32)
        expected = margins[name.split(".")[0]]
        np.testing.assert_array_equal(totals, expected.reshape(totals.shape), name)
        assert ".".join(map(str, model.state["version"][:2])) == release
        is_classifier = name.split(".")[0] in ("two", "hinge", "three", "onehot")
        assert model.kind == f"xgboost.{'classifier' if is_classifier else 'regressor'}"

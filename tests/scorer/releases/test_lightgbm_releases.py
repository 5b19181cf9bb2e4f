"""Boosters have the raw scores, to the bit, and the labels that the release of LightGBM gave that made them.

The files and answers were made by `make_lightgbm.py` with the real releases.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest

from scorer.families.trees.lightgbm import read_lightgbm, takes_gaps
from scorer.model_files import reader
from tests.scorer.families.reference_trees import sum_leaves
from tests.scorer.releases.make_lightgbm import SEEN, SEEN_GAPS

FOLDER = Path(__file__).parent / "lightgbm"
RELEASES = sorted(path.stem for path in FOLDER.glob("*.zip"))


def read_release(release: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The model files of a release, by name, and its own answers."""
    with zipfile.ZipFile(FOLDER / f"{release}.zip") as archive:
        files = {Path(name).stem: archive.read(name) for name in archive.namelist() if name != "expected.json"}
        return files, json.loads(archive.read("expected.json"))["answers"]


@pytest.mark.parametrize("release", RELEASES)
def test_a_booster_scores_as_the_release_that_made_it(release: str) -> None:
    files, answers = read_release(release)
    assert len(files) == len(answers) >= 25
    for name, answer in answers.items():
        state = reader.read_model(files[name]).state
        rows = SEEN_GAPS if name.endswith("-gaps") else SEEN
        totals = sum_leaves(read_lightgbm(state), rows)
        np.testing.assert_array_equal(totals, np.array(answer["raw"]).reshape(len(rows), -1), name)
        assert takes_gaps(state) == (name.endswith("-gaps") or name.startswith("zero")), name
        if "label" in answer:
            best = np.argmax(totals, axis=1) if totals.shape[1] > 1 else (totals[:, 0] > 0).astype(int)
            assert [state["classes_"][i] for i in best.tolist()] == answer["label"]


@pytest.mark.parametrize("release", RELEASES)
def test_the_installed_release_reads_these_files_to_the_same_scores(release: str) -> None:
    files, answers = read_release(release)
    for name in answers:
        if files[name].startswith(b"tree\n") and not name.startswith("forest"):
            booster = lightgbm.Booster(model_str=files[name].decode())
            rows = SEEN_GAPS if name.endswith("-gaps") else SEEN
            totals = sum_leaves(read_lightgbm(reader.read_model(files[name]).state), rows)
            expected = booster.predict(rows, raw_score=True, num_threads=1)
            np.testing.assert_array_equal(totals, expected.reshape(len(rows), -1), name)

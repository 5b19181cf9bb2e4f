"""A model is scored and labelled as the release of scikit-learn that made it did, from 0.19 on.

The files and answers were made by `make.py` with the real releases.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scorer.commands.desk import convert_models
from scorer.commands.desk.unscored import Output
from scorer.errors import Unscorable
from scorer.estimators import loader, outlier_detector
from scorer.families.base import BORDER, Family
from scorer.packs.cache import pack_file
from shared.contract.model_names import ModelNames
from shared.contract.reasons import Reason
from tests.scorer.families.layout import anomalies, decision
from tests.scorer.releases.make import SEEN

FOLDER = Path(__file__).parent
RELEASES = sorted(path.stem for path in FOLDER.glob("*.zip"))
# Scored by scikit-learn itself, in a worker process.
KEPT = ("forest-pca", "svm-pca", "lof-novelty", "lof-manhattan")


def read_release(release: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The model files of a release, by name, and its own answers for `SEEN`."""
    with zipfile.ZipFile(FOLDER / f"{release}.zip") as archive:
        answers: dict[str, Any] = json.loads(archive.read("expected.json"))["answers"]
        return {Path(name).stem: archive.read(name) for name in archive.namelist() if name.endswith(".pkl")}, answers


# 0.19's envelope takes a root of the distance, which no later release does.
REFUSED = {"0.19": {"envelope": Reason.INCOMPATIBLE_MODEL, "lof": Reason.NOT_NOVELTY}}


@pytest.mark.parametrize("release", RELEASES)
def test_a_packed_model_scores_and_labels_as_the_release_that_made_it(release: str) -> None:
    files, answers = read_release(release)
    packed = {name: pack_file(files[name]) for name in answers if name not in (*KEPT, *REFUSED.get(release, {}))}

    assert len(packed) >= 6
    for name, model in packed.items():
        scores = decision(model, SEEN)
        np.testing.assert_allclose(scores, answers[name]["score"], atol=1e-12, err_msg=name)
        np.testing.assert_array_equal(anomalies(model, scores), np.array(answers[name]["anomaly"], bool), name)


@pytest.mark.parametrize("release", RELEASES)
def test_scikit_learn_itself_scores_an_old_model_as_the_release_that_made_it(release: str) -> None:
    files, answers = read_release(release)

    for name, answer in answers.items():
        if name in REFUSED.get(release, {}):
            continue
        detector = loader.load_model(files[name])
        answers = outlier_detector.predict_rows(detector.estimator, SEEN, detector.rule)
        scores, labels = answers.score, answers.anomaly

        np.testing.assert_allclose(scores, answer["score"], atol=1e-12, err_msg=name)
        clear = np.abs(scores - detector.rule.border) > 1e-12  # rounding may move a score that is on the border
        np.testing.assert_array_equal(labels[clear], np.array(answer["anomaly"], bool)[clear], name)


@pytest.mark.parametrize("release", ["0.19", "0.21", "1.2"])
def test_what_is_converted_scores_as_before_and_what_cannot_be_is_refused(
    release: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, answers = read_release(release)
    (tmp_path / "old").mkdir()
    for name, data in files.items():
        (tmp_path / "old" / f"{name}.pkl").write_bytes(data)

    convert_models.convert_folder(tmp_path / "old", tmp_path / "new", ModelNames(), Output.VERBOSE)

    old_labels = [name for name in files if name.startswith("forest") and release in ("0.19", "0.21")]
    kept = {"lof", *REFUSED.get(release, {}), *(set(old_labels) - {"forest-new"})}
    assert {path.stem for path in (tmp_path / "new").iterdir()} == set(files) - kept
    assert capsys.readouterr().out.count("keep the file as it is") == len(kept & set(old_labels))
    for path in (tmp_path / "new").iterdir():
        detector = loader.load_model(path.read_bytes())
        scores = outlier_detector.predict_rows(detector.estimator, SEEN, detector.rule).score
        np.testing.assert_allclose(scores, answers[path.stem]["score"], atol=1e-12, err_msg=path.stem)


def test_what_an_old_release_made_otherwise_is_refused_as_what_it_is() -> None:
    for release, reasons in REFUSED.items():
        files, _ = read_release(release)
        for name, reason in reasons.items():
            with pytest.raises(Unscorable) as caught:
                pack_file(files[name])
            assert caught.value.reason is reason
            assert reason is not Reason.INCOMPATIBLE_MODEL or "scikit-learn 0.19.2, which" in str(caught.value)


def test_a_forest_that_does_not_say_whether_020_or_021_made_it_is_incompatible() -> None:
    data = read_release("0.21")[0]["forest"]
    nameless = data.replace(b"_sklearn_version", b"_sklearn_versium")

    with pytest.raises(Unscorable, match=r"whether scikit-learn 0\.20 or 0\.21 made it") as caught:
        pack_file(nameless)

    assert caught.value.reason is Reason.INCOMPATIBLE_MODEL
    assert pack_file(data).family is Family.FOREST


def test_old_forests_have_a_border_of_their_own() -> None:
    forests = {release: read_release(release)[0]["forest"] for release in ("0.20", "0.21", "0.22")}
    borders = {release: pack_file(data).numbers[BORDER] for release, data in forests.items()}

    assert borders["0.20"] < 0 > borders["0.21"]
    assert borders["0.22"] == 0

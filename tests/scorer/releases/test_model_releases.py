"""Regressors, classifiers and clusterers say what the release of scikit-learn that made them said, or are refused.

The files and answers were made by `make_models.py` with the real releases.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scorer.commands.desk.convert_models import convert_folder
from scorer.commands.desk.unscored import Output
from scorer.errors import Unscorable
from scorer.estimators import loader, registry
from scorer.families.base import Family
from scorer.kernels.native import backend as compiled
from scorer.packs.cache import pack_file
from shared.contract.domain import Task
from shared.contract.model_names import ModelNames
from shared.contract.reasons import Reason
from shared.contract.scoring_options import Probabilities
from tests.scorer.kernels.chains import run_chain
from tests.scorer.releases.make_models import SEEN

Capture = pytest.CaptureFixture[str]
FOLDER = Path(__file__).parent / "models"
RELEASES = sorted(path.stem for path in FOLDER.glob("*.zip"))
SAME = 1e-12  # of the largest number
# What later releases score otherwise: refused, with the release in the message.
REFUSED = {
    "1.0": {"votes": "SAMME.R", "logistic-apart": "multi_class", "partial-least-squares": "since 1.3"},
    "1.2": {"votes": "SAMME.R", "logistic-apart": "multi_class", "partial-least-squares": "since 1.3"},
    "1.5": {"votes": "SAMME.R", "logistic-apart": "multi_class"},
    "1.6": {"logistic-apart": "multi_class"},
    "1.8": {},
}


def read_release(release: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The model files of a release, by name, and its own answers for `SEEN`."""
    with zipfile.ZipFile(FOLDER / f"{release}.zip") as archive:
        answers: dict[str, Any] = json.loads(archive.read("expected.json"))["answers"]
        return {name: archive.read(f"{name}.pkl") for name in answers}, answers


def compare(data: bytes, answer: dict[str, Any], name: str) -> None:
    """AssertionError where a file is scored otherwise than its release did."""
    rows = SEEN[:, :1] if name == "isotonic" else SEEN
    answers = registry.predict_rows(loader.load_model(data), rows, Probabilities.LABEL)
    if answers.prediction is not None:
        expected = np.array(answer["predict"])
        np.testing.assert_allclose(answers.prediction, expected, rtol=0, atol=SAME * np.abs(expected).max())
        return
    assert answers.label is not None
    assert [answers.label.names[code] for code in answers.label.codes] == [str(item) for item in answer["predict"]]
    assert (answers.probability is not None) == ("shares" in answer)
    if answers.probability is not None:
        np.testing.assert_allclose(answers.probability, answer["shares"], rtol=0, atol=SAME)


@pytest.mark.parametrize("release", RELEASES)
def test_a_model_predicts_as_the_release_that_made_it(release: str) -> None:
    files, answers = read_release(release)
    scored = [name for name in files if name not in REFUSED[release]]

    assert len(scored) >= 27
    for name in scored:
        compare(files[name], answers[name], name)


@pytest.mark.parametrize("release", RELEASES)
def test_a_model_that_is_packed_predicts_as_the_release_that_made_it(release: str) -> None:
    files, answers = read_release(release)
    packed = {name: pack_file(files[name]) for name in files if name not in REFUSED[release]}
    chains = {name: model for name, model in packed.items() if model.family is Family.STEPS}

    assert len(chains) >= 15, sorted(packed.keys() - chains.keys())
    for name, model in chains.items():
        predicted = model.predicted
        assert predicted is not None
        outputs, labels = run_chain(compiled, model, SEEN)
        if predicted.task is Task.REGRESSOR:
            expected = np.array(answers[name]["predict"]).reshape(outputs.shape)
            np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-11 * np.abs(expected).max())
            continue
        assert [predicted.classes[place] for place in labels] == [str(item) for item in answers[name]["predict"]]
        assert predicted.has_probability == ("shares" in answers[name])
        if predicted.has_probability:
            shares = outputs[np.arange(len(outputs)), labels]
            np.testing.assert_allclose(shares, answers[name]["shares"], rtol=0, atol=1e-11)


@pytest.mark.parametrize("release", RELEASES)
def test_what_later_releases_score_otherwise_is_refused_with_the_release_that_made_it(release: str) -> None:
    files, _ = read_release(release)

    for name, says in REFUSED[release].items():
        with pytest.raises(Unscorable, match=says) as caught:
            loader.load_model(files[name])
        assert caught.value.reason is Reason.INCOMPATIBLE_MODEL
        assert f"made by scikit-learn {release}, which" in str(caught.value)


@pytest.mark.parametrize("release", ["1.0", "1.5"])
def test_what_convert_writes_of_an_old_model_predicts_as_before(release: str, tmp_path: Path, capsys: Capture) -> None:
    """A Birch is refused, since skops 0.14 cannot write its tree, and its file stays as it is."""
    files, answers = read_release(release)
    source, target = tmp_path / "models", tmp_path / "skops"
    source.mkdir()
    for name, data in files.items():
        (source / f"{name}.pkl").write_bytes(data)

    assert convert_folder(source, target, ModelNames(), Output.JSON) == 1
    written = {path.stem for path in target.iterdir()}
    results = json.loads(capsys.readouterr().out)["results"]
    messages = {one["model"]: one["message"] for one in results if one["reason"]}
    assert written == files.keys() - REFUSED[release].keys() - {"birch"}
    assert messages.keys() == {*REFUSED[release], "birch"}
    assert "expected a model that skops can write" in messages["birch"]
    assert messages["birch"].endswith("Keep the file as it is")
    for name in written:
        compare((target / f"{name}.skops").read_bytes(), answers[name], name)

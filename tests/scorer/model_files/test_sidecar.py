"""Sidecars beside models, and MLflow's folders, as data."""

from __future__ import annotations

import pytest

from scorer.errors import Unscorable
from scorer.model_files.content import Sidecar
from scorer.model_files.mlflow_folder import find_model_file
from scorer.model_files.sidecar import parse_sidecar, read_sidecar
from shared.contract.reasons import Reason
from shared.contract.scoring_options import Gaps


@pytest.mark.parametrize(
    ("data", "sidecar"),
    [
        (b"{}", Sidecar()),
        (b'{"features": ["heat", "10"]}', Sidecar(("heat", "10"))),
        (b'{"gaps": "drop"}', Sidecar(gaps=Gaps.DROP)),
        (b'{"features": ["\xc2\xb0C"], "gaps": "give"}', Sidecar(("°C",), Gaps.GIVE)),
    ],
)
def test_a_sidecar_says_the_features_and_what_becomes_of_gaps(data: bytes, sidecar: Sidecar) -> None:
    assert parse_sidecar(data) == sidecar
    assert read_sidecar({"pump1.features.json": data}) == sidecar


def test_a_model_without_a_sidecar_has_one_that_says_nothing() -> None:
    assert read_sidecar({}) == Sidecar()


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (b"", "Expecting value"),
        (b'{"gaps": "give", "gaps": "drop"}', "got a key twice"),
        (b"[]", "got list []"),
        (b"heat,noise", "Expecting value"),
        (b'{"feature": ["heat"]}', "got the keys feature"),
        (b'{"features": "heat"}', "got the features str heat"),
        (b'{"features": [1, 2]}', "got the features list [1, 2]"),
        (b'{"features": [""]}', "got the features list ['']"),
        (b'{"features": ["a", "a"]}', "got a feature twice"),
        (b'{"gaps": "keep"}', "'keep' is not a valid Gaps"),
        (b'{"gaps": null}', "None is not a valid Gaps"),
        (b"\xff", "can't decode"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_what_is_no_sidecar_is_refused_and_says_what_was_expected(data: bytes, got: str) -> None:
    with pytest.raises(Unscorable) as caught:
        parse_sidecar(data, "pump1.features.json")
    assert caught.value.reason is Reason.UNREADABLE_MODEL
    assert str(caught.value).startswith('the sidecar pump1.features.json: expected {"features": ["name", ...], "gaps":')
    assert got in str(caught.value)


MLMODEL = """
artifact_path: model
flavors:
  python_function: {env: {conda: conda.yaml}, loader_module: mlflow.sklearn, model_path: model.pkl}
  sklearn: {code: null, pickled_model: %s, serialization_format: skops, sklearn_version: 1.9.1}
mlflow_version: 3.14.0
utc_time_created: '2026-11-21 07:00:00.000000'
"""


@pytest.mark.parametrize("path", ["model.pkl", "model.skops", "data/model.pkl"])
def test_mlmodel_names_the_file_of_the_model(path: str) -> None:
    assert find_model_file((MLMODEL % path).encode()) == path


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (b"", Reason.UNREADABLE_MODEL, "MLmodel: expected YAML with flavors, got TypeError"),
        (b"{", Reason.UNREADABLE_MODEL, "MLmodel: expected YAML with flavors, got ParserError"),
        (b"\x00", Reason.UNREADABLE_MODEL, "MLmodel: expected YAML with flavors, got ReaderError"),
        (b"flavors: [sklearn]", Reason.UNREADABLE_MODEL, "expected flavors by name, got a list"),
        (
            b"flavors: {sklearn: {}}",
            Reason.UNREADABLE_MODEL,
            "expected pickled_model as a path in the folder, got a NoneType",
        ),
        (b"a: &a [x, x]\nflavors: {sklearn: {pickled_model: [*a, *a]}}", Reason.UNREADABLE_MODEL, "folder, got a list"),
        (
            b"flavors: {sklearn: 1}",
            Reason.UNREADABLE_MODEL,
            "expected pickled_model as a path in the folder, got a NoneType",
        ),
        ((MLMODEL % "../model.pkl").encode(), Reason.UNREADABLE_MODEL, "got '../model.pkl'"),
        ((MLMODEL % "/etc/hosts").encode(), Reason.UNREADABLE_MODEL, "got '/etc/hosts'"),
        (
            b"flavors: {prophet: {}, python_function: {}}",
            Reason.UNSUPPORTED_MODEL,
            "the flavour sklearn or lightgbm or xgboost, got prophet, pyt",
        ),
        (b"!!python/object/apply:print [x]", Reason.UNREADABLE_MODEL, "could not determine a constructor"),
    ],
)
def test_another_mlmodel_is_refused(data: bytes, reason: Reason, message: str) -> None:
    with pytest.raises(Unscorable) as caught:
        find_model_file(data)
    assert caught.value.reason is reason
    assert message in str(caught.value)

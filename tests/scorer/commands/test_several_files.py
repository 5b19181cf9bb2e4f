"""Models of several files: a sidecar with features and gaps, and MLflow's folders. On a node and at a desk."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import skops.io
from pyarrow import parquet
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from scorer.__main__ import main
from shared.contract.domain import Model
from shared.contract.fleet.formats import ModelFormats
from shared.contract.fleet.ignored_files import IgnoredFiles
from shared.contract.fleet.listing import list_fleet
from shared.contract.manifest import Manifest, PackRef
from shared.contract.model_names import Blob, ModelNames, make_files_etag
from shared.contract.reasons import Reason
from shared.contract.text import make_digest
from shared.contract.windows import Window
from tests.reports import run_manifest

USUAL = ModelFormats()
HOUR = Window.parse("20261121T0700Z-PT1H")
TRAINING = np.random.default_rng(0).normal([1, 50], 1, (60, 2))  # heat, noise
SIDECAR = {"features": ["heat", "noise"]}
MLMODEL = "flavors: {{sklearn: {{pickled_model: {name}, serialization_format: skops}}}}\n"
READINGS = "date=2026-11-21/hour=07/a.csv"
ROWS = pd.DataFrame({"noise": [50.0, 51.0, 49.5], "heat": [1.0, 2.0, 0.5]})  # in another order than in training


class Fleet:
    """Folders with models, readings and work."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("models", "readings", "work"):
            (root / folder).mkdir()
        self.write_readings({})

    def write_readings(self, holes: dict[str, set[int]]) -> None:
        """The same rows for every device, without the noise of some."""
        lines = [
            f"2026-11-21T07:0{i}Z,{device},{'' if i in holes.get(device, ()) else row.noise},{row.heat}"
            for device in ("a", "b", "c")
            for i, row in enumerate(ROWS.itertuples())
        ]
        self.write("readings", READINGS, "\n".join(["time,device,noise,heat", *lines]).encode())

    def write(self, container: str, name: str, data: bytes) -> None:
        path = self.root / container / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def put(self, **files: object) -> None:
        """Write files of models: estimators, bytes, texts, or objects as JSON; `__` is a slash, and `_` a dot."""
        for name, content in files.items():
            path = name.replace("__", "/").replace("_", ".")
            if hasattr(content, "fit"):
                data = skops.io.dumps(content) if path.endswith(".skops") else pickle.dumps(content)
            elif isinstance(content, bytes):
                data = content
            else:
                data = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.write("models", path, data)

    def list_models(self, formats: ModelFormats = USUAL) -> list[Model]:
        """As the app lists them."""
        files = sorted(p for p in (self.root / "models").rglob("*") if p.is_file())
        blobs = [
            Blob(p.relative_to(self.root / "models").as_posix(), make_digest(p.read_bytes()), p.stat().st_size)
            for p in files
        ]
        return list(list_fleet(blobs, ModelNames(formats=formats), IgnoredFiles()))

    def make_manifest(self, formats: ModelFormats = USUAL) -> Manifest:
        models = self.list_models(formats)
        urls = [(self.root / container).as_uri() for container in ("models", "readings", "work")]
        packs = (PackRef("first", len(models)),)
        return Manifest(HOUR, "c00000", tuple(models), *urls, packs=packs, model_formats=formats.further)

    def run(
        self, manifest: Manifest, attempt: int = 1, **options: object
    ) -> dict[str, tuple[Reason | None, str, list[float]]]:
        """By model: why it was not scored, the etag in its rows, and its scores."""
        report = run_manifest(self.root / "work", manifest, attempt, **options)
        tables = [parquet.read_table(self.root / "work" / part.path) for part in report.parts]
        rows = pa.concat_tables(tables).to_pandas() if tables else pd.DataFrame({"device": [], "model": []})
        outcomes = {}
        for result in report.results:
            own = rows[rows["device"] == result.model]
            etags = set(own["model"])
            assert len(etags) == (0 if result.reason else 1)
            outcomes[result.model] = (
                result.reason, next(iter(etags), result.message), own["score"].tolist() if len(own) else []
            )  # fmt: skip
        return outcomes


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def fit_svm(seed: int = 0) -> OneClassSVM:
    return OneClassSVM(nu=0.1).fit(TRAINING + seed)


def score(estimator: object, rows: pd.DataFrame = ROWS) -> list[float]:
    """The library's own scores, for columns in the order of training."""
    scores: list[float] = estimator.decision_function(rows[["heat", "noise"]].to_numpy()).tolist()  # type: ignore[attr-defined]
    return scores


def test_a_sidecar_names_the_features_of_a_model_that_knows_none(fleet: Fleet) -> None:
    svm, lof = (
        fit_svm(),
        LocalOutlierFactor(metric="canberra", novelty=True).fit(TRAINING),
    )  # packed, and in a worker process
    fleet.put(a_skops=svm, a_features_json=SIDECAR, b_pkl=lof, b_features_json=SIDECAR, c_skops=svm)
    manifest = fleet.make_manifest()
    etags = {model.id: model.etag for model in manifest.models}
    for attempt, isolated in enumerate([False, False, True], 1):  # without a pack, with it, and model by model
        found = fleet.run(manifest, attempt, isolated=isolated)
        assert found["c"][0] is Reason.WRONG_FEATURES
        assert "give it a sidecar (MODEL.features.json beside it)" in found["c"][1]
        for device, estimator in (("a", svm), ("b", lof)):
            reason, etag, scores = found[device]
            assert (reason, etag) == (None, etags[device])
            np.testing.assert_allclose(scores, score(estimator), rtol=0, atol=1e-9)


def test_the_names_that_a_model_knows_beat_its_sidecar(fleet: Fleet) -> None:
    svm = OneClassSVM(nu=0.1).fit(pd.DataFrame(TRAINING, columns=["heat", "noise"]))
    fleet.put(a_skops=svm, a_features_json={"features": ["noise", "heat"]})
    for attempt, isolated in enumerate([False, True], 1):
        found = fleet.run(fleet.make_manifest(), attempt, isolated=isolated)
        np.testing.assert_allclose(found["a"][2], score(OneClassSVM(nu=0.1).fit(TRAINING)), rtol=0, atol=1e-9)


@pytest.mark.parametrize("isolated", [False, True])
def test_a_sidecar_says_what_becomes_of_gaps_and_beats_the_setting(fleet: Fleet, isolated: bool) -> None:
    forest = IsolationForest(n_estimators=10, random_state=0).fit(TRAINING)
    fleet.write_readings({device: {1} for device in "abc"})
    fleet.put(
        a_skops=forest, a_features_json={**SIDECAR, "gaps": "give"},
        b_skops=forest, b_features_json={**SIDECAR, "gaps": "drop"},
        c_skops=forest, c_features_json=SIDECAR,
    )  # fmt: skip
    found = fleet.run(fleet.make_manifest(), isolated=isolated)
    gappy = ROWS.assign(noise=[50.0, np.nan, 49.5])
    np.testing.assert_allclose(found["a"][2], score(forest, gappy), rtol=0, atol=1e-9)
    np.testing.assert_allclose(found["b"][2], score(forest, gappy.iloc[[0, 2]]), rtol=0, atol=1e-9)
    assert found["c"][2] == found["b"][2]  # it was trained without gaps, and the setting is `model`


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize(
    ("sidecar", "reason", "message"),
    [
        (
            {"features": ["heat"]},
            Reason.WRONG_FEATURES,
            "expected 2 features, got 1 names in the sidecar features.json",
        ),
        ({"names": ["heat"]}, Reason.UNREADABLE_MODEL, "the sidecar a.features.json: expected"),
        ({"features": ["heat", "dust"]}, Reason.MISSING_FEATURES, "expected 2 (heat, dust); the readings have"),
        (b" " * (2**20 + 1), Reason.TOO_LARGE, "a.features.json: expected at most 1 MiB, got 1048577 bytes"),
    ],
)
def test_a_sidecar_that_cannot_be_meant_fails_its_model_alone(
    fleet: Fleet, isolated: bool, sidecar: object, reason: Reason, message: str
) -> None:
    fleet.put(a_skops=fit_svm(), a_features_json=sidecar, b_skops=fit_svm(), b_features_json=SIDECAR)
    found = fleet.run(fleet.make_manifest(), isolated=isolated)
    assert found["a"][0] is reason
    assert message in found["a"][1]
    assert found["b"][0] is None


def test_where_one_file_changed_since_the_plan_all_are_read_as_they_are_now(fleet: Fleet) -> None:
    fleet.put(a_skops=fit_svm(), a_features_json=SIDECAR, b_skops=fit_svm(), b_features_json=SIDECAR)
    manifest = fleet.make_manifest()
    fleet.run(manifest, 1)  # with a pack, which is of the plan
    fleet.put(a_features_json={"features": ["noise", "heat"]})
    assert fleet.run(manifest, 2)["a"][1] == manifest.models[0].etag
    found = fleet.run(manifest, 3, isolated=True)
    etag = make_files_etag(fleet.list_models()[0].files)
    assert etag != manifest.models[0].etag
    assert found["a"][1] == etag
    expected = fit_svm().decision_function(ROWS[["noise", "heat"]].to_numpy())
    np.testing.assert_allclose(found["a"][2], expected, rtol=0, atol=1e-9)
    assert found["b"][1] == manifest.models[1].etag


@pytest.mark.parametrize("name", ["a.skops", "a.features.json"])
def test_where_one_file_is_missing_the_model_was_removed(fleet: Fleet, name: str) -> None:
    fleet.put(a_skops=fit_svm(), a_features_json=SIDECAR)
    manifest = fleet.make_manifest()
    (fleet.root / "models" / name).unlink()
    for attempt, isolated in enumerate([False, True], 1):
        assert fleet.run(manifest, attempt, isolated=isolated)["a"][0] is Reason.MODEL_REMOVED


def test_a_redrive_finds_a_sidecar_that_was_added_and_goes_without_one_that_was_removed(fleet: Fleet) -> None:
    named = OneClassSVM(nu=0.1).fit(pd.DataFrame(TRAINING, columns=["heat", "noise"]))
    fleet.put(a_skops=fit_svm(), b_skops=named, b_features_json=SIDECAR)
    manifest = fleet.make_manifest()
    assert fleet.run(manifest, 1)["a"][0] is Reason.WRONG_FEATURES
    fleet.put(a_features_json=SIDECAR)
    (fleet.root / "models" / "b.features.json").unlink()
    found = fleet.run(manifest, 2, current_files=True)
    now = {model.id: model.etag for model in fleet.list_models()}
    assert {device: etag for device, (_, etag, _) in found.items()} == now
    assert {device: reason for device, (reason, _, _) in found.items()} == {"a": None, "b": None}


def test_a_redrive_scores_a_model_of_which_one_file_is_left_of_two(fleet: Fleet) -> None:
    fleet.put(a_pkl=fit_svm(), a_pkl_gz=b"another", a_features_json=SIDECAR)
    manifest = fleet.make_manifest()
    assert fleet.run(manifest, 1)["a"][0] is Reason.AMBIGUOUS
    assert fleet.run(manifest, 2, current_files=True)["a"][0] is Reason.AMBIGUOUS
    (fleet.root / "models" / "a.pkl.gz").unlink()
    found = fleet.run(manifest, 3, current_files=True)
    assert found["a"][:2] == (None, fleet.list_models()[0].etag)


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("name", ["model.skops", "model.pkl"])
def test_a_folder_of_mlflow_is_one_model(fleet: Fleet, name: str, isolated: bool) -> None:
    svm = fit_svm()
    fleet.put(a_features_json=SIDECAR, a__MLmodel=MLMODEL.format(name=name), a__conda_yaml="name: x", b_skops=svm)
    fleet.put(**{f"a__{name.replace('.', '_')}": svm})
    manifest = fleet.make_manifest()
    assert [model.id for model in manifest.models] == ["a", "b"]
    reason, etag, scores = fleet.run(manifest, isolated=isolated)["a"]
    assert (reason, etag) == (None, manifest.models[0].etag)
    np.testing.assert_allclose(scores, score(svm), rtol=0, atol=1e-9)
    fleet.put(a__conda_yaml="name: y")
    assert fleet.make_manifest().models[0].etag != etag  # all below the folder belongs to it


@pytest.mark.parametrize(
    ("files", "reason", "message"),
    [
        ({"a__MLmodel": MLMODEL.format(name="gone.pkl")}, Reason.UNREADABLE_MODEL, "names the file a/gone.pkl, which"),
        (
            {"a__MLmodel": "flavors: {prophet: {}}"},
            Reason.UNSUPPORTED_MODEL,
            "expected the flavour sklearn or lightgbm or xgboost, got prophet",
        ),
        ({"a__MLmodel": "nothing"}, Reason.UNREADABLE_MODEL, "expected YAML with flavors"),
    ],
)
def test_a_folder_that_names_no_model_fails_alone(
    fleet: Fleet, files: dict[str, str], reason: Reason, message: str
) -> None:
    fleet.put(**files, b_skops=fit_svm(), b_features_json=SIDECAR)
    found = fleet.run(fleet.make_manifest())
    assert found["a"][0] is reason
    assert message in found["a"][1]
    assert found["b"][0] is None


def test_a_model_with_a_scaler_of_an_unknown_format_is_refused(fleet: Fleet) -> None:
    fleet.put(a_skops=fit_svm(), a_scaler_csv="1,2", a_features_json=SIDECAR)
    reason, message, _ = fleet.run(fleet.make_manifest())["a"]
    assert reason is Reason.UNSUPPORTED_MODEL
    assert message == (
        "a.skops has more files, of which a.scaler.csv cannot be read beside it: expected at most one scaler, in a "
        "file of a model's format; or put all of them into one Pipeline"
    )


def test_a_scaler_and_a_threshold_beside_the_model_count_in_every_way(fleet: Fleet) -> None:
    scaler = StandardScaler().fit(TRAINING)
    svm = OneClassSVM(nu=0.1).fit(scaler.transform(TRAINING))
    threshold = {"threshold": 0.01, "threshold_of": "decision_function"}
    fleet.put(a_skops=svm, a_scaler_pkl=scaler, a_features_json=SIDECAR)
    fleet.put(b_pkl=svm, b_scaler_joblib=scaler, b_features_json=SIDECAR, b_threshold_json=threshold)
    manifest = fleet.make_manifest()
    own = score(make_pipeline(scaler, svm))
    for attempt, options in enumerate([{}, {}, {"isolated": True}, {"current_files": True}], 1):  # twice: with a pack
        found = fleet.run(manifest, attempt, **options)
        for device, border in (("a", 0), ("b", 0.01)):
            reason, etag, scores = found[device]
            assert (reason, etag) == (None, next(m.etag for m in manifest.models if m.id == device))
            np.testing.assert_allclose(scores, np.subtract(own, border), rtol=0, atol=1e-9)


def test_a_redrive_finds_a_scaler_that_was_added(fleet: Fleet) -> None:
    scaler = StandardScaler().fit(TRAINING)
    svm = OneClassSVM(nu=0.1).fit(scaler.transform(TRAINING))
    fleet.put(a_skops=svm, a_features_json=SIDECAR)
    manifest = fleet.make_manifest()
    fleet.put(a_scaler_skops=scaler)
    reason, etag, scores = fleet.run(manifest, 2, current_files=True)["a"]
    assert (reason, etag) == (None, fleet.list_models()[0].etag)
    np.testing.assert_allclose(scores, score(make_pipeline(scaler, svm)), rtol=0, atol=1e-9)
    fleet.put(a_scaler_pkl=scaler)
    reason, message, _ = fleet.run(manifest, 3, current_files=True)["a"]
    assert (reason, message) == (
        Reason.UNSUPPORTED_MODEL, "expected one scaler beside the model, got a.scaler.skops and a.scaler.pkl"
    )  # fmt: skip


def test_a_manifest_of_schema_1_has_no_models_of_several_files(fleet: Fleet) -> None:
    fleet.put(a_skops=fit_svm(), a_features_json=SIDECAR)
    with pytest.raises(ValueError, match="a manifest of schema 1 cannot have models of several files"):
        replace(fleet.make_manifest(), schema=1).to_bytes()


def test_a_desk_scores_and_converts_them_and_says_what_is_ignored(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    svm = fit_svm()
    fleet.put(
        a_SAV=svm, a_features_json=SIDECAR, b__MLmodel=MLMODEL.format(name="model.pkl"), b__model_pkl=svm,
        b_features_json=SIDECAR, x_csv="1", y_csv="2", README_md="models",
    )  # fmt: skip
    converted = fleet.root / "converted"
    assert main(["convert", "--models", str(fleet.root / "models"), "--to", str(converted)]) == 0
    assert sorted(p.name for p in converted.iterdir()) == ["a.features.json", "a.skops", "b.features.json", "b.skops"]
    for models in (fleet.root / "models", converted):
        predictions = fleet.root / f"predictions-{models.name}"
        paths = ["--models", str(models), "--readings", str(fleet.root / "readings"), "--predictions", str(predictions)]
        assert main(["folder", *paths]) == 0
        table = ds.dataset(predictions, format="parquet").to_table().to_pandas()
        assert sorted(set(table["device"])) == ["a", "b"]
        for _, own in table.groupby("device"):
            np.testing.assert_allclose(own["score"], score(svm), rtol=0, atol=1e-9)
    output = capsys.readouterr().out
    assert output.count("ignored, as no models: 2 .csv: x.csv, y.csv\n") == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_sidecar_may_be_in_any_encoding_that_json_has(fleet: Fleet, encoding: str) -> None:
    svm, lof = fit_svm(), LocalOutlierFactor(metric="canberra", novelty=True).fit(TRAINING)
    sidecar = json.dumps(SIDECAR).encode(encoding)
    fleet.put(a_skops=svm, a_features_json=sidecar, b_skops=lof, b_features_json=sidecar)
    for attempt in (1, 2):  # without a pack, and with it
        found = fleet.run(fleet.make_manifest(), attempt)
        np.testing.assert_allclose(found["a"][2], score(svm), rtol=0, atol=1e-9)
        np.testing.assert_allclose(found["b"][2], score(lof), rtol=0, atol=1e-9)


@pytest.mark.parametrize("isolated", [False, True])
def test_a_model_that_is_named_after_one_sensor_and_was_fitted_on_another_is_refused(
    fleet: Fleet, isolated: bool
) -> None:
    heat = TRAINING[:, :1]
    named = OneClassSVM(nu=0.1).fit(pd.DataFrame(heat, columns=["heat"]))
    elsewhere = OneClassSVM(nu=0.1).fit(pd.DataFrame(heat, columns=["t"]))  # a name that no column has
    fleet.put(a__noise_skops=named, a__heat_skops=named, b__noise_skops=OneClassSVM(nu=0.1).fit(heat))
    fleet.put(b__noise_features_json={"features": ["heat"]}, c__heat_skops=elsewhere)
    report = run_manifest(fleet.root / "work", fleet.make_manifest(), 1, isolated=isolated)
    reasons = {result.model: result.reason for result in report.results}
    wrong = Reason.WRONG_FEATURES
    assert reasons == {"a/noise": wrong, "a/heat": None, "b/noise": wrong, "c/heat": None}
    message = next(result.message for result in report.results if result.model == "a/noise")
    assert (
        "named as the model of the sensor 'noise', but it was fitted on 'heat', which the readings have too" in message
    )


@pytest.mark.parametrize("more", [["--model-names", "{device}"], ["--model-formats", "json"]])
def test_a_lone_sidecar_is_never_a_model_whatever_the_options_take_for_models(
    fleet: Fleet, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.put(a_features_json="{}", **{"b" if "{device}" in more else "b_pkl": fit_svm()}, b_features_json=SIDECAR)
    paths = [f"--{name}={fleet.root / name}" for name in ("models", "readings", "predictions")]
    assert main(["folder", *paths, *more]) == 0
    output = capsys.readouterr().out
    assert "ignored, as no models: 1 .json: a.features.json" in output
    assert "1 of 1 models scored, 0 failed, 0 skipped" in output


def test_a_node_finds_the_sidecar_of_a_model_of_a_further_format_and_the_content_says_how_it_is_read(
    fleet: Fleet,
) -> None:
    svm, formats = fit_svm(), ModelFormats(("json", "txt"))
    fleet.put(
        a_JSON=pickle.dumps(svm), a_features_json=SIDECAR, b_json=b'{"leaner": {}}', b_features_json=SIDECAR,
        c_txt="oak\nversion=v4\n",
    )  # fmt: skip
    manifest = fleet.make_manifest(formats)
    for attempt, isolated in enumerate([False, False, True], 1):  # without a pack, with it, and model by model
        found = fleet.run(manifest, attempt, isolated=isolated)
        assert found["a"][:2] == (None, manifest.models[0].etag)
        np.testing.assert_allclose(found["a"][2], score(svm), rtol=0, atol=1e-9)
        expected = (
            "expected skops, a pickle of protocol 2 or later, a text of LightGBM or a model of XGBoost as "
            "UBJSON or JSON, got {}, which is not read yet: it begins with {}"
        )
        assert found["b"][:2] == (Reason.UNSUPPORTED_MODEL, expected.format("JSON", """'{"leaner": {}}'"""))
        assert found["c"][:2] == (Reason.UNSUPPORTED_MODEL, expected.format("text", r"'oak\nversion=v4\n'"))
    (fleet.root / "models" / "a.features.json").unlink()
    assert fleet.run(manifest, 4, isolated=True)["a"][0] is Reason.MODEL_REMOVED  # a part of it was
    assert fleet.run(manifest, 5, current_files=True)["a"][0] is Reason.WRONG_FEATURES


@pytest.mark.parametrize(
    ("more", "n_models"), [([], 1), (["--model-formats=json"], 2), (["--model-formats", "txt,json"], 3)]
)
def test_a_desk_takes_json_and_text_for_models_where_an_option_says_so(
    fleet: Fleet, more: list[str], n_models: int, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.put(a_pkl=fit_svm(), a_features_json=SIDECAR, b_json=b'{"leaner": {}}', c_txt="oak\nversion=v4\n")
    folders = [f"--{name}={fleet.root / name}" for name in ("models", "readings", "predictions")]
    assert main(["folder", *folders, *more]) == (1 if more else 0)
    output = capsys.readouterr().out
    assert f"1 of {n_models} models scored, {n_models - 1} failed, 0 skipped" in output
    assert ("ignored, as no models: 1 .json, 1 .txt: b.json, c.txt" in output) == (n_models == 1)
    assert ("ignored, as no models: 1 .txt: c.txt" in output) == (n_models == 2)
    failed = f"failed: {n_models - 1} model{'s' * (n_models > 2)}: unsupported_model\n  b: expected skops, a pickle of"
    assert (failed in output) == (n_models > 1)
    assert main(["convert", folders[0], f"--to={fleet.root / 'to'}", *more]) == (1 if more else 0)
    output = capsys.readouterr().out
    assert (failed in output) == (n_models > 1)
    assert output.endswith(f"\n1 of {n_models} models converted, {n_models - 1} failed, in {fleet.root}/to\n")
    assert sorted(path.name for path in (fleet.root / "to").iterdir()) == ["a.features.json", "a.skops"]

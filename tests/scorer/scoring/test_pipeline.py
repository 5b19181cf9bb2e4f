"""One model's trouble is its own verdict; all others are scored, whichever way they go."""

import io
import logging
import pickle
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer, StandardScaler
from sklearn.svm import OneClassSVM

from scorer.estimators.score_model import score_model_file
from scorer.families.base import Family
from scorer.packs import cache
from scorer.packs.cache import Stores, load_models, pack_file
from scorer.predictions.table import to_parquet
from scorer.readings import source
from scorer.sandbox.pool import WorkerPool
from scorer.scoring import pack_state, pipeline
from scorer.scoring.pack_state import PackOutput, ProgressCounter
from scorer.scoring.pipeline import PackInput, ScoringContext
from scorer.scoring.run_warnings import CONSTANT, RunWarnings
from scorer.storage.blob_store import Content, Folder
from shared.contract.domain import Model
from shared.contract.model_list import ModelList
from shared.contract.model_names import Columns
from shared.contract.outcomes import MODEL_IS_CONSTANT
from shared.contract.reasons import Reason
from shared.contract.scoring_options import OtherVersion, OtherVersions
from shared.contract.text import make_digest
from tests.scorer.fleets import DETECTORS
from tests.scorer.readings.seen import AS_IN_FILE

WIDE = "".join(f"2026-11-21T07:{minute:02},{{device}},{10 + minute % 3},20,3{minute % 7}\n" for minute in range(20))


@pytest.fixture(scope="module")
def children() -> Iterator[WorkerPool]:
    with WorkerPool(1) as ready:
        yield ready


def portion(root: Path, files: dict[str, bytes], rows: str = WIDE, **given: Any) -> PackInput:
    """Models, and twenty readings of three features for each of their devices."""
    (root / "models").mkdir(exist_ok=True)
    (root / "readings.csv").write_text("time,device,a,b,c\n" + "".join(rows.format(device=device) for device in files))
    for device, data in files.items():
        (root / "models" / device).write_bytes(data)
    models = ModelList.from_models(Model(device, "", device, "planned") for device in files)
    found = source.read_readings(Folder(root), ["readings.csv"], Columns(), list(files), None, AS_IN_FILE)
    return PackInput(models, load_models(Stores(Folder(root / "models"), Folder(root)), "", models), found, **given)


def score(children: WorkerPool, work: PackInput, notes: RunWarnings | None = None, **means: Any) -> PackOutput:
    progress = ProgressCounter(completed=1)
    slab = pipeline.score_pack(work, ScoringContext(children, **means), progress, notes or RunWarnings())
    assert [verdict.model for verdict in slab.results] == [model.id for model in work.models]
    assert progress.completed == 1 + len(work.models)
    return slab


def rows_of(slab: PackOutput, device: str) -> dict[str, list[Any]]:
    table = slab.rows
    chosen = [i for i, found in enumerate(table["device"].to_pylist()) if found == device]
    found: dict[str, list[Any]] = table.take(pa.array(chosen, pa.int64())).to_pydict()
    return found


def reasons(slab: PackOutput) -> list[Reason | None]:
    return [verdict.reason for verdict in slab.results]


@pytest.fixture
def svm(normal: np.ndarray) -> Any:
    return make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)).fit(normal)


def test_each_way_of_being_scored_says_what_scikit_learn_says(
    children: WorkerPool, normal: np.ndarray, svm: Any, tmp_path: Path
) -> None:
    lof = LocalOutlierFactor(metric="canberra", novelty=True).fit(normal)
    gaps = WIDE.replace("{device},11", "{device},")
    work = portion(tmp_path, {"kept": pickle.dumps(lof), "plain": pickle.dumps(svm)})
    gappy = portion(tmp_path, {"gappy": pickle.dumps(svm), "kept": pickle.dumps(lof)}, gaps)
    values = np.array([[10 + minute % 3, 20, 30 + minute % 7] for minute in range(20)], float)

    whole, holes, notes = score(children, work), score(children, gappy), RunWarnings()
    score(children, gappy, notes)

    assert reasons(whole) == reasons(holes) == [None, None]
    for slab, device, estimator, at in [
        (whole, "plain", svm, values),
        (whole, "kept", lof, values),
        (holes, "gappy", svm, values[values[:, 0] != 11]),
        (holes, "kept", lof, values[values[:, 0] != 11]),
    ]:
        found = rows_of(slab, device)
        np.testing.assert_allclose(found["score"], estimator.decision_function(at), atol=1e-9)
        assert found["anomaly"] == (estimator.predict(at) == -1).astype(int).tolist()
        assert len(set(found["model"])) == 1
    assert notes.sentences == (
        "7 of 20 rows of models that scikit-learn itself scores lacked a feature: GAPS says what becomes of them",
        "7 of 20 rows of OneClassSVM (rbf) lacked a feature: GAPS says what becomes of them",
        "14 rows lacked one of the features that their model expects and were left out",
    )


def test_a_model_whose_neighbours_are_tied_is_scored_by_scikit_learn_itself(
    children: WorkerPool, tmp_path: Path
) -> None:
    """Without a tree its matrix product decides which of two rows at equal distance it takes."""
    grid = np.random.default_rng(3).integers([10, 20, 30], [13, 21, 37], (60, 3)).astype(np.float64)
    models = {name: LocalOutlierFactor(9, novelty=True, algorithm=name).fit(grid) for name in ("brute", "kd_tree")}
    files = {name: pickle.dumps(model) for name, model in models.items()}
    values = np.array([[10 + minute % 3, 20, 30 + minute % 7] for minute in range(20)], float)
    assert {pack_file(data).family for data in files.values()} == {Family.STEPS}

    stores = Stores(Folder(tmp_path / "models"), Folder(tmp_path))
    slab = score(children, portion(tmp_path, files, stores=stores))

    for name, model in models.items():
        rows = rows_of(slab, name)
        np.testing.assert_allclose(rows["score"], model.decision_function(values), rtol=1e-9)
        assert rows["anomaly"] == (model.predict(values) == -1).astype(int).tolist()


def test_files_that_the_pack_does_not_hold_are_fetched_to_be_scored(
    children: WorkerPool, normal: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are then: one that is gone since the pack was loaded is no failure of the chunk."""
    monkeypatch.setattr(cache, "STORED_BYTES", 0)
    monkeypatch.setattr(cache, "HELD_BYTES", 0)
    files = {
        name: pickle.dumps(LocalOutlierFactor(metric="canberra", novelty=True).fit(normal))
        for name in ("changed", "gone", "same")
    }
    stores = Stores(Folder(tmp_path / "models"), Folder(tmp_path))
    work = portion(tmp_path, files, stores=stores)
    (tmp_path / "models" / "gone").unlink()
    other = pickle.dumps(LocalOutlierFactor(3, metric="canberra", novelty=True).fit(normal))
    (tmp_path / "models" / "changed").write_bytes(other)

    slab = score(children, work)

    assert reasons(slab) == [None, Reason.MODEL_REMOVED, None]
    assert set(rows_of(slab, "changed")["model"]) == {make_digest(other)}


def test_a_scaler_that_is_named_like_a_model_is_no_device_without_readings(
    children: WorkerPool, normal: np.ndarray, svm: Any, tmp_path: Path
) -> None:
    files = {
        "a": pickle.dumps(svm),
        "a_border": pickle.dumps(0.5),
        "a_scaler": pickle.dumps(StandardScaler().fit(normal)),
    }
    work = portion(tmp_path, files)
    readings = (tmp_path / "readings.csv").read_text().splitlines()
    (tmp_path / "readings.csv").write_text("\n".join(line for line in readings if "a_" not in line))
    found = source.read_readings(Folder(tmp_path), ["readings.csv"], Columns(), list(files), None, AS_IN_FILE)

    slab = score(children, replace(work, readings=found))

    assert reasons(slab) == [None, Reason.UNSUPPORTED_MODEL, Reason.UNSUPPORTED_MODEL]
    assert "expected a model that predicts, got a float" in slab.results[1].message
    assert "a scaler of a model X is named X.scaler.*" in slab.results[2].message


def _broken(estimator: Any) -> None:
    estimator.coef_ = np.ones((2, 3))


def _wrong_shape(estimator: Any) -> None:
    estimator.location_ = np.ones(7)


def _text_offset(estimator: Any) -> None:
    estimator.offset_ = "auto"


@pytest.mark.parametrize(
    ("name", "damage", "reason", "says"),
    [
        ("SGDOneClassSVM", _broken, Reason.UNREADABLE_MODEL, "its parts contradict each other: "),
        ("EllipticEnvelope", _wrong_shape, Reason.UNREADABLE_MODEL, "its parts contradict each other: "),
        ("LocalOutlierFactor", _text_offset, Reason.ESTIMATOR_ERROR, "UFuncTypeError: "),
    ],
)
def test_a_model_that_is_not_sound_hurts_no_neighbour(
    name: str, damage: Callable[[Any], None], reason: Reason, says: str,
    children: WorkerPool, normal: np.ndarray, tmp_path: Path,
) -> None:  # fmt: skip
    good = clone(DETECTORS[name]).fit(normal)
    bad = clone(good).fit(normal)
    damage(bad)

    slab = score(
        children, portion(tmp_path, {"a": pickle.dumps(good), "b": pickle.dumps(bad), "c": pickle.dumps(good)})
    )

    assert reasons(slab) == [None, reason, None]
    assert slab.results[1].message.startswith(says)
    assert slab.rows.num_rows == 40


def test_a_model_whose_scores_are_no_numbers_fails_alone(
    children: WorkerPool, normal: np.ndarray, svm: Any, tmp_path: Path
) -> None:
    endless = OneClassSVM(kernel="poly", degree=900, gamma=100.0, nu=0.1).fit(normal / 1e3)

    slab = score(
        children, portion(tmp_path, {"a": pickle.dumps(svm), "b": pickle.dumps(endless), "c": pickle.dumps(svm)})
    )

    assert reasons(slab) == [None, Reason.BAD_SCORES, None]
    assert sorted(set(slab.rows["device"].to_pylist())) == ["a", "c"]


def test_an_estimator_that_warns_leaves_no_line(
    children: WorkerPool, normal: np.ndarray, tmp_path: Path,
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO)
    noisy = make_pipeline(PowerTransformer(), StandardScaler(), clone(DETECTORS["SGDOneClassSVM"])).fit(normal)
    noisy[0].lambdas_[:] = 1e5  # overflows

    slab = score(children, portion(tmp_path, {"a": pickle.dumps(noisy)}))

    assert reasons(slab)[0] in (Reason.BAD_SCORES, Reason.ESTIMATOR_ERROR)
    assert capfd.readouterr() == ("", "")
    assert len(caplog.messages) == 1


def test_many_failures_fill_no_log(
    children: WorkerPool, svm: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {f"d{i}": pickle.dumps(svm) if i % 3 else b"" for i in range(150)}

    slab = score(children, portion(tmp_path, files))

    assert reasons(slab) == [None if i % 3 else Reason.EMPTY_MODEL for i in range(150)]
    assert len(caplog.messages) == pack_state.LOG_LINES + 1
    assert caplog.messages[-1] == f"{50 - pack_state.LOG_LINES} more models failed; the report names them"


def test_no_readings_and_unreadable_ones_go_before_what_is_wrong_with_a_file(
    children: WorkerPool, svm: Any, tmp_path: Path
) -> None:
    work = portion(tmp_path, {"a": pickle.dumps(svm), "b": b""}, "")
    assert reasons(score(children, work)) == [Reason.NO_READINGS, Reason.NO_READINGS]
    (tmp_path / "torn.csv").write_text("time,device,a,b,c\n1,2\n")
    torn = source.read_readings(Folder(tmp_path), ["torn.csv"], Columns(), ["a", "b"], None)
    assert reasons(score(children, replace(work, readings=torn))) == 2 * [Reason.UNREADABLE_READINGS]


def test_what_is_carried_is_not_scored_again(children: WorkerPool, svm: Any, tmp_path: Path) -> None:
    work = portion(tmp_path, {"a": pickle.dumps(svm), "b": pickle.dumps(svm)})
    earlier = score_model_file(work.models[0], Content(pickle.dumps(svm), "earlier"), work.readings)
    (tmp_path / "models" / "a").write_bytes(b"spoilt since")

    again = replace(
        work,
        loaded=load_models(Stores(Folder(tmp_path / "models"), Folder(tmp_path)), "", work.models, [0]),
        carried={0: earlier},
    )
    slab = score(children, again)

    assert reasons(slab) == [None, None]
    assert set(rows_of(slab, "a")["model"]) == {"earlier"}
    np.testing.assert_allclose(rows_of(slab, "a")["score"], rows_of(slab, "b")["score"], atol=1e-9)


def test_a_careful_attempt_says_the_same_as_any_other(
    children: WorkerPool, normal: np.ndarray, svm: Any, tmp_path: Path
) -> None:
    files = {
        "a": pickle.dumps(svm),
        "b": b"",
        "c": pickle.dumps(LocalOutlierFactor(metric="canberra", novelty=True).fit(normal)),
    }
    work = portion(tmp_path, files)
    stores = Stores(Folder(tmp_path / "models"), Folder(tmp_path))
    nothing = load_models(stores, "", work.models, range(len(files)))

    usual = score(children, work)
    careful = score(children, replace(work, loaded=nothing, stores=stores, is_isolated=True))

    assert reasons(careful) == reasons(usual) == [None, Reason.EMPTY_MODEL, None]
    assert careful.rows.drop_columns(["score"]).to_pydict() == usual.rows.drop_columns(["score"]).to_pydict()
    np.testing.assert_allclose(careful.rows["score"].to_numpy(), usual.rows["score"].to_numpy(), atol=1e-9)


def aged(data: bytes) -> bytes:
    """As scikit-learn 1.8.0 would have written it."""
    assert b"1.9.1" in data
    return data.replace(b"1.9.1", b"1.8.0")


@pytest.mark.parametrize("kind", ["packed", "kept"])
@pytest.mark.parametrize("policy", list(OtherVersion))
def test_a_model_of_another_version_is_told_of_or_refused(
    policy: OtherVersion, kind: str, children: WorkerPool, normal: np.ndarray, svm: Any, tmp_path: Path
) -> None:
    old = aged(
        pickle.dumps(svm if kind == "packed" else LocalOutlierFactor(metric="canberra", novelty=True).fit(normal))
    )
    notes = RunWarnings()

    slab = score(
        children, portion(tmp_path, {"a": pickle.dumps(svm), "old": old}), notes,
        other_versions=OtherVersions(pickle=policy),
    )  # fmt: skip

    if policy is OtherVersion.WARN:
        assert reasons(slab) == [None, None]
        assert notes.sentences == ("1 models were made by scikit-learn 1.8.0 and loaded by 1.9.1, such as old",)
    else:
        assert reasons(slab) == [None, Reason.INCOMPATIBLE_MODEL]
        assert slab.results[1].message == "made by scikit-learn 1.8.0, expected 1.9.1, as OTHER_VERSIONS says"
        assert notes.sentences == ()


@pytest.mark.parametrize("kind", ["packed", "kept"])
@pytest.mark.parametrize("is_isolated", [False, True])
def test_a_model_that_does_not_say_who_made_it_is_counted_or_refused_by_the_policy(
    is_isolated: bool, kind: str, children: WorkerPool, normal: np.ndarray, svm: Any, tmp_path: Path
) -> None:
    data = pickle.dumps(svm if kind == "packed" else LocalOutlierFactor(metric="canberra", novelty=True).fit(normal))
    work = portion(tmp_path, {"silent": data.replace(b"_sklearn_version", b"_sklearn_versium")})
    if is_isolated:
        stores = Stores(Folder(tmp_path / "models"), Folder(tmp_path))
        nothing = load_models(stores, "", work.models, [0])
        work = replace(work, loaded=nothing, stores=stores, is_isolated=True)
    notes = RunWarnings()

    scored = score(children, work, notes)
    refused = score(children, work, other_versions=OtherVersions(pickle=OtherVersion.REFUSE))

    assert (reasons(scored), reasons(refused)) == ([None], [Reason.INCOMPATIBLE_MODEL])
    assert notes.sentences == (
        "1 models do not say which scikit-learn made them and were loaded by 1.9.1, such as silent",
    )
    assert refused.results[0].message == (
        "it does not say which scikit-learn made it, expected 1.9.1, as OTHER_VERSIONS says"
    )


@pytest.mark.parametrize("is_isolated", [False, True])
def test_a_forest_of_a_stuck_sensor_keeps_its_labels_and_gets_a_remark(
    is_isolated: bool, children: WorkerPool, svm: Any, tmp_path: Path
) -> None:
    stuck = np.tile([11.0, 20.0, 33.0], (200, 1))
    forests = {f"trees{n}": IsolationForest(n_estimators=n, random_state=0).fit(stuck) for n in (50, 100, 300)}
    forests["behind"] = make_pipeline(PowerTransformer(), IsolationForest(n_estimators=10, random_state=0)).fit(stuck)
    files = {name: pickle.dumps(forest) for name, forest in forests.items()}
    work = portion(tmp_path, {**files, "svm": pickle.dumps(svm)})
    if is_isolated:
        stores = Stores(Folder(tmp_path / "models"), Folder(tmp_path))
        nothing = load_models(stores, "", work.models, range(len(work.models)))
        work = replace(work, loaded=nothing, stores=stores, is_isolated=True)
    notes = RunWarnings()

    output = score(children, work, notes)

    assert output.outcomes.remarks == dict.fromkeys(range(4), MODEL_IS_CONSTANT)
    values = np.array([[10 + minute % 3, 20, 30 + minute % 7] for minute in range(20)], float)
    for name, forest in forests.items():
        assert rows_of(output, name)["anomaly"] == (forest.predict(values) == -1).astype(int).tolist(), name
    assert [text for text in notes.sentences if "model_is_constant" in text] == [f"4 {CONSTANT}"]


def test_each_format_has_a_policy_of_its_own(children: WorkerPool, svm: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(svm))) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    old = io.BytesIO()
    with zipfile.ZipFile(old, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, aged(data) if name == "schema.json" else data)
    work = portion(tmp_path, {"a": old.getvalue(), "b": aged(pickle.dumps(svm))})

    found = [
        reasons(score(children, work, other_versions=policy))
        for policy in (OtherVersions(skops=OtherVersion.REFUSE), OtherVersions(pickle=OtherVersion.REFUSE))
    ]

    assert found == [[Reason.INCOMPATIBLE_MODEL, None], [None, Reason.INCOMPATIBLE_MODEL]]


def test_the_same_bytes_come_out_whatever_the_number_of_cores(children: WorkerPool, svm: Any, tmp_path: Path) -> None:
    work = portion(tmp_path, {f"d{i:03}": pickle.dumps(svm) for i in range(100)})

    one, three = (to_parquet(score(children, work, cores=cores).rows) for cores in (1, 3))

    assert one == three

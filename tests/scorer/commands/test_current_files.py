"""Attempts that score models as their files are now: what was replaced, repaired, renamed or removed since the plan."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io
from pyarrow import parquet
from sklearn.svm import OneClassSVM

from shared.contract.domain import Model
from shared.contract.manifest import Manifest, PackRef
from shared.contract.paths import pack_path
from shared.contract.reasons import Reason
from shared.contract.windows import Window
from tests.reports import run_manifest

HOUR = Window.parse("20261121T0700Z-PT1H")
DEVICES = ("a", "b", "c", "d", "e")
READINGS = pd.DataFrame(
    [
        (HOUR.start + pd.Timedelta(minutes=minute), device, float(minute % 7), float(number))
        for number, device in enumerate(DEVICES)
        for minute in range(10)
    ],
    columns=["time", "device", "heat", "noise"],
)


class Fleet:
    """Folders with models, readings and work, and the plan of one chunk with a pack."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.by_etag: dict[str, OneClassSVM] = {}  # every model that was ever written
        for container in ("models", "readings/date=2026-11-21/hour=07", "work"):
            (root / container).mkdir(parents=True)
        READINGS.to_parquet(root / "readings/date=2026-11-21/hour=07/a.parquet", index=False)

    def put(self, name: str, seed: int) -> str:
        """Write a model's file; returns its etag."""
        rows = np.random.default_rng(seed).normal(2, 2, (40, 2))
        model = OneClassSVM(nu=0.2).fit(pd.DataFrame(rows, columns=["heat", "noise"]))
        etag = self.put_bytes(name, pickle.dumps(model) if name.endswith(".pkl") else skops.io.dumps(model))
        self.by_etag[etag] = model
        return etag

    def put_bytes(self, name: str, data: bytes) -> str:
        (self.root / "models" / name).write_bytes(data)
        return hashlib.sha256(data).hexdigest()[:16]

    def remove(self, name: str) -> None:
        (self.root / "models" / name).unlink()

    def make_manifest(self, models: list[Model]) -> Manifest:
        urls = [(self.root / container).as_uri() for container in ("models", "readings", "work")]
        return Manifest(HOUR, "c00000", tuple(models), *urls, packs=(PackRef("first", len(models)),))

    def run(self, manifest: Manifest, attempt: int, **options: object) -> dict[str, tuple[str, Reason | None]]:
        """Run an attempt; the etag that scored each model, as its rows say, or the reason why it was not scored.

        The scores in the part are compared with those of scikit-learn for the file of that etag.
        """
        report = run_manifest(self.root / "work", manifest, attempt, **options)
        tables = [parquet.read_table(self.root / "work" / part.path) for part in report.parts]
        rows = pa.concat_tables(tables).to_pandas() if tables else pd.DataFrame({"device": []})
        return {
            result.model: ("", result.reason)
            if result.reason
            else (self.check_rows(rows[rows["device"] == result.model]), None)
            for result in report.results
        }

    def check_rows(self, rows: pd.DataFrame) -> str:
        (device,), (etag,) = set(rows["device"]), set(rows["model"])
        expected = self.by_etag[etag].decision_function(READINGS.loc[READINGS["device"] == device, ["heat", "noise"]])
        assert len(rows) == len(expected)
        np.testing.assert_allclose(rows["score"], expected, rtol=0, atol=1e-9)
        return str(etag)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


@pytest.fixture
def manifest(fleet: Fleet) -> Manifest:
    """Four models and a broken one; the pack holds them all."""
    models = [Model(device, "", f"{device}.pkl", fleet.put(f"{device}.pkl", i)) for i, device in enumerate("abcd")]
    models.append(Model("e", "", "e.pkl", fleet.put_bytes("e.pkl", b"\x80\x05broken")))
    manifest = fleet.make_manifest(models)
    first = fleet.run(manifest, 1)
    assert first == {m.id: (m.etag, None) for m in models[:4]} | {"e": ("", Reason.UNREADABLE_MODEL)}
    assert (fleet.root / "work" / pack_path("first")).exists()
    return manifest


def etags_of(manifest: Manifest) -> dict[str, str]:
    return {model.id: model.etag for model in manifest.models}


def test_a_redrive_scores_what_was_not_scored_by_the_file_that_is_there_now(fleet: Fleet, manifest: Manifest) -> None:
    mended = fleet.put("e.pkl", 10)
    fleet.put("a.pkl", 11)  # scored before: its rows are carried over
    found = fleet.run(manifest, 2, carry_attempt=1, current_files=True)
    assert found == {m: (etag, None) for m, etag in etags_of(manifest).items()} | {"e": (mended, None)}


def test_a_pack_serves_no_model_whose_file_is_another_now(fleet: Fleet, manifest: Manifest) -> None:
    replaced = fleet.put("a.pkl", 11)
    fleet.remove("b.pkl")
    fleet.remove("c.pkl")
    renamed = fleet.put("c.skops", 12)
    found = fleet.run(manifest, 2, current_files=True)
    assert found == {
        "a": (replaced, None),
        "b": ("", Reason.MODEL_REMOVED),
        "c": (renamed, None),
        "d": (etags_of(manifest)["d"], None),
        "e": ("", Reason.UNREADABLE_MODEL),
    }
    assert fleet.run(manifest, 3) == {  # what was planned, by the pack: as an attempt of the first round does
        "a": (replaced, None), "b": ("", Reason.MODEL_REMOVED), "c": ("", Reason.MODEL_REMOVED),
        "d": (etags_of(manifest)["d"], None), "e": ("", Reason.UNREADABLE_MODEL),
    }  # fmt: skip


@pytest.mark.parametrize("isolated", [False, True])
def test_refusals_of_the_plan_are_looked_at_once_more(fleet: Fleet, manifest: Manifest, isolated: bool) -> None:
    """`a` was ambiguous and is still; `b` was, and one file is left; `c` and `d` are in quarantine, and `d` changed."""
    fleet.put("a.skops", 20)
    refused = [Reason.AMBIGUOUS, Reason.AMBIGUOUS, Reason.QUARANTINED, Reason.QUARANTINED, None]
    models = [replace(model, refused=why) for model, why in zip(manifest.models, refused, strict=True)]
    changed = fleet.put("d.pkl", 21)
    found = fleet.run(fleet.make_manifest(models), 2, current_files=True, isolated=isolated)
    assert found == {
        "a": ("", Reason.AMBIGUOUS),
        "b": (etags_of(manifest)["b"], None),
        "c": ("", Reason.QUARANTINED),
        "d": (changed, None),
        "e": ("", Reason.UNREADABLE_MODEL),
    }


def test_a_reprocess_with_manifests_of_its_own_scores_the_files_of_today(fleet: Fleet, manifest: Manifest) -> None:
    replaced, mended = fleet.put("a.pkl", 11), fleet.put("e.pkl", 12)
    fleet.remove("b.pkl")
    today = {"a": replaced, "e": mended}
    models = [
        replace(m, etag=today.get(m.id, m.etag), refused=Reason.MODEL_REMOVED if m.id == "b" else None)
        for m in manifest.models
    ]
    found = fleet.run(replace(fleet.make_manifest(models), round=1), 2)
    assert found == {
        "a": (replaced, None),
        "b": ("", Reason.MODEL_REMOVED),
        "c": (etags_of(manifest)["c"], None),
        "d": (etags_of(manifest)["d"], None),
        "e": (mended, None),
    }


def test_carried_rows_keep_the_etag_that_scored_them_under_a_manifest_of_another_round(
    fleet: Fleet, manifest: Manifest
) -> None:
    newer = fleet.put("a.pkl", 11)
    models = [replace(m, etag=newer) if m.id == "a" else m for m in manifest.models]
    fleet.put("e.pkl", 12)
    found = fleet.run(replace(fleet.make_manifest(models), round=1), 2, carry_attempt=1, current_files=True)
    assert found["a"] == (etags_of(manifest)["a"], None)


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("formats", [(), ("json",)])
def test_a_redrive_finds_a_file_of_a_further_format_where_the_plan_took_it_for_a_model(
    fleet: Fleet, manifest: Manifest, formats: tuple[str, ...], isolated: bool
) -> None:
    """`a` was replaced by a JSON file, `b` has one beside it, and `c` is JSON in the plan and something else now."""
    fleet.remove("a.pkl")
    replaced = fleet.put("a.json", 11)
    fleet.put("b.json", 12)
    later = fleet.put("c.skops", 13)
    fleet.remove("c.pkl")
    models = [
        replace(model, name="c.json", etag="planned")
        if model.id == "c"
        else replace(model, refused=Reason.AMBIGUOUS if model.id == "b" else None)
        for model in manifest.models
    ]
    current = replace(fleet.make_manifest(models), model_formats=formats)
    found = fleet.run(current, 2, current_files=True, isolated=isolated)
    assert found == {
        "a": (replaced, None) if formats else ("", Reason.MODEL_REMOVED),
        "b": ("", Reason.AMBIGUOUS) if formats else (etags_of(manifest)["b"], None),
        "c": (later, None) if formats else ("", Reason.MODEL_REMOVED),
        "d": (etags_of(manifest)["d"], None),
        "e": ("", Reason.UNREADABLE_MODEL),
    }

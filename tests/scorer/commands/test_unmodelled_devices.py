"""A node and the desk count the devices that have readings and no model, in the report and in the summary."""

from dataclasses import replace
from pathlib import Path

import pytest

from scorer.__main__ import main
from scorer.commands.score_chunk import AttemptOptions
from shared.contract.domain import Model, Unmodelled
from shared.contract.manifest import DeviceRange, Manifest
from shared.contract.scoring_options import ScoringOptions, UnmodelledDevices
from tests.scorer.commands.test_chunk_columns import FOLDER, fit, make_manifest, run, write_readings

COUNTING = ScoringOptions(unmodelled=UnmodelledDevices.COUNT)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Of two models, with readings of three devices more, of which one is of another chunk."""
    made = make_manifest(tmp_path, {"d1": fit("a"), "d2": fit("a")}, [1, 1])
    write_readings(tmp_path, ["d0", "d1", "d2", "d2x", "d3"])
    return replace(made, policy=COUNTING, devices=DeviceRange("", "d3"))


@pytest.mark.parametrize("isolated", [False, True])
def test_a_node_counts_those_of_its_range(isolated: bool, manifest: Manifest, tmp_path: Path) -> None:
    report = run(tmp_path, manifest, options=AttemptOptions(isolated))
    assert report.unmodelled == Unmodelled(2, ("d0", "d2x"))
    assert report.tally.models == report.tally.scored == 2
    assert report.warnings == ()


def test_a_node_counts_none_where_it_answers_for_none_or_is_not_asked(manifest: Manifest, tmp_path: Path) -> None:
    assert run(tmp_path, replace(manifest, devices=None), 1).unmodelled == Unmodelled()
    assert run(tmp_path, replace(manifest, devices=DeviceRange(".", ".")), 2).unmodelled == Unmodelled()
    assert run(tmp_path, replace(manifest, policy=ScoringOptions()), 3).unmodelled is None
    assert run(tmp_path, replace(manifest, schema=1), 4).unmodelled is None


def test_a_redrive_counts_all_of_them_although_it_scores_few_models(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "models" / "d2.pkl").rename(tmp_path / "d2.pkl")
    first = run(tmp_path, manifest, 1)
    assert (first.tally.scored, first.unmodelled) == (1, Unmodelled(2, ("d0", "d2x")))
    (tmp_path / "d2.pkl").rename(tmp_path / "models" / "d2.pkl")
    for carried in (1, 2):  # a model is scored; then none
        again = run(tmp_path, manifest, carried + 1, AttemptOptions(carry_attempt=carried, current_files=True))
        assert (again.tally.scored, again.unmodelled) == (2, first.unmodelled)


def test_what_could_not_be_searched_is_a_warning_of_the_report(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "readings" / FOLDER / "device=d1y").mkdir()
    (tmp_path / "readings" / FOLDER / "device=d1y" / "x.csv").write_text("time,device\n")
    report = run(tmp_path, manifest)
    assert (report.tally.scored, report.unmodelled) == (2, Unmodelled(2, ("d0", "d2x")))
    (warning,) = report.warnings
    assert warning.startswith(f"1 files could not be searched for devices without a model, such as {FOLDER}/device=d1y")


def score(root: Path, *more: str) -> int:
    folders = [f"--{name}={root / name}" for name in ("models", "readings", "predictions")]
    return main(["folder", *folders, *more])


def test_the_desk_names_all_of_them(manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(manifest.models) == 2
    assert score(tmp_path) == 0
    assert "\nnote: 3 devices have readings and no model: d0, d2x, d3\n" in f"\n{capsys.readouterr().out}"
    assert score(tmp_path, "--unmodelled=off") == 0
    assert "no model" not in capsys.readouterr().out


def test_the_desk_names_the_first_twenty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_manifest(tmp_path, {"d00": fit("a")}, [1])
    write_readings(tmp_path, [f"d{i:02}" for i in range(24)])
    assert score(tmp_path) == 0
    names = ", ".join(f"d{i:02}" for i in range(1, 21))
    assert f"23 devices have readings and no model: {names} and 3 more\n" in capsys.readouterr().out
    write_readings(tmp_path, ["d00", "d01"])
    assert score(tmp_path) == 0
    assert "1 device has readings and no model: d01\n" in capsys.readouterr().out


def test_a_device_whose_model_is_not_scored_has_a_model(tmp_path: Path) -> None:
    made = make_manifest(tmp_path, {"d1": fit("a")}, [])
    models = (*made.models, Model("d2", "", "d2.pkl", "e"))
    write_readings(tmp_path, ["d1", "d2", "d3"])
    report = run(tmp_path, replace(made, models=models, policy=COUNTING, devices=DeviceRange()))
    assert (report.tally.scored, report.unmodelled) == (1, Unmodelled(1, ("d3",)))

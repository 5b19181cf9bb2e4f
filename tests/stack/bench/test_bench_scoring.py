"""Each way of scoring that the benchmark compares scores a small fleet right, in processes of its own."""

from pathlib import Path

import pytest

from bench import scoring, scoring_fleet
from bench.scoring_fleet import Fleet
from bench.scoring_lab import HANDFUL, WARM, Lab, Way
from tests.bench.test_bench_scoring import MODELS, ROWS, VECTORS

INSTALLED = ("process", "loop", "tuned", "joblib", "dask", "groupby")  # the others want bench/requirements.txt


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def fleet(base: Path) -> Fleet:
    return scoring_fleet.make_fleet(base, MODELS, ROWS, VECTORS, ["pkl"])


@pytest.mark.parametrize(
    "way",
    [*map(Way, INSTALLED), WARM, *(Way(name, kind) for name in ("cold", "folder") for kind in ("pkl", "skops"))],
    ids=lambda way: f"{way.name}-{way.files}",
)
def test_each_scores_a_small_fleet_right(base: Path, fleet: Fleet, way: Way) -> None:
    lab = Lab(base, 2)
    lab.run(way, fleet)
    found = lab.measured(way, fleet, fleet)
    models = HANDFUL if way.name == "process" else MODELS
    assert (found.models, found.checked.rows, found.checked.labels) == (models, models * ROWS, 0)
    assert found.total.middle.cpu > 0


@pytest.mark.parametrize("way", [Way("warm", "skops", azurite=True), Way("cold", "pkl", azurite=True)], ids=str)
def test_ours_scores_a_small_fleet_on_azurite(base: Path, fleet: Fleet, way: Way) -> None:
    lab = Lab(base, 2)
    try:
        lab.run(way, fleet)
        assert lab.measured(way, fleet, fleet).checked.rows == MODELS * ROWS
    finally:
        lab.close()


def test_the_sections_have_their_tables_and_the_plot_its_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELS", "numpy")  # numba's import is half of each run
    sizes = scoring.Sizes(
        repeats=1, peers=(Way("loop"),), peer_models=40, our_models=40, warm=(40,), cold=(), desk=0,
        patience=(("loop", 40),), rows=(10,), vectors=(20,), grid_peers=("loop",), grid_models=40, grid_work=1,
    )  # fmt: skip
    text, plot = scoring.run_sections(tmp_path, sizes, ("peers", "sizes", "grid"))
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    told = [line[0] for line in lines if line[0] not in ("Who", "---", "Rows")]
    ours, loop = "ours, warm packs", "a loop over `joblib.load` and `predict`"
    assert told == [ours, "ours, cold (pkl)", "ours, cold (skops)", loop, ours, loop, "10"]
    assert "the limit" in plot

"""Runs one way of scoring on one fleet, in processes of its own, and checks every row that came of it."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from local import azurite
from local.azurite import Azurite
from scorer.storage.blob_store import open_container
from shared.adapters.azure.blobs import AzureBlobs

from . import peers, scoring_ours
from .measure import run_alone
from .scoring_cost import Spent, Spread, run_commands, summarise_runs
from .scoring_fleet import LOOSE, TOLERANCE, Checked, Fleet, check_predictions, make_fleet, write_models
from .scoring_ours import Place

HANDFUL = 4  # models that get a process each; more would take hours
START = 32  # models: scoring so few takes what starting takes, and yet each process of a peer gets some
ENVIRONMENT = {"RAY_worker_niceness": "0"}  # Ray's workers are niced by default, and then everything else is faster


@dataclass(frozen=True, slots=True)
class Way:
    """How a fleet is scored: ours are `warm`, `cold` and `folder`; the others are peers."""

    name: str
    files: str = "pkl"  # kind of the models' files
    azurite: bool = False  # else files of this machine

    @property
    def ours(self) -> bool:
        """Whether this project does it."""
        return self.name in ("warm", "cold", "folder")


WARM = Way("warm", "skops")
COLD = (Way("cold", "pkl"), Way("cold", "skops"))
FOLDER = (Way("folder", "pkl"), Way("folder", "skops"))
PEERS = (Way("process"), *(Way(name, "onnx" if name == "onnx" else "pkl") for name in peers.PEERS))


@dataclass(frozen=True, slots=True)
class Measured:
    """What a way took for a fleet, and what of that is its start."""

    way: Way
    models: int
    rows: int
    vectors: int
    total: Spread
    start: Spread | None  # what START models take; none for a process for each model, which is nothing but start
    starts: int  # ours starts for each chunk
    checked: Checked

    @property
    def micro(self) -> float:
        """CPU µs a model, without the starts: what each further model takes. NaN where that is lost in the noise."""
        begun, models = (self.start.middle.cpu, START) if self.start else (0.0, 0)
        work = self.total.middle.cpu - self.starts * begun
        return work / (self.models - self.starts * models) * 1e6 if work > 0 else math.nan


class Lab:
    """Fleets are made when they are first expected, below *base*; Azurite is started so, too, and ends with `close`."""

    def __init__(self, base: Path, cores: int) -> None:
        self.base, self.cores = base, cores
        self._attempts = 0
        self._azurite: Azurite | None = None
        self._orders: dict[tuple[Fleet, bool], tuple[Place, list[str]]] = {}  # of warm fleets, by whether on Azurite
        self._spent: dict[tuple[Way, Fleet], list[Spent]] = {}
        self._checked: dict[tuple[Way, Fleet], Checked] = {}

    def close(self) -> None:
        """Stop what was started."""
        if self._azurite:
            self._azurite.stop()

    def fleet(self, models: int, rows: int, vectors: int) -> Fleet:
        """That fleet, yet without files of its models."""
        fleet = Fleet(self.base, models, rows, vectors)
        return fleet if fleet.root.exists() else run_alone(make_fleet, self.base, models, rows, vectors, [])

    def forget(self, fleet: Fleet) -> None:
        """Give the disk back; the fleet may be made again."""
        shutil.rmtree(fleet.root)
        self._orders = {key: order for key, order in self._orders.items() if key[0] != fleet}

    def measured(self, way: Way, fleet: Fleet, start: Fleet) -> Measured:
        """What the runs so far have shown."""
        total = summarise_runs(self._spent[way, fleet])
        models = HANDFUL if way.name == "process" else fleet.models
        begun = summarise_runs(self._spent[way, start]) if (way, start) in self._spent else None
        starts = len(list(scoring_ours.split_chunks(fleet, self.cores))) if way.name in ("warm", "cold") else 1
        return Measured(way, models, fleet.rows, fleet.vectors, total, begun, starts, self._checked[way, fleet])

    def run(self, way: Way, fleet: Fleet) -> None:
        """Score the fleet once, and check what came."""
        self._attempts += 1
        if not fleet.folder(way.files).exists() and way.name != "warm":
            run_alone(write_models, fleet, way.files)
        with tempfile.TemporaryDirectory(dir=self.base) as folder:
            spent, files = self._ours(way, fleet, Path(folder)) if way.ours else _run_peer(way, fleet, Path(folder))
            models = HANDFUL if way.name == "process" else fleet.models
            self._checked[way, fleet] = check_predictions(
                fleet, files, models, LOOSE if way.files == "onnx" else TOLERANCE
            )
        self._spent.setdefault((way, fleet), []).append(spent)

    def _ours(self, way: Way, fleet: Fleet, folder: Path) -> tuple[Spent, list[Path]]:
        if way.name == "folder":
            spent = run_alone(run_commands, [scoring_ours.folder_command(fleet, way.files, folder)], 1, {})
            return spent, sorted(folder.rglob("*.parquet"))
        place, urls = self._ordered(way, fleet, folder)
        commands = scoring_ours.build_commands(urls, self._attempts)
        share = max(1, self.cores // len(urls))  # of a node that has as many cores, or of a cluster of such nodes
        spent = run_alone(run_commands, commands, self.cores, {"STORAGE": place.storage, "NODE_CORES": str(share)})
        work, files = place.container(), []
        for part in scoring_ours.list_parts(place, len(urls), self._attempts):
            files.append(folder / part.replace("/", "-"))
            files[-1].write_bytes(work.read(part).data)
        shutil.rmtree(fleet.root / "work" / "results", ignore_errors=True)  # tens of millions of rows, and again
        return spent, files

    def _ordered(self, way: Way, fleet: Fleet, folder: Path) -> tuple[Place, list[str]]:
        """The manifests; with packs, written once, where it is warm. A cold run gets a place of its own."""
        if way.name == "warm" and (fleet, way.azurite) in self._orders:
            return self._orders[fleet, way.azurite]
        place = self._on_azurite(way, fleet) if way.azurite else _on_disk(way, fleet, folder)
        urls = scoring_ours.write_manifests(fleet, way.files, place, self.cores)
        if way.name == "warm":
            run_alone(scoring_ours.write_packs, fleet, way.files, place, self.cores)
            self._orders[fleet, way.azurite] = place, urls
        return place, urls

    def _on_azurite(self, way: Way, fleet: Fleet) -> Place:
        self._azurite = self._azurite or azurite.start(die_with_parent=True)
        models = self._uploaded(
            f"models-{self._attempts}", [*fleet.folder(way.files).glob("*")], fleet.folder(way.files)
        )
        readings = self._uploaded(f"readings-{self._attempts}", [*fleet.readings.glob("*")], fleet.root / "readings")
        work = self._uploaded(f"work-{self._attempts}", [], fleet.root)
        return Place(models, readings, work, self._azurite.connection_string)

    def _uploaded(self, container: str, files: Sequence[Path], root: Path) -> str:
        """The URL of a new container that holds these files, named as they lie below *root*."""
        assert self._azurite
        setting = self._azurite.connection_string
        blobs = AzureBlobs(setting, container)
        blobs.ensure_container()
        store = open_container(blobs.url, setting)
        for file in files:
            store.write(file.relative_to(root).as_posix(), file.read_bytes())
        return blobs.url


def _on_disk(way: Way, fleet: Fleet, folder: Path) -> Place:
    warm = way.name == "warm"  # then no model's file is read
    models = fleet.root / "no-models" if warm else fleet.folder(way.files)
    work = fleet.root / "work" if warm else folder / "work"
    for path in (models, work):
        path.mkdir(exist_ok=True)
    return Place(models.as_uri(), (fleet.root / "readings").as_uri(), work.as_uri())


def _run_peer(way: Way, fleet: Fleet, folder: Path) -> tuple[Spent, list[Path]]:
    if way.name == "process":
        commands = peers.one_by_one(fleet.root, folder, fleet.ids[:HANDFUL])
    else:
        commands = [peers.build_command(way.name, fleet.root, folder / "predictions.parquet")]
    return run_alone(run_commands, commands, 1, ENVIRONMENT), sorted(folder.glob("*.parquet"))

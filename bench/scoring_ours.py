"""Our side of the scoring benchmark: what a cluster would run for a fleet, and what came of it.

Warm: every pack is there, as an earlier run has left it. Cold: none is, and the node reads the models' files, packs
them, and writes the packs. What is run is `python -m scorer` itself, a process for each chunk.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scorer.packs.cache import pack_file
from scorer.storage.blob_store import Container, open_container
from shared.contract import paths
from shared.contract.domain import Model
from shared.contract.manifest import Manifest, PackRef, build_command
from shared.contract.report import Report
from shared.contract.scoring_options import Features, ReadingOptions, ScoringOptions
from shared.contract.text import make_digest

from .fleet import model_id
from .scoring_fleet import DISTINCT, WINDOW, Fleet

PACK = 10_000  # models, as planning cuts them on average
CHUNK = 50_000  # models at most, as planning has it


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fleet lies for our nodes: the URLs of its models, readings and work, and what opens them."""

    models: str
    readings: str
    work: str
    storage: str = ""

    def container(self) -> Container:
        """The working container."""
        return open_container(self.work, self.storage)


def split_chunks(fleet: Fleet, cores: int) -> Iterator[range]:
    """The models of each chunk, by their numbers."""
    most = max(PACK, min(CHUNK, -(-fleet.models // cores)))
    return (range(first, min(first + most, fleet.models)) for first in range(0, fleet.models, most))


def _split_packs(chunk: range) -> list[range]:
    return [chunk[first : first + PACK] for first in range(0, len(chunk), PACK)]


def _pack_name(pack: range) -> str:
    return f"bench-{pack.start:07}"


def _list_models(numbers: range, kind: str, etags: Sequence[str]) -> list[Model]:
    return [Model(model_id(i), "", f"{model_id(i)}.{kind}", etags[i % DISTINCT]) for i in numbers]


def write_manifests(fleet: Fleet, kind: str, place: Place, cores: int) -> list[str]:
    """Write a manifest for each chunk of a fleet of *kind* files; returns their URLs."""
    etags, work, urls = [make_digest(data) for data in fleet.distinct(kind)], place.container(), []
    for index, chunk in enumerate(split_chunks(fleet, cores)):
        models = tuple(_list_models(chunk, kind, etags))
        spans = tuple(PackRef(_pack_name(pack), len(pack)) for pack in _split_packs(chunk))
        data = Manifest(
            WINDOW,
            paths.make_chunk_id(index),
            models,
            place.models,
            place.readings,
            place.work,
            policy=ScoringOptions(ReadingOptions(features=Features(in_file_order=True))),
            packs=spans,
        ).to_bytes()
        path = paths.manifest_path(WINDOW.id, make_digest(data))
        work.write(path, data)
        urls.append(f"{place.work}/{path}")
    return urls


def write_packs(fleet: Fleet, kind: str, place: Place, cores: int) -> None:
    """The packs of the fleet's chunks, made of the distinct models' numbers by the writer of packs itself."""
    from scorer.packs import pack, stored_pack

    files, work = fleet.distinct(kind), place.container()
    packed, etags = [pack_file(data) for data in files], [make_digest(data) for data in files]
    for places in (places for chunk in split_chunks(fleet, cores) for places in _split_packs(chunk)):
        entries = [
            pack.Entry(m, m.etag, packed[i % DISTINCT])
            for i, m in zip(places, _list_models(places, kind, etags), strict=True)
        ]
        work.write(paths.pack_path(_pack_name(places)), stored_pack.to_bytes(pack.build_pack(entries)))


def build_commands(urls: Sequence[str], attempt: int) -> list[list[str]]:
    """What a cluster runs: a process for each chunk."""
    return [[sys.executable, *build_command(url, attempt)[1:]] for url in urls]


def folder_command(fleet: Fleet, kind: str, predictions: Path) -> list[str]:
    """The same at a desk: no manifest, no packs, no report."""
    options = (
        "--models",
        str(fleet.folder(kind)),
        "--readings",
        str(fleet.readings),
        "--predictions",
        str(predictions),
        "--features",
        "as-in-file",
    )
    return [sys.executable, "-m", "scorer", "folder", *options, "--window", "2026-11-21T07:00/2026-11-21T08:00"]


def list_parts(place: Place, orders: int, attempt: int) -> list[str]:
    """The names of an attempt's predictions in the working container; fails where a model was not scored."""
    work, names = place.container(), []
    for index in range(orders):
        report = Report.from_bytes(work.read(paths.report_path(WINDOW.id, paths.make_chunk_id(index), attempt)).data)
        assert report.tally.scored == len(report.outcomes), f"{report.chunk}: {report.failures}"
        names += [part.path for part in report.parts]
    return names

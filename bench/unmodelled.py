"""`python -m bench.unmodelled`: what a node pays for the count of devices that have readings and no model.

A warm chunk of 50,000 models, whose readings are of 60,000 devices, 60 rows each, is scored with `UNMODELLED=count` and
`off` in turn, each time in a process of its own. The further 10,000 devices have no model at all, or are another
chunk's; the readings are sorted by device, in row groups of 1,000, or by time, so that each row group has all devices.

Prints Markdown: seconds of CPU of the process, the medians of the rounds. With `--into FILE` it also takes the place of
what stands there between the marks.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pyarrow import parquet

from scorer.storage.blob_store import Container
from shared.contract import paths
from shared.contract.manifest import DeviceRange, Manifest
from shared.contract.report import Report
from shared.contract.scoring_options import UnmodelledDevices

from .document import describe_machine, write_table
from .measure import run_alone
from .scoring_cost import run_commands
from .scoring_fleet import WINDOW, Fleet, make_fleet
from .scoring_ours import CHUNK, Place, build_commands, write_manifests, write_packs

BEGIN, END = "<!-- unmodelled -->\n", "<!-- /unmodelled -->"
DEVICES, ROWS, VECTORS, ROUNDS = 60_000, 60, 20, 5
PACKAGES = ("pyarrow", "numpy", "numba")
CHOICES = (UnmodelledDevices.OFF, UnmodelledDevices.COUNT)


@dataclass(frozen=True, slots=True)
class Case:
    """Readings in an order, and whose the further devices are."""

    order: str  # `device` or `time`
    answers_for_all: bool  # the chunk answers for the further devices too: they have no model

    def describe(self, further: int) -> str:
        """Its first columns."""
        owners = "have no model" if self.answers_for_all else "are another chunk's"
        return f"sorted by {self.order} | {further:,} {owners}"


CASES = tuple(Case(order, answers) for order in ("device", "time") for answers in (True, False))


def write_places(fleet: Fleet, models: int) -> dict[str, Place]:
    """The fleet's readings in each order, with a warm pack for each part of the first chunk."""
    places = {}
    fleet.folder("pkl").mkdir(exist_ok=True)  # empty: all is packed
    for order in ("device", "time"):
        readings = fleet.root / "readings" if order == "device" else fleet.root / "by-time"
        place = Place(fleet.folder("pkl").as_uri(), readings.as_uri(), (fleet.root / order).as_uri())
        (fleet.root / order).mkdir()
        write_packs(replace(fleet, models=models), "pkl", place, 1)
        places[order] = place
    for path in fleet.readings.iterdir():
        target = fleet.root / "by-time" / path.relative_to(fleet.root / "readings")
        target.parent.mkdir(parents=True, exist_ok=True)
        rows = parquet.read_table(path, read_dictionary=["device"]).sort_by("time")
        parquet.write_table(rows, target, compression="snappy", use_dictionary=["device"], row_group_size=500_000)
    return places


def write_order(fleet: Fleet, models: int, case: Case, place: Place, choice: UnmodelledDevices) -> str:
    """The manifest of the first chunk; its URL."""
    work = place.container()
    (url,) = write_manifests(replace(fleet, models=models), "pkl", place, 1)
    name = url.removeprefix(f"{place.work}/")
    manifest = Manifest.from_bytes(work.read(name).data)
    devices = DeviceRange("", "" if case.answers_for_all else fleet.ids[models])
    policy = replace(manifest.policy, unmodelled=choice)
    work.write(f"{name}-{choice}", replace(manifest, policy=policy, devices=devices).to_bytes())
    return f"{url}-{choice}"


def measure_cases(
    fleet: Fleet, models: int, rounds: int, cases: Sequence[Case] = CASES
) -> list[tuple[Case, float, float]]:
    """Each case with the medians of `off` and `count`, in turn."""
    places, rows, attempt = write_places(fleet, models), list[tuple[Case, float, float]](), 0
    for case in cases:
        place, spent = places[case.order], {choice: list[float]() for choice in CHOICES}
        urls = {choice: write_order(fleet, models, case, place, choice) for choice in CHOICES}
        for number in range(rounds + 1):
            for choice in CHOICES:
                attempt += 1
                cpu = run_alone(run_commands, build_commands([urls[choice]], attempt), 1, {"NODE_CORES": "1"}).cpu
                expected = fleet.models - models if case.answers_for_all else 0
                check_report(place.container(), attempt, models, expected if choice is CHOICES[1] else None)
                spent[choice] += [cpu] if number else []  # the first of each fills the caches
        rows.append((case, *(statistics.median(spent[choice]) for choice in CHOICES)))
    return rows


def check_report(work: Container, attempt: int, models: int, expected: int | None) -> None:
    """Every model is scored, and as many devices have no model as expected; None: they are not counted."""
    report = Report.from_bytes(work.read(paths.report_path(WINDOW.id, paths.make_chunk_id(0), attempt)).data)
    assert report.tally.scored == models, report.failures
    assert (report.unmodelled.devices if report.unmodelled else None) == expected


def format_rows(rows: Sequence[tuple[Case, float, float]], further: int) -> str:
    """The table."""
    head = ["| Readings | Further devices | `off`, s | `count`, s | more |", "|---|---|---:|---:|---:|"]
    lines = [f"| {c.describe(further)} | {off:.2f} | {on:.2f} | {100 * (on / off - 1):.0f} % |" for c, off, on in rows]
    return "\n".join([*head, *lines])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.unmodelled", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--into", type=Path)
    options = parser.parse_args()
    machine = describe_machine(PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        fleet = make_fleet(Path(folder), DEVICES, ROWS, VECTORS, ())
        table = format_rows(measure_cases(fleet, CHUNK, options.rounds), DEVICES - CHUNK)
    text = f"{machine}\n\n{table}\n"
    write_table(options.into, BEGIN, END, text)


if __name__ == "__main__":
    main()

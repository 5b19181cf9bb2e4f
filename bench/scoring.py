"""`python -m bench.scoring`: what scoring costs, ours beside what people use today, on the same fleet and machine.

    peers     60 rows and 100 support vectors: everyone, interleaved with ours
    sizes     ours from a thousand models to a million, warm and cold; peers as far as patience allows
    grid      rows x support vectors
    storage   a folder beside Azurite
    families  models that kernels score, beside their own libraries
    child     models that scikit-learn itself scores, in the sandbox, beside a tidy loop
    forms     readings of other forms; with `--beside FOLDER` by another build, too, which lies there

Every prediction that is timed is compared with scikit-learn's. Prints Markdown; with `--into FILE` it also takes the
place of what stands there between the marks, and draws `scoring.svg` beside it. Linux; wants `bench/requirements.txt`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import peaks, scoring_child, scoring_families, scoring_forms, scoring_tables
from .document import describe_machine, split_document
from .measure import run_alone
from .peaks import Peaks
from .scoring_cost import ENVIRONMENT
from .scoring_fleet import FEATURES, Fleet
from .scoring_lab import COLD, FOLDER, PEERS, START, WARM, Lab, Measured, Way

SECTIONS = ("peers", "sizes", "grid", "storage", "families", "child", "forms")
PACKAGES = ("numpy", "scikit-learn", "pandas", "pyarrow", "joblib", "dask", "ray", "onnxruntime")
BEGIN, END = "<!-- scoring -->\n", "<!-- /scoring -->"
ROWS, VECTORS = 60, 100  # the standard case: a reading a minute, and what an hour's training gives
BY_NAME = {way.name: way for way in PEERS}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large everything is measured, and how often."""

    repeats: int = 3
    peers: tuple[Way, ...] = PEERS
    peer_models: int = 1_000
    our_models: int = 100_000  # beside them: fewer would measure our start
    warm: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    cold: tuple[int, ...] = (1_000, 10_000, 100_000)
    desk: int = 10_000
    patience: tuple[tuple[str, int], ...] = (("groupby", 10_000), ("tuned", 10_000), ("onnx", 10_000))
    rows: tuple[int, ...] = (10, 60, 600, 3_600)
    vectors: tuple[int, ...] = (20, 100, 500)
    grid_peers: tuple[str, ...] = ("groupby", "tuned", "onnx")
    grid_models: int = 1_000  # of the peers; ours gets more where the shape is small, or its start would be all
    grid_work: int = 1_200_000_000  # rows x vectors x models that ours gets
    grid_most: int = 50_000
    stored_warm: int = 10_000
    stored_cold: int = 1_000
    families: int = 500
    child: int = 1_000
    forms: int = 8_000


QUICK = Sizes(
    repeats=1,
    our_models=10_000,
    warm=(1_000,),
    cold=(1_000,),
    desk=1_000,
    patience=(),
    rows=(10, 600),
    vectors=(20,),
    grid_models=200,
    grid_work=50_000_000,
    grid_most=1_000,
    stored_warm=1_000,
    families=100,
    child=200,
    forms=500,
)


@dataclass(slots=True)
class Bench:
    """A laboratory, its sizes, and what it was told to begin with."""

    lab: Lab
    sizes: Sizes
    peaks: Peaks
    begun: Fleet  # of START models
    beside: Path | None = None  # where another build lies
    plot: str = ""

    @property
    def limit(self) -> float:
        """µs a model of the standard case."""
        return self.peaks.seconds(ROWS, VECTORS, len(FEATURES)) * 1e6

    def measure(self, way: Way, fleet: Fleet, times: int) -> Measured:
        """The way's start and its whole, each so often."""
        for _ in range(times):
            self.lab.run(way, fleet)
            if way.name != "process":
                self.lab.run(way, self.begun)
        return self.lab.measured(way, fleet, self.begun)


def peers_section(bench: Bench) -> Iterator[str]:
    """Everyone on the standard case."""
    sizes, lab = bench.sizes, bench.lab
    small, large = (lab.fleet(models, ROWS, VECTORS) for models in (sizes.peer_models, sizes.our_models))
    results: dict[Way, Measured] = {}
    for _ in range(sizes.repeats):
        for way in (*COLD, *sizes.peers):
            results[way] = bench.measure(way, small, 1)
            results[WARM] = bench.measure(WARM, large, 1)  # after each of them: the machine is the same for all
    rows = [results[WARM], *(results[way] for way in (*COLD, *sizes.peers))]
    yield "### Everyone, 60 rows and 100 support vectors a model"
    yield "![CPU time a model](scoring.svg)"
    yield scoring_tables.format_ways(rows)
    yield scoring_tables.describe_ratio(rows, bench.limit)
    yield scoring_tables.describe_exactness(rows)
    bench.plot = scoring_tables.draw_plot(rows, bench.limit)


def sizes_section(bench: Bench) -> Iterator[str]:
    """The standard case, by the fleet's size."""
    sizes, lab, results = bench.sizes, bench.lab, []
    for models in sorted({*sizes.warm, *sizes.cold}):
        fleet = lab.fleet(models, ROWS, VECTORS)
        if models in sizes.warm:
            results.append(bench.measure(WARM, fleet, sizes.repeats))
        if models in sizes.cold:
            results += [bench.measure(way, fleet, 1 if models > sizes.desk else sizes.repeats) for way in COLD]
        if models == sizes.desk:
            results += [bench.measure(way, fleet, 1) for way in FOLDER]
        results += [bench.measure(BY_NAME[name], fleet, 1) for name, most in sizes.patience if most == models]
        if models > sizes.our_models:
            lab.forget(fleet)
    yield "### By the fleet's size"
    yield scoring_tables.format_ways(results)
    yield scoring_tables.describe_exactness(results)


def grid_section(bench: Bench) -> Iterator[str]:
    """By the shape of the work."""
    sizes, lab, results = bench.sizes, bench.lab, []
    for rows in sizes.rows:
        for vectors in sizes.vectors:
            models = max(sizes.grid_models, min(sizes.grid_most, sizes.grid_work // (rows * vectors)))
            large, small = (lab.fleet(count, rows, vectors) for count in (models, sizes.grid_models))
            results.append(bench.measure(WARM, large, sizes.repeats))
            results += [bench.measure(BY_NAME[name], small, 1) for name in sizes.grid_peers]
            for fleet in {large, small}:
                lab.forget(fleet)
    yield "### By rows and support vectors: CPU µs a model, without the start"
    yield scoring_tables.format_grid(results, bench.peaks, len(FEATURES))
    yield scoring_tables.describe_exactness(results)


def storage_section(bench: Bench) -> Iterator[str]:
    """The same from a folder and from Azurite, whose own CPU is not counted."""
    sizes, lab, results = bench.sizes, bench.lab, []
    for way, models in ((WARM, sizes.stored_warm), *((way, sizes.stored_cold) for way in COLD)):
        fleet = lab.fleet(models, ROWS, VECTORS)
        places = (way, Way(way.name, way.files, azurite=True))
        results += [bench.measure(place, fleet, sizes.repeats) for place in places]
    yield "### A folder, and Azurite"
    yield scoring_tables.format_ways(results)


def child_section(bench: Bench) -> Iterator[str]:
    """Models of kinds that no kernel knows."""
    sizes = bench.sizes
    yield "### In the sandbox: CPU µs a model, without the start"
    lines = scoring_child.measure_kinds(bench.lab.base, sizes.child, START, ROWS, sizes.repeats)
    yield "\n".join(lines)


def families_section(bench: Bench) -> Iterator[str]:
    """Models of packed families."""
    sizes = bench.sizes
    yield "### Packed families: CPU µs a model, without the start"
    yield "\n".join(scoring_families.measure_families(bench.lab.base, sizes.families, START, ROWS, sizes.repeats))


def forms_section(bench: Bench) -> Iterator[str]:
    """Readings of other forms."""
    sizes = bench.sizes
    yield "### By the form of readings: CPU µs a model, without the start"
    yield "\n".join(scoring_forms.measure_forms(bench.lab.base, sizes.forms, START, sizes.repeats, bench.beside))


_MAKERS = dict(
    zip(
        SECTIONS,
        (peers_section, sizes_section, grid_section, storage_section, families_section, child_section, forms_section),
        strict=True,
    )
)


def write_report(bench: Bench, sections: Sequence[str]) -> str:
    """The sections as Markdown, with what is to be known of the machine."""
    began = time.monotonic()
    blocks = [describe_machine(PACKAGES), f"The limit: {_describe_limit(bench)}"]
    for section in sections:
        for block in _MAKERS[section](bench):
            print(f"{block}\n", flush=True)
            blocks.append(block)
    blocks[0] += f" The whole took {time.monotonic() - began:.0f} s."
    return "\n\n".join(blocks) + "\n"


def _describe_limit(bench: Bench) -> str:
    peaks = bench.peaks
    return (
        f"a core of this machine does {peaks.flops / 1e9:.0f} GFLOP/s in a product of large matrices and an "
        f"exponential in {1e9 / peaks.exponentials:.2f} ns. So a model of {ROWS} rows, {len(FEATURES)} features and "
        f"{VECTORS} support vectors takes {bench.limit:.3g} µs of CPU at the least, when nothing is read, checked or "
        "written."
    )


def run_sections(base: Path, sizes: Sizes, sections: Sequence[str], beside: Path | None = None) -> tuple[str, str]:
    """The report and the plot, which is empty where it was not asked for; fleets lie below *base* meanwhile."""
    os.environ.update(ENVIRONMENT)  # the peaks are of one core
    lab = Lab(base, os.cpu_count() or 1)
    try:
        bench = Bench(lab, sizes, run_alone(peaks.measure_peaks), lab.fleet(START, ROWS, VECTORS), beside)
        return write_report(bench, sections), bench.plot
    finally:
        lab.close()


def main(words: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.scoring", description="What scoring costs.")
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; without any: all")
    parser.add_argument("--quick", action="store_true", help="small fleets, each once: a minute or two")
    parser.add_argument("--into", type=Path, help="a document whose tables are replaced; the plot goes beside it")
    parser.add_argument("--beside", type=Path, help="a folder with another build, for the section forms")
    parser.add_argument("--temporary", type=Path, help="where the fleets lie meanwhile: some 15 GB")
    options = parser.parse_args(words)
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"expected sections of {', '.join(SECTIONS)}, got {', '.join(sorted(unknown))}")
    parts = (
        split_document(BEGIN, END, options.into.read_text()) if options.into else None
    )  # before minutes are spent on it
    with tempfile.TemporaryDirectory(prefix="fleetscore-bench-", dir=options.temporary) as folder:
        sizes, sections = QUICK if options.quick else Sizes(), options.sections or SECTIONS
        text, plot = run_sections(Path(folder), sizes, sections, options.beside)
    if parts:
        options.into.write_text(text.join(parts))
        if plot:
            (options.into.parent / "scoring.svg").write_text(plot)


if __name__ == "__main__":
    main()

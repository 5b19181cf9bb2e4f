"""`python -m bench.control_plane`: what the control plane costs, at sizes that differ a hundredfold.

    planning     a fleet is listed, cut and written down
    ticks        a run of a thousand chunks, from its plan to its end
    history      a status and a tick, while many past runs lie in the ledger
    submissions  what a job for each model would take at Azure Resource Manager: computed

Prints Markdown. With `--into FILE` it also takes the place of what stands there between the marks.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .document import describe_machine, split_document
from .measure import Cost, format_table, run_alone, take_median

if TYPE_CHECKING:
    from .planning import Planned

SECTIONS = ("planning", "ticks", "history", "submissions")
SMALL = 100_000  # models; up to here a fleet is planned several times, and the median counts
RATE = 300.0  # models a second and process that the last run showed: the planner's own first guess
BEGIN, END = "<!-- control-plane -->\n", "<!-- /control-plane -->"

# Azure Resource Manager's token bucket for writes: so many at once, then so many a second.
BURST, WRITES = 200, 10.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large everything is measured."""

    fleets: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    repeats: int = 3
    cuts: tuple[int, ...] = (10_000, 50_000, 250_000, 1_000_000)  # models a chunk, of the largest fleet
    rates: tuple[float, ...] = (3_000.0,)  # of the last run
    runs: tuple[tuple[str, int, int], ...] = (  # store, chunks, models a chunk
        ("memory", 100, 1),
        ("memory", 1_000, 1),
        ("memory", 10_000, 1),
        ("memory", 1_000, 100),
        ("memory", 1_000, 1_000),
        ("azurite", 1_000, 1),
    )
    whole_runs: tuple[tuple[str, int], ...] = (("memory", 1_000),)  # store, chunks
    past: tuple[int, ...] = (10, 100, 1_000, 10_000)

    def repeats_of(self, models: int) -> int:
        """How often a fleet of that size is planned."""
        return self.repeats if models <= SMALL else 1


SMALLEST = Sizes(
    fleets=(2_000,),
    repeats=1,
    cuts=(1_000,),
    rates=(),
    runs=(("memory", 20, 2), ("azurite", 5, 1)),
    whole_runs=(("memory", 20),),
    past=(5, 30),
)


def planning_section(sizes: Sizes) -> Iterator[str]:
    """How planning grows with the fleet, and with the chunks' size."""
    from . import planning  # here and below: a case's process loads what it uses

    cases = {"names made up in the process": planning.in_memory, "paged over HTTP": planning.over_http}
    rows = [
        [title, *_plan_row(models, _repeat_case(case, models, sizes.repeats_of(models)))]
        for title, case in cases.items()
        for models in sizes.fleets
    ]
    yield "### Planning, by the fleet's size"
    yield f"`CHUNK_SIZE=auto`, {planning.CORES} cores, a last run at {RATE:.0f} models a second and process."
    yield format_table(["The listing", *_PLANNED], rows)
    models = sizes.fleets[-1]
    settings: list[tuple[str, int | None, float | None]] = [
        *((f"{cut:,}", cut, RATE) for cut in sizes.cuts),
        ("`auto`, no last run", None, None),
        *((f"`auto`, last run {rate:,.0f}/s", None, rate) for rate in sizes.rates),
    ]
    rows = [
        [name, *_plan_row(models, [run_alone(planning.in_memory, models, cut, rate)])] for name, cut, rate in settings
    ]
    yield f"### Planning {models:,} models, by the chunks' size"
    yield format_table(["`CHUNK_SIZE`", *_PLANNED], rows)


_PLANNED = ["models", "chunks", "largest", "s", "CPU s", "CPU µs a model", "port calls", "HTTP requests", "MiB at peak"]


@functools.cache  # two sections want them
def _repeat_case(case: Callable[[int, int | None, float | None], Planned], models: int, repeats: int) -> list[Planned]:
    return [run_alone(case, models, None, RATE) for _ in range(repeats)]


def _plan_row(models: int, runs: Sequence[Planned]) -> list[object]:
    cost = take_median([run.cost for run in runs])
    micro = cost.cpu / models * 1e6
    size = [models, runs[0].chunks, runs[0].largest]
    return [*size, cost.seconds, cost.cpu, micro, cost.port_calls, cost.requests, cost.mebibytes]


def ticks_section(sizes: Sizes) -> Iterator[str]:
    """What each kind of tick takes, and a whole run."""
    from . import ticks

    yield "### Ticks, by what they do"
    for store, chunks, models in sizes.runs:
        yield f"On {store}: {chunks:,} chunks of {models:,} models, all of one kind in one tick."
        rows = [
            [kind, *_cost_cells(cost), _format_calls(cost)]
            for kind, cost in run_alone(ticks.one_by_one, store, chunks, models)
        ]
        yield format_table(["The tick", *_COST, "most calls"], rows)
    rows = []
    for store, chunks in sizes.whole_runs:
        in_flight = 100  # the default of `MAX_IN_FLIGHT`
        count, cost = run_alone(ticks.to_the_end, store, chunks, 1, in_flight)
        rows.append([store, chunks, in_flight, count, *_cost_cells(cost), cost.seconds / count])
    if rows:
        yield "### A whole run, from its plan to its end"
        yield format_table(["Store", "chunks", "in flight", "ticks", *_COST, "s a tick"], rows)


def history_section(sizes: Sizes) -> Iterator[str]:
    """What is asked for, by the number of past runs."""
    from . import history

    queries = run_alone(history.measure_history, sizes.past)
    order = list(dict.fromkeys(query.name for query in queries))
    queries.sort(key=lambda query: order.index(query.name))
    yield "### By the number of past runs, on Azurite"
    rows = [[query.name, query.runs, *_cost_cells(query.cost)] for query in queries]
    yield format_table(["What", "past runs", *_COST], rows)


_COST = ["s", "CPU s", "port calls", "HTTP requests", "MiB at peak"]


def _cost_cells(cost: Cost) -> list[object]:
    return [cost.seconds, cost.cpu, cost.port_calls, cost.requests, cost.mebibytes]


def _format_calls(cost: Cost) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in cost.calls.most_common(3))


def submissions_section(sizes: Sizes) -> Iterator[str]:
    """A job for each model, as the original sample has it, beside a job for each chunk."""
    from . import planning

    yield "### Submissions: a job for each model, beside a job for each chunk"
    yield (
        f"Computed: of *n* writes to Azure Resource Manager {BURST} pass at once, then {WRITES:.0f} a second, so the "
        f"last is taken after max(0, *n* - {BURST}) / {WRITES:.0f} seconds. One write a job. {in_an_hour():,} fit "
        f"into an hour. The chunks are those of `CHUNK_SIZE=auto` and {planning.CORES} cores, as above."
    )
    chunks = {
        models: _repeat_case(planning.in_memory, models, sizes.repeats_of(models))[0].chunks for models in sizes.fleets
    }
    rows = [
        [
            f"{models:,}",
            models,
            _format_duration(time_last_write(models)),
            chunks[models],
            _format_duration(time_last_write(chunks[models])),
        ]
        for models in sizes.fleets
    ]
    yield format_table(["Models", "writes, by model", "until the last", "writes, by chunk", "until the last"], rows)


def time_last_write(writes: int) -> float:
    """Seconds until Azure Resource Manager has taken the last of so many writes."""
    return max(0, writes - BURST) / WRITES


def in_an_hour() -> int:
    """Writes that Azure Resource Manager takes in the first hour."""
    return BURST + round(3600 * WRITES)


def _format_duration(seconds: float) -> str:
    if not seconds:
        return "at once"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"  # noqa: PLR2004


def write_report(sections: Sequence[str], sizes: Sizes) -> str:
    """All sections as Markdown, with what is to be known of the machine."""
    began, blocks = time.monotonic(), [describe_machine(("azure-storage-blob", "azure-data-tables", "fastapi"))]
    makers = dict(zip(SECTIONS, (planning_section, ticks_section, history_section, submissions_section), strict=True))
    for name in sections:
        for block in makers[name](sizes):
            print(f"{block}\n", flush=True)
            blocks.append(block)
    blocks[0] += f" The whole took {time.monotonic() - began:.0f} s."
    return "\n\n".join(blocks) + "\n"


def main(words: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.control_plane", description="What the control plane costs.")
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; without any: all")
    parser.add_argument("--smallest", action="store_true", help="as small as everything still happens")
    parser.add_argument("--into", type=Path, help="a document whose tables are replaced")
    options = parser.parse_args(words)
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"expected sections of {', '.join(SECTIONS)}, got {', '.join(sorted(unknown))}")
    parts = (
        split_document(BEGIN, END, options.into.read_text()) if options.into else None
    )  # before minutes are spent on it
    text = write_report(options.sections or SECTIONS, SMALLEST if options.smallest else Sizes())
    if parts:
        options.into.write_text(text.join(parts))


if __name__ == "__main__":
    main()

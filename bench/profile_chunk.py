"""Where each microsecond of a warm chunk goes: `python -m bench.profile_chunk`.

A fleet with a warm pack is scored in this process, as a node does, several times. Functions at the borders of stages
are replaced by ones that read the CPU clock of their thread, which costs a few microseconds a pack and nothing a model.
The time of a stage is its own, without the stages that it calls. What the process used beyond all its Python threads is
that of Arrow's own threads, which decode Parquet.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import shutil
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scorer.storage.blob_store import open_container
from shared.contract import paths
from shared.contract.report import Report

from .measure import format_table
from .profile_fleet import WINDOW, Shape, make_fleet

SHAPES = {
    "usual": Shape(30_000),
    "wide": Shape(6_000, features=38),
    "600-rows": Shape(3_000, rows=600, vectors=20),
    "3600-rows": Shape(400, rows=3_600, vectors=20),
    "forest": Shape(3_000, kind="forest"),
}
# The first is what the thread of the kernels does, and so on; the last word of each is the stage.
LOADER, SCORER, WRITER, ARROW = "loads", "scores", "writes", "Arrow"
_STAGES = (
    ("scorer.commands.score_chunk:run_attempt", SCORER, "rest of the attempt"),
    ("scorer.commands.score_chunk:Manifest.from_bytes", SCORER, "manifest"),
    ("scorer.commands.score_chunk:_ChunkInputs._read_pass", LOADER, "rest of the readings"),
    ("scorer.commands.score_chunk:load_models", LOADER, "pack: index"),
    ("scorer.commands.score_chunk:load_numbers", LOADER, "pack: numbers, hashed and checked"),
    ("scorer.commands.score_chunk:find_needed_columns", LOADER, "pack: columns and models that are needed"),
    ("scorer.commands.score_chunk:find_models_with_rows", LOADER, "pack: columns and models that are needed"),
    ("scorer.readings.files:_read_content", ARROW, "decoding Parquet"),
    ("scorer.readings.device_readings:select_rows", LOADER, "readings: rows selected"),
    ("scorer.readings.device_readings:assemble_frame", LOADER, "readings: assembled"),
    ("scorer.scoring.pipeline:score_pack", SCORER, "rest of the scoring"),
    ("scorer.scoring.batching:join_plain_models", SCORER, "models joined with readings"),
    ("scorer.kernels.numba_backend:run_kernels", "kernels", "kernels"),
    ("scorer.scoring.pack_state:PackState.score_batch", SCORER, "outcomes"),
    ("scorer.scoring.pack_state:PackState.build_output", SCORER, "outcomes"),
    ("scorer.scoring.pack_state:to_table", SCORER, "table"),
    ("scorer.predictions.part_files:Parts.add_table", WRITER, "rest of the writing"),
    ("scorer.predictions.part_files:measure_table", WRITER, "values checked, statistics"),
    ("scorer.predictions.table:_check_values", WRITER, "values checked, statistics"),
    ("scorer.predictions.table:PartWriter.add_table", WRITER, "encoding Parquet"),
    ("scorer.predictions.part_files:Parts.close", SCORER, "part: closed, MD5, stored"),
    ("scorer.commands.score_chunk:Report.to_bytes", SCORER, "report"),
)


class StageClock:
    """CPU seconds of stages, each without those that it calls; of all threads."""

    def __init__(self) -> None:
        self.seconds = defaultdict[tuple[str, str], float](float)
        self._local, self._lock = threading.local(), threading.Lock()

    def start(self) -> None:
        """Begin a stage of this thread."""
        stack = self._local.__dict__.setdefault("stack", [])
        stack.append([time.thread_time(), 0.0])

    def stop(self, stage: tuple[str, str]) -> None:
        """End the last one that has begun."""
        stack = self._local.stack
        began, inner = stack.pop()
        spent = time.thread_time() - began
        with self._lock:
            self.seconds[stage] += spent - inner
        if stack:
            stack[-1][1] += spent

    def wrap(self, function: Callable[..., Any], stage: tuple[str, str]) -> Callable[..., Any]:
        """The same function, timed."""

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.start()
            try:
                return function(*args, **kwargs)
            finally:
                self.stop(stage)

        return timed

    def watch_collector(self, phase: str, _: dict[str, int]) -> None:
        """For `gc.callbacks`."""
        if phase == "start":
            self.start()
        else:
            self.stop(("any", "garbage collector"))


@contextmanager
def time_stages(clock: StageClock) -> Iterator[None]:
    """Replace the functions at the borders of stages while the body runs."""
    replaced = []
    for path, thread, stage in _STAGES:
        module, _, name = path.partition(":")
        holder: Any = importlib.import_module(module)
        *owners, attribute = name.split(".")
        for owner in owners:
            holder = getattr(holder, owner)
        original = vars(holder)[attribute]
        timed: Any = clock.wrap(getattr(original, "__func__", original), (thread, stage))
        setattr(holder, attribute, classmethod(timed) if isinstance(original, classmethod) else timed)
        replaced.append((holder, attribute, original))
    gc.callbacks.append(clock.watch_collector)
    try:
        yield
    finally:
        gc.callbacks.remove(clock.watch_collector)
        for holder, attribute, original in replaced:
            setattr(holder, attribute, original)


@dataclass(frozen=True, slots=True)
class Profile:
    """What one attempt took: wall and CPU seconds, and CPU seconds by stage."""

    wall: float
    cpu: float
    stages: dict[tuple[str, str], float]


def profile_attempt(url: str, attempt: int, cores: int) -> Profile:
    """Score the chunk of a manifest once."""
    from scorer.commands import score_chunk

    clock = StageClock()
    with time_stages(clock):
        wall, cpu = time.perf_counter(), time.process_time()
        score_chunk.run_attempt(url, attempt, cores=cores)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    _check_report(url, attempt)
    clock.seconds[ARROW, "decoding Parquet"] += max(0.0, cpu - sum(clock.seconds.values()))
    return Profile(wall, cpu, clock.seconds)


def _check_report(url: str, attempt: int) -> None:
    """Fail where a model was not scored."""
    container, _, _ = url.partition("/runs/")
    path = paths.report_path(WINDOW.id, paths.make_chunk_id(0), attempt)
    report = Report.from_bytes(open_container(container).read(path).data)
    assert report.tally.scored == len(report.outcomes), report.failures


def profile_shape(shape: Shape, cores: Sequence[int], times: int, schema: int) -> dict[int, list[Profile]]:
    """Profiles of the fleet by the number of cores, in turn; the first attempt, which compiles, is left out."""
    with tempfile.TemporaryDirectory(prefix="fleetscore-profile-") as folder:
        url = make_fleet(Path(folder), shape, schema)
        work = Path(urlsplit(url).path).parents[3]
        profiles: dict[int, list[Profile]] = {count: [] for count in cores}
        for attempt in range(1, (times + 1) * len(cores) + 1):
            count = cores[attempt % len(cores)]
            profile = profile_attempt(url, attempt, count)
            if attempt > len(cores):
                profiles[count].append(profile)
            shutil.rmtree(work / "results", ignore_errors=True)
            gc.collect()
        return profiles


def describe_stages(profiles: Sequence[Profile], models: int) -> str:
    """A table of stages with their medians, the largest first."""
    stages = {stage for profile in profiles for stage in profile.stages}
    micros = {
        stage: statistics.median(profile.stages.get(stage, 0.0) for profile in profiles) / models * 1e6
        for stage in stages
    }
    total = sum(micros.values())
    rows: list[tuple[object, ...]] = [
        (stage, thread, spent, f"{spent / total:.1%}")
        for (thread, stage), spent in sorted(micros.items(), key=lambda item: -item[1])
    ]
    cpu = statistics.median(profile.cpu for profile in profiles) / models * 1e6
    return format_table(("stage", "thread", "µs a model", "share"), [*rows, ("all", "", cpu, "")])


def describe_serial(profiles: Sequence[Profile], models: int) -> str:
    """How much of the CPU is one serial chain, and what that comes to with 16 threads.

    Three threads follow each other from pack to pack: one loads, one scores, one writes. Kernels and Arrow's decoding
    are divided among the cores. So with many cores the busiest of the three threads sets the pace.
    """
    micros = defaultdict[str, float](float)
    for (thread, _), stages in {key: [p.stages.get(key, 0.0) for p in profiles] for key in profiles[0].stages}.items():
        micros[thread] += statistics.median(stages) / models * 1e6
    total, wall = (statistics.median(getattr(p, name) for p in profiles) / models * 1e6 for name in ("cpu", "wall"))
    chain = max(micros[thread] for thread in (LOADER, SCORER, WRITER))
    names = ", ".join(f"{thread} {micros[thread]:.2f}" for thread in (LOADER, SCORER, WRITER, "kernels", ARROW))
    return (
        f"µs a model by thread: {names}. Wall {wall:.2f}, CPU {total:.2f}. The longest serial chain is {chain:.2f}, "
        f"{chain / total:.0%} of the whole; with 16 threads {max(chain, total / 16):.2f} µs a model at the least."
    )


def main(words: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile_chunk", description=__doc__.partition("\n")[0])
    parser.add_argument("shapes", nargs="*", help=f"of {', '.join(SHAPES)}; without any: usual")
    parser.add_argument("--times", type=int, default=5, help="attempts with each number of cores")
    parser.add_argument("--cores", default="1,2", help="numbers of cores, in turn (%(default)s)")
    parser.add_argument("--schema", type=int, default=2, help="of the predictions (%(default)s)")
    parser.add_argument("--no-gc", action="store_true", help="without the cyclic garbage collector")
    options = parser.parse_args(words)
    if unknown := set(options.shapes) - set(SHAPES):
        parser.error(f"expected shapes of {', '.join(SHAPES)}, got {', '.join(sorted(unknown))}")
    if options.no_gc:
        gc.disable()
    cores = [int(text) for text in options.cores.split(",")]
    for name in options.shapes or ["usual"]:
        shape = SHAPES[name]
        by_cores = profile_shape(shape, cores, options.times, options.schema)
        print(f"### {name}: {shape.models:,} models, {shape.rows:,} rows, {shape.features} features\n")
        print(describe_stages(by_cores[cores[0]], shape.models), end="\n\n")
        for count, profiles in by_cores.items():
            print(f"{count} cores: {describe_serial(profiles, shape.models)}\n", flush=True)


if __name__ == "__main__":
    main()

"""`python -m scorer`: a chunk on a node (`--manifest`), folders at a desk (`folder`), conversion of models (`convert`).

`models import` writes the models of a Delta table as files, `predictions upgrade` rewrites files of predictions,
`readings convert` writes files of industry's devices as readings.

Exit codes: 0 done; 1 a model failed or none was scored (at a desk), or a store did not answer; 2 a person must change
something. On a node 0 means that the report is written: models that fail are named there.
"""

from __future__ import annotations

import argparse
import gc
import logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# One thread for each process, set before NumPy is imported: with more, processes on one node compete for its cores.
for _library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"

from shared.contract.errors import FleetError, Malformed, Misconfigured, NotFound  # noqa: E402  # after the lines above
from shared.contract.model_names import ModelNames  # noqa: E402
from shared.contract.scoring_options import (  # noqa: E402
    BadRows,
    Gaps,
    Probabilities,
    ReadingOptions,
    ScoringOptions,
    TimeFormat,
    UnmodelledDevices,
)

_NAMES = ("folder", "convert", "models import", "readings convert", "predictions upgrade")
_COMMANDS = frozenset({"folder", "convert", "models", "readings", "predictions", "publish"})


def main(arguments: list[str], program: str = "python -m scorer") -> int:
    """Run the command that the arguments name; returns the exit code. *program*: the name that usage shows."""
    arguments = _join_numbers(arguments)
    parser = _build_parser(program, arguments)
    try:
        options = parser.parse_args(arguments)
        if options.command is None and (options.manifest is None or options.attempt is None):
            parser.error(f"expected {', '.join(_NAMES)}, or both --manifest and --attempt")
        stream = sys.stderr if getattr(options, "output", "") == "json" else sys.stdout  # which is the document
        logging.basicConfig(stream=stream, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        logging.getLogger("azure").setLevel(logging.WARNING)
        return _run_command(options)
    except FleetError as error:
        print(f"scorer: {error}", file=sys.stderr)
        return 2 if isinstance(error, Malformed | Misconfigured | NotFound) else 1


def _join_numbers(arguments: list[str]) -> list[str]:
    """`--missing-values -999,65535` as one argument: argparse takes what begins with a minus for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] == "--missing-values" and argument.startswith("-") and not argument.startswith("--"):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _run_command(options: argparse.Namespace) -> int:
    match options.command:
        case "folder":
            return _score_folder(options)
        case "convert":
            from scorer.commands.desk import convert_models

            return convert_models.convert_folder(options.models, options.to, _get_names(options), options.output)
        case "models":
            from scorer.commands.desk import import_models

            columns = import_models.TableColumns(options.id, options.bytes, options.version)
            return import_models.import_models(
                options.delta, options.into, columns, _get_names(options), os.environ.get("STORAGE", ""),
                remove_absent=options.remove_absent,
            )  # fmt: skip
        case "readings":
            from scorer.commands.desk import convert_readings, readings_options

            return convert_readings.convert_files(readings_options.make_options(options))
        case "predictions":
            from scorer.commands.desk import upgrade_predictions

            storage = os.environ.get("STORAGE", "")
            return upgrade_predictions.upgrade_files(options.location, storage, dry_run=options.dry_run)
        case "publish":
            from scorer.commands import publish_runs

            secrets = publish_runs.SinkSecrets(os.environ.get("SQL_PASSWORD", ""), os.environ.get("EVENTS_KEY", ""))
            publish_runs.publish_runs(options.manifest, os.environ.get("STORAGE", ""), secrets)
            return 0
        case _:
            with _pause_collector():
                from scorer.commands import score_chunk

            _choose_kernels()
            attempt_options = score_chunk.AttemptOptions(
                options.careful, options.pardon, options.current, options.carry
            )
            score_chunk.run_attempt(
                options.manifest, options.attempt, os.environ.get("STORAGE", ""), attempt_options, _count_cores()
            )
            return 0


@contextmanager
def _pause_collector() -> Iterator[None]:
    """Import without looking for garbage: there is none, and what is loaded stays; a twentieth of a job's start."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _score_folder(options: argparse.Namespace) -> int:
    logging.getLogger("scorer").setLevel(logging.ERROR)  # the summary names what failed
    from scorer.commands.desk import score_folder

    _choose_kernels()
    return score_folder.score_models(
        score_folder.ScoreOptions(
            models=options.models,
            readings=options.readings,
            predictions=options.predictions,
            window=options.window,
            every=options.every,
            window_origin=options.window_origin,
            columns=options.columns,
            names=_get_names(options),
            readings_path=options.readings_path,
            policy=ScoringOptions(
                ReadingOptions(
                    BadRows(options.bad_rows),
                    TimeFormat(options.time_format),
                    time_zone=options.time_zone,
                    features=options.features,
                    gaps=Gaps(options.gaps),
                    missing_values=options.missing_values,
                    csv=options.csv,
                ),
                options.other_versions,
                unmodelled=UnmodelledDevices(options.unmodelled),
                probabilities=Probabilities(options.probabilities),
            ),
            cores=_count_cores(),
            output=options.output,
            predictions_schema=options.predictions_schema,
        )
    )


def _get_names(options: argparse.Namespace) -> ModelNames:
    return ModelNames(options.model_names.pattern, options.model_formats)


def _choose_kernels() -> None:
    """Take the backend that `KERNELS` names, numba or numpy; without it the backend is chosen at the first batch."""
    name = os.environ.get("KERNELS", "")
    if name:
        from scorer.kernels import dispatch

        dispatch.choose_backend(name)


def _count_cores() -> int:
    """How many cores this process may use: `NODE_CORES`, else what the system and the container allow."""
    text = os.environ.get("NODE_CORES", "")
    if text and not (text.isdecimal() and int(text)):
        raise Misconfigured(f"NODE_CORES: expected a number of cores of at least 1, got {text!r}")
    if text:
        return int(text)
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, _read_cpu_limit(Path("/sys/fs/cgroup")) or available)


def _read_cpu_limit(folder: Path) -> int | None:
    """The container's limit of CPU time in cores, rounded up; None: no limit. Python itself does not read it.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files and, of version 1, scheduler/sched-bwc.html
    """
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else math.ceil(int(quota) / int(period))
    with suppress(OSError, ValueError):
        quota, period = ((folder / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return None if int(quota) < 0 else math.ceil(int(quota) / int(period))
    return None


def _build_parser(program: str, arguments: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description="Score models, one for each device.")
    parser.add_argument("--manifest", help="on a node: the URL of the chunk's manifest")
    parser.add_argument("--attempt", type=int, help="on a node: the number of this attempt")
    parser.add_argument("--careful", action="store_true", help="on a node: score in worker processes, after a crash")
    parser.add_argument("--pardon", action="store_true", help="on a node: score models in quarantine too")
    parser.add_argument("--current", action="store_true", help="on a node: score models as their files are now")
    parser.add_argument("--carry", type=int, default=0, help="on a node: the attempt whose results are carried over")
    parser.set_defaults(command=None)
    if arguments[:1] != ["--manifest"] or not _COMMANDS.isdisjoint(arguments):
        from scorer.commands.desk.command_line import add_commands  # late: a node does not wait for it

        add_commands(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

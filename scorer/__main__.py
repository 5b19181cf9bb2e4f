"""`python -m scorer`: a chunk on a node (`--manifest`), folders at a desk (`folder`), conversion of models (`convert`).

`models import` writes the models of a Delta table as files, `predictions upgrade` rewrites files of predictions,
`readings convert` writes files of industry's devices as readings.

Exit codes: 0 done; 1 a model failed or none was scored (at a desk), or a store did not answer; 2 a person must change
something. On a node 0 means that the report is written: models that fail are named there.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

# One thread for each process, set before NumPy is imported: with more, processes on one node compete for its cores.
for _library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"

from scorer.commands.desk import readings_options  # noqa: E402  # after the lines above
from scorer.commands.desk.unscored import Output  # noqa: E402
from scorer.commands.options import add_option, make_optional, parse_window  # noqa: E402  # after the lines above
from shared.contract.errors import FleetError, Malformed, Misconfigured, NotFound  # noqa: E402
from shared.contract.fleet.formats import ModelFormats  # noqa: E402
from shared.contract.model_names import DEFAULT_PATTERN, Columns, ModelNames  # noqa: E402
from shared.contract.scoring_options import (  # noqa: E402
    BadRows,
    CsvOptions,
    Features,
    Gaps,
    OtherVersions,
    Probabilities,
    ReadingOptions,
    ScoringOptions,
    TimeFormat,
    UnmodelledDevices,
    check_zone,
    parse_missing_values,
)
from shared.contract.windows import parse_length, parse_origin  # noqa: E402

_COMMANDS = ("folder", "convert", "models import", "readings convert", "predictions upgrade")


def main(arguments: list[str], program: str = "python -m scorer") -> int:
    """Run the command that the arguments name; returns the exit code. *program*: the name that usage shows."""
    parser = _build_parser(program)
    try:
        options = parser.parse_args(_join_numbers(arguments))
        if options.command is None and (options.manifest is None or options.attempt is None):
            parser.error(f"expected {', '.join(_COMMANDS)}, or both --manifest and --attempt")
        stream = sys.stderr if getattr(options, "output", "") == Output.JSON else sys.stdout  # which is the document
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
            from scorer.commands.desk import convert_readings

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
            from scorer.commands import score_chunk

            _choose_kernels()
            attempt_options = score_chunk.AttemptOptions(
                options.careful, options.pardon, options.current, options.carry
            )
            score_chunk.run_attempt(
                options.manifest, options.attempt, os.environ.get("STORAGE", ""), attempt_options, _count_cores()
            )
            return 0


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


def _add_import(commands: Any) -> None:
    importing = (
        commands.add_parser("models", help="files of models")
        .add_subparsers(required=True, metavar="import")
        .add_parser("import", help="write the models of a Delta table as files; only changed ones are written")
    )
    importing.add_argument("--delta", required=True, help="the table: a folder, or the URL of a container and a path")
    importing.add_argument("--into", required=True, help="where the files go: a folder, or the URL of a container")
    importing.add_argument("--id", required=True, help="the column of the devices' ids, text or integers")
    importing.add_argument("--bytes", required=True, help="the column of the files' contents")
    importing.add_argument("--version", default="", help="the column of versions: the greatest of an id counts")
    description = "remove the files of ids that the table no longer has, if an import wrote them"
    importing.add_argument("--remove-absent", action="store_true", help=description)
    add_option(importing, "--model-names", ModelNames, "how files are named (%(default)s)", DEFAULT_PATTERN)
    importing.set_defaults(model_formats=ModelFormats())


def _build_parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description="Score models, one for each device.")
    parser.add_argument("--manifest", help="on a node: the URL of the chunk's manifest")
    parser.add_argument("--attempt", type=int, help="on a node: the number of this attempt")
    parser.add_argument("--careful", action="store_true", help="on a node: score in worker processes, after a crash")
    parser.add_argument("--pardon", action="store_true", help="on a node: score models in quarantine too")
    parser.add_argument("--current", action="store_true", help="on a node: score models as their files are now")
    parser.add_argument("--carry", type=int, default=0, help="on a node: the attempt whose results are carried over")
    commands = parser.add_subparsers(dest="command")
    folder = commands.add_parser("folder", help="score a folder of models; no cloud needed")
    convert = commands.add_parser("convert", help="write models as skops files, without running their content")
    _add_import(commands)
    predictions = commands.add_parser("predictions", help="files of predictions")
    upgrade = predictions.add_subparsers(required=True, metavar="upgrade").add_parser(
        "upgrade", help="rewrite files of schema 1 as schema 2, in place"
    )
    upgrade.add_argument("location", metavar="FOLDER_OR_CONTAINER", help="a folder, or the URL of a container")
    upgrade.add_argument("--dry-run", action="store_true", help="count the files, and write nothing")
    readings_options.add_command(commands)
    publish = commands.add_parser("publish", help="on a node: publish runs to a sink")
    publish.add_argument("--manifest", required=True, help="the URL of the job's manifest")
    for command in (folder, convert):
        command.add_argument("--models", type=Path, required=True, help="folder of the models")
        add_option(command, "--model-names", ModelNames, "how they are named (%(default)s)", DEFAULT_PATTERN)
        add_option(command, "--model-formats", ModelFormats.parse, "further endings of models: json, txt, or json,txt")
        outputs = command.add_mutually_exclusive_group()
        for output, description in (
            (Output.VERBOSE, "print each model, not one of each reason"),
            (Output.JSON, "print the summary as JSON, for programs"),
        ):
            outputs.add_argument(
                f"--{output}",
                dest="output",
                action="store_const",
                const=output,
                default=Output.SHORT,
                help=description,
            )
    convert.add_argument("--to", type=Path, required=True, help="folder for the skops files, named by the models' ids")
    folder.add_argument("--readings", type=Path, required=True, help="a file or folder: CSV, JSON, Parquet, Avro")
    folder.add_argument("--predictions", type=Path, required=True, help="folder for the Parquet files")
    folder.add_argument(
        "--predictions-schema",
        type=int,
        choices=(1, 2),
        help="schema of the Parquet files: 2, or 1 where the folder has files of schema 1 only",
    )
    window, length, origin = make_optional(parse_window), make_optional(parse_length), make_optional(parse_origin)
    add_option(folder, "--window", window, "START/END in UTC; without it, all that the readings cover")
    add_option(folder, "--every", length, "length of the windows, PT1H where no --window is given")
    description = "a date on which a window begins, without --window; Mondays for whole weeks"
    add_option(folder, "--window-origin", origin, description)
    add_option(
        folder,
        "--columns",
        Columns.parse,
        "time=TS,device=Device,sensor=Tag,value=Value; of JSON also features=OBJECT.*, step=10s",
    )
    description = "of CSV files, what they do not show: separator=semicolon,decimal=comma,comment=#"
    add_option(folder, "--csv", CsvOptions.parse, description)
    folder.add_argument(
        "--bad-rows", choices=list(BadRows), default=BadRows.SKIP, help="rows with a cell that is not a number"
    )
    folder.add_argument(
        "--time-format",
        choices=list(TimeFormat),
        default=TimeFormat.ISO,
        help="format of times that are text or numbers",
    )
    description = "zone of times without an offset, such as Europe/Berlin; UTC"
    add_option(folder, "--time-zone", check_zone, description)
    description = (
        "for models fitted without feature names: their names in the models' order, temp,amps,flow, or as-in-file"
    )
    add_option(folder, "--features", Features.parse, description)
    folder.add_argument(
        "--gaps", choices=list(Gaps), default=Gaps.MODEL, help="rows that lack a feature: give them to which models"
    )
    add_option(folder, "--missing-values", parse_missing_values, "numbers that stand for a missing value: -999,65535")
    description = "models of another scikit-learn: warn or refuse"
    add_option(folder, "--other-versions", OtherVersions.parse, description, "warn")
    folder.add_argument(
        "--unmodelled",
        choices=list(UnmodelledDevices),
        default=UnmodelledDevices.COUNT,
        help="devices that have readings and no model: count and name them (%(default)s), or off, which is faster",
    )
    folder.add_argument(
        "--probabilities",
        choices=list(Probabilities),
        default=Probabilities.LABEL,
        help="of classifiers: that of each row's label (%(default)s), or a further row for each class too (all)",
    )
    folder.add_argument("--readings-path", default="", help="pattern of an hour's folder, date=%%Y-%%m-%%d/hour=%%H/")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

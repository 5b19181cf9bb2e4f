"""The command line of all commands but the node's: those of a desk, and `publish`. Imports no NumPy."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scorer.commands.options import add_option, make_optional, parse_window
from shared.contract.fleet.formats import ModelFormats
from shared.contract.model_names import DEFAULT_PATTERN, Columns, ModelNames
from shared.contract.scoring_options import (
    BadRows,
    CsvOptions,
    Features,
    Gaps,
    OtherVersions,
    Probabilities,
    TimeFormat,
    UnmodelledDevices,
    check_zone,
    parse_missing_values,
)
from shared.contract.windows import parse_length, parse_origin

from . import readings_options
from .unscored import Output


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the commands to a parser; *command* of its options is the chosen one, or None."""
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
    _add_models(folder)
    _add_models(convert)
    convert.add_argument("--to", type=Path, required=True, help="folder for the skops files, named by the models' ids")
    _add_folder(folder)


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


def _add_models(command: argparse.ArgumentParser) -> None:
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


def _add_folder(folder: argparse.ArgumentParser) -> None:
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

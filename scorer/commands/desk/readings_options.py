"""The command line of `readings convert`. Imports no NumPy: other commands do not wait for it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scorer.commands.options import add_option, make_optional
from scorer.device_formats.names import FilePattern, NamePattern, Template
from scorer.device_formats.options import Format, FormatOptions, Precision, Quality, parse_names, parse_now
from shared.contract.errors import Malformed
from shared.contract.scoring_options import check_zone, parse_missing_values

from .unscored import Output

_NOTE = """A device is named by the file, or by the only tag of a line; a sensor by its channel or field; --device and
--sensor put names together from {file}, {group} and {channel} (MDF4, TDMS) or {measurement}, {field} and tags (line
protocol). In SenML the part of a name behind the last slash or colon is the sensor, or as --name-pattern says."""


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """The options of the command `readings convert`."""

    sources: Sequence[Path]
    target: Path
    formats: FormatOptions = field(default_factory=FormatOptions)
    is_long: bool = False
    overwrite: bool = False
    output: Output = Output.SHORT


def add_command(commands: Any) -> None:
    """Add `readings convert` to the subparsers of a command line."""
    readings = commands.add_parser("readings", help="files of readings")
    parser = readings.add_subparsers(required=True, metavar="convert").add_parser(
        "convert", help="write SenML, line protocol, MDF4 and TDMS as Parquet readings", epilog=_NOTE
    )
    parser.add_argument("sources", type=Path, nargs="+", metavar="SOURCE", help="a file, or a folder of files")
    parser.add_argument("--into", type=Path, required=True, help="a new folder for the Parquet files")
    parser.add_argument("--overwrite", action="store_true", help="replace readings that were converted before")
    parser.add_argument(
        "--long", action="store_true", help="a row for each reading, also where all sensors share times"
    )
    parser.add_argument("--format", choices=list(Format), help="read files of this format only")
    parser.add_argument(
        "--json", dest="output", action="store_const", const=Output.JSON, default=Output.SHORT,
        help="print the summary as JSON, for programs",
    )  # fmt: skip
    _add_names(parser)
    _add_content(parser)


def _add_names(parser: argparse.ArgumentParser) -> None:
    template = make_optional(Template.parse)
    names = parser.add_mutually_exclusive_group()
    add_option(names, "--device-tag", make_optional(_parse_tag), "line protocol: the tag that names the device")
    add_option(names, "--device", template, "the device's name, such as pump1, {group} or {site}-{unit}")
    add_option(parser, "--sensor", template, "the sensor's name, such as {group}.{channel} or {measurement}.{field}")
    add_option(parser, "--ignore-tags", parse_names, "line protocol: tags that distinguish no series: firmware,site")
    add_option(parser, "--name-pattern", NamePattern.parse, "SenML: how a name holds both, such as {device}_{sensor}")
    add_option(parser, "--file-names", FilePattern.parse, "MDF4, TDMS: which part of a file's name {file} is: {file}_*")


def _parse_tag(text: str) -> Template:
    """The template of a device that one tag names. Raises Malformed."""
    if set(text) & set("{}"):
        raise Malformed(f"expected the name of a tag, got {text!r}; names that are put together need --device")
    return Template(f"{{{text}}}")


def _add_content(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", choices=list(Precision), default=Precision.NS, help="line protocol: unit of times (%(default)s)"
    )
    add_option(parser, "--now", make_optional(parse_now), "SenML: what relative times are relative to")
    add_option(parser, "--time-zone", check_zone, "MDF4: zone of a start in local time, such as Europe/Berlin")
    parser.add_argument(
        "--time-channel", metavar="NAME", default="", help="TDMS: the channel of timestamps of each group"
    )
    description = "the field, tag, label or channel of quality, and its value for good readings: status=ok, quality=192"
    add_option(parser, "--quality", make_optional(Quality.parse), f"NAME=GOOD: {description}")
    add_option(parser, "--missing-values", parse_missing_values, "numbers that stand for a missing value: -999,65535")


def make_options(options: argparse.Namespace) -> ConvertOptions:
    """The options that a command line says."""
    return ConvertOptions(
        sources=options.sources,
        target=options.into,
        formats=FormatOptions(
            format=Format(options.format) if options.format else None,
            time_zone=options.time_zone,
            precision=Precision(options.precision),
            now=options.now,
            device=options.device_tag or options.device,
            sensor=options.sensor,
            ignored_tags=options.ignore_tags,
            name_pattern=options.name_pattern,
            file_names=options.file_names,
            time_channel=options.time_channel,
            quality=options.quality,
            missing_values=options.missing_values,
        ),
        is_long=options.long,
        overwrite=options.overwrite,
        output=options.output,
    )

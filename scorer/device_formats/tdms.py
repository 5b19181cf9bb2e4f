"""TDMS (National Instruments) -> series, channel by channel and piece by piece, by npTDMS.

Times are those of the waveform (`wf_start_time`, `wf_start_offset`, `wf_increment`), which are UTC, or those of a
channel of timestamps that `--time-channel` names. Numbers are scaled as the file says. Left out and counted: texts,
timestamps, complex numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shared.contract.errors import Malformed

from .libraries import import_nptdms, translate_errors
from .options import FormatOptions
from .segments import find_start_times
from .series import MICRO, Catalogue, Samples, check_times, find_bad, find_channel_code

PIECE = 2**20  # readings that are read at once
_ADVICE = "write the properties of its waveform (wf_start_time, wf_increment), or set --time-channel"
_SCALES = frozenset(
    ("Polynomial", "Linear", "RTD", "Strain", "Table", "Thermistor", "Thermocouple", "Add", "Subtract", "AdvancedAPI")
)  # that npTDMS computes; of another one it gives the raw numbers
_SCALE_TYPE = re.compile(r"NI_Scale\[\d+\]_Scale_Type")


@dataclass(slots=True)
class _Reader:
    """A file that is being read."""

    tdms: Any
    start_times: Mapping[str, set[int]]  # by an object's path, microseconds since 1970
    file: str  # its part of names
    options: FormatOptions
    catalogue: Catalogue
    codes: set[int] = field(default_factory=set)  # of the series that this file has so far

    def read_group(self, group: Any) -> Iterator[Samples]:
        """The readings of a group of channels. Raises Malformed."""
        channels = {channel.name: channel for channel in group.channels()}
        quality, time_channel = self.options.quality, self.options.time_channel
        for name, channel in channels.items():
            if name == time_channel or (quality and name == quality.name):
                continue
            if not len(channel):
                self.catalogue.left_out["channels without readings"] += 1
            elif channel.dtype.kind not in "iufb":
                self.catalogue.left_out["channels without numbers"] += 1
            else:
                try:
                    yield from self._read_channel(channel, channels)
                except Malformed as error:
                    raise Malformed(f"channel {channel.path}: {error}") from error

    def _read_channel(self, channel: Any, channels: Mapping[str, Any]) -> Iterator[Samples]:
        properties = channel.properties
        _check_scaling({**self.tdms.properties, **self.tdms[channel.group_name].properties, **properties})
        parts = {"file": self.file, "group": channel.group_name, "channel": channel.name}
        code = find_channel_code(parts, str(properties.get("unit_string", "")), self.options, self.catalogue)
        if code in self.codes:
            raise Malformed("expected one channel of its name, got several; set --device '{group}' or --sensor "
                            "'{group}.{channel}'")  # fmt: skip
        self.codes.add(code)
        timeline = self._find_timeline(channel, channels)
        for offset in range(0, len(channel), PIECE):
            values = _read_numbers(channel, offset)
            time = timeline.read(offset, len(values))
            check_times(time, "the clock of the recorder was not set")
            reasons = {"not a number": np.isnan(values), **self._find_bad(channel, channels, offset, len(values))}
            yield Samples(np.array([code], np.int32), time, self.catalogue.mark_gaps(values, reasons))

    def _find_bad(self, channel: Any, channels: Mapping[str, Any], offset: int, count: int) -> dict[str, np.ndarray]:
        """Which readings have bad quality, where that is asked for: all of a group without such a channel."""
        quality = self.options.quality
        if quality is None:
            return {}
        flags = channels.get(quality.name)
        if flags is None:
            return {"bad quality": np.ones(count, bool)}
        if len(flags) != len(channel) or flags.dtype.kind not in "iufb":
            raise Malformed(f"expected {len(channel)} numbers in the channel {quality.name!r}, got {len(flags)} values")
        return {"bad quality": find_bad(quality, _read_numbers(flags, offset))}

    def _find_timeline(self, channel: Any, channels: Mapping[str, Any]) -> _Waveform | _Timestamps:
        """The times of a channel's readings. Raises Malformed where the file does not say them, or says several."""
        if self.options.time_channel:
            times = channels.get(self.options.time_channel)
            if times is None or times.dtype.kind != "M" or len(times) != len(channel):
                actual = "no such channel" if times is None else f"{len(times)} of type {times.dtype}"
                raise Malformed(f"expected {len(channel)} timestamps in {self.options.time_channel!r}, got {actual}")
            return _Timestamps(times)
        starts = sorted(self.start_times.get(channel.path, ()))
        if len(starts) > 1:
            raise Malformed(
                f"expected one start time, got {len(starts)}: the file was resumed, and does not say which readings "
                "belong to which; save each recording as a file of its own, or set --time-channel"
            )
        increment, offset = (_read_number(channel.properties, name) for name in ("wf_increment", "wf_start_offset"))
        if not starts:
            raise Malformed(f"expected a start time, got none; {_ADVICE}")
        if increment is None or increment <= 0:
            raise Malformed(f"expected a time step above 0, got {increment or 'none'}; {_ADVICE}")
        return _Waveform(starts[0], offset or 0, increment)


@dataclass(frozen=True, slots=True)
class _Waveform:
    """Times in equal steps."""

    start: int  # microseconds since 1970
    offset: float  # seconds
    increment: float  # seconds

    def read(self, first: int, count: int) -> np.ndarray:
        """The times from an index on."""
        seconds = self.offset + np.arange(first, first + count) * self.increment
        time: np.ndarray = self.start + np.rint(seconds * MICRO).astype(np.int64)
        return time


@dataclass(frozen=True, slots=True)
class _Timestamps:
    """Times that a channel holds."""

    channel: Any

    def read(self, first: int, count: int) -> np.ndarray:
        """The times from an index on."""
        time: np.ndarray = self.channel.read_data(first, count).astype("datetime64[us]").astype(np.int64)
        return time


def read_samples(path: Path, options: FormatOptions, catalogue: Catalogue) -> Iterator[Samples]:
    """The readings of a file. An index file beside it is not looked at: it may be of another file. Raises Malformed."""
    library = import_nptdms()
    with path.open("rb") as file:
        start_times = find_start_times(file, path.stat().st_size)
        file.seek(0)
        with translate_errors("TDMS"), library.TdmsFile.open(file) as tdms:
            reader = _Reader(tdms, start_times, options.file_names.find_part(path.stem), options, catalogue)
            for group in tdms.groups():
                yield from reader.read_group(group)


def _read_numbers(channel: Any, offset: int) -> np.ndarray:
    """Some scaled numbers. Raises Malformed where some are missing."""
    values = np.asarray(channel.read_data(offset, PIECE), np.float64)
    expected = min(PIECE, len(channel) - offset)
    if len(values) != expected:
        raise Malformed(f"expected {expected} values, got {len(values)}: the file is cut")
    return values


def _read_number(properties: Mapping[str, Any], name: str) -> float | None:
    """A property that is a number; None where it is missing. Raises Malformed."""
    value = properties.get(name)
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, str) or not math.isfinite(number):
        raise Malformed(f"expected a number as {name}, got {value!r}")
    return number


def _check_scaling(properties: Mapping[str, Any]) -> None:
    """Raises Malformed where numbers would be raw ones: npTDMS gives them for a scale that it does not know."""
    if properties.get("NI_Scaling_Status") == "scaled":
        return
    types = {str(value) for name, value in properties.items() if _SCALE_TYPE.fullmatch(name)}
    if unknown := sorted(types - _SCALES):
        raise Malformed(
            f"expected a scale of {', '.join(sorted(_SCALES))}, got {unknown[0]!r}: its numbers would be raw ones"
        )
    if properties.get("NI_Scaling_Status") == "unscaled" and not types and not properties.get("NI_Number_Of_Scales"):
        raise Malformed("expected numbers in their unit, got raw ones (NI_Scaling_Status is unscaled) without a scale")

"""TDMS (National Instruments) -> series, channel by channel and piece by piece, by npTDMS.

Times are those of the waveform (`wf_start_time`, `wf_start_offset`, `wf_increment`), which are UTC, or those of a
channel of timestamps that `--time-channel` names. Numbers are scaled as the file says. Left out and counted: texts,
timestamps, complex numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.contract.errors import Malformed

from .libraries import import_nptdms, translate_errors
from .options import FormatOptions
from .segments import find_start_times
from .series import Catalogue, FileChannels, Samples, check_times, convert_seconds, find_bad

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
    channels: FileChannels
    options: FormatOptions
    catalogue: Catalogue

    def read_group(self, group: Any) -> Iterator[Samples]:
        """The readings of a group of channels, whose times and quality are read once. Raises Malformed."""
        channels = {channel.name: channel for channel in group.channels()}
        times = channels.pop(self.options.time_channel, None) if self.options.time_channel else None
        flags = channels.pop(self.options.quality.name, None) if self.options.quality else None
        tracks = []
        for channel in filter(self._is_readable, channels.values()):
            with _name_channel(channel):
                tracks.append(self._open_track(channel, times, flags))
        for offset in range(0, max((len(track.channel) for track in tracks), default=0), PIECE):
            piece_times = _read_times(times, offset) if times is not None else None
            is_bad = self._find_bad(flags, offset)
            for track in tracks:
                if offset < len(track.channel):
                    with _name_channel(track.channel):
                        yield self._read_piece(track, offset, piece_times, is_bad)

    def _is_readable(self, channel: Any) -> bool:
        """Whether a channel has numbers; else it is counted."""
        if not len(channel):
            self.catalogue.left_out["channels without readings"] += 1
        elif channel.dtype.kind not in "iufb":
            self.catalogue.left_out["channels without numbers"] += 1
        else:
            return True
        return False

    def _open_track(self, channel: Any, times: Any, flags: Any) -> _Track:
        """Raises Malformed where the times or the quality of a channel cannot be its own."""
        properties, group = channel.properties, channel.group_name
        _check_scaling({**self.tdms.properties, **self.tdms[group].properties, **properties})
        code = self.channels.find_code(group, channel.name, str(properties.get("unit_string", "")))
        if flags is not None and (len(flags) != len(channel) or flags.dtype.kind not in "iufb"):
            raise Malformed(f"expected {len(channel)} numbers in the channel {flags.name!r}, got {len(flags)} values")
        if not self.options.time_channel:
            return _Track(channel, code, self._find_waveform(channel))
        if times is None or times.dtype.kind != "M" or len(times) != len(channel):
            actual = "no such channel" if times is None else f"{len(times)} of type {times.dtype}"
            raise Malformed(f"expected {len(channel)} timestamps in {self.options.time_channel!r}, got {actual}")
        return _Track(channel, code, None)

    def _find_waveform(self, channel: Any) -> _Waveform:
        """The times of a channel's readings. Raises Malformed where the file does not say them, or says several."""
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

    def _find_bad(self, flags: Any, offset: int) -> np.ndarray | None:
        """Which readings of a piece have bad quality; None: nothing is asked of it, or no channel says it."""
        if flags is None or self.options.quality is None:
            return None
        with _name_channel(flags):
            return find_bad(self.options.quality, _read_numbers(flags, offset), self.catalogue)

    def _read_piece(self, track: _Track, offset: int, times: np.ndarray | None, is_bad: np.ndarray | None) -> Samples:
        values = _read_numbers(track.channel, offset)
        reasons = {"not a number": np.isnan(values)}
        if self.options.quality:  # without a channel of quality all of a group is bad
            reasons["bad quality"] = np.ones(len(values), bool) if is_bad is None else is_bad
        time = times if track.waveform is None else track.waveform.read(offset, len(values))
        assert time is not None
        check_times(time, "the clock of the recorder was not set")
        return Samples(np.array([track.code], np.int32), time, self.catalogue.mark_gaps(values, reasons))


@dataclass(frozen=True, slots=True)
class _Track:
    """A channel that is read. *waveform*: its times; None where a channel of the group has them."""

    channel: Any
    code: int
    waveform: _Waveform | None


@dataclass(frozen=True, slots=True)
class _Waveform:
    """Times in equal steps."""

    start: int  # microseconds since 1970
    offset: float  # seconds
    increment: float  # seconds

    def read(self, first: int, count: int) -> np.ndarray:
        """The times from an index on."""
        seconds = self.offset + np.arange(first, first + count) * self.increment
        return convert_seconds(self.start, seconds)


@contextmanager
def _name_channel(channel: Any) -> Iterator[None]:
    """Put the path of a channel before the message of Malformed."""
    try:
        yield
    except Malformed as error:
        raise Malformed(f"channel {channel.path}: {error}") from error


def _read_times(channel: Any, offset: int) -> np.ndarray:
    """Some times of a channel of timestamps, in microseconds since 1970."""
    time: np.ndarray = channel.read_data(offset, PIECE).astype("datetime64[us]").astype(np.int64)
    return time


def read_samples(path: Path, options: FormatOptions, catalogue: Catalogue) -> Iterator[Samples]:
    """The readings of a file. An index file beside it is not looked at: it may be of another file. Raises Malformed."""
    library = import_nptdms()
    with path.open("rb") as file:
        start_times = find_start_times(file, path.stat().st_size)
        file.seek(0)
        with translate_errors("TDMS"), library.TdmsFile.open(file) as tdms:
            channels = FileChannels(options.file_names.find_part(path.stem), options, catalogue)
            reader = _Reader(tdms, start_times, channels, options, catalogue)
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

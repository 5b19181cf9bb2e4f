"""MDF4 (ASAM) -> series, channel by channel, by asammdf. Memory: one channel and its times.

Nothing is interpolated: each channel has the times of its own group. Invalidation bits become gaps. A file whose start
is local time needs its zone. Left out and counted: texts, raw frames of a bus, channels whose group has no times, and
formulas. Of an array each element is a sensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scorer.readings.time_zones import NO_TIME, list_changes
from shared.contract.errors import Malformed

from .conversions import convert_numbers, find_unsupported
from .libraries import import_asammdf, translate_errors
from .options import FormatOptions
from .series import Catalogue, FileChannels, Samples, check_times, convert_seconds, find_bad

_LOCAL_TIME = 1  # of the header's hd_time_flags; else its time is UTC, and its offset is for display only
_MASTERS, _TIME = (2, 3), 1  # cn_type, cn_sync_type
_FIXED_LENGTH, _VIRTUAL = 0, 6
_NUMERIC = range(6)  # cn_data_type: integers and floats
_PLAIN_BUS_EVENT = 1 << 2  # cg_flags


@dataclass(slots=True)
class _Reader:
    """A file that is being read."""

    mdf: Any
    start: int  # microseconds since 1970
    channels: FileChannels
    options: FormatOptions
    catalogue: Catalogue

    def read_group(self, index: int) -> Iterator[Samples]:
        """The readings of a group of channels, which share their times. Raises Malformed."""
        group = self.mdf.groups[index]
        numbers = [i for i, channel in enumerate(group.channels) if channel.channel_type not in _MASTERS]
        quality = self.options.quality
        flags = [i for i in numbers if quality and group.channels[i].name == quality.name]
        if problem := self._find_group_problem(index):
            self.catalogue.left_out[problem] += len(numbers) - len(flags)
            return
        is_bad = self._find_bad(index, flags)
        for i in numbers:
            if group.channel_dependencies[i]:
                self.catalogue.left_out["arrays"] += not _has_members(group, i)
            elif problem := _find_problem(group, i):
                self.catalogue.left_out[problem] += 1
            elif i not in flags:
                yield self._read_channel(index, i, is_bad)

    def _find_group_problem(self, index: int) -> str:
        """Why no channel of a group is read; "" where they are."""
        group, master = self.mdf.groups[index], self.mdf.masters_db.get(index)
        if group.channel_group.flags & _PLAIN_BUS_EVENT:
            return "channels of raw bus frames"
        if master is None or group.channels[master].sync_type != _TIME:
            return "channels without times"
        if problem := find_unsupported(group.channels[master].conversion):
            return f"channels whose times need {problem}"
        return "" if group.channel_group.cycles_nr else "channels without readings"

    def _find_bad(self, index: int, flags: Sequence[int]) -> np.ndarray | None:
        """Which samples of a group have bad quality; None: nothing is asked of it."""
        quality = self.options.quality
        if quality is None:
            return None
        group = self.mdf.groups[index]
        is_bad: np.ndarray = np.full(group.channel_group.cycles_nr, not flags)
        for i in flags:
            if problem := _find_problem(group, i):
                raise Malformed(f"expected numbers in the channel {quality.name!r}, got {problem}")
            signal = self._get_signal(index, i)
            is_bad |= find_bad(quality, convert_numbers(group.channels[i].conversion, signal.samples), self.catalogue)
        return is_bad

    def _get_signal(self, index: int, number: int) -> Any:
        """Raw numbers and their times. Raises Malformed where some are missing."""
        signal = self.mdf.get(group=index, index=number, raw=True, ignore_invalidation_bits=True)
        expected = self.mdf.groups[index].channel_group.cycles_nr
        if not len(signal.samples) == len(signal.timestamps) == expected:
            raise Malformed(
                f"expected {expected} samples of {signal.name!r}, got {len(signal.samples)}: the file is cut"
            )
        return signal

    def _read_channel(self, index: int, number: int, is_bad: np.ndarray | None) -> Samples:
        signal, conversion = self._get_signal(index, number), self.mdf.groups[index].channels[number].conversion
        raw = signal.samples
        values, is_nan = convert_numbers(conversion, raw), np.isnan(raw.astype(np.float64))
        reasons = {"not a number": is_nan, "coded states": np.isnan(values) & ~is_nan}
        if signal.invalidation_bits is not None:
            reasons = {"invalid": np.asarray(signal.invalidation_bits, bool), **reasons}
        if is_bad is not None:
            reasons["bad quality"] = is_bad
        time = convert_seconds(self.start, signal.timestamps)
        check_times(time, "the clock of the logger was not set")
        group = self.mdf.groups[index].channel_group.acq_name or str(index)
        code = self.channels.find_code(group, signal.name, signal.unit)
        return Samples(np.array([code], np.int32), time, self.catalogue.mark_gaps(values, reasons))


def read_samples(path: Path, options: FormatOptions, catalogue: Catalogue) -> Iterator[Samples]:
    """The readings of a file. Raises Malformed."""
    _check_head(path)
    library = import_asammdf()
    with translate_errors("MDF4"), library.MDF(path) as mdf:
        if not mdf.version.startswith("4"):
            raise Malformed(f"expected MDF 4, got version {mdf.version}: write it as 4.10, for example by asammdf")
        start = _read_start(mdf.header, options.time_zone)
        channels = FileChannels(options.file_names.find_part(path.stem), options, catalogue)
        reader = _Reader(mdf, start, channels, options, catalogue)
        for index in range(len(mdf.groups)):
            yield from reader.read_group(index)


def _has_members(group: Any, number: int) -> bool:
    """Whether the parts of a structure or an array are channels of their own, named `x.part` or `x[0]`."""
    name = group.channels[number].name
    return any(channel.name.startswith((f"{name}[", f"{name}.")) for channel in group.channels)


def _find_problem(group: Any, number: int) -> str:
    """Why a channel is not read; "" where it is."""
    channel = group.channels[number]
    if channel.data_type not in _NUMERIC:
        return "channels without numbers"
    if channel.channel_type not in (_FIXED_LENGTH, _VIRTUAL):
        return "channels without numbers"
    problem = find_unsupported(channel.conversion)
    return f"channels that need {problem}" if problem else ""


def _check_head(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"UnFinMF"):
        raise Malformed(
            "expected a file that its logger finished, got one that says it is not: finalise it, by asammdf"
        )
    if len(head) < 64:  # noqa: PLR2004  # the identification block
        raise Malformed(f"expected MDF4, got {len(head)} bytes")


def _read_start(header: Any, zone: str) -> int:
    """The start in microseconds since 1970, UTC. Raises Malformed for a local time without a zone."""
    micros = int(header.abs_time) // 1000
    if not header.time_flags & _LOCAL_TIME:
        return micros
    if not zone:
        raise Malformed("expected a start time in UTC, got a local time without a zone; set --time-zone")
    instants = list_changes(zone).convert_local(np.array([micros], np.int64))
    if instants.micros[0] == NO_TIME:
        raise Malformed(f"expected a time that the clocks of {zone} showed, got one that they skipped")
    if instants.change is not None:
        raise Malformed(f"expected a time that the clocks of {zone} showed once, got one that they showed twice; set "
                        "--time-zone to a zone of a fixed offset, such as Etc/GMT-1 for UTC+1")  # fmt: skip
    return int(instants.micros[0])

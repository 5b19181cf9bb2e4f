"""Series of readings, one for each device and sensor: their names, units and what was left out. Knows no format."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from shared.contract.errors import Malformed
from shared.contract.model_names import find_id_problem

from .names import Template
from .options import END, FIRST, MICRO, FormatOptions, Quality, describe_time

FLAGS = 5  # values of a quality that a message names
LONGEST = 10**10  # seconds of a measurement


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Readings of some series, in the file's order."""

    codes: np.ndarray  # int32, of the series of each; one for all of them where it has one element
    time: np.ndarray  # int64, microseconds since 1970 in UTC
    values: np.ndarray  # float64; NaN is a gap


@dataclass(slots=True)
class SampleBuffer:
    """Readings that come one by one."""

    codes: array[int] = field(default_factory=lambda: array("i"))
    time: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, code: int, time: int, value: float) -> None:
        """Keep a reading."""
        self.codes.append(code)
        self.time.append(time)
        self.values.append(value)

    def __len__(self) -> int:
        return len(self.time)

    def take_samples(self) -> Samples:
        """The readings so far, which are dropped here."""
        samples = Samples(
            np.array(self.codes, np.int32), np.array(self.time, np.int64), np.array(self.values, np.float64)
        )
        self.codes, self.time, self.values = array("i"), array("q"), array("d")
        return samples


@dataclass(slots=True)
class Catalogue:
    """The series of all files, and how many cells were left out or became gaps, each with why."""

    codes: dict[tuple[str, str], int] = field(default_factory=dict)  # by device and sensor
    names: list[tuple[str, str]] = field(default_factory=list)  # device and sensor of each series
    units: list[str] = field(default_factory=list)  # of each series; "": the file says none
    left_out: Counter[str] = field(default_factory=Counter)
    gaps: Counter[str] = field(default_factory=Counter)
    flags: set[float | str] = field(default_factory=set)  # the first values of the quality

    def find_code(self, device: str, sensor: str, unit: str = "") -> int:
        """The code of a series. Raises Malformed for a name that cannot be an id, or another unit than before."""
        code = self.codes.get((device, sensor))
        if code is None:
            _check_id("device", device)
            _check_id("sensor", sensor)
            code = self.codes[device, sensor] = len(self.units)
            self.names.append((device, sensor))
            self.units.append(unit)
        elif unit and unit != self.units[code]:
            if self.units[code]:
                raise Malformed(
                    f"expected one unit for the sensor {sensor!r} of the device {device!r}, got {self.units[code]!r} "
                    f"and {unit!r}: its readings cannot be one series"
                )
            self.units[code] = unit
        return code

    def mark_gaps(self, values: np.ndarray, reasons: Mapping[str, np.ndarray]) -> np.ndarray:
        """The values with a gap where a reason's flags are set. Each gap is counted once, by the first reason."""
        is_gap = np.zeros(len(values), bool)
        for reason, flags in reasons.items():
            if count := int(np.count_nonzero(flags & ~is_gap)):
                self.gaps[reason] += count
                is_gap |= flags
        return np.where(is_gap, np.nan, values)

    def note_flag(self, flag: float | str) -> None:
        """Keep what the quality of a reading is, for a message; only the first few values."""
        if len(self.flags) < FLAGS:
            self.flags.add(flag)

    @property
    def devices(self) -> list[str]:
        """The devices, sorted."""
        return sorted({device for device, _ in self.codes})

    @property
    def sensors(self) -> list[str]:
        """The names of sensors, sorted."""
        return sorted({sensor for _, sensor in self.codes})

    def collect_units(self) -> Mapping[str, str | dict[str, str]]:
        """The unit of each sensor that has one; where its devices differ, that of each device."""
        units: dict[str, dict[str, str]] = {}
        for (device, sensor), code in sorted(self.codes.items()):
            units.setdefault(sensor, {})[device] = self.units[code]
        return {
            sensor: next(iter(by_device.values()))
            if len(set(by_device.values())) == 1
            else {device: unit for device, unit in by_device.items() if unit}
            for sensor, by_device in units.items()
            if any(by_device.values())
        }


def _check_id(role: str, name: str) -> None:
    if problem := find_id_problem(name):
        raise Malformed(f"expected the name of a {role}, got {name[:80]!r}, which {problem}")


@dataclass(slots=True)
class FileChannels:
    """The channels of a file: by default the device is the file, and the sensor the channel."""

    file: str  # its part of names
    options: FormatOptions
    catalogue: Catalogue
    codes: set[int] = field(default_factory=set)

    def find_code(self, group: str, channel: str, unit: str) -> int:
        """The code of a channel's series. Raises Malformed where the file has two of its name."""
        parts = {"file": self.file, "group": group, "channel": channel}
        device = (self.options.device or Template("{file}")).fill(parts)
        code = self.catalogue.find_code(device, (self.options.sensor or Template("{channel}")).fill(parts), unit)
        if code in self.codes:
            raise Malformed(f"expected one channel {channel!r}, got several; set --device '{{group}}' or --sensor "
                            "'{group}.{channel}'")  # fmt: skip
        self.codes.add(code)
        return code


def clean_values(values: np.ndarray, missing: Sequence[float], catalogue: Catalogue) -> np.ndarray:
    """The values with gaps for missing values and for what is not finite, each counted. Gaps stay."""
    reasons = {"missing values": np.isin(values, missing)} if missing else {}
    return catalogue.mark_gaps(values, {**reasons, "infinite": np.isinf(values)})


def find_bad(quality: Quality, flags: np.ndarray, catalogue: Catalogue) -> np.ndarray:
    """Which numbers of a channel of quality say that a reading is not good. Raises Malformed where good is a text."""
    if np.isnan(quality.number):
        raise Malformed(
            f"--quality: expected a number, since the channel {quality.name!r} has numbers, got {quality.good!r}"
        )
    is_bad: np.ndarray = flags != quality.number
    for flag in np.unique(flags[:1000])[:FLAGS].tolist():
        catalogue.note_flag(flag)
    return is_bad


def convert_seconds(start: int, seconds: np.ndarray) -> np.ndarray:
    """Seconds from a start, which is in microseconds since 1970, as microseconds since 1970. Raises Malformed."""
    if not abs(start) < 2**61:  # half of what fits
        raise Malformed(f"expected a start from 1990 to 2100, got one {describe_time(start)}")
    if not (np.abs(seconds) < LONGEST).all():  # also where they are no numbers
        raise Malformed("expected times in seconds from the start of the measurement, got others")
    time: np.ndarray = start + np.rint(seconds * MICRO).astype(np.int64)
    return time


def check_times(time: np.ndarray, advice: str) -> None:
    """Raises Malformed where a time is outside the years from 1990 to 2100: such a clock was not set, or misread."""
    if len(time):
        check_time(int(time.min()), advice)
        check_time(int(time.max()), advice)


def check_time(micros: int, advice: str) -> None:
    """The same of one time."""
    if not FIRST <= micros < END:
        raise Malformed(f"expected times from 1990 to 2100, got {describe_time(micros)}; {advice}")

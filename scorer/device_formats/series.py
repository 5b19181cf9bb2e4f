"""Series of readings, one for each device and sensor: their names, units and what was left out. Knows no format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from shared.contract.errors import Malformed
from shared.contract.model_names import find_id_problem

from .names import Template
from .options import END, FIRST, FormatOptions, Quality, describe_time

MICRO = 1_000_000  # in a second


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Readings of some series, in the file's order."""

    codes: np.ndarray  # int32, of the series of each; one for all of them where it has one element
    time: np.ndarray  # int64, microseconds since 1970 in UTC
    values: np.ndarray  # float64; NaN is a gap


@dataclass(slots=True)
class Catalogue:
    """The series of all files, and how many cells were left out or became gaps, each with why."""

    codes: dict[tuple[str, str], int] = field(default_factory=dict)  # by device and sensor
    units: list[str] = field(default_factory=list)  # of each series; "": the file says none
    left_out: Counter[str] = field(default_factory=Counter)
    gaps: Counter[str] = field(default_factory=Counter)

    def find_code(self, device: str, sensor: str, unit: str = "") -> int:
        """The code of a series. Raises Malformed for a name that cannot be an id, or another unit than before."""
        code = self.codes.get((device, sensor))
        if code is None:
            _check_id("device", device)
            _check_id("sensor", sensor)
            code = self.codes[device, sensor] = len(self.units)
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


def find_channel_code(parts: Mapping[str, str], unit: str, options: FormatOptions, catalogue: Catalogue) -> int:
    """The code of the series of a channel: by default the device is the file, and the sensor the channel.

    Raises Malformed.
    """
    device = (options.device or Template("{file}")).fill(parts)
    return catalogue.find_code(device, (options.sensor or Template("{channel}")).fill(parts), unit)


def clean_values(values: np.ndarray, missing: Sequence[float], catalogue: Catalogue) -> np.ndarray:
    """The values with gaps for missing values and for what is not finite, each counted. Gaps stay."""
    reasons = {"missing values": np.isin(values, missing)} if missing else {}
    return catalogue.mark_gaps(values, {**reasons, "infinite": np.isinf(values)})


def find_bad(quality: Quality, values: np.ndarray) -> np.ndarray:
    """Which numbers say that a reading is not good."""
    is_bad: np.ndarray = values != quality.number
    return is_bad


def check_times(time: np.ndarray, advice: str) -> None:
    """Raises Malformed where a time is outside the years from 1990 to 2100: such a clock was not set, or misread."""
    if len(time) and not (int(time.min()) >= FIRST and int(time.max()) < END):
        outside = int(time.min()) if int(time.min()) < FIRST else int(time.max())
        raise Malformed(f"expected times from 1990 to 2100, got {describe_time(outside)}; {advice}")

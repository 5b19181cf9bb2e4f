"""Files for tests, and their conversion as a person asks for it: by the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from asammdf import MDF, Signal
from nptdms import ChannelObject, TdmsWriter

from scorer.__main__ import main

START = np.datetime64("2026-11-21T07:00:00", "us")
MICROS = 1_795_244_400_000_000  # the same time since 1970


def run(*arguments: object) -> int:
    """The exit code of `readings convert`."""
    return main(["readings", "convert", *map(str, arguments)])


def convert(folder: Path, *arguments: object) -> pa.Table:
    """All rows that a conversion writes, in the order of their files."""
    target = folder / "readings"
    assert run(*arguments, "--into", target) == 0
    return read_readings(target)


def read_readings(target: Path) -> pa.Table:
    """All rows below a folder, without the keys of its folders."""
    return pa.concat_tables(
        [pq.read_table(path, partitioning=None) for path in sorted(target.rglob("*.parquet"))], promote_options="none"
    )


def list_rows(table: pa.Table) -> list[tuple[Any, ...]]:
    """Rows with their times in seconds since START."""
    seconds = [(time - MICROS) / 1e6 for time in table["time"].cast(pa.int64()).to_pylist()]
    return list(zip(seconds, *(table[name].to_pylist() for name in table.column_names[1:]), strict=True))


def write_tdms(path: Path, *segments: Sequence[ChannelObject]) -> Path:
    """A TDMS file of these segments."""
    with TdmsWriter(str(path)) as writer:
        for segment in segments:
            writer.write_segment(list(segment))
    return path


def make_channel(
    name: str, values: Sequence[float] | np.ndarray, group: str = "g", **properties: object
) -> ChannelObject:
    """A channel with a waveform: from START on, a reading each second, if its properties say nothing else."""
    waveform = {"wf_start_time": START, "wf_increment": 1.0, "wf_start_offset": 0.0, **properties}
    return ChannelObject(
        group, name, np.asarray(values), {key: value for key, value in waveform.items() if value is not None}
    )


def write_mdf(path: Path, *groups: Sequence[Signal], **changes: int) -> Path:
    """An MDF4 file of these groups, from START in UTC on. *changes*: fields of its header."""
    with MDF(version="4.10") as mdf:
        for signals in groups:
            mdf.append(list(signals))
        mdf.header.abs_time, mdf.header.time_flags = MICROS * 1000, 0
        for name, value in changes.items():
            setattr(mdf.header, name, value)
        mdf.save(path, overwrite=True)
    return path


def make_signal(name: str, values: Sequence[float] | np.ndarray, **options: Any) -> Signal:
    """A signal with a sample each second."""
    samples = np.asarray(values)
    return Signal(samples, options.pop("times", np.arange(len(samples), dtype=float)), name=name, **options)

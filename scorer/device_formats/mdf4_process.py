"""MDF4 files are read in a process of its own: on damaged files the native code of asammdf may end its process.

One process for all files. It sends series by their names, and has a catalogue of its own; it ends with ours.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np

from shared.contract.errors import FleetError, Malformed, Misconfigured

from . import mdf4
from .options import FormatOptions
from .series import Catalogue, Samples

TIMEOUT = 600  # seconds for the next channel
_SPAWN = get_context("spawn")


@dataclass(frozen=True, slots=True, eq=False)
class _Channel:
    """What the process sends for a channel."""

    device: str
    sensor: str
    unit: str
    time: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, slots=True)
class _End:
    """What it sends at the end of a file."""

    left_out: Counter[str]
    gaps: Counter[str]
    flags: set[float | str]
    error: FleetError | None


@dataclass(slots=True)
class Mdf4Process:
    """The process, which starts with the first file, and again after one that ended it."""

    process: SpawnProcess | None = None
    connection: Connection | None = None

    def read_samples(self, path: Path, options: FormatOptions, catalogue: Catalogue) -> Iterator[Samples]:
        """The readings of a file. Raises Malformed, and Misconfigured where asammdf is not installed."""
        connection = self._start()
        end = None
        try:
            with suppress(OSError):  # `_receive` says that the process has ended
                connection.send((path, options))
            while end is None:
                message = self._receive(connection)
                if isinstance(message, _Channel):
                    code = catalogue.find_code(message.device, message.sensor, message.unit)
                    yield Samples(np.array([code], np.int32), message.time, message.values)
                elif isinstance(message, _End):
                    end = message
        finally:
            if end is None:  # what it still sends would be taken for the next file
                self.close()
        if end.error:
            raise end.error
        catalogue.left_out.update(end.left_out)
        catalogue.gaps.update(end.gaps)
        for flag in end.flags:
            catalogue.note_flag(flag)

    def _start(self) -> Connection:
        if self.connection is None:
            self.connection, child_end = _SPAWN.Pipe()
            self.process = _SPAWN.Process(target=_serve_files, args=(child_end,), daemon=True)
            self.process.start()
            child_end.close()
        return self.connection

    def _receive(self, connection: Connection) -> object:
        try:
            if connection.poll(TIMEOUT):
                return connection.recv()
            problem = f"for which its library needs more than {TIMEOUT} s"
        except (EOFError, OSError):
            assert self.process
            self.process.join(TIMEOUT)
            problem = f"at which its library ended with code {self.process.exitcode}"
        raise Malformed(f"expected a whole file in MDF4, got one {problem}")

    def close(self) -> None:
        """End the process."""
        if self.connection and self.process:
            self.connection.close()
            self.process.kill()
            self.process.join()
        self.connection = self.process = None


def _serve_files(connection: Connection) -> None:
    """Read each file that is asked for, until the other end is closed. The library's output goes nowhere."""
    with Path(os.devnull).open("w") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    while True:
        try:
            path, options = connection.recv()
        except EOFError:
            return
        _serve_file(connection, path, options)


def _serve_file(connection: Connection, path: Path, options: FormatOptions) -> None:
    catalogue = Catalogue()
    error: FleetError | None = None
    try:
        for samples in mdf4.read_samples(path, options, catalogue):
            code = int(samples.codes[0])
            device, sensor = catalogue.names[code]
            connection.send(_Channel(device, sensor, catalogue.units[code], samples.time, samples.values))
    except (Malformed, Misconfigured) as problem:
        error = problem
    except OSError as problem:
        error = Misconfigured(f"{path}: {problem.strerror or problem}")
    connection.send(_End(catalogue.left_out, catalogue.gaps, catalogue.flags, error))
